"""The columns of the benchmarks, computed again from embeddings by trying every assignment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from comparison import identities_collapse, multi_human, multi_id
from comparison.benchmarks import Benchmark
from comparison.columns import figures
from comparison.judged import Compared, Judged, as_json, from_json, pairs

RECOGNISERS = ("first", "second")
Vectors = np.ndarray
"""(faces, width): embeddings of unit length."""


@dataclass(frozen=True)
class Picture:
    """A picture as embeddings, by recogniser: of its faces, of the photo's faces, of the reference photos."""

    faces: dict[str, Vectors]
    truth: dict[str, Vectors]
    references: dict[str, Vectors]
    whole: list[float]
    text: float | None

    @property
    def people(self) -> int:
        return len(self.references["first"])

    def judged(self) -> Judged:
        compared: dict[str, Compared] = {}
        for name in RECOGNISERS:
            compared[name] = Compared(
                table(self.faces[name], self.references[name]),
                table(self.faces[name], self.truth[name]),
                table(self.truth[name], self.references[name]),
            )
        return Judged(self.people, len(self.faces["first"]), len(self.truth["first"]), compared, self.whole, self.text)


def table(first: Vectors, second: Vectors) -> list[list[float]]:
    if not len(first) or not len(second):
        return []
    return (first @ second.T).tolist()


def made_up(seed: int, people: int, faces: int, truth: int) -> Picture:
    """Somebody's faces are like them, in another order; further faces are strangers."""
    random = np.random.default_rng(seed)

    def near(vectors: Vectors, count: int) -> Vectors:
        order = random.permutation(count)
        more = random.normal(size=(max(0, count - len(vectors)), 16))
        chosen = np.concatenate([vectors, more])[:count] + 0.25 * random.normal(size=(count, 16))
        return (chosen / np.linalg.norm(chosen, axis=1, keepdims=True))[order] if count else np.zeros((0, 16))

    by_face: dict[str, Vectors] = {}
    by_truth: dict[str, Vectors] = {}
    by_reference: dict[str, Vectors] = {}
    for name in RECOGNISERS:
        persons = random.normal(size=(people, 16))
        by_reference[name] = persons / np.linalg.norm(persons, axis=1, keepdims=True)
        by_face[name] = near(by_reference[name], faces)
        by_truth[name] = near(by_reference[name], truth)
    whole = random.uniform(0.2, 0.8, people).tolist()
    return Picture(by_face, by_truth, by_reference, whole, float(random.uniform(0.1, 0.4)))


PICTURES = [
    made_up(1, 1, 1, 1), made_up(2, 2, 2, 2), made_up(3, 3, 3, 3), made_up(4, 3, 2, 3), made_up(5, 3, 5, 3),
    made_up(6, 4, 0, 4), made_up(7, 4, 4, 4), made_up(8, 2, 2, 3), made_up(9, 5, 4, 5), made_up(10, 4, 4, 3),
    made_up(11, 4, 3, 3),
]  # fmt: skip
JUDGED = [picture.judged() for picture in PICTURES]


