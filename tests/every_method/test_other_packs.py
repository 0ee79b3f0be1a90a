"""Beside other packs, and another method: the same picture whoever stands first, and both act. What conditioning
carries moves with the rows that functions around the MODEL or its UNet move; those that lose it are named."""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from itertools import product
from typing import Any

import pytest
import sample_values
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.patcher_extension import WrappersMP
from figures import relative
from graph_run import run
from graphs import DEFAULTS, Node, node, sampler, value
from host_nodes import NODES
from marks import each
from method_rows import BESIDE_OTHERS, Row, applies_to, around, in_front, inside, latents, model_behind
from other_packs import (
    CacheBetweenSteps,
    GivesLess,
    TheirTransformer,
    called,
    its_own_options,
    one_by_one,
    one_by_one_where_it_knows,
    only_what_it_knows,
    reversed_rows,
    with_copied_code,
    with_their_classes,
)
from pack.bridge.parts.recording import LAYER_CALLS
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.checks.errors import BadSetup
from torch import Tensor

OFTEN = BESIDE_OTHERS

THEIR_LAYERS = "their_layers"
"""A pack that changes attention or a block; see `theirs` of tests/support/sample_values.py."""


@cache
def ahead(row: Row) -> tuple[Node, dict[Node, Any]]:
    """The node, and what it and those before it have made, once for all that is put around it."""
    applied = row.node()
    outputs = {}
    run(applied, outputs)
    return applied, outputs


@cache
def alone(row: Row) -> Tensor:
    return latents(row.sampled(row.node(), steps=1))


@cache
def plain(row: Row) -> Tensor:
    return latents(row.plain(steps=1))


ACTING = {
    "LikenessApplyInstantID": {"PAG", "SAG", "HyperTile", "FreeU"},
    "LikenessApplyParts2Whole": {"PAG", "SAG", "HyperTile", "FreeU", "ToMe"},
}
"""By node: which of ComfyUI's own nodes change anything on its MODEL, which is small."""


APART = {
    ("LikenessLoRAPerPerson", "SAG"): "SAG reads attention of the middle block, and the small MODEL has none there.",
    ("LikenessLoRAPerPerson", "HyperTile"): "HyperTile makes rows of tiles; whose LoRA they read is unknown and named.",
}
"""By row and node of the host: why they have a test of their own."""


def lose_nothing_beside(row: Row, pack: str) -> bool:
    """Ours and a pack's act, whichever stands first, and what our node has made stays as it was.

    Returns whether the pack changes the picture at all; some of the host's nodes do nothing on MODELs of this size.
    """

    def theirs(model: Any) -> Node:
        return value(sample_values.theirs, model, pack)

    applied, outputs = ahead(row)
    behind = row.sampled(applied, steps=1)
    behind.inputs["model"] = theirs(model_behind(row, applied))
    before = latents(behind, dict(outputs))
    if "model" in row.inputs:
        assert torch.equal(latents(row.sampled(in_front(applied, theirs(row.model)), steps=1)), before)
    without = latents(row.plain(theirs(row.model), steps=1))
    assert relative(before, without) > 1e-4, "ours acts"
    without_them = alone(row)
    acts = relative(without, plain(row)) > 1e-5
    assert (relative(before, without_them) > 1e-5) == acts, "theirs acts beside ours as it does alone"
    again = latents(row.sampled(applied, steps=1), dict(outputs))
    assert torch.equal(without_them, again), "what the node has made is as it was"
    return acts


def test_before_or_after_nothing_is_lost(row: Row) -> None:
    assert lose_nothing_beside(row, THEIR_LAYERS)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NODES)
@applies_to(lambda row: row.of_unets, "These nodes of the host are for UNets.")
def test_before_or_after_the_hosts_own_nodes_nothing_is_lost(row: Row, name: str) -> None:
    if (row.kind, name) in APART:
        pytest.skip(APART[row.kind, name])
    lose_nothing_beside(row, f"host_node:{name}")


