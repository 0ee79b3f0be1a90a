"""Which reference latents of a prompt show which person."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ...core.people import Cast, Person
from ...core.taking_part import present

LATENTS = "reference_latents"
"""The host's own option of a CONDITIONING entry: a list of latents, which other nodes append to."""
REFERENCES = "likeness_references"
"""Option of a CONDITIONING entry: its PeopleReferences."""


@dataclass(frozen=True, eq=False)
class PeopleReferences:
    """The reference latents that one node has put into an entry, and the person whom each of them shows. Immutable.

    cast: everybody, also people of weight 0. latents: the very tensors that stand in the option LATENTS. owners: for
    each of them the index of a person among `present`, or None for one that shows no person. of_rows: for
    each of them whether every row of it shows the person of that row of the batch; () where none does. shown: for each
    of them the number of tokens by which the text shows it, which are the first of the text; () where the text does not
    matter. region_numbers: for each of them the number of the region in which the picture reads it, in the place of
    that of its person: the regions of all people present come first; () where each is read in its person's. strengths:
    for each of them how strongly it is read, beside the weight of its person; () where all are 1.
    """

    cast: Cast
    latents: tuple[Tensor, ...]
    owners: tuple[int | None, ...]
    of_rows: tuple[bool, ...] = ()
    shown: tuple[int, ...] = ()
    region_numbers: tuple[int | None, ...] = ()
    strengths: tuple[float, ...] = ()

    @cached_property
    def present(self) -> tuple[Person, ...]:
        """The people of weight above 0."""
        return present(self.cast).people

    def numbers_of(self, latents: Sequence[Tensor]) -> tuple[int | None, ...]:
        """For each of these latents its number among `latents` of this record; None for one of another node.

        A latent is recognised by the identity of its tensor. So other nodes may put latents of their own before,
        between and after ours; these show no person.
        """
        numbers = {id(latent): number for number, latent in enumerate(self.latents)}
        return tuple(numbers.get(id(latent)) for latent in latents)

    def weights_of(self, numbers: Sequence[int | None], row: int) -> tuple[float, ...]:
        """How strongly a row of the batch reads latents: by the weight of the person of each, and 1 for no person's.

        numbers: of the latents, as `numbers_of` gives them. row: counts where people have rows.
        """
        weights: list[float] = []
        for number in numbers:
            owner = None if number is None else self.owners[number]
            if number is not None and self.of_rows and self.of_rows[number]:
                owner = row
            weight = 1.0 if owner is None else self.present[owner].weight
            weights.append(weight * self.strengths[number] if number is not None and self.strengths else weight)
        return tuple(weights)

    @property
    def is_weighted(self) -> bool:
        """Whether a person or a latent has another weight than 1."""
        is_person_weighted = any(person.weight != 1 for person in self.present)
        return is_person_weighted or any(strength != 1 for strength in self.strengths)
