"""Pictures of what the device does during a step: one row per kind of work, time from left to right.

torch's profiler says when each piece of work ran; marks around the networks' modules and around the pack's own
functions say what it was for. The trace itself is kept beside the picture, for chrome://tracing or ui.perfetto.dev.
"""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import numpy
import torch
from pack.bridge.identity_net import _Network as IdentityNetwork
from pack.bridge.injections import Addition
from pack.bridge.regional_text import RegionalTextBatch
from pack.bridge.runs import Run
from pack.bridge.self_attention.layer import Beside
from pack.bridge.share_parts import SelfReference
from PIL import Image, ImageDraw, ImageFont
from torch.profiler import ProfilerActivity, profile, record_function

from bench import methods
from bench.measure import TINY, accelerator, named, report

METHODS = {
    "id_patch": ("Apply ID-Patch, 8 people", 8),
    "instant_id": ("Apply InstantID, 4 people in regions", 4),
    "share_parts": ("Share Parts Attention, 4 parts of 20 %", 4),
    "id_tokens_by_region": ("ID Tokens by Region, 8 people", 8),
}
ALONE = {"control_net": "The same model with a plain ControlNet", "unpatched": "The model alone"}
STEPS = 2
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
OURS = (
    (IdentityNetwork, "__call__", CONTROL),
    (Addition, "attended", "Likeness: tokens of people"),
    (RegionalTextBatch, "attended", "Likeness: text by region"),
    (Beside, "attended", "Likeness: looking at parts"),
    (SelfReference, "__call__", RECORDING),
    (Run, "_read", "Likeness: making ready"),
)
WHOLE = {CONTROL, RECORDING}
"""Whatever runs inside of these belongs to them."""


class Work(NamedTuple):
    """A piece of work on the device, in milliseconds from the beginning of what is shown."""

    row: str
    start: float
    end: float


def draw(method: str, out: Path) -> None:
    """Two steps with a method and two without, one above the other at one scale, as OUT/timeline_METHOD.png."""
    title, people = METHODS[method]
    on, peer = methods.networks(), methods.peer_of(method)
    sides = {}
    for name, what in ((method, title), (peer, ALONE[peer])):
        applied = methods.METHODS[name](on, people)
        run = partial(methods.sampled, on, applied, STEPS)
        run()  # kernels are chosen and what is carried is put on the device
        file = out / f"trace_{method}{'' if name == method else '_without'}.json.gz"
        sides[what] = work_of(traced(run, on, file))
    pictured(sides, out / f"timeline_{method}.png")
    ours, without = (span(work) for work in sides.values())
    name = f"timeline_{method}_{people}_vs_{peer}"
    device = named(accelerator())
    report(
        name,
        ours,
        without,
        f"ms for {STEPS} steps, profiled",
        None,
        device,
        busy=busy(sides[title]),
        rows=sums(sides[title]),
    )


