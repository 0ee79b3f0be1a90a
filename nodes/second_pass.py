"""Second pass: Crop Faces cuts out people whose face is small or unlike them, and Paste Faces pastes them back.

Each person who is cut out, in each picture, is enlarged and becomes a row of one batch, which is sampled again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from comfy.sd import VAE
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge.host import host_version, notes
from ..bridge.host.notes import stepwise
from ..bridge.host.schema import advanced, face_sizes_input, pixels_input, similarity_input
from ..bridge.people.face_model import FindsFaces, HostedFaceModel, default_face_model
from ..core.cast import Cast, Faces, Person, require_places
from ..core.checks.errors import BadPhoto, counted
from ..core.checks.value_checks import unusable_latent
from ..core.faces.model import faces_in, unsure_in
from ..core.measure import comparison, measuring
from ..core.pictures.tensors import as_rgb
from ..core.places.placing import SMALL_FACE
from ..core.second_pass import crop_report, cutting, pasting, selection
from ..core.second_pass.cutting import Crop, Crops, Decision
from ..core.second_pass.pasting import MATCHES
from ..core.second_pass.selection import CHOICES, Choice
from ..core.taking_part import as_cast, by_lora
from .categories import IN_MEASURE
from .sockets import CastOrPersonSocket, CastSocket, FaceModelSocket, socket

CropsSocket = socket("LIKENESS_CROPS", Crops)
CROP = "Crop Faces"
SOCKETS_HOST = "0.33"
"""From this ComfyUI on, editors bear sockets that have been added or have become optional."""
NOT_FOUND = ("cut out in their place", "left as they are")
"""What becomes of people who have no face in a picture: the options of the input not_found."""


class CropFaces(FindsFaces, io.ComfyNode):
    """Cuts out people with small or unlike faces. Each becomes a row of one batch, for a second pass of sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[io.Input] = [
            # Optional only on hosts that know the newest networks: editors of older hosts move an input that has become
            # optional to another position, and links inside of saved subgraphs then lead to a wrong input.
            FaceModelSocket.Input("face_model", optional=host_version.is_host(SOCKETS_HOST)),
            io.Image.Input("images"),
            CastOrPersonSocket.Input("cast"),
            io.Combo.Input("who", options=list(CHOICES)),
            pixels_input("smaller_than", default=SMALL_FACE, least=1),
            similarity_input("less_than", 0.4),
            io.Int.Input("size", default=768, min=256, max=2048, step=64),
            face_sizes_input("margin", 1.0, least=0.25),
            advanced(face_sizes_input("mask_margin", 0.2)),
            advanced(face_sizes_input("feather", 0.25)),
            advanced(io.Combo.Input("not_found", options=list(NOT_FOUND))),
        ]
        if host_version.is_host(SOCKETS_HOST):
            # Editors of older hosts put a new socket in front of the widgets, and links inside of saved subgraphs then
            # lead to a wrong widget.
            inputs.append(io.Vae.Input("vae", optional=True))
        return io.Schema(
            node_id="LikenessCropFaces",
            category=IN_MEASURE,
            inputs=inputs,
            outputs=[
                io.Image.Output("crops"),
                io.Mask.Output("masks"),
                CastSocket.Output("cast_by_row"),
                CropsSocket.Output("where"),
                io.Image.Output("preview"),
                io.String.Output("report"),
                io.Int.Output("count"),
                io.Latent.Output("latents"),
            ],
        )

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        images: Tensor,
        cast: Cast | Person,
        size: int,
        not_found: str,
        vae: VAE | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        # settings: the other inputs, which are fields of Choice under the same names.
        cut_in_places = not_found == NOT_FOUND[0]
        rounded_size = size // 64 * 64  # the step of the input, which a linked value may not keep
        choice = Choice(use_places=cut_in_places, size=rounded_size, **settings)
        everybody = as_cast(cast)
        people = selection.people_to_cut(everybody, CROP)
        judge = _judge(face_model or default_face_model(), people)
        faces_of_pictures = [faces_in(judge, image) for image in stepwise(images.unbind())]
        notes.tell(unsure_in(faces_of_pictures))
        decisions_of_pictures = _decisions(judge.ids, faces_of_pictures, people, choice)
        decisions = list(chain.from_iterable(decisions_of_pictures))  # those of all pictures, one after the other
        notes.tell("\n".join(_note_lines(size, choice, everybody, decisions, len(images))))
        rows = _cropped_rows(images, decisions, choice.size)
        where = Crops(rows.cropped, len(images), width=images.shape[2], height=images.shape[1], size=choice.size)
        pairs = zip(images, decisions_of_pictures, strict=True)
        preview = torch.stack([crop_report.draw_crops(image, of_picture) for image, of_picture in pairs])
        return io.NodeOutput(
            *_row_outputs(rows, everybody, decisions, choice.size),  # crops, masks and cast_by_row
            where,
            preview,
            crop_report.describe(decisions, len(images)),
            len(rows.cropped),
            _latents(rows, vae),
            ui=ui.PreviewImage(preview, cls=cls),
        )


