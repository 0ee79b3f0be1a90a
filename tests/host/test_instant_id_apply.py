"""Apply InstantID in the real host: regions, other packs, order of runs, and every way to misuse it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import comfy.controlnet
import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import pytest
import tiny_sdxl
import torch
from comfy.ldm.modules.attention import optimized_attention
from instant_id_made import DEFAULTS, person
from instant_id_run import HEIGHT, HINT, KEYPOINTS, WIDTH, apply, face, halves, one, sample, slot, text
from other_packs import KEYS, adapter_pack
from pack.bridge import unet
from pack.bridge.carried import put
from pack.bridge.cross_attention import Place
from pack.bridge.injections import Addition, Injection
from pack.bridge.scopes import AdapterMismatch
from pack.bridge.token_control_net import NotAControlNet
from pack.core import errors
from pack.core.people import Cast, Layout, NotPlaced, PlacedCast, RowCast, Slot
from pack.core.places import regions
from pack.core.places.control_images import NoKeypoints
from pack.nodes.control_images import FaceKeypointsImage
from pack.nodes.instant_id.net import unconditional
from pack.nodes.instant_id.nodes import ApplyInstantID, IdentityNetMissing, load_instant_id
from PIL import Image
from seeded import instant_id_file


@pytest.fixture(scope="module")
def host():
    unet = tiny_sdxl.diffusers_unet()
    return tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(unet, 172))


@pytest.fixture(scope="module")
def file(host):
    return instant_id_file([width for *_, width in unet.attention_layers(host[0])])


@pytest.fixture(scope="module")
def instant_id(file, tmp_path_factory):
    path = tmp_path_factory.mktemp("instantid") / "ip-adapter.bin"
    torch.save(file, path)
    return load_instant_id(str(path))


def test_weight_zero_equals_a_cast_without_that_person(host, instant_id):
    both = halves()
    absent = PlacedCast((both.people[0], person("right", face(2), both.people[1].slot, weight=0.0)), WIDTH, HEIGHT)
    alone = PlacedCast(both.people[:1], WIDTH, HEIGHT)
    assert torch.equal(sample(*apply(host, instant_id, absent)), sample(*apply(host, instant_id, alone)))


# Regions


def test_two_disjoint_regions_are_single_person_attention_in_every_layer(host, instant_id, monkeypatch):
    """Inside each region, away from nothing: exact, at every layer of the UNet."""
    seen = []
    attended = Addition.attended

    def compare(addition, q, layer, grid, attend, whose):
        together = attended(addition, q, layer, grid, attend, whose)
        height, width = grid
        columns = torch.arange(width).repeat(height)
        for who, inside in ((0, columns < width // 2), (1, columns >= width // 2)):
            keys, values = (
                torch.cat([i.layers[layer][side][who : who + 1] for i in addition.injections]) for side in (0, 1)
            )
            alone = attend(q, keys, values)
            seen.append(torch.equal(together[:, inside], alone[:, inside]))
        return together

    monkeypatch.setattr(Addition, "attended", compare)
    sample(*apply(host, instant_id, halves()), steps=1)
    assert len(seen) == 2 * len(unet.attention_layers(host[0])) and all(seen)


@pytest.mark.parametrize("kind", [PlacedCast, RowCast])
def test_a_layer_left_out_does_what_it_did(host, instant_id, kind):
    """To the bit what zeros would give, also beside an adapter that is heard in every layer."""
    model, *heard = apply(host, instant_id, kind(halves().people, WIDTH, HEIGHT), control_strength=0.0)
    others = apply(host, instant_id, kind(halves().people[::-1], WIDTH, HEIGHT), control_strength=0.0)[1:]

    def picture(silent, sides):
        added = []
        for side, other in zip(sides, others, strict=True):
            (injection,) = other[0][1]["model_conds"][Injection.key].cond
            layers = tuple(pair if n % 3 == 1 else silent(*pair) for n, pair in enumerate(injection.layers))
            added.append(put(side, replace(injection, layers=layers)))
        return sample(model, *added, batch=2)

    for sides in (heard, ([text(1)], [text(2)])):
        left_out = picture(lambda *_: None, sides)
        assert torch.equal(left_out, picture(lambda keys, values: (keys, 0 * values), sides))
        assert not torch.equal(left_out, picture(lambda *pair: pair, sides))


def test_an_empty_region_adds_nothing_there(host, instant_id):
    """Half of the picture belongs to nobody: there the adapter adds zero."""
    cast = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    _, positive, _ = apply(host, instant_id, cast, mask=halves().people[0].slot.mask[None], control_strength=0.0)
    injection = positive[0][1]["model_conds"][Injection.key].cond[0]
    q = torch.randn(1, 12 * 16, 128)

    def attend(q, k, v):
        return optimized_attention(q, k, v, 2)

    grid, place = (12, 16), Place(1, frozenset({(12, 16)}), torch.device("cpu"), torch.float32)
    added = Addition((injection,), place).attended(q, 0, grid, attend)[0].unflatten(0, grid)
    assert added[:, :8].abs().min() > 0 and not added[:, 8:].any()


def test_four_people_by_regions_and_a_batch(host, instant_id):
    boxes = [(4, 8, 28, 40), (36, 8, 60, 40), (68, 8, 92, 40), (100, 8, 124, 40)]
    cast = PlacedCast(tuple(person(str(n), face(n), slot(*box)) for n, box in enumerate(boxes)), WIDTH, HEIGHT)
    swapped = PlacedCast(tuple(person(str(n), face(3 - n), slot(*box)) for n, box in enumerate(boxes)), WIDTH, HEIGHT)
    results = [sample(*apply(host, instant_id, c), batch=2) for c in (cast, swapped)]
    assert all(r.isfinite().all() for r in results) and not torch.equal(*results)


# Inside the face boxes alone


def boxed(*boxes, mask=None):
    people = (person(str(n), face(n), slot(*box, mask)) for n, box in enumerate(boxes, 1))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def test_a_box_of_everything_is_no_box_and_regions_stay_as_they_are(host, instant_id):
    """A, B, A: both choices find the same networks."""
    here, everywhere = boxed((20, 10, 70, 60)), boxed((0, 0, WIDTH, HEIGHT))
    first = sample(*apply(host, instant_id, here, acts_in=None))  # as from a node that was bypassed
    inside = sample(*apply(host, instant_id, here, acts_in="face boxes"))
    assert not torch.allclose(inside, first, atol=1e-2)
    for again in (apply(host, instant_id, here), apply(host, instant_id, everywhere, acts_in="face boxes")):
        assert torch.equal(sample(*again), first)
    own = boxed((20, 10, 70, 60), mask=torch.eye(HEIGHT, WIDTH))
    assert torch.equal(sample(*apply(host, instant_id, own, acts_in="face boxes")), inside), "one person has no region"


def controls(host, applied, **kwargs):
    """What the first forward of a sampling gets from its ControlNets: 9 residuals and the one in the middle."""
    seen = []

    def look(_, args, given):
        control = given.get("control") or args[4]
        seen.append([*control["output"], *control["middle"]])  # copied: the forward pops them from these lists

    hook = host[0].model.diffusion_model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        sample(*applied, steps=1, **kwargs)
    finally:
        hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("width", "height", "batch"), [(128, 96, 1), (136, 104, 2)], ids=["128x96 px", "sides that no layer divides"]
)
def test_residuals_are_those_of_identity_net_inside_the_box(host, instant_id, width, height, batch):
    cast = PlacedCast((person("her", face(1), slot(24.7, 13, 71.2, 60)),), width, height)
    hint = HINT.new_ones(1, height, width, 3)
    whole, inside = (
        controls(host, apply(host, instant_id, cast, hint=hint, adapter_weight=0.0, acts_in=where), batch=batch,
                 size=(width, height))
        for where in ("regions", "face boxes")
    )  # fmt: skip
    mask = torch.zeros(1, 1, height, width)
    mask[..., 13:60, 24:71] = 1
    assert len(whole) == 10
    for everywhere, there in zip(whole, inside, strict=True):
        share = torch.nn.functional.interpolate(mask, size=there.shape[-2:], mode="bilinear")
        assert len(there) == 2 * batch and torch.equal(there, everywhere * share) and there.any()


def test_outside_of_all_regions_identity_net_reads_nobody(host, instant_id):
    """As if the negative's embedding were a person: the region is a pixel that no layer looks at."""
    speck = torch.zeros(1, HEIGHT, WIDTH)
    speck[0, 1, 1] = 1
    noise = {"adapter_weight": 0.0, "negative_noise": 0.3, "noise_seed": 5}
    nobody = Cast((person("nobody", unconditional(0.3, 5, 512)[0]),))
    outside, everywhere, meant = (
        controls(host, apply(host, instant_id, cast, **noise, **changed))
        for cast, changed in ((one(), {"mask": speck}), (nobody, {}), (one(), {}))
    )
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(outside, everywhere, strict=True))
    assert not torch.allclose(outside[-1], meant[-1], atol=1e-3)


