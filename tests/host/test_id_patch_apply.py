"""Apply ID-Patch in the real host: who is served when, ControlNets in company, and what is a condition image.

What it refuses: tests/host/test_refused.py.
"""

import itertools
from copy import deepcopy
from dataclasses import replace

import comfy.model_management
import comfy.samplers
import comfy.utils
import pytest
import tiny_sdxl
import torch
from graph_run import shown
from instant_id_run import HEIGHT, WIDTH, sample, text
from logged import messages_of_the_pack
from pack.bridge.sampling.conditioning import append_tokens
from pack.core.cast import Layout, Lora, PlacedCast, RowCast
from pack.core.places import bodies
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.id_patch.net import BadPatches
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchConditionImage
from tiny import people_made, tiny_networks

import nodes

CENTERS = [(40.0, 50.0), (90.0, 40.0)]
DEFAULTS = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "id_start_percent": 0.2, "photos": "mean"}
SIDES = [text(1)], [text(2)]
TOKENS = torch.zeros(1, 1, 16, 2048)


@pytest.fixture(scope="module")
def control_net(sdxl):
    return sdxl[1]


def people(centers=CENTERS, width=WIDTH, height=HEIGHT, weights=None):
    return people_made.cast(centers, width, height, weights)


def drawn(id_patch, cast, skeletons=None):
    """The condition image."""
    return IDPatchConditionImage.execute(id_patch, cast, "mean", skeletons)[0]


@pytest.fixture
def apply(id_patch, control_net):
    """apply(cast, image, positive, negative, ...) -> (positive, negative). image: of these people where None."""

    def run(cast=None, image=None, positive=SIDES[0], negative=SIDES[1], control=None, net=None, **changed):
        cast = cast or people()
        image = drawn(id_patch, cast, control) if image is None else image
        settings = {**DEFAULTS, **changed}
        output = ApplyIDPatch.execute(positive, negative, net or control_net, id_patch, cast, image, **settings)
        return output.args[:2]

    return run


def hint(sides):
    """The picture that the ControlNet of the positive is given, (B, H, W, C)."""
    return sides[0][0][1]["control"].cond_hint_original.movedim(1, -1)


def depth(net, previous=None):
    """Somebody else's ControlNet in the chain."""
    depth_net = net.copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH), 0.5, (0.0, 1.0))
    return depth_net.set_previous_controlnet(previous)


def with_net(side, net):
    return [[tensor, {**options, "control": net}] for tensor, options in side]


def active(model, conditioning, sigma):
    """How many entries the host serves at this sigma: its own resolution of percentages and its own gate."""
    conds = [{**options, "model_conds": {}, "uuid": None} for _, options in conditioning]
    comfy.samplers.calculate_start_end_timesteps(model.model, conds)
    x = torch.zeros(1, 4, 8, 8)
    return sum(comfy.samplers.get_area_and_mult(c, x, sigma[None]) is not None for c in conds)


@pytest.mark.parametrize("id_start_percent", [0.0, 0.2, 1 / 3, 0.8, 1.0])
def test_every_sigma_of_every_schedule_is_served_exactly_once(model, id_start_percent):
    sampling = model.get_model_object("model_sampling")
    split = append_tokens([text(1)], TOKENS, id_start_percent)
    schedules_and_steps = itertools.product(comfy.samplers.SCHEDULER_NAMES, (2, 6, 11, 50))
    schedules = [
        comfy.samplers.calculate_sigmas(sampling, schedule, steps)[:-1] for schedule, steps in schedules_and_steps
    ]
    at_percentages = torch.tensor([sampling.percent_to_sigma(k / 100) for k in range(1, 100)])
    sigmas = torch.cat([*schedules, at_percentages, sampling.sigmas.cpu()]).unique()
    assert {active(model, split, sigma) for sigma in sigmas} == {1}


def in_range(conditioning, start, end):
    return nodes.ConditioningSetTimestepRange().set_range(conditioning, start, end)[0]


