"""Nothing is left after many runs."""

import gc
from collections import Counter

import pytest
import torch
from method_rows import ALONE, Row, latents

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