def test_everybody_of_a_cast_by_row_has_a_box_of_their_own(host, instant_id):
    boxes = [(10, 10, 50, 60), (60, 30, 120, 90)]
    rows = RowCast(boxed(*boxes).people, WIDTH, HEIGHT)
    hints = torch.cat([HINT, HINT.flip(2)])
    options = {**DEFAULTS, "acts_in": "face boxes"}
    output = ApplyInstantID.execute(host[0], [text(1)], [text(2)], instant_id, host[1], rows, hints, **options)
    assert len(output.ui.as_dict()["images"]) == 2, "a picture each is shown"
    together = sample(*output.args, batch=2)
    start = torch.randn(2, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7)) * 14
    for row, box in enumerate(boxes):
        alone = PlacedCast((replace(rows.people[row], slot=slot(*box)),), WIDTH, HEIGHT)
        applied = apply(host, instant_id, alone, hint=hints[row : row + 1], acts_in="face boxes")
        expected = sample(*applied, start=start[row : row + 1])
        assert (together[row] - expected[0]).abs().max() <= 1e-5 * expected.abs().max()


def test_face_boxes_that_nobody_can_use(host, instant_id, caplog):
    refused(NotPlaced, r"Apply InstantID \(Likeness\) with acts_in at face boxes needs .*person 1 has no place",
            host, instant_id, one(), acts_in="face boxes")  # fmt: skip
    refused(regions.BadRegion, "region of 2 .*has no pixel on the canvas of 128x96 px", host, instant_id,
            boxed((10, 10, 50, 50), (10, 97, 50, 120)), acts_in="face boxes")  # fmt: skip
    caplog.clear()
    apply(host, instant_id, boxed((10, 10, 30, 60)), control_strength=0.0)
    assert not caplog.text
    apply(host, instant_id, boxed((10, 10, 30, 60)), control_strength=0.0, acts_in="face boxes")
    assert "Face boxes small: 1 20x50 px on the canvas; coarse layers need 32: " in caplog.text
    apply(host, instant_id, boxed((-80, 10, 9, 60)), control_strength=0.0, acts_in="face boxes")
    assert "Face boxes small: 1 9x50 px on the canvas; " in caplog.text


