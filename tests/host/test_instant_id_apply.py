"""Apply InstantID in the real host: boxes and areas, ControlNets in company, what is read once, and what is drawn.

What it refuses and tells: tests/host/test_refused.py.
"""

from __future__ import annotations

from dataclasses import replace

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.utils
import pytest
import tiny_sdxl
import torch
from graph_run import shown
from held_to import difference
from instant_id_run import (
    DEFAULTS,
    HEIGHT,
    HINT,
    KEYPOINTS,
    WIDTH,
    apply,
    face,
    halves,
    one,
    person,
    sample,
    slot,
    text,
)
from pack.bridge.injections import Injection
from pack.core.people import Layout, NotPlaced, PlacedCast, RowCast, Slot
from pack.core.places.control_images import NoKeypoints
from pack.nodes.control_images import PoseImage
from pack.nodes.instant_id.nodes import ApplyInstantID, IdentityNet

CPU, FP8 = torch.device("cpu"), torch.float8_e4m3fn
ALONE = {"control_strength": 0.0}
BOXES = {"acts_in": "face boxes"}


@pytest.fixture(scope="module")
def host(sdxl):
    return sdxl[0]


@pytest.fixture(scope="module")
def instant_id(sdxl):
    return sdxl[1]


def boxed(*boxes, mask=None):
    people = (person(str(n), face(n), slot(*box, mask)) for n, box in enumerate(boxes, 1))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def twice(hint):
    return hint.repeat_interleave(2, 1).repeat_interleave(2, 2)


def twice_as_large():
    """halves() and its hint at another size."""
    people = [replace(p, slot=replace(p.slot, mask=twice(p.slot.mask[None])[0])) for p in halves().people]
    return PlacedCast(tuple(people), 2 * WIDTH, 2 * HEIGHT), {"hint": twice(HINT)}


UPPER = torch.ones(1, 32, 32)
UPPER[0, 16:] = 0
AREA = {"positive": [text(1, area=(6, 8, 6, 8))], **ALONE}
MIDDLE = {"positive": [text(1, area=(12, 8, 0, 8)), text(4)]}
BOX = (20, 10, 70, 60)
ALIKE = {
    "a box of everything": ((boxed((0, 0, WIDTH, HEIGHT)), BOXES), (boxed((0, 0, WIDTH, HEIGHT)), {})),
    "one person has no region": ((boxed(BOX, mask=torch.eye(HEIGHT, WIDTH)), BOXES), (boxed(BOX), BOXES)),
    "the adapter alone needs no ControlNet": ((halves(), {**ALONE, "net": None, "hint": None}), (halves(), ALONE)),
    "masks are stretched over the latent": (
        (one(), {**AREA, "mask": UPPER}),
        (one(), {**AREA, "mask": torch.nn.functional.interpolate(UPPER[None], size=(HEIGHT, WIDTH))[0]}),
    ),
    "twice the size": ((halves(), {}), twice_as_large()),
}


@pytest.mark.parametrize("what", ALIKE)
def test_the_same_picture_in_two_ways(host, instant_id, what):
    def drawn(cast, given):
        net, size = given.get("net", host[1]), (2 * WIDTH, 2 * HEIGHT) if what == "twice the size" else (WIDTH, HEIGHT)
        changed = {name: value for name, value in given.items() if name != "net"}
        return sample(*apply((host[0], net), instant_id, cast, **changed), steps=2, size=size)

    first, second = ALIKE[what]
    assert torch.equal(drawn(*first), drawn(*second))


