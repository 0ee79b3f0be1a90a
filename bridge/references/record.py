"""Which reference latents of a prompt show which person."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ...core.cast import Cast, Member
from ...core.taking_part import present

LATENTS = "reference_latents"
"""The host's own option of a CONDITIONING entry: a list of latents, which other nodes append to."""
REFERENCES = "likeness_references"
"""Option of a CONDITIONING entry: its PeopleReferences."""


@dataclass(frozen=True, eq=False)
class ReferenceLatent:
    """One reference latent, and what it shows.

    latent: the very tensor that stands in the option LATENTS. owner: the index of a person among those present; None
    where it shows no person. region: the number of the region in which the picture reads it; None where all of it does.
    The regions of all people present come first. strength: how strongly it is read, beside the weight of its person.
    shown: the number of tokens by which the text shows it; those of all references are the first of the text. boost:
    how many times the picture reads each of its tokens. kept: (1 or rows, h, w), 0..1, which of its latent pixels are
    read at all; None for all. of_rows: whether every row of it shows the person of that row of the batch.
    """

    latent: Tensor
    owner: int | None
    region: int | None
    strength: float = 1.0
    shown: int = 0
    boost: float = 1.0
    kept: Tensor | None = None
    of_rows: bool = False


@dataclass(frozen=True, eq=False)
class PeopleReferences:
    """The reference latents that one node has put into an entry.

    cast: everybody, also people of weight 0. isolated: whether references read neither text nor picture.
    """

    cast: Cast
    references: tuple[ReferenceLatent, ...]
    isolated: bool = False

    @cached_property
    def present(self) -> tuple[Member, ...]:
        """The people of weight above 0."""
        return present(self.cast).people

    def numbers_of(self, latents: Sequence[Tensor]) -> tuple[int | None, ...]:
        """For each of these latents its number in this record; None for one of another node.

        A latent is recognised by the identity of its tensor. So other nodes may put latents of their own before,
        between and after ours; these show no person.
        """
        numbers = {id(reference.latent): number for number, reference in enumerate(self.references)}
        return tuple(numbers.get(id(latent)) for latent in latents)

    def weight_of(self, reference: ReferenceLatent, row: int | None) -> float:
        """How strongly a row of the batch reads a reference: the weight of its person times its own strength.

        row: the number of the row, which is that of its person where the reference has rows (of_rows); else not used.
        """
        owner = row if reference.of_rows else reference.owner
        weight = 1.0 if owner is None else self.present[owner].weight
        return weight * reference.strength

    @property
    def is_read_as_it_is(self) -> bool:
        """Whether all tokens read all others, references whole, and everything has a weight and a boost of 1."""
        if self.is_weighted or (self.isolated and self.references):
            return False
        return all(reference.boost == 1 and reference.kept is None for reference in self.references)

    @property
    def is_weighted(self) -> bool:
        """Whether a reference is read by another weight than 1, in any row of the batch."""
        rows = range(len(self.present)) if self.cast.by_row else range(1)
        return any(self.weight_of(reference, row) != 1 for reference in self.references for row in rows)
