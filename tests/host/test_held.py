"""What a run with a newly loaded adapter leaves in memory: nothing that the next run does not replace."""

from __future__ import annotations

from typing import Any

import pytest
from attack_graphs import ours, sampled, value
from attack_values import held
from graph_run import run


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "adapter"), [("LikenessApplyIPAdapter", "ip_adapter"), ("LikenessApplyStoryMaker", "story_maker")]
)
def test_runs_leave_neither_tensors_nor_models(kind: str, adapter: str) -> None:
    """Its file is read, a LoRA put on the MODEL and a picture drawn, each time anew."""

    def after_a_run() -> dict[str, Any]:
        run(sampled(ours(kind, **{adapter: value(f"loaded.__wrapped__({adapter!r})")})), {})
        return {what: number for what, number in held().items() if what in ("tensors", "patchers", "files")}

    after_a_run()  # what is loaded and remembered once
    first = after_a_run()
    after_a_run()
    assert after_a_run() == first
