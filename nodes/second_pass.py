"""Second pass: everybody whose face is small or unlike, enlarged as a row of one batch, and pasted back."""

from collections.abc import Sequence
from typing import Any

import torch
from comfy.sd import VAE
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge import notes
from ..bridge.encode import latents_by_row
from ..bridge.face_model import FaceModel, FindsFaces, default_face_model
from ..bridge.notes import stepwise
from ..bridge.schema import advanced, face_sizes_input, pixels_input, similarity_input
from ..bridge.transformers import networks
from ..core import measure, second_pass
from ..core.errors import BadPhoto, counted
from ..core.faces.model import faces_in, unsure_in
from ..core.people import Cast, Faces, Identity
from ..core.pictures import as_rgb
from ..core.places.placing import SMALL_FACE
from ..core.places.regions import as_cast, by_lora
from ..core.second_pass import CHOICES, MATCHES, Choice, Crops, Decision
from .categories import IN_MEASURE
from .sockets import CastOrPersonSocket, CastSocket, CropsSocket, FaceModelSocket

CROP = "Crop Faces"
PLACES = ("cut out in their place", "left as they are")


class CropFaces(FindsFaces, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessCropFaces",
            category=IN_MEASURE,
            inputs=[
                # Editors of older hosts move an input that has become optional, and links in saved boxes then miss.
                FaceModelSocket.Input("face_model", optional=networks.known_here()),
                io.Image.Input("images"),
                CastOrPersonSocket.Input("cast"),
                io.Combo.Input("who", options=list(CHOICES)),
                pixels_input("smaller_than", default=SMALL_FACE, least=1),
                similarity_input("less_than", 0.4),
                io.Int.Input("size", default=768, min=256, max=2048, step=64),
                face_sizes_input("margin", 1.0, least=0.25),
                advanced(face_sizes_input("mask_margin", 0.2)),
                advanced(face_sizes_input("feather", 0.25)),
                advanced(io.Combo.Input("not_found", options=list(PLACES))),
                # Editors of older hosts put a new socket before the widgets, whose links in saved boxes then miss.
                *([io.Vae.Input("vae", optional=True)] if networks.known_here() else []),
            ],
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
        face_model: FaceModel | None,
        images: Tensor,
        cast: Cast | Identity,
        size: int,
        not_found: str,
        vae: VAE | None = None,
        **how: Any,
    ) -> io.NodeOutput:
        choice = Choice(use_places=not_found == PLACES[0], size=size // 64 * 64, **how)
        cast = as_cast(cast)
        people = measure.people_to_find(cast, None, CROP)
        face_model = face_model or default_face_model(node_id=notes.node_of(cls))
        judging = face_model.only(measure.judges(face_model.ids, people.people, "unknown")[:1])
        pictures = [faces_in(judging, image) for image in stepwise(images.unbind())]
        notes.tell(notes.node_of(cls), unsure_in(pictures))
        decisions = _decisions(judging.ids, pictures, people, choice)
        listed = [one for picture in decisions for one in picture]
        chosen = [one.crop for one in listed if one.crop]
        where = Crops(tuple(chosen), len(images), images.shape[2], images.shape[1], choice.size)
        preview = torch.stack(list(map(second_pass.draw_crops, images, decisions)))
        said = [] if choice.size == size else [f"Crops of {choice.size} px, not {size}: sizes are multiples of 64"]
        notes.tell(notes.node_of(cls), "\n".join([*said, *by_lora(cast), *second_pass.troubles(listed, len(images))]))
        crops = masks = rows = ExecutionBlocker(None)
        latents = ExecutionBlocker(NO_VAE if chosen else None)
        if chosen:
            rgb = as_rgb(images)
            crops = torch.stack([second_pass.cut(rgb[crop.picture], crop, choice.size) for crop in chosen])
            masks = [second_pass.turned_upright(crop.mask[..., None], crop.turns, choice.size) for crop in chosen]
            masks = torch.stack(masks)[..., 0]
            rows = second_pass.cast_by_row(listed, choice.size)
            latents = latents_by_row(vae, crops, masks) if vae else latents
        report = second_pass.describe(listed, len(images))
        shown = ui.PreviewImage(preview, cls=cls)
        return io.NodeOutput(crops, masks, rows, where, preview, report, len(chosen), latents, ui=shown)


NO_VAE = "Crop Faces has no VAE to make latents with. Connect the checkpoint's VAE to its vae input."


def _decisions(names: Sequence[str], pictures: Sequence[Faces], cast: Cast, choice: Choice) -> list[list[Decision]]:
    """Per picture what becomes of everybody. names: of the recognisers that judge. pictures: the faces in each."""
    # Whoever stands in the place is meant, however unlike: that is what the second pass is for.
    stranger = -1.0 if cast.people[0].slot else measure.STRANGER_BELOW
    report = measure.measure(pictures, cast, names, stranger_below=stranger)
    people = second_pass.candidates(report, pictures)
    return [second_pass.decide(*one, choice) for one in zip(people, pictures, strict=True)]


class PasteFaces(io.ComfyNode):
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
        # Asked before inputs are looked at: where a node before has failed or is blocked, this is no Crops.
        return ["sampled"] if sampled is None and getattr(where, "crops", None) else []

    @classmethod
    def execute(cls, images: Tensor, where: Crops, color_match: str, sampled: Tensor | None = None) -> io.NodeOutput:
        if not where.crops:
            sampled = torch.zeros(0, where.size, where.size, 3)
        if sampled is None:
            why = f"Paste Faces has {counted(len(where.crops), 'crop')} to paste, but nothing is connected to sampled."
            raise BadPhoto(why, "Connect the IMAGE of the VAE Decode behind the sampler to sampled.")
        pasted = second_pass.paste(images, where, sampled, color_match)
        return io.NodeOutput(pasted.images, pasted.mask, ui=ui.PreviewImage(as_rgb(pasted.images), cls=cls))


NODES = [CropFaces, PasteFaces]
