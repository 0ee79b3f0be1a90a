"""What people cost: a step by each way beside one without people, counted or timed, and the tables of it."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import comfy.model_management
import comfyui_version
import environment
import torch
from torch import Tensor

from .counting import LiveBytes, ShapesAlone, counting

STEPS = 12
WARM = 3
"""Timed is the median of the steps after these, and their largest memory: in these weights are loaded, and cuDNN looks
for its kernels."""
MIB = 2**20
MIB_PER_GIB = 1024
NOBODY = "nobody"
Line = dict[str, Any]
"""A figure, by the names that are printed as JSON."""


class Applied(NamedTuple):
    """What the sampler is connected to. rows: of the batch. size: of the picture, where it is another."""

    model: Any
    positive: Any
    negative: Any
    rows: int = 1
    size: tuple[int, int] | None = None


class Network(Protocol):
    """A model in the host. title: as a table calls it."""

    @property
    def title(self) -> str: ...

    def plain(self) -> Applied:
        """Without people."""
        ...

    def sampled(self, applied: Applied, steps: int, **options: Any) -> Tensor:
        """The latent after so many steps. options: of the host's sampler."""
        ...


@dataclass(frozen=True)
class Way:
    """A way to put people into a picture.

    title: its row in a table. apply: by its nodes, to a network and a number of people, or parts. families: of UNets.
    most: beyond which there are none. step: of the picture, in plain ones, from what a call of the model costs in
    plain ones and the number of people; None where a step is a call.
    """

    title: str
    apply: Callable[[Any, int], Applied]
    families: tuple[str, ...] = ("sdxl",)
    most: int = 12
    step: Callable[[float, int], float] | None = None


# --- Counted


@dataclass(frozen=True)
class Counted:
    """Of one step after the first.

    tflop: operations, 1e12. kernels, moved: as of LiveBytes. first_kernels: those of the first step, and of all that
    comes before it, in the first sampling and in a second one. peak, resident: MiB beside the weights, the most at any
    moment and what stays from step to step.
    """

    tflop: float
    kernels: int
    first_kernels: tuple[int, int]
    moved: int
    peak: float
    resident: float


def counted(network: Network, applied: Applied) -> Counted:
    """Of the second step. network: in shapes alone."""
    moments: list[tuple[int, int, int, int, int]] = []
    with ShapesAlone(), LiveBytes("cpu") as memory, counting() as counter:

        def note(*_: Any) -> None:
            resident = memory.live - memory.older
            moments.append((counter.get_total_flops(), memory.kernels, memory.moved, memory.peak, resident))
            memory.peak = memory.live

        network.sampled(applied, 2, callback=note)
        kernels_before_again = memory.kernels
        network.sampled(applied, 1, callback=note)
    (flop_before, first_kernels, moved_before, _, resident), (flop, kernels, moved, peak, _), again = moments
    return Counted(
        tflop=(flop - flop_before) / 1e12,
        kernels=kernels - first_kernels,
        first_kernels=(first_kernels, again[1] - kernels_before_again),
        moved=moved - moved_before,
        peak=peak / MIB,
        resident=resident / MIB,
    )


def count(network: Network, ways: Mapping[str, Way], numbers: Iterable[int]) -> Iterator[Line]:
    """A figure without people, and one for each way and number of people; none without a way. network: in shapes
    alone."""
    if not ways:
        return
    plain = counted(network, network.plain())

    def line(name: str, people: int, ratio: float, call: Counted) -> Line:
        return {
            "name": f"people_{network.title}_{name}_{people}",
            "network": network.title,
            "method": name,
            "people": people,
            "unit": "TFLOP",
            "ours": ratio * plain.tflop,
            "peer": plain.tflop,
            "ratio": round(ratio, 4),
            "call_tflop": round(call.tflop, 6),
            "kernels": call.kernels,
            "plain_kernels": plain.kernels,
            "first_kernels": call.first_kernels,
            "moved_ratio": round(call.moved / plain.moved, 4),
            "plain_gib_moved": round(plain.moved / 2**30, 2),
            "peak_mib": round(call.peak),
            "kept_mib": round(call.resident),
        }

    yield line(NOBODY, 0, 1.0, plain)
    for name, way in ways.items():
        environment.say(f"Counting {way.title} on {network.title}.")
        for people in numbers:
            if people > way.most:
                continue
            call = counted(network, way.apply(network, people))
            ratio = call.tflop / plain.tflop
            if way.step:
                ratio = way.step(ratio, people)
            yield line(name, people, ratio, call)


