"""Apply InstantID in the real host: regions, boxes and areas, other sizes, ControlNets in company, what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.supported_models
import comfy.utils
import pytest
import tiny_sdxl
import torch
from bench import networks as real
from graph_run import shown
from held_to import difference
from host_nodes import NODES, patch
from instant_id_made import DEFAULTS, person
from instant_id_run import HEIGHT, HINT, KEYPOINTS, WIDTH, apply, face, halves, one, sample, slot, text
from pack.bridge.injections import Injection
from pack.bridge.scopes import AdapterMismatch
from pack.bridge.token_control_net import NotAControlNet
from pack.bridge.unet import transformers
from pack.core import errors
from pack.core.people import Cast, Layout, NotPlaced, PlacedCast, RowCast, Slot
from pack.core.places import regions
from pack.core.places.control_images import NoKeypoints
from pack.nodes.control_images import PoseImage
from pack.nodes.instant_id.nodes import ApplyInstantID, IdentityNet, IdentityNetMissing, load_instant_id
from seeded import instant_id_file

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


def resized(hint, width, height):
    """As the host scales a hint, pixel by pixel."""
    return comfy.utils.common_upscale(hint.movedim(-1, 1), width, height, "nearest-exact", "disabled").movedim(1, -1)


def scaled(scale):
    """halves() and its hint at another size, and that size."""
    width, height = int(WIDTH * scale), int(HEIGHT * scale)
    people = [
        replace(p, slot=replace(p.slot, mask=resized(p.slot.mask[None, ..., None], width, height)[0, ..., 0]))
        for p in halves().people
    ]
    return PlacedCast(tuple(people), width, height), resized(HINT, width, height), (width, height)


# What comes to the same

UPPER = torch.ones(1, 32, 32)
UPPER[0, 16:] = 0
AREA, MIDDLE, SCALED_AREA = (
    {"positive": [text(1, area=area), *more]}
    for area, more in (((6, 8, 6, 8), ()), ((12, 8, 0, 8), (text(4),)), ((18, 10, 0, 14), (text(4),)))
)
BOX = (20, 10, 70, 60)


def at(scale, **changed):
    """Ours scaled by the host, and made at that size."""
    cast, hint, size = scaled(scale)
    return (halves(), {**changed, "size": size}), (cast, {**changed, "hint": hint, "size": size})


ALIKE = {
    "a box of everything": ((boxed((0, 0, WIDTH, HEIGHT)), BOXES), (boxed((0, 0, WIDTH, HEIGHT)), {})),
    "one person has no region": (
        (boxed(BOX, mask=torch.eye(HEIGHT, WIDTH)), BOXES), (boxed(BOX), BOXES)
    ),
    "an identity is a cast of one": ((one().people[0].identity, {}), (one(), {})),
    "the adapter alone needs no ControlNet": ((halves(), {**ALONE, "net": None, "hint": None}), (halves(), ALONE)),
    "masks are stretched over the latent": (
        (one(), {**AREA, **ALONE, "mask": UPPER}),
        (one(), {**AREA, **ALONE, "mask": torch.nn.functional.interpolate(UPPER[None], size=(HEIGHT, WIDTH))[0]}),
    ),
    "1.5 times the size": at(1.5),
    "twice the size": at(2),
    "an area of 1.5 times the size": at(1.5, **SCALED_AREA, **ALONE),
}  # fmt: skip


@pytest.mark.parametrize("what", ALIKE)
def test_the_same_picture_in_two_ways(host, instant_id, what, caplog):
    def drawn(cast, given):
        net, size = given.get("net", host[1]), given.get("size", (WIDTH, HEIGHT))
        changed = {name: value for name, value in given.items() if name not in ("net", "size")}
        return sample(*apply((host[0], net), instant_id, cast, **changed), steps=2, size=size)

    first, second = ALIKE[what]
    assert torch.equal(drawn(*first), drawn(*second))
    assert caplog.text.count(" are scaled ") == ("the size" in what), "the size of the canvas needs no word"


# Regions, boxes, areas


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


def test_every_picture_of_a_batch_can_have_its_own_keypoints(host, instant_id):
    hints = torch.cat([HINT, HINT.flip(2)])
    own, alone = (sample(*apply(host, instant_id, one(), hint=hint), batch=2) for hint in (hints, HINT))
    assert torch.allclose(own[0], alone[0], atol=1e-4) and not torch.allclose(own[1], alone[1], atol=1e-2)


def test_a_second_node_on_one_model(host, instant_id):
    """On the same conditioning it adds somebody, on another prompt it has its own person: both find the same MODEL."""
    left = torch.zeros(1, HEIGHT, WIDTH)
    left[..., : WIDTH // 2] = 1
    first = apply(host, instant_id, one(1), [text(1, mask=left)], **ALONE)
    both = apply(host, instant_id, one(2), *first[1:], model=first[0], **ALONE)
    beside = apply(host, instant_id, one(2), [text(3, mask=1 - left)], model=first[0], **ALONE)
    assert both[0] is beside[0] is first[0]
    alone, added, joined = sample(*first), sample(*both), sample(first[0], first[1] + beside[1], first[2])
    assert not torch.equal(added, alone) and not torch.equal(joined, alone) and joined.isfinite().all()


def test_a_negative_weight_takes_away_what_a_positive_one_adds(host, instant_id):
    """Per layer the same numbers with the other sign; a little of it turns the picture the other way."""
    less, more = (apply(host, instant_id, one(), adapter_weight=weight, **ALONE) for weight in (-0.01, 0.01))
    found = [applied[1][0][1]["model_conds"][Injection.key].cond[0].layers for applied in (less, more)]
    for (keys, values), (same, opposite) in zip(*found, strict=True):
        assert torch.equal(keys, same) and torch.equal(values, -opposite)
    none = sample(host[0], [text(1)], [text(2)], steps=1)
    down, up = (sample(*applied, steps=1) - none for applied in (less, more))
    assert torch.nn.functional.cosine_similarity(down.flatten(), up.flatten(), dim=0) < -0.9


def test_regions_are_shown_on_the_node(host, instant_id):
    """The places' own, those derived from face boxes, and those of the mask input."""
    blue, dark, orange = (torch.tensor(rgb) / 255 for rgb in ((53, 101, 130), (20, 22, 26), (125, 90, 13)))
    faces = PlacedCast(tuple(replace(p, slot=replace(p.slot, mask=None)) for p in halves().people), WIDTH, HEIGHT)
    masks = torch.stack([person.slot.mask for person in halves().people]).flip(0)
    whole = Cast((person("left", face(1)),))
    for cast, changed, colours in (
        (boxed((10, 20, 50, 90)), BOXES, {(80, 30): blue, (5, 100): dark}),
        (halves(), {}, {(90, 5): blue, (90, 120): orange}),
        (faces, {"region_margin": 0.0, "feather": 0}, {(55, 14): blue, (90, 5): dark}),
        (halves(), {"mask": masks}, {(90, 5): orange}),
        (whole, {"mask": masks[1:]}, {(90, 5): blue}),
        (one(), {}, None),  # without a mask one person is read everywhere
    ):
        given = {**DEFAULTS, **ALONE, **changed}
        output = ApplyInstantID.execute(host[0], [text(1)], [text(2)], instant_id, host[1], cast, HINT, **given)
        if colours is None:
            assert output.ui is None
            continue
        (picture,) = shown(output)
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert all(torch.allclose(picture[where], colour, atol=0.01) for where, colour in colours.items())


