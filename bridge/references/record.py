"""Which reference latents of a prompt show which person."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...core.people import Cast

LATENTS = "reference_latents"
"""The host's own option of a CONDITIONING entry: a list of latents, which other nodes append to."""
REFERENCES = "likeness_references"
"""Option of a CONDITIONING entry: its PeopleReferences."""


@dataclass(frozen=True, eq=False)
class PeopleReferences:
    """The reference latents that one node has put into an entry, and the person whom each of them shows. Immutable.

    cast: everybody, also people of weight 0. latents: the very tensors that stand in the option LATENTS. people: for
    each of them the index of a person among `present(cast).people`, or None for one that shows no person.
    """

    cast: Cast
    latents: tuple[Tensor, ...]
    people: tuple[int | None, ...]

    def owners_of(self, latents: Sequence[Tensor]) -> tuple[int | None, ...]:
        """For each of these latents the index of its person; None for one that shows no person.

        A latent is recognised by the identity of its tensor. So other nodes may put latents of their own before,
        between and after ours; these show no person.
        """
        person_of_tensor: dict[int, int | None] = {}
        for latent, person in zip(self.latents, self.people, strict=True):
            person_of_tensor[id(latent)] = person
        return tuple(person_of_tensor.get(id(latent)) for latent in latents)
