"""Every figure that is published is what the words beside it say, computed again in numpy from these words, over
made-up pictures of 2, 3, 4 and 8 people whose answer is known."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from comparison import own_pictures, page
from comparison.columns import OF_A_SET
from numpy.typing import NDArray

from core import measure
from core.people import Cast, Face, Faces, Identity, Person, PlacedCast, Slot

RECOGNISER = "w600k_r50"
COUNTS = (2, 3, 4, 8)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class PictureOfFaces:
    """A picture of faces in places from left to right. faces: whose photo each is made from, None for a stranger's."""

    faces: Sequence[int | None]


def unit(rows: Values) -> Values:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class Crowd:
    """People with one to three photos each and pictures of them. Similarities are never below 0.2 but for strangers."""

    def __init__(self, people: int, placed: bool) -> None:
        rng = np.random.default_rng(10 * people + placed)
        common = unit(rng.standard_normal(512))
        self.photos = []
        for person in range(people):
            photos = common + unit(rng.standard_normal((person % 3 + 1, 512))) * 1.2
            self.photos.append(unit(photos))
        self.placed = placed
        self.people = people
        order = list(range(people))
        exchanged = [1, 0, *order[2:]]
        self.pictures = [
            PictureOfFaces(order),
            PictureOfFaces(exchanged),
            PictureOfFaces([None, *order[1:]]),  # the first person is missing, and a stranger stands there
            PictureOfFaces([*order, None]),
        ]
        self.embeddings = [self._faces(picture, rng, common) for picture in self.pictures]

    def _faces(self, picture: PictureOfFaces, rng: np.random.Generator, common: Values) -> Values:
        rows: list[Values] = []
        for person in picture.faces:
            if person is None:
                stranger = rng.standard_normal(512)
                rows.append(unit(stranger - 2 * common * abs(stranger @ common)))
            else:
                rows.append(unit(self.photos[person][0] + 0.5 * unit(rng.standard_normal(512))))
        return np.array(rows)

    def cast(self) -> Cast:
        persons: list[Person] = []
        for number, photos in enumerate(self.photos):
            rows = torch.from_numpy(photos).float()
            identity = Identity(f"person {number}", {RECOGNISER: rows}, torch.zeros(len(rows), 112, 112, 3))
            slot = None
            place = 0
            if self.placed:
                slot = Slot((50.0 + 100 * number, 50.0), (30.0 + 100 * number, 30.0, 70.0 + 100 * number, 70.0))
                place = number + 1
            persons.append(Person(identity, 1.0, slot, place))
        if self.placed:
            return PlacedCast(tuple(persons), 100 * (self.people + 1), 100)
        return Cast(tuple(persons))

    def faces(self) -> list[Faces]:
        pictures: list[Faces] = []
        for rows in self.embeddings:
            faces: list[Face] = []
            for number, row in enumerate(rows):
                x = 50.0 + 100 * number
                y = 50.0
                points = ((x - 8, y - 8), (x + 8, y - 8), (x, y), (x - 6, y + 8), (x + 6, y + 8))
                embedding = torch.from_numpy(row).float()
                crop = torch.zeros(112, 112, 3)
                faces.append(Face((x - 20, y - 20, x + 20, y + 20), points, 0.9, crop, {RECOGNISER: embedding}))
            pictures.append(Faces(tuple(faces), 100 * (self.people + 1), 100))
        return pictures

    def faces_of_people(self, similarities: Values) -> list[int | None]:
        """Of every person the face: in their place, or by all assignments the one with the largest sum."""
        if self.placed:
            chosen: Sequence[int] = range(self.people)
        else:
            options = itertools.permutations(range(similarities.shape[1]), self.people)
            chosen = max(options, key=lambda option: similarities[range(self.people), option].sum())
        faces: list[int | None] = []
        for face in chosen:
            is_known = similarities[:, face].max() >= measure.STRANGER_BELOW
            faces.append(face if is_known else None)
        return faces


@dataclass
class Sums:
    """What one picture adds up to, by the words of docs/dev/measuring.md."""

    resemblance: float
    weakest: float
    association: float
    leakage: float | None
    margin: float
    copied: float | None
    missing: int
    extra: int
    swapped: int


def by_hand(crowd: Crowd, number: int) -> Sums:
    rows = crowd.embeddings[number]
    similarities = np.array([(photos @ rows.T).mean(axis=0) for photos in crowd.photos])  # (people, faces)
    faces = crowd.faces_of_people(similarities)
    resemblances: list[float] = []
    leakages: list[float] = []
    margins: list[float] = []
    copied: list[float] = []
    right = swapped = 0
    for person, face in enumerate(faces):
        if face is None:
            resemblances.append(0.0)
            margins.append(0.0)
            continue
        similarities_of_others = [
            similarities[other_person, face] for other_person in range(crowd.people) if other_person != person
        ]
        resemblances.append(similarities[person, face])
        leakages.append(max(similarities_of_others))
        margins.append(similarities[person, face] - max(similarities_of_others))
        if similarities[person, face] > max(similarities_of_others):
            right += 1
        else:
            swapped += 1
        photos = crowd.photos[person]
        if len(photos) > 1:
            between = [float(a @ b) for a, b in itertools.combinations(photos, 2)]
            copied.append(max(float(photo @ rows[face]) for photo in photos) - float(np.mean(between)))
    return Sums(
        resemblance=float(np.mean(resemblances)),
        weakest=min(resemblances),
        association=right / crowd.people,
        leakage=float(np.mean(leakages)) if leakages else None,
        margin=float(np.mean(margins)),
        copied=float(np.mean(copied)) if copied else None,
        missing=faces.count(None),
        extra=len(rows) - sum(face is not None for face in faces),
        swapped=swapped,
    )


