"""InstantID on the host: the loaded file, and people turned into injections for both sides of the conditioning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...bridge import load
from ...bridge.adapters import Hearing, keys_and_values
from ...bridge.injections import Injection
from ...core.models import manifest
from ...core.people import Person
from . import net as instant_id

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider

FILE = load.Published(instant_id.METHOD, "InstantID adapter", manifest.model("instantid"))


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


def load_instant_id(path: str) -> InstantID:
    """Read ip-adapter.bin or a safetensors conversion of it.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    return InstantID(FILE.load(path, instant_id.InstantIDNet))


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
    hearing: Hearing,
    negative_noise: float,
    noise_seed: int,
    begins: Callable[[CFGGuider], None] | None = None,
) -> Injections:
    """Tokens, and keys and values per layer, of `people`; one person without regions is heard everywhere.

    begins: as in Injection.
    """
    faces = loaded.tokens([instant_id.embeddings(person, photos) for person in people])
    length = loaded.net.image_proj.embedding
    nobody = loaded.tokens([instant_id.unconditional(negative_noise, noise_seed, length)])
    scales = torch.tensor([weight * person.weight for person in people])
    source = object()

    def injection(tokens: Tensor) -> Injection:
        layers = keys_and_values(loaded.patcher, loaded.net.ip_adapter, tokens, scales) if weight else ()
        return hearing.injection(source, tokens, layers, begins)

    return Injections(injection(faces), injection(nobody.expand(len(people), -1, -1)), nobody)