# ControlNets and MODELs of others


def test_a_chained_control_net_keeps_the_text(host, instant_id):
    """A depth net before IdentityNet and one after it read the prompt; IdentityNet reads the face."""
    contexts = []
    keys = next(layer for name, layer in host[1].control_model.named_modules() if name.endswith("attn2.to_k"))
    hook = keys.register_forward_pre_hook(lambda _, given: contexts.append(given[0].shape[1]))

    def depth(previous):
        net = host[1].copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH), 0.5, (0.0, 1.0))
        return net.set_previous_controlnet(previous)

    before = depth(None)
    model, *sides = apply(host, instant_id, one(), [text(1, control=before)], [text(2, control=before)])
    after = depth(sides[0][0][1]["control"])
    for side in sides:
        side[0][1]["control"] = after
    sample(model, *sides, steps=1)
    hook.remove()
    assert contexts == [77, 16, 77]


@pytest.mark.parametrize("name", NODES)
def test_host_nodes_before_or_after_lose_nothing(host, instant_id, name):
    """That each acts, and ours beside it: tests/promises/test_other_packs.py."""

    def picture(*applied, **kwargs):
        torch.manual_seed(0)  # HyperTile draws its tiles from the global generator
        return sample(*applied, steps=1, **kwargs)

    model, *sides = apply(host, instant_id, halves())
    alone = picture(model, *sides)
    behind = picture(patch(name, model), *sides)
    assert torch.equal(behind, picture(*apply(host, instant_id, halves(), model=patch(name, host[0]))))
    assert difference(behind, picture(patch(name, host[0]), [text(1)], [text(2)])) > 0.05, "ours works"
    assert torch.equal(picture(model, *sides), alone), "nothing of theirs is left"
    assert picture(patch(name, model), *sides, batch=2, cfg=1.0).isfinite().all()


