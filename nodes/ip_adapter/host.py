"""IP-Adapter on the host: the loaded file, and people turned into injections for both sides of the conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge import clip_vision, load, lora
from ...bridge.adapters import Hearing, keys_and_values
from ...bridge.injections import Injection
from ...core.identities import combine, portraits
from ...core.methods import method
from ...core.models import manifest
from ...core.models.tensors import State
from ...core.people import Identity, Person
from ..sockets import socket
from .files import LOOSE, RECOGNISER, SEQUENCE, SWAPPED, Variant, variant, versioned
from .net import IPAdapterNet, alike

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel

METHOD = "IP-Adapter"
FORMATS = tuple(one.id for one in method("ip_adapter").formats)
FILE = load.Published(METHOD, "IP-Adapter", manifest.model("ip-adapter-faceid_sd15"), FORMATS)


@dataclass(frozen=True)
class IPAdapter:
    """A loaded file. `patcher` holds an IPAdapterNet; the host finds it by this name. lora: as in bridge.lora, or
    nothing."""

    patcher: ModelPatcher
    variant: Variant
    lora: State

    @property
    def net(self) -> IPAdapterNet:
        return self.patcher.model

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.net.ip_adapter.width


def load_ip_adapter(path: str, version: str) -> IPAdapter:
    """Read any of the method's formats. version: of FaceID Plus, one of core.ip_adapter.files.VERSIONS.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    state = FILE.read(path)
    found = versioned(variant(state), state, path, version)
    return IPAdapter(FILE.build(path, IPAdapterNet, state), found, lora.of_adapter(state))


IPAdapterSocket = socket("LIKENESS_IP_ADAPTER", IPAdapter)


@dataclass(frozen=True)
class Reading:
    """How people are read. photos: as in identities.combine. cut: of what CLIP is given, one of CUTS. shortcut: how
    much of what CLIP sees is added in Plus v2."""

    photos: str
    cut: str
    shortcut: float


def make_injections(
    loaded: IPAdapter,
    people: Sequence[Person],
    clip: ClipVisionModel | None,
    reading: Reading,
    weight: float,
    hearing: Hearing,
) -> tuple[Injection, Injection]:
    """Of `people`, for the positive and the negative.

    Raises RecogniserMissing, PortraitsMissing, EncoderMissing, WrongEncoder, UnevenPhotos.
    """
    nothing = _nothing(loaded, clip)
    read = [_read(loaded, person.identity, clip, reading, nothing) for person in people]
    scales, source = torch.tensor([weight * person.weight for person in people]), object()

    def injection(side: Sequence[Tensor]) -> Injection:
        tokens = alike(side)
        layers = keys_and_values(loaded.patcher, loaded.net.ip_adapter, tokens, scales)
        return hearing.injection(source, tokens, layers)

    positive, negative = (injection(side) for side in zip(*read, strict=True))
    return positive, negative


def _read(
    loaded: IPAdapter, identity: Identity, clip: ClipVisionModel | None, reading: Reading, nothing: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The tokens (1, n, width) of a person, and as many of nobody, float32 on the CPU."""
    embeddings = _embeddings(loaded.variant, identity, reading.photos)
    seen = None if clip is None or nothing is None else _seen(loaded, identity, clip, reading)
    nobody = None if embeddings is None else torch.zeros_like(embeddings)
    unseen = None if seen is None or nothing is None else nothing.expand_as(seen)
    shortcut = reading.shortcut if loaded.variant.shortcut else None

    def tokens(embeddings: Tensor | None, seen: Tensor | None) -> Tensor:
        embeddings, seen = (x if x is None else load.on_device(loaded.patcher, x) for x in (embeddings, seen))
        return loaded.net.tokens(embeddings, seen, shortcut).cpu()

    return tokens(embeddings, seen), tokens(nobody, unseen)


def _embeddings(found: Variant, identity: Identity, photos: str) -> Tensor | None:
    """(n, 512), or None for a file that reads none."""
    if not found.embedding:
        return None
    rows = combine(identity, RECOGNISER, photos, method=found.title)
    return normalize(rows, dim=-1) if found.embedding == "normed" else rows


def _seen(loaded: IPAdapter, identity: Identity, clip: ClipVisionModel, reading: Reading) -> Tensor:
    """(n, ...) by CLIP of the pictures of a person, their mean unless they are a sequence."""
    kept = portraits(identity, loaded.variant.title)
    cut = kept.loose if reading.cut == LOOSE else kept.aligned
    seen = seen_of(loaded, clip, (cut.flip(-1) if reading.cut == SWAPPED else cut).float() / 255)
    return seen if reading.photos == SEQUENCE else seen.mean(dim=0, keepdim=True)


def seen_of(loaded: IPAdapter, clip: ClipVisionModel, pictures: Tensor) -> Tensor:
    """What the file reads of pictures (n, H, W, 3) by CLIP, (n, ...). Raises WrongEncoder, BadPicture."""
    look = clip_vision.states if loaded.variant.clip == "states" else clip_vision.embeds
    return look(clip, pictures, loaded.net.seen)


def nothing_of(loaded: IPAdapter, clip: ClipVisionModel) -> Tensor:
    """What such a file reads on the negative side, (1, ...); raises as `seen_of`."""
    states, width = loaded.variant.clip == "states", loaded.net.seen
    return clip_vision.nothing(clip, width) if states else torch.zeros(1, width)


def _nothing(loaded: IPAdapter, clip: ClipVisionModel | None) -> Tensor | None:
    """The same, or None for a file that reads nothing of CLIP."""
    found = loaded.variant
    if not found.clip:
        return None
    if clip is None:
        kind = clip_vision.STATES if found.clip == "states" else clip_vision.EMBEDS
        raise clip_vision.EncoderMissing(found.title, kind, loaded.net.seen)
    return nothing_of(loaded, clip)
