"""Nothing is left after many runs."""

from __future__ import annotations

import pytest
from attack_graphs import Node, value
from attack_values import held
from held_to import left_by
from promised import Row, latents


@pytest.mark.parametrize("runs", [4, pytest.param(100, marks=pytest.mark.thorough)])
def test_runs_leave_no_tensors(row: Row, runs: int) -> None:
    def run() -> None:
        latents(row.sampled(row.node(), steps=1))

    run()  # what is loaded and remembered once
    assert left_by(run, runs) <= 0


@pytest.mark.thorough
def test_runs_with_files_that_are_read_anew_leave_neither_tensors_nor_models(row: Row) -> None:
    """Its LoRA is then put on the MODEL each time, too."""
    anew = {
        name: value(one.inputs["expression"].replace("loaded(", "loaded.__wrapped__(", 1))
        for name, one in row.node().inputs.items()
        if isinstance(one, Node) and one.inputs.get("expression", "").startswith("loaded(")
    }

    def after_a_run() -> dict[str, int]:
        latents(row.sampled(row.node(**anew), steps=1))
        return {what: number for what, number in held().items() if what in ("tensors", "patchers", "files")}

    after_a_run()  # what is loaded and remembered once
    first = after_a_run()
    after_a_run()
    assert after_a_run() == first
