"""Two people in the two ways of docs/coming_from_comfyui_instantid.md: an apply node, a prompt and a mask for each of
them, joined by Conditioning (Combine); and one apply node for both."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import sample_values
import torch
from graph_run import run
from graphs import UNCONNECTED, Node, ours, value
from pack.core.people import PlacedCast
from sample_values import cast, identity, layout, mask, sdxl, slot, text
from torch import Tensor

from nodes import ConditioningCombine, ConditioningSetMask, ControlNetApplyAdvanced

pytestmark = pytest.mark.both_hosts
KIND = "LikenessApplyInstantID"
HALF = 8
"""Where the left half of the latent ends: the picture is 128x96 px."""
Applied = tuple[Any, Any, Any]


def keypoints(people: PlacedCast) -> Node:
    """Draw Skeletons, face keypoints."""
    return ours("LikenessDrawSkeletons", draw="face keypoints", cast=people, layout=UNCONNECTED)


def box_by_box(left: str, right: str) -> Applied:
    """As in the public workflow InstantID_multi_id.json of cubiq/ComfyUI_InstantID: each person with a prompt, a mask
    and keypoints of their own."""
    model: Any = value(sdxl)
    people = ((left, 32.0, mask(2)[:1]), (right, 96.0, mask(2)[1:]))
    sides: list[tuple[Any, Any]] = []
    outputs_by_node: dict[Node, Any] = {}
    for number, (name, x, own_mask) in enumerate(people):
        prompt = ConditioningSetMask().append(text(10 + number), own_mask, "default", 1.0)[0]
        person = identity(name)
        graph = ours(
            KIND,
            model=model,
            positive=prompt,
            cast=person,
            image=keypoints(cast(person, places=layout(slot(x)))),
            mask=own_mask,
        )
        model = graph
        _, positive, negative = run(graph, outputs_by_node)
        sides.append((positive, negative))
    (first, no_first), (second, no_second) = sides
    combine = ConditioningCombine().combine
    return run(model, outputs_by_node)[0], combine(second, first)[0], combine(no_second, no_first)[0]


def one_pass(left: str, right: str) -> Applied:
    """As the page describes it: one cast, one node, a mask for each person."""
    people = cast(identity(left), identity(right), places=layout(slot(32.0), slot(96.0)))
    graph = ours(KIND, cast=people, image=keypoints(people), mask=mask(2))
    model, positive, negative = run(graph, {})
    return model, positive, negative


def drawn(applied: Applied, steps: int = 1) -> Tensor:
    model, positive, negative = applied
    latent = torch.zeros(1, 4, 12, 16)
    noise = comfy.sample.prepare_noise(latent, 1)
    sampler = comfy.samplers.KSampler(model, steps, "cpu", "euler", "normal", 1.0, model.model_options)
    return sampler.sample(noise, positive, negative, 4.5, latent, seed=1, disable_pbar=True)


def changed(apply_people: Any, left: str, right: str) -> tuple[float, float]:
    """How far other people change the left half and the right half of one step, beside the largest value."""
    before, after = drawn(apply_people("Anna", "Boris")), drawn(apply_people(left, right))
    difference = (after - before).abs() / before.abs().max()
    return float(difference[..., :HALF].max()), float(difference[..., HALF:].max())


def test_box_by_box_another_person_changes_their_own_half_alone() -> None:
    left, right = changed(box_by_box, "Anna", "Daniel")
    assert left == 0.0
    assert right > 0.01
    left, right = changed(box_by_box, "Christa", "Boris")
    assert left > 0.01
    assert right == 0.0


def test_in_one_pass_another_person_changes_both_halves() -> None:
    left, right = changed(one_pass, "Anna", "Daniel")
    assert left > 0.01
    assert right > 0.01


@contextmanager
def rows_of(network: Any) -> Iterator[list[tuple[int, int]]]:
    """(rows, tokens) of what the first cross-attention layer of a network is given to read, of every forward."""
    layer = next(module for name, module in network.named_modules() if name.endswith("attn2.to_k"))
    shapes: list[tuple[int, int]] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: shapes.append(tuple(arguments[0].shape[:2])))
    try:
        yield shapes
    finally:
        hook.remove()


@pytest.mark.parametrize("apply_people, rows", [(box_by_box, 4), (one_pass, 2)], ids=["box by box", "one pass"])
def test_what_a_step_costs(apply_people: Any, rows: int) -> None:
    """Box by box every person has a row of each side of CFG, in the UNet and in IdentityNet."""
    applied = apply_people("Anna", "Boris")
    with rows_of(applied[0].model.diffusion_model) as unet, rows_of(sample_values.control_net().control_model) as net:
        drawn(applied)
    assert sum(number for number, _ in unet) == rows
    assert sum(number for number, _ in net) == rows


def test_identity_net_behind_the_node_by_the_hosts_own_apply_node_reads_the_text() -> None:
    """So Apply ControlNet of an old workflow goes, and its two inputs go to the node."""
    people = cast(identity("Anna"), places=layout(slot(32.0)))
    picture = keypoints(people)
    inside = run(ours(KIND, cast=identity("Anna"), image=picture), {})
    adapter = ours(KIND, cast=identity("Anna"), image=UNCONNECTED, control_net=UNCONNECTED, control_strength=0.0)
    alone = run(adapter, {})
    net = sample_values.control_net()
    hint = run(picture, {})[0]
    behind = ControlNetApplyAdvanced().apply_controlnet(alone[1], alone[2], net, hint, 0.8, 0.0, 1.0)
    tokens = []
    for applied in (inside, (alone[0], *behind)):
        with rows_of(net.control_model) as shapes:
            drawn(applied)
        tokens.append({number for _, number in shapes})
    assert tokens == [{16}, {77}]
