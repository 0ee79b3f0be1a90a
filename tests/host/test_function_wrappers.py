"""Functions of other packs around the MODEL that cut the picture, and what no test over all methods asks of others.

What moves rows or loses what they carry: tests/every_method/test_other_packs.py.
"""

import gc
from typing import Any

import pytest
import torch
from figures import relative
from graph_run import run
from graphs import DEFAULTS, UNCONNECTED, Node, ours, value
from method_rows import around, bypassed, latents, two
from other_packs import in_tiles, only_what_it_knows, rows_of_tiles, without_the_first_step
from pack.bridge.parts.sharing_run import PartsCache
from pack.bridge.sampling.carried import ConditioningLost
from pack.bridge.sampling.forward import Batch
from pack.bridge.sampling.runs import Run
from sample_values import a_person, unplaced

EVERYWHERE: dict[str, dict[str, Any]] = {
    "LikenessApplyInstantID": {"control_strength": 0.0, "cast": value(unplaced, a_person())},
    "LikenessApplyParts2Whole": {"pose": UNCONNECTED},
    "LikenessSharePartsAttention": {"reference": "once"},
}


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_tiles_keep_what_they_carry(kind: str) -> None:
    """Where no region matters: tiles in one batch are as tiles whose rows come one by one."""
    applied = ours(kind, **EVERYWHERE[kind])
    outputs_by_node = {}
    tiled, by_row = (
        latents(two(applied, model=around(applied, function)), outputs_by_node)
        for function in (in_tiles, rows_of_tiles)
    )
    bare = {side: bypassed(applied, side) for side in ("positive", "negative")}
    plain = latents(two(applied, model=around(DEFAULTS[kind]["model"], in_tiles), **bare), outputs_by_node)
    assert relative(tiled, by_row) <= 1e-5
    assert relative(tiled, plain) > 1e-3


def test_a_wrapper_behind_ours_is_called_as_the_host_calls_it() -> None:
    """With the same arguments by position and by name."""
    applied = ours("LikenessApplyParts2Whole")
    outputs_by_node: dict[Node, Any] = {}
    calls: list[tuple[int, list[str]]] = []

    def wrapper(executor: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((len(args), sorted(kwargs)))
        return executor(*args, **kwargs)

    for sides in ({}, {side: bypassed(applied, side) for side in ("model", "positive", "negative")}):
        made = run(sides.get("model", applied), outputs_by_node)
        wrapped = (made[0] if isinstance(made, tuple) else made).clone()
        wrapped.add_wrapper_with_key("outer_sample", "theirs", wrapper)
        latents(two(applied, **{**sides, "model": wrapped}), outputs_by_node)
    with_ours, without = calls
    assert with_ours == without


def test_what_the_unet_does_not_read_cannot_be_lost() -> None:
    """IdentityNet alone."""
    applied = ours("LikenessApplyInstantID", adapter_weight=0.0)
    outputs_by_node = {}
    dropped = two(applied, model=around(applied, only_what_it_knows))
    assert torch.equal(latents(dropped, outputs_by_node), latents(two(applied), outputs_by_node))


@pytest.mark.parametrize("kind", ["LikenessApplyInstantID", "LikenessApplyParts2Whole"])
def test_a_pack_that_leaves_out_the_first_step_loses_nothing(kind: str) -> None:
    """It is as if what the MODEL gives at that step were 0."""
    applied = ours(kind)
    outputs_by_node: dict[Node, Any] = {}

    def with_nothing_at_first(model: Any) -> Any:
        def after_cfg(given: dict[str, Any]) -> Any:
            first = given["model_options"]["transformer_options"]["sample_sigmas"][0]
            return torch.zeros_like(given["denoised"]) if given["sigma"][0] == first else given["denoised"]

        clone = model.clone()
        clone.set_model_sampler_post_cfg_function(after_cfg)
        return clone

    left_out, expected = (
        latents(two(applied, model=model, steps=3), outputs_by_node)
        for model in (around(applied, without_the_first_step), value(with_nothing_at_first, applied))
    )
    assert torch.equal(left_out, expected)


def test_a_model_wrapper_that_loses_them_is_named() -> None:
    """The host's newer way to put a function around the MODEL."""
    applied = ours("LikenessApplyParts2Whole")
    outputs_by_node = {}

    def wrapper(executor: Any, *args: Any, **kwargs: Any) -> Any:
        return executor(*args, **{key: argument for key, argument in kwargs.items() if not key.startswith("likeness")})

    wrapper.__module__ = "some_pack.nodes"
    wrapped = run(applied, outputs_by_node)[0].clone()
    wrapped.add_wrapper_with_key("apply_model", "theirs", wrapper)
    with pytest.raises(ConditioningLost, match=r"\(its code: some_pack\.nodes\) drops"):
        latents(two(applied, model=wrapped), outputs_by_node)


def test_nothing_of_a_run_is_left_behind_it() -> None:
    """Keys and values fill gigabytes: they go with the run, and need no garbage collector."""
    outputs_by_node: dict[Node, Any] = {}
    nodes = [ours(kind) for kind in ("LikenessApplyInstantID", "LikenessApplyParts2Whole")]
    for applied in nodes:
        run(applied, outputs_by_node)
    gc.collect()
    gc.disable()
    try:
        for applied in nodes:
            latents(two(applied), outputs_by_node)
        objects_left = [thing for thing in gc.get_objects() if issubclass(type(thing), (Run, Batch, PartsCache))]
    finally:
        gc.enable()
    assert not objects_left
