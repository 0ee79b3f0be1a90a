"""Who is lost between our nodes and the sampler, and what works at no step of a run, is said under the node by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import comfy.samplers
import host_sampling
import node_helpers
import pytest
import torch
from figures import relative
from host_sampling import Applied, applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import OFTEN, Row, node, rows
from pack.bridge.host import notes
from pack.bridge.sampling import missing_people

import nodes

HERE = [row for row in rows() if row.runs_here and row.kind != "LikenessPeopleAsReferences"]
WITH_MODEL = [row for row in HERE if row.kind != "LikenessApplyIDPatch"]
TWO = ("instant_id, ApplyInstantID", "pulid, ApplyPuLID, FLUX.1")
"""Rows that are enough in every run: on a UNet and on a transformer."""
UNETS = [row for row in HERE if row.of_unets]
LOST = "The positive prompt of this sampler is not the positive output of"
NEGATIVE_LOST = "The negative prompt of this sampler is not the negative output of"


def average(conditioning_to: Any, conditioning_from: Any, strength: float = 0.5) -> Any:
    return nodes.ConditioningAverage().addWeighted(conditioning_to, conditioning_from, strength)[0]


def concat(conditioning_to: Any, conditioning_from: Any) -> Any:
    return nodes.ConditioningConcat().concat(conditioning_to, conditioning_from)[0]


def combine(first: Any, second: Any) -> Any:
    return nodes.ConditioningCombine().combine(first, second)[0]


@pytest.fixture
def texts_under(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What runs say, whatever the node."""
    texts: list[str] = []
    plainly = notes.tell_of_run

    def tell(node_id: str | None, topic: str, text: str) -> None:
        if topic == missing_people.TOPIC:
            texts.extend(text.splitlines())
        plainly(node_id, topic, text)

    monkeypatch.setattr(notes, "tell_of_run", tell)
    yield texts


def zeroed(conditioning: Any) -> Any:
    return nodes.ConditioningZeroOut().zero_out(conditioning)[0]


def run(applied_node: Applied, row: Row, cfg: float = 4.0, steps: int = 1) -> torch.Tensor:
    return sampled(applied_node.guider(cfg), latent_of(row), sigmas_of(applied_node.model, steps))


def two_in_a_chain(row: Row) -> tuple[Applied, Applied]:
    """One node behind the other on one MODEL; the second with other people, its prompts without those of the first."""
    outputs_by_node: dict[Any, Any] = {}
    first = applied(row, row.node(), outputs_by_node)
    graph = row.other()
    second = node(graph.kind, **{**graph.inputs, "model": first.model})
    return first, applied(row, second, outputs_by_node)


@pytest.mark.both_hosts
@pytest.mark.parametrize("row", each([row for row in WITH_MODEL if row.of_unets], OFTEN), ids=str)
def test_of_an_average_those_of_conditioning_from_are_named(row: Row, texts_under: list[str]) -> None:
    first, second = two_in_a_chain(row)
    run(Applied(second.model, average(first.positive, second.positive), first.negative), row)
    lost = [text for text in texts_under if LOST in text]
    assert len(lost) == 1
    assert "Conditioning (Average)" in lost[0]
    assert "Combine" in lost[0]
    people = "Christa and Daniel" if row.takes_a_cast else "(Anna|Anna and Boris|the parts)"
    assert re.search(rf"put there for {people} is missing", lost[0])


@pytest.mark.parametrize("row", each(WITH_MODEL, TWO), ids=str)
@pytest.mark.parametrize("join", [average, concat], ids=lambda join: join.__name__)
def test_those_whom_a_plain_prompt_swallows_are_named(row: Row, join: Any, texts_under: list[str]) -> None:
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)
    run(Applied(with_people.model, join(plain.positive, with_people.positive), with_people.negative), row)
    assert [text for text in texts_under if LOST in text]


@pytest.mark.parametrize("row", each(WITH_MODEL, TWO), ids=str)
def test_concat_on_both_sides_is_seen_by_its_text(row: Row, texts_under: list[str]) -> None:
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)
    joined = concat(plain.positive, with_people.positive), concat(plain.negative, with_people.negative)
    run(Applied(with_people.model, *joined), row)
    assert [text for text in texts_under if LOST in text]


@pytest.mark.both_hosts
@pytest.mark.parametrize("row", each(HERE, TWO), ids=str)
def test_an_ordinary_run_and_a_first_pass_without_people_are_quiet(row: Row, texts_under: list[str]) -> None:
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)
    run(with_people, row, steps=2)
    run(with_people, row, cfg=1.0, steps=2)
    run(Applied(with_people.model, plain.positive, plain.negative), row)
    positive = combine(with_people.positive, plain.positive)
    negative = combine(with_people.negative, plain.negative)
    run(Applied(with_people.model, positive, negative), row, steps=2)
    masked = nodes.ConditioningSetMask().append(with_people.positive, torch.ones(1, 96, 128), "default", 0.5)[0]
    run(Applied(with_people.model, masked, with_people.negative), row, steps=2)
    assert texts_under == []