def best(cosines: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Row and column of each pair of the assignment with the highest sum, found by trying all."""
    rows, columns = len(cosines), len(cosines[0]) if cosines else 0
    options: list[list[tuple[int, int]]] = []
    if rows <= columns:
        options = [list(enumerate(chosen)) for chosen in itertools.permutations(range(columns), rows)]
    else:
        for chosen in itertools.permutations(range(rows), columns):
            options.append([(row, column) for column, row in enumerate(chosen)])
    return max(options, key=lambda option: sum(cosines[row][column] for row, column in option))


def without_outliers(values: Sequence[float]) -> float:
    """By sorting: the mean within one and a half interquartile ranges of the quartiles."""
    ordered = sorted(values)

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = ordered[math.floor(place)]
        return below + (place - math.floor(place)) * (ordered[math.ceil(place)] - below)

    lower, upper = quantile(0.25), quantile(0.75)
    reach = 1.5 * (upper - lower)
    return float(np.mean([value for value in values if lower - reach <= value <= upper + reach]))


def by_picture(value: Callable[[Picture, str], float | None]) -> float:
    """The mean without outliers of a value of all pictures by all recognisers."""
    values: list[float] = []
    for picture in PICTURES:
        for name in RECOGNISERS:
            of_picture = value(picture, name)
            if of_picture is not None:
                values.append(of_picture)
    return without_outliers(values)


def assigned(first: Vectors, second: Vectors) -> float | None:
    cosines = table(first, second)
    if not cosines:
        return None
    return float(np.mean([cosines[row][column] for row, column in best(cosines)]))


def not_assigned(picture: Picture, name: str) -> float | None:
    cosines = table(picture.faces[name], picture.truth[name])
    if not cosines or picture.people == 1:
        return None
    own = best(cosines)
    others = [
        cosines[row][column]
        for row in range(len(cosines))
        for column in range(len(cosines[0]))
        if (row, column) not in own
    ]
    return float(np.mean(others)) if others else None


def copied(picture: Picture, name: str) -> float | None:
    faces, truth, references = picture.faces[name], picture.truth[name], picture.references[name]
    if not len(faces) == len(truth) == len(references):
        return None
    of_truth, of_reference = dict(best(table(faces, truth))), dict(best(table(faces, references)))
    values: list[float] = []
    for number, face in enumerate(faces):
        photo, reference = truth[of_truth[number]], references[of_reference[number]]
        to_photo, to_reference, between = (
            math.acos(float(a @ b)) for a, b in ((face, photo), (face, reference), (photo, reference))
        )
        values.append((to_photo - to_reference) / between)
    return float(np.mean(values))


def identity(name_of_judge: str) -> float:
    values: list[float] = []
    for picture in PICTURES:
        cosines = table(picture.references[name_of_judge], picture.faces[name_of_judge])
        total = sum(cosines[row][column] for row, column in best(cosines)) if cosines else 0.0
        values.append(total / picture.people)
    return 100 * float(np.mean(values))


def collapsed(below: float) -> float:
    rates = [sum(cosine < below for cosine in picture.whole) / picture.people for picture in PICTURES]
    return 100 * float(np.mean(rates))


TEXTS = [picture.text for picture in PICTURES if picture.text is not None]
EXPECTED: dict[tuple[str, str], float] = {
    ("multi-id", "Sim(GT)"): by_picture(lambda picture, name: assigned(picture.faces[name], picture.truth[name])),
    ("multi-id", "Sim(Ref)"): by_picture(lambda picture, name: assigned(picture.faces[name], picture.references[name])),
    ("multi-id", "copy-paste"): by_picture(copied),
    ("multi-id", "blending"): by_picture(not_assigned),
    ("multi-id", "CLIP-T"): without_outliers(TEXTS),
    ("multi-human", "count"): 100 * 6 / 11,
    ("multi-human", "identity"): float(np.mean([identity("first"), identity("second")])),
    ("multi-human", "CLIP-T"): float(np.mean(TEXTS)),
    ("identities-collapse", "SCR@0.4"): collapsed(0.4),
    ("identities-collapse", "SCR@0.5"): collapsed(0.5),
    ("identities-collapse", "SCR@0.6"): collapsed(0.6),
    ("identities-collapse", "DINOv2"): float(np.mean([np.mean(picture.whole) for picture in PICTURES])),
    ("identities-collapse", "CLIP-T"): float(np.mean(TEXTS)),
}
BENCHMARKS = (multi_id.BENCHMARK, multi_human.BENCHMARK, identities_collapse.BENCHMARK)
CASES = [(benchmark, column.name) for benchmark in BENCHMARKS for column in benchmark.columns]


@pytest.mark.parametrize(("benchmark", "name"), CASES, ids=[f"{one.key} {name}" for one, name in CASES])
def test_a_column_is_what_its_sentence_says(benchmark: Benchmark, name: str) -> None:
    value = figures(JUDGED, benchmark.columns)[name]
    assert value == pytest.approx(EXPECTED[benchmark.key, name], rel=1e-9)


@pytest.mark.parametrize(("benchmark", "name"), CASES, ids=[f"{one.key} {name}" for one, name in CASES])
def test_a_column_says_nothing_of_nothing(benchmark: Benchmark, name: str) -> None:
    assert figures([], benchmark.columns)[name] is None


def test_outliers_are_left_out_on_both_sides() -> None:
    values = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95]
    assert multi_id.without_outliers([*values, 50.0]) == pytest.approx(1.0)
    assert multi_id.without_outliers([*values, -50.0]) == pytest.approx(1.0)
    assert multi_id.without_outliers([3.0]) == 3.0


def test_outliers_of_texts_are_left_out() -> None:
    pictures = [Judged(1, 1, text_alignment=text) for text in (0.3, 0.31, 0.29, 0.3, -5.0)]
    assert multi_id.text_alignment(pictures) == pytest.approx(0.3)
    assert multi_human.text_alignment(pictures) == pytest.approx(-0.76)


def test_a_picture_of_one_person_has_no_blending_and_no_copy_without_its_own_number_of_faces() -> None:
    alone, twice, missing = made_up(1, 1, 1, 1).judged(), made_up(1, 1, 2, 1).judged(), made_up(4, 3, 2, 3).judged()
    assert multi_id.blending([alone]) is None and multi_id.blending([twice]) is None
    assert multi_id.blending([missing]) is not None
    assert multi_id.copy_paste([alone]) is not None and multi_id.copy_paste([missing]) is None


@pytest.mark.parametrize(("faces", "truth"), [(1, 3), (2, 3), (4, 3), (3, 2), (3, 4)])
def test_a_picture_with_another_number_of_faces_is_left_out_of_copy_paste_alone(faces: int, truth: int) -> None:
    """Of three people. For the similarities and blending it counts with as many pairs as there are; one without any
    face is left out of all four."""
    picture = made_up(12, 3, faces, truth)
    judged = picture.judged()
    assert multi_id.copy_paste([judged]) is None
    for metric, others in ((multi_id.similarity_to_truth, picture.truth), (multi_id.similarity_to_references, None)):
        values: list[float] = []
        for name in RECOGNISERS:
            known = (others or picture.references)[name]
            cosines = table(picture.faces[name], known)
            pairs_of_picture = best(cosines)
            assert len(pairs_of_picture) == min(faces, len(known))
            values.append(float(np.mean([cosines[row][column] for row, column in pairs_of_picture])))
        assert metric([judged]) == pytest.approx(np.mean(values), rel=1e-9)
    blended = [not_assigned(picture, name) for name in RECOGNISERS]
    assert None not in blended and multi_id.blending([judged]) == pytest.approx(np.mean(np.array(blended)), rel=1e-9)

    nobody = made_up(12, 3, 0, truth).judged()
    for metric in multi_id.COLUMNS[:4]:
        assert metric.of_row([nobody]) is None, metric.name
        if metric.name != "copy-paste":
            assert metric.of_row([judged, nobody]) == metric.of_row([judged]), metric.name


def test_a_reference_that_is_the_photo_itself_says_nothing_of_copying() -> None:
    compared = Compared(references=[[0.5]], truth=[[0.7]], between=[[1.0]])
    assert multi_id.copy_paste([Judged(1, 1, 1, {"first": compared})]) == 0.0


def test_two_people_are_not_given_one_face() -> None:
    """The nearest of both is the first column; one of them has to take the other."""
    found = pairs([[0.9, 0.8], [0.85, 0.1]])
    assert [(pair.row, pair.column) for pair in found] == [(0, 1), (1, 0)]
    assert pairs([]) == [] and pairs([[]]) == []


def test_nobody_counts_as_a_face_that_is_not_there() -> None:
    """A picture without faces has the identity 0, and is not left out; no DINOv2 leaves SCR open."""
    empty = Judged(2, 0, compared={"first": Compared()})
    assert multi_human.similarity([empty]) == 0.0 and multi_human.count_accuracy([empty]) == 0.0
    assert identities_collapse.collapse(0.4, [empty]) is None


@pytest.mark.parametrize("judged", JUDGED)
def test_what_is_measured_comes_back_from_its_file(judged: Judged) -> None:
    again = from_json(as_json(judged))
    assert again == judged
    assert list(judged.only(["second"]).compared) == ["second"]
