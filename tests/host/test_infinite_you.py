"""Apply InfiniteYou in the host: switched off, rows, other ControlNets, cancelled, offloaded, and what it refuses."""

from __future__ import annotations

import gc
from dataclasses import replace

import comfy.controlnet
import comfy.model_management
import comfy.samplers
import comfy.sd
import infuse_made
import pytest
import tiny_dits
import tiny_sdxl
import tiny_vaes
import torch
from figures import relative
from infuse_made import latent
from pack.bridge import notes
from pack.bridge.dit import FLUX, FLUX_2
from pack.core.errors import BadSize, WrongBaseModel
from pack.core.people import Cast, NotPlaced, PlacedCast, Slot
from pack.core.places.regions import BadRegion
from pack.nodes.infinite_you import nodes as of_node
from pack.nodes.infinite_you.infuse_net import NotAnInfuseNet
from pack.nodes.infinite_you.nodes import load_infinite_you
from pack.nodes.references.bind import BindReferences
from pack.nodes.references.encoding import REFERENCES, PeopleReferences
from pack.nodes.with_anyone.nodes import ApplyWithAnyone, load_with_anyone
from people_made import person
from safetensors.torch import save_file
from with_anyone_made import DEFAULTS as OF_WITH_ANYONE
from with_anyone_made import with_anyone_file

import nodes

pytestmark = tiny_dits.needed
WIDTH, HEIGHT = 144, 112
KEYPOINTS = ((20.0, 30.0), (40.0, 30.0), (30.0, 40.0), (22.0, 50.0), (38.0, 50.0))
SIDES = tiny_dits.conditioning(1), tiny_dits.conditioning(2)


@pytest.fixture(scope="module")
def model():
    return tiny_dits.model(FLUX)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(projection, InfuseNet, VAE)."""
    return infuse_made.projection(tmp_path_factory.mktemp("infiniteyou")), infuse_made.infuse_net(), tiny_vaes.flux1()


@pytest.fixture(scope="module")
def plain(model):
    return sample(model, SIDES)


def sample(model, sides, start=None, cfg=1.0, steps=2, **settings):
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
    start = latent(WIDTH, HEIGHT) if start is None else start
    return tiny_sdxl.host_sample(model, start, sigmas, *sides, cfg, **settings)


def one(seed=1, weight=1.0, slot=None):
    return Cast((person(seed, slot=slot, weight=weight),))


def box(x0):
    """A face of 40 px in the upper half of the canvas."""
    return Slot((x0 + 20.0, 40.0), (x0, 20.0, x0 + 40.0, 60.0), tuple((x + x0 - 10, y) for x, y in KEYPOINTS))


def two(*weights):
    people = (person(n, slot=box(90.0 * n - 85.0), weight=weight) for n, weight in enumerate(weights, 1))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def test_files_as_the_hosts_own_loaders_read_them(standin_models, files):
    def of(name):
        return str(standin_models.of_transformer(name))

    loaded, net = load_infinite_you(of("image_proj_model")), comfy.controlnet.load_controlnet(of("infusenet"))
    sides = [[[torch.full((1, 7, loaded.width), n), {"pooled_output": torch.full((1, 768), n)}]] for n in (0.5, 1.0)]
    model = comfy.sd.load_diffusion_model(of("flux"))
    applied = infuse_made.apply(loaded, net, files[2], two(1.0, 1.0), sides)
    assert relative(sample(model, applied), sample(model, sides)) > 1e-3


def test_who_has_no_weight_is_not_there_and_everything_else_counts(model, files, plain):
    alone = PlacedCast(two(1.0).people, WIDTH, HEIGHT)
    everywhere = torch.ones(1, HEIGHT, WIDTH)
    ways = [
        (two(1.0, 0.0), {}), (two(1.0, 0.5), {}), (two(1.0, 1.0), {}), (two(1.0, 1.0), {"keypoints": False}),
        (two(1.0, 1.0), {"region_margin": 0.0}), (two(1.0, 1.0), {"acts_in": "face boxes"}),
        (two(1.0, 1.0), {"strength": 0.5}), (two(1.0, 1.0), {"end_percent": 0.1}), (one(1), {}), (one(2), {}),
    ]  # fmt: skip
    made = [sample(model, infuse_made.apply(*files, cast, SIDES, **changed)) for cast, changed in ways]
    assert torch.equal(made[0], sample(model, infuse_made.apply(*files, alone, SIDES)))
    assert torch.equal(made[8], sample(model, infuse_made.apply(*files, one(1), SIDES, mask=everywhere)))
    every = [plain, *made]
    assert min(relative(a, b) for n, a in enumerate(every) for b in every[:n]) > 1e-4


def test_prompts_combined_share_the_net_and_what_it_is_shown(model, files, monkeypatch):
    positive = [*tiny_dits.conditioning(3, mask=torch.ones(1, HEIGHT, WIDTH)), *tiny_dits.conditioning(4)]
    first, second = infuse_made.apply(*files, two(1.0, 1.0), (positive, SIDES[1]))[0]
    assert first[1]["control"] is second[1]["control"] and "mask" in first[1]
    assert all("control" not in options for _, options in positive), "the node works on copies"
    encoded, encode = [], files[2].encode
    monkeypatch.setattr(files[2], "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    apart = [[first[0], first[1]], [second[0][:, :5], second[1]]]  # texts of two lengths are sampled one by one
    assert sample(model, (apart, SIDES[1])).isfinite().all() and encoded == [2], "both people, once"


def foreign(files, conditioning, old=False):
    """ComfyUI's own node with some ControlNet of FLUX.1 that reads the text."""
    hint = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(8))
    net = files[1].copy()
    if old:
        net = net.set_cond_hint(hint.movedim(-1, 1), 0.5, vae=files[2])  # which the old node has no input for
        return [[text, {**more, "control": net, "control_apply_to_uncond": True}] for text, more in conditioning]
    negative = nodes.ControlNetApplyAdvanced().apply_controlnet(
        conditioning, [], files[1], hint, 0.5, 0.0, 1.0, files[2]
    )
    return negative[0]