def test_ranges_set_in_front_behind_and_by_a_clip_schedule_hold(model):
    ranges = [(0.0, 0.1), (0.1, 0.6), (0.6, 1.0)]
    entries = [text(1, tokens=77 * n) for n in (1, 2, 3)]

    def appended(*entries_in):
        return append_tokens([*entries_in], TOKENS, 0.2)

    ranged = []
    ranged_behind = []
    by_clip = []
    for entry, (start, end) in zip(entries, ranges, strict=True):
        ranged += in_range([entry], start, end)
        ranged_behind += in_range(appended(entry), start, end)
        tensor, options = entry
        by_clip.append([tensor, {**options, "clip_start_percent": start, "clip_end_percent": end}])
    conditionings = {"in front": appended(*ranged), "behind": ranged_behind, "clip": appended(*by_clip)}
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    for name, conditioning in conditionings.items():
        for percent in (0.05, 0.15, 0.25, 0.55, 0.65, 0.95):
            sigma = torch.tensor(to_sigma(percent))
            served = [entry[0].shape[1] for entry in conditioning if active(model, [entry], sigma)]
            tokens_of_the_text = 77 * (1 + (percent > 0.1) + (percent > 0.6))
            assert served == [tokens_of_the_text + 16 * (percent > 0.2)], (name, percent)


def test_several_entries_and_long_prompts(apply):
    """Of each one more, with tokens; what came in is left as it was, and all have one ControlNet."""
    half = torch.ones(1, HEIGHT, WIDTH)
    positive = [text(1, tokens=154, mask=half), text(3)]
    before = [(tensor.clone(), dict(options)) for tensor, options in positive]
    out = apply(positive=positive)
    assert [tensor.shape[1] for tensor, _ in out[0]] == [154, 186, 77, 109]
    assert [tensor.shape[1] for tensor, _ in out[1]] == [77, 109]
    assert len({id(entry[1]["control"]) for entry in out[0] + out[1]}) == 1
    assert all(entry[1]["mask"] is half for entry in out[0][:2])
    for (tensor, options), (tensor_before, options_before) in zip(positive, before, strict=True):
        assert torch.equal(tensor, tensor_before)
        assert options.keys() == options_before.keys()


def posed(*poses, weights=(1.0, 1.0), kind=PlacedCast):
    """People with those skeletons; None: with none."""
    members = []
    for member, pose in zip(people(weights=list(weights)).people, poses, strict=True):
        members.append(replace(member, slot=replace(member.slot, pose=pose)))
    return kind(tuple(members), WIDTH, HEIGHT)


def second_by_lora(cast):
    first, second = cast.people
    lora = replace(second.person, embeddings={}, portraits=None, loras=(Lora("a.safetensors", 1.0, ""),))
    return replace(cast, people=(first, replace(second, person=lora)))


BODIES = [bodies.body(center, 30) for center in CENTERS]


DRAWN = {
    "one of weight 0": (posed(BODIES[0], None, weights=(1.0, 0.0)), "Weight 0, left out: person 2"),
    "one by LoRA": (
        second_by_lora(posed(*BODIES)),
        "No photo, left to LoRA per Person and Prompt per Person: person 2",
    ),
    "nobody": (posed(*BODIES, weights=(0.0, 0.0)), "No people applied"),
    "apart, one without": (posed(None, BODIES[1], weights=(1.0, 0.5), kind=RowCast), ""),
    "no skeletons": (posed(None, None), "overlap"),
}


def test_skeletons_lie_over_each_other_as_in_the_layout_whoever_is_listed_first():
    """The masks are in the order of the people."""
    below, above = posed(BODIES[0], bodies.body((48.0, 46.0), 30)).people
    listed = PlacedCast((replace(above, place=2), replace(below, place=1)), WIDTH, HEIGHT)
    picture, masks = DrawSkeletons.execute(Layout(WIDTH, HEIGHT, (below.slot, above.slot))).args
    of_cast, masks_of_cast = DrawSkeletons.execute(cast=listed).args
    assert torch.equal(of_cast, picture)
    assert torch.equal(masks_of_cast, masks.flip(0))
    assert not torch.equal(DrawSkeletons.execute(Layout(WIDTH, HEIGHT, (above.slot, below.slot)))[0], picture)


