"""Apply ID-Patch in the real host: who is served when, what stays untouched, and every way to misuse it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import comfy.model_management
import comfy.samplers
import comfy.utils
import folder_paths
import numpy as np
import people_made
import pytest
import tiny_sdxl
import torch
from pack.bridge.conditioning import append_tokens
from pack.core.errors import BadCast, BadPatches, BadSize, WrongBaseModel
from pack.core.identities import PHOTOS
from pack.core.people import Cast, NotPlaced, Person, PlacedCast, RowCast
from pack.core.places import bodies
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchImage, SequenceUnsupported, load_id_patch
from pack.nodes.places import PoseImage
from PIL import Image
from seeded import id_patch_file

import nodes

WIDTH, HEIGHT = 128, 96
CENTERS = [(40.0, 50.0), (90.0, 40.0)]
DEFAULTS = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "id_start_percent": 0.2, "photos": "mean"}


@pytest.fixture(scope="module")
def model_and_net():
    unet = tiny_sdxl.diffusers_unet()
    return tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(unet))


@pytest.fixture(scope="module")
def model(model_and_net):
    return model_and_net[0]


@pytest.fixture(scope="module")
def control_net(model_and_net):
    return model_and_net[1]


def text(seed, tokens=77, batch=1, **options):
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(batch, tokens, 2048, generator=generator)
    return [tensor, {"pooled_output": torch.randn(batch, 1280, generator=generator), **options}]


def apply(id_patch, control_net, cast, positive=None, negative=None, control=None, **changed):
    options = {**DEFAULTS, **changed}
    image = IDPatchImage.execute(id_patch, cast, options["photos"], control)[0]
    return ApplyIDPatch.execute(
        positive or [text(1)], negative or [text(2)], control_net, id_patch, cast, image, **options
    ).args


def hint(sides):
    """The picture that the ControlNet of the positive is given, (B, H, W, C)."""
    return sides[0][0][1]["control"].cond_hint_original.movedim(1, -1)


def sample(model, positive, negative, steps=3, batch=1, size=(WIDTH, HEIGHT), **kwargs):
    generator = torch.Generator().manual_seed(7)
    start = torch.randn(batch, 4, size[1] // 8, size[0] // 8, generator=generator) * 14
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    return tiny_sdxl.host_sample(model, start, sigmas, positive, negative, **kwargs)


def active(model, conditioning, sigma):
    """How many entries the host serves at this sigma: its own resolution of percentages and its own gate."""
    conds = [{**options, "model_conds": {}, "uuid": None} for _, options in conditioning]
    comfy.samplers.calculate_start_end_timesteps(model.model, conds)
    x = torch.zeros(1, 4, 8, 8)
    return sum(comfy.samplers.get_area_and_mult(c, x, sigma[None]) is not None for c in conds)


# The schedule


@pytest.mark.parametrize("id_start_percent", [0.0, 0.2, 1 / 3, 0.8, 1.0])
def test_every_sigma_of_every_schedule_is_served_exactly_once(model, id_start_percent):
    sampling = model.get_model_object("model_sampling")
    split = append_tokens([text(1)], torch.zeros(1, 16, 2048), 1, id_start_percent, "test")
    schedules = [
        comfy.samplers.calculate_sigmas(sampling, name, steps)[:-1]
        for name in comfy.samplers.SCHEDULER_NAMES
        for steps in (2, 6, 11, 50)
    ]
    at_percentages = torch.tensor([sampling.percent_to_sigma(k / 100) for k in range(1, 100)])
    sigmas = torch.cat([*schedules, at_percentages, sampling.sigmas]).unique()
    served = [active(model, split, sigma) for sigma in sigmas]
    assert set(served) == {1}, [float(s) for s, n in zip(sigmas, served, strict=True) if n != 1]


def test_the_switch_happens_at_the_percentage(model):
    """At the percentage itself the tokens are on (the authors: text only while i < T * (1 - ratio)), before it off."""
    sampling = model.get_model_object("model_sampling")
    without, with_tokens = append_tokens([text(1)], torch.zeros(1, 16, 2048), 1, 0.2, "test")
    assert (without[0].shape[1], with_tokens[0].shape[1]) == (77, 93)
    boundary = torch.tensor(sampling.percent_to_sigma(0.2))
    assert (active(model, [without], boundary), active(model, [with_tokens], boundary)) == (0, 1)
    earlier = torch.tensor(sampling.percent_to_sigma(0.1999))
    assert (active(model, [without], earlier), active(model, [with_tokens], earlier)) == (1, 0)


def in_range(conditioning, start, end):
    return nodes.ConditioningSetTimestepRange().set_range(conditioning, start, end)[0]


def test_ranges_set_in_front_behind_and_by_a_clip_schedule_hold(model):
    ranges, tokens = [(0.0, 0.1), (0.1, 0.6), (0.6, 1.0)], torch.zeros(1, 16, 2048)
    entries = [text(1, tokens=77 * n) for n in (1, 2, 3)]
    ways = {
        "in front": append_tokens(
            [e for entry, r in zip(entries, ranges, strict=True) for e in in_range([entry], *r)], tokens, 1, 0.2, "test"
        ),
        "behind": [
            e
            for entry, r in zip(entries, ranges, strict=True)
            for e in in_range(append_tokens([entry], tokens, 1, 0.2, "test"), *r)
        ],
        "clip": append_tokens(
            [
                [tensor, {**options, "clip_start_percent": start, "clip_end_percent": end}]
                for (tensor, options), (start, end) in zip(entries, ranges, strict=True)
            ],
            tokens, 1, 0.2, "test",
        ),
    }  # fmt: skip
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    for name, conditioning in ways.items():
        for percent in (0.05, 0.15, 0.25, 0.55, 0.65, 0.95):
            sigma = torch.tensor(to_sigma(percent))
            served = [entry[0].shape[1] for entry in conditioning if active(model, [entry], sigma)]
            which = 77 * (1 + (percent > 0.1) + (percent > 0.6))
            assert served == [which + 16 * (percent > 0.2)], (name, percent)


@pytest.mark.parametrize("ranges", [[(0.0, 1.0)], [(0.0, 0.1), (0.1, 1.0)], [(0.0, 0.37), (0.37, 1.0)]])
def test_a_prompt_in_ranges_that_meet_is_the_prompt(id_patch, control_net, model, ranges):
    applied = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT))
    whole = sample(model, *applied, steps=5)
    parts = [[e for r in ranges for e in in_range(side, *r)] for side in applied]
    assert torch.equal(sample(model, *parts, steps=5), whole)


# What the conditioning holds


def test_positive_and_negative_get_the_same_count_and_one_control_object(id_patch, control_net):
    positive, negative = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT))
    assert [e[0].shape[1] for e in positive] == [e[0].shape[1] for e in negative] == [77, 77 + 2 * 16]
    assert len({id(e[1]["control"]) for e in positive + negative}) == 1


def test_inputs_are_not_changed(id_patch, control_net):
    positive = [text(1, mask=torch.ones(1, 8, 8), strength=0.7)]
    before = positive[0][0].clone(), dict(positive[0][1])
    out = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT), positive)[0]
    assert torch.equal(positive[0][0], before[0]) and positive[0][1].keys() == before[1].keys()
    assert all(e[1]["mask"] is positive[0][1]["mask"] and e[1]["strength"] == 0.7 for e in out)


def posed(*poses, weights=(1.0, 1.0), kind=PlacedCast):
    """People with those skeletons; None: with none."""
    people = people_made.cast(CENTERS, WIDTH, HEIGHT, list(weights)).people
    standing = zip(people, poses, strict=True)
    return kind(tuple(replace(p, slot=replace(p.slot, pose=pose)) for p, pose in standing), WIDTH, HEIGHT)


BODIES = [bodies.body(center, 30) for center in CENTERS]


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    ("cast", "said"),
    [
        (posed(*BODIES), "overlap"),
        (posed(BODIES[0], None, weights=(1.0, 0.0)), "Weight 0, left out: person 2"),
        (posed(*BODIES, weights=(0.0, 0.0)), "No identities applied"),
        (posed(*BODIES, kind=RowCast), ""),
        (posed(None, BODIES[1], weights=(1.0, 0.5), kind=RowCast), ""),
        (posed(None, None), "overlap"),
        (posed(None, None, kind=RowCast), ""),
    ],
    ids=["two", "one of weight 0", "nobody", "apart", "apart, one without", "no skeletons", "apart, no skeletons"],
)
def test_without_an_image_it_is_what_the_nodes_before_it_would_give(id_patch, control_net, caplog, cast, said):
    """Place Cast, Pose Image (where there is a skeleton), ID-Patch Condition Image: to the last bit, and shown."""
    drawn = any(person.slot.pose for person in cast.people)
    control = PoseImage.execute(cast=cast)[0] if drawn else None
    image, preview, *_ = IDPatchImage.execute(id_patch, cast, "mean", control).args
    sides = [text(1)], [text(2)], control_net, id_patch, cast
    given = ApplyIDPatch.execute(*sides, image, **DEFAULTS)
    assert given.ui is None
    caplog.clear()
    alone = ApplyIDPatch.execute(*sides, None, **DEFAULTS)
    assert said in caplog.text and bool(said) == bool(caplog.text)
    for ours, theirs in zip(itertools.chain(*alone.args), itertools.chain(*given.args), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1]["control"].cond_hint_original, theirs[1]["control"].cond_hint_original)
    seen = [read_preview(one) for one in alone.ui.as_dict()["images"]]
    assert np.array_equal(np.stack(seen), (255 * preview).byte().numpy())


def read_preview(saved):
    return np.asarray(Image.open(Path(folder_paths.get_temp_directory(), saved["subfolder"], saved["filename"])))


def test_a_cast_of_nobody_has_no_picture(id_patch, control_net):
    nobody = PlacedCast((), WIDTH, HEIGHT)
    with pytest.raises(BadCast, match=r"No person of the cast given to Apply ID-Patch .*custom_order"):
        ApplyIDPatch.execute([text(1)], [text(2)], control_net, id_patch, nobody, None, **DEFAULTS)


def test_several_entries_long_prompts_and_batches(id_patch, control_net, model):
    cast = people_made.cast(CENTERS, WIDTH, HEIGHT)
    half = torch.zeros(1, HEIGHT, WIDTH)
    half[..., : WIDTH // 2] = 1
    positive = [text(1, tokens=154, mask=half), text(3, mask=1 - half)]
    out = apply(id_patch, control_net, cast, positive, control=torch.rand(2, HEIGHT, WIDTH, 3))
    assert [e[0].shape[1] for e in out[0]] == [154, 186, 77, 109]
    latents = sample(model, *out, batch=2)
    assert latents.isfinite().all() and not torch.equal(latents[0], latents[1])


def test_another_control_net_stays_in_the_chain(id_patch, control_net):
    first = control_net.copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH), 0.5, (0.0, 1.0))
    positive, negative = [text(1, control=first)], [text(2, control=first)]
    out = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT), positive, negative)
    nets = {id(e[1]["control"]): e[1]["control"] for e in out[0] + out[1]}
    assert len(nets) == 1 and next(iter(nets.values())).previous_controlnet is first


@pytest.mark.both_hosts
def test_ours_alone_of_a_chain_is_told_what_the_unet_is_told(id_patch, model):
    """In bfloat16 the host tells ControlNets 980 for 981; those of others stay as the host has them."""
    net = tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet()).to(torch.bfloat16))

    def depth(previous):
        other = net.copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH), 0.5, (0.0, 1.0))
        return other.set_previous_controlnet(previous)

    first, told = depth(None), []
    sides = apply(
        id_patch, net, people_made.cast(CENTERS, WIDTH, HEIGHT), [text(1, control=first)], [text(2, control=first)]
    )
    ours = sides[0][0][1]["control"]
    sigmas = torch.cat([model.get_model_object("model_sampling").sigma(torch.tensor([981])), torch.zeros(1)])
    hook = net.control_model.register_forward_pre_hook(
        lambda _, args, kwargs: told.append(kwargs["timesteps"].unique().tolist()), with_kwargs=True
    )
    for last in (depth(ours), ours.copy(), net.copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH)), ours):
        one = [[[t, {**options, "control": last}] for t, options in side] for side in sides]
        tiny_sdxl.host_sample(model, torch.ones(1, 4, HEIGHT // 8, WIDTH // 8), sigmas, *one)
    hook.remove()
    assert told == [[980.0], [981.0], [980.0], [981.0], [980.0], [980.0], [981.0]]


def cubiqs_instant_id(control_net, positive, negative):
    """How the older InstantID nodes leave conditioning: a net, and faces instead of the text for all of the chain."""
    nets, sides = {}, []
    for seed, side in enumerate((positive, negative)):
        faces = text(seed, tokens=16)[0]
        for _, options in side:
            previous = options.get("control")
            if previous not in nets:
                nets[previous] = control_net.copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH), 0.5, (0.0, 1.0))
                nets[previous].set_previous_controlnet(previous)
        sides.append([[t, {**o, "control": nets[o.get("control")], "cross_attn_controlnet": faces}] for t, o in side])
    return sides


def test_faces_that_another_pack_gives_to_the_chain_are_not_read(id_patch, control_net, model):
    contexts = []
    keys = next(layer for name, layer in control_net.control_model.named_modules() if name.endswith("attn2.to_k"))
    cast = people_made.cast(CENTERS, WIDTH, HEIGHT)
    behind = cubiqs_instant_id(control_net, *apply(id_patch, control_net, cast, id_start_percent=0.0))
    theirs = cubiqs_instant_id(control_net, [text(1)], [text(2)])
    before = apply(id_patch, control_net, cast, *theirs, id_start_percent=0.0)
    copied = [[[t, {**o, "control": o["control"].copy()}] for t, o in before[0]], []]
    hook = keys.register_forward_pre_hook(lambda _, given: contexts.append(given[0].shape[1]))
    first, second = sample(model, *behind, steps=1), sample(model, *before, steps=1)
    sample(model, *copied, steps=1, cfg=1.0)
    hook.remove()
    assert contexts == [77 + 2 * 16, 16, 16, 77 + 2 * 16, 77 + 2 * 16]
    assert (first - second).abs().max() / second.abs().max() < 1e-5


# Latents of another size than the canvas


SCALED = (192, 144)


def test_a_latent_of_another_scale_is_said_and_the_picture_is_scaled(id_patch, control_net, model, caplog):
    cast = people_made.cast(CENTERS, WIDTH, HEIGHT)
    applied = apply(id_patch, control_net, cast)
    assert sample(model, *applied).isfinite().all() and "are scaled" not in caplog.text
    scaled = sample(model, *applied, size=SCALED)
    said = (
        "Latent 192x144, canvas of Apply ID-Patch 128x96 px: all people are scaled 1.5 times, ID patches to 96 px "
        "where the ControlNet was trained on 64 px. Better: a layout"
    )
    assert caplog.text.count(said) == 1

    image = IDPatchImage.execute(id_patch, cast, "mean")[0].movedim(-1, 1)
    image = comfy.utils.common_upscale(image, *SCALED, "nearest-exact", "disabled")
    net = applied[0][0][1]["control"].copy().set_cond_hint(image, DEFAULTS["strength"], (0.0, 1.0))
    by_hand = [[[entry, {**options, "control": net}] for entry, options in side] for side in applied]
    assert torch.equal(scaled, sample(model, *by_hand, size=SCALED))
    assert caplog.text.count("are scaled") == 1


def test_it_is_said_again_after_a_cancelled_run(id_patch, control_net, model, caplog):
    applied = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT))

    def cancel(*_):
        raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(model, *applied, size=SCALED, callback=cancel)
    sample(model, *applied, size=SCALED)
    assert caplog.text.count("Latent 192x144, canvas of") == 2


@pytest.mark.parametrize("size", [(256, 96), (128, 192), (96, 128)])
def test_a_latent_of_another_shape(id_patch, control_net, model, size):
    applied = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT))
    steps = []
    message = rf" {size[0]}x{size[1]} px.*Apply ID-Patch.* 128x96 px"
    with pytest.raises(BadSize, match=message):
        sample(model, *applied, size=size, callback=lambda *given: steps.append(given))
    assert not steps


def test_the_area_of_a_prompt_is_not_another_shape(id_patch, control_net, model, caplog):
    positive = [text(1, area=(HEIGHT // 8, WIDTH // 16, 0, WIDTH // 16)), text(3)]
    applied = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT), positive)
    assert sample(model, *applied).isfinite().all() and "are scaled" not in caplog.text


def test_packs_that_sample_in_tiles_and_cut_the_hint_themselves(id_patch, control_net, model, caplog):
    """ComfyUI-TiledDiffusion sets cond_hint before it asks the net for a tile."""
    (tensor, options), *_ = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT))[0]
    net, sampling = options["control"], model.get_model_object("model_sampling")
    net.pre_run(model.model, sampling.percent_to_sigma)
    net.cond_hint = torch.zeros(1, 3, 64, 64)
    conds = {key: cond.process_cond(batch_size=1).cond for key, cond in options["model_conds"].items()}
    sigma = torch.tensor([sampling.percent_to_sigma(0.5)])
    given = {**conds, "c_crossattn": tensor, "y": torch.zeros(1, 2816)}
    assert net.get_control(torch.zeros(1, 4, 8, 8), sigma, given, 1, {})["output"]
    net.cleanup()
    assert "are scaled" not in caplog.text


# Strength, weight, order of runs


def test_weight_zero_equals_a_cast_without_that_person(id_patch, control_net, model):
    everybody = people_made.cast([*CENTERS, (20.0, 20.0)], WIDTH, HEIGHT, [1.0, 1.0, 0.0])
    without = PlacedCast(everybody.people[:2], WIDTH, HEIGHT)
    images = [IDPatchImage.execute(id_patch, cast, "mean")[0] for cast in (everybody, without)]
    assert torch.equal(*images)
    results = [sample(model, *apply(id_patch, control_net, cast)) for cast in (everybody, without)]
    assert torch.equal(*results)


def test_weight_scales_patch_and_tokens(id_patch):
    one, half = (people_made.cast(CENTERS[:1], WIDTH, HEIGHT, [w]) for w in (1.0, 0.5))
    images = [IDPatchImage.execute(id_patch, cast, "mean")[0] for cast in (one, half)]
    assert torch.allclose(images[0] * 0.5, images[1]) and images[0].abs().max() > 0
    tokens = [id_patch.tokens(cast.people, "mean") for cast in (one, half)]
    assert torch.allclose(tokens[0] * 0.5, tokens[1])


def test_nobody_left_leaves_the_prompt_alone(id_patch, control_net):
    cast = people_made.cast(CENTERS, WIDTH, HEIGHT, [0.0, 0.0])
    control = torch.rand(1, HEIGHT, WIDTH, 3)
    assert torch.equal(IDPatchImage.execute(id_patch, cast, "mean", control)[0], control)
    assert [e[0].shape[1] for e in apply(id_patch, control_net, cast)[0]] == [77]


# The condition image


def test_preview_is_clamped_and_the_image_is_not(id_patch, caplog):
    image, preview, report = IDPatchImage.execute(id_patch, people_made.cast(CENTERS, WIDTH, HEIGHT), "mean").args
    assert image.dtype == torch.float32 and image.min() < 0 and image.max() > 1
    assert preview.min() == 0 and preview.max() == 1
    assert report == ("ID patches overlap, faces may mix: person 1 and person 2 by 14x54 px; move them 64 px apart")
    assert caplog.messages == [report]


def test_a_report_without_troubles(id_patch, caplog):
    for centers, people in ((CENTERS[:1], "1 person"), ([(32.0, 32.0), (96.0, 32.0)], "2 people")):
        report = IDPatchImage.execute(id_patch, people_made.cast(centers, WIDTH, HEIGHT), "mean")[2]
        assert report == f"{people}, every patch whole and on its own place."
    assert not caplog.messages


def test_patches_that_run_over_the_border_are_named(id_patch):
    for center, size in (((10.0, 90.0), "42x38"), ((126.0, 32.0), "34x64"), ((64.0, 0.0), "64x32")):
        report = IDPatchImage.execute(id_patch, people_made.cast([center], WIDTH, HEIGHT), "mean")[2]
        assert report == f"ID patches cut by the border: person 1 to {size} px of 64x64; less likeness"


def test_off_canvas_people_lose_patch_and_tokens_and_are_named(id_patch, control_net, caplog):
    cast = people_made.cast([CENTERS[0], (WIDTH + 5.0, 20.0), (1.0, 1.0)], WIDTH, HEIGHT, [1.0, 1.0, 0.0])
    image, _, report = IDPatchImage.execute(id_patch, cast, "mean").args
    assert torch.equal(image, IDPatchImage.execute(id_patch, PlacedCast(cast.people[:1], WIDTH, HEIGHT), "mean")[0])
    told = "Off the canvas, left out: person 2\nWeight 0, left out: person 3"
    assert report == told and caplog.messages == [told]
    assert apply(id_patch, control_net, cast)[0][1][0].shape[1] == 77 + 16
    assert caplog.messages == [told] * 3, "the condition image once more, and Apply ID-Patch"


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_grey_rgba_and_half_precision_controls(id_patch, channels, dtype):
    control = torch.rand(2, HEIGHT, WIDTH, channels).to(dtype)
    image = IDPatchImage.execute(id_patch, people_made.cast([(-1000.0, 0.0)], WIDTH, HEIGHT), "mean", control)[0]
    assert image.shape == (2, HEIGHT, WIDTH, 3) and image.dtype == torch.float32
    assert torch.equal(image, control[..., :3].float().expand(-1, -1, -1, 3))


# Bad input


def test_photos_as_a_sequence(id_patch, tmp_path):
    slot = people_made.cast(CENTERS[:1], WIDTH, HEIGHT).people[0].slot
    three = PlacedCast((Person(people_made.identity(5, photos=3), 1.0, slot),), WIDTH, HEIGHT)
    tokens = {photos: id_patch.tokens(three.people, photos) for photos in PHOTOS}
    assert all(t.shape == (1, 16, 2048) for t in tokens.values())
    assert not torch.allclose(tokens["mean"], tokens["sequence"])
    torch.save(id_patch_file("mlp"), tmp_path / "mlp.bin")
    with pytest.raises(SequenceUnsupported, match=r"person 5 .*3 photos.*sequence"):
        load_id_patch(str(tmp_path / "mlp.bin")).tokens(three.people, "sequence")


def test_a_cast_without_places(id_patch, control_net):
    cast = Cast((Person(people_made.identity(1)), Person(people_made.identity(2))))
    with pytest.raises(NotPlaced, match=r"ID-Patch Condition Image.*person 1, person 2"):
        IDPatchImage.execute(id_patch, cast, "mean")
    with pytest.raises(NotPlaced, match="Apply ID-Patch needs a position"):
        ApplyIDPatch.execute([text(1)], [text(2)], control_net, id_patch, cast, torch.zeros(1, 8, 8, 3), **DEFAULTS)


def test_an_image_of_another_size_and_an_odd_canvas(id_patch):
    with pytest.raises(BadSize, match="is 64x64 px; the cast's canvas is 128x96 px"):
        IDPatchImage.execute(id_patch, people_made.cast(CENTERS, WIDTH, HEIGHT), "mean", torch.zeros(1, 64, 64, 3))
    with pytest.raises(BadSize, match=r" 130x96 px.* 8, "):
        IDPatchImage.execute(id_patch, people_made.cast(CENTERS, 130, HEIGHT), "mean")


def test_another_picture_than_the_condition_image(id_patch, control_net):
    cast = people_made.cast(CENTERS, WIDTH, HEIGHT)

    def refused(error, message, image):
        with pytest.raises(error, match=message):
            ApplyIDPatch.execute([text(1)], [text(2)], control_net, id_patch, cast, image, **DEFAULTS)

    preview = IDPatchImage.execute(id_patch, cast, "mean")[1]
    for image in (preview, torch.rand(1, HEIGHT, WIDTH, 4), torch.rand(2, HEIGHT, WIDTH, 1)):
        refused(BadPatches, "Apply ID-Patch.*no ID patches.*preview", image)
    smaller = IDPatchImage.execute(id_patch, people_made.cast(CENTERS, 64, 64), "mean")[0]
    refused(BadSize, "Apply ID-Patch.* 64x64 px.* 128x96 px", smaller)


def applied(control_net, id_patch, cast, image):
    return ApplyIDPatch.execute([text(1)], [text(2)], control_net, id_patch, cast, image, **DEFAULTS).args


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "overlapping"])
def test_a_condition_image_of_another_cast(id_patch, control_net, apart):
    size = (256, 128) if apart else (WIDTH, HEIGHT)
    centers = [(40.0, 50.0), (200.0, 90.0)] if apart else CENTERS
    both = people_made.cast(centers, *size)
    casts = {"both": both, "nobody": people_made.cast(centers, *size, [0.0, 0.0])}
    casts |= {name: PlacedCast((person,), *size) for name, person in zip(("first", "second"), both.people, strict=True)}
    skeletons = torch.rand(2, size[1], size[0], 3)
    images = {name: IDPatchImage.execute(id_patch, cast, "mean", skeletons)[0] for name, cast in casts.items()}
    somebody = r"another cast: .*\(\d+, \d+\).*no person"
    absent = r"no .*person 2 .*\({:.0f}, {:.0f}\).*same cast".format(*centers[1])
    for cast, made_for, message in (
        ("first", "both", somebody), ("second", "both", somebody), ("nobody", "both", somebody),
        ("nobody", "first", somebody), ("both", "first", absent), ("second", "first", "another cast"),
    ):  # fmt: skip
        with pytest.raises(BadPatches, match=message):
            applied(control_net, id_patch, casts[cast], images[made_for])
    for name, cast in casts.items():
        assert torch.equal(hint(applied(control_net, id_patch, cast, images[name])), images[name])


def test_a_condition_image_that_was_resized_with_its_layout(id_patch, control_net):
    cast, twice = (people_made.cast([(k * 40.0, k * 50.0)], k * 96, k * 96) for k in (1, 2))
    image = IDPatchImage.execute(id_patch, cast, "mean")[0]
    larger = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(hint(applied(control_net, id_patch, twice, larger)), larger)


def test_controls_that_overshoot_are_no_patches(id_patch, control_net):
    """As bicubic resizing makes them of lines."""
    lines = torch.zeros(1, 3, 24, 32)
    lines[..., ::6, :] = lines[..., ::5] = 1
    control = torch.nn.functional.interpolate(lines, (HEIGHT, WIDTH), mode="bicubic").movedim(1, -1)
    assert control.amin() < -0.05 and control.amax() > 1.05
    given = hint(apply(id_patch, control_net, people_made.cast([(40.0, 40.0)], WIDTH, HEIGHT), control=control))
    assert torch.equal(given[:, :, 72:], control[:, :, 72:]), "beside the patch"


def test_alpha_and_other_precisions_do_no_harm_to_the_condition_image(id_patch, control_net):
    cast = people_made.cast(CENTERS, WIDTH, HEIGHT)
    image = IDPatchImage.execute(id_patch, cast, "mean")[0]
    alpha = torch.cat([image, torch.zeros(1, HEIGHT, WIDTH, 1)], dim=-1).double()
    hints = [
        applied(control_net, id_patch, cast, given)[0][0][1]["control"].cond_hint_original for given in (image, alpha)
    ]
    assert torch.equal(*hints) and hints[0].dtype == torch.float32


def test_a_cast_that_nobody_is_heard_of_is_said(id_patch, control_net, caplog):
    apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT, [1.0, 0.0]))
    assert "No identities applied" not in caplog.text
    apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT, [0.0, 0.0]))
    assert "No identities applied: all weights are 0 or off-canvas. The skeletons" in caplog.text


def test_faint_patches_on_grey_are_still_patches(id_patch, control_net):
    cast = people_made.cast(CENTERS[:1], WIDTH, HEIGHT, [0.05])
    grey = torch.full((1, HEIGHT, WIDTH, 3), 0.5)
    assert IDPatchImage.execute(id_patch, cast, "mean", grey)[0].amin() > 0
    assert apply(id_patch, control_net, cast, control=grey)[0][1][0].shape[1] == 77 + 16


def test_sd15_control_net(id_patch):
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    config = {
        key: value
        for key, value in tiny_sdxl.HOST_CONFIG.items()
        if key not in ("out_channels", "transformer_depth_output")
    }
    config |= {"context_dim": 768, "num_heads": 8, "hint_channels": 3, "operations": comfy.ops.disable_weight_init}
    net = comfy.controlnet.ControlNet(comfy.cldm.cldm.ControlNet(**config), load_device=torch.device("cpu"))
    with pytest.raises(WrongBaseModel, match=r"ControlNet .*Apply ID-Patch .*SD1\.5"):
        apply(id_patch, net, people_made.cast(CENTERS, WIDTH, HEIGHT))


def test_sd15_model(id_patch, control_net, model, monkeypatch):
    """Only the sampler sees MODEL and conditioning together; it is told by the ControlNet before the first step."""
    applied = apply(id_patch, control_net, people_made.cast(CENTERS, WIDTH, HEIGHT))
    monkeypatch.setitem(model.model.model_config.unet_config, "context_dim", 768)
    with pytest.raises(WrongBaseModel, match=r"MODEL .*sampler .*SD1\.5 .*768"):
        sample(model, *applied)
