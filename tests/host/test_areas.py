"""Prompts with an area of their own: a ControlNet is shown the area's own part of its picture."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import comfy.utils
import host_sampling
import pytest
import torch
from host_sampling import Applied, applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import OFTEN, Row, node, rows
from torch import Tensor

import nodes

WITH_A_NET = [row for row in rows() if row.kind in ("LikenessApplyIDPatch", "LikenessApplyInstantID")]


def in_bounds_of_a_mask(conditioning: Any, left: int, right: int) -> Any:
    """left, right: in px of a picture of 128x96."""
    mask = torch.zeros(1, 96, 128)
    mask[..., left:right] = 1
    return nodes.ConditioningSetMask().append(conditioning, mask, "mask bounds", 1.0)[0]


def in_an_area(conditioning: Any, left: int, right: int) -> Any:
    return nodes.ConditioningSetArea().append(conditioning, right - left, 96, left, 0, 1.0)[0]


def in_percent(conditioning: Any, left: int, right: int) -> Any:
    width = (right - left) / 128
    return nodes.ConditioningSetAreaPercentage().append(conditioning, width, 1.0, left / 128, 0.0, 1.0)[0]


WAYS = {"mask bounds": in_bounds_of_a_mask, "area": in_an_area, "percent": in_percent}


def with_prompts(row: Row, positive: Any, negative: Any, **changed: Any) -> Applied:
    prompts = {"positive": positive, "negative": negative}
    graph = row.node(**changed)
    return applied(row, node(graph.kind, **{**graph.inputs, **prompts}))


@dataclass
class Shown:
    """What a ControlNet's network is shown while this stands in its place: the hints, (B, C, H, W), on the CPU."""

    network: Any

    def __enter__(self) -> list[Tensor]:
        hints: list[Tensor] = []
        forward_before = self.network.forward

        def forward(hint: Tensor, *args: Any, **kwargs: Any) -> Any:
            hints.append(hint.detach().cpu().clone())
            return forward_before(hint, *args, **kwargs)

        self.network.forward = forward
        return hints

    def __exit__(self, *_: object) -> None:
        del self.network.forward


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    ("row", "area_node"),
    each(
        product(WITH_A_NET, WAYS),
        [("id_patch, ApplyIDPatch", "mask bounds"), ("instant_id, ApplyInstantID", "percent")],
    ),
    ids=str,
)
def test_a_net_is_shown_the_part_of_its_picture_that_the_area_is(row: Row, area_node: str) -> None:
    """Two areas of one size, beside a prompt of everything: each its own part, at every step."""
    texts = host_sampling.plain(row)
    areas = [WAYS[area_node](texts.positive, 0, 64)[0], WAYS[area_node](texts.positive, 64, 128)[0]]
    prompted = with_prompts(row, [*texts.positive, *areas], texts.negative)
    net = prompted.positive[0][1]["control"]
    keypoints = net.cond_hint_original
    with Shown(net.control_model.input_hint_block) as hints:
        sampled(prompted.guider(), latent_of(row), sigmas_of(prompted.model, 2))
    parts = {"left": keypoints[..., :64], "right": keypoints[..., 64:], "all": keypoints}
    times = {name: sum(torch.equal(hint[:1], part) for hint in hints) for name, part in parts.items()}
    assert all(times.values())
    assert sum(times.values()) == len(hints)


@pytest.mark.both_hosts
@pytest.mark.parametrize("row", each(WITH_A_NET, OFTEN), ids=str)
def test_of_a_larger_picture_the_hint_is_enlarged_and_then_cut(row: Row) -> None:
    """A latent of twice the canvas, as in a second pass."""
    texts = host_sampling.plain(row)
    right_below = nodes.ConditioningSetArea().append(texts.positive, 128, 64, 128, 96, 1.0)[0]
    prompted = with_prompts(row, right_below, texts.negative)
    net = prompted.positive[0][1]["control"]
    enlarged = comfy.utils.common_upscale(net.cond_hint_original, 256, 192, net.upscale_algorithm, "center")
    latent = torch.zeros(1, 4, 24, 32)
    with Shown(net.control_model.input_hint_block) as hints:
        sampled(prompted.guider(), latent, sigmas_of(prompted.model, 1))
    assert any(torch.equal(hint[:1], enlarged[..., 96:160, 128:]) for hint in hints)