@pytest.mark.both_hosts
@pytest.mark.parametrize("kind", DRAWN)
def test_without_an_image_it_is_what_the_nodes_before_it_would_give(id_patch, control_net, caplog, kind):
    """Place Cast, Draw Skeletons (where there is a skeleton), ID-Patch Condition Image: to the last bit, and shown."""
    cast, message = DRAWN[kind]
    has_skeleton = any(member.slot.pose for member in cast.people)
    skeletons = DrawSkeletons.execute(cast=cast)[0] if has_skeleton else None
    image, preview, *_ = IDPatchConditionImage.execute(id_patch, cast, "mean", skeletons).args
    with_image = ApplyIDPatch.execute(*SIDES, control_net, id_patch, cast, image, **DEFAULTS)
    caplog.clear()
    without_image = ApplyIDPatch.execute(*SIDES, control_net, id_patch, cast, None, **DEFAULTS)
    messages = messages_of_the_pack(caplog)
    assert "images" not in (with_image.ui or {})
    assert message in "\n".join(messages)
    assert bool(message) == bool(messages)
    entries = itertools.chain(*without_image.args[:2])
    expected_entries = itertools.chain(*with_image.args[:2])
    for (tensor, options), (expected_tensor, expected_options) in zip(entries, expected_entries, strict=True):
        assert torch.equal(tensor, expected_tensor)
        assert torch.equal(options["control"].cond_hint_original, expected_options["control"].cond_hint_original)
    assert torch.equal(torch.stack(shown(without_image)), (255 * preview).byte().float() / 255)


def test_a_deep_copy_has_the_network_of_the_net_and_a_chain_of_its_own(apply, control_net):
    """attention-couple-ComfyUI makes deep copies of prompts. A network would take its memory once more."""
    first = depth(control_net)
    positive, _ = apply(positive=[text(1, control=first)])
    net = positive[0][1]["control"]
    copied = deepcopy(net)
    assert copied is not net
    assert type(copied) is type(net)
    assert copied.control_model is net.control_model
    assert torch.equal(copied.cond_hint_original, net.cond_hint_original)
    assert copied.previous_controlnet is not first
    assert torch.equal(copied.previous_controlnet.cond_hint_original, first.cond_hint_original)


