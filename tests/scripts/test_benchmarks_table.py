"""The table of a benchmark, its page and its report, of pictures whose figures are known."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from comparison import multi_human, multi_id, page
from comparison.benchmark_results import Failure, Result, read_judged, rows_of, write, write_judged
from comparison.benchmarks import Case
from comparison.judged import Compared, Judged
from comparison.rows import Row
from comparison.template_methods import METHODS
from html_page import Page
from pack.core.models.packs import ANTELOPE

BENCHMARK = multi_human.BENCHMARK
ID_PATCH = METHODS[0]


def judged(cosine: float, other: float) -> Judged:
    """One person with one face, by two recognisers."""
    return Judged(1, 1, compared={ANTELOPE: Compared([[cosine]]), "other": Compared([[other]])})


CASES = [Case(str(number), "", (), ("all", "simple", "1 person")) for number in range(3)]


def result() -> Result:
    """Two pictures are measured, and one has failed."""
    return Result(
        ID_PATCH,
        "",
        {"0": judged(0.5, 0.1), "1": judged(0.7, 0.3)},
        [Failure("2", "secret/path: no face", "A node ended.")],
    )


def rows(found: Result | None = None, out: Path = Path()) -> list[Row]:
    return [
        *BENCHMARK.published_rows(),
        *rows_of(BENCHMARK, CASES, found or result(), [ANTELOPE, "other"], out),
    ]


def test_a_row_has_the_figures_of_the_benchmarks_own_recogniser_and_of_each() -> None:
    ours = [row for row in rows() if not row.source]
    names = ["", ANTELOPE, "other"]
    assert [(row.group, row.recogniser) for row in ours] == [
        (group, name) for group in ("all", "simple", "1 person") for name in names
    ]
    for row in ours:
        assert (row.pictures, row.asked) == (2, 3)
        assert row.figures["identity"] == pytest.approx(20 if row.recogniser == "other" else 60)
        assert row.figures["CLIP-T"] is None and row.figures["count"] == 100


def test_without_the_benchmarks_own_recogniser_all_measure() -> None:
    found = result()
    for name, picture in found.judged.items():
        compared = {"first": picture.compared[ANTELOPE], "other": picture.compared["other"]}
        found.judged[name] = Judged(1, 1, compared=compared)
    row = rows_of(BENCHMARK, CASES, found, ["first", "other"], Path())[0]
    assert row.figures["identity"] == pytest.approx(40)


def test_published_figures_are_those_of_the_papers() -> None:
    by_method: dict[str, list[float | None]] = {}
    for row in multi_id.BENCHMARK.published_rows():
        by_method.setdefault(row.title, []).append(row.figures["Sim(GT)"])
    assert by_method == {
        "WithAnyone": [0.460, 0.405, 0.414],
        "ID-Patch": [0.426, 0.350, 0.379],
        "AnyPhoto": [0.448, 0.401, 0.424],
    }
    (ar2can,) = BENCHMARK.published_rows()
    assert ar2can.group == "all" and ar2can.figures == {"identity": 68.2, "count": 90.2}
    assert ar2can.source == "arXiv 2511.22690"


def test_the_csv_has_every_row_with_its_source() -> None:
    text = page.as_csv(rows(), BENCHMARK.columns).decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["source"] for line in lines] == ["arXiv 2511.22690", *[""] * 9]
    assert lines[0]["identity"] == "68.2000" and lines[0]["CLIP-T"] == ""
    assert lines[1]["identity"] == "60.0000" and lines[1]["pictures"] == "2" and lines[1]["asked"] == "3"


def test_the_report_says_how_each_figure_is_meant_and_nothing_of_files(tmp_path: Path) -> None:
    write(BENCHMARK, rows(out=tmp_path), [result()], {"device": "cpu"}, BENCHMARK.unread, tmp_path)
    text = (tmp_path / "report.json").read_text("utf-8")
    assert "secret" not in text
    report = json.loads(text)
    assert report["device"] == "cpu" and report["not measured"].keys() == {"HPS", "action"}
    assert report["methods"] == [
        {"method": "ID-Patch", "reads": ID_PATCH.recogniser, "note": "", "failed": ["A node ended."]}
    ]
    assert {column["name"] for column in report["columns"]} == {"count", "identity", "CLIP-T"}
    assert all(column["source"] and column["meaning"].endswith(".") for column in report["columns"])
    assert [row["recogniser"] for row in report["tables"]["all"]] == ["", "", ANTELOPE, "other"]
    assert report["tables"]["all"][3]["figures"]["identity"] == pytest.approx(20)


def test_the_page_has_our_figures_beside_the_published_ones(tmp_path: Path) -> None:
    found = result()
    found.method = METHODS[1]
    about = {"device": "<b>\udcff", "size": (1024, 768), "recognisers": ["antelopev2", "adaface"], "steps": None}
    write(BENCHMARK, rows(found, tmp_path), [found], about, BENCHMARK.unread, tmp_path)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "<b>size</b>: 1024x768<" in text
    assert "<b>recognisers</b>: antelopev2, adaface<" in text
    assert "<b>steps</b>: as in each template<" in text
    assert "<b>HPS</b> is not measured: " in text
    found_page = Page(text)
    assert ["Ar2Can, which makes its places itself", "-", "90.2", "68.2", "arXiv 2511.22690"] in found_page.rows
    title = METHODS[1].title
    ours = [row[:5] for row in found_page.rows if row[0] == title]
    assert ours[0] == [title, "2 of 3", "100.0", "60.0", "this run"]
    assert [row[:4] for row in ours[1:]] == [[title, "2 of 3", "100.0", "60.0"]] * 2, "beside nobody's"
    assert f"<b>{title}</b>: 1 picture failed<" in text
    assert "&lt;b&gt;" in text and "secret" not in text
    assert found_page.sources == ["pictures/InstantID%20by%20region/0.png", "pictures/InstantID%20by%20region/1.png"]


def test_what_was_measured_comes_back_to_the_same_judges(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    assert read_judged(picture, ["first"]) is None
    write_judged(picture, ["first"], judged(0.25, 0.5))
    again = read_judged(picture, ["first"])
    assert again is not None and json.dumps(asdict(again)) == json.dumps(asdict(judged(0.25, 0.5)))
    assert read_judged(picture, ["second"]) is None
    for content in ("{", "[]", "{}", '{"judges": ["first"], "judged": {"people": 1}}'):
        (tmp_path / "a.json").write_text(content)
        assert read_judged(picture, ["first"]) is None