def traced(run: Callable[[], Any], on: methods.Networks, file: Path) -> list[dict[str, Any]]:
    """The trace's events; the trace itself is kept in `file`."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with marked(on), profile(activities=activities) as profiler:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(plain))
        text = plain.read_bytes()
    file.write_bytes(gzip.compress(text))
    return json.loads(text)["traceEvents"]


@contextmanager
def marked(on: methods.Networks) -> Iterator[None]:
    """While this lasts, everything that runs says in which row it belongs."""
    with ExitStack() as stack:
        for owner, name, row in OURS:
            stack.enter_context(mock.patch.object(owner, name, saying(getattr(owner, name), row)))
        for module, row in modules(on):
            for hook in hooks(module, row):
                stack.callback(hook.remove)
        yield


def saying(function: Callable[..., Any], row: str) -> Callable[..., Any]:
    def said(*args: Any, **kwargs: Any) -> Any:
        with record_function(MARK + row):
            return function(*args, **kwargs)

    return said


def modules(on: methods.Networks) -> Iterator[tuple[Any, str]]:
    yield on.net.control_model, CONTROL
    unet = on.model.model.diffusion_model
    yield unet, "UNet: norms, projections"
    kinds = {
        "ResBlock": "UNet: convolutions",
        "Downsample": "UNet: convolutions",
        "Upsample": "UNet: convolutions",
        "attn1": "UNet: self-attention",
        "attn2": "UNet: cross-attention",
        "ff": "UNet: feed-forward",
    }
    for name, module in unet.named_modules():
        row = kinds.get(type(module).__name__) or kinds.get(name.rpartition(".")[2])
        if row:
            yield module, row
            # Where attention is replaced, the layers around it are called one by one.
            yield from ((child, row) for child in module.children() if name.endswith(("attn1", "attn2")))


def hooks(module: Any, row: str) -> Iterator[Any]:
    open_marks: list[Any] = []

    def begin(*_: Any) -> None:
        open_marks.append(record_function(MARK + row))
        open_marks[-1].__enter__()

    def end(*_: Any) -> None:
        open_marks.pop().__exit__(None, None, None)

    yield module.register_forward_pre_hook(begin)
    yield module.register_forward_hook(end, always_call=True)


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


# The picture

WIDE, LEFT, RIGHT, HIGH, GAP = 1800, 290, 210, 30, 6
INK, PALE, PAPER = "#222222", "#777777", "#ffffff"


def pictured(sides: dict[str, list[Work]], file: Path) -> None:
    """The first of `sides` is ours, below it what it is measured beside."""
    shown = {what: [row for row in ROWS if any(piece.row == row for piece in work)] for what, work in sides.items()}
    high = 120 + sum(100 + (HIGH + GAP) * len(rows) for rows in shown.values())
    image = Image.new("RGB", (WIDE, high), PAPER)
    canvas, longest = ImageDraw.Draw(image), max(map(span, sides.values()))
    device = named(accelerator())
    where = f"on {device}" + (", small networks: only whether this works, no figure" if TINY else ", 1024 px, float16")
    write(canvas, 20, 14, f"{STEPS} steps {where}", 26)
    text = (
        "Each bar is a piece of work at the time it ran; where no row has one, the device waits. Red and orange is "
        "done by the nodes, text by region and looking at parts in place of the model's own attention."
    )
    write(canvas, 20, 50, text, 17, PALE)
    top = 90
    for what, work in sides.items():
        top = panel(image, canvas, top, what, work, shown[what], longest)
    image.save(file)


def panel(
    image: Image.Image, canvas: Any, top: int, what: str, work: Sequence[Work], rows: Sequence[str], longest: float
) -> int:
    """One side, all of `longest` milliseconds wide; where it ends."""
    whole, total = sums(work), span(work)
    write(canvas, 20, top, f"{what}: {total:.1f} ms, the device is busy {busy(work):.0%} of it", 20)
    top += 34
    for row in rows:
        bars = coverage([piece for piece in work if piece.row == row], longest)
        image.paste(tinted(bars, ROWS[row]), (LEFT, top))
        write(canvas, 20, top + 4, row, 17, ROWS[row] if row.startswith("Likeness") else INK)
        share = f"{whole[row]:.1f} ms  {whole[row] / total:.0%}" if total else ""
        write(canvas, WIDE - RIGHT + 14, top + 4, share, 17)
        top += HIGH + GAP
    scale(canvas, top, longest)
    return top + 66


def coverage(work: Sequence[Work], longest: float) -> Any:
    """(columns,): how much of each column of the picture this work fills."""
    columns = WIDE - LEFT - RIGHT
    # Each piece adds its covered length between two borders: the running sum of its ends, read at every border.
    borders = numpy.linspace(0, longest, columns + 1)
    done = numpy.zeros(columns + 1)
    for piece in work:
        done += numpy.clip(borders - piece.start, 0, piece.end - piece.start)
    return numpy.clip(numpy.diff(done) / (longest / columns or 1), 0, 1)


def tinted(bars: Any, color: str) -> Image.Image:
    """A row: paper where nothing runs, the colour where all of a column is filled; a little is seen, too."""
    paper, full = (numpy.array(Image.new("RGB", (1, 1), one).getpixel((0, 0)), float) for one in ("#f3f3f3", color))
    seen = numpy.where(bars > 0, 0.25 + 0.75 * bars, 0)[:, None]
    line = (paper * (1 - seen) + full * seen).astype(numpy.uint8)
    return Image.fromarray(numpy.repeat(line[None], HIGH, axis=0))


def scale(canvas: Any, top: int, longest: float) -> None:
    """A line of milliseconds below the rows."""
    columns = WIDE - LEFT - RIGHT
    canvas.line([(LEFT, top), (LEFT + columns, top)], fill=PALE)
    power = 10 ** len(str(int(longest / 2))) / 10
    tick = next((t for t in (power, 2 * power, 5 * power, 10 * power) if longest / t <= 8), 10 * power)
    for number in range(int(longest / tick) + 1):
        x = LEFT + round(columns * number * tick / longest)
        canvas.line([(x, top), (x, top + 6)], fill=PALE)
        write(canvas, x - 8, top + 8, f"{number * tick:g}" + (" ms" if number == 0 else ""), 14, PALE)


def write(canvas: Any, x: float, y: float, text: str, size: int, color: str = INK) -> None:
    canvas.text((x, y), text, fill=color, font=ImageFont.load_default(size))
