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
from ...bridge.adapters import check_layout, injections
from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.injections import Injection
from ...bridge.loaders import FileLoader
from ...bridge.lora import with_lora
from ...bridge.schema import advanced, applied_outputs, heard_inputs, percent_input, photos_input, searchable
from ...bridge.scopes import Scope
from ...core.families import SDXL, of_text
from ...core.identities import PHOTOS, combine, portraits
from ...core.people import Identity
from ...core.places import heard
from ...core.places.heard import REGIONS
from ..sockets import CastOrIdentitySocket
from . import style
from .file import FILE, METHOD, IPAdapter, IPAdapterSocket, load_ip_adapter
from .net import alike
from .variants import BY_THE_FILE, CUTS, LOOSE, SEQUENCE, SWAPPED, VERSIONS, Variant

CATEGORY = "likeness/ip-adapter"
APPLY = "Apply IP-Adapter (Likeness)"
AS_MADE = "as the file was made"


class LoadIPAdapter(FileLoader, io.ComfyNode):
    published, made = FILE, load_ip_adapter

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadIPAdapter",
            display_name="Load IP-Adapter (Likeness)",
            category=CATEGORY,
            description="Loads an IP-Adapter for SD1.5 or SDXL: FaceID, its Plus and portrait kinds, plain, plus, "
            "plus-face and full-face. Which of them a file is, its contents say.",
            inputs=[
                advanced(
                    io.Combo.Input(
                        "plus_version",
                        options=list(VERSIONS),
                        default=BY_THE_FILE,
                        tooltip="FaceID Plus for SD1.5 alone: its two versions have the same tensors. by the file "
                        "knows the published v1 by its hash, and takes any other file for v2.",
                    )
                ),
            ],
        )
        tooltip = "A .bin as published, or a safetensors copy of it, from models/ipadapter."
        return cls.loading(
            schema, IPAdapterSocket, "ip_adapter", tooltip,
            "ip-adapter", "ipadapter", "faceid", "face id", "plus face", "identity", "人脸",
        )  # fmt: skip


class ApplyIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyIPAdapter",
            display_name=APPLY,
            category=CATEGORY,
            description="IP-Adapter for one person, or for many in one pass, each in their own region. The tokens "
            "travel in both conditionings; the MODEL learns to read them, and a LoRA inside the file is put on it. Use "
            "the model output for the sampler.",
            inputs=[
                io.Model.Input("model", tooltip="An SD1.5 or SDXL model, as the file was made for."),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                IPAdapterSocket.Input("ip_adapter", tooltip="From Load IP-Adapter (Likeness)."),
                CastOrIdentitySocket.Input(
                    "cast", tooltip="One person (an identity or a cast, no place needed) or several with places."
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision, for the files that look at a picture: FaceID Plus, plain, plus, "
                    "plus-face and full-face. Which encoder a file needs is said where it is missing or another.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=-1.0,
                    max=3.0,
                    step=0.01,
                    tooltip="How strongly the UNet reads the people. 0 switches all of it off, the LoRA too.",
                ),
                io.Float.Input(
                    "shortcut",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.01,
                    tooltip="FaceID Plus v2 alone: how much of what CLIP sees of the face is added to what the "
                    "embedding says. 0 is the embedding alone; above 1 the photo's hair, light and pose come along.",
                ),
                io.Float.Input(
                    "lora_weight",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="FaceID and FaceID Plus alone: the strength of the LoRA in the file. It acts in all of the "
                    "picture. 1 as published; other packs begin at 0.6, which leaves more of the checkpoint's style.",
                ),
                percent_input("start_percent", 0.0, "When it starts; 0.1 to 0.2 leaves more of the style."),
                percent_input("end_percent", 1.0, "When it stops."),
                photos_input(
                    "How several photos of one person are joined: average, average direction at the usual length, "
                    "all of them as a sequence, or the average of those that agree with each other. As the file was "
                    "made: average for FaceID and FaceID Plus, a sequence for all others.",
                    [AS_MADE, *PHOTOS],
                ),
                advanced(
                    io.Combo.Input(
                        "portrait",
                        options=[AS_MADE, *CUTS],
                        default=AS_MADE,
                        tooltip="What of each photo CLIP is given: the aligned face alone, as FaceID Plus was made, or "
                        "head and shoulders, as the others. face in BGR swaps red and blue, as the authors' example "
                        "for FaceID Plus does.",
                    )
                ),
                *heard_inputs(
                    "face boxes = it acts inside the face boxes of the places alone, and the prompt has the rest of "
                    "the picture: for styles, and for people seen from afar."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return searchable(
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


NODES = [LoadIPAdapter, ApplyIPAdapter, *style.NODES]
