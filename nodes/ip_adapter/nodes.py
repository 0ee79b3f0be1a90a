"""IP-Adapter: load a file of any kind, apply it for one person or many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge import notes, scopes
from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.injections import Injection
from ...bridge.loaders import FileLoader
from ...bridge.lora import with_lora
from ...bridge.schema import IN_METHODS, advanced, applied_outputs, described, heard_inputs, percent_input, photos_input
from ...bridge.scopes import Scope, check_layout, injections
from ...core.families import SDXL, of_text
from ...core.identities import PHOTOS, combine, portraits
from ...core.people import Identity
from ...core.places import heard
from ...core.places.heard import REGIONS
from ..sockets import CastOrIdentitySocket
from . import style
from .file import FILE, METHOD, IPAdapter, IPAdapterSocket, load_ip_adapter
from .net import BY_THE_FILE, CUTS, LOOSE, SEQUENCE, SWAPPED, VERSIONS, Variant, alike

APPLY = "Apply IP-Adapter"
AS_MADE = "as the file was made"


class ApplyIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyIPAdapter",
            display_name=APPLY,
            category=IN_METHODS,
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                IPAdapterSocket.Input("ip_adapter"),
                CastOrIdentitySocket.Input("cast"),
                io.ClipVision.Input("clip_vision", optional=True),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                io.Float.Input("shortcut", default=1.0, min=0.0, max=3.0, step=0.01),
                io.Float.Input("lora_weight", default=1.0, min=0.0, max=2.0, step=0.01),
                percent_input("start_percent", 0.0),
                percent_input("end_percent", 1.0),
                photos_input([AS_MADE, *PHOTOS]),
                advanced(io.Combo.Input("portrait", options=[AS_MADE, *CUTS], default=AS_MADE)),
                *heard_inputs(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return described(
            schema, "ip-adapter", "ipadapter", "faceid", "face id", "plus face", "portrait", "same person",
            "character", "sd1.5 face", "换脸",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        ip_adapter: IPAdapter,
        cast: Any,  # a Cast or an Identity
        clip_vision: ClipVisionModel | None = None,
        *,
        weight: float,
        shortcut: float,
        lora_weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        portrait: str,
        region_margin: float,
        feather: float,
        mask: Tensor | None = None,
        acts_in: str = REGIONS,
    ) -> io.NodeOutput:
        cast = heard.as_cast(cast)
        people, node, made = heard.heard(cast).people, notes.node_of(cls), ip_adapter.variant
        told = heard.remarks(cast, mask, acts_in, (of_text(ip_adapter.width) or SDXL).token)
        notes.tell(node, "\n".join([*heard.left_out(cast), *told]))
        if not people or weight == 0:
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, "The adapter", start_percent, end_percent)
        check_conditioning([*positive, *negative], ip_adapter.width, APPLY)
        check_layout(ip_adapter.net.ip_adapter.widths, model, METHOD.title)
        scope = scopes.of_faces(cast, APPLY, node, window, mask, region_margin, feather, acts_in)
        joined, cut = made.photos if photos == AS_MADE else photos, made.cut if portrait == AS_MADE else portrait
        how = replace(made, photos=joined, cut=cut)
        carried = _injections(ip_adapter, scope, clip_vision, how, shortcut, weight)
        acting = with_lora(model, ip_adapter.lora, lora_weight, node)
        return scope.applied(cls, acting, (positive, negative), carried)


def _injections(
    loaded: IPAdapter, scope: Scope, clip: ClipVisionModel | None, how: Variant, shortcut: float, weight: float
) -> list[Injection]:
    """Of everybody for the positive, and of as much of nobody for the negative. how: people are read.

    Raises RecogniserMissing, PortraitsMissing, EncoderMissing, WrongEncoder, UnevenPhotos.
    """
    nothing = loaded.nothing(clip) if how.clip else None
    read = [_read(loaded, person.identity, clip, how, shortcut, nothing) for person in scope.people]
    scales = torch.tensor([weight * person.weight for person in scope.people])
    return injections(loaded, scope, [alike(side) for side in zip(*read, strict=True)], scales)


def _read(
    loaded: IPAdapter,
    identity: Identity,
    clip: ClipVisionModel | None,
    how: Variant,
    shortcut: float,
    nothing: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The tokens (1, n, width) of a person, and as many of nobody."""
    embeddings = _embeddings(identity, how) if how.embedding else None
    nobody = None if embeddings is None else torch.zeros_like(embeddings)
    seen = unseen = None
    if clip is not None and nothing is not None:
        seen = _seen(loaded, identity, clip, how)
        unseen = nothing.expand_as(seen)
    return loaded.tokens(embeddings, seen, shortcut), loaded.tokens(nobody, unseen, shortcut)


def _embeddings(identity: Identity, how: Variant) -> Tensor:
    """(n, 512)."""
    rows = combine(identity, METHOD.recogniser, how.photos, how.title)
    return normalize(rows, dim=-1) if how.embedding == "normed" else rows


def _seen(loaded: IPAdapter, identity: Identity, clip: ClipVisionModel, how: Variant) -> Tensor:
    """(n, ...) by CLIP of the pictures of a person, their mean unless they are a sequence."""
    kept = portraits(identity, how.title)
    cut = kept.loose if how.cut == LOOSE else kept.aligned
    seen = loaded.seen(clip, (cut.flip(-1) if how.cut == SWAPPED else cut).float() / 255)
    return seen if how.photos == SEQUENCE else seen.mean(dim=0, keepdim=True)


_VERSION = io.Combo.Input("plus_version", options=list(VERSIONS), default=BY_THE_FILE, optional=True)
LOADER = FileLoader(FILE, load_ip_adapter, (advanced(_VERSION),))
NODES = [ApplyIPAdapter, *style.NODES]