def _judge(face_model: HostedFaceModel, people: Cast) -> HostedFaceModel:
    """The face model with the one recogniser that tells who is who.

    Where nobody of the people has photos, nobody is recognised, and the first recogniser will do.
    """
    recognisers = face_model.ids
    if selection.has_photos(people):
        recognisers = comparison.judges(face_model.ids, people.people, method="unknown")
    return face_model.only(recognisers[:1])


@dataclass(frozen=True, eq=False)
class _CroppedRows:
    """The batch of the second pass: a row for each person who is cut out of each picture. It may have no rows.

    cropped: the crop of each row. pictures: (rows, size, size, 3), 0..1. masks: (rows, size, size), 0..1, which part of
    each crop is denoised and pasted back.
    """

    cropped: tuple[Crop, ...]
    pictures: Tensor
    masks: Tensor


def _cropped_rows(images: Tensor, decisions: Sequence[Decision], size: int) -> _CroppedRows:
    """The crops of all people who are cut out, each with its picture and its mask, turned upright.

    images: (B, H, W, C). size: side of a crop, in pixels.
    """
    rgb = as_rgb(images)
    cropped: list[Crop] = []
    # Both begin with a tensor of no rows, because torch.cat needs one where nobody is cut out.
    pictures = [torch.zeros(0, size, size, 3, dtype=torch.float32)]
    masks = [torch.zeros(0, size, size, dtype=torch.float32)]
    for decision in decisions:
        crop = decision.crop
        if crop is None:  # this person stays as they are
            continue
        cropped.append(crop)
        pictures.append(cutting.cut(rgb[crop.picture_index], crop, size)[None])
        mask = cutting.turned_upright(crop.mask[..., None], crop.turns, size)  # (size, size, 1)
        masks.append(mask[None, ..., 0])  # (1, size, size)
    return _CroppedRows(tuple(cropped), torch.cat(pictures), torch.cat(masks))


def _row_outputs(rows: _CroppedRows, cast: Cast, decisions: Sequence[Decision], size: int) -> list[Any]:
    """The outputs crops, masks and cast_by_row. Where nobody is cut out, they block the nodes that are linked to them.

    cast: the node's own. size: side of a crop, in pixels.
    """
    if not rows.cropped:
        return [ExecutionBlocker(None), ExecutionBlocker(None), ExecutionBlocker(None)]  # None: no message
    return [rows.pictures, rows.masks, cutting.cast_by_row(decisions, cast, size)]


def _latents(rows: _CroppedRows, vae: VAE | None) -> dict[str, Tensor] | ExecutionBlocker:
    """The output latents: the crops as a LATENT with a noise mask each.

    It blocks the nodes that are linked to it in two cases: where nobody is cut out, without a message; and without a
    VAE, where the editor shows NO_VAE.
    """
    if not rows.cropped:
        return ExecutionBlocker(None)  # None: no message
    if vae is None:
        return ExecutionBlocker(NO_VAE)
    return _latents_by_row(vae, rows.pictures, rows.masks)