@pytest.fixture(params=list(itertools.product(COUNTS, (False, True))), ids=str)
def crowd(request: pytest.FixtureRequest) -> Crowd:
    return Crowd(*request.param)


def test_figures_of_faces_are_what_their_words_say(crowd: Crowd) -> None:
    report = measure.measure(crowd.faces(), crowd.cast(), [RECOGNISER])
    expected = [by_hand(crowd, number) for number in range(len(crowd.pictures))]
    assert sum(sums.missing for sums in expected) > 0
    assert sum(sums.extra for sums in expected) > 0
    assert sum(sums.swapped for sums in expected) == (2 if crowd.placed else 0)
    for picture, sums in zip(report.judged_pictures, expected, strict=True):
        figures = {figure.name: figure.of_picture(picture) for figure in measure.FIGURES[:5]}
        assert figures == {
            "weakest person": pytest.approx(sums.weakest, abs=1e-6),
            "resemblance": pytest.approx(sums.resemblance, abs=1e-6),
            "association": pytest.approx(sums.association, abs=1e-6),
            "margin": pytest.approx(sums.margin, abs=1e-6),
            "leakage": pytest.approx(sums.leakage or 0.0, abs=1e-6),
        }
        assert picture.missing == sums.missing
        assert len(picture.stranger_faces) == sums.extra
        assert picture.swapped == sums.swapped
        copied = None if sums.copied is None else pytest.approx(sums.copied, abs=1e-6)
        assert measure.score(picture, "copy-paste") == copied


def test_figures_of_a_set_are_means_of_its_pictures_and_shares_of_its_people(crowd: Crowd, tmp_path: Path) -> None:
    """As sets.csv has them, each under its name."""
    results: list[own_pictures.Result] = []
    for number, faces in enumerate(crowd.faces()):
        report = measure.measure([faces], crowd.cast(), [RECOGNISER])
        results.append(own_pictures.Result("set", f"{number}", report))
    (row,) = own_pictures.rows_of(results, tmp_path)
    (line,) = csv.DictReader(io.StringIO(page.as_csv([row], OF_A_SET, "set").decode()))
    people = 4 * crowd.people
    expected = [by_hand(crowd, number) for number in range(len(results))]
    copied = [sums.copied for sums in expected if sums.copied is not None]
    leakage = [sums.leakage for sums in expected if sums.leakage is not None]
    confused = {line.pop(name) for name in ("dominance", "blending", "note")}  # the first two: test_compare_columns.py
    assert "" in confused
    assert line == {
        "set": "set",
        "recogniser": RECOGNISER,
        "pictures": "4",
        "resemblance": f"{np.mean([sums.resemblance for sums in expected]):.4f}",
        "association": f"{np.mean([sums.association for sums in expected]):.4f}",
        "leakage": f"{np.mean(leakage):.4f}",
        "margin": f"{np.mean([sums.margin for sums in expected]):.4f}",
        "weakest person": f"{np.mean([sums.weakest for sums in expected]):.4f}",
        "missing": f"{sum(sums.missing for sums in expected) / people:.4f}",
        "extra": f"{sum(sums.extra for sums in expected) / 4:.4f}",
        "swapped": f"{sum(sums.swapped for sums in expected) / people:.4f}",
        "copy-paste": f"{np.mean(copied):.4f}",
        "face px": "40.0000",
        "people": f"{people}",
    }


@pytest.mark.parametrize("people", COUNTS)
def test_a_picture_in_which_nobody_is_found_does_not_lower_the_leakage(people: int, tmp_path: Path) -> None:
    """Nobody's leakage is unknown: the mean is that of the other pictures, and of nothing but such pictures none."""
    crowd = Crowd(people, placed=True)
    nobody = Faces((), 100 * (people + 1), 100)
    right = crowd.faces()[0]
    with_nobody = measure.measure([right, nobody], crowd.cast(), [RECOGNISER])
    alone = measure.measure([right], crowd.cast(), [RECOGNISER])
    totals = measure.totals(with_nobody.judged_pictures)
    totals_alone = measure.totals(alone.judged_pictures)
    assert totals_alone.leakage > 0.2
    assert totals.leakage == totals_alone.leakage
    assert totals.resemblance == totals_alone.resemblance / 2
    empty = measure.measure([nobody], crowd.cast(), [RECOGNISER])
    (row,) = own_pictures.rows_of([own_pictures.Result("", "nobody", empty)], tmp_path)
    assert row.figures["leakage"] is None and row.figures["missing"] == 1