@pytest.mark.both_hosts
def test_ours_alone_of_a_chain_is_told_what_the_unet_is_told(apply, model):
    """In bfloat16 the host tells ControlNets 980 for 981; those of others stay as the host has them."""
    net = tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet()).to(torch.bfloat16))
    depth_net = depth(net)
    timesteps = []
    sides = apply(net=net, positive=[text(1, control=depth_net)], negative=[text(2, control=depth_net)])
    id_patch_net = sides[0][0][1]["control"]
    sigma_of_981 = model.get_model_object("model_sampling").sigma(torch.tensor([981]))
    sigmas = torch.cat([sigma_of_981, torch.zeros(1)])
    hook = net.control_model.register_forward_pre_hook(
        lambda _, args, kwargs: timesteps.append(kwargs["timesteps"].unique().tolist()), with_kwargs=True
    )
    plain_net = net.copy().set_cond_hint(torch.zeros(1, 3, HEIGHT, WIDTH))
    for net_at_the_end in (depth(net, id_patch_net), id_patch_net.copy(), plain_net, id_patch_net):
        positive, negative = (with_net(side, net_at_the_end) for side in sides)
        tiny_networks.host_sample(model, torch.ones(1, 4, HEIGHT // 8, WIDTH // 8), sigmas, positive, negative)
    hook.remove()
    assert timesteps == [[980.0], [981.0], [980.0], [981.0], [980.0], [980.0], [981.0]]


def cubiqs_instant_id(control_net, positive, negative):
    """How the older InstantID nodes leave conditioning: a net, and faces instead of the text for all of the chain."""
    nets = {}
    sides = []
    for seed, side in enumerate((positive, negative)):
        faces = text(seed, tokens=16)[0]
        for _, options in side:
            previous = options.get("control")
            if previous not in nets:
                nets[previous] = depth(control_net, previous)
        entries = []
        for tensor, options in side:
            net = nets[options.get("control")]
            entries.append([tensor, {**options, "control": net, "cross_attn_controlnet": faces}])
        sides.append(entries)
    return sides


def test_faces_that_another_pack_gives_to_the_chain_are_not_read(apply, control_net, model):
    contexts = []
    keys = next(layer for name, layer in control_net.control_model.named_modules() if name.endswith("attn2.to_k"))
    behind = cubiqs_instant_id(control_net, *apply(id_start_percent=0.0))
    positive, negative = cubiqs_instant_id(control_net, *SIDES)
    before = apply(positive=positive, negative=negative, id_start_percent=0.0)
    copied = [[[tensor, {**options, "control": options["control"].copy()}] for tensor, options in before[0]], []]
    hook = keys.register_forward_pre_hook(lambda _, arguments: contexts.append(arguments[0].shape[1]))
    first, second = sample(model, *behind, steps=1), sample(model, *before, steps=1)
    sample(model, *copied, steps=1, cfg=1.0)
    hook.remove()
    assert contexts == [77 + 2 * 16, 16, 16, 77 + 2 * 16, 77 + 2 * 16]
    assert (first - second).abs().max() / second.abs().max() < 1e-5


def test_packs_that_sample_in_tiles_and_cut_the_hint_themselves(apply, model):
    """ComfyUI-TiledDiffusion sets cond_hint before it asks the net for a tile."""
    sides = apply()
    net = sides[0][0][1]["control"]
    tiles = []

    def with_a_tile(apply_model, arguments):
        x, timestep, conditions = arguments["input"], arguments["timestep"], arguments["c"]
        net.cond_hint = torch.zeros(1, 3, 64, 64, device=x.device)
        tile = x[..., :8, :8]
        tiles.append(net.get_control(tile, timestep, conditions, 2, conditions["transformer_options"])["output"][0])
        return apply_model(x, timestep, **conditions)

    tiled = model.clone()
    tiled.set_model_unet_function_wrapper(with_a_tile)
    sample(tiled, *sides, steps=1)
    assert [tile.shape[-2:] for tile in tiles] == [(8, 8)]


def without_names(cast):
    members = []
    for number, person in enumerate(cast.people, 1):
        members.append(replace(person, person=replace(person.person, name=""), number=number))
    return replace(cast, people=tuple(members))


LEFT_OUT = people([CENTERS[0], (WIDTH + 5.0, 20.0), (1.0, 1.0)], weights=[1.0, 1.0, 0.0])
REPORTS = [
    (people([(32.0, 32.0), (96.0, 32.0)]), "2 people, every patch whole and on its own place."),
    (people(), "ID patches overlap, faces may mix: person 1 and person 2 by 14x54 px; move them 64 px apart"),
    (people([(10.0, 90.0)]), "ID patches cut by the border: person 1 to 42x38 px of 64x64; less likeness"),
    (people([(32.0, 32.0), (-40.0, 32.0)], weights=[1.0, 0.0]), "Weight 0, left out: person 2"),
    (without_names(people([CENTERS[0]] * 3, weights=[1.0, 0.0, 0.0])), "Weight 0, left out: person 2, person 3"),
    (LEFT_OUT, "Off the canvas, left out: person 2\nWeight 0, left out: person 3"),
]


@pytest.mark.parametrize(("cast", "expected_report"), REPORTS)
def test_what_the_condition_image_reports(id_patch, cast, expected_report, caplog):
    """Troubles are said on the node, too; the preview is clamped and the image is not."""
    image, preview, report = IDPatchConditionImage.execute(id_patch, cast, "mean").args
    assert report == expected_report
    is_trouble = "every patch whole" not in expected_report
    assert caplog.messages == ([expected_report] if is_trouble else [])
    assert image.dtype == torch.float32
    assert image.min() < 0
    assert image.max() > 1
    assert preview.min() == 0
    assert preview.max() == 1


def test_a_row_of_each_person_has_the_patch_of_that_person_alone(id_patch):
    """Drawn on one picture, or on black, for all of them."""
    rows = RowCast(people().people, WIDTH, HEIGHT)
    for picture in (None, torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(5))):
        image = drawn(id_patch, rows, picture)
        for row, member in zip(image, rows.people, strict=True):
            assert torch.equal(row[None], drawn(id_patch, PlacedCast((member,), WIDTH, HEIGHT), picture))


def test_a_person_by_lora_alone_keeps_the_skeleton_and_gets_no_tokens(apply, id_patch):
    beside = second_by_lora(posed(*BODIES))
    without = posed(*BODIES, weights=(1.0, 0.0))
    image = drawn(id_patch, beside, DrawSkeletons.execute(cast=beside)[0])
    assert torch.equal(image, drawn(id_patch, without, DrawSkeletons.execute(cast=posed(*BODIES))[0]))
    for entries, expected_entries in zip(apply(beside, image), apply(without, image), strict=True):
        tokens = entries[1][0]
        assert torch.equal(tokens, expected_entries[1][0])
        assert tokens.shape[1] == 77 + 16


def test_off_canvas_people_lose_patch_and_tokens_and_are_named(apply, id_patch, caplog):
    assert torch.equal(drawn(id_patch, LEFT_OUT), drawn(id_patch, PlacedCast(LEFT_OUT.people[:1], WIDTH, HEIGHT)))
    assert apply(LEFT_OUT)[0][1][0].shape[1] == 77 + 16
    assert caplog.messages == [REPORTS[-1][1]] * 3, "the condition image, once more, and Apply ID-Patch"


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "overlapping"])
def test_a_condition_image_of_another_cast(apply, id_patch, apart):
    size = (256, 128) if apart else (WIDTH, HEIGHT)
    two_people = people([(40.0, 50.0), (200.0, 90.0)] if apart else CENTERS, *size)
    casts = {
        "first": PlacedCast(two_people.people[:1], *size),
        "second": PlacedCast(two_people.people[1:], *size),
        "both": two_people,
        "nobody": people(CENTERS, *size, [0.0, 0.0]),
    }
    images = {name: drawn(id_patch, cast, torch.rand(2, size[1], size[0], 3)) for name, cast in casts.items()}
    somebody = r"another cast: .*\(\d+, \d+\).*no person"
    absent = r"no .*person 2 .*\(\d+, \d+\).*same cast"
    for cast, made_for, message in (
        ("first", "both", somebody), ("nobody", "first", somebody), ("both", "first", absent),
        ("second", "first", "another cast"),
    ):  # fmt: skip
        with pytest.raises(BadPatches, match=message):
            apply(casts[cast], images[made_for])
    for name, cast in casts.items():
        assert torch.equal(hint(apply(cast, images[name])), images[name])


