"""People on transformers on the card that is there: seconds per step and memory at the peak, beside a plain step.

In the host's networks at their published sizes, with random weights. A step is a forward of one picture without CFG.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.model_patcher
import environment
import tiny_dits
import torch

from . import transformers
from .card import GIB, Figure, device, device_name, measured
from .methods import Line
from .seconds import filled
from .transformers import METHODS, PUBLISHED, SIDE, Network, Transformer

NUMBERS = 1, 2, 4
"""Of people."""
TITLES = {
    "prompt_per_person": "**Prompt per Person**",
    "lora_per_person": "**LoRA per Person**",
    "lora_per_person_with_words": "**LoRA per Person** with words",
    "masked_prompts": "ComfyUI's masks",
}


@dataclass(frozen=True)
class Settings:
    """Of one run.

    models: which are measured, in this order. dtype: of their weights. side: of the picture in pixels. numbers: of
    people. seconds: after which no further figure is begun.
    """

    models: Sequence[Transformer] = PUBLISHED
    dtype: torch.dtype = torch.bfloat16
    side: int = SIDE
    numbers: Sequence[int] = NUMBERS
    seconds: float = 200.0


def tiny() -> tuple[Transformer, ...]:
    """A transformer of every family, as small as in the tests."""
    return tuple(
        Transformer(f"small {family}", family, {}, tiny_dits.TEXT, text_tokens=7) for family in tiny_dits.EVERY
    )


def for_timing(transformer: Transformer, settings: Settings) -> Network:
    """With random weights on the device where the host computes. They stay there: nothing is moved to the CPU and back
    between two figures."""
    torch.manual_seed(0)
    configuration = {**transformer.settings, "dtype": settings.dtype}
    model = transformer.model_class(configuration).get_model({}, device=device())
    filled(model.diffusion_model)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device(), offload_device=device())
    return Network(transformer, patcher, settings.side)


def measure(settings: Settings) -> Iterator[Line]:
    """A figure for each model, way and number of people; for each model first the step without people.

    A model that does not fit, or a way that fails, is said, and the next one is measured. What no longer fits into the
    time is said too.
    """
    started = time.monotonic()
    for transformer in settings.models:
        if time.monotonic() - started > settings.seconds:
            environment.say(f"No time was left ({settings.seconds:.0f} s) for {transformer.name}.")
            continue
        environment.say(f"Measuring {transformer.name}.")
        try:
            yield from _figures(transformer, settings, started)
        except torch.OutOfMemoryError:
            environment.say(f"{transformer.name} does not fit into the memory of this card.")
        # The weights of one model leave the card before those of the next one come.
        gc.collect()
        comfy.model_management.cleanup_models()
        comfy.model_management.soft_empty_cache()


def _figures(transformer: Transformer, settings: Settings, started: float) -> Iterator[Line]:
    network = for_timing(transformer, settings)
    network.sampled(transformers.plain(network, 0), 1)  # it loads the weights, so that they lie there before
    plain = measured(lambda: transformers.plain(network, 0), network.sampled)
    yield _line(transformer, "nobody", 0, plain, plain)
    for name, people in itertools.product(METHODS, settings.numbers):
        if time.monotonic() - started > settings.seconds:
            environment.say(f"No time was left ({settings.seconds:.0f} s) for {name} with {people} people.")
            continue
        apply = METHODS[name]
        try:
            figure = measured(lambda apply=apply, people=people: apply(network, people), network.sampled)
        except Exception as failure:  # noqa: BLE001 - a figure less is better than none
            environment.say(f"{name} with {people} people failed: {failure!r}"[:400])
            continue
        yield _line(transformer, name, people, figure, plain)


def _line(transformer: Transformer, method: str, people: int, figure: Figure, plain: Figure) -> Line:
    return {
        "name": f"card_{transformer.name}_{method}_{people}",
        "device": device_name(),
        "model": transformer.name,
        "method": method,
        "people": people,
        "seconds_per_step": round(figure.step, 5),
        "ratio": round(figure.step / plain.step, 3),
        "peak_gib": None if figure.peak is None else round(figure.peak / GIB, 3),
        "finite": figure.finite,
    }


def table(lines: Iterable[Line]) -> str:
    """Markdown of what was measured: how long steps take, and how much memory they need, a row for each model."""
    figures = list(lines)
    numbers = sorted({figure["people"] for figure in figures} - {0})
    people = " / ".join(map(str, numbers))
    ways = [title for name, title in TITLES.items() if any(figure["method"] == name for figure in figures)]
    head = f"| {' | '.join(ways)} |\n{'|---' * (2 + len(ways))}|"
    seconds = [f"| {people} people | without people, seconds per step {head}"]
    memory = [f"| GiB at the peak beside the weights, {people} people | without people {head}"]
    for model in dict.fromkeys(figure["model"] for figure in figures):
        of_the_model = [figure for figure in figures if figure["model"] == model]
        (plain,) = (figure for figure in of_the_model if not figure["people"])
        ratios: list[str] = []
        peaks: list[str] = []
        for method in TITLES:
            known = {figure["people"]: figure for figure in of_the_model if figure["method"] == method}
            if known:
                ratios.append(" / ".join(_ratio(known.get(number)) for number in numbers))
                peaks.append(" / ".join(_peak(known.get(number)) for number in numbers))
        seconds.append(f"| {model} | {plain['seconds_per_step']:.3f} | {' | '.join(ratios)} |")
        memory.append(f"| {model} | {_peak(plain)} | {' | '.join(peaks)} |")
    device_line = f"Device: {figures[0]['device']}. Torch {torch.__version__}."
    return "\n\n".join([device_line, "\n".join(seconds), "\n".join(memory)]) + "\n"


def _ratio(figure: Mapping[str, Any] | None) -> str:
    """Beside a step without people; a dash where there was no time or no memory for it."""
    return "-" if figure is None else f"{figure['ratio']:.2f}"


def _peak(figure: Mapping[str, Any] | None) -> str:
    """A dash where there was no time or no memory for it, or where the device does not count."""
    return "-" if figure is None or figure["peak_gib"] is None else f"{figure['peak_gib']:.2f}"
