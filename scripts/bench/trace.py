"""What a trace of torch's profiler says: which work ran on the device when, and what it was for.

Marks in the trace, which timeline.py puts there, say in which row a piece of work belongs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MARK = "likeness: "
REST = "sampler and all else"
CONTROL, RECORDING = "ControlNet", "Likeness: recording the parts"
ROWS = {
    CONTROL: "#7a8fb3",
    "UNet: convolutions": "#7fae8d",
    "UNet: self-attention": "#c9a25f",
    "UNet: cross-attention": "#b98bb0",
    "UNet: feed-forward": "#8fb8c4",
    "UNet: norms, projections": "#b5b0a6",
    "Likeness: tokens of people": "#d6453d",
    "Likeness: text by region": "#d6453d",
    "Likeness: looking at parts": "#d6453d",
    RECORDING: "#e88a3c",
    "Likeness: making ready": "#e88a3c",
    REST: "#9a9a9a",
}
"""Kinds of work, in the order of the picture."""
WHOLE = {CONTROL, RECORDING}
"""Whatever runs inside of these belongs to them."""


class Work(NamedTuple):
    """A piece of work on the device, in milliseconds from the beginning of what is shown."""

    row: str
    start: float
    end: float


def work_of(events: Sequence[dict[str, Any]]) -> list[Work]:
    """What ran on the GPU, where there is one, else on the CPU, each piece in the row of the mark it was started in."""
    spans = [event for event in events if event.get("ph") == "X" and "dur" in event]
    marks = [event for event in spans if event["cat"] == "user_annotation" and event["name"].startswith(MARK)]
    kernels = [event for event in spans if event["cat"] in ("kernel", "gpu_memcpy", "gpu_memset")]
    calls = [event for event in spans if event["cat"] in ("cuda_runtime", "cuda_driver")]
    by_number = {event.get("args", {}).get("correlation"): event for event in calls}
    pieces = [(event, by_number.get(event["args"].get("correlation"))) for event in kernels]
    if not kernels:
        pieces = [(event, event) for event in outermost([event for event in spans if event["cat"] == "cpu_op"])]
    row = rows_at(marks)
    begin = min((event["ts"] for event, _ in pieces), default=0.0)
    return [
        Work(row(by), (event["ts"] - begin) / 1000, (event["ts"] + event["dur"] - begin) / 1000) for event, by in pieces
    ]


def outermost(events: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those that lie in no other of their thread: an operation that calls others is not counted twice."""
    until: dict[Any, float] = {}
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] >= until.get(event["tid"], 0.0):
            until[event["tid"]] = event["ts"] + event["dur"]
            yield event


def rows_at(marks: Sequence[dict[str, Any]]) -> Callable[[dict[str, Any] | None], str]:
    """The row of an event on a thread: of the innermost mark around its beginning, or of one that is WHOLE."""
    changes: dict[Any, tuple[list[float], list[str]]] = {}
    for thread in {mark["tid"] for mark in marks}:
        own = [mark for mark in marks if mark["tid"] == thread]
        borders = [(mark["ts"], 1, -mark["dur"], mark["name"].removeprefix(MARK)) for mark in own]
        borders += [(mark["ts"] + mark["dur"], 0, 0.0, "") for mark in own]
        around, times, rows = list[str](), list[float](), list[str]()
        for moment, begins, _, name in sorted(borders):
            if begins:
                around.append(name)
            else:
                around.pop()
            times.append(moment)
            rows.append(next((one for one in around if one in WHOLE), around[-1] if around else REST))
        changes[thread] = times, rows

    def row(event: dict[str, Any] | None) -> str:
        times, rows = changes.get(event["tid"], ([], [])) if event else ([], [])
        number = bisect_right(times, event["ts"]) - 1 if event else -1
        return rows[number] if number >= 0 else REST

    return row


def span(work: Sequence[Work]) -> float:
    return max((piece.end for piece in work), default=0.0)


def sums(work: Sequence[Work]) -> dict[str, float]:
    """Milliseconds per row."""
    return {row: round(sum(piece.end - piece.start for piece in work if piece.row == row), 3) for row in ROWS}


def busy(work: Sequence[Work]) -> float:
    """The part of the time in which the device did anything at all."""
    done, until = 0.0, 0.0
    for piece in sorted(work, key=lambda piece: piece.start):
        done += max(0.0, piece.end - max(piece.start, until))
        until = max(until, piece.end)
    return round(done / until, 3) if until else 0.0
