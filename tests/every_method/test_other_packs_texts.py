"""Packs that make or move rows inside attention, or read texts of their own there: people are heard as without such a
pack, or it is refused by name."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import other_packs
import pytest
import sample_values
import torch
from figures import relative
from graphs import Node, node, value
from marks import each
from method_rows import BESIDE_OTHERS, Condition, Row, applies_to, bypassed, in_front, latents, model_behind, two
from pack.bridge.host.unet import transformers
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.checks.errors import BadSetup
from sample_values import normal, sdxl

OFTEN = BESIDE_OTHERS


def a_row_per_region(model: Any, positive: Any, negative: Any) -> Any:
    return other_packs.couple(model, other_packs.halves(128, 96), [tensor_of(positive)])


def a_row_per_region_of_one_length(model: Any, positive: Any, negative: Any) -> Any:
    return other_packs.couple(model, other_packs.halves(128, 96), [tensor_of(positive)], of_one_length=True)


def in_place_of_attention(model: Any, positive: Any, negative: Any) -> Any:
    halves = other_packs.halves(128, 96)
    return other_packs.couple_in_place(model, halves, [tensor_of(positive)] * 2, [tensor_of(negative)])


def masks_of_the_text(model: Any, positive: Any, negative: Any) -> Any:
    return other_packs.masked_in_place(model, tensor_of(positive).shape[1])


def tensor_of(conditioning: Any) -> torch.Tensor:
    """The text of the first entry, (1, tokens, width)."""
    return conditioning[0][0]


IN_PLACE = {"in place of attention": in_place_of_attention, "masks of the text": masks_of_the_text}
"""Packs with two regions that read the same text, or that take a text of the prompt's length alone, in place of
attention."""
ROWS = {"a row per region": a_row_per_region, "a row per region of one length": a_row_per_region_of_one_length}
"""Packs with a row for each of two regions that read the same text."""
OTHER_TEXTS = r"other_packs\) lets attention read other texts .*Prompt per Person gives each person a prompt by region"
ENDS_BESIDE_ID_TOKENS = {
    "a row per region": (ConditioningLost, OTHER_TEXTS),
    "a row per region of one length": (RuntimeError, "Sizes of tensors must match"),
}
"""How it ends that the texts of such rows have no ID tokens: by our error, or in the pack before ours."""
ID_PATCH = Row(None, "LikenessApplyIDPatch")
WORDS = Row(None, "LikenessPromptPerPerson")


CONDITIONS = (
    Condition(lambda row: row.of_unets, "Such packs are for the cross-attention of UNets."),
    Condition(lambda row: row.kind != "LikenessApplyPhotoMaker", "Its people are in the words themselves."),
)


def drawn(applied: Node, **changed: Any) -> torch.Tensor:
    return latents(two(applied, **changed))


def beside(row: Row, put_pack: Any, applied: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """Theirs behind ours, and in front of it."""
    behind = drawn(applied, model=put_pack(model_behind(row, applied)))
    if "model" not in row.inputs:
        return behind, behind
    return behind, drawn(in_front(applied, put_pack(row.model)))


def from_the_start(row: Row) -> Node:
    """Its ID tokens act in every step, where it has any."""
    return row.node(**({"id_start_percent": 0.0} if "id_start_percent" in row.inputs else {}))


def of_its_text(couple: Any, row: Row, model: Any) -> Node:
    """MODEL with a pack whose regions read the row's own prompts."""
    positive, negative = (bypassed(row.node(), side) for side in ("positive", "negative"))
    return value(couple, model, positive, negative)


def assert_changes_nothing(row: Row, couple: Any) -> None:
    applied = from_the_start(row)
    behind, before = beside(row, partial(of_its_text, couple, row), applied)
    assert torch.equal(behind, before)
    assert relative(behind, drawn(applied)) <= 2e-5


@pytest.mark.parametrize("couple", each(IN_PLACE, ["in place of attention"]))
def test_the_same_text_in_place_of_attention_changes_nothing(row: Row, couple: str) -> None:
    assert_changes_nothing(row, IN_PLACE[couple])


@applies_to(lambda row: row.kind != ID_PATCH.kind, "Rows of regions have no ID tokens.")
@pytest.mark.parametrize("couple", each(ROWS, ["a row per region"]))
def test_rows_of_regions_that_read_the_same_text_change_nothing(row: Row, couple: str) -> None:
    assert_changes_nothing(row, ROWS[couple])


@pytest.mark.parametrize("variant", each(["", "by region"], [""]))
@pytest.mark.parametrize("couple", each(ROWS, ["a row per region"]))
def test_rows_of_regions_without_id_tokens_end_in_an_error(variant: str, couple: str) -> None:
    row = Row(None, ID_PATCH.kind, variant)
    error, message = ENDS_BESIDE_ID_TOKENS[couple]
    applied = from_the_start(row)
    with pytest.raises(error, match=message):
        drawn(applied, model=of_its_text(ROWS[couple], row, model_behind(row, applied)))


def reading(model: Any) -> Any:
    """As many packs do: plain attention to whatever text comes."""
    clone = model.clone()
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        clone.set_model_attn2_replace(other_packs.Attn2Replace(0.0), name, number, index)
    return clone


OFF = {"start_percent": 1.0, "id_start_percent": 0.0}
"""The ControlNet of ID-Patch reads the sampler's text."""


def text(seed: int, tokens: int, width: int = 2048, turns: int = 1) -> Any:
    """Conditioning of so many tokens, each of them so many times."""
    words = normal(seed, 1, tokens, width).repeat_interleave(turns, dim=1)
    return [[words, sample_values.text(1, width)[0][1]]]


