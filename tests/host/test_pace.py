"""What a step with each method costs beside the same step without it, in operations: the same on any machine."""

from __future__ import annotations

from typing import Any

import pytest
from attack_graphs import Node, ours, plain, sampled
from graph_run import run
from torch.utils.flop_counter import FlopCounterMode

# Of the plain step on the same networks, as counted: the ControlNet, the parts' own forward, everybody's tokens.
# More than that is something worked out again at every step.
OPERATIONS = {
    "LikenessApplyIDPatch": 1.918737,
    "LikenessApplyInstantID": 1.130867,
    "LikenessApplyIPAdapter": 1.000723,
    "LikenessApplyStoryMaker": 1.010848,
    "LikenessApplyParts": 0.941020,
    "LikenessSharePartsAttention": 1.412889,
}


def operations(graph: Node, made: dict[Node, Any], steps: int) -> int:
    """Of the sampler alone."""
    sampler = Node(graph.kind, {**graph.inputs, "steps": steps})
    run(sampler, made)
    del made[sampler]
    with FlopCounterMode(display=False) as counter:
        run(sampler, made)
    return counter.get_total_flops()


def per_step(graph: Node) -> int:
    """After the first two, in which is worked out what the others share."""
    made: dict[Node, Any] = {}
    return (operations(graph, made, 4) - operations(graph, made, 2)) // 2


@pytest.mark.parametrize(("kind", "wanted"), OPERATIONS.items(), ids=OPERATIONS)
def test_a_step_costs_what_it_must(kind: str, wanted: float) -> None:
    with_it, without = (per_step(graph) for graph in (sampled(ours(kind)), plain(kind)))
    assert with_it / without == pytest.approx(wanted, rel=1e-4)