def test_a_middle_block_called_1_is_asked_for_by_nobody(host):
    """As ComfyUI_InstantID's apply node calls it: 10 of SDXL's 70 layers, see docs/coming_from_comfyui_instantid.md."""

    def silenced(number):
        clone = host[0].clone()
        for index in range(10):
            clone.set_model_attn2_replace(lambda q, k, v, extra_options: q * 0, "middle", number, index)
        return sample(clone, [text(1)], [text(2)], steps=1)

    plain = sample(host[0], [text(1)], [text(2)], steps=1)
    assert torch.equal(silenced(1), plain) and difference(silenced(0), plain) > 0.01
    sdxl = real.unet(real.SDXL.config, real.SDXL.shape, "meta", torch.float16)
    blocks = [name for name, *_ in transformers(sdxl.diffusion_model)]
    assert (len(blocks), blocks.count("middle")) == (70, 10)


def test_fp8_weights(instant_id):
    """Stored as float8 and computed in float32: the same picture as with the same rounded weights in float32."""
    unet = tiny_sdxl.diffusers_unet()
    net = tiny_sdxl.diffusers_control_net(unet, 172)
    for parameter in (*unet.parameters(), *net.parameters()):
        parameter.data = parameter.data.to(FP8).float()
    rounded = tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(net)
    config = comfy.supported_models.SDXL(dict(tiny_sdxl.HOST_CONFIG))
    config.set_inference_dtype(FP8, torch.float32)
    model = config.get_model({})
    model.diffusion_model.load_state_dict(rounded[0].model.diffusion_model.state_dict())
    shape = {k: v for k, v in tiny_sdxl.HOST_CONFIG.items() if k not in ("out_channels", "transformer_depth_output")}
    control = comfy.cldm.cldm.ControlNet(
        **shape, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=FP8, operations=comfy.ops.manual_cast
    )
    control.load_state_dict(rounded[1].control_model.state_dict())
    stored = (
        type(rounded[0])(model, load_device=CPU, offload_device=CPU),
        comfy.controlnet.ControlNet(control.eval(), load_device=CPU, manual_cast_dtype=torch.float32),
    )
    drawn, expected = (sample(*apply(each, instant_id, halves()), steps=2) for each in (stored, rounded))
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


# What is said

