"""On a graphics card every method makes the picture that it makes on the CPU, and leaves no memory behind.

Without LIKENESS_TEST_DEVICE=cuda none of these tests runs.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import row_pictures
import torch
from figures import relative
from graphs import Node, node, value
from marks import each
from method_rows import OFTEN, Row, in_front, latents, picture, rows, with_variants
from safetensors.torch import load_file
from sample_values import in_half
from tiny import devices
from torch import Tensor

pytestmark = pytest.mark.skipif(devices.ON_CPU, reason="compares a graphics card with the CPU")

ROWS = [row for row in rows() if row.runs_here]
ROWS_WITH_VARIANTS = [row for row in with_variants(rows()) if row.runs_here]
RUNS = 20
ROW_PICTURES = Path(__file__).parents[1] / "support" / "row_pictures.py"
ROUNDING = 1e-5
"""By how much two devices may differ, relative to the largest value, where the MODEL alone does not differ at all.

They add up in another order. Two steps of a tiny network of random weights make some 1e-6 of that.
"""


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The latents of every way on the CPU, by the names of row_pictures."""
    file = tmp_path_factory.mktemp("rows") / "rows.safetensors"
    variables = {**os.environ, devices.VARIABLE: "cpu"}
    subprocess.run([sys.executable, str(ROW_PICTURES), str(file)], env=variables, check=True)
    return load_file(file)


@pytest.mark.parametrize("row", each(ROWS_WITH_VARIANTS, OFTEN), ids=str)
def test_the_picture_is_that_of_the_cpu(row: Row, on_cpu: dict[str, Tensor], record_property: Any) -> None:
    plain = relative(picture(row, "plain"), on_cpu[row_pictures.without_node(row)])
    with_people = relative(picture(row), on_cpu[row_pictures.with_node(row)])
    record_property("figures", f"float32: {plain:.2e} without, {with_people:.2e} with")
    assert with_people <= 3 * plain + ROUNDING


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("row", each(ROWS, OFTEN), ids=str)
def test_in_half_precision_it_is_as_near_as_the_model_alone(
    row: Row, dtype: str, on_cpu: dict[str, Tensor], record_property: Any
) -> None:
    half = value(in_half, row.model, getattr(torch, dtype))
    plain = relative(latents(row.plain(half)), on_cpu[row_pictures.without_node(row)])
    with_people = relative(latents(_with_model(row, half)), on_cpu[row_pictures.with_node(row)])
    record_property("figures", f"{dtype}: {plain:.2e} without, {with_people:.2e} with")
    assert with_people <= 3 * plain + 1e-3


def _with_model(row: Row, model: Node) -> Node:
    """The row's sampler with another MODEL."""
    applied = row.node()
    if "model" in row.inputs:
        applied = in_front(applied, model)
    graph = row.sampled(applied)
    if "model" not in row.outputs:
        graph = node(graph.kind, **{**graph.inputs, "model": model})
    return graph


@pytest.mark.parametrize("row", each(ROWS, OFTEN), ids=str)
def test_runs_leave_no_memory_of_the_card(row: Row) -> None:
    for _ in range(2):  # what is loaded and remembered once
        latents(row.sampled(row.node(), steps=1))
    before = _allocated()
    for _ in range(RUNS):
        latents(row.sampled(row.node(), steps=1))
    after = _allocated()
    assert after <= before


def _allocated() -> int:
    """Bytes of tensors on the card."""
    gc.collect()
    return torch.get_device_module(devices.DEVICE).memory_allocated()
