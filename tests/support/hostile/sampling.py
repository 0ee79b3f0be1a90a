"""Latents of other sizes, and ranges of the schedule that the host's own nodes set."""

import itertools
from collections.abc import Iterator
from typing import Any

from graphs import DEFAULTS, SAMPLED, Node, node, ours, sampled, sampler, value
from sample_values import drawn, latent, normal, sdxl

from hostile.cases import Case, is_drawn, is_not_drawn, right

SIZES = ((120, 88), (8, 8), (128, 192))
"""Of latents; the last of another shape. More of them: tests/support/refusals/by_the_sampler.py."""


def latents() -> Iterator[Case]:
    kinds = ("LikenessApplyIDPatch", "LikenessApplyInstantID", "LikenessApplyParts2Whole")
    for (width, height), kind in itertools.product(SIZES, kinds):
        graph = sampled(ours(kind), latent(width, height))
        if kind == "LikenessApplyParts2Whole" or (width, height) == SIZES[-1]:
            yield is_not_drawn(f"{width}x{height}.*128x96 px", graph)
        else:
            yield is_drawn(graph)


def ranged(conditioning: Any, start: float, end: float) -> Node:
    return node("ConditioningSetTimestepRange", conditioning=conditioning, start=start, end=end)


def alike(a: dict[str, Any], b: dict[str, Any], tolerance: float = 0.0) -> str | None:
    """By the largest difference of two latents, in parts of the larger one's largest value."""
    first, second = a["samples"], b["samples"]
    largest = max(first.abs().max(), second.abs().max())
    distance = float((first - second).abs().max() / largest)
    unsound = drawn(a) or drawn(b)
    if unsound or distance <= tolerance:
        return unsound
    return f"{distance:.2e} away from what it must equal"


def schedules() -> Iterator[Case]:
    for kind in SAMPLED:
        yield from ranges_around(kind)


def ranges_around(kind: str) -> Iterator[Case]:
    """A range of the whole schedule before or behind the node, one cut in two, and no step at all."""
    applied = ours(kind)
    in_one_run = sampled(applied)
    if kind == "LikenessApplyIDPatch":
        model = value(sdxl)
        positive = applied
        negative = applied[1]
    else:
        model, positive, negative = applied, applied[1], applied[2]
    behind = sampler(model, ranged(positive, 0.0, 1.0), ranged(negative, 0.0, 1.0))
    sides = {side: ranged(DEFAULTS[kind][side], 0.0, 1.0) for side in ("positive", "negative")}
    joined = node(
        "ConditioningCombine", conditioning_1=ranged(positive, 0.0, 0.5), conditioning_2=ranged(positive, 0.5, 1.0)
    )
    noise = value(dict, samples=normal(3, 1, 4, 12, 16))
    yield right(value(alike, behind, in_one_run))
    yield right(value(alike, sampled(ours(kind, **sides)), in_one_run))
    yield right(value(alike, sampler(model, joined, negative), in_one_run, 1e-5))
    yield right(value(alike, sampler(model, positive, negative, noise, denoise=0.0), noise))
