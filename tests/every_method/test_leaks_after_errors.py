"""Nothing is left after a run that ends in an error of another pack, is cancelled, or whose MODEL is unloaded."""

from collections.abc import Callable
from typing import Any

import comfy.model_management
import pytest
import torch
from graph_run import run
from graphs import Node, node
from marks import each
from method_rows import ALONE, Row, around, latents, picture
from other_packs import Stopped, cancelling, forwards, raising

OFTEN = ALONE


def stopped_by(function: Callable[..., Any]) -> Callable[[Node, dict[Node, Any]], None]:
    """A run that a function around the MODEL ends."""

    def end(graph: Node, outputs: dict[Node, Any]) -> None:
        stopped = node(graph.kind, **{**graph.inputs, "model": around(graph.inputs["model"], function)})
        with pytest.raises((Stopped, comfy.model_management.InterruptProcessingException)):
            latents(stopped, outputs)

    return end


def unloaded(graph: Node, outputs: dict[Node, Any]) -> None:
    """A run to its end, whose MODEL then has to go."""
    latents(graph, outputs)
    comfy.model_management.unload_all_models()


ENDS = {"an error": stopped_by(raising), "cancelled": stopped_by(cancelling), "unloaded": unloaded}


@pytest.mark.parametrize("end", each(ENDS, ["an error", "unloaded"]))
def test_nothing_is_left_on_the_model_however_a_run_ends(row: Row, end: str) -> None:
    expected = picture(row)
    plain = picture(row, "plain")
    outputs = {}
    base = run(row.model, outputs)[0]
    before = forwards(base)
    graph = row.sampled(row.node())
    ENDS[end](graph, outputs)
    assert forwards(base) == before
    assert torch.equal(latents(row.plain()), plain), "the plain MODEL is as it was"
    assert torch.equal(latents(graph, outputs), expected), "and so is ours"