def a_region_of_everything(model: Any, conditioning: Any) -> Any:
    """Beside a region of nothing, which comes first."""
    regions = torch.stack([torch.zeros(96, 128), torch.ones(96, 128)])
    return other_packs.couple(model, regions, [tensor_of(conditioning)])


@pytest.mark.parametrize("node_row", [ID_PATCH, WORDS], ids=str)
def test_a_region_with_a_text_of_its_own_is_refused(node_row: Row) -> None:
    """Wherever it stands."""
    width = node_row.node().inputs["positive"].make(*node_row.node().inputs["positive"].arguments)[0][0].shape[-1]
    applied = node_row.node(positive=text(1, 77, width))

    def pack(model: Any) -> Node:
        return value(a_region_of_everything, model, text(9, 77, width))

    graphs = [two(applied, model=pack(model_behind(node_row, applied)))]
    if "model" in node_row.inputs:
        graphs.append(two(in_front(applied, pack(node_row.model))))
    for graph in graphs:
        with pytest.raises(ConditioningLost, match=OTHER_TEXTS):
            latents(graph)


def test_id_tokens_that_a_region_holds_already_count_once() -> None:
    """As when the texts of the regions are connected behind Apply ID-Patch."""
    # 96 and 128 tokens, because the pack joins texts at their least common multiple.
    applied = ID_PATCH.node(positive=text(1, 96), negative=text(2, 96), id_start_percent=0.0)
    coupled = value(a_row_per_region, value(sdxl), applied, applied[1])
    assert relative(drawn(applied, model=coupled), drawn(applied)) <= 2e-5


@pytest.mark.parametrize("node_row", [ID_PATCH, WORDS], ids=str)
def test_a_text_of_keys_and_values_in_turns_is_refused(node_row: Row) -> None:
    """Tokens that are taken apart with the text cannot be put behind it."""
    applied = node_row.node()
    with pytest.raises(ConditioningLost, match=OTHER_TEXTS):
        drawn(applied, model=value(other_packs.halved, model_behind(node_row, applied)))


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        *product(["", "by region"], ["calc_cond_batch", "apply_model", "diffusion_model"]),
        ("behind InstantID", "apply_model"),
    ],
)
def test_in_place_of_attention_another_function_may_stand_at_each_step(variant: str, kind: str) -> None:
    """Also where it comes with a copy of the options: nothing, what reads the text that comes, and what does not."""
    before = Row(None, "LikenessApplyInstantID").node()
    is_behind = variant == "behind InstantID"
    row = Row(None, "LikenessApplyIDPatch", "" if is_behind else variant)
    applied = row.node(**({"positive": before[1], "negative": before[2]} if is_behind else {}))
    model_of_nodes = before[0] if is_behind else model_behind(row, applied)
    sides = [bypassed(applied, side) for side in ("positive", "negative")]

    def theirs(model: Any, *texts: Any) -> Any:
        packs = (None, reading, partial(in_place_of_attention, positive=texts[0], negative=texts[1]))
        return other_packs.changing(model, [*packs, partial(masks_of_the_text, positive=texts[0], negative=None)], kind)

    graph = row.sampled(applied, steps=4)
    graph.inputs["model"] = model_of_nodes
    beside = node(graph.kind, **{**graph.inputs, "model": value(theirs, model_of_nodes, *sides)})
    assert relative(latents(beside), latents(graph)) <= 2e-5


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(lambda step: step > 0, id="from the second step on"),
        pytest.param(lambda step: step < 1, id="in the first step alone"),
    ],
)
def test_one_patch_may_move_rows_at_some_steps_and_not_at_others(row: Row, moves: Callable[[int], bool]) -> None:
    graph = row.sampled(from_the_start(row), steps=2)
    moved = node(graph.kind, **{**graph.inputs, "model": value(other_packs.moving, graph.inputs["model"], moves)})
    assert relative(latents(moved), latents(graph)) <= 2e-5


def memory_that_runs_out_once(model: Any) -> Any:
    calls = list[int]()

    def patch(n: torch.Tensor, k: torch.Tensor, v: torch.Tensor, extra_options: dict[str, Any]) -> Any:
        calls.append(k.shape[1])
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError("no memory is left")
        return n, k, v

    clone = model.clone()
    clone.set_model_attn2_patch(patch)
    return clone


def test_memory_that_runs_out_in_a_pack_says_nothing_of_its_texts() -> None:
    applied = ID_PATCH.node(model=value(sdxl), id_start_percent=0.0)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        drawn(applied, model=value(memory_that_runs_out_once, applied[2]))


def guided(model: Any, negative: Any) -> Any:
    return other_packs.guided(model, tensor_of(negative))


def test_guidance_in_place_of_attention_is_the_same_in_both_orders(row: Row) -> None:
    negative = bypassed(row.node(), "negative")

    def theirs(model: Any) -> Node:
        return value(guided, model, negative)

    applied = from_the_start(row)
    behind, before = beside(row, theirs, applied)
    # As a sum of the same numbers, whose order in memory may be another.
    assert relative(behind, before) <= 1e-6
    assert relative(behind, drawn(applied)) > 1e-5


def test_id_tokens_of_two_nodes_beside_such_a_pack_are_refused() -> None:
    """The ControlNet of each would read its own tokens, and none those of the other."""
    first = ID_PATCH.node()
    second = ID_PATCH.other(positive=first[0], negative=first[1])
    sides = (bypassed(ID_PATCH.node(), side) for side in ("positive", "negative"))
    pack = value(in_place_of_attention, ID_PATCH.model, *sides)
    with pytest.raises(BadSetup, match="Two nodes have put ID tokens into one prompt"):
        drawn(second, model=pack)
