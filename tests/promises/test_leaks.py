"""Nothing is left after many runs."""

import pytest
from held_to import left_by
from promised import Row, latents


@pytest.mark.parametrize("runs", [2, pytest.param(100, marks=pytest.mark.thorough)])
def test_runs_leave_no_tensors(row: Row, runs: int) -> None:
    def run() -> None:
        latents(row.sampled(row.node(), steps=1))

    run()  # what is loaded and remembered once
    assert left_by(run, runs) <= 0
