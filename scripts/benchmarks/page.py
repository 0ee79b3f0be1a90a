"""What a run of a benchmark leaves: a page for eyes, a table for spreadsheets, and a report to send."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import evaluate
from comparison.page import DASH, beginning

from .kept import Result
from .records import Benchmark, Metric, Unmeasured
from .table import TableRow

_SHOWN = 12
"""Pictures of a method on the page."""


def as_csv(benchmark: Benchmark, rows: Sequence[TableRow]) -> bytes:
    """All rows for a spreadsheet, with four digits and nothing for what is not known."""
    names = [metric.name for metric in benchmark.metrics]
    lines: list[list[Any]] = [["method", "group", "pictures", "asked", *names, "source"]]
    for row in rows:
        values = [row.figures.get(name) for name in names]
        lines.append([row.method, row.group, row.pictures, row.asked, *values, row.source])
    return evaluate.as_csv(lines)


def report(
    benchmark: Benchmark, rows: Sequence[TableRow], results: Sequence[Result], about: Mapping[str, Any],
    unmeasured: Sequence[Unmeasured],
) -> str:  # fmt: skip
    """All of it as JSON. It holds no photo, no name of a file and no path. about: what is said of the whole run."""
    metrics = [
        {"name": one.name, "meaning": one.meaning, "source": one.source, "best": one.best} for one in benchmark.metrics
    ]
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {"method": row.method, "group": row.group, "figures": dict(row.figures)}
        if row.source:
            line["source"] = row.source
        else:
            by_recogniser = {name: dict(figures) for name, figures in row.by_recogniser.items()}
            line |= {"pictures": row.pictures, "asked": row.asked, "by recogniser": by_recogniser}
        lines.append(line)
    methods: list[dict[str, Any]] = []
    for result in results:
        failures = [failure.public_why for failure in result.failures]
        method = result.method
        methods.append({"method": method.title, "reads": method.recogniser, "note": result.note, "failed": failures})
    content = {
        "benchmark": benchmark.title,
        "source": benchmark.source,
        **about,
        "metrics": metrics,
        "not measured": {one.name: one.why for one in unmeasured},
        "methods": methods,
        "rows": lines,
    }
    return json.dumps(content, indent=1)


def as_html(
    benchmark: Benchmark, rows: Sequence[TableRow], results: Sequence[Result], about: Mapping[str, Any],
    unmeasured: Sequence[Unmeasured], out: Path,
) -> str:  # fmt: skip
    """The page. out: the folder where it lies; pictures are named from there. It loads nothing from the network."""
    reasons = {metric.name: metric.why for metric in unmeasured}
    parts = beginning(benchmark.title, {"source": benchmark.source, **about}, reasons)
    for result in results:
        if result.note:
            parts.append(f"<div><b>{escape(result.method.title)}</b> was not drawn: {escape(result.note)}</div>")
        elif result.failures:
            parts.append(f"<div><b>{escape(result.method.title)}</b>: {len(result.failures)} pictures failed.</div>")
    for group in benchmark.groups:
        of_group = [row for row in rows if row.group == group]
        if of_group:
            parts.append(f"<h2>{escape(group)}</h2>{_table(benchmark, of_group)}")
    for result in results:
        parts += _pictures(result, out)
    parts.append("<h2>Metrics</h2><table><tr><th>metric</th><th>best</th><th>meaning</th><th>source</th></tr>")
    for metric in benchmark.metrics:
        texts = (metric.name, metric.best, metric.meaning, metric.source)
        parts.append(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>")
    parts.append("</table></body></html>")
    return "\n".join(parts)


def _table(benchmark: Benchmark, rows: Sequence[TableRow]) -> str:
    """The rows of a group: ours, and those that others have published with their source."""
    parts = ["<table><tr><th></th><th>pictures</th>"]
    for metric in benchmark.metrics:
        parts.append(f'<th title="{escape(metric.meaning)}">{escape(metric.name)}</th>')
    parts.append("<th>source</th></tr>")
    for row in rows:
        pictures = DASH if row.source else f"{row.pictures} of {row.asked}"
        cells = [pictures, *(cell(metric, row) for metric in benchmark.metrics)]
        source = row.source or "this run"
        parts.append(f"<tr><td>{escape(row.method)}</td>{''.join(f'<td>{text}</td>' for text in cells)}")
        parts.append(f'<td class="note">{escape(source)}</td></tr>')
    parts.append("</table>")
    return "".join(parts)


def cell(metric: Metric, row: TableRow) -> str:
    """A figure with the digits of its metric, and a dash for what is not known."""
    value = row.figures.get(metric.name)
    return DASH if value is None else f"{value + 0.0:.{metric.digits}f}"


def _pictures(result: Result, out: Path) -> list[str]:
    """The first pictures of a method. A picture holds its own workflow."""
    parts: list[str] = []
    for name in list(result.kept)[:_SHOWN]:
        path = out / "pictures" / result.method.title / f"{name}.png"
        address = quote(path.relative_to(out).as_posix())
        caption = escape(f"{result.method.title}: {name}")
        parts.append(
            f'<figure><a href="{address}"><img loading="lazy" src="{address}" alt="{caption}"></a>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return parts