@pytest.mark.parametrize("without", ["empty", "positive"])
@pytest.mark.parametrize("row", each(UNETS, OFTEN), ids=str)
def test_a_third_prompt_without_people_is_quiet(row: Row, without: str, texts_under: list[str]) -> None:
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)

    class WithThird(comfy.samplers.CFGGuider):
        """As PerpNeg and Dual CFG have one."""

    guider = WithThird(with_people.model)
    prompts = {"positive": with_people.positive, "negative": with_people.negative, "empty": with_people.positive}
    prompts[without] = plain.positive
    guider.inner_set_conds(prompts)
    guider.set_cfg(4.0)
    sampled(guider, latent_of(row), sigmas_of(with_people.model, 2))
    assert texts_under == []


NEGATIVE_COUNTS = [row for row in WITH_MODEL if row.kind in ("LikenessApplyInstantID", "LikenessApplyIPAdapter")]


@pytest.mark.parametrize("row", each(NEGATIVE_COUNTS, OFTEN), ids=str)
def test_a_negative_that_is_not_the_node_s_is_named_where_it_counts(row: Row, texts_under: list[str]) -> None:
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)
    run(Applied(with_people.model, with_people.positive, average(plain.negative, with_people.negative)), row)
    assert len(texts_under) == 1
    assert texts_under[0].startswith(NEGATIVE_LOST)
    texts_under.clear()
    run(Applied(with_people.model, with_people.positive, plain.negative), row, cfg=1.0)
    assert texts_under == []
    model = with_people.model.clone()
    model.disable_model_cfg1_optimization()  # as NAGuidance does
    run(Applied(model, with_people.positive, plain.negative), row, cfg=1.0)
    assert len(texts_under) == 1


@pytest.mark.parametrize("row", each([row for row in WITH_MODEL if row not in NEGATIVE_COUNTS], OFTEN), ids=str)
def test_a_negative_that_is_computed_by_itself_is_named_where_nodes_compare_both(
    row: Row, texts_under: list[str]
) -> None:
    with_people = applied(row, row.node())
    model = with_people.model.clone()
    model.set_model_attn1_output_patch(lambda out, _: out)  # as NAGuidance does
    run(Applied(model, with_people.positive, host_sampling.plain(row).negative), row)
    assert len(texts_under) == 1
    assert texts_under[0].startswith(NEGATIVE_LOST)
    texts_under.clear()
    run(replace(with_people, model=model), row)
    assert texts_under == []


@pytest.mark.parametrize("row", each(HERE, OFTEN), ids=str)
def test_people_in_the_negative_prompt_alone_are_named(row: Row, texts_under: list[str]) -> None:
    """Both sides exchanged, and a positive that has swallowed them beside a negative made of the positive."""
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)
    for cfg in (4.0, 1.0):
        texts_under.clear()
        run(Applied(with_people.model, with_people.negative, with_people.positive), row, cfg)
        assert len(texts_under) == 1
        assert texts_under[0].startswith(LOST)
    texts_under.clear()
    run(Applied(with_people.model, average(plain.positive, with_people.positive), zeroed(with_people.positive)), row)
    assert [text for text in texts_under if LOST in text]


@pytest.mark.parametrize("row", each(HERE, TWO), ids=str)
def test_a_positive_that_is_zeroed_out_for_the_negative_is_that_of_the_negative(
    row: Row, texts_under: list[str]
) -> None:
    """As FLUX and SD3 are often given: people in both prompts would cancel each other."""
    with_people = applied(row, row.node())
    pictures = [
        run(replace(with_people, negative=zeroed(side)), row) for side in (with_people.positive, with_people.negative)
    ]
    assert relative(*pictures) <= 1e-6
    assert texts_under == []
    in_both = run(replace(with_people, negative=with_people.positive), row)
    assert relative(in_both, pictures[1]) > 1e-4


@pytest.mark.parametrize("row", [row for row in HERE if row.kind == "LikenessApplyIPAdapter"], ids=str)
def test_an_empty_range_is_switched_off_on_purpose(row: Row, texts_under: list[str]) -> None:
    run(applied(row, row.node(start_percent=0.0, end_percent=0.0)), row)
    assert texts_under == []


