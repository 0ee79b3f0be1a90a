"""The results that run.py prints: kept from run to run, and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import names

Line = dict[str, Any]
"""A result as run.py prints it: the fields of graphs.Result, with `pack`, `commit` and `order` of loading."""
HEAD = ("pack", "commit", "loaded", "what", "beside", "result")
LOADED = {names.THEIRS_FIRST: "before ours", names.OURS_FIRST: "after ours"}


def kept_results(kept: Path | None, commits: Mapping[str, str]) -> list[Line]:
    """What an earlier run has written of these packs at these commits, in the order of the packs."""
    if kept is None or not kept.exists():
        return []
    lines = [json.loads(text) for text in kept.read_text("utf-8").splitlines()]
    results: list[Line] = []
    for pack, commit in commits.items():
        results += [line for line in lines if (line["pack"], line["commit"]) == (pack, commit)]
    return results


@dataclass
class Outcome:
    """Results of one pack and one check that came out alike: a row of the table, or two by the order of loading.

    methods: of ours, for each order of loading. amounts: all that were measured, by their names.
    """

    pack: str
    commit: str
    check: str
    held: bool
    figure: str
    methods: dict[str, set[str]] = field(default_factory=dict)
    amounts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        self.methods.setdefault(line["order"], set()).add(line["method"])
        for name, amount in line["amounts"].items():
            self.amounts.setdefault(name, []).append(amount)

    def result(self) -> str:
        """In words, with the smallest and the largest of each amount."""
        words = [self.figure] if self.figure else []
        for name, amounts in self.amounts.items():
            words.append(f"{name} {_range(amounts)}")
        text = ", ".join(words)
        return text if self.held else f"**does not hold**: {text}"

    def rows(self) -> list[list[str]]:
        """One row where the same methods came out so in both orders of loading, otherwise one for each order."""
        loads_of: dict[frozenset[str], list[str]] = {}
        for order in names.ORDERS:
            if order in self.methods:
                loads_of.setdefault(frozenset(self.methods[order]), []).append(LOADED[order])
        rows: list[list[str]] = []
        for methods, loads in loads_of.items():
            loaded = "before and after ours" if len(loads) == len(LOADED) else loads[0]
            rows.append([self.pack, self.commit, loaded, self.check, titles(methods), self.result()])
        return rows


def markdown(lines: Iterable[Line]) -> str:
    """A row for each pack and check. What came out the same for every pack is one row."""
    outcomes: dict[tuple[Any, ...], Outcome] = {}
    for line in lines:
        key = (line["pack"], line["check"], line["held"], line["figure"])
        if key not in outcomes:
            outcomes[key] = Outcome(line["pack"], line["commit"], line["check"], line["held"], line["figure"])
        outcomes[key].add(line)
    rows: list[list[str]] = []
    for outcome in outcomes.values():
        rows += outcome.rows()
    packs = {outcome.pack for outcome in outcomes.values()}
    table = [list(HEAD), ["---"] * len(HEAD), *_joined(rows, len(packs))]
    return "\n".join(f"| {' | '.join(row)} |" for row in table) + "\n"


def _joined(rows: Sequence[Sequence[str]], packs: int) -> list[list[str]]:
    """The rows, of which those that came out alike for every pack stand once, at the end."""
    loads_of: dict[tuple[str, ...], list[str]] = {}
    packs_of: dict[tuple[str, ...], set[str]] = {}
    for pack, _commit, loaded, *outcome in rows:
        loads_of.setdefault(tuple(outcome), []).append(loaded)
        packs_of.setdefault(tuple(outcome), set()).add(pack)
    shared = {outcome for outcome, names_of_packs in packs_of.items() if packs > 1 and len(names_of_packs) == packs}
    joined: list[list[str]] = []
    for pack, commit, loaded, *outcome in rows:
        if tuple(outcome) not in shared:
            joined.append([pack, commit, loaded, *outcome])
    for outcome, loads in loads_of.items():
        if outcome in shared:
            loaded = loads[0] if len(set(loads)) == 1 else "as above"
            joined.append([f"each of the {packs}", "as above", loaded, *outcome])
    return joined


def titles(methods: Iterable[str]) -> str:
    """What the table calls these methods of ours; the seven on SDXL are not listed."""
    left = set(methods) - {""}
    words: list[str] = []
    if left >= set(names.ON_SDXL):
        words.append("the seven methods on SDXL")
        left -= set(names.ON_SDXL)
    for name, title in names.TITLES.items():
        if name in left:
            words.append(title)
    return ", ".join(words)


def _range(amounts: Sequence[float]) -> str:
    least, most = f"{min(amounts):.2g}", f"{max(amounts):.2g}"
    return least if least == most else f"{least} to {most}"
