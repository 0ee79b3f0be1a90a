"""In half precision and in fp8 it is the picture of float32, as near as that precision is without the node."""

from typing import Any

import pytest
from attack_graphs import value
from figures import relative
from promised import Row, in_front, latents
from torch import Tensor


def drawn(row: Row, model: Any, **changed: Any) -> Tensor:
    """With the node, and another MODEL."""
    applied = in_front(row.node(**changed), model) if "model" in row.inputs else row.node(**changed)
    graph = row.sampled(applied, steps=1)
    if "model" not in row.outputs:
        graph.inputs["model"] = model
    return latents(graph)


def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision(row: Row) -> None:
    half = value("in_half(a)", row.model)
    found = {
        "full": drawn(row, row.model), "half": drawn(row, half),
        "plain": latents(row.plain(steps=1)), "plain half": latents(row.plain(half, steps=1)),
    }  # fmt: skip
    assert all(one.isfinite().all() for one in found.values())
    without = relative(found["plain half"], found["plain"])
    assert relative(found["half"], found["full"]) <= 3 * without + 1e-3
    assert relative(found["half"], found["plain half"]) > 1e-5


@pytest.mark.parametrize("scaled", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_with_weights_in_fp8_it_is_the_picture_of_what_they_stand_for(row: Row, scaled: bool) -> None:
    fp8, read = (value(f"in_fp8(a, {scaled}{end})", row.model) for end in ("", ", True"))
    # The LoRA of a file goes into the weights, where the host rounds it to fp8 as that of Load LoRA.
    without = {"lora_weight": 0.0} if "lora_weight" in row.inputs else {}
    found, true, full = (drawn(row, model, **without) for model in (fp8, read, row.model))
    assert relative(found, true) <= 1e-5 and relative(true, full) > 1e-3
