"""The columns of compare.py --people, computed again from their sentences in plain numpy, and what is written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparison.columns import COLUMNS, figures
from comparison.formulas import between_people, blending, collapse_rate, copied, dominance
from comparison.judged import Judged
from environment import ROOT
from html_page import Page
from pack.core.cast import Person
from pack.core.measure.report import MeasuredPicture, Sighting

BOX = (0.0, 0.0, 10.0, 10.0)
PEOPLE = 4


def picture_of(tables: Sequence[Sequence[float] | None], strangers: int = 0) -> MeasuredPicture:
    """A picture with a person per entry: the similarities of their face to all people, or None for a missing one."""
    sightings: list[Sighting] = []
    faces = 0
    for person, table in enumerate(tables):
        if table is None:
            sightings.append(Sighting(person))
            continue
        sightings.append(Sighting(person, faces, tuple(table)))
        faces += 1
    return MeasuredPicture((BOX,) * (faces + strangers), tuple(sightings))


def made_up(seed: int) -> Judged:
    """A picture of PEOPLE people whose figures are random numbers; one person may be missing."""
    random = np.random.default_rng(seed)
    tables: list[list[float] | None] = []
    for _ in range(PEOPLE):
        tables.append(random.uniform(-0.1, 0.9, PEOPLE).tolist())
    tables[1] = [0.31, 0.33, 0.05, 0.0]  # of two people
    if seed % 2:
        tables[3] = None
    alike = random.uniform(-0.1, 0.3, (PEOPLE, PEOPLE))
    alike[0, 1] = alike[1, 0] = 0.05
    subjects: list[float | None] = random.uniform(0, 1, PEOPLE).tolist()
    if seed % 2:
        subjects[3] = None
    return Judged(
        people=PEOPLE,
        measured=picture_of(tables, strangers=seed % 4),
        alike_in_photos=alike.tolist(),
        subjects=subjects,
        whole=random.uniform(0, 0.55, PEOPLE).tolist(),
        copied=random.uniform(-1, 1, 3).tolist(),
        text_alignment=float(random.uniform(0.1, 0.4)),
        seconds=float(random.uniform(1, 9)),
        step_seconds=float(random.uniform(0.1, 0.5)),
    )


ROW = [made_up(seed) for seed in range(5)]


def tables_of(picture: Judged) -> list[tuple[float, ...] | None]:
    """Per person the similarities of their face, None for a missing person."""
    return [None if one.face is None else one.similarities for one in picture.measured.sightings]


def mean_of_pictures(value: Callable[[Judged], float]) -> float:
    return float(np.mean([value(picture) for picture in ROW]))


def share_of_people(is_so: Callable[[int, Any], bool]) -> float:
    """Of all people of the row. is_so: of a person's number and the similarities of their face."""
    found = [is_so(person, table) for picture in ROW for person, table in enumerate(tables_of(picture))]
    return float(np.mean(found))


def repeated(picture: Judged) -> float:
    """Dominance: of N faces those that are not the first one of the person whom they look most like."""
    faces = [int(np.argmax(table)) for table in tables_of(picture) if table is not None]
    return (len(faces) - len(set(faces))) / len(faces)


def of_two(picture: Judged) -> float:
    """Blending, from its sentence."""
    blended: list[bool] = []
    for table in tables_of(picture):
        if table is None:
            continue
        first, second = np.argsort([-one for one in table], kind="stable")[:2]
        near = table[second] >= 0.2 and table[first] >= 0.2
        blended.append(
            near and table[first] - table[second] < 0.1 and table[second] - picture.alike_in_photos[first][second] > 0.1
        )
    return float(np.mean(blended))


def highest_other(picture: Judged) -> float:
    values: list[float] = []
    for person, table in enumerate(tables_of(picture)):
        if table is not None:
            values.append(max(table[:person] + table[person + 1 :]))
    return float(np.mean(values))


def own(picture: Judged) -> float:
    return float(np.mean([0.0 if table is None else table[person] for person, table in enumerate(tables_of(picture))]))


def lowest_own(picture: Judged) -> float:
    """The weakest person, from the sentence."""
    values: list[float] = []
    for person, table in enumerate(tables_of(picture)):
        values.append(0.0 if table is None else table[person])
    return sorted(values)[0]