# --- Timed


def device() -> torch.device:
    return comfy.model_management.get_torch_device()


def device_name() -> str:
    """The card's name, or that it is none."""
    if device().type == "cuda":
        return torch.cuda.get_device_name(device())
    return f"{device().type}, which is no graphics card"


@dataclass(frozen=True)
class Timed:
    """step: seconds, the median. spread: the width of the middle half of the steps, as a share of it. peak: bytes of
    the card beside what lay there before the nodes ran, or None where the device does not count them. finite: whether
    the latent has only numbers."""

    step: float
    spread: float
    peak: int | None
    finite: bool


def timed(network: Network, apply: Callable[[], Applied], pictures: int) -> Timed:
    """How long a step takes with what `apply` gives, and how much of the card it needs, adapters included."""
    gc.collect()
    cuda = device().type == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    applied = apply()
    moments: list[float] = []

    def note(*_: Any) -> None:
        if cuda:
            torch.cuda.synchronize()
            if len(moments) < WARM:
                torch.cuda.reset_peak_memory_stats()
        moments.append(time.perf_counter())

    latent = network.sampled(applied._replace(rows=applied.rows * pictures), STEPS, callback=note)
    peak = torch.cuda.max_memory_allocated() - before if cuda else None
    # n moments have n - 1 steps between them, and the first WARM - 1 of these only warm up.
    later = [end - begin for begin, end in itertools.pairwise(moments)][WARM - 1 :]
    lower, median, upper = statistics.quantiles(later, n=4)
    return Timed(median, (upper - lower) / median, peak, bool(latent.isfinite().all()))


@dataclass(frozen=True)
class Timing:
    """Of one run. pictures: how many are sampled at once. numbers: of people. seconds: after which no further figure is
    begun."""

    numbers: Sequence[int]
    pictures: int = 1
    seconds: float = 200.0


def measure(networks: Mapping[str, Callable[[], Network]], ways: Mapping[str, Way], timing: Timing) -> Iterator[Line]:
    """A figure for each network, number of people and way; for each network first the step without people.

    networks: by their titles, each made when its turn comes. What fails, as where the card's memory is not enough, is
    said, and the next one is measured. What no longer fits into the time is said too.
    """
    started = time.monotonic()
    for title, make in networks.items():
        if time.monotonic() - started > timing.seconds:
            environment.say(f"No time was left ({timing.seconds:.0f} s) for {title}.")
            continue
        environment.say(f"Measuring {title}.")
        try:
            yield from _timed_lines(make(), ways, timing, started)
        except torch.OutOfMemoryError:
            environment.say(f"{title} does not fit into the memory of this card.")
        # The weights of one network leave the card before those of the next one come.
        gc.collect()
        comfy.model_management.cleanup_models()
        comfy.model_management.soft_empty_cache()


def _timed_lines(network: Network, ways: Mapping[str, Way], timing: Timing, started: float) -> Iterator[Line]:
    network.sampled(network.plain(), 1)  # it loads the weights, so that they lie there before
    plain = timed(network, network.plain, timing.pictures)

    def line(name: str, people: int, figure: Timed) -> Line:
        return {
            "name": f"timed_{network.title}_{name}_{people}",
            "device": f"{device_name()}, torch {torch.__version__}, ComfyUI {comfyui_version.__version__}",
            "network": network.title,
            "method": name,
            "people": people,
            "pictures": timing.pictures,
            "unit": "s",
            "ours": round(figure.step, 5),
            "peer": round(plain.step, 5),
            "ratio": round(figure.step / plain.step, 3),
            "spread": round(figure.spread, 3),
            "peak_mib": None if figure.peak is None else round(figure.peak / MIB),
            "finite": figure.finite,
        }

    yield line(NOBODY, 0, plain)
    for people, (name, way) in itertools.product(timing.numbers, ways.items()):
        # Where a step of the picture is no call of the model, there is nothing to time.
        if way.step or people > way.most:
            continue
        if time.monotonic() - started > timing.seconds:
            environment.say(f"No time was left ({timing.seconds:.0f} s) for {way.title} with {people} people.")
            continue
        try:
            figure = timed(network, lambda way=way, people=people: way.apply(network, people), timing.pictures)
        except Exception as failure:  # noqa: BLE001 - a figure less is better than none
            environment.say(f"{way.title} with {people} people failed: {failure!r}"[:400])
            continue
        yield line(name, people, figure)