def test_an_area_sees_its_own_part(host, instant_id):
    """The right half has the box at 70 to 110 of 128 px."""
    area, latent = (HEIGHT // 8, WIDTH // 16, 0, WIDTH // 16), (HEIGHT // 8, WIDTH // 8)
    for changed in (ALONE, BOXES):
        applied = apply(host, instant_id, halves(), **MIDDLE, **changed)
        seen = applied[1][0][1]["model_conds"][Injection.key].cond[0].cropped(area, latent)
        found = seen.regions if changed is ALONE else seen.boxes
        assert found.shape == (2, HEIGHT, WIDTH // 2) and not found[0].any()
        expected = torch.zeros(HEIGHT, WIDTH // 2)
        expected[(slice(None),) * 2 if changed is ALONE else (slice(20, 60), slice(6, 46))] = 1
        assert torch.equal(found[1], expected)
        assert sample(*applied).isfinite().all()


def test_everybody_of_a_cast_by_row_has_a_box_of_their_own(host, instant_id):
    """And keypoints: every picture of a batch may have its own."""
    boxes = [(10, 10, 50, 60), (60, 30, 120, 90)]
    rows = RowCast(boxed(*boxes).people, WIDTH, HEIGHT)
    hints = torch.cat([HINT, HINT.flip(2)])
    output = ApplyInstantID.execute(
        host[0], [text(1)], [text(2)], instant_id, host[1], rows, hints, **DEFAULTS, **BOXES
    )
    assert len(output.ui.as_dict()["images"]) == 2, "a picture each is shown"
    together = sample(*output.args, batch=2)
    start = torch.randn(2, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7)) * 14
    for row in range(2):
        alone = PlacedCast((rows.people[row],), WIDTH, HEIGHT)
        applied = apply(host, instant_id, alone, hint=hints[row : row + 1], **BOXES)
        assert difference(together[row : row + 1], sample(*applied, start=start[row : row + 1])) <= 1e-5


def test_a_negative_weight_takes_away_what_a_positive_one_adds(host, instant_id):
    less, more = (apply(host, instant_id, one(), adapter_weight=weight, **ALONE) for weight in (-0.01, 0.01))
    found = [applied[1][0][1]["model_conds"][Injection.key].cond[0].layers for applied in (less, more)]
    for (keys, values), (same, opposite) in zip(*found, strict=True):
        assert torch.equal(keys, same) and torch.equal(values, -opposite)


def test_regions_are_shown_on_the_node(host, instant_id):
    """The places' own, the boxes, and those of the mask input."""
    blue, dark, orange = (torch.tensor(rgb) / 255 for rgb in ((53, 101, 130), (20, 22, 26), (125, 90, 13)))
    masks = torch.stack([person.slot.mask for person in halves().people]).flip(0)
    for cast, changed, colours in (
        (boxed((10, 20, 50, 90)), BOXES, {(80, 30): blue, (5, 100): dark}),
        (halves(), {}, {(90, 5): blue, (90, 120): orange}),
        (halves(), {"mask": masks}, {(90, 5): orange}),
        (one(), {}, {}),  # without a mask one person is read everywhere
    ):
        given = {**DEFAULTS, **ALONE, **changed}
        output = ApplyInstantID.execute(host[0], [text(1)], [text(2)], instant_id, host[1], cast, HINT, **given)
        assert bool(output.ui) == bool(colours)
        for (picture,) in [shown(output)] if colours else []:
            assert all(torch.allclose(picture[where], colour, atol=0.01) for where, colour in colours.items())


def test_fp8_weights_of_identity_net(instant_id):
    """Stored as float8 and computed in float32: the same picture as with the same rounded weights in float32."""
    unet = tiny_sdxl.diffusers_unet()
    net = tiny_sdxl.diffusers_control_net(unet, 172)
    for parameter in net.parameters():
        parameter.data = parameter.data.to(FP8).float()
    model, rounded = tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(net)
    shape = {k: v for k, v in tiny_sdxl.HOST_CONFIG.items() if k not in ("out_channels", "transformer_depth_output")}
    control = comfy.cldm.cldm.ControlNet(
        **shape, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=FP8, operations=comfy.ops.manual_cast
    )
    control.load_state_dict(rounded.control_model.state_dict())
    stored = comfy.controlnet.ControlNet(control.eval(), load_device=CPU, manual_cast_dtype=torch.float32)
    drawn, expected = (sample(*apply((model, each), instant_id, halves()), steps=2) for each in (stored, rounded))
    assert difference(drawn, expected) <= 1e-4


@pytest.mark.skipif(not hasattr(comfy.controlnet.ControlNet, "deepclone_multigpu"), reason="newer hosts only")
def test_the_copy_for_another_gpu_is_an_identity_net_too(host, instant_id):
    model, *sides = apply(host, instant_id, halves())
    expected, net = sample(model, *sides), sides[0][0][1]["control"]
    clone = net.deepclone_multigpu(CPU)
    assert isinstance(clone, IdentityNet) and clone.control_model is not net.control_model
    for side in sides:
        side[0][1]["control"] = clone
    assert torch.equal(sample(model, *sides), expected)


@pytest.mark.parametrize("cast", [one(), halves()], ids=["one person", "two by region"])
def test_keypoints_and_tokens_are_read_once_per_run(host, instant_id, cast):
    rows = {"keypoints": [], "tokens": []}
    net = host[1].control_model
    keys = next(layer for name, layer in net.named_modules() if name.endswith("attn2.to_k"))
    hooks = [
        net.input_hint_block[0].register_forward_pre_hook(lambda _, given: rows["keypoints"].append(len(given[0]))),
        keys.register_forward_pre_hook(lambda _, given: rows["tokens"].append(given[0].shape[1])),
    ]
    applied = apply(host, instant_id, cast)
    for _ in range(2):
        sample(*applied, steps=3)
    for hook in hooks:
        hook.remove()
    everybody = 16 if len(cast.people) == 1 else 3 * 16
    assert rows == {"keypoints": [1, 1], "tokens": [everybody, 1, 1] * 2}


def test_keypoints_are_drawn_of_those_who_are_heard(host):
    first, second = halves().people
    moved = replace(second, slot=replace(second.slot, keypoints=tuple((x + 60, y) for x, y in KEYPOINTS)))
    drawn = [
        PoseImage.execute(cast=PlacedCast(people, WIDTH, HEIGHT), draw="face keypoints")[0]
        for people in ((first, replace(moved, weight=0.0)), (first,), (replace(first, weight=0.0),), (first, moved))
    ]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[2], drawn[1]) and not torch.equal(drawn[3], drawn[1])
    nowhere, whole = Slot((5.0, 5.0)), slot(1, 1, 9, 9)
    for slots, message in (((whole, nowhere), "place 2 has no"), ((nowhere, nowhere), "places 1, 2 have no")):
        with pytest.raises(NoKeypoints, match=f"{message} face keypoints"):
            PoseImage.execute(layout=Layout(64, 64, slots), draw="face keypoints")
    with pytest.raises(NotPlaced, match="neither a cast nor a layout is connected"):
        PoseImage.execute(draw="face keypoints")
