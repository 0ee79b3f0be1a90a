"""Functions of other packs around the MODEL that cut the picture, and what no promise over all methods asks of others.

What moves rows or loses what they carry: tests/promises/test_other_packs_around.py.
"""

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
from pack.nodes.share_parts.nodes import ONCE, SharePartsAttention
from parts_made import HEIGHT, WIDTH

ALONE = {"control_strength": 0.0}


def faces(sdxl, cast, **changed):
    return instant_id_run.apply(*sdxl, cast, **changed)


def parts(sd15, **changed):
    made, model = sd15
    return parts_run.apply(model, parts_run.encode(made, parts_made.parts(2)), **changed)


def shared_once(sd15):
    return SharePartsAttention.execute(
        sd15[1], [parts_run.text(1)], [parts_run.text(2)], parts_made.parts(2), parts_made.clip(), parts_made.vae(),
        WIDTH, HEIGHT, strength=1.0, start_percent=0.0, end_percent=1.0, layers="all", reference=ONCE, seed=0,
    ).args  # fmt: skip


@pytest.mark.parametrize("method", ["InstantID's adapter", "parts", "shared parts"])
def test_tiles_keep_what_they_carry(sdxl, sd15, method):
    """Where no region matters: tiles in one batch are as tiles whose rows come one by one."""
    if method == "InstantID's adapter":
        plain, run = sdxl[0][0], instant_id_run
        model, *sides = faces(sdxl, instant_id_run.one(), **ALONE)
    else:
        plain, run = sd15[1], parts_run
        model, *sides = parts(sd15, pose=None) if method == "parts" else shared_once(sd15)

    def rows_of_tiles(apply_model, given):
        return other_packs.in_tiles(
            lambda x, t, **c: other_packs.one_by_one(apply_model, {"input": x, "timestep": t, "c": c}), given
        )

    def drawn(model, sides, function=other_packs.in_tiles):
        return run.sample(other_packs.around(model, function), *sides, steps=2, batch=2)

    tiled = drawn(model, sides)
    bare = [[[text, {k: v for k, v in o.items() if k != "model_conds"}] for text, o in side] for side in sides]
    assert difference(tiled, drawn(model, sides, rows_of_tiles)) <= 1e-5 < 1e-3
    assert difference(tiled, drawn(plain, bare)) > 1e-3


def test_tiles_of_a_picture_with_places_are_named(sdxl, sd15):
    for (tiled, *sides), run, shown in (
        (faces(sdxl, instant_id_run.halves(), **ALONE), instant_id_run, "64x96 of 128x96"),
        (parts(sd15), parts_run, "48x120 of 88x120"),
    ):
        for way in (other_packs.around, other_packs.inside):
            with pytest.raises(ConditioningLost, match=rf"other_packs.* {shown} px"):
                run.sample(way(tiled, other_packs.in_tiles), *sides, steps=1)


def test_what_the_unet_does_not_read_cannot_be_lost(sdxl):
    """IdentityNet alone."""
    model, *sides = faces(sdxl, instant_id_run.one(), adapter_weight=0.0)
    dropped = other_packs.around(model, other_packs.only_what_it_knows)
    expected = instant_id_run.sample(model, *sides, steps=1)
    assert torch.equal(instant_id_run.sample(dropped, *sides, steps=1), expected)


def test_a_model_wrapper_that_loses_them_is_named(sd15):
    """The host's newer way to put a function around the MODEL."""
    patched, *sides = parts(sd15)

    def theirs(executor, *args, **kwargs):
        return executor(*args, **{key: value for key, value in kwargs.items() if not key.startswith("likeness")})

    theirs.__module__ = "some_pack.nodes"
    wrapped = patched.clone()
    wrapped.add_wrapper_with_key("apply_model", "theirs", theirs)
    with pytest.raises(ConditioningLost, match=r"\(its code: some_pack\.nodes\) drops"):
        parts_run.sample(wrapped, *sides, steps=1)


def test_nothing_of_a_run_is_left_behind_it(sdxl, sd15):
    """Keys and values fill gigabytes: they go with the run, and need no garbage collector."""
    both = (instant_id_run, faces(sdxl, instant_id_run.one())), (parts_run, parts(sd15))
    gc.collect()
    gc.disable()
    try:
        for run, applied in both:
            run.sample(*applied, steps=1)
        kinds = (runs.Run, runs.Batch, Memory)
        left = [one for one in gc.get_objects() if issubclass(type(one), kinds)]
    finally:
        gc.enable()
    assert not left