LEFT, RIGHT = halves().people
SMALL = r"Face boxes small: 1 {} px on the canvas; coarse layers need 32: "
SAID = {
    "watermarks": (one(), {**ALONE, "hint": torch.ones(1, 1024, 1024, 3)}, ["Watermarks .* exactly 1024x1024"]),
    "stretched masks": (halves(), {**ALONE, "mask": torch.stack([LEFT.slot.mask, RIGHT.slot.mask])[:, ::2, ::2]},
                        ["Masks stretched: 64x48 px over the canvas, 128x96 px"]),
    # A second note would take the place of the first under the node.
    "all at once": (PlacedCast((LEFT, replace(RIGHT, weight=0.0)), WIDTH, HEIGHT),
                    {**ALONE, "hint": torch.ones(1, 1024, 1024, 3)}, [r"left out: right\n.*exactly 1024x1024"]),
    "small, of regions": (boxed((10, 10, 30, 60)), ALONE, []),
    "small boxes": (boxed((10, 10, 30, 60)), {**ALONE, **BOXES}, [SMALL.format("20x50")]),
    "boxes that are cut": (boxed((-80, 10, 9, 60)), {**ALONE, **BOXES}, [SMALL.format("9x50")]),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_what_is_right_but_could_be_better_is_said(host, instant_id, what, caplog):
    cast, changed, said = SAID[what]
    apply(host, instant_id, cast, **changed)
    found = caplog.messages
    assert len(found) == len(said) and all(map(re.search, said, found))


def test_what_a_run_says(host, instant_id, caplog):
    applied = apply(host, instant_id, one())
    sample(*apply(host, instant_id, one(), hint=resized(HINT, 135, 101)), steps=1)  # no multiple of 8
    assert not caplog.text
    sample(*applied, steps=1, cfg=7.5)
    assert "CFG 7.5 burns colours: InstantID was made for 4 to 5, and is fine up to 6" in caplog.text
    sample(*applied, steps=1, size=(64, 48))
    assert caplog.text.count("Latent 64x48, canvas of Apply InstantID (Likeness) 128x96 px") == 1


# What is refused

NOWHERE = Cast((person("a", face(1)), person("b", face(2))))
HERE = slot(10, 10, 30, 30)
SD15 = [[torch.zeros(1, 77, 768), {}]]
WIDE = " 256x96 px.*Apply InstantID.* 128x96 px"
REFUSED = {
    "no places": (NotPlaced, r"Apply InstantID \(Likeness\) .* a, b have", NOWHERE, {}),
    "one place for two": (
        regions.BadRegion, "a and b .*same region",
        PlacedCast(tuple(person(n, face(1), HERE) for n in "ab"), WIDTH, HEIGHT), {},
    ),
    "off the canvas": (
        regions.BadRegion, "region of b .*empty or .*off the canvas",
        PlacedCast((person("a", face(1), HERE), person("b", face(2), slot(900, 10, 930, 30))), WIDTH, HEIGHT), {},
    ),
    "boxes of nobody": (NotPlaced, r"acts_in at face boxes needs .*person 1 has no place", one(), BOXES),
    "a black image": (NoKeypoints, "no face in the keypoints image", one(), {"hint": torch.zeros(1, 8, 8, 3)}),
    "another canvas": (errors.BadSize, "64x64 px.* 128x96", halves(), {"hint": torch.ones(1, 64, 64, 3)}),
    "SD1.5's text": (
        errors.WrongBaseModel, r"conditioning .*Apply InstantID .*SD1\.5", one(), {"positive": SD15, "negative": SD15},
    ),
    "no net": (IdentityNetMissing, r" 0\.8, .* to control_net\. .*control_strength to 0", one(), {"net": None}),
    "no image": (IdentityNetMissing, r"to image\.", one(), {"hint": None}),
    "neither": (IdentityNetMissing, r"to control_net and image\.", one(), {"net": None, "hint": None}),
    "no ControlNet": (
        NotAControlNet, "T2IAdapter.*IdentityNet .*SDXL ControlNet", one(),
        {"net": comfy.controlnet.T2IAdapter(torch.nn.Identity(), 3, 8, "nearest-exact")},
    ),
    "a wide latent, keypoints": (errors.BadSize, WIDE, one(), {}),
    "a wide latent, both": (errors.BadSize, WIDE, halves(), {}),
    "a wide latent, regions": (errors.BadSize, WIDE, halves(), ALONE),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(host, instant_id, what):
    error, message, cast, given = REFUSED[what]
    net, changed = given.get("net", host[1]), {name: value for name, value in given.items() if name != "net"}
    with pytest.raises(error, match=message):
        applied = apply((host[0], net), instant_id, cast, **changed)
        assert what.startswith("a wide latent"), "before the run"
        sample(*applied, size=(256, 96))


def test_a_file_of_fewer_layers(host, tmp_path):
    file = instant_id_file([64] * 16)
    torch.save(file, tmp_path / "fewer.bin")
    with pytest.raises(AdapterMismatch, match=r"16 .*layers .*MODEL .*SDXL, 17 layers"):
        apply(host, load_instant_id(str(tmp_path / "fewer.bin")), one())


def test_a_union_control_net(host, instant_id, monkeypatch):
    applied = apply(host, instant_id, one())
    monkeypatch.setattr(host[1].control_model, "control_add_embedding", object())
    with pytest.raises(NotAControlNet, match="got a union ControlNet"):
        sample(*applied, steps=1)


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
