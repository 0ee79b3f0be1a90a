"""InfiniteYou: load the projection; apply InfuseNet for one person or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy.controlnet import ControlBase
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import dit, load, notes, scopes
from ...bridge.conditioning import ALWAYS, Attachment, Conditioning, check_conditioning, check_range
from ...bridge.load import Loaded
from ...bridge.loaders import FileLoader
from ...bridge.schema import IN_METHODS, described, heard_inputs, percent_input, photos_input
from ...bridge.scopes import Scope
from ...core.errors import gathered
from ...core.families import FLUX
from ...core.identities import embeddings
from ...core.methods import method
from ...core.models.tensors import below
from ...core.people import Cast, Person, PlacedCast, is_a
from ...core.places import control_images, heard
from ...core.places.heard import REGIONS
from ..sockets import CastOrIdentitySocket, adapter_socket
from .infuse_net import OF_FLUX, InfuseNet, check_infuse_net
from .net import InfiniteYouNet

METHOD = method("infinite_you")
APPLY = "Apply InfiniteYou"


class InfiniteYou(Loaded[InfiniteYouNet]):
    """A loaded image_proj_model."""

    def tokens(self, people: Sequence[Person], photos: str) -> Tensor:
        """(people, 8, width) float32 on the CPU. Raises RecogniserMissing."""
        each = [embeddings(person, METHOD, photos)[None] for person in people]
        return torch.cat([self.net(self.beside(rows)).cpu() for rows in each])


InfiniteYouSocket = adapter_socket(METHOD.socket, InfiniteYou)
FILE = load.Published.of(METHOD, "InfiniteYou projection")


def load_infinite_you(path: str) -> InfiniteYou:
    """Read image_proj_model.bin or a safetensors conversion of it.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    state = FILE.read(path)
    return InfiniteYou(FILE.build(path, InfiniteYouNet, below("image_proj.", state) or state))


class ApplyInfiniteYou(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyInfiniteYou",
            display_name=APPLY,
            category=IN_METHODS,
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                InfiniteYouSocket.Input("infinite_you"),
                io.ControlNet.Input("control_net"),
                io.Vae.Input("vae"),
                CastOrIdentitySocket.Input("cast"),
                io.Float.Input("strength", default=1.0, min=0.0, max=10.0, step=0.01),
                percent_input("start_percent", 0.0),
                percent_input("end_percent", 1.0),
                io.Boolean.Input("keypoints", default=True),
                photos_input(),
                *heard_inputs(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output("positive_out", display_name="positive"),
                io.Conditioning.Output("negative_out", display_name="negative"),
            ],
            is_experimental=True,
        )
        return described(
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
        check_range(METHOD.title, start_percent, end_percent)
        needed = f"{FLUX.name} (text width {infinite_you.width})"
        check_conditioning([*positive, *negative], infinite_you.width, APPLY, needed, OF_FLUX)
        check_infuse_net(control_net, vae, infinite_you.width, APPLY)
        scope = scopes.of_faces(
            cast, APPLY, node, ALWAYS, mask, region_margin, feather, acts_in, "with keypoints and regions"
        )
        hint = _hint(cast, people, keypoints)
        size = (cast.width, cast.height) if is_a(cast, PlacedCast) and (scope.placed or hint.any()) else None
        net = InfuseNet(control_net, scope, infinite_you.tokens(people, photos), size)
        positive = Attachment(net, hint, strength, (start_percent, end_percent), vae).to(positive)
        return io.NodeOutput(positive, negative, ui=_preview(cls, scope, hint))


def _hint(cast: Cast, people: Sequence[Person], keypoints: bool) -> Tensor:
    """The five keypoints of each person on the canvas, (people, H, W, 3), or one black picture for all."""
    faces = [person.slot.keypoints if keypoints and person.slot else None for person in people]
    if not is_a(cast, PlacedCast) or not any(faces):
        return torch.zeros(1, FLUX.token, FLUX.token, 3)
    size = cast.width, cast.height
    return torch.stack([control_images.face_keypoints([face] if face else [], *size) for face in faces])


def _remarks(cast: Cast, mask: Tensor | None, acts_in: str, keypoints: bool) -> list[str]:
    """What works, but may not be meant."""
    places = [person for person in heard.heard(cast).people if keypoints and person.slot]
    bare = [person.identity.name for person in places if person.slot and person.slot.keypoints is None]
    free = gathered("No face keypoints in the place, so InfuseNet is shown black", bare)
    return [*heard.left_out(cast), *free, *heard.remarks(cast, mask, acts_in, FLUX.token)]


def _preview(cls: type[io.ComfyNode], scope: Scope, hint: Tensor) -> ui.PreviewImage | None:
    """The regions, and everybody's keypoints in one picture, as far as there are any."""
    areas = heard.drawn(scope.acts, scope.people, scope.by_row)
    faces = (hint if scope.by_row else hint.amax(0, keepdim=True)) if hint.any() else None
    shown = [pictures for pictures in (areas, faces) if pictures is not None]
    return ui.PreviewImage(torch.cat(shown), cls=cls) if shown else None


LOADER = FileLoader(
    FILE,
    load_infinite_you,
    licence="InfiniteYou's weights are CC BY-NC 4.0, for academic research alone as their authors say. FLUX.1 dev and "
    "the face recogniser have licences of their own",
    newer=True,
)
NODES = [ApplyInfiniteYou]
