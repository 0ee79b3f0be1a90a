"""How a report is made: from the faces of pictures, and from the people who are looked for in them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cast import Cast, Face, Faces, Person, PlacedCast, is_a
from ..persons.combining import combine
from ..persons.lookalikes import kin
from ..persons.matching import shared_by_nature, similarities
from .assignment import faces_of_people
from .comparison import UNKNOWN
from .report import NO_RECOGNISER, MeasuredPicture, Report, Sighting

NODE = "Measure Likeness"
STRANGER_BELOW = 0.2
"""Cosine. Two people's faces are seldom more alike than this, whatever the recogniser."""


def measure(
    pictures: Sequence[Faces],
    cast: Cast,
    recognisers: Sequence[str],
    method: str = UNKNOWN,
    stranger_below: float = STRANGER_BELOW,
) -> Report:
    """Who is who in every picture, by the first recogniser, and how alike people are by each of them.

    pictures: the faces of each picture. cast: from `people_to_find`. recognisers: from `judges`. method: by which the
    pictures were made, one of TRAINED_WITH. stranger_below: a face that is less like all people than this is a
    stranger's, and a person who has no other face is missing.
    Raises BadSize where a picture has another shape than the cast's canvas, BadEmbedding.
    """
    placed_cast = places_of(cast)
    persons = [member.person for member in cast.people]
    comparisons = [_Comparison(persons, recogniser) for recogniser in recognisers]
    measured: dict[str, list[MeasuredPicture]] = {recogniser: [] for recogniser in recognisers}
    for picture in pictures:
        tables = [comparison.table(picture) for comparison in comparisons]
        # The first recogniser decides who is who; the others measure the same pairs of person and face.
        face_of_person = faces_of_people(picture, placed_cast, tables[0], stranger_below)
        for comparison, table in zip(comparisons, tables, strict=True):
            measured[comparison.recogniser].append(comparison.measured(picture, face_of_person, table))
    return Report(
        people=cast.people,
        recognisers=tuple(recognisers),
        pictures={recogniser: tuple(of_it) for recogniser, of_it in measured.items()},
        method=method,
        width=placed_cast.width if placed_cast else 0,
        height=placed_cast.height if placed_cast else 0,
    )


def places_of(cast: Cast) -> PlacedCast | None:
    """A cast from `people_to_find` with its places, None for one without. There either all people have a place or none,
    so the first person stands for all."""
    return cast if is_a(cast, PlacedCast) and cast.people[0].slot else None


class _Comparison:
    """People compared with faces by one recogniser."""

    def __init__(self, persons: Sequence[Person], recogniser: str) -> None:
        self.persons = persons
        self.recogniser = recogniser
        self._shared = _shared_by_kin(persons, recogniser)

    def table(self, picture: Faces) -> Tensor:
        """How alike each person and each face of a picture are: (people, faces)."""
        return similarities(self.persons, [face.embeddings for face in picture.faces], self.recogniser, NODE)

    def measured(self, picture: Faces, face_of_person: Sequence[int | None], table: Tensor) -> MeasuredPicture:
        """A picture by this recogniser.

        face_of_person: per person the index of their face in the picture, None for a missing one. table: of `table`.
        """
        sightings: list[Sighting] = []
        for person, face in enumerate(face_of_person):
            if face is None:
                sightings.append(Sighting(person))  # missing
                continue
            sighting = Sighting(
                person,
                face,
                similarities=tuple(float(similarity) for similarity in table[:, face]),
                copy_paste=_copy_paste(self.persons[person], picture.faces[face], self.recogniser),
                shared=self._shared[person],
            )
            sightings.append(sighting)
        return MeasuredPicture(tuple(face.box for face in picture.faces), tuple(sightings))


def _shared_by_kin(persons: Sequence[Person], recogniser: str) -> list[tuple[float, ...]]:
    """Sighting.shared for each person; () for all where no two people are kin.

    Sighting.shared has 0 for everybody who is not kin. Strangers may be alike by chance. That is not subtracted from
    leakage, so that their figures are as published.
    """
    are_kin = kin(persons).fill_diagonal_(False)
    if not are_kin.any():
        return [()] * len(persons)
    shares = shared_by_nature(persons, recogniser, NODE).where(are_kin, 0.0)
    return [tuple(float(share) for share in row) for row in shares]


def _copy_paste(person: Person, face: Face, recogniser: str) -> float | None:
    """How much more alike a face is to the nearest photo of its person than the person's photos are to each other.

    It is the largest cosine with a photo, less the mean cosine between two photos. A picture that copies one photo has
    a value above 0. None for a person of a single photo.
    """
    photos = normalize(combine(person, recogniser, "sequence", NODE).float(), dim=-1)  # (photos, 512)
    if len(photos) < 2:
        return None
    embedding = normalize(face.embeddings[recogniser].float(), dim=-1)  # (512,)
    of_two_photos = ~torch.eye(len(photos), dtype=torch.bool)  # (photos, photos): False for a photo with itself
    between_photos = (photos @ photos.T)[of_two_photos]  # each pair twice, which leaves the mean as it is
    nearest_photo = (photos @ embedding).max()  # the cosine with it
    return float(nearest_photo - between_photos.mean())


def report_without_people(picture_count: int, method: str) -> Report:
    """A report of so many pictures in which no people are looked for, for parts and text alignment alone."""
    empty = MeasuredPicture(boxes=(), sightings=())
    pictures = {NO_RECOGNISER: (empty,) * picture_count}
    return Report(people=(), recognisers=(NO_RECOGNISER,), pictures=pictures, method=method)


def with_parts(report: Report, similarities: Sequence[Sequence[float]], labels: Sequence[str], of_looks: int) -> Report:
    """The report with how alike each part is to its region.

    similarities: per picture one cosine per part. labels: of the parts, in the same order. of_looks: see Report.
    """
    compared = _with_each_picture(report, [{"part_similarities": tuple(row)} for row in similarities])
    return replace(compared, labels=tuple(labels), of_looks=of_looks)


def with_text_alignment(report: Report, alignments: Sequence[float]) -> Report:
    """The report with how alike each picture is to the prompt. alignments: per picture a cosine."""
    return _with_each_picture(report, [{"text_alignment": alignment} for alignment in alignments])


def _with_each_picture(report: Report, changes: Sequence[Mapping[str, Any]]) -> Report:
    """The report with fields of its pictures changed, alike by all recognisers. changes: for each picture."""
    pictures: dict[str, tuple[MeasuredPicture, ...]] = {}
    for recogniser, measured in report.pictures.items():
        pairs = zip(measured, changes, strict=True)
        pictures[recogniser] = tuple(replace(picture, **change) for picture, change in pairs)
    return replace(report, pictures=pictures)
