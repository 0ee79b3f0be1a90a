"""Beside packs that put a function of theirs around the MODEL: what conditioning carries arrives, or they are named."""

from __future__ import annotations

import gc

import instant_id_run
import other_packs
import parts_made
import parts_run
import pytest
import torch
from held_to import difference
from pack.bridge import runs
from pack.bridge.carried import ConditioningLost
from pack.bridge.self_attention.run import Memory
from pack.nodes.share_parts.nodes import EVERY_STEP, ONCE, SharePartsAttention
from parts_made import HEIGHT, WIDTH
from parts_run import POSE

METHODS = [
    "InstantID", "InstantID, two by region", "parts", "parts with a pose", "share at every step", "share once",
    "share seldom",
]  # fmt: skip


def share(model, reference, parts, **cheaper):
    return SharePartsAttention.execute(
        model, [parts_run.text(1)], [parts_run.text(2)], parts, parts_made.clip(), parts_made.vae(), WIDTH, HEIGHT,
        strength=1.0, start_percent=0.0, end_percent=1.0, layers="all", reference=reference, seed=0, **cheaper,
    ).args  # fmt: skip


@pytest.fixture
def method(request):
    """(MODEL, a function from a MODEL to what our node makes of it, a function from that to a picture)."""
    name = request.param
    if name.startswith("InstantID"):
        host, instant_id = request.getfixturevalue("sdxl")
        cast = instant_id_run.halves() if "two" in name else instant_id_run.one()
        strength = 0.0 if "adapter" in name else 0.8

        def faces(model):
            return instant_id_run.apply(host, instant_id, cast, model=model, control_strength=strength)

        return host[0], faces, lambda *applied: instant_id_run.sample(*applied, steps=2, batch=2)
    made, model = request.getfixturevalue("sd15")
    if name.startswith("parts"):
        features = parts_run.encode(made, parts_made.parts(2))
        poses = torch.cat([POSE, parts_made.picture(91, WIDTH, HEIGHT)]) if "pose" in name else None

        def ours(model):
            return parts_run.apply(model, features, pose=poses)
    else:

        def ours(model):
            cheaper = {"renew_every": 2, "crop_to_mask": True} if "seldom" in name else {}
            return share(model, ONCE if "once" in name else EVERY_STEP, parts_made.parts(2), **cheaper)

    return model, ours, lambda *applied: parts_run.sample(*applied, steps=2, batch=2)


def both_orders(method, function):
    """Our node behind theirs and in front of it."""
    model, ours, picture = method
    before = ours(other_packs.around(model, function))
    yield lambda: picture(*before)
    behind = ours(model)
    yield lambda: picture(other_packs.around(behind[0], function), *behind[1:])


@pytest.mark.parametrize("method", ["InstantID, two by region", "parts with a pose"], indirect=True)
def test_rows_in_another_order_or_copied_keep_what_they_carry(method):
    model, ours, picture = method
    patched, *sides = ours(model)
    expected = picture(patched, *sides)
    shown = picture(other_packs.around(patched, other_packs.reversed_rows), *sides)
    assert difference(shown, expected) <= 1e-5
    assert torch.equal(picture(other_packs.around(patched, other_packs.copied), *sides), expected)


@pytest.mark.parametrize("function", [other_packs.one_by_one, other_packs.reversed_rows, other_packs.copied])
@pytest.mark.parametrize("method", ["InstantID, two by region", "parts with a pose", "share once"], indirect=True)
def test_rows_moved_around_the_unet_keep_what_they_carry(method, function):
    """The batch is made before the UNet is called."""
    model, ours, picture = method
    patched, *sides = ours(model)
    expected = picture(patched, *sides)
    assert difference(picture(other_packs.inside(patched, function), *sides), expected) <= 1e-5


@pytest.mark.parametrize("method", ["InstantID's adapter", "parts", "share once"], indirect=True)
def test_tiles_keep_what_they_carry(method):
    """Where no region matters: tiles in one batch are as tiles whose rows come one by one."""
    model, ours, picture = method
    patched, *sides = ours(model)

    def rows_of_tiles(apply_model, given):
        return other_packs.in_tiles(
            lambda x, t, **c: other_packs.one_by_one(apply_model, {"input": x, "timestep": t, "c": c}), given
        )

    shown = [picture(other_packs.around(patched, each), *sides) for each in (other_packs.in_tiles, rows_of_tiles)]
    plain = [[[text, {k: v for k, v in o.items() if k != "model_conds"}] for text, o in side] for side in sides]
    without = picture(other_packs.around(model, other_packs.in_tiles), *plain)
    assert difference(*shown) <= 1e-5 < 1e-3 < difference(shown[0], without)