def test_other_controlnets_before_and_after_add_up(model, files, plain):
    def ours(sides):
        return infuse_made.apply(*files, two(1.0, 1.0), sides)

    before = sample(model, ours((foreign(files, SIDES[0]), SIDES[1])))
    after = sample(model, (foreign(files, ours(SIDES)[0]), SIDES[1]))
    assert relative(before, after) < 1e-5
    for alone in (ours(SIDES), (foreign(files, SIDES[0]), SIDES[1])):
        assert relative(before, sample(model, alone)) > 1e-3
    twice = ours(ours(SIDES))
    assert relative(sample(model, twice), sample(model, ours(SIDES))) > 1e-3


def with_anyone(model, sides, path):
    save_file(with_anyone_file(), path / "withanyone.safetensors")
    loaded = load_with_anyone(str(path / "withanyone.safetensors"))
    return ApplyWithAnyone.execute(model, *sides, loaded, two(1.0, 1.0), **OF_WITH_ANYONE).args


def references_by_region(model, sides, _):
    halves = torch.zeros(2, HEIGHT, WIDTH)
    halves[0, :, : WIDTH // 2], halves[1, :, WIDTH // 2 :] = 1, 1
    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "outside": "nobody", "extent": "body"}
    return BindReferences.execute(model, *sides, **settings, margin=0.25, mask=halves).args


@pytest.mark.parametrize("other", [with_anyone, references_by_region])
def test_beside_other_methods_of_flux_in_both_orders(model, files, tmp_path, other):
    portraits = tuple(tiny_dits.latent(FLUX, 48, 64, n) for n in (10, 11))
    record = {REFERENCES: PeopleReferences(two(1.0, 1.0), portraits, (0, 1))}
    bare = [tiny_dits.conditioning(n, portraits, **record) for n in (1, 2)]

    def ours(sides):
        return infuse_made.apply(*files, two(1.0, 1.0), sides)

    patched, *theirs = other(model, bare, tmp_path)
    first, *second = other(model, ours(bare), tmp_path)
    before, after = sample(patched, ours(theirs)), sample(first, second)
    assert relative(before, after) < 1e-5
    assert min(relative(before, sample(*alone)) for alone in ((patched, theirs), (model, ours(bare)))) > 1e-4


def test_a_net_that_the_host_gives_to_the_negative_too_is_there_without_faces(model, files):
    """As Apply ControlNet (OLD) asks for it."""
    both = [foreign(files, side) for side in SIDES]
    asked = infuse_made.apply(*files, two(1.0, 1.0), (foreign(files, SIDES[0], old=True), SIDES[1]))
    given = infuse_made.apply(*files, two(1.0, 1.0), both)
    assert relative(sample(model, asked, cfg=3.0), sample(model, given, cfg=3.0)) < 1e-5


def test_copied_to_another_device_it_is_the_same(model, files):
    applied = infuse_made.apply(*files, two(1.0, 1.0), SIDES)
    whole = sample(model, applied)
    clone = applied[0][0][1]["control"].deepclone_multigpu(torch.device("cpu"))
    assert clone.control_model is not files[1].control_model
    assert torch.equal(sample(model, ([[SIDES[0][0][0], {**applied[0][0][1], "control": clone}]], SIDES[1])), whole)


def test_a_model_that_an_ended_run_has_left_behind_stops_nobody(model, files):
    """As after an error whose traceback is kept: the host's list has its network, and no patcher for it."""
    applied = infuse_made.apply(*files, two(1.0, 1.0), SIDES)
    right, other = sample(model, applied), tiny_dits.model(FLUX)
    sample(other, SIDES)
    network = other.model
    network.current_patcher = None
    del other
    gc.collect()
    assert None in comfy.model_management.loaded_models(only_currently_used=True)
    assert torch.equal(sample(model, applied), right)
    del network


