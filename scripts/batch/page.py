"""The page of a run: every row's picture with the photos beside it and the figures below, the least like first.

It is one file, which loads nothing but these pictures: the rows are data in it, and page.html shows some at a time.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from shared.tables import PART

from core.checks.text import as_typed

from .folders import Folder, without_login

NAME = "index.html"
_TEMPLATE = Path(__file__).with_name("page.html")
_ROWS_GO_HERE = "{{ rows }}"
_MOST_ROWS = 20_000
"""On a page: it is 1 kB a row, which a browser reads whole."""
_SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp")
"""Endings of pictures that browsers show."""
_MOST_SEED = 2**64
_FAILED, _MEASURED, _NOT_MEASURED = range(3)
"""Where a row stands: those of one kind behind those of another."""
_MISSING = -2.0
"""Stands for the similarity of somebody who is not in the picture; that of two faces is -1 at least."""


@dataclass(frozen=True)
class Again:
    """How a row is made once more. command: as it is typed, without the row. has_seeds: whether another seed gives
    another picture."""

    command: str
    has_seeds: bool


@dataclass(frozen=True)
class Failure:
    """A row that failed, as failed.csv has it."""

    line: int
    name: str
    reason: str


@dataclass(frozen=True)
class _Row:
    """kind: _FAILED, _MEASURED or _NOT_MEASURED. likeness: 0 unless it is measured. entry: of the lists; empty where
    nothing was ever made. reason: why it failed."""

    kind: int
    likeness: float
    line: int
    name: str
    entry: Mapping[str, Any]
    reason: str = ""

    @property
    def in_table(self) -> tuple[int, str]:
        return self.line, self.name

    @property
    def order(self) -> tuple[int, float, int, str]:
        return self.kind, self.likeness, *self.in_table


def as_html(
    folder: Folder, entries: Iterable[Mapping[str, Any]], failures: Iterable[Failure], again: Again | None
) -> bytes:
    """The page for a folder, in which it lies. entries: the last of each row in the lists."""
    counted = _Counted(_rows(entries, failures))
    rows = heapq.nsmallest(_MOST_ROWS, counted, key=lambda row: row.order)
    is_measured = any(row.kind == _MEASURED for row in rows)
    if not is_measured:
        rows.sort(key=lambda row: row.in_table)
    place_of = lru_cache(_MOST_ROWS)(lambda place: _address(place, folder))
    page = {
        "title": without_login(folder.address).replace("\\", "/").rpartition("/")[2],
        "command": again.command if again else "",
        "isMeasured": is_measured,
        "count": counted.count,
        "rows": [_content(row, place_of, again) for row in rows],
    }
    # All that can end a script's text, or begin another in it, has this sign.
    data = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text("utf-8").replace(_ROWS_GO_HERE, data).encode()


class _Counted:
    """Rows that are gone through once. count: how many there were."""

    def __init__(self, rows: Iterable[_Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[_Row]:
        for row in self._rows:
            self.count += 1
            yield row


def moved_seeds(entry: Mapping[str, Any]) -> int:
    """How far the seeds of a row's pictures are from its own, by its entry."""
    moved = entry.get("moved_seeds", 0)
    return moved if isinstance(moved, int) and 0 <= moved < _MOST_SEED else 0


# --- Which rows, and in which order


def _rows(entries: Iterable[Mapping[str, Any]], failures: Iterable[Failure]) -> Iterator[_Row]:
    """Every row once. One that failed now may have pictures of an earlier run."""
    reasons: dict[tuple[int, str], str] = {}
    for failure in failures:
        if len(reasons) < _MOST_ROWS:
            reasons[failure.line, failure.name] = failure.reason
    for entry in entries:
        line, name = entry["line"], entry["name"]
        reason = reasons.pop((line, name), "")
        score = _score(entry)
        if reason:
            yield _Row(_FAILED, 0.0, line, name, entry, reason)
        elif score is None:
            yield _Row(_NOT_MEASURED, 0.0, line, name, entry)
        else:
            yield _Row(_MEASURED, score, line, name, entry)
    for (line, name), reason in reasons.items():
        yield _Row(_FAILED, 0.0, line, name, {}, reason)


