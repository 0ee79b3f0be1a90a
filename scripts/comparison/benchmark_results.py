"""What a benchmark comes to: what was measured of each picture, the rows of its tables, and what is written of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pack.core.errors import counted
from shared import whole

from . import page
from .benchmarks import Benchmark, Case
from .columns import figures
from .judged import Judged, as_json, from_json
from .rows import Row, Shown, Unread
from .template_methods import TemplateMethod

_SHOWN = 12
"""Pictures of a method on the page."""


@dataclass(frozen=True)
class Failure:
    """A picture that could not be drawn or measured. public_why: without paths and names."""

    case: str
    why: str
    public_why: str


@dataclass
class Result:
    """What one method has made of a benchmark.

    note: why it was not drawn at all, "" where it was. judged: by name of the case.
    """

    method: TemplateMethod
    note: str = ""
    judged: dict[str, Judged] = field(default_factory=dict[str, Judged])
    failures: list[Failure] = field(default_factory=list[Failure])

    def fail(self, case: Case, why: str, public_why: str) -> None:
        self.failures.append(Failure(case.name, why, public_why))


def rows_of(
    benchmark: Benchmark, cases: Sequence[Case], result: Result, recognisers: Sequence[str], out: Path
) -> list[Row]:
    """The rows of a method: one for each group of which there is a picture, and behind it one by each recogniser.

    The pictures that the page shows are in the first row. out: the folder of the results.
    """
    title = result.method.title
    names = [case.name for case in cases if case.name in result.judged][:_SHOWN]
    shown = [Shown(out / "pictures" / title / f"{name}.png", f"{title}: {name}") for name in names]
    rows: list[Row] = []
    for group in benchmark.groups:
        asked = [case for case in cases if group in case.groups]
        judged = [result.judged[case.name] for case in asked if case.name in result.judged]
        if not judged:
            continue
        for name in ("", *recognisers):
            judges = [name] if name else judges_of(benchmark, recognisers)
            values = figures([picture.only(judges) for picture in judged], benchmark.columns)
            row = Row(
                title, shown=shown, figures=values, group=group, measured=len(judged), asked=len(asked), recogniser=name
            )
            rows.append(row)
            shown = []
    return rows


def judges_of(benchmark: Benchmark, recognisers: Sequence[str]) -> list[str]:
    """Which of the recognisers measure: those of the benchmark, and all where it names none that is there."""
    own = [name for name in benchmark.judges if name in recognisers]
    return own or list(recognisers)


def write(
    benchmark: Benchmark, rows: Sequence[Row], results: Sequence[Result], about: Mapping[str, Any],
    unread: Sequence[Unread], out: Path,
) -> None:  # fmt: skip
    """The page, the table and the report. about: what is said of the whole run."""
    tables: dict[str, list[Row]] = {}
    for group in benchmark.groups:
        tables[group] = [row for row in rows if row.group == group]
    tables = {group: of_group for group, of_group in tables.items() if of_group}
    on_page = {group: [row for row in of_group if not row.recogniser] for group, of_group in tables.items()}
    failed: dict[str, str] = {}
    for result in results:
        if result.note:
            failed[result.method.title] = f"not drawn: {result.note}"
        elif result.failures:
            failed[result.method.title] = f"{counted(len(result.failures), 'picture')} failed"
    columns = benchmark.columns
    methods = {"methods": [of_method(result) for result in results]}
    report = page.report(page.Answer(benchmark.title, tables, columns, {**about, **methods}, unread))
    whole.write(out / "report.json", report.encode())
    whole.write(out / "table.csv", page.as_csv(rows, columns))
    page.write_page(page.Answer(benchmark.title, on_page, columns, {**about, **failed}, unread), out)


def of_method(result: Result) -> dict[str, Any]:
    """What the report says of a method, without names of files and paths."""
    failures = [failure.public_why for failure in result.failures]
    method = result.method
    return {"method": method.title, "reads": method.recogniser, "note": result.note, "failed": failures}


# --- What was measured of a picture, beside it


def write_judged(picture: Path, judges: Sequence[str], judged: Judged) -> None:
    """Keep what was measured of a picture beside it, whole or not at all. judges: who has looked, with which files."""
    content = {"judges": [*judges], "judged": as_json(judged)}
    whole.write(picture.with_suffix(".json"), json.dumps(content).encode())


def read_judged(picture: Path, judges: Sequence[str]) -> Judged | None:
    """What these judges have measured of a picture; None where nothing is kept, or others looked, or something else."""
    try:
        content = json.loads(picture.with_suffix(".json").read_bytes())
        return from_json(content["judged"]) if content["judges"] == [*judges] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
