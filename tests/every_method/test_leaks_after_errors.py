"""Nothing is left after a run that ends in an error of another pack, is cancelled, or whose MODEL is unloaded."""

from collections.abc import Callable
from typing import Any

import comfy.model_management
import pytest
import torch
from graphs import Node, node
from method_rows import ALONE, Row, around, attributes, latents, picture
from other_packs import Stopped, cancelling, raising

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


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_on_the_model_however_a_run_ends(row: Row, end: str) -> None:
    expected = picture(row)
    plain = picture(row, "plain")
    outputs = {}
    # A MODEL that is sampled for the first time is given attributes by the host.
    latents(row.plain(steps=1))
    before = attributes(row)
    graph = row.sampled(row.node())
    ENDS[end](graph, outputs)
    assert torch.equal(latents(row.plain()), plain), "the plain MODEL is as it was"
    assert attributes(row) == before, "what the run has put into the MODEL's modules"
    assert torch.equal(latents(graph, outputs), expected), "and so is ours"