def test_another_size_of_the_same_shape_is_told_and_another_shape_refused(model, files, monkeypatch):
    told = []
    monkeypatch.setattr(notes, "tell", lambda _, words, *__: told.append(words))
    applied = infuse_made.apply(*files, two(1.0, 1.0), SIDES)
    for _ in range(2):  # of which no run knows what another has seen
        told.clear()
        assert sample(model, applied, latent(2 * WIDTH, 2 * HEIGHT)).isfinite().all()
        assert any("all people are scaled 2 times" in words for words in told)
    with pytest.raises(BadSize, match="another shape"):
        sample(model, applied, latent(HEIGHT, WIDTH))


@pytest.mark.parametrize("cast", [two(1.0, 1.0), two(1.0)])
def test_a_prompt_with_an_area_is_refused_where_people_have_places(model, files, cast):
    sides = tiny_dits.conditioning(3, area=(14, 9, 0, 0)), SIDES[1]
    with pytest.raises(BadRegion, match=r"an area of its own.*Set Mask"):
        sample(model, infuse_made.apply(*files, cast, sides))
    assert sample(model, infuse_made.apply(*files, one(), sides)).isfinite().all()


def wrong(**changes):
    return lambda files: (files[0], infuse_made.infuse_net(**changes), files[2])


def inpainting(files):
    net = files[1].copy()
    net.concat_mask = True
    return files[0], net, files[2]


def keyed(files):
    net = files[1].copy()
    net.timestep_keyframes = [0.0, 0.5]
    return files[0], net, files[2]


REFUSED = {
    "another family's net": (lambda files: (files[0], comfy.controlnet.ControlBase(), files[2]), NotAnInfuseNet,
                             r"of another family \(ControlBase\).*infusenet_aes_bf16"),
    "a union": (wrong(num_union_modes=3), NotAnInfuseNet, "a union ControlNet"),
    "one that reads pictures": (wrong(latent_input=False), NotAnInfuseNet, "reads pictures without a VAE"),
    "inpainting": (inpainting, NotAnInfuseNet, "for inpainting"),
    "keyframes": (keyed, NotAnInfuseNet, "timestep keyframes"),
    "other blocks": (wrong(depth=5), NotAnInfuseNet, r"one with 5 double and 10 single blocks.*4 double and 10 single"),
    "another width": (wrong(context_in_dim=40), NotAnInfuseNet, "tokens of width 40, not 24"),
    "another VAE": (lambda files: (*files[:2], tiny_vaes.flux1(4)), WrongBaseModel,
                    "The VAE given to Apply InfiniteYou.*latents of 4 channels.*one for 16 channels"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_of_the_method_is_refused(files, what):
    change, error, said = REFUSED[what]
    with pytest.raises(error, match=said):
        infuse_made.apply(*change(files), one(), SIDES)


def test_several_need_places(files):
    with pytest.raises(NotPlaced, match="a position for each person"):
        infuse_made.apply(*files, Cast((person(1), person(2))), SIDES)


def test_models_of_other_families_are_refused_when_sampling_begins(files):
    applied = infuse_made.apply(*files, one(), SIDES)
    with pytest.raises(WrongBaseModel, match=r"FLUX\.2, but FLUX.1 is needed"):
        tiny_dits.sample(tiny_dits.model(FLUX_2), *applied, tiny_dits.latent(FLUX_2, WIDTH, HEIGHT))
    with pytest.raises(WrongBaseModel, match="width 64, but one of width 96"):
        sample(tiny_dits.model(FLUX, hidden_size=96, num_heads=3), applied)
    sdxl = [[torch.zeros(1, 77, 2048), {**options, "pooled_output": torch.zeros(1, 1280)}] for _, options in applied[0]]
    with pytest.raises(WrongBaseModel, match=r"SDXL, but FLUX\.1 is needed"):
        tiny_dits.sample(tiny_sdxl.host_model(tiny_sdxl.diffusers_unet()), sdxl, sdxl, torch.zeros(1, 4, 8, 8))


def test_the_licence_and_who_is_shown_black_are_told(files, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(notes, "tell", lambda _, words, *__: told.append(words))
    monkeypatch.setattr(of_node.FILE.__class__, "chosen", lambda *_: str(tmp_path / "image_proj_model.bin"))
    infuse_made.projection(tmp_path)
    of_node.LoadInfiniteYou.execute("image_proj_model.bin")
    assert "CC BY-NC 4.0" in told[-1]
    bare = replace(two(1.0, 1.0).people[1], slot=replace(box(95.0), keypoints=None))
    infuse_made.apply(*files, PlacedCast((two(1.0).people[0], bare), WIDTH, HEIGHT), SIDES)
    assert "InfuseNet is shown black: person 2" in told[-1]
