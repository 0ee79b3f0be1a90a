"""Nothing is left after many runs."""

import gc

import pytest
import torch
from promised import Row, latents


def live() -> int:
    """Bytes in tensors."""
    gc.collect()
    return sum(one.element_size() * one.nelement() for one in gc.get_objects() if type(one) is torch.Tensor)


@pytest.mark.parametrize("runs", [2, pytest.param(100, marks=pytest.mark.thorough)])
def test_runs_leave_no_tensors(row: Row, runs: int) -> None:
    def run() -> None:
        latents(row.sampled(row.node(), steps=1))

    for _ in range(2):  # what is loaded and remembered once
        run()
    before = live()
    for _ in range(runs):
        run()
    assert live() <= before
