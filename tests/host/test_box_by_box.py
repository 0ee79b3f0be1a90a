"""Two people as in workflows of ComfyUI_InstantID (docs/coming_from_comfyui_instantid.md): an apply node, a prompt
and a mask for each, joined by Conditioning (Combine)."""

from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from graph_run import run
from graphs import UNCONNECTED, Node, ours, value
from pack.core.cast import PlacedCast
from sample_values import a_person, cast, layout, mask, sdxl, slot, text
from torch import Tensor

from nodes import ConditioningCombine, ConditioningSetMask

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
        person = a_person(name)
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


def drawn(applied: Applied, steps: int = 1) -> Tensor:
    model, positive, negative = applied
    latent = torch.zeros(1, 4, 12, 16)
    noise = comfy.sample.prepare_noise(latent, 1)
    sampler = comfy.samplers.KSampler(model, steps, "cpu", "euler", "normal", 1.0, model.model_options)
    return sampler.sample(noise, positive, negative, 4.5, latent, seed=1, disable_pbar=True)


def changed(left: str, right: str) -> tuple[float, float]:
    """How far other people change the left half and the right half of one step, beside the largest value."""
    before, after = drawn(box_by_box("Anna", "Boris")), drawn(box_by_box(left, right))
    difference = (after - before).abs() / before.abs().max()
    return float(difference[..., :HALF].max()), float(difference[..., HALF:].max())


def test_box_by_box_another_person_changes_their_own_half_alone() -> None:
    left, right = changed("Anna", "Daniel")
    assert left == 0.0
    assert right > 0.01
    left, right = changed("Christa", "Boris")
    assert left > 0.01
    assert right == 0.0
