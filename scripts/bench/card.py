"""What people cost on the graphics card that is there: seconds per step and memory at the peak, beside other packs.

In ComfyUI's SDXL at its real size with random weights in half precision.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import environment
import torch
from torch.nn.functional import scaled_dot_product_attention

from . import methods, others
from .methods import Applied, Apply, Family, Line
from .seconds import for_timing
from .tables import TITLES

NUMBERS = (1, 2, 4, 8)
"""Of people."""
OURS = ("id_patch", "instant_id", "ip_adapter_plus", "prompt_per_person", "lora_per_person")
"""Methods of Likeness in the table: each kind of cost once."""
STEPS = 5
WARM = 2
"""The median is taken of the steps after these: weights are loaded, and cuDNN looks for its kernels, in both."""
GIB = 2**30


@dataclass(frozen=True)
class Settings:
    """Of one run.

    family: the networks. dtype: of their weights. pictures: how many are sampled at once. numbers: of people. seconds:
    after which no further figure is begun.
    """

    family: Family
    dtype: torch.dtype
    pictures: int = 1
    numbers: Sequence[int] = NUMBERS
    seconds: float = 200.0


def tiny(family: Family) -> Family:
    """The family as narrow as in the tests and as deep as published: other packs count its layers."""
    narrow = {name: family.tiny[name] for name in ("model_channels", "channel_mult")}
    return replace(family, shape={**family.shape, **narrow}, size=(128, 128))


def device() -> torch.device:
    return comfy.model_management.get_torch_device()


def device_name() -> str:
    """The card's name, or that it is none."""
    if device().type == "cuda":
        return torch.cuda.get_device_name(device())
    return f"{device().type}, which is no graphics card"


def _finish() -> None:
    """Wait until the card has done what was started."""
    if device().type == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Figure:
    """step: seconds, the median. peak: bytes of the card beside what lay there before the nodes ran, or None where the
    device does not count them. finite: whether the latent has only numbers."""

    step: float
    peak: int | None
    finite: bool


def measured(apply: Callable[[], Applied], sample: Callable[..., torch.Tensor]) -> Figure:
    """How long a step takes with what `apply` gives, and how much of the card it needs, adapters included.

    sample: takes what `apply` gives, the number of steps and a `callback` that is called after each, and returns the
    latent.
    """
    gc.collect()
    cuda = device().type == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    applied = apply()
    moments: list[float] = []

    def note(*_: Any) -> None:
        _finish()
        moments.append(time.perf_counter())

    _finish()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    latent = sample(applied, STEPS, callback=note)
    peak = torch.cuda.max_memory_allocated() - before if cuda else None
    later = [end - begin for begin, end in itertools.pairwise(moments)][WARM - 1 :]
    return Figure(statistics.median(later), peak, bool(latent.isfinite().all()))


def measure(settings: Settings) -> Iterator[Line]:
    """A figure for each method and number of people; first the step without people.

    A method that fails, as where the card's memory is not enough, is said, and the next one is measured. What no longer
    fits into the time is said too.
    """
    started = time.monotonic()
    appliers: dict[str, Apply] = {name: methods.METHODS[name].apply for name in OURS}
    for name, method in others.installed_methods().items():
        # A crop for each person is a plain picture; nothing is to be measured.
        if name != "crop_and_detail":
            appliers[name] = method.apply
    networks = for_timing(settings.family, settings.dtype)
    methods.sampled(networks, methods.unpatched(networks, 0), 1)  # it loads the weights, so that they lie there before

    def sample(applied: Applied, steps: int, **options: Any) -> torch.Tensor:
        return methods.sampled(networks, applied._replace(rows=applied.rows * settings.pictures), steps, **options)

    plain = measured(lambda: methods.unpatched(networks, 0), sample)
    yield _line(settings, "nobody", 0, plain)
    left_out: list[str] = []
    for people, name in itertools.product(settings.numbers, appliers):
        if time.monotonic() - started > settings.seconds:
            left_out.append(f"{name} for {people}")
            continue
        environment.say(f"Measuring {name} with {people} people.")
        apply = appliers[name]
        try:
            figure = measured(lambda apply=apply, people=people: apply(networks, people), sample)
        except Exception as failure:  # noqa: BLE001 - a figure less is better than none
            environment.say(f"{name} with {people} people failed: {failure!r}"[:400])
            continue
        yield _line(settings, name, people, figure)
    if left_out:
        environment.say(f"No time was left ({settings.seconds:.0f} s) for: {', '.join(left_out)}.")


def _line(settings: Settings, method: str, people: int, figure: Figure) -> Line:
    return {
        "name": f"card_{settings.family.name}_{method}_{people}",
        "device": device_name(),
        "method": method,
        "people": people,
        "pictures": settings.pictures,
        "seconds_per_step": round(figure.step, 5),
        "peak_gib": None if figure.peak is None else round(figure.peak / GIB, 3),
    }


