"""Beside other packs, and another method: the same picture whoever stands first, and both act. What conditioning
carries moves with the rows that functions around the MODEL or its UNet move; those that lose it are named."""

from functools import cache
from typing import Any

import pytest
import torch
from attack_graphs import DEFAULTS, Node, node, sampler, value
from figures import relative
from graph_run import run
from host_nodes import NODES
from pack.bridge.carried import ConditioningLost
from promised import Row, around, in_front, latents
from torch import Tensor

PACKS = ["their_layers", *(pytest.param(f"host_node:{name}", marks=pytest.mark.thorough) for name in NODES)]
WITHOUT_EFFECT = {"SLG", "SLG, negative only", "ToMe"}
"""Of ComfyUI's own, on models of this size."""


@cache
def alone(row: Row) -> Tensor:
    return latents(row.sampled(row.node(), steps=1))


@pytest.mark.parametrize("pack", PACKS)
def test_before_or_after_nothing_is_lost(row: Row, pack: str) -> None:
    if pack.startswith("host_node") and not row.of_unets:
        return

    def theirs(model):
        return value(f"theirs(a, {pack!r})", model)

    made: dict[Node, Any] = {}
    applied = row.node()
    behind = row.sampled(applied, steps=1)
    behind.inputs["model"] = theirs(applied if "model" in row.inputs else row.model)
    before = latents(behind, made)
    if "model" in row.inputs:
        assert torch.equal(latents(row.sampled(in_front(applied, theirs(row.model)), steps=1)), before)
    without = latents(row.plain(theirs(row.model), steps=1))
    assert relative(before, without) > 1e-5, "ours acts"
    without_them = alone(row)
    if pack.removeprefix("host_node:") not in WITHOUT_EFFECT:
        assert relative(before, without_them) > 1e-5, "theirs acts"
    again = latents(row.sampled(applied, steps=1), made)
    assert torch.equal(without_them, again), "what the node has made is as it was"


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("kind", ["LikenessApplyInstantID", "LikenessApplyParts"])
def test_beside_the_hosts_own_nodes(kind: str, name: str) -> None:
    test_before_or_after_nothing_is_lost(Row(None, kind), f"host_node:{name}")


@pytest.mark.parametrize("function", ["one_by_one", pytest.param("reversed_rows", marks=pytest.mark.thorough)])
def test_a_function_around_the_model_that_moves_rows(way: Row, function: str) -> None:
    graph = way.sampled(way.node(), steps=1)
    whole = latents(graph)
    graph.inputs["model"] = around(graph.inputs["model"], function)
    assert relative(latents(graph), whole) <= 2e-5


AROUND, INSIDE = "around", "inside"
"""See tests/support/other_packs.py."""
DROPPED = "conditions .* or .*transformer_options"
LOSING = [
    (AROUND, "only_what_it_knows", DROPPED), (AROUND, "its_own_options", DROPPED),
    (AROUND, "one_by_one_where_it_knows", r"\d rows with 1 "),
    (INSIDE, "only_what_it_knows", DROPPED), (INSIDE, "one_by_one_where_it_knows", r"\d rows with 1 "),
]  # fmt: skip


def carried(row: Row) -> bool:
    """Whether its MODEL reads what conditioning carries; PhotoMaker's people are in the words themselves."""
    return row.of_unets and {"model", "positive"} <= {*row.outputs} and row.kind != "LikenessApplyPhotoMaker"


def drawn(row: Row, applied: Node, **changed: Any) -> Node:
    """Two pictures. ID tokens come in at the second step."""
    steps = 2 if row.kind == "LikenessBindIDTokens" else 1
    graph = row.sampled(applied, value("latent(batch=2)"), steps=steps)
    return node(graph.kind, **{**graph.inputs, **changed})


@cache
def ahead(row: Row) -> tuple[Node, dict[Node, Any]]:
    """The node, and what it and those before it have made, once for all that is put around it."""
    applied, made = row.node(), {}
    run(applied, made)
    return applied, made


@pytest.mark.parametrize("where", [AROUND, INSIDE])
def test_rows_in_another_order_keep_what_they_carry(row: Row, where: str) -> None:
    if not carried(row):
        return
    applied, made = ahead(row)
    whole = latents(drawn(row, applied), made)
    moved = drawn(row, applied, model=around(applied, "reversed_rows", where))
    assert relative(latents(moved, made), whole) <= 2e-5


@pytest.mark.parametrize(("where", "function", "said"), LOSING)
def test_a_function_that_loses_it_is_named_wherever_it_stands(row: Row, where: str, function: str, said: str) -> None:
    if not carried(row):
        return
    applied, made = ahead(row)
    theirs = around(row.model, function, where)
    behind = drawn(row, applied, model=around(applied, function, where))
    for graph in (behind, drawn(row, in_front(applied, theirs))):
        with pytest.raises(ConditioningLost, match=rf"other_packs.*{said}.* Bypass"):
            latents(graph, made)


ANOTHER = {
    "sdxl()": ("LikenessApplyInstantID", "LikenessApplyIPAdapter"),
    "sd15()": ("LikenessSharePartsAttention", "LikenessPersonPrompts"),
    "flux()": ("LikenessApplyWithAnyone", "LikenessApplyInfiniteYou"),
}
"""By MODEL: methods that another one stands beside, the first that is not itself."""


def chained(*order: Row, **given: Any) -> dict[str, Any]:
    """MODEL and both sides behind nodes that stand one behind the other."""
    for row in order:
        applied = row.node(**{name: one for name, one in given.items() if name in row.inputs})
        given |= {name: applied[n] for n, name in enumerate(row.outputs) if name in given}
    return given


def test_beside_another_method_in_either_order(row: Row) -> None:
    """Tokens that are bound to regions are Apply ID-Patch's, and change next to nothing in two steps."""
    other = next((one for one in ANOTHER.get(row.model.inputs["expression"], ()) if one != row.kind), None)
    if other is None or row.kind == "LikenessBindIDTokens":
        return
    another, given = Row(None, other), row.node().inputs
    plain = {name: given.get(name) or DEFAULTS[other][name] for name in ("positive", "negative")}
    plain |= {"model": row.model}
    last, first = (chained(*order, **plain) for order in ((row, another), (another, row)))
    if "positive" not in row.inputs:  # it reads the prompt itself: the other comes behind it, but for the MODEL
        first |= {name: last[name] for name in ("positive", "negative")}
    both, *others = (latents(sampler(**one)) for one in (last, first, chained(row, **plain), chained(another, **plain)))
    assert relative(others[0], both) <= 2e-5
    assert min(relative(one, both) for one in others[1:]) > 1e-4
