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


LOUD = ("sd15()", "denoiser()", "flux()")
"""MODELs of random weights that multiply bfloat16's rounding until it is as large as the picture."""


def share_of(changed: Tensor, expected: Tensor) -> float:
    """How much of an expected change a change holds: 1 for all of it, 0 for none, 0.5 where it is half as strong.

    The least-squares factor over all values of the latent. Rounding that has nothing to do with the expected change
    cancels out, even where it is larger in a single value.
    """
    return ((changed * expected).sum() / expected.square().sum()).item()


def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision(row: Row) -> None:
    full = row.model
    if full.inputs["expression"] in LOUD:
        full = value("gentle(a)", full)
    half = value("in_half(a)", full)
    plain, plain_in_half = latents(row.plain(full, steps=1)), latents(row.plain(half, steps=1))
    ours, ours_in_half = drawn(row, full), drawn(row, half)
    assert plain_in_half.isfinite().all() and ours_in_half.isfinite().all()
    precision = relative(plain_in_half, plain)
    assert precision <= 0.25, "the rounding of the MODEL alone hides everything else"
    assert relative(ours_in_half, ours) <= 3 * precision + 1e-3
    assert abs(share_of(ours_in_half - plain_in_half, ours - plain) - 1) <= 0.2, "it acts as strongly"


@pytest.mark.parametrize("scaled", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_with_weights_in_fp8_it_is_the_picture_of_what_they_stand_for(row: Row, scaled: bool) -> None:
    fp8, read = (value(f"in_fp8(a, {scaled}{end})", row.model) for end in ("", ", True"))
    # The LoRA of a file goes into the weights, where the host rounds it to fp8 as that of Load LoRA.
    without = {"lora_weight": 0.0} if "lora_weight" in row.inputs else {}
    found, true, full = (drawn(row, model, **without) for model in (fp8, read, row.model))
    assert relative(found, true) <= 1e-5 and relative(true, full) > 1e-3
    assert relative(found, latents(row.plain(fp8, steps=1))) > 1e-3, "it acts"