@pytest.mark.parametrize(
    ("kind", "name"),
    each(
        product(ACTING, NODES),
        [*product(["LikenessApplyInstantID"], NODES), ("LikenessApplyParts2Whole", "ToMe")],
    ),
)
def test_beside_the_hosts_own_nodes(kind: str, name: str) -> None:
    assert lose_nothing_beside(Row(None, kind), f"host_node:{name}") == (name in ACTING[kind])


def carried(row: Row) -> bool:
    """Whether its MODEL reads what conditioning carries; PhotoMaker's people are in the words themselves."""
    return row.of_unets and {"model", "positive"} <= {*row.outputs} and row.kind != "LikenessApplyPhotoMaker"


CARRIED = (carried, "Its conditioning carries nothing that its MODEL reads in a UNet.")


def test_classes_that_a_pack_has_left_on_the_network_are_not_those_of_the_plain_model(row: Row) -> None:
    """The host leaves object patches on the network, which all clones share, until it loads another clone."""
    model = row.model.make.__wrapped__(*row.model.arguments)  # one that no other test has loaded
    clone = with_their_classes(model)
    over = {"model": value(lambda: model)} if "model" in row.inputs else {}
    over_theirs = {"model": value(lambda: clone)} if "model" in row.inputs else {}
    try:
        beside = latents(row.sampled(row.node(**over_theirs), steps=1))
    except BadSetup as refusal:
        assert re.search(r"network of another pack \(TheirFlux in pack_of_others\.flux\)", str(refusal))
    else:
        assert relative(beside, alone(row)) <= 2e-5
    assert relative(latents(row.plain(value(lambda: clone), steps=1)), plain(row)) <= 2e-5
    again = row.sampled(row.node(**over), steps=1)
    assert relative(latents(again), alone(row)) <= 2e-5


@pytest.mark.parametrize(
    ("hands_on", "steps_before", "last", "steps"),
    each(
        [(False, 0, 1, 1), (False, 1, 2, 2), (False, 1, 3, 3), (False, 1, 3, 4), (True, 0, 1, 1)],
        [(False, 1, 2, 2), (False, 1, 3, 4)],
    ),
)
def test_behind_copied_code_they_act_as_ever_or_it_is_named(
    row: Row, hands_on: bool, steps_before: int, last: int, steps: int
) -> None:
    """Also where it is there in the last step alone, and in two steps before it. last: the last with the copies."""
    applied, outputs = ahead(row)
    graph = row.sampled(applied, steps=steps)
    unchanged = alone(row) if steps == 1 else latents(graph, dict(outputs))
    graph = row.sampled(applied, steps=steps)
    graph.inputs["model"] = value(with_copied_code, model_behind(row, applied), hands_on, steps_before, last)
    network = run(row.model, outputs)[0].model.diffusion_model
    try:
        picture = latents(graph, dict(outputs))
    except ConditioningLost as refusal:
        assert not hands_on
        assert re.search(r"other_packs\) (passes over [1-9]\d* of the|hands on no) ", str(refusal))
    else:
        assert relative(picture, unchanged) <= 2e-5
    assert not any({"forward", "forward_orig"} & {*vars(module)} for module in network.modules()), "nothing stays"


def test_of_code_that_hands_on_less_to_layers_they_act_or_it_is_named(row: Row) -> None:
    """Whatever one thing is left out, of all that the host hands on."""
    applied, outputs = ahead(row)

    def drawn(pack: GivesLess) -> Tensor:
        graph = row.sampled(applied, steps=1)
        graph.inputs["model"] = value(pack.on, model_behind(row, applied))
        return latents(graph, dict(outputs))

    with_all = GivesLess()
    whole = drawn(with_all)
    for name in sorted(with_all.seen):
        try:
            assert drawn(GivesLess(name)).shape == whole.shape
        except ConditioningLost as refusal:
            assert re.search(rf"other_packs\) (calls a layer (without {name}|not as)|passes over)", str(refusal))