# --- What a mask costs


@dataclass(frozen=True)
class Attention:
    """A layer of SDXL at 1024 px with CFG.

    title: its row in the table. queries, keys: tokens. heads: of 64 numbers. mask_queries: 1 where the same keys are
    masked for every query.
    """

    title: str
    queries: int
    keys: int
    heads: int
    mask_queries: int


GARMENT = 820
"""Tokens of a garment that covers a fifth of its picture, in a layer of 4096."""
ATTENTIONS = (
    Attention("self-attention that reads 4 garments, a mask of keys", 4096, 4096 + 4 * GARMENT, 10, 1),
    Attention("the same in the layers of 1024 tokens", 1024, 1024 + GARMENT, 20, 1),
    Attention("cross-attention that reads 4 people's prompts by region", 4096, 400, 10, 4096),
    Attention("the same in the layers of 1024 tokens", 1024, 400, 20, 1024),
)
REPEATS = 20


def mask_costs(dtype: torch.dtype, scale: int = 1) -> Iterator[Line]:
    """Torch's attention with a mask beside the same without one, where it may take its flash kernel.

    scale: by how much fewer tokens there are, for a device that is slow.
    """
    generator = torch.Generator().manual_seed(91)
    for attention in ATTENTIONS:
        queries, keys = attention.queries // scale, attention.keys // scale

        def tokens(count: int, heads: int = attention.heads) -> torch.Tensor:
            # (rows of CFG, heads, tokens, 64)
            return torch.randn(2, heads, count, 64, generator=generator).to(device(), dtype)

        q, k, v = tokens(queries), tokens(keys), tokens(keys)
        mask_queries = 1 if attention.mask_queries == 1 else queries
        mask = torch.randn(1, 1, mask_queries, keys, generator=generator).to(device(), dtype)
        # A kernel that takes the mask of a query by itself does not read a row that is expanded.
        mask = mask.expand(2, attention.heads, queries, keys)
        without = _median(lambda q=q, k=k, v=v: scaled_dot_product_attention(q, k, v))
        masked = _median(lambda q=q, k=k, v=v, mask=mask: scaled_dot_product_attention(q, k, v, attn_mask=mask))
        yield {
            "name": "mask",
            "title": attention.title,
            "device": device_name(),
            "without_ms": round(without * 1000, 4),
            "with_ms": round(masked * 1000, 4),
            "ratio": round(masked / without, 3),
        }


def _median(run: Callable[[], Any]) -> float:
    """Seconds of a call."""
    times: list[float] = []
    for number in range(REPEATS):
        _finish()
        start = time.perf_counter()
        run()
        _finish()
        if number >= WARM:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


# --- The table


def table(lines: Iterable[Line]) -> str:
    """Markdown of what was measured: a heading that names the device, steps and memory, and what masks cost."""
    figures = list(lines)
    people = [figure for figure in figures if figure["name"].startswith("card_")]
    parts = [f"Device: {figures[0]['device']}. Torch {torch.__version__}."]
    for pictures in dict.fromkeys(figure["pictures"] for figure in people):
        chosen = [figure for figure in people if figure["pictures"] == pictures]
        parts.append(_steps_table(chosen, pictures))
    masks = [figure for figure in figures if figure["name"] == "mask"]
    if masks:
        rows = ["| attention | without a mask | with a mask | ratio |", "|---|---|---|---|"]
        for figure in masks:
            rows.append(
                f"| {figure['title']} | {figure['without_ms']:.3f} ms | {figure['with_ms']:.3f} ms "
                f"| {figure['ratio']:.2f} |"
            )
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _steps_table(figures: Sequence[Line], pictures: int) -> str:
    titles = {name: method.title for name, method in others.OTHERS.items()}
    titles |= TITLES | {"nobody": "nothing, the step that the others are compared with"}
    numbers = sorted({figure["people"] for figure in figures} - {0})
    at_once = "one picture" if pictures == 1 else f"{pictures} pictures at once"
    heads = " | ".join(map(str, numbers))
    rows = [f"| {at_once}: seconds per step / GiB at the peak; people | {heads} |", "|---" * (len(numbers) + 1) + "|"]
    for method in dict.fromkeys(figure["method"] for figure in figures):
        by_people = {figure["people"]: figure for figure in figures if figure["method"] == method}
        cells: list[str] = []
        for number in numbers:
            cells.append(_cell(by_people.get(0 if method == "nobody" else number)))
        rows.append(f"| {titles[method]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    memory = "not counted" if figure["peak_gib"] is None else f"{figure['peak_gib']:.2f}"
    return f"{figure['seconds_per_step']:.3f} / {memory}"
