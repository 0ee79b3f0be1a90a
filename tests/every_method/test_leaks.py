"""Nothing is left after many runs, and no step leaves more than those before it."""

import gc
from collections import Counter
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from bench.counting import LiveBytes
from host_sampling import applied, latent_of
from method_rows import ALONE, Row, latents
from torch import Tensor

OFTEN = ALONE


def live() -> tuple[int, Counter[str]]:
    """Bytes in tensors, and how many objects of each class of the pack and of the host's patchers there are."""
    gc.collect()
    size = 0
    objects = Counter[str]()
    for thing in gc.get_objects():
        kind = type(thing)
        # Classes written in C may have something else than a text as their module.
        if kind is torch.Tensor:
            size += thing.element_size() * thing.nelement()
        elif str(kind.__module__).startswith(("pack.", "comfy.model_patcher", "comfy.controlnet")):
            objects[f"{kind.__module__}.{kind.__qualname__}"] += 1
    return size, objects


@pytest.mark.parametrize("runs", [1, pytest.param(100, marks=pytest.mark.thorough)])
def test_runs_leave_no_tensors(row: Row, runs: int) -> None:
    def run() -> None:
        latents(row.sampled(row.node(), steps=1))

    for _ in range(2):  # what is loaded and remembered once
        run()
    size, objects = live()
    for _ in range(runs):
        run()
    size_after, objects_after = live()
    assert size_after <= size
    assert objects_after - objects == Counter(), "more of these than before"


def test_steps_leave_no_tensors(row: Row) -> None:
    given = applied(row, row.node())
    latent = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row))
    percent_to_sigma = given.model.get_model_object("model_sampling").percent_to_sigma
    sigmas = torch.tensor([percent_to_sigma(percent) for percent in (0.3, 0.4, 0.5, 0.6)])
    left: list[int] = []

    def sampler(model: Any, noise: Tensor, sigmas: Tensor, extra_args: Any, **_: Any) -> Tensor:
        for sigma in sigmas:
            model(noise, sigma.expand(len(noise)), **extra_args)
            gc.collect()
            left.append(memory.live)
        return noise

    with LiveBytes("cpu") as memory:
        guider = given.guider()
        guider.sample(latent, torch.zeros_like(latent), comfy.samplers.KSAMPLER(sampler), sigmas, disable_pbar=True)
    _, second, third, fourth = left
    assert second == third == fourth
