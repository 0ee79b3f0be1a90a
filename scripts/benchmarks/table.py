"""The table of a benchmark: rows of our methods, and rows of published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .kept import Result
from .records import Benchmark, Case
from .seen import Seen


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    group: of the benchmark. pictures: how many are measured. asked: how many there are of this group. figures: by name
    of the metric. by_recogniser: the same by each recogniser alone. source: of published figures, "" for ours.
    """

    method: str
    group: str
    pictures: int
    asked: int
    figures: Mapping[str, float | None]
    by_recogniser: Mapping[str, Mapping[str, float | None]]
    source: str = ""


def rows_of(benchmark: Benchmark, cases: Sequence[Case], result: Result, recognisers: Sequence[str]) -> list[TableRow]:
    """The rows of a method: one for each group of which there is a picture."""
    judges = judges_of(benchmark, recognisers)
    rows: list[TableRow] = []
    for group in benchmark.groups:
        asked = [case for case in cases if group in case.groups]
        seen: list[Seen] = []
        for case in asked:
            kept = result.kept.get(case.name)
            if kept is not None and kept.seen is not None:
                seen.append(kept.seen)
        if not seen:
            continue
        by_recogniser = {name: _figures(benchmark, seen, [name]) for name in recognisers}
        figures = _figures(benchmark, seen, judges)
        rows.append(TableRow(result.method.title, group, len(seen), len(asked), figures, by_recogniser))
    return rows


def judges_of(benchmark: Benchmark, recognisers: Sequence[str]) -> list[str]:
    """Which of the recognisers measure: those of the benchmark, and all where it names none that is there."""
    own = [name for name in benchmark.judges if name in recognisers]
    return own or list(recognisers)


def _figures(benchmark: Benchmark, seen: Sequence[Seen], judges: Sequence[str]) -> dict[str, float | None]:
    by_judges = [picture.only(judges) for picture in seen]
    return {metric.name: metric.of(by_judges) for metric in benchmark.metrics}


def published_rows(benchmark: Benchmark) -> list[TableRow]:
    """The rows of others' figures."""
    rows: list[TableRow] = []
    for published in benchmark.published:
        for group in benchmark.groups:
            figures = {metric: value for (of, metric), value in published.figures.items() if of == group}
            if figures:
                rows.append(TableRow(published.method, group, 0, 0, figures, {}, published.source))
    return rows
