"""Style per person: pictures that some people are drawn like, and the others not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge import notes, scopes, unet
from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.injections import Injection
from ...bridge.schema import IN_METHODS, advanced, applied_outputs, described, percent_input, region_inputs
from ...bridge.scopes import Scope, check_layout, injections
from ...core.errors import BadCast, LikenessError
from ...core.people import Cast, PlacedCast, require_places
from ...core.pictures import as_masks
from ...core.places import regions
from ...core.prompts import named
from ...core.text import plain
from ..sockets import CastSocket
from .file import METHOD, IPAdapter, IPAdapterSocket
from .net import CHOICES, CROP, PAD, fitted, heard_in

NAME = "Style per Person"
NOBODY = "No person is drawn in this style: those who are meant have weight 0."


class NotForPictures(LikenessError):
    """An IP-Adapter that reads faces, where pictures are to be read. what: the file in words."""

    def __init__(self, node: str, what: str) -> None:
        super().__init__(
            f"{node} reads pictures, but the ip_adapter is {what}, which reads the embedding of a face.",
            "Load a plain or plus file with Load Adapter, such as ip-adapter-plus_sdxl_vit-h.safetensors from "
            "https://huggingface.co/h94/IP-Adapter, into models/ipadapter.",
        )


class ApplyStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyStyle",
            display_name=NAME,
            category=IN_METHODS,
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                IPAdapterSocket.Input("ip_adapter"),
                io.ClipVision.Input("clip_vision"),
                io.Image.Input("images"),
                CastSocket.Input("cast", optional=True),
                io.String.Input("who", default=""),
                io.Combo.Input("layers", options=list(CHOICES)),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                percent_input("start_percent", 0.0),
                percent_input("end_percent", 1.0),
                io.Combo.Input("fit", options=[PAD, CROP]),
                *map(advanced, region_inputs()),
                io.Mask.Input("mask", optional=True),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return described(
            schema, "style", "style transfer", "InstantStyle", "IP-Adapter", "ipadapter", "regional style", "ink",
            "reference", "风格",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        ip_adapter: IPAdapter,
        clip_vision: ClipVisionModel,
        images: Tensor,
        cast: Cast | None = None,
        *,
        who: str,
        layers: str,
        weight: float,
        start_percent: float,
        end_percent: float,
        fit: str,
        extent: regions.Extent,
        margin: float,
        feather: int,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        node = notes.node_of(cls)
        if who.strip() and cast is None and mask is None:
            advice = "Connect the cast of Place Cast, or leave who empty for a style of the whole picture."
            raise BadCast(f"{NAME}: who is {plain(who, 60)!r}, but no cast is connected.", advice)
        placed = None if cast is None or mask is not None else require_places(cast, NAME)
        drawn = [True] if placed is None else _drawn(placed, who)
        notes.tell(node, "" if any(drawn) else NOBODY)
        if not weight or not any(drawn):
            return io.NodeOutput(model, positive, negative)
        if ip_adapter.variant.embedding:
            raise NotForPictures(NAME, ip_adapter.variant.title)
        window = sigmas_of(model, NAME, start_percent, end_percent)
        check_conditioning([*positive, *negative], ip_adapter.width, NAME)
        check_layout(ip_adapter.net.ip_adapter.widths, model, METHOD.title)
        on = heard_in([layer[:3] for layer in unet.attention_layers(model)], layers)
        if placed is None:
            everywhere = scopes.everywhere(Cast(()), NAME, node, window)
            scope = replace(everywhere, regions=None if mask is None else _painted(cast, mask))
        elif placed.by_row:
            scope = scopes.of_bodies(placed, NAME, node, window, None, extent, margin, feather, rows=True)
        else:
            people = [person for person, meant in zip(placed.people, drawn, strict=True) if meant]
            scope = scopes.of_bodies(placed, NAME, node, window, None, extent, margin, feather, people, alone=False)
        scales = weight * torch.tensor(drawn if scope.by_row else [True])
        carried = _injections(ip_adapter, scope, clip_vision, fitted(images, fit), on, scales)
        return scope.applied(cls, model, (positive, negative), carried)


def _injections(
    loaded: IPAdapter, scope: Scope, clip: ClipVisionModel, pictures: Tensor, on: Sequence[bool], scales: Tensor
) -> list[Injection]:
    """What all the pictures (B, H, W, 3) together add to the positive and, with nothing in each, to the negative, in
    all regions alike.

    on: for each layer whether they are heard there. scales: (1,), or with a row per person one for each of them.
    Raises WrongEncoder, BadPicture.
    """
    areas = scope.regions
    together = scope if areas is None else replace(scope, regions=areas.amax(0, keepdim=True))
    seen = loaded.seen(clip, pictures)
    both = seen, loaded.nothing(clip).expand_as(seen)
    sides = [loaded.tokens(None, each).expand(len(scales), -1, -1) for each in both]

    def heard(one: Injection) -> Injection:
        return replace(one, layers=tuple(layer if is_on else None for layer, is_on in zip(one.layers, on, strict=True)))

    return [heard(one) for one in injections(loaded, together, sides, scales)]


def _drawn(placed: PlacedCast, who: str) -> list[bool]:
    """For each person whether they are drawn in the style. Raises BadCast."""
    meant = named(who, regions.names(placed.people), NAME)
    return [number in meant and person.weight > 0 for number, person in enumerate(placed.people)]


def _painted(cast: Cast | None, mask: Tensor) -> Tensor:
    """(1, H, W) where any of the masks is. Raises BadRegion for nothing, and where there is a picture per person."""
    regions.check_one_picture(cast)
    found = as_masks(mask).amax(0, keepdim=True)
    if not found.any():
        raise regions.BadRegion("the style", "the mask is empty", "Paint it, or disconnect it for the whole picture.")
    return found


NODES = [ApplyStyle]