def middle(values: Sequence[float | None]) -> float:
    return sorted(value for value in values if value is not None)[len(values) // 2]


OF_ONE: dict[str, Callable[[], float]] = {
    "resemblance": lambda: mean_of_pictures(own),
    "missing": lambda: share_of_people(lambda _, table: table is None),
    "extra": lambda: float(np.mean([seed % 4 for seed in range(5)])),
    "collapse": lambda: mean_of_pictures(lambda one: float(np.mean([x is None or x < 0.4 for x in one.subjects]))),
    "SCR@0.4": lambda: mean_of_pictures(lambda one: float(np.mean([x < 0.4 for x in one.whole]))),
    "copy-paste": lambda: mean_of_pictures(lambda one: float(np.mean(one.copied))),
    "text alignment": lambda: mean_of_pictures(lambda one: one.text_alignment or 0.0),
    "seconds": lambda: middle([one.seconds for one in ROW]),
    "per step": lambda: middle([one.step_seconds for one in ROW]),
}
"""Columns that also say something of a person who is alone."""
OF_SEVERAL: dict[str, Callable[[], float]] = {
    "weakest person": lambda: mean_of_pictures(lowest_own),
    "association": lambda: share_of_people(lambda person, table: table is not None and np.argmax(table) == person),
    "leakage": lambda: mean_of_pictures(highest_other),
    "swapped": lambda: share_of_people(lambda person, table: table is not None and np.argmax(table) != person),
    "dominance": lambda: mean_of_pictures(repeated),
    "blending": lambda: mean_of_pictures(of_two),
}
EXPECTED = OF_ONE | OF_SEVERAL


@pytest.mark.parametrize("name", [column.name for column in COLUMNS])
def test_a_column_is_what_its_sentence_says(name: str) -> None:
    assert figures(ROW)[name] == pytest.approx(EXPECTED[name](), rel=1e-9)


def test_no_two_columns_of_the_row_are_equal() -> None:
    """Else exchanged columns would not be noticed above."""
    values = [EXPECTED[column.name]() for column in COLUMNS]
    assert sorted(EXPECTED) == sorted(column.name for column in COLUMNS)
    for number, value in enumerate(values):
        for other in values[number + 1 :]:
            assert abs(value - other) > 1e-3, (number, value)


def test_of_one_person_nothing_is_said_of_others() -> None:
    values = figures([Judged(1, measured=picture_of([[0.6]]), alike_in_photos=[[1.0]])])
    said = {name for name, value in values.items() if value is not None}
    assert said == {"resemblance", "missing", "extra"} and values["resemblance"] == pytest.approx(0.6)


def test_where_everybody_is_missing_there_is_no_leakage() -> None:
    nobody = Judged(
        people=2, measured=picture_of([None, None]), alike_in_photos=[[1.0, 0.0], [0.0, 1.0]],
        subjects=[None, None], whole=[0.5, 0.1],
    )  # fmt: skip
    values = figures([nobody])
    assert values["weakest person"] == 0, "which is known: nobody is there"
    assert values["leakage"] is None and values["dominance"] is None and values["blending"] is None
    assert values["missing"] == 1 and values["collapse"] == 1 and values["SCR@0.4"] == 0.5
    somebody = Judged(people=2, measured=picture_of([[0.6, 0.2], [0.1, 0.7]]), alike_in_photos=[[1.0, 0.0], [0.0, 1.0]])
    assert figures([nobody, somebody])["leakage"] == pytest.approx(0.15)


def test_exchanged_people_dominate_nobody_and_one_for_all_dominates() -> None:
    """Swap and dominance are told apart."""
    swapped = picture_of([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    assert dominance(swapped) == 0
    everybody = picture_of([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.6, 0.3, 0.1]])
    assert dominance(everybody) == pytest.approx(2 / 3)
    assert dominance(picture_of([[0.8, 0.1], None])) is None


@pytest.mark.parametrize(
    ("table", "alike", "share"),
    [
        ([0.50, 0.45], 0.0, 0.5),  # near to both
        ([0.45, 0.50], 0.0, 0.5),  # whoever is first
        ([0.50, 0.39], 0.0, 0.0),  # clearly the first
        ([0.50, 0.41], 0.0, 0.5),
        ([0.24, 0.19], 0.0, 0.0),  # the second is nobody's
        ([0.50, 0.45], 0.4, 0.0),  # look-alikes: their photos are as near
        ([0.50, 0.45], 0.3, 0.5),
    ],
)
def test_a_blended_face_is_near_to_two_people_and_clearly_to_none(
    table: list[float], alike: float, share: float
) -> None:
    picture = picture_of([table, [0.0, 0.9]])
    assert blending(picture, [[1.0, alike], [alike, 1.0]]) == share


def test_how_alike_people_are_in_their_photos_is_the_cosine_of_their_means() -> None:
    random = torch.Generator().manual_seed(3)
    rows = [torch.randn(2, 512, generator=random), torch.randn(1, 512, generator=random)]
    people = [Person(f"{n}", {"x": row}, torch.zeros(len(row), 112, 112, 3)) for n, row in enumerate(rows)]
    table = between_people(people, "x")
    means = [row.double().mean(0).numpy() for row in rows]
    for first in range(2):
        for second in range(2):
            cosine = means[first] @ means[second]
            cosine /= np.linalg.norm(means[first]) * np.linalg.norm(means[second])
            assert table[first][second] == pytest.approx(cosine, abs=2e-6)


def test_who_is_missing_has_collapsed() -> None:
    assert collapse_rate([0.39, 0.4, None, 0.9]) == 0.5
    assert collapse_rate([0.45, 0.55], below=0.5) == 0.5
    assert collapse_rate([]) is None


def at_angle(degrees: float) -> torch.Tensor:
    """(512,): an embedding at this angle in the plane of the first two axes, of any length."""
    embedding = torch.zeros(512)
    embedding[0] = 3 * math.cos(math.radians(degrees))
    embedding[1] = 3 * math.sin(math.radians(degrees))
    return embedding


def test_a_copy_of_the_photo_is_one_and_of_the_other_photo_minus_one() -> None:
    """The photo is at 0 degrees, another photo of the person at 60."""
    reference, other = at_angle(0), at_angle(60)
    assert copied(reference, reference, [other]) == pytest.approx(1, abs=1e-6)
    assert copied(other, reference, [other]) == pytest.approx(-1, abs=1e-6)
    assert copied(at_angle(30), reference, [other]) == pytest.approx(0, abs=1e-6)
    assert copied(at_angle(15), reference, [other]) == pytest.approx((45 - 15) / 60, abs=1e-6)
    assert copied(at_angle(15), reference, [other, at_angle(30)]) == pytest.approx((0.5 + 0.0) / 2, abs=1e-6)
    assert copied(at_angle(15), reference, []) is None
    assert copied(at_angle(15), reference, [reference]) is None, "the same photo twice says nothing"


def test_the_page_about_likeness_names_every_column() -> None:
    text = (ROOT / "docs" / "likeness.md").read_text("utf-8")
    (sentence,) = re.findall(r"^- \*\*Columns:\*\* (.*?\.) The page", text, re.MULTILINE)
    for column in COLUMNS:
        assert column.name in sentence


# --- What is written


def one_page(folder: Path) -> tuple[str, Any]:
    """A page of three methods in a folder, and what it says to programs."""
    from comparison import page
    from comparison.rows import Row, Shown, Unread

    path = folder / "crowd" / "ID-Patch & <i>, 2_00001_.png"
    shown = Shown(path, 'ID-Patch, seed 7: <script>alert(1)</script>, A "B" & C', "2", 7, score=0.2)
    better = Shown(folder / "2.png", "2", "2", 8, folder / "2.jpg", [folder / "photos/a.jpg"], score=0.3)
    rows = [
        Row("ID-Patch", 2, [shown, better, Shown(folder / "3.png", "3", "2", 9)], figures(ROW)),
        Row("PuLID", 2, note="Missing: a & b in models/c.", public_note="Missing: a & b."),
        Row("PhotoMaker", 2, note="Missing: <i>d</i>.", public_note=""),
    ]
    about = {"prompt": "<b>two</b>", "device": "cpu", "recognisers": ["first", "second"], "photos of each": [1, 4]}
    about |= {"size": None, "steps": 4}
    unread = [Unread("collapse", "no <file>.")]
    answer = page.Answer("a", {"crowd": rows}, COLUMNS, about, unread)
    return page.as_html(answer, folder), json.loads(page.report(answer))


def test_a_page_opens_from_disk_and_escapes_names(tmp_path: Path) -> None:
    html, _ = one_page(tmp_path)
    parsed = Page(html)
    assert "script" not in parsed.tags and "i" not in parsed.tags
    first = "crowd/ID-Patch%20%26%20%3Ci%3E%2C%202_00001_.png"
    assert [parsed.sources, parsed.links] == [["photos/a.jpg", "2.jpg", first, "3.png"], ["2.png", first, "3.png"]]
    for text in (
        "<script>alert(1)</script>",
        'A "B" & C',
        "seed 7",
        "<b>two</b>",
        "recognisers: first, second",
        "photos of each: 1, 4",
        "size: as in each template",
        "steps: 4",
        "collapse is not measured: no <file>.",
        "Missing: a & b in models/c.",
        "Missing: <i>d</i>.",
    ):
        assert text in parsed.text, text
    assert "http" not in "".join([*parsed.sources, *parsed.links])


def test_what_a_page_says_to_programs_has_no_names_of_people_and_no_paths(tmp_path: Path) -> None:
    _, said = one_page(tmp_path)
    assert said["tables"]["crowd"][0] == {
        "method": "ID-Patch", "people": 2, "pictures": 3, "seeds": [7, 8, 9], "note": "", "figures": figures(ROW),
    }  # fmt: skip
    assert said["tables"]["crowd"][1]["note"] == "Missing: a & b."
    assert said["recognisers"] == ["first", "second"] and said["size"] is None, "programs read lists"
    assert said["not measured"] == {"collapse": "no <file>."}
    assert [column["name"] for column in said["columns"]] == [column.name for column in COLUMNS]
    assert "alert" not in json.dumps(said) and str(tmp_path) not in json.dumps(said)


def test_columns_that_compare_people_are_those_that_need_two() -> None:
    assert {column.name for column in COLUMNS if column.for_several} == OF_SEVERAL.keys()
