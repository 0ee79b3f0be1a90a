"""What was measured: who is who in each picture and how alike, as the nodes and the pictures show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..methods import methods
from ..models.packs import ANTELOPE
from ..people import Box, Person

_RANKED = [
    *((one.rank, one.measured_as, one.recogniser) for one in methods() if one.measured_as),
    (25, "PuLID", ANTELOPE),
]
METHODS: Mapping[str, str] = {"unknown": "", **{name: recogniser for _, name, recogniser in sorted(_RANKED)}}
"""The recogniser each method was trained with. It is biased towards that method: any other judges better."""


@dataclass(frozen=True)
class Sighting:
    """One person in one picture.

    person: their index among those who are measured. face: which of the picture's faces, or None where they are
    missing. similarities: of that face to everybody who is measured, in their order. copied: how much more alike the
    face is to one photo than photos of this person are to each other; None with a single photo.
    """

    person: int
    face: int | None = None
    similarities: tuple[float, ...] = ()
    copied: float | None = None

    @property
    def similarity(self) -> float:
        """To the own photos; 0 for somebody who is missing."""
        return self.similarities[self.person] if self.similarities else 0.0

    @property
    def leakage(self) -> float:
        """To the one of the others whom the face is most like; 0 where there is nobody else."""
        others = [value for person, value in enumerate(self.similarities) if person != self.person]
        return max(others, default=0.0)

    @property
    def margin(self) -> float:
        """By how much the face is more like this person than like anybody else."""
        return self.similarity - self.leakage

    @property
    def looks_like(self) -> int | None:
        """Index of the person whom the face is most like."""
        return max(range(len(self.similarities)), key=self.similarities.__getitem__) if self.similarities else None

    @property
    def right(self) -> bool:
        return self.looks_like == self.person

    @property
    def swapped(self) -> bool:
        """Whether the face is more like somebody else of the cast."""
        return self.face is not None and not self.right


@dataclass(frozen=True)
class Measured:
    """One picture, seen by one recogniser: its faces from left to right, and a sighting per person.

    parts: how alike each part is to its region, where parts were compared.
    """

    boxes: tuple[Box, ...]
    sightings: tuple[Sighting, ...]
    parts: tuple[float, ...] = ()

    @property
    def present(self) -> tuple[Sighting, ...]:
        return tuple(one for one in self.sightings if one.face is not None)

    @property
    def missing(self) -> int:
        return len(self.sightings) - len(self.present)

    @property
    def swapped(self) -> int:
        return sum(one.swapped for one in self.sightings)

    @property
    def extra(self) -> tuple[int, ...]:
        """Faces of nobody who is measured."""
        known = {one.face for one in self.sightings}
        return tuple(face for face in range(len(self.boxes)) if face not in known)

    @property
    def resemblance(self) -> float:
        """Mean similarity of everybody to themselves; who is missing counts as 0."""
        return _mean([one.similarity for one in self.sightings])

    @property
    def weakest(self) -> float:
        """The same of the person who is least alike."""
        return min(one.similarity for one in self.sightings)

    @property
    def association(self) -> float:
        """Share of the people whose face is more like them than like anybody else of the cast."""
        return _mean([float(one.right) for one in self.sightings])

    @property
    def leakage(self) -> float:
        """Mean over those who are there of how alike they are to somebody else."""
        return _mean([one.leakage for one in self.present])

    @property
    def margin(self) -> float:
        return _mean([one.margin for one in self.sightings])

    @property
    def copy_paste(self) -> float | None:
        """Mean over those who are there and have several photos; None where there is nobody of that kind."""
        known = [one.copied for one in self.present if one.copied is not None]
        return _mean(known) if known else None

    @property
    def part_similarity(self) -> float | None:
        """Mean over the parts; None without any."""
        return _mean(self.parts) if self.parts else None


@dataclass(frozen=True)
class Report:
    """What travels on LIKENESS_REPORT: everything there is to choose pictures by.

    numbers: of the places in Place Cast's picture, or of the order where there are none. recognisers: the one that
    judges first; the others saw the same faces. pictures: by recogniser, one Measured per picture of the batch.
    method: one of METHODS. width, height: of the canvas of the places, 0 without them. labels: of the parts.
    """

    people: tuple[Person, ...]
    recognisers: tuple[str, ...]
    pictures: Mapping[str, tuple[Measured, ...]]
    method: str = "unknown"
    width: int = 0
    height: int = 0
    labels: tuple[str, ...] = ()

    @property
    def judged(self) -> tuple[Measured, ...]:
        return self.pictures[self.recognisers[0]]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(person.place or number for number, person in enumerate(self.people, 1))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(person.identity.name for person in self.people)

    @property
    def placed(self) -> bool:
        return self.people[0].slot is not None

    @property
    def flattered(self) -> bool:
        """Whether the judge is what the method itself was trained with."""
        return self.recognisers[0] == METHODS[self.method]


MEANS = ("resemblance", "association", "leakage", "margin")


def totals(pictures: Sequence[Measured]) -> tuple[float, float, float, float, int, int, int]:
    """MEANS, each the mean of all pictures; missing, extra and swapped, their sum."""
    each = [[one.resemblance, one.association, one.leakage, one.margin] for one in pictures]
    resemblance, association, leakage, margin = map(_mean, zip(*each, strict=True))
    extra, missing = sum(len(one.extra) for one in pictures), sum(one.missing for one in pictures)
    return resemblance, association, leakage, margin, missing, extra, sum(one.swapped for one in pictures)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