def _note_lines(size: int, choice: Choice, cast: Cast, decisions: Sequence[Decision], picture_count: int) -> list[str]:
    """The lines of the note under the node.

    size: as the user has set it; choice.size is rounded. cast: the node's own. decisions: those of all pictures.
    """
    lines: list[str] = []
    if choice.size != size:
        lines.append(f"Crops of {choice.size} px, not {size}: sizes are multiples of 64")
    return [*lines, *by_lora(cast), *crop_report.notes(decisions, picture_count)]


NO_VAE = "Crop Faces has no VAE to make latents with. Connect the checkpoint's VAE to its vae input."


def _decisions(
    recognisers: Sequence[str], pictures: Sequence[Faces], cast: Cast, choice: Choice
) -> list[list[Decision]]:
    """For each picture what becomes of each person of the cast.

    recognisers: the id of the recogniser that tells who is who. pictures: the faces in each picture. cast: from
    people_to_cut, so either all people in it have places or none has.
    """
    if selection.has_photos(cast):
        # With places, the face in a place is the person's, however little it looks like them: such faces are what the
        # second pass is for. No cosine is below -1, so nobody is taken for a stranger.
        stranger_below = -1.0 if cast.people[0].slot else measuring.STRANGER_BELOW
        report = measuring.measure(pictures, cast, recognisers, stranger_below=stranger_below)
        by_picture = selection.candidates(report, pictures)
    else:
        by_picture = selection.candidates_by_place(require_places(cast, CROP), pictures)
    decisions: list[list[Decision]] = []
    for people, faces in zip(by_picture, pictures, strict=True):
        decisions.append(cutting.decide(people, faces, choice))
    return decisions


class PasteFaces(io.ComfyNode):
    """Pastes the sampled crops of Crop Faces back into the pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPasteFaces",
            category=IN_MEASURE,
            inputs=[
                io.Image.Input("images"),
                CropsSocket.Input("where"),
                io.Image.Input("sampled", lazy=True),
                io.Combo.Input("color_match", options=list(MATCHES)),
            ],
            outputs=[io.Image.Output("image"), io.Mask.Output("mask")],
        )

    @classmethod
    def check_lazy_status(cls, where: object = None, sampled: object = None, **_: object) -> list[str]:
        # The host asks which lazy inputs it has to compute: `sampled`, where there are crops to paste. It asks before
        # bridge.host.inputs has checked `where`, which may be None, or a blocker where an earlier node has blocked it.
        return ["sampled"] if sampled is None and getattr(where, "crops", None) else []

    @classmethod
    def execute(cls, images: Tensor, where: Crops, color_match: str, sampled: Tensor | None = None) -> io.NodeOutput:
        if not where.crops:  # nobody was cut out: nothing is pasted, and `sampled` was never computed
            sampled = torch.zeros(0, where.size, where.size, 3, dtype=torch.float32)
        if sampled is None:
            why = f"Paste Faces has {counted(len(where.crops), 'crop')} to paste, but nothing is connected to sampled."
            raise BadPhoto(why, "Connect the IMAGE of the VAE Decode behind the sampler to sampled.")
        pasted = pasting.paste(images, where, sampled, color_match)
        return io.NodeOutput(pasted.images, pasted.mask, ui=ui.PreviewImage(as_rgb(pasted.images), cls=cls))


def _latents_by_row(vae: VAE, pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """A LATENT with one row for each picture (B, H, W, 3), which is denoised where its mask (B, H, W) is 1.

    The pictures are encoded one by one, because the VAE of a video model takes a batch for the frames of one video.
    Raises BadPicture for NaN.
    """
    latents = [vae.encode(picture[None]) for picture in stepwise(pictures.unbind())]
    samples = torch.cat(latents)  # (B, C, h, w), or (B, C, T, h, w) of a video model
    if not samples.isfinite().all():
        raise unusable_latent("A crop")
    # The mask gets as many dimensions as the latents: (B, 1, H, W), or (B, 1, 1, H, W) of a video model, where the host
    # would take (B, H, W) for one mask per frame.
    single_dimensions = [1] * (samples.ndim - 3)
    height, width = masks.shape[1:]
    noise_mask = masks.reshape(len(masks), *single_dimensions, height, width)
    return {"samples": samples, "noise_mask": noise_mask}


NODES = [CropFaces, PasteFaces]
