"""ID-Patch on the host: the loaded projections, and people turned into patches and tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...bridge import load
from ...core.errors import LikenessError
from ...core.models import manifest
from ...core.people import Person
from . import net as id_patch

FILE = load.Published(id_patch.METHOD, "ID-Patch file", manifest.model("id-patch"))


class SequenceUnsupported(LikenessError):
    """Several photos as a sequence for a projection that reads one embedding."""

    def __init__(self, identity: str, photos: int) -> None:
        super().__init__(
            f"{identity} has {photos} photos to be used as a sequence, but this file's projection reads one embedding.",
            "Set photos to mean or normalised mean on both ID-Patch nodes.",
        )


@dataclass(frozen=True)
class IDPatch:
    """A loaded id-patch file. `patcher` holds a core.id_patch.IDPatchNet; the host finds it by this name."""

    patcher: ModelPatcher

    @property
    def net(self) -> id_patch.IDPatchNet:
        return self.patcher.model

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.net.prompt_proj.width

    def tokens(self, people: tuple[Person, ...], photos: str) -> Tensor:
        """(1, people * tokens, width) float32 on the CPU, each person's tokens times the person's weight."""
        rows = [self._run(self.net.tokens, person, photos) * person.weight for person in people]
        return torch.cat(rows, dim=1)

    def unconditional_tokens(self, count: int) -> Tensor:
        """The tokens of an all-zero embedding, once per person: what the negative gets."""
        embedding = load.on_device(self.patcher, torch.zeros(1, 1, self.net.prompt_proj.embedding))
        return self.net.tokens(embedding).cpu().repeat(1, count, 1)

    def patches(self, people: tuple[Person, ...], photos: str) -> list[Tensor]:
        """(3, PATCH, PATCH) float32 on the CPU per person, times the person's weight."""
        return [self._run(self.net.patch, person, photos) * person.weight for person in people]

    def _run(self, projection: Callable[[Tensor], Tensor], person: Person, photos: str) -> Tensor:
        embeddings = id_patch.embeddings(person, photos)
        if embeddings.shape[1] > 1 and not self.net.takes_sequences:
            raise SequenceUnsupported(person.identity.name, embeddings.shape[1])
        return projection(load.on_device(self.patcher, embeddings)).cpu()


def load_id_patch(path: str) -> IDPatch:
    """Read id-patch.bin or its safetensors conversion.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    return IDPatch(FILE.load(path, id_patch.IDPatchNet))
