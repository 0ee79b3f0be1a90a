"""Every setting of every node that puts a method into conditioning or MODEL is heard; weights multiply."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from attack_graphs import DEFAULTS, ours, sampled, value
from comfy_api.latest._io import WidgetInput
from graph_run import OURS
from promised import latents, rows
from torch import Tensor


@pytest.mark.parametrize(
    ("kind", "weight", "settings"),
    [
        ("LikenessApplyInstantID", "adapter_weight", {"control_strength": 0.0}),  # which is of its ControlNet alone
        ("LikenessApplyIPAdapter", "weight", {}),
        ("LikenessApplyPhotoMaker", "weight", {"start_percent": 0.0}),
        ("LikenessApplyInfiniteYou", "strength", {}),
        ("LikenessApplyWithAnyone", "weight", {}),
    ],
)
def test_the_weight_of_a_person_times_that_of_the_node(kind: str, weight: str, settings: dict[str, float]) -> None:
    both, node, one, none = (
        latents(sampled(ours(kind, cast=value(f"cast(weights={weights})"), **{weight: total}, **settings)))
        for weights, total in (((0.5, 0.5), 0.8), ((), 0.4), ((0.5, 1.0), 0.8), ((), 0.8))
    )
    assert torch.allclose(both, node, atol=1e-4)
    assert not torch.allclose(both, none, atol=1e-3) and not torch.allclose(one, none, atol=1e-3)


PEOPLE = "identity('Anna', normal(1, 3, 512)), identity('Boris', normal(2, 3, 512))"
"""Of three photos each."""
WITH: dict[str, dict[str, Any]] = {
    "LikenessApplyIDPatch": {"image": value("None"), "id_start_percent": 0.0},
    "LikenessApplyInstantID": {"negative_noise": 0.3},
    "LikenessApplyPhotoMaker": {"text": "a woman img, a man img,", "start_percent": 0.0},
    "LikenessApplyStyle": {"images": value("image(96, 128, seed=7)")},
    "LikenessApplyWithAnyone": {"acts_in": "regions"},
    "LikenessSharePartsAttention": {
        "parts": ours("LikenessPart", mask=value("mask(8)[:1]")), "width": 256, "layers": "fine", "renew_every": 2,
    },
}  # fmt: skip
"""Inputs beside the defaults with which every setting can be seen."""
SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("weight", "adapter_weight", "control_strength", "strength", "lora_weight", "shortcut"), 0.4),
    **dict.fromkeys(("start_percent", "adapter_start_percent", "id_start_percent"), 0.7),
    **dict.fromkeys(("end_percent", "adapter_end_percent"), 0.3),
    "photos": "normalised mean", "portrait": "head and shoulders", "negative_noise": 0.0, "noise_seed": 5, "seed": 5,
    "region_margin": 0.2, "margin": 1.0, "feather": 60, "extent": "face", "mask": value("mask(2)"),
    "acts_in": "face boxes", "keypoints": False, "outside": "everybody", "prompts": "1: up", "who": "2",
    "layers": "all", "fit": "crop", "text": "a woman img, a hat img,", "trigger": ",", "reference": "once",
    "renew_every": 1, "crop_to_mask": True, "cast": value(f"cast({PEOPLE}, weights=(1.0, 0.4))"),
}  # fmt: skip
"""Every setting as it is not there; the cast's is how loud one person is."""
SILENT = {
    "heat_map_step", "width", "height",
    *((kind, "cast") for kind in ("LikenessApplyStyle", "LikenessPersonPrompts", "LikenessBindIDTokens")),
}  # fmt: skip
"""What is only shown, what must be the latent's, and people who are meant or not."""


def _settings(kind: str) -> list[str]:
    """Widgets, masks and casts of a node."""
    inputs = OURS[kind].define_schema().inputs
    names = [one.id for one in inputs if isinstance(one, WidgetInput) or one.id in ("mask", "cast")]
    return [name for name in names if not SILENT & {name, (kind, name)}]


@cache
def _picture(kind: str, setting: str = "") -> Tensor:
    changed = {"cast": value(f"cast({PEOPLE})")} if "cast" in DEFAULTS[kind] else {}
    changed |= WITH.get(kind, {}) | ({setting: SETTINGS[setting]} if setting else {})
    applied = ours(kind, **changed)
    return latents(sampled(applied, value(f"latent({applied.inputs.get('width', 128)})")))


KINDS = sorted(one.kind for one in rows() if {"positive", "negative"} & one.inputs.keys())


@pytest.mark.parametrize(("kind", "setting"), [(kind, setting) for kind in KINDS for setting in _settings(kind)])
def test_every_setting_changes_the_picture(kind: str, setting: str) -> None:
    """None that a node has is left aside by what it calls."""
    assert not torch.equal(_picture(kind, setting), _picture(kind))
