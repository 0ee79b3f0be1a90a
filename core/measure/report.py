"""What is measured: one person in one picture, one picture by one recogniser, and the report of a batch of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from ..cast import Box, Member
from ..persons.lookalikes import kin_lines
from ..pictures.geometry import Fit
from .comparison import TRAINED_WITH, UNKNOWN

NO_RECOGNISER = ""
"""Stands in a report without people where the recogniser would stand."""


@dataclass(frozen=True)
class Sighting:
    """One person in one picture, by one recogniser.

    person: index among the people of the report. face: index among the faces of the picture, or None where the person
    is missing.
    similarities: cosines of that face with all people of the report, in their order; empty for a missing person.
    copy_paste: how much more alike the face is to one photo than the photos of this person are to each other; None for
    a missing person and for one of a single photo.
    shared: for each person of the report, how like them a perfect picture of this person is because the two are kin, as
    `shared_by_nature` gives it; 0 for people who are not kin. () where no two people of the report are kin.
    """

    person: int
    face: int | None = None
    similarities: tuple[float, ...] = ()
    copy_paste: float | None = None
    shared: tuple[float, ...] = ()

    @property
    def similarity(self) -> float:
        """The similarity of the face to the person's own photos; 0 for a missing person."""
        if not self.similarities:
            return 0.0
        return self.similarities[self.person]

    @property
    def nearest_other(self) -> float:
        """The similarity of the face to the other person whom it is most like; 0 where there is no other person or no
        face."""
        others = [similarity for person, similarity in enumerate(self.similarities) if person != self.person]
        return max(others, default=0.0)

    @property
    def leakage(self) -> float:
        """The highest similarity of the face to another person, without the part that comes of the two being kin.

        Let i be this person, j another one, and s_j the similarity of the face to j. The result is the largest
        s_j - shared_j * s_i over all j: that part of the face which is at right angles to i's photos, compared with j.
        With two siblings a perfect picture of the right one has 0, and a face of the other one 1 - shared^2. For a
        stranger shared_j is 0, so nothing is subtracted.
        """
        if not self.shared:
            return self.nearest_other
        others = [person for person in range(len(self.similarities)) if person != self.person]
        less_shared = [self.similarities[person] - self.shared[person] * self.similarity for person in others]
        return max(less_shared, default=0.0)

    @property
    def margin(self) -> float:
        """The difference between the similarity to this person and that to any other."""
        return self.similarity - self.nearest_other

    @property
    def looks_like(self) -> int | None:
        """Index of the person whom the face is most like, the first of equal ones; None for a missing person."""
        if not self.similarities:
            return None
        return self.similarities.index(max(self.similarities))

    @property
    def right(self) -> bool:
        """Whether the person has a face and it is most like this person."""
        return self.looks_like == self.person

    @property
    def swapped(self) -> bool:
        """Whether the person has a face and it is more like another person of the report."""
        return self.face is not None and not self.right


@dataclass(frozen=True)
class MeasuredPicture:
    """One picture by one recogniser. Its figures are in figures.py.

    boxes: of its faces from left to right, in pixels of the picture. sightings: one per person of the report, in their
    order. part_similarities: how alike each part is to its region, where parts were compared. text_alignment: how alike
    the picture is to the prompt, where that was compared.
    """

    boxes: tuple[Box, ...]
    sightings: tuple[Sighting, ...]
    part_similarities: tuple[float, ...] = ()
    text_alignment: float | None = None

    @property
    def present(self) -> tuple[Sighting, ...]:
        """The sightings of people who have a face in the picture."""
        return tuple(sighting for sighting in self.sightings if sighting.face is not None)

    @property
    def missing(self) -> int:
        """The number of people who have no face in the picture."""
        return len(self.sightings) - len(self.present)

    @property
    def swapped(self) -> int:
        """The number of people who have a face that is more like another person."""
        return sum(sighting.swapped for sighting in self.sightings)

    @property
    def stranger_faces(self) -> tuple[int, ...]:
        """Indices of the faces that are no person's of the report."""
        faces_of_people = {sighting.face for sighting in self.sightings}
        return tuple(face for face in range(len(self.boxes)) if face not in faces_of_people)


@dataclass(frozen=True)
class Report:
    """The measured pictures of a batch, which travel on LIKENESS_REPORT.

    recognisers: the first decides who is who, the others measure the same faces. Without people: NO_RECOGNISER alone.
    pictures: recogniser -> one MeasuredPicture per picture of the batch.
    method: by which the pictures were made, one of TRAINED_WITH.
    width, height: of the canvas of the places, in pixels, 0 without places. labels: of the parts. of_looks: how many of
    these, the first ones, people wear as looks.
    """

    people: tuple[Member, ...]
    recognisers: tuple[str, ...]
    pictures: Mapping[str, tuple[MeasuredPicture, ...]]
    method: str = UNKNOWN
    width: int = 0
    height: int = 0
    labels: tuple[str, ...] = ()
    of_looks: int = 0

    @cached_property
    def kin_lines(self) -> list[str]:
        """A line that names who of the people are kin by their faces, for the text and the note; none without kin."""
        return kin_lines([member.person for member in self.people])

    @property
    def judge(self) -> str:
        """The recogniser that decides who is who."""
        return self.recognisers[0]

    @property
    def judged_pictures(self) -> tuple[MeasuredPicture, ...]:
        """The pictures by the recogniser that judges."""
        return self.pictures[self.judge]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number of each person: of the place in Place Cast's picture, or, without places, in the list, from 1."""
        return tuple(member.place or member.number or number for number, member in enumerate(self.people, 1))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.people)

    @property
    def has_places(self) -> bool:
        """Whether people were looked for in places. All have one, or none has: `people_to_find` sees to it."""
        return bool(self.people) and self.people[0].slot is not None

    @property
    def judge_is_biased(self) -> bool:
        """Whether the recogniser that judges is the one that the method was trained with, which is biased."""
        return self.judge == TRAINED_WITH[self.method]

    def of_pictures(self, indices: Sequence[int]) -> "Report":
        """The report on some of its pictures, in the order of these indices."""
        chosen = {recogniser: tuple(of_it[index] for index in indices) for recogniser, of_it in self.pictures.items()}
        return replace(self, pictures=chosen)

    def as_json(self) -> dict[str, Any]:
        """The figures, as JSON has them."""
        pictures = {recogniser: list(map(asdict, of_it)) for recogniser, of_it in self.pictures.items()}
        places = self.numbers if self.has_places else None
        return {
            "names": self.names,
            "places": places,
            "labels": self.labels,
            "of_looks": self.of_looks,
            "method": self.method,
            "pictures": pictures,
        }

    def canvas_onto(self, width: int, height: int) -> Fit:
        """The mapping from the canvas of the places onto a picture of width x height pixels."""
        return Fit(width / self.width, height / self.height, 0, 0)
