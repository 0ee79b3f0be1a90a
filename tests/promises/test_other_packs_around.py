"""Functions of other packs around the MODEL or its UNet: what conditioning carries moves with the rows, or they are
named."""

from __future__ import annotations

from typing import Any

import pytest
from attack_graphs import DEFAULTS, MODELS, Node, node, value
from figures import relative
from pack.bridge.carried import ConditioningLost
from promised import Row, in_front, latents

UNETS = {"SDXL", "SD1.5"}
AROUND, INSIDE = "around", "inside"
"""See tests/support/other_packs.py."""
DROPPED = "conditions .* or .*transformer_options"
LOSING = [
    (AROUND, "only_what_it_knows", DROPPED), (AROUND, "its_own_options", DROPPED),
    (AROUND, "one_by_one_where_it_knows", r"\d rows with 1 "),
    (INSIDE, "only_what_it_knows", DROPPED), (INSIDE, "one_by_one_where_it_knows", r"\d rows with 1 "),
]  # fmt: skip


def only(row: Row) -> bool:
    """Whose MODEL reads what conditioning carries; PhotoMaker's people are in the words themselves."""
    reads = {"model", "positive"} <= {*row.outputs} and row.kind != "LikenessApplyPhotoMaker"
    return reads and (row.method is None or bool(UNETS & {*row.method.families}))


def drawn(row: Row, applied: Node, **changed: Any) -> Node:
    """Two pictures. ID tokens come in at the second step."""
    steps = 2 if row.kind == "LikenessBindIDTokens" else 1
    graph = row.sampled(applied, value("latent(batch=2)"), steps=steps)
    return node(graph.kind, **{**graph.inputs, **changed})


def with_theirs(model: Any, where: str, function: str) -> Node:
    return value(f"other_packs.{where}(a, other_packs.{function})", model)


@pytest.mark.parametrize("where", [AROUND, INSIDE])
def test_rows_in_another_order_keep_what_they_carry(row: Row, where: str) -> None:
    applied, made = row.node(), {}
    whole = latents(drawn(row, applied), made)
    moved = drawn(row, applied, model=with_theirs(applied, where, "reversed_rows"))
    assert relative(latents(moved, made), whole) <= 2e-5


@pytest.mark.parametrize(("where", "function", "said"), LOSING)
def test_a_function_that_loses_it_is_named_wherever_it_stands(row: Row, where: str, function: str, said: str) -> None:
    applied = row.node()
    theirs = with_theirs(DEFAULTS[row.kind].get("model") or value(MODELS[row.kind]), where, function)
    behind = drawn(row, applied, model=with_theirs(applied, where, function))
    for graph in (behind, drawn(row, in_front(applied, theirs))):
        with pytest.raises(ConditioningLost, match=rf"other_packs.*{said}.* Bypass"):
            latents(graph)