@pytest.mark.both_hosts
@pytest.mark.parametrize("join", [average, concat], ids=lambda join: join.__name__)
def test_id_patch_without_a_model_sees_it_by_its_net(join: Any, texts_under: list[str]) -> None:
    row = next(row for row in rows() if row.kind == "LikenessApplyIDPatch")
    with_people = applied(row, row.node())
    plain = host_sampling.plain(row)
    run(Applied(with_people.model, join(plain.positive, with_people.positive), with_people.negative), row, steps=4)
    assert len(texts_under) == 1
    assert texts_under[0].startswith(LOST)
    assert "put there for Anna and Boris is missing" in texts_under[0]


CHANGES = {
    "average": lambda with_people, with_others: average(with_people.positive, with_others.positive),
    "zero out": lambda with_people, with_others: zeroed(with_people.positive),
}


@pytest.mark.parametrize("change", CHANGES)
def test_id_tokens_that_another_node_changes_are_named(change: str, texts_under: list[str]) -> None:
    row = next(row for row in rows() if row.kind == "LikenessApplyIDPatch")
    with_people, with_others = applied(row, row.node()), applied(row, row.other())
    run(Applied(with_people.model, CHANGES[change](with_people, with_others), with_people.negative), row, steps=4)
    assert len(texts_under) == 1
    assert texts_under[0].startswith(LOST)
    assert "put there for Anna and Boris is missing or changed" in texts_under[0]


RANGES = {"start_percent": 0.0, "end_percent": 0.5, "adapter_end_percent": 0.5}


@pytest.mark.both_hosts
@pytest.mark.parametrize("row", each([row for row in HERE if "end_percent" in row.inputs], TWO), ids=str)
def test_a_range_that_no_step_meets_is_named(row: Row, texts_under: list[str]) -> None:
    """img2img at denoise 0.3 and an end of 0.5; with every step of a whole run there is nothing to say."""
    changed = {name: end for name, end in RANGES.items() if name in row.inputs}
    of_the_node = applied(row, row.node(**changed))
    of_other_people = applied(row, row.other(**changed))
    late = sigmas_of(of_the_node.model, 10)[-4:]
    pictures = [sampled(inputs.guider(), latent_of(row), late) for inputs in (of_the_node, of_other_people)]
    never = [text for text in texts_under if "no step of this run begins there" in text]
    assert never
    assert all("is from 0% to 50% of the schedule" in text for text in never)
    if row.kind == "LikenessApplyIDPatch":
        assert relative(*pictures) > 1e-4, "its ID tokens have a range of their own"
    else:
        assert relative(*pictures) <= 1e-6
    texts_under.clear()
    run(of_the_node, row, steps=4)
    assert texts_under == []


@pytest.mark.parametrize("row", [row for row in HERE if row.kind == "LikenessApplyIPAdapter"], ids=str)
def test_two_samplers_of_one_schedule_are_quiet(row: Row, texts_under: list[str]) -> None:
    """KSampler Advanced, twice: what the first half does not meet the second does."""
    for changed in ({"start_percent": 0.5}, {"end_percent": 0.4}):
        with_people = applied(row, row.node(**changed))
        sigmas = sigmas_of(with_people.model, 4)
        half = sampled(with_people.guider(), latent_of(row), sigmas[:3])
        guider = with_people.guider()
        sampler = comfy.samplers.sampler_object("euler")
        guider.sample(torch.zeros_like(half), half, sampler, sigmas[2:], disable_pbar=True)
    assert texts_under == []


def test_photo_maker_in_one_step_is_named(texts_under: list[str]) -> None:
    row = next(row for row in rows() if row.kind == "LikenessApplyPhotoMaker")
    with_people = applied(row, row.node(start_percent=0.22))
    run(with_people, row, cfg=1.0, steps=1)
    assert len(texts_under) == 1
    assert texts_under[0].startswith("Apply PhotoMaker: the range of the photos is from 22% to 100%")
    assert "no step of this run begins there" in texts_under[0]
    assert "Change start_percent" in texts_under[0]
    texts_under.clear()
    run(with_people, row, cfg=1.0, steps=2)
    assert texts_under == []


@pytest.mark.parametrize("name", ["{}_percent", "clip_{}_percent"], ids=["Set Timestep Range", "a CLIP schedule"])
@pytest.mark.parametrize("row", [row for row in HERE if row.kind == "LikenessApplyInstantID"], ids=str)
def test_a_range_of_the_prompt_itself_counts(row: Row, name: str, texts_under: list[str]) -> None:
    """Behind the node, and it ends before the node's range begins."""
    first, last = name.format("start"), name.format("end")
    with_people = applied(row, row.node(adapter_start_percent=0.6))
    early = node_helpers.conditioning_set_values(with_people.positive, {first: 0.0, last: 0.5})
    late = node_helpers.conditioning_set_values(host_sampling.plain(row).positive, {first: 0.5, last: 1.0})
    run(Applied(with_people.model, combine(early, late), with_people.negative), row, steps=4)
    assert len(texts_under) == 1
    assert "adapter_start_percent" in texts_under[0]
