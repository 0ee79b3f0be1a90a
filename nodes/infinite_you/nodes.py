"""InfiniteYou: load the projection; apply InfuseNet for one person or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy.controlnet import ControlBase
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import dit, folders, notes
from ...bridge.adapters import Hearing, hearing
from ...bridge.conditioning import ALWAYS, Conditioning, check_range
from ...bridge.schema import heard_inputs, percent_input, photos_input, searchable
from ...core.errors import gathered
from ...core.people import Cast, Person, PlacedCast, is_a
from ...core.places import control_images, heard
from ...core.places.heard import REGIONS
from ..sockets import CastOrIdentitySocket, socket
from .host import FILE, InfiniteYou, InfuseNet, Shown, attached, check_fits, load_infinite_you
from .net import METHOD

CATEGORY = "likeness/infiniteyou"
InfiniteYouSocket = socket("LIKENESS_INFINITE_YOU", InfiniteYou)
LOAD, APPLY = "Load InfiniteYou", "Apply InfiniteYou"
LICENCE = (
    "InfiniteYou's weights are CC BY-NC 4.0, for academic research alone as their authors say. FLUX.1 dev and the face "
    "recogniser have licences of their own"
)


class LoadInfiniteYou(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadInfiniteYou",
            display_name=LOAD,
            category=CATEGORY,
            description="Loads InfiniteYou's image_proj_model.bin, for FLUX.1 dev. InfuseNet, the ControlNet released "
            "with it, is loaded with the host's Load ControlNet Model. Experimental. Needs ComfyUI 0.33 or newer.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.listed(FILE.key),
                    tooltip="image_proj_model.bin, or a safetensors copy of it, from models/infiniteyou. Every "
                    "InfuseNet has its own: aes for looks, sim for likeness.",
                )
            ],
            outputs=[InfiniteYouSocket.Output("infinite_you", display_name="infinite_you")],
            hidden=[io.Hidden.unique_id],
            is_experimental=True,
        )
        return searchable(schema, "infiniteyou", "infinite you", "infuse", "flux", "face", "identity")

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        return folders.fingerprint(FILE.path, file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        dit.require_dits(LOAD)
        node = notes.node_of(cls)
        loaded = load_infinite_you(FILE.chosen(file, node))
        notes.tell(node, LICENCE, "licence")
        return io.NodeOutput(loaded)


class ApplyInfiniteYou(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyInfiniteYou",
            display_name=APPLY,
            category=CATEGORY,
            description="InfiniteYou for one person, or for many, each in their own region, on FLUX.1 dev: InfuseNet "
            "reads the faces instead of the prompt. It runs once per person and step. Experimental. Needs ComfyUI "
            "0.33 or newer.",
            inputs=[
                io.Conditioning.Input("positive", tooltip="From FluxGuidance; 3.5 as published."),
                io.Conditioning.Input("negative", tooltip="Goes on as it is: the faces are in the positive alone."),
                InfiniteYouSocket.Input("infinite_you", tooltip=f"From {LOAD}."),
                io.ControlNet.Input(
                    "control_net", tooltip="InfuseNet, released with InfiniteYou; of the same kind as its file."
                ),
                io.Vae.Input("vae", tooltip="FLUX.1's, which encodes the picture that InfuseNet is shown."),
                CastOrIdentitySocket.Input(
                    "cast", tooltip="One person (an identity or a cast, no place needed) or several with places."
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Strength of InfuseNet. 1 = as published, 0 = switched off.",
                ),
                percent_input("start_percent", 0.0, "When InfuseNet starts."),
                percent_input("end_percent", 1.0, "When it stops."),
                io.Boolean.Input(
                    "keypoints",
                    default=True,
                    tooltip="On: the face stands and turns as the five keypoints of its place do. Off: InfuseNet is "
                    "shown a black picture, as published where there is no pose, and the prompt decides.",
                ),
                photos_input(
                    "How several photos of one person are joined: average, average direction at the usual length, "
                    "all of them as a sequence, or the average of those that agree with each other."
                ),
                *heard_inputs(
                    "face boxes = InfuseNet acts inside the face boxes of the places alone, and the prompt has the "
                    "rest of the picture."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output("positive_out", display_name="positive"),
                io.Conditioning.Output("negative_out", display_name="negative"),
            ],
            is_experimental=True,
        )
        return searchable(
            schema, "infiniteyou", "infinite you", "infusenet", "flux", "same person", "character", "multi id",
            "pulid", "faceid", "face swap", "换脸",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        infinite_you: InfiniteYou,
        control_net: ControlBase,
        vae: VAE,
        cast: Any,  # a Cast or an Identity
        strength: float,
        start_percent: float,
        end_percent: float,
        keypoints: bool,
        photos: str,
        region_margin: float,
        feather: int,
        mask: Tensor | None = None,
        acts_in: str = REGIONS,
    ) -> io.NodeOutput:
        dit.require_dits(APPLY)
        cast = heard.as_cast(cast)
        people, node = heard.heard(cast).people, notes.node_of(cls)
        notes.tell(node, "\n".join(_remarks(cast, mask, acts_in, keypoints)))
        if not people or not strength:
            return io.NodeOutput(positive, negative)
        check_range(METHOD, start_percent, end_percent)
        check_fits([*positive, *negative], control_net, vae, infinite_you.width, APPLY)
        where = hearing(cast, APPLY, node, ALWAYS, mask, region_margin, feather, acts_in, "with keypoints and regions")
        hint = _hint(cast, people, keypoints)
        size = (cast.width, cast.height) if is_a(cast, PlacedCast) and (where.placed or hint.any()) else None
        net = InfuseNet(control_net, Shown(people, infinite_you.tokens(people, photos), where, size))
        positive = attached(positive, net, hint, strength, (start_percent, end_percent), vae)
        return io.NodeOutput(positive, negative, ui=_preview(cls, people, where, hint))


def _hint(cast: Cast, people: Sequence[Person], keypoints: bool) -> Tensor:
    """The five keypoints of each person on the canvas, (people, H, W, 3), or one black picture for all."""
    faces = [person.slot.keypoints if keypoints and person.slot else None for person in people]
    if not is_a(cast, PlacedCast) or not any(faces):
        return torch.zeros(1, dit.TOKEN, dit.TOKEN, 3)
    size = cast.width, cast.height
    return torch.stack([control_images.face_keypoints([face] if face else [], *size) for face in faces])


def _remarks(cast: Cast, mask: Tensor | None, acts_in: str, keypoints: bool) -> list[str]:
    """What works, but may not be meant."""
    places = [person for person in heard.heard(cast).people if keypoints and person.slot]
    bare = [person.identity.name for person in places if person.slot and person.slot.keypoints is None]
    free = gathered("No face keypoints in the place, so InfuseNet is shown black", bare)
    return [*heard.left_out(cast), *free, *heard.remarks(cast, mask, acts_in, dit.TOKEN)]


def _preview(cls: type[io.ComfyNode], people: Sequence[Person], where: Hearing, hint: Tensor) -> ui.PreviewImage | None:
    """The regions, and everybody's keypoints in one picture, as far as there are any."""
    areas = heard.drawn(where.acts, people, where.by_row)
    faces = (hint if where.by_row else hint.amax(0, keepdim=True)) if hint.any() else None
    shown = [pictures for pictures in (areas, faces) if pictures is not None]
    return ui.PreviewImage(torch.cat(shown), cls=cls) if shown else None


NODES = [LoadInfiniteYou, ApplyInfiniteYou]