def _score(entry: Mapping[str, Any]) -> float | None:
    """What its least similar person has, or where nobody is meant its least similar garment; None where nothing is
    measured."""
    people: list[float] = []
    parts: list[float] = []
    for line in _kept_lines(entry):
        similarity = _MISSING if line.get("state") == "missing" else _similarity(line)
        if similarity is not None:
            (parts if line.get("state") == PART else people).append(similarity)
    return min(people or parts, default=None)


def _kept_lines(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of likeness.csv, for the pictures that are there."""
    return [line for line in entry.get("scores", ()) if line.get("kept") == "yes"]


def _similarity(line: Mapping[str, Any]) -> float | None:
    similarity = line.get("similarity")
    return similarity if isinstance(similarity, float) and math.isfinite(similarity) else None


# --- What the page is told of a row


def _content(row: _Row, place_of: Callable[[str], tuple[str, bool]], again: Again | None) -> dict[str, Any]:
    """page.html says what becomes of each of these. place_of: `_address` of a picture beside the row's own."""
    files = row.entry.get("files", [])
    return {
        "name": row.name,
        "line": row.line,
        "reason": row.reason,
        "pictures": [[file, quote(file), _is_shown(file)] for file in files],
        "beside": [[f"{column}: {label}", *place_of(place)] for column, label, place in _beside(row.entry)],
        "figures": [_figure(one, files) for one in _kept_lines(row.entry)],
        "cells": _cells(row.entry),
        "again": _again(row, again),
    }


def _again(row: _Row, again: Again | None) -> str:
    """The end of the command that makes a row once more: one that failed with its own seeds, another with those behind
    the last that were tried."""
    if not again or not (row.reason or again.has_seeds):
        return ""
    words = [f"--only={row.name}"]
    if not row.reason:
        words.append(f"--move-seeds={moved_seeds(row.entry) + max(row.entry['tries'], 1)}")
    return " ".join(map(as_typed, words))


def _beside(entry: Mapping[str, Any]) -> Iterator[list[str]]:
    """The column, the label and the place of each picture beside a row's own. A list may hold anything."""
    beside = entry.get("beside", [])
    for one in beside if isinstance(beside, list) else ():
        texts = cast("list[Any]", one) if isinstance(one, list) else []
        if len(texts) == 3 and all(isinstance(text, str) for text in texts):
            yield texts


def _cells(entry: Mapping[str, Any]) -> list[list[str]]:
    cells = entry.get("cells", {})
    if not isinstance(cells, dict):
        return []
    return [[column, str(cell)] for column, cell in cast("dict[str, Any]", cells).items()]


def _figure(line: Mapping[str, Any], files: list[str]) -> list[Any]:
    """Who, how alike, what is to be said of it, and which picture it is of where there are several."""
    state = line.get("state")
    who, looks_like = str(line.get("person", "")), str(line.get("looks_like", ""))
    note = {"missing": "not found", "swapped": f"looks like {looks_like}", PART: str(line.get("recogniser", ""))}
    if state == "extra":
        who = "a stranger"
    picture = str(line.get("picture", "")) if len(files) > 1 else ""
    return [who, None if state == "missing" else _similarity(line), note.get(str(state), ""), picture]


def _is_shown(file: str) -> bool:
    return posixpath.splitext(file)[1].lower() in _SHOWN


def _address(place: str, folder: Folder) -> tuple[str, bool]:
    """The address of a file, seen from the page, and whether a browser shows it; "" where it has none there."""
    root, path = _parted(place)
    own_root, own_path = _parted(without_login(folder.address))
    if root != own_root:
        return "", False
    if root:
        relative = posixpath.relpath(f"/{path}", f"/{own_path}")
    else:
        try:
            relative = os.path.relpath(place, folder.address).replace(os.sep, "/")
        except ValueError:  # another drive of Windows, or letters that no file's name has
            return "", False
    # Names of files may hold bytes that are no letters.
    return quote(relative, errors="surrogateescape"), _is_shown(place)


def _parted(address: str) -> tuple[str, str]:
    """What a store is called, as s3://bucket, and the path in it; "" for a path on this machine."""
    scheme, sign, rest = address.partition("://")
    if not sign:
        return "", address
    bucket, _, path = rest.partition("/")
    return f"{scheme}{sign}{bucket}", path