@pytest.mark.parametrize("kind", ["LikenessSharePartsAttention", "LikenessPromptPerPerson"])
def test_a_pack_that_compares_the_steps_meets_those_of_the_picture_alone(kind: str) -> None:
    row = Row(None, kind)
    steps = 6
    of_plain, of_ours = CacheBetweenSteps(0.6), CacheBetweenSteps(0.6)
    latents(row.plain(value(of_plain.on, row.model), steps=steps))
    applied, outputs = ahead(row)
    graph = row.sampled(applied, steps=steps)
    graph.inputs["model"] = value(of_ours.on, model_behind(row, applied))
    latents(graph, dict(outputs))
    assert of_plain.hits > 0
    assert (of_ours.calls, of_ours.hits) == (steps, of_plain.hits)


def test_a_recording_of_parts_does_not_call_what_counts_the_layers_of_the_picture() -> None:
    """A function for layers that the host calls by itself."""
    row = Row(None, "LikenessSharePartsAttention")
    calls = 0

    def counted(layer: Any, x: Tensor, emb: Any, context: Any, options: Any, *_: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return layer(x, context, options)

    def counting(model: Any) -> Any:
        clone = model.clone()
        clone.set_model_patch((SpatialTransformer, counted), "forward_timestep_embed_patch")
        return clone

    latents(row.plain(value(counting, row.model), steps=1))
    of_plain, calls = calls, 0
    if not of_plain:
        pytest.skip("This ComfyUI asks such a function about classes alone that it does not know.")
    applied, outputs = ahead(row)
    graph = row.sampled(applied, steps=1)
    graph.inputs["model"] = value(counting, model_behind(row, applied))
    latents(graph, dict(outputs))
    assert calls == of_plain


def test_a_recording_of_parts_calls_layers_of_a_pack_by_the_function_of_its_step() -> None:
    row = Row(None, "LikenessSharePartsAttention")
    calls = list[tuple[int, int]]()  # the step, and the step of which the function is
    step = 0

    def called_at(step_of_function: int, *args: Any) -> Tensor:
        calls.append((step, step_of_function))
        return called(*args)

    def another_in_each_step(model: Any) -> Any:
        def wrapper(executor: Any, *args: Any) -> list[Tensor]:
            nonlocal step
            step += 1
            *others, options = args
            of_network = options["transformer_options"]
            of_step = {LAYER_CALLS: [(TheirTransformer, partial(called_at, step))]}
            patches = {**of_network["patches"], **of_step}
            return executor(*others, {**options, "transformer_options": {**of_network, "patches": patches}})

        clone = with_their_classes(model)
        clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "theirs", wrapper)
        return clone

    graph = row.sampled(row.node(), steps=2)
    graph.inputs["model"] = value(another_in_each_step, graph.inputs["model"])
    latents(graph)
    assert {*calls} == {(1, 1), (2, 2)}


@applies_to(*CARRIED)
def test_a_deep_copy_of_the_prompts_gives_the_same_picture(row_or_variant: Row) -> None:
    """As attention-couple-ComfyUI makes it, of each side by itself."""
    graph = row_or_variant.sampled(row_or_variant.node(), steps=1)
    expected = latents(graph)
    for side in ("positive", "negative"):
        graph.inputs[side] = value(deepcopy, graph.inputs[side])
    assert relative(latents(graph), expected) <= 2e-5


@pytest.mark.parametrize("function", [one_by_one, pytest.param(reversed_rows, marks=pytest.mark.thorough)])
def test_a_function_around_the_model_that_moves_rows(row_or_variant: Row, function: Callable[..., Tensor]) -> None:
    applied, outputs = ahead(row_or_variant)
    graph = row_or_variant.sampled(applied, steps=1)
    graph.inputs["model"] = around(graph.inputs["model"], function)
    assert relative(latents(graph, dict(outputs)), alone(row_or_variant)) <= 2e-5


DROPPED = "conditions .* or .*transformer_options"
LOSING = [
    (around, only_what_it_knows, DROPPED), (around, its_own_options, DROPPED),
    (around, one_by_one_where_it_knows, r"\d rows with 1 "),
    (inside, only_what_it_knows, DROPPED), (inside, one_by_one_where_it_knows, r"\d rows with 1 "),
]  # fmt: skip


def drawn(row: Row, applied: Node, **changed: Any) -> Node:
    """Two pictures of one step."""
    graph = row.sampled(applied, sample_values.latent(batch=2), steps=1)
    return node(graph.kind, **{**graph.inputs, **changed})