LOST = {
    other_packs.only_what_it_knows: "conditions .* or .*transformer_options",
    other_packs.its_own_options: "conditions .* or .*transformer_options",
    other_packs.one_by_one_where_it_knows: "4 rows with 1 ",
}


@pytest.mark.parametrize("function", [other_packs.only_what_it_knows, other_packs.one_by_one_where_it_knows])
@pytest.mark.parametrize("method", ["InstantID, two by region", "parts with a pose"], indirect=True)
def test_a_function_around_the_unet_that_loses_them_is_named(method, function):
    model, ours, picture = method
    patched, *sides = ours(model)
    with pytest.raises(ConditioningLost, match=rf"other_packs.*{LOST[function]}"):
        picture(other_packs.inside(patched, function), *sides)


@pytest.mark.parametrize("function", LOST)
@pytest.mark.parametrize("method", METHODS, indirect=True)
def test_a_function_that_loses_them_is_named(method, function):
    message = rf"other_packs.*{LOST[function]}.* Bypass"
    for shown in both_orders(method, function):
        with pytest.raises(ConditioningLost, match=message):
            shown()


def test_tiles_of_a_picture_with_places_are_named(sdxl, sd15):
    host, instant_id = sdxl
    faces = instant_id_run.apply(host, instant_id, instant_id_run.halves(), control_strength=0.0)
    made, model = sd15
    posed = parts_run.apply(model, parts_run.encode(made, parts_made.parts(1)))
    for (tiled, *sides), sample, shown in (
        (faces, instant_id_run.sample, "64x96 of 128x96"),
        (posed, parts_run.sample, "48x120 of 88x120"),
    ):
        for way in (other_packs.around, other_packs.inside):
            with pytest.raises(ConditioningLost, match=rf"other_packs.* {shown} px"):
                sample(way(tiled, other_packs.in_tiles), *sides, steps=1)


def test_what_the_unet_does_not_read_cannot_be_lost(sdxl):
    """IdentityNet alone."""
    host, instant_id = sdxl
    applied = instant_id_run.apply(host, instant_id, instant_id_run.one(), adapter_weight=0.0)
    dropped = other_packs.around(applied[0], other_packs.only_what_it_knows)
    expected = instant_id_run.sample(*applied, steps=1)
    assert torch.equal(instant_id_run.sample(dropped, *applied[1:], steps=1), expected)


def test_a_model_wrapper_that_loses_them_is_named(sd15):
    """The host's newer way to put a function around the MODEL."""
    made, model = sd15
    patched, *sides = parts_run.apply(model, parts_run.encode(made, parts_made.parts(1)))

    def theirs(executor, *args, **kwargs):
        return executor(*args, **{key: value for key, value in kwargs.items() if not key.startswith("likeness")})

    theirs.__module__ = "some_pack.nodes"
    wrapped = patched.clone()
    wrapped.add_wrapper_with_key("apply_model", "theirs", theirs)
    with pytest.raises(ConditioningLost, match=r"\(its code: some_pack\.nodes\) drops"):
        parts_run.sample(wrapped, *sides, steps=1)


def test_nothing_of_a_run_is_left_behind_it(sdxl, sd15):
    """Keys and values fill gigabytes: they go with the run, and need no garbage collector."""
    host, instant_id = sdxl
    made, model = sd15
    faces = instant_id_run.apply(host, instant_id, instant_id_run.one())
    parts = parts_run.apply(model, parts_run.encode(made, parts_made.parts(1)))
    gc.collect()
    gc.disable()
    try:
        instant_id_run.sample(*faces, steps=1)
        parts_run.sample(*parts, steps=1)
        kinds = (runs.Run, runs.Batch, Memory)
        left = [one for one in gc.get_objects() if issubclass(type(one), kinds)]
    finally:
        gc.enable()
    assert not left
