"""Every method from people or parts to latents through our own nodes: A, B and A again, no trace, and every setting."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import tiny_dits
import torch
from attack_graphs import DEFAULTS, Node, Output, node, ours, plain, sampled, sampler, value
from comfy_api.latest._io import WidgetInput
from graph_run import OURS, run
from torch import Tensor


def latents(graph: Node) -> Tensor:
    return run(graph, {})[0]["samples"]


def id_patch(names: str) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()))")
    return ours("LikenessApplyIDPatch", cast=cast, image=ours("LikenessIDPatchImage", cast=cast))


def by_region(names: str) -> Node:
    applied = id_patch(names)
    return ours("LikenessBindIDTokens", positive=applied, negative=applied[1], cast=applied.inputs["cast"])


def instant_id(names: str, weights: tuple[float, ...] = (), **changed: Any) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()), weights={weights})")
    image = node("LikenessFaceKeypointsImage", cast=cast)
    return ours("LikenessApplyInstantID", cast=cast, image=image, **changed)


def parts(kind: str, picture: int, **changed: Any) -> Node:
    part = ours("LikenessPart", image=value(f"image(seed={picture})"))
    if kind == "LikenessSharePartsAttention":
        return ours(kind, parts=part, **changed)
    return ours(kind, features=ours("LikenessEncodeParts", parts=part))


def photo_maker(names: str) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()))")
    return apart(ours("LikenessApplyPhotoMaker", cast=cast, photo_maker=value("photo_maker(2)")))


def ip_adapter(names: str, **changed: Any) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()))")
    return apart(ours("LikenessApplyIPAdapter", cast=cast, **changed))


def style(seed: int) -> Node:
    return apart(ours("LikenessApplyStyle", images=value(f"image(seed={seed})")))


def of_rows(count: int) -> Node:
    cast = value(f"by_row({count})")
    return ours("LikenessApplyInstantID", cast=cast, image=node("LikenessFaceKeypointsImage", cast=cast))


def story_maker(names: str, **changed: Any) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()))")
    return ours("LikenessApplyStoryMaker", cast=cast, **changed)


def infinite_you(names: str, **changed: Any) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()))")
    return sampled(ours("LikenessApplyInfiniteYou", cast=cast, **changed))


def with_anyone(names: str, **changed: Any) -> Node:
    cast = value(f"cast(*map(identity, {names!r}.split()))")
    return apart(ours("LikenessApplyWithAnyone", cast=cast, **changed))


def apart(applied: Node) -> Node:
    """What the sampler makes of a node that gives MODEL, positive and negative."""
    return sampler(applied, applied[1], applied[2])


METHODS = {
    "ID-Patch": (sampled(id_patch("Anna Boris")), sampled(id_patch("Cleo Dan"))),
    "ID tokens by region": (apart(by_region("Anna Boris")), apart(by_region("Cleo Dan"))),
    "InstantID": (sampled(instant_id("Anna Boris")), sampled(instant_id("Cleo Dan"))),
    "InstantID in face boxes": (
        sampled(instant_id("Anna Boris", acts_in="face boxes")), sampled(instant_id("Anna Boris"))
    ),
    "InstantID, a row each": (
        sampled(of_rows(2), value("latent(128, 128, 2)")), sampled(of_rows(1), value("latent(128, 128, 1)"))
    ),
    "IP-Adapter": (ip_adapter("Anna Boris"), ip_adapter("Cleo Dan")),
    "IP-Adapter without LoRA": (ip_adapter("Anna Boris"), ip_adapter("Anna Boris", lora_weight=0.0)),
    "a style in layers": (style(seed=5), style(seed=6)),
    "PhotoMaker": (photo_maker("Anna Boris"), photo_maker("Cleo Dan")),
    "StoryMaker": (apart(story_maker("Anna Boris")), apart(story_maker("Cleo Dan"))),
    "StoryMaker, clothes": (
        apart(story_maker("Anna Boris")), apart(story_maker("Anna Boris", bodies=value("image(batch=2, seed=6)"))),
    ),
    "InfiniteYou": (infinite_you("Anna Boris"), infinite_you("Cleo Dan")),
    "InfiniteYou in face boxes": tuple(infinite_you(who, acts_in="face boxes") for who in ("Anna Boris", "Cleo Dan")),
    "WithAnyone": (with_anyone("Anna Boris"), with_anyone("Anna Boris", acts_in="regions")),
    "a prompt per person": tuple(
        apart(ours("LikenessPersonPrompts", prompts=words)) for words in ("1: up\n2: down", "1: down")
    ),
    "references by region": tuple(
        apart(ours("LikenessBindReferences", outside=outside)) for outside in ("nobody", "everybody")
    ),
    "Parts2Whole": tuple(sampled(parts("LikenessApplyParts", picture)) for picture in (1, 2)),
    "shared attention": tuple(sampled(parts("LikenessSharePartsAttention", picture)) for picture in (1, 2)),
    "shared attention, seldom": tuple(
        sampled(parts("LikenessSharePartsAttention", 1, renew_every=every, crop_to_mask=True)) for every in (2, 1)
    ),
}  # fmt: skip
KINDS = {
    "ID-Patch": "LikenessApplyIDPatch", "ID tokens by region": "LikenessApplyIDPatch",
    "InstantID": "LikenessApplyInstantID", "InstantID in face boxes": "LikenessApplyInstantID",
    "InstantID, a row each": "LikenessApplyInstantID",
    "IP-Adapter": "LikenessApplyIPAdapter", "IP-Adapter without LoRA": "LikenessApplyIPAdapter",
    "a style in layers": "LikenessApplyStyle",
    "PhotoMaker": "LikenessApplyInstantID",  # which has a positive of its own
    "StoryMaker": "LikenessApplyStoryMaker", "StoryMaker, clothes": "LikenessApplyStoryMaker",
    "InfiniteYou": "LikenessApplyInfiniteYou", "InfiniteYou in face boxes": "LikenessApplyInfiniteYou",
    "WithAnyone": "LikenessApplyWithAnyone",
    "a prompt per person": "LikenessPersonPrompts", "Parts2Whole": "LikenessApplyParts",
    "shared attention": "LikenessSharePartsAttention", "shared attention, seldom": "LikenessSharePartsAttention",
    "references by region": "LikenessBindReferences",
}  # fmt: skip
OTHERS = ("LikenessApplyPhotoMaker", "LikenessBindIDTokens")
"""Of which the former is measured against another, and the latter against the method that it binds."""
OF_DITS = ("references by region", "InfiniteYou", "InfiniteYou in face boxes", "WithAnyone")
"""Of models that older hosts do not have."""


@pytest.mark.both_hosts
@pytest.mark.parametrize("method", METHODS)
def test_a_b_a(method: str) -> None:
    if method in OF_DITS and not tiny_dits.KNOWN:
        pytest.skip("this ComfyUI has no such models")
    bare = plain(KINDS[method])
    before, a, b, again, after = (latents(graph) for graph in (bare, *METHODS[method], METHODS[method][0], bare))
    assert torch.equal(a, again) and torch.equal(before, after)
    assert a.isfinite().all() and b.isfinite().all()
    assert a.shape != b.shape or not torch.equal(a, b)
    assert a.shape != before.shape or not torch.equal(a, before)


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


@pytest.mark.parametrize(
    ("kind", "setting"), [(kind, setting) for kind in sorted({*KINDS.values(), *OTHERS}) for setting in _settings(kind)]
)
def test_every_setting_changes_the_picture(kind: str, setting: str) -> None:
    """None that a node has is left aside by what it calls."""
    assert not torch.equal(_picture(kind, setting), _picture(kind))


def test_no_method_is_left_out() -> None:
    """Whoever takes CONDITIONING of both sides changes how a picture is sampled."""
    changing = {kind for kind, inputs in DEFAULTS.items() if {"positive", "negative"} <= inputs.keys()}
    graphs = [graph for pair in METHODS.values() for graph in pair]
    assert changing == {one.kind for graph in graphs for one in _all(graph) if one.kind in changing}


def _all(one: Node) -> list[Node]:
    sources = [s.node if isinstance(s, Output) else s for s in one.inputs.values() if isinstance(s, (Node, Output))]
    return [one, *(found for source in sources for found in _all(source))]