@cache
def two_drawn(row: Row) -> Tensor:
    """With the node, and nothing around it."""
    applied, outputs = ahead(row)
    return latents(drawn(row, applied), dict(outputs))


@pytest.mark.parametrize("put_function", [around, inside])
@applies_to(*CARRIED)
def test_rows_in_another_order_keep_what_they_carry(row: Row, put_function: Callable[..., Node]) -> None:
    applied, outputs = ahead(row)
    moved = drawn(row, applied, model=put_function(model_behind(row, applied), reversed_rows))
    assert relative(latents(moved, dict(outputs)), two_drawn(row)) <= 2e-5


@pytest.mark.parametrize(("put_function", "function", "says"), LOSING)
@applies_to(*CARRIED)
def test_a_function_that_loses_it_is_named_wherever_it_stands(
    row: Row, put_function: Callable[..., Node], function: Callable[..., Tensor], says: str
) -> None:
    applied, outputs = ahead(row)
    model_of_the_pack = put_function(row.model, function)
    behind = drawn(row, applied, model=put_function(model_behind(row, applied), function))
    for graph in (behind, drawn(row, in_front(applied, model_of_the_pack))):
        with pytest.raises(ConditioningLost, match=rf"other_packs.*{says}.* Bypass"):
            latents(graph, dict(outputs))


ANOTHER = {
    sample_values.sdxl: ("LikenessApplyInstantID", "LikenessApplyIPAdapter"),
    sample_values.sd15: ("LikenessSharePartsAttention", "LikenessPromptPerPerson"),
}
"""By what makes the MODEL: methods that another one stands beside, the first that is not itself."""


def chained(*order: Row, **links: Any) -> dict[str, Any]:
    """MODEL and both sides behind nodes that stand behind each other. links: in front of the first."""
    for row in order:
        applied = row.node(**{name: link for name, link in links.items() if name in row.inputs})
        links |= {name: applied[number] for number, name in enumerate(row.outputs) if name in links}
    return links


def another_method(row: Row) -> str:
    """The node that stands beside it, "" for none."""
    other_kinds = [kind for kind in ANOTHER.get(row.model.make, ()) if kind != row.kind]
    return other_kinds[0] if other_kinds else ""


@applies_to(lambda row: bool(another_method(row)), "No other method is for its MODEL.")
def test_beside_another_method_in_either_order(row: Row) -> None:
    other_kind = another_method(row)
    another = Row(None, other_kind)
    inputs = row.node().inputs
    plain = {name: inputs.get(name) or DEFAULTS[other_kind][name] for name in ("positive", "negative")}
    plain |= {"model": row.model}
    last = chained(row, another, **plain)
    first = chained(another, row, **plain)
    if "positive" not in row.inputs:  # it reads the prompt itself: the other comes behind it, but for the MODEL
        first |= {name: last[name] for name in ("positive", "negative")}
    behind, before = latents(sampler(**last)), latents(sampler(**first))
    alone_here, alone_there = latents(sampler(**chained(row, **plain))), latents(sampler(**chained(another, **plain)))
    assert relative(before, behind) <= 2e-5
    assert relative(alone_here, behind) > 1e-4
    assert relative(alone_there, behind) > 1e-4


def test_shared_parts_stand_before_or_behind_instant_id_on_sdxl() -> None:
    """The rows of both methods are tried on a MODEL each; these two share one in a template."""
    parts = Row(None, "LikenessSharePartsAttention")
    person = Row(None, "LikenessApplyInstantID")
    plain = {side: DEFAULTS[person.kind][side] for side in ("positive", "negative")}
    plain |= {"model": value(sample_values.sdxl), "clip": value(sample_values.sdxl_clip)}
    orders = ((parts, person), (person, parts), (parts,), (person,))
    graphs = [chained(*order, **plain) for order in orders]
    pictures = []
    for graph in graphs:
        pictures.append(latents(sampler(graph["model"], graph["positive"], graph["negative"])))
    behind, before, parts_alone, person_alone = pictures
    assert relative(before, behind) <= 2e-5
    assert relative(parts_alone, behind) > 1e-4
    assert relative(person_alone, behind) > 1e-4