def test_regional_prompts_choose_their_own_person(host, instant_id):
    """Two prompts with masks, each through its own apply node on one MODEL: the second finds the model patched."""
    left = torch.zeros(1, HEIGHT, WIDTH)
    left[..., : WIDTH // 2] = 1
    model, first, negative = apply(host, instant_id, one(1), [text(1, mask=left)], control_strength=0.0)
    again, second, _ = apply(host, instant_id, one(2), [text(3, mask=1 - left)], model=model, control_strength=0.0)
    assert again is model
    together = sample(model, first + second, negative)
    assert together.isfinite().all() and not torch.equal(together, sample(model, first, negative))


def test_two_apply_nodes_on_one_conditioning_add_up(host, instant_id):
    first = apply(host, instant_id, one(1), control_strength=0.0)
    both = apply(host, instant_id, one(2), first[1], first[2], model=first[0], control_strength=0.0)
    assert not torch.equal(sample(*both), sample(*first))


def test_an_area_sees_its_own_part_of_the_regions(host, instant_id):
    area = [text(1, area=(HEIGHT // 8, WIDTH // 16, 0, WIDTH // 16), strength=1.0), text(4)]
    positive = apply(host, instant_id, halves(), area, control_strength=0.0)[1]
    injection = positive[0][1]["model_conds"][Injection.key].cond[0]
    regions = injection.cropped((HEIGHT // 8, WIDTH // 16, 0, WIDTH // 16), (HEIGHT // 8, WIDTH // 8)).regions
    assert regions.shape == (2, HEIGHT, WIDTH // 2) and not regions[0].any() and regions[1].all()
    assert sample(*apply(host, instant_id, halves(), area, control_strength=0.0)).isfinite().all()
    # Face boxes alone: the right half has the box at 70 to 110 of 128 px.
    inside = apply(host, instant_id, halves(), area, acts_in="face boxes")
    injection = inside[1][0][1]["model_conds"][Injection.key].cond[0]
    boxes = injection.cropped((HEIGHT // 8, WIDTH // 16, 0, WIDTH // 16), (HEIGHT // 8, WIDTH // 8)).boxes
    assert boxes.shape == (2, HEIGHT, WIDTH // 2) and not boxes[0].any()
    assert boxes[1, 20:60, 6:46].all() and boxes[1].count_nonzero() == 40 * 40
    assert sample(*inside).isfinite().all()


# Latents of another size than the canvas


def scaled_to(width, height):
    """halves() and its hint at another size, pixel by pixel as the host scales a hint."""

    def larger(picture, mode):
        return comfy.utils.common_upscale(picture[None, None], width, height, mode, "disabled")[0, 0]

    people = [replace(p, slot=replace(p.slot, mask=larger(p.slot.mask, "nearest"))) for p in halves().people]
    hint = comfy.utils.common_upscale(HINT.movedim(-1, 1), width, height, "nearest-exact", "disabled").movedim(1, -1)
    return PlacedCast(tuple(people), width, height), hint


@pytest.mark.parametrize("scale", [1.5, 2])
def test_keypoints_and_regions_follow_a_scaled_latent(host, instant_id, caplog, scale):
    size = int(WIDTH * scale), int(HEIGHT * scale)
    scaled = sample(*apply(host, instant_id, halves()), size=size)
    said = (
        f"Latent {size[0]}x{size[1]}, canvas of Apply InstantID (Likeness) 128x96 px: all people are scaled {scale} "
        "times, with keypoints and regions."
    )
    assert caplog.text.count(said) == 1
    cast, hint = scaled_to(*size)
    assert torch.equal(scaled, sample(*apply(host, instant_id, cast, hint=hint), size=size))
    assert caplog.text.count("are scaled") == 1, "the size of the canvas needs no word"


def test_an_area_sees_its_own_part_of_the_regions_in_a_scaled_latent(host, instant_id):
    area = [text(1, area=(18, 10, 0, 14)), text(4)]
    size = int(WIDTH * 1.5), int(HEIGHT * 1.5)
    cast, hint = scaled_to(*size)
    found, expected = (
        sample(*apply(host, instant_id, who, area, control_strength=0.0, hint=drawn), size=size)
        for who, drawn in ((halves(), HINT), (cast, hint))
    )
    assert torch.equal(found, expected)


def test_masks_of_any_resolution_with_an_area(host, instant_id):
    """Without a canvas, masks are stretched over the latent, and an area sees its part of them."""
    mask = torch.ones(1, 32, 32)
    mask[0, 16:] = 0
    area = [text(1, area=(6, 8, 6, 8))]
    found, expected = (
        sample(*apply(host, instant_id, one(), area, mask=masks, control_strength=0.0))
        for masks in (mask, torch.nn.functional.interpolate(mask[None], size=(HEIGHT, WIDTH))[0])
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("cast", "changed"), [(one(), {}), (halves(), {}), (halves(), {"control_strength": 0.0})],
    ids=["keypoints", "both", "regions"],
)  # fmt: skip
def test_a_latent_of_another_shape(host, instant_id, cast, changed):
    message = " 256x96 px.*Apply InstantID.* 128x96 px"
    with pytest.raises(errors.BadSize, match=message):
        sample(*apply(host, instant_id, cast, **changed), size=(256, 96))


def test_a_canvas_that_is_no_multiple_of_8(host, instant_id, caplog):
    hint = comfy.utils.common_upscale(HINT.movedim(-1, 1), 135, 101, "nearest-exact", "disabled").movedim(1, -1)
    assert sample(*apply(host, instant_id, one(), hint=hint)).isfinite().all() and not caplog.text
    sample(*apply(host, instant_id, one()), size=(64, 48))
    assert caplog.text.count("Latent 64x48, canvas of Apply InstantID (Likeness) 128x96 px") == 1


# Beside others


def test_a_chained_control_net_keeps_the_text(host, instant_id):
    """A depth net before IdentityNet and one after it read the prompt; IdentityNet reads the face."""
    contexts = []
    keys = next(layer for name, layer in host[1].control_model.named_modules() if name.endswith("attn2.to_k"))
    hook = keys.register_forward_pre_hook(lambda _, given: contexts.append(given[0].shape[1]))

    def depth(previous):
        net = host[1].copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH), 0.5, (0.0, 1.0))
        return net.set_previous_controlnet(previous)

    before = depth(None)
    model, positive, negative = apply(host, instant_id, one(), [text(1, control=before)], [text(2, control=before)])
    after = depth(positive[0][1]["control"])
    for side in (positive, negative):
        side[0][1]["control"] = after
    sample(model, positive, negative, steps=1)
    hook.remove()
    assert contexts == [77, 16, 77]


@pytest.mark.parametrize("keys", KEYS)
def test_other_packs_before_or_after_lose_nothing(host, instant_id, keys):
    ours = apply(host, instant_id, one())
    before = sample(*apply(host, instant_id, one(), model=adapter_pack(host[0], keys)))
    assert torch.equal(sample(adapter_pack(ours[0], keys), *ours[1:]), before)
    assert not torch.allclose(before, sample(*ours)), "theirs works"
    assert not torch.allclose(before, sample(adapter_pack(host[0], keys), [text(1)], [text(2)])), "ours works"


def test_what_others_add_downstream_does_not_leak_back(host, instant_id):
    """The host caches our output; another pack's node on a clone of it must leave that output as it was."""
    ours = apply(host, instant_id, one())
    first = sample(*ours)
    adapter_pack(ours[0])
    adapter_pack(ours[0].clone().clone())
    assert torch.equal(sample(*ours), first)


def test_a_lora_on_the_model_changes_nothing_of_the_faces(host, instant_id):
    key = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_q.weight"
    with_lora = host[0].clone()
    with_lora.add_patches({key: (torch.randn(128, 128) * 0.01,)}, 1.0, 1.0)
    before = apply(host, instant_id, one(), model=with_lora)
    after = apply(host, instant_id, one())
    after[0].add_patches({key: before[0].patches[key][0][1]}, 1.0, 1.0)
    assert torch.equal(sample(*before), sample(*after))


def test_cfg_one_and_long_prompts(host, instant_id):
    applied = apply(host, instant_id, halves(), [text(1, tokens=154)])
    assert sample(*applied).isfinite().all() and sample(*applied, cfg=1.0).isfinite().all()


def test_every_picture_of_a_batch_can_have_its_own_keypoints(host, instant_id):
    hints = torch.cat([HINT, HINT.flip(2)])
    latents = sample(*apply(host, instant_id, one(), hint=hints), batch=2)
    alone = sample(*apply(host, instant_id, one(), hint=HINT), batch=2)
    assert torch.allclose(latents[0], alone[0], atol=1e-4) and not torch.allclose(latents[1], alone[1], atol=1e-2)


def test_noise_in_the_negative_has_its_own_seed(host, instant_id):
    state = torch.get_rng_state()
    noisy = [apply(host, instant_id, one(), negative_noise=0.35, noise_seed=seed)[2] for seed in (1, 1, 2)]
    tokens = [n[0][1]["model_conds"][Injection.key].cond[0].tokens for n in noisy]
    assert torch.equal(tokens[0], tokens[1]) and not torch.equal(tokens[0], tokens[2])
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers change"


def test_notes_where_the_result_is_right_but_could_be_better(host, instant_id, caplog):
    applied = apply(host, instant_id, one(), control_strength=0.0, hint=torch.ones(1, 1024, 1024, 3))
    assert "Watermarks are likely at exactly 1024x1024" in caplog.text and "CFG" not in caplog.text
    sample(*applied, steps=1, cfg=7.5)
    assert "CFG 7.5 burns colours: InstantID was made for 4 to 5, and is fine up to 6" in caplog.text
    masks = torch.stack([person.slot.mask for person in halves().people])[:, ::2, ::2]
    apply(host, instant_id, halves(), control_strength=0.0, mask=masks)
    assert "Masks stretched: 64x48 px over the canvas, 128x96 px" in caplog.text


def test_all_that_is_to_be_said_is_said_at_once(host, instant_id, caplog):
    """A second note would take the place of the first under the node."""
    left, right = halves().people
    apply(host, instant_id, PlacedCast((left, replace(right, weight=0.0)), WIDTH, HEIGHT), control_strength=0.0,
          hint=torch.ones(1, 1024, 1024, 3))  # fmt: skip
    (told,) = caplog.messages
    assert told.splitlines()[0] == "Weight 0, left out: right" and "exactly 1024x1024" in told.splitlines()[1]


def shown(output):
    """The picture that the node shows, (H, W, 3) 0..1; None where it shows none."""
    if output.ui is None:
        return None
    (image,) = output.ui.as_dict()["images"]
    path = Path(folder_paths.get_temp_directory()) / image["subfolder"] / image["filename"]
    return torch.from_numpy(np.array(Image.open(path))).float() / 255


def test_regions_are_shown_on_the_node(host, instant_id):
    """The places' own, those derived from face boxes, and those of the mask input."""

    def run(cast, **changed):
        options = {**DEFAULTS, "control_strength": 0.0, **changed}
        return shown(ApplyInstantID.execute(host[0], [text(1)], [text(2)], instant_id, host[1], cast, HINT, **options))

    inside = run(boxed((10, 20, 50, 90)), acts_in="face boxes")
    blue, dark = (torch.tensor(rgb) / 255 for rgb in ((53, 101, 130), (20, 22, 26)))
    assert torch.allclose(inside[80, 30], blue, atol=0.01) and torch.allclose(inside[5, 100], dark, atol=0.01)
    assert run(one()) is None, "one person without a mask is read everywhere"
    own = run(halves())
    assert own.shape == (HEIGHT, WIDTH, 3)
    orange = torch.tensor((125, 90, 13)) / 255
    assert torch.allclose(own[90, 5], blue, atol=0.01) and torch.allclose(own[90, 120], orange, atol=0.01)
    faces = PlacedCast(tuple(replace(p, slot=replace(p.slot, mask=None)) for p in halves().people), WIDTH, HEIGHT)
    derived = run(faces, region_margin=0.0, feather=0)
    assert torch.allclose(derived[55, 14], blue, atol=0.01) and torch.allclose(derived[90, 5], dark, atol=0.01)
    masks = torch.stack([person.slot.mask for person in halves().people]).flip(0)
    assert torch.allclose(run(halves(), mask=masks)[90, 5], orange, atol=0.01)
    whole = Cast((person("left", face(1)),))
    assert torch.allclose(run(whole, mask=masks[1:])[90, 5], blue, atol=0.01)


# Less than the whole


def test_the_adapter_alone_needs_no_control_net(host, instant_id):
    """Bit for bit what it is with IdentityNet at strength 0."""
    whole = sample(*apply(host, instant_id, halves(), control_strength=0.0))
    alone = sample(*apply((host[0], None), instant_id, halves(), hint=None, control_strength=0.0))
    assert torch.equal(alone, whole)


@pytest.mark.parametrize(
    ("net", "hint", "missing"),
    [(False, True, "control_net"), (True, False, "image"), (False, False, "control_net and image")],
)
def test_identity_net_that_is_not_connected(host, instant_id, net, hint, missing):
    message = rf" 0\.8, .* to {missing}\. .*control_strength to 0"
    given = {"hint": HINT if hint else None}
    refused(IdentityNetMissing, message, (host[0], host[1] if net else None), instant_id, one(), **given)


def test_an_identity_is_a_cast_of_one(host, instant_id):
    whole = sample(*apply(host, instant_id, one()))
    assert torch.equal(sample(*apply(host, instant_id, one().people[0].identity)), whole)


def test_a_negative_weight_takes_away_what_a_positive_one_adds(host, instant_id):
    """Per layer the same numbers with the other sign; a little of it turns the picture the other way."""
    applied = {
        weight: apply(host, instant_id, one(), adapter_weight=weight, control_strength=0.0) for weight in (-0.01, 0.01)
    }
    less, more = (applied[weight][1][0][1]["model_conds"][Injection.key] for weight in (-0.01, 0.01))
    found = [side.cond[0].layers for side in (less, more)]
    for (keys, values), (same, opposite) in zip(*found, strict=True):
        assert torch.equal(keys, same) and torch.equal(values, -opposite)
    none = sample(host[0], [text(1)], [text(2)], steps=1)
    down, up = (sample(*applied[weight], steps=1) - none for weight in (-0.01, 0.01))
    assert torch.nn.functional.cosine_similarity(down.flatten(), up.flatten(), dim=0) < -0.9


# Bad input


def refused(error, message, *args, **changed):
    with pytest.raises(error, match=message):
        apply(*args, **changed)


def test_many_without_places_and_with_the_same_place(host, instant_id):
    two = Cast((person("a", face(1)), person("b", face(2))))
    refused(
        NotPlaced,
        r"Apply InstantID \(Likeness\) .* a, b have",
        host,
        instant_id,
        two,
    )
    same = PlacedCast(tuple(person(n, face(1), slot(10, 10, 30, 30)) for n in "ab"), WIDTH, HEIGHT)
    refused(regions.BadRegion, "a and b .*same region", host, instant_id, same)
    off = PlacedCast(
        (person("a", face(1), slot(10, 10, 30, 30)), person("b", face(2), slot(900, 10, 930, 30))), WIDTH, HEIGHT
    )
    refused(
        regions.BadRegion,
        "region of b .*empty or .*off the canvas",
        host,
        instant_id,
        off,
    )


def test_keypoint_images_that_cannot_be_right(host, instant_id):
    refused(
        NoKeypoints,
        "there is no face in the keypoints image",
        host,
        instant_id,
        one(),
        hint=torch.zeros(1, 8, 8, 3),
    )
    refused(errors.BadSize, "keypoints image .*64x64 px.* 128x96", host, instant_id, halves(),
            hint=torch.ones(1, 64, 64, 3))  # fmt: skip
    with pytest.raises(NoKeypoints, match="place 2 has no face keypoints"):
        FaceKeypointsImage.execute(layout=Layout(64, 64, (slot(1, 1, 9, 9), Slot((5.0, 5.0)))))
    with pytest.raises(NoKeypoints, match="places 1, 2 have no face keypoints"):
        FaceKeypointsImage.execute(layout=Layout(64, 64, (Slot((1.0, 1.0)), Slot((5.0, 5.0)))))
    with pytest.raises(NotPlaced, match="neither a cast nor a layout is connected"):
        FaceKeypointsImage.execute()


def test_other_models_are_refused_by_name(host, instant_id, file, tmp_path):
    fewer = {
        "image_proj": file["image_proj"],
        "ip_adapter": {k: v for k, v in file["ip_adapter"].items() if not k.startswith("33.")},
    }
    torch.save(fewer, tmp_path / "fewer.bin")
    other = load_instant_id(str(tmp_path / "fewer.bin"))
    refused(
        AdapterMismatch,
        "16 .*layers .*MODEL .*SDXL, 17 layers.*number",
        host,
        other,
        one(),
    )
    sd15 = [[torch.zeros(1, 77, 768), {}]]
    refused(
        errors.WrongBaseModel,
        r"conditioning .*Apply InstantID .*SD1\.5",
        host,
        instant_id,
        one(),
        positive=sd15,
        negative=sd15,
    )


def test_masks_stay_with_their_people_when_somebody_has_weight_zero(host, instant_id):
    masks = torch.zeros(3, HEIGHT, WIDTH)
    masks[0, :, :40], masks[1, :, 40:80], masks[2, :, 80:] = 1, 1, 1
    three = Cast(tuple(person(n, face(k), weight=w) for n, k, w in (("a", 1, 1.0), ("b", 2, 0.0), ("c", 3, 1.0))))
    two = Cast((three.people[0], three.people[2]))
    without = sample(*apply(host, instant_id, two, mask=masks[[0, 2]]))
    assert torch.equal(sample(*apply(host, instant_id, three, mask=masks)), without)
    refused(regions.BadRegion, "there are 2 masks for 3 people", host, instant_id, three, mask=masks[:2])


def test_people_of_weight_zero_have_no_keypoints(host, instant_id):
    first, second = halves().people
    moved = replace(second, slot=replace(second.slot, keypoints=tuple((x + 60, y) for x, y in KEYPOINTS)))
    drawn = [
        FaceKeypointsImage.execute(cast=PlacedCast(people, WIDTH, HEIGHT))[0]
        for people in ((first, replace(moved, weight=0.0)), (first,), (replace(first, weight=0.0),), (first, moved))
    ]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[2], drawn[1]) and not torch.equal(drawn[3], drawn[1])


def test_no_control_net(host, instant_id):
    other = comfy.controlnet.T2IAdapter(torch.nn.Identity(), 3, 8, "nearest-exact")
    message = "T2IAdapter.*IdentityNet .*SDXL ControlNet"
    refused(NotAControlNet, message, (host[0], other), instant_id, one())


def test_a_union_control_net(host, instant_id, monkeypatch):
    applied = apply(host, instant_id, one())
    monkeypatch.setattr(host[1].control_model, "control_add_embedding", object())
    with pytest.raises(NotAControlNet, match="got a union ControlNet"):
        sample(*applied, steps=1)
