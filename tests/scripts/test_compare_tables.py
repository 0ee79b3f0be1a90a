"""compare.py: options that do not fit, who stands in which picture, and tables and sheets of known figures."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import compare
import numpy as np
import pytest
import torch
from comparison import page, people
from comparison.columns import COLUMNS
from comparison.rows import Row

RED, GREEN, BLUE, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)
ROWS = [
    Row("first", 2, figures={"association": 0.5, "leakage": -0.25, "missing": None, "seconds": 1.45}),
    Row("second", 4, figures={"association": 1.0, "leakage": 0.125, "missing": None, "seconds": 12.0}),
]
SHOWN = [column for column in COLUMNS if column.name in ("association", "leakage", "missing", "seconds")]
HALF = 96


def halves(left: tuple[float, float, float], right: tuple[float, float, float]) -> torch.Tensor:
    """(HALF, 2 * HALF, 3): a picture of two colours side by side."""
    picture = torch.empty(HALF, 2 * HALF, 3)
    picture[:, :HALF] = torch.tensor(left)
    picture[:, HALF:] = torch.tensor(right)
    return picture


PICTURES = {
    ("first", "1"): halves(RED, GREEN),
    ("first", "2"): halves(GREEN, BLUE),
    ("second", "1"): halves(BLUE, WHITE),
    ("second", "2"): halves(WHITE, RED),
}


def nearest_colour(pixel: tuple[int, ...]) -> tuple[float, float, float]:
    """What is left of a colour in a JPEG."""
    options = (RED, GREEN, BLUE, WHITE)
    return min(options, key=lambda colour: sum(abs(255 * a - b) for a, b in zip(colour, pixel, strict=True)))


@pytest.mark.parametrize("everybody", [5, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_everybody_stands_equally_often_in_pictures_of_any_number(everybody: int, count: int) -> None:
    """So figures of two and of eight people are those of the same people. Nobody stands twice in one picture, and no
    two pictures have one seed."""
    drawn = people.groups(everybody, count)
    times = Counter(who for group in drawn for who in group.people)
    assert len(times) == everybody and len(set(times.values())) == 1
    assert len(drawn) >= 3
    for group in drawn:
        assert len(set(group.people)) == count and group.photos == 1
    assert len({group.seed for group in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("everybody", "counts"), [(2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6]), (12, [1, 2, 4, 6, 8, 12])]
)
def test_a_crowd_ends_with_everybody(everybody: int, counts: list[int]) -> None:
    assert people.counts_up_to(everybody) == counts


def test_the_first_picture_has_the_first_people_from_left_to_right() -> None:
    assert people.groups(12, 8)[0] == ([0, 1, 2, 3, 4, 5, 6, 7], 1, 1)


def test_a_table_has_every_figure_under_its_name(tmp_path: Path) -> None:
    """Two digits, and a column of which nothing is known is left out; for a spreadsheet four."""
    page.write_table("question", ROWS, SHOWN, tmp_path)
    header, rule, first, second = (tmp_path / "question.md").read_text("utf-8").splitlines()
    assert header == "|  | people | pictures | association | leakage | seconds |"
    assert rule == "| --- | --- | --- | --- | --- | --- |"
    assert first == "| first | 2 | 0 | 0.50 | -0.25 | 1.45 |"
    assert second == "| second | 4 | 0 | 1.00 | 0.12 | 12.00 |"
    with (tmp_path / "question.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["first", "second"]
    assert [row["association"] for row in rows] == ["0.5000", "1.0000"]
    assert [row["leakage"] for row in rows] == ["-0.2500", "0.1250"]
    assert [row["missing"] for row in rows] == ["", ""]
    assert not (tmp_path / "question.jpg").exists(), "no picture is shown"


VALUES: Mapping[str, Mapping[int, float | None]] = {
    "ID-Patch <&>": {1: None, 12: 0.9, 2: 1.0},
    "PhotoMaker": {2: None},
    "PuLID": {4: 0.5},
}


def rows_of(values: Mapping[str, Mapping[int, float | None]]) -> list[Row]:
    rows: list[Row] = []
    for title, by_people in values.items():
        rows += [Row(title, people, figures={"association": value}) for people, value in by_people.items()]
    return rows


def test_association_stands_by_the_number_of_people_beside_chance(tmp_path: Path) -> None:
    by_people = page.association_by_people(rows_of(VALUES))
    assert by_people == {
        "ID-Patch <&>": {2: 1.0, 12: 0.9}, "PuLID": {4: 0.5}, "by chance": {2: 1 / 2, 4: 1 / 4, 12: 1 / 12},
    }  # fmt: skip
    assert list(by_people["by chance"]) == [2, 4, 12]
    html = page.as_html(page.Answer("a", {"crowd": rows_of(VALUES)}, COLUMNS), tmp_path)
    assert html.count("<meter") == 6 and "ID-Patch &lt;&amp;&gt;" in html
    one_number = rows_of({"ID-Patch": {1: None, 2: 1.0}, "PhotoMaker": {2: 0.5}})
    assert page.association_by_people(one_number) == {}
    assert "<meter" not in page.as_html(page.Answer("a", {"seeds": one_number}, COLUMNS), tmp_path)


def test_a_table_has_notes_only_where_there_are_any() -> None:
    for rows, has_notes in ((ROWS, False), ([*ROWS, Row("PuLID", 2, note="Missing.")], True)):
        assert page.as_markdown(rows, COLUMNS).splitlines()[0].endswith(" note |") == has_notes
        assert (b"Missing." in page.as_csv(rows, COLUMNS)) == has_notes


def test_the_page_has_the_columns_of_which_anything_is_known(tmp_path: Path) -> None:
    """One that is known of one row alone has a dash in the other."""
    rows = [Row("ID-Patch", 2, figures={"association": 0.5, "missing": None}), Row("PhotoMaker", 2)]
    html = page.as_html(page.Answer("a", {"crowd": rows}, COLUMNS), tmp_path)
    table = html.partition("<h2>Columns</h2>")[0]
    assert ">association</th>" in table and ">missing</th>" not in table and ">seconds</th>" not in table
    assert "<td>0.50</td>" in table and "<td>-</td>" in table


def test_a_sheet_has_rows_of_methods_columns_of_pictures_and_each_picture_as_it_is() -> None:
    """Read from the colours of both halves of every picture."""
    side = 2 * HALF
    sheet = page.sheet(PICTURES, side)
    letters = max(14, side // 9)
    assert sheet.size == (3 * side, 2 * HALF + 2 * letters)
    for row, name in enumerate(("first", "second")):
        y = 2 * letters + HALF * row + HALF // 2
        for column in (1, 2):
            x = side * column
            left = nearest_colour(sheet.getpixel((x + side // 4, y)))
            right = nearest_colour(sheet.getpixel((x + 3 * side // 4 - 4, y)))
            pixels = PICTURES[name, f"{column}"]
            assert left == tuple(pixels[0, 0].tolist()), (name, column)
            assert right == tuple(pixels[0, -1].tolist()), (name, column)
        names = np.asarray(sheet)[y - HALF // 2 : y + HALF // 2, :side]
        assert names.min() < 100, "its name is at the left"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("crowd", "the following arguments are required: --people"),
        ("--people {folder} --steps 0", "0 is not a whole number"),
        ("--people {folder} --size 1024 63", "--size takes sides from 64 to 8192"),
        ("--people {folder} --size 8193 1024", "--size takes sides from 64 to 8192"),
        ("--people {folder} halves", r"No such question: halves\. There are crowd, seeds, ablations\."),
        ("--people {folder}/nowhere", "nowhere is no folder"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_loaded(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments.format(folder=tmp_path).split()])
    with pytest.raises(SystemExit, match="2"):
        compare.main()
    assert re.search(message, capsys.readouterr().err)
