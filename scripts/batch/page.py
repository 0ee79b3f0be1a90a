"""The page of a run: each row's picture with photos, looks and figures beside it, failed rows and the least like first.

It is one file, which loads nothing but these pictures: the rows are data in it, and page.html shows some at a time.
"""

from __future__ import annotations

import heapq
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from shared.tables import PART

from core.checks.text import as_typed

from .folders import Folder, without_login

NAME = "index.html"
_TEMPLATE = Path(__file__).with_name("page.html")
_ROWS_GO_HERE = "{{ rows }}"
_MOST_ROWS = 20_000
"""On a page: it is 1 kB a row, which a browser reads whole."""
_FAILED, _MEASURED, _NOT_MEASURED = range(3)
"""Kinds of rows: all of one kind stand before those of the next."""
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


@dataclass(frozen=True, order=True)
class _Row:
    """Rows stand in the order of these fields. entry: of the lists; empty where nothing was ever made. reason: why it
    failed, or nothing."""

    kind: int
    likeness: float
    line: int
    name: str
    entry: Mapping[str, Any] = field(compare=False)
    reason: str = field(compare=False)


def as_html(
    folder: Folder, entries: Iterable[Mapping[str, Any]], failures: Iterable[Failure], again: Again | None
) -> bytes:
    """The page for a folder. entries: the last of each row in the lists."""
    rows = heapq.nsmallest(_MOST_ROWS + 1, _rows(entries, failures))  # one more tells whether some are left out
    page = {
        "title": PurePath(without_login(folder.address)).name,
        "isCut": len(rows) > _MOST_ROWS,
        "command": again.command if again else "",
        "shell": "PowerShell" if os.name == "nt" else "a terminal",
        "rows": [_content(row, again) for row in rows[:_MOST_ROWS]],
    }
    # All that can end a script's text, or begin another in it, has this sign.
    data = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text("utf-8").replace(_ROWS_GO_HERE, data).encode()


# --- Which rows, and in which order


def _rows(entries: Iterable[Mapping[str, Any]], failures: Iterable[Failure]) -> Iterator[_Row]:
    """Every row once. One that failed now may have pictures of an earlier run."""
    reasons = {(failure.line, failure.name): failure.reason for failure in islice(failures, _MOST_ROWS + 1)}
    for entry in entries:
        line, name = entry["line"], entry["name"]
        reason = reasons.pop((line, name), "")
        score = _score(entry)
        kind = _NOT_MEASURED if score is None else _MEASURED
        yield _Row(_FAILED if reason else kind, score or 0.0, line, name, entry, reason)
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


def _content(row: _Row, again: Again | None) -> dict[str, Any]:
    """page.html says what becomes of each of these."""
    files = row.entry.get("files", [])
    return {
        "name": row.name,
        "line": row.line,
        "reason": row.reason,
        "pictures": [_picture(file, file) for file in files],
        "beside": [_picture(caption, place) for caption, place in row.entry.get("beside", [])],
        "figures": [_figure(line, files) for line in _kept_lines(row.entry)],
        "cells": row.entry.get("cells", {}),
        "again": _again(row, again),
    }


def _picture(caption: str, place: str) -> list[str]:
    """The caption and the address of a picture. place: seen from the folder."""
    # Names of files may hold bytes that are no letters.
    return [caption, quote(place, errors="surrogateescape")]


def _again(row: _Row, again: Again | None) -> str:
    """The end of the command that makes a row once more: one that failed with its own seeds, another with those behind
    the last that were tried."""
    if not again or not (row.reason or again.has_seeds):
        return ""
    words = [f"--only={row.name}"]
    if not row.reason:
        drawn = max(row.entry["tries"], 1)  # 0 of a run that measured nothing: it has drawn each row once
        words.append(f"--move-seeds={row.entry.get('moved_seeds', 0) + drawn}")
    return " ".join(map(as_typed, words))


def _figure(line: Mapping[str, Any], files: list[str]) -> list[Any]:
    """Who, how alike, what is to be said of it, and which picture it is of where there are several."""
    state = str(line.get("state"))
    who = "a stranger" if state == "extra" else line.get("person", "")
    looks_like, recogniser = line.get("looks_like", ""), line.get("recogniser", "")
    notes = {"missing": "not found", "swapped": f"looks like {looks_like}", PART: recogniser}
    picture = line.get("picture", "") if len(files) > 1 else ""
    return [str(who), _similarity(line), str(notes.get(state, "")), str(picture)]
