"""The curve of association against people: read from the drawing again, and where it stands on the page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from comparison import page
from comparison.columns import COLUMNS
from comparison.curves import association_svg
from comparison.rows import Row

SVG = "{http://www.w3.org/2000/svg}"
VALUES: Mapping[str, Mapping[int, float | None]] = {
    "ID-Patch <&>": {1: None, 2: 1.0, 4: 0.95, 12: 0.9},
    "InstantIDs chained": {2: 0.75, 4: 0.5, 12: 0.1},
    "faces one by one, ID-Patch": {2: 0.75, 4: 0.55, 12: 0.5},
    "PhotoMaker": {2: None},
}


def rows_of(values: Mapping[str, Mapping[int, float | None]]) -> list[Row]:
    rows: list[Row] = []
    for title, by_people in values.items():
        for people, value in by_people.items():
            rows.append(Row(title, people, figures={"association": value, "leakage": 0.3}))
    return rows


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(SVG + tag))


def text_at(svg: str, text: str) -> tuple[float, float]:
    (found,) = [element for element in elements(svg, "text") if element.text == text]
    return float(found.attrib["x"]), float(found.attrib["y"])


def points_of(line: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [point.split(",") for point in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


def read_back(svg: str) -> list[tuple[ElementTree.Element, dict[int, float]]]:
    """Every line but the axes, with the values that a reader takes from the marks beside the axes."""
    first, last = text_at(svg, "1")[0], text_at(svg, "12")[0]
    # The letters of a mark stand 4 px below its line.
    zero, one = text_at(svg, "0.0")[1] - 4, text_at(svg, "1.0")[1] - 4
    lines: list[tuple[ElementTree.Element, dict[int, float]]] = []
    for line in elements(svg, "polyline"):
        values: dict[int, float] = {}
        for x, y in points_of(line):
            values[round(1 + 11 * (x - first) / (last - first))] = (y - zero) / (one - zero)
        lines.append((line, values))
    return lines


def test_the_drawing_shows_every_figure_in_its_place() -> None:
    svg = association_svg(rows_of(VALUES))
    *lines, (chance, by_chance) = read_back(svg)
    expected = [
        {people: value for people, value in by_people.items() if value is not None}
        for by_people in VALUES.values()
        if any(by_people.values())
    ]
    assert [list(values) for _, values in lines] == [list(values) for values in expected]
    for (_, values), known in zip(lines, expected, strict=True):
        assert values == pytest.approx(known, abs=2e-3)
    assert by_chance == pytest.approx({people: 1 / people for people in range(2, 13)}, abs=2e-3)
    assert len({line.attrib["stroke"] for line, _ in [*lines, (chance, by_chance)]}) == 4


def test_baselines_are_dashed_and_every_line_has_its_name_in_its_colour() -> None:
    svg = association_svg(rows_of(VALUES))
    lines = read_back(svg)
    titles = ["ID-Patch <&>", "InstantIDs chained", "faces one by one, ID-Patch", "by chance"]
    texts = {element.text: element for element in elements(svg, "text")}
    for title, (line, _) in zip(titles, lines, strict=True):
        assert texts[title].attrib["fill"] == line.attrib["stroke"]
    dashes = [line.attrib["stroke-dasharray"] for line, _ in lines]
    assert dashes[0] == "none" != dashes[1] == dashes[2] != dashes[3]
    heights = sorted(float(texts[title].attrib["y"]) for title in titles)
    assert all(lower - higher >= 17 for higher, lower in itertools.pairwise(heights)), "none above another"
    for title in titles:
        assert 0 < float(texts[title].attrib["y"]) < 430


@pytest.mark.parametrize("end", [1.0, 0.0])
def test_many_equal_ends_have_labels_that_can_be_read(end: float) -> None:
    """Twelve methods, all right or all wrong."""
    values = {f"method {number}": {2: end, 12: end} for number in range(12)}
    svg = association_svg(rows_of(values))
    texts = {element.text: float(element.attrib["y"]) for element in elements(svg, "text")}
    heights = sorted(texts[title] for title in values)
    assert all(lower - higher >= 17 for higher, lower in itertools.pairwise(heights))
    assert heights[0] > 0 and heights[-1] < 430


def test_without_two_numbers_of_people_there_is_no_curve() -> None:
    assert association_svg(rows_of({"ID-Patch": {1: None, 2: 1.0}})) == ""
    assert association_svg([]) == ""
    assert association_svg([Row("WithAnyone", 2, note="Missing.")]) == ""


def test_a_curve_is_in_the_order_of_people() -> None:
    (_, values), _ = read_back(association_svg(rows_of({"ID-Patch": {12: 0.5, 2: 1.0}})))
    assert values == pytest.approx({2: 1.0, 12: 0.5}, abs=2e-3) and list(values) == [2, 12]


@pytest.mark.parametrize(("question", "values", "count"), [("crowd", VALUES, 1), ("seeds", {"ID-Patch": {2: 1.0}}, 0)])
def test_the_page_has_the_curve_of_a_crowd(
    question: str, values: Mapping[str, Mapping[int, float | None]], count: int, tmp_path: Path
) -> None:
    """It stands in the page itself, which loads nothing."""
    html = page.as_html("a", {question: rows_of(values)}, COLUMNS, {}, [], tmp_path)
    assert html.count("<svg") == count
    if count:
        assert association_svg(rows_of(values)) in html and "ID-Patch &lt;&amp;&gt;" in html


def columns_of(table: str) -> Sequence[str]:
    return [cell.strip() for cell in table.splitlines()[0].split("|")[1:-1]]


def test_a_table_has_notes_only_where_there_are_any() -> None:
    rows = rows_of({"ID-Patch": {2: 1.0}})
    assert columns_of(page.as_markdown(rows, COLUMNS))[-1] != "note"
    assert columns_of(page.as_markdown([*rows, Row("WithAnyone", 2, note="Missing.")], COLUMNS))[-1] == "note"


def test_the_page_has_the_columns_of_which_anything_is_known(tmp_path: Path) -> None:
    """One that is known of one row alone has a dash in the other."""
    rows = [Row("ID-Patch", 2, figures={"association": 0.5, "missing": None}), Row("PhotoMaker", 2)]
    table = page.as_html("a", {"crowd": rows}, COLUMNS, {}, [], tmp_path).partition("<h2>Columns</h2>")[0]
    assert ">association</th>" in table and ">missing</th>" not in table and ">seconds</th>" not in table
    assert "<td>0.50</td>" in table and "<td>-</td>" in table