# --- Tables


def tables(lines: Iterable[Line], titles: Mapping[str, str]) -> str:
    """Markdown: for each network a row per way, the ratios for so many people and the memory at the most of them.

    titles: of ways by their names.
    """
    of_network: dict[str, list[Line]] = {}
    for line in lines:
        of_network.setdefault(line["network"], []).append(line)
    texts: list[str] = []
    for title, figures in of_network.items():
        plain = next(figure for figure in figures if figure["method"] == NOBODY)
        numbers = sorted({figure["people"] for figure in figures} - {0})
        most = numbers[-1] if numbers else 0
        head = f"{title}: steps of {plain['peer']:.3g} {plain['unit']}; people"
        rows = _rows(head, figures, numbers, titles, _ratio)
        memory = _rows("", figures, [most], titles, _gib)
        memory[0][1] = f"GiB at {most}"
        texts.append(_table([*row, of_most] for row, (_, of_most) in zip(rows, memory, strict=True)))
        if "kernels" in plain:
            texts += [_table(_kernels(figures, numbers, titles)), _table(_moved(figures, numbers, titles))]
        if "device" in plain:
            at_once = "one picture" if plain["pictures"] == 1 else f"{plain['pictures']} pictures at once"
            spread = max(figure.get("spread", 0.0) for figure in figures)
            texts.append(
                f"Timed on {plain['device']}, {at_once}. The middle half of a figure's steps differs by at most "
                f"{spread:.0%}."
            )
    return "\n\n".join(texts) + "\n"


def _kernels(figures: Sequence[Line], numbers: Sequence[int], titles: Mapping[str, str]) -> list[list[str]]:
    """The rows of a table of kernels: of a step, of the first step, and of the first step of a second sampling."""
    plain = figures[0]
    head = f"{plain['network']}: kernels of a step, of the first and of that of a second sampling; people"

    def cell(figure: Line) -> str:
        return " / ".join(map(str, (figure["kernels"], *figure["first_kernels"])))

    return _rows(head, figures, numbers, titles, cell)


def _moved(figures: Sequence[Line], numbers: Sequence[int], titles: Mapping[str, str]) -> list[list[str]]:
    """The rows of a table of bytes read and written, relative to a plain step."""
    plain = figures[0]
    head = f"{plain['network']}: bytes read and written, times {plain['plain_gib_moved']} GiB of a plain step; people"
    return _rows(head, figures, numbers, titles, lambda figure: f"{figure['moved_ratio']:.3f}")


def _rows(
    head: str,
    figures: Sequence[Line],
    numbers: Sequence[int],
    titles: Mapping[str, str],
    cell: Callable[[Line], str],
) -> list[list[str]]:
    """The rows of a table: one without people and one for each way, with a cell for each number of people, which is
    empty where there is no figure."""
    plain = next(figure for figure in figures if figure["method"] == NOBODY)
    rows = [[head, *map(str, numbers)], ["---"] * (len(numbers) + 1)]
    for method in dict.fromkeys(figure["method"] for figure in figures):
        by_people = {figure["people"]: figure for figure in figures if figure["method"] == method}
        if method == NOBODY:
            by_people = dict.fromkeys(numbers, plain)
        title = {NOBODY: "without people", **titles}[method]
        rows.append([title, *(cell(by_people[n]) if n in by_people else "" for n in numbers)])
    return rows


def _table(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _ratio(line: Line) -> str:
    """With as many digits as tell it from one."""
    ratio = line["ratio"]
    return f"{ratio:.3f}" if ratio < 1.0095 else f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}"


def _gib(line: Line) -> str:
    """Beside the weights; empty where the device does not count."""
    return "" if line["peak_mib"] is None else f"{line['peak_mib'] / MIB_PER_GIB:.2f}"
