"""The results that run.py prints, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import names

Line = dict[str, Any]
"""A result as run.py prints it: the fields of graphs.Result, with `pack`, `commit` and `order` of loading."""
HEAD = ("pack", "commit", "loaded", "what", "beside", "result")


def markdown(lines: Iterable[Line]) -> str:
    """A row for all methods and both orders of loading in which a check of a pack came out alike."""
    alike: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        alike.setdefault((line["pack"], line["commit"], line["check"], line["held"], line["figure"]), []).append(line)
    rows = [list(HEAD), ["---"] * len(HEAD)]
    for (pack, commit, check, held, figure), of_row in alike.items():
        orders = {line["order"] for line in of_row}
        loaded = "before and after ours" if len(orders) == 2 else f"{names.LOADED[orders.pop()]} ours"
        amounts: dict[str, list[float]] = {}
        for line in of_row:
            for name, amount in line["amounts"].items():
                amounts.setdefault(name, []).append(amount)
        words = [figure] if figure else []
        words += [f"{name} {_range(of_name)}" for name, of_name in amounts.items()]
        result = ", ".join(words) if held else f"**does not hold**: {', '.join(words)}"
        rows.append([pack, commit, loaded, check, titles(line["method"] for line in of_row), result])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def titles(methods: Iterable[str]) -> str:
    """What the table calls these methods of ours; the seven on SDXL are not listed."""
    left = set(methods)
    words: list[str] = []
    if left >= set(names.ON_SDXL):
        words.append("the seven methods on SDXL")
        left -= set(names.ON_SDXL)
    return ", ".join(words + [title for name, title in names.TITLES.items() if name in left])


def _range(amounts: Sequence[float]) -> str:
    least, most = f"{min(amounts):.2g}", f"{max(amounts):.2g}"
    return least if least == most else f"{least} to {most}"
