"""InstantID on the host: the loaded file, and people turned into injections for both sides of the conditioning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..core import instant_id
from ..core.errors import LikenessError
from ..core.models import manifest
from ..core.people import Person
from . import load, unet
from .conditioning import Canvas
from .injections import Injection

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider

FILE = load.Published(instant_id.METHOD, "InstantID adapter", manifest.model("instantid"))


class AdapterMismatch(LikenessError):
    """An adapter whose layers do not fit the MODEL's cross-attention layers."""

    def __init__(self, adapter: str, model: str, theirs: int, ours: int, why: str) -> None:
        super().__init__(
            f"This {adapter} file has {ours} cross-attention layers and does not fit the MODEL ({model}, {theirs} "
            f"layers): {why}.",
            "Use a MODEL with SDXL's own layout (SDXL, Turbo, Lightning, LCM and their fine-tunes), or an adapter "
            "that was trained for this one.",
        )


@dataclass(frozen=True)
class InstantID:
    """A loaded ip-adapter file. `patcher` holds a core.instant_id.InstantIDNet; the host finds it by this name."""

    patcher: ModelPatcher

    @property
    def net(self) -> instant_id.InstantIDNet:
        return self.patcher.model

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.net.image_proj.width

    def tokens(self, embeddings: Sequence[Tensor]) -> Tensor:
        """(1, n, 512) per person -> (people, 16, width) float32 on the CPU."""
        rows = [self.net.tokens(load.on_device(self.patcher, row)).cpu() for row in embeddings]
        return torch.cat(rows)

    def keys_and_values(self, tokens: Tensor, scales: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Per layer (people, T, C) twice, float32 on the CPU; scales (people,): of the values."""
        pairs = self.net.keys_and_values(load.on_device(self.patcher, tokens))
        return tuple((keys.cpu(), values.cpu() * scales[:, None, None]) for keys, values in pairs)


def load_instant_id(path: str) -> InstantID:
    """Read ip-adapter.bin or a safetensors conversion of it.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    return InstantID(FILE.load(path, instant_id.InstantIDNet))


def check_layout(loaded: InstantID, model: ModelPatcher) -> None:
    """Raise AdapterMismatch unless every layer of the file finds a cross-attention layer of its width."""
    ours, theirs = loaded.net.layer_widths, [width for *_, width in unet.attention_layers(model)]
    if ours != theirs:
        different = [i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]]
        why = "another number of layers" if not different else f"layer {different[0]} has another width"
        name = type(model.model.model_config).__name__
        raise AdapterMismatch(instant_id.METHOD, name, len(theirs), len(ours), why)


@dataclass(frozen=True)
class Injections:
    """For the positive and the negative, and what IdentityNet reads where nobody stands."""

    positive: Injection
    negative: Injection
    nobody: Tensor


def make_injections(
    loaded: InstantID,
    people: Sequence[Person],
    photos: str,
    *,
    weight: float,
    regions: Tensor | None,
    sigmas: tuple[float, float],
    negative_noise: float,
    noise_seed: int,
    canvas: Canvas | None = None,
    begins: Callable[[CFGGuider], None] | None = None,
    by_row: bool = False,
    boxes: Tensor | None = None,
) -> Injections:
    """Tokens, and keys and values per layer, of `people`; one person without regions is heard everywhere.

    by_row: person n in row n of the batch alone. boxes: as in Injection.
    """
    faces = loaded.tokens([instant_id.embeddings(person, photos) for person in people])
    length = loaded.net.image_proj.embedding
    nobody = loaded.tokens([instant_id.unconditional(negative_noise, noise_seed, length)])
    scales = torch.tensor([weight * person.weight for person in people])
    source = object()

    def injection(tokens: Tensor) -> Injection:
        layers = loaded.keys_and_values(tokens, scales) if weight else ()
        return Injection(source, sigmas, tokens, layers, regions, canvas, begins, by_row, boxes)

    return Injections(injection(faces), injection(nobody.expand(len(people), -1, -1)), nobody)
