"""In half precision and in fp8 it is the picture of float32, as near as that precision is without the node."""

from typing import Any

import pytest
from figures import relative
from graphs import Node, value
from method_rows import ALONE, Row, applies_to, in_front, latents, often
from sample_values import denoiser, flux, gentle, in_fp8, in_half, sd15
from torch import Tensor

OFTEN = ALONE


def drawn(row: Row, model: Any, **changed: Any) -> Tensor:
    """With the node, and another MODEL."""
    return drawn_by(row, row.node(**changed), model)


def drawn_by(row: Row, applied: Node, model: Any) -> Tensor:
    if "model" in row.inputs:
        applied = in_front(applied, model)
    graph = row.sampled(applied, steps=1)
    if "model" not in row.outputs:
        graph.inputs["model"] = model
    return latents(graph)


LOUD = (sd15, denoiser, flux)
"""They make MODELs of random weights that multiply bfloat16's rounding until it is as large as the picture."""


def share_of(changed: Tensor, expected: Tensor) -> float:
    """How much of an expected change a change holds: 1 for all of it, 0 for none, 0.5 where it is half as strong.

    The least-squares factor over all values of the latent. Rounding that has nothing to do with the expected change
    cancels out, even where it is larger in a single value.
    """
    return ((changed * expected).sum() / expected.square().sum()).item()


def full_and_half(row: Row) -> tuple[Node, Node]:
    """Its MODEL in float32, and the same in bfloat16."""
    full: Node = row.model
    if row.model.make in LOUD:
        full = value(gentle, full)
    return full, value(in_half, full)


def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision(row: Row) -> None:
    full, half = full_and_half(row)
    plain, plain_in_half = latents(row.plain(full, steps=1)), latents(row.plain(half, steps=1))
    with_people, with_people_in_half = drawn(row, full), drawn(row, half)
    assert plain_in_half.isfinite().all()
    assert with_people_in_half.isfinite().all()
    precision = relative(plain_in_half, plain)
    assert precision <= 0.25, "the rounding of the MODEL alone hides everything else"
    assert relative(with_people_in_half, with_people) <= 3 * precision + 1e-3
    assert abs(share_of(with_people_in_half - plain_in_half, with_people - plain) - 1) <= 0.2, "it acts as strongly"


@applies_to(
    lambda row: str(row) not in ("share_parts, SharePartsAttention", "pulid, ApplyPuLID"),
    "Another picture of a part, or of a head for random weights, changes less than the rounding.",
)
@often("instant_id, ApplyInstantID")
def test_in_bfloat16_other_people_change_as_much(row: Row) -> None:
    """Beside whatever else the node puts in: a ControlNet, a LoRA, a pose."""
    full, half = full_and_half(row)
    in_full, in_half = (drawn_by(row, row.other(), model) - drawn(row, model) for model in (full, half))
    assert abs(share_of(in_half, in_full) - 1) <= 0.1


@pytest.mark.parametrize("scaled", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_with_weights_in_fp8_it_is_the_picture_of_what_they_stand_for(row: Row, scaled: bool) -> None:
    fp8 = value(in_fp8, row.model, scaled)
    as_float32 = value(in_fp8, row.model, scaled, read=True)
    # The LoRA of a file goes into the weights, where the host rounds it to fp8 as that of Load LoRA.
    without = {"lora_weight": 0.0} if "lora_weight" in row.inputs else {}
    in_fp8_picture, expected, in_float32 = (drawn(row, model, **without) for model in (fp8, as_float32, row.model))
    assert relative(in_fp8_picture, expected) <= 1e-5
    assert relative(expected, in_float32) > 1e-3
    assert relative(in_fp8_picture, latents(row.plain(fp8, steps=1))) > 1e-3, "it acts"