def test_pictures_that_are_condition_images_in_spite_of_their_looks(apply, id_patch):
    once, twice = (people([(k * 40.0, k * 50.0)], k * 96, k * 96) for k in (1, 2))
    resized = drawn(id_patch, once).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(hint(apply(twice, resized)), resized), "resized with its layout"
    alpha = torch.cat([drawn(id_patch, people()), torch.zeros(1, HEIGHT, WIDTH, 1)], dim=-1).double()
    assert torch.equal(hint(apply(image=alpha)), hint(apply()))
    assert hint(apply()).dtype == torch.float32
    lines = torch.zeros(1, 3, 24, 32)
    lines[..., ::6, :] = lines[..., ::5] = 1
    control = torch.nn.functional.interpolate(lines, (HEIGHT, WIDTH), mode="bicubic").movedim(1, -1)
    assert control.amin() < -0.05 and control.amax() > 1.05, "as bicubic resizing makes them of lines"
    condition_image = hint(apply(people([(40.0, 40.0)]), control=control))
    assert torch.equal(condition_image[:, :, 72:], control[:, :, 72:]), "beside the patch"
    faint = people(CENTERS[:1], weights=[0.05])
    grey = torch.full((1, HEIGHT, WIDTH, 3), 0.5)
    assert drawn(id_patch, faint, grey).amin() > 0
    assert apply(faint, control=grey)[0][1][0].shape[1] == 77 + 16
