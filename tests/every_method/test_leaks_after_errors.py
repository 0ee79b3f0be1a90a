"""Nothing is left after a run that ends in an error of another pack, is cancelled, or whose MODEL is unloaded."""

from collections.abc import Callable
from typing import Any

import comfy.model_management
import pytest
import torch
from graph_run import run
from graphs import node
from method_rows import ALONE, Row, around, latents, picture
from other_packs import Stopped, cancelling, raising

OFTEN = ALONE


def forwards(model):
    return [module for module in model.model.diffusion_model.modules() if "forward" in vars(module)]


@pytest.mark.parametrize("function", [raising, pytest.param(cancelling, marks=pytest.mark.thorough)])
def test_nothing_is_left_on_the_model_after_a_run_that_stopped(row: Row, function: Callable[..., Any]) -> None:
    expected = picture(row)
    plain = picture(row, "plain")
    outputs = {}
    base = run(row.model, outputs)[0]
    before = forwards(base)
    graph = row.sampled(row.node())
    stopped = node(graph.kind, **{**graph.inputs, "model": around(graph.inputs["model"], function)})
    with pytest.raises((Stopped, comfy.model_management.InterruptProcessingException)):
        latents(stopped, outputs)
    assert forwards(base) == before
    assert torch.equal(latents(row.plain()), plain), "the plain MODEL is as it was"
    assert torch.equal(latents(graph, outputs), expected), "and so is ours"


def test_nothing_is_left_on_a_model_that_was_unloaded(row: Row) -> None:
    expected = picture(row)
    plain = picture(row, "plain")
    outputs = {}
    base = run(row.model, outputs)[0]
    before = forwards(base)
    graph = row.sampled(row.node())
    latents(graph, outputs)
    comfy.model_management.unload_all_models()
    assert forwards(base) == before
    assert torch.equal(latents(row.plain()), plain), "the plain MODEL is as it was"
    assert torch.equal(latents(graph, outputs), expected), "and so is ours"
