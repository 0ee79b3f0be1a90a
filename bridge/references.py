"""People as reference pictures of a DiT: what lies in `reference_latents`, and which of it is whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..core.people import Cast

LATENTS = "reference_latents"
"""The host's own option of a CONDITIONING entry: a list of latents, which other nodes append to."""
REFERENCES = "likeness_references"
"""Option of a CONDITIONING entry: its PeopleReferences."""


@dataclass(frozen=True, eq=False)
class PeopleReferences:
    """Which reference latents of an entry are whose. Immutable.

    cast: everybody, as they were given. latents: the very tensors that stand in the option LATENTS. people: for each
    of them the index of a person among `heard(cast).people`, or None for one that is open to all.
    """

    cast: Cast
    latents: tuple[Tensor, ...]
    people: tuple[int | None, ...]


def whose(options: Mapping[str, Any]) -> tuple[int | None, ...]:
    """For every latent in the option LATENTS of an entry, the index of its person, or None: open to all.

    Known by the tensor itself, so that what other nodes put before, between and behind ours is open to all.
    """
    record: PeopleReferences | None = options.get(REFERENCES)
    latents: list[Tensor] = options.get(LATENTS) or []
    if record is None:
        return (None,) * len(latents)
    owners = {id(latent): person for latent, person in zip(record.latents, record.people, strict=True)}
    return tuple(owners.get(id(latent)) for latent in latents)
