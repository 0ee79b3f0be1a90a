"""Apply InfiniteYou in the host: who is there, other ControlNets, what a run leaves behind, and what it refuses."""

from __future__ import annotations

import gc
from dataclasses import replace

import attack_values
import comfy.controlnet
import comfy.model_management
import comfy.sd
import infuse_made
import pytest
import tiny_dits
import tiny_sdxl
import tiny_vaes
import torch
from figures import relative
from pack.bridge import notes
from pack.bridge.dit import FLUX, FLUX_2
from pack.core.errors import BadSize, WrongBaseModel
from pack.core.people import Cast, NotPlaced, PlacedCast, Slot
from pack.core.places.regions import BadRegion
from pack.nodes.adapters import LoadAdapter
from pack.nodes.infinite_you import nodes as of_node
from pack.nodes.infinite_you.infuse_net import NotAnInfuseNet
from pack.nodes.infinite_you.nodes import load_infinite_you
from pack.nodes.references.encoding import REFERENCES, PeopleReferences
from peers import apply
from people_made import person

import nodes

pytestmark = tiny_dits.needed
WIDTH, HEIGHT = 144, 112
KEYPOINTS = ((20.0, 30.0), (40.0, 30.0), (30.0, 40.0), (22.0, 50.0), (38.0, 50.0))
SIDES = tiny_dits.conditioning(1), tiny_dits.conditioning(2)


@pytest.fixture(scope="module")
def model():
    return tiny_dits.model(FLUX)


@pytest.fixture(scope="module")
def net():
    return infuse_made.infuse_net()


@pytest.fixture(scope="module")
def vae():
    return tiny_vaes.flux1()


@pytest.fixture(scope="module")
def put(net, vae):
    """put(cast, sides, ...) -> (positive, negative)."""

    def put(cast, sides=SIDES, **changed):
        given = {"control_net": net, "vae": vae, "cast": cast, **changed}
        return apply("LikenessApplyInfiniteYou", positive=sides[0], negative=sides[1], **given)

    return put


def sample(model, sides, start=None, cfg=1.0):
    start = tiny_dits.latent(FLUX, WIDTH, HEIGHT) if start is None else start
    return tiny_dits.sample(model, *sides, start, cfg=cfg)


def one():
    return Cast((person(1),))


def box(x0):
    """A face of 40 px in the upper half of the canvas."""
    return Slot((x0 + 20.0, 40.0), (x0, 20.0, x0 + 40.0, 60.0), tuple((x + x0 - 10, y) for x, y in KEYPOINTS))


def two(*weights):
    people = (person(n, slot=box(90.0 * n - 85.0), weight=weight) for n, weight in enumerate(weights, 1))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def test_files_as_the_hosts_own_loaders_read_them(standin_models, put):
    def of(name):
        return str(standin_models.of_transformer(name))

    loaded, net = load_infinite_you(of("image_proj_model")), comfy.controlnet.load_controlnet(of("infusenet"))
    sides = [[[torch.full((1, 7, loaded.width), n), {"pooled_output": torch.full((1, 768), n)}]] for n in (0.5, 1.0)]
    model = comfy.sd.load_diffusion_model(of("flux"))
    applied = put(two(1.0, 1.0), sides, infinite_you=loaded, control_net=net)
    assert relative(sample(model, applied), sample(model, sides)) > 1e-3


def test_who_has_no_weight_is_not_there(model, put):
    alone = PlacedCast(two(1.0).people, WIDTH, HEIGHT)
    assert torch.equal(sample(model, put(two(1.0, 0.0))), sample(model, put(alone)))


def test_prompts_combined_share_the_net_and_what_it_is_shown(model, put, vae, monkeypatch):
    positive = [*tiny_dits.conditioning(3, mask=torch.ones(1, HEIGHT, WIDTH)), *tiny_dits.conditioning(4)]
    first, second = put(two(1.0, 1.0), (positive, SIDES[1]))[0]
    assert first[1]["control"] is second[1]["control"] and "mask" in first[1]
    assert all("control" not in options for _, options in positive), "the node works on copies"
    encoded, encode = [], vae.encode
    monkeypatch.setattr(vae, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    apart = [[first[0], first[1]], [second[0][:, :5], second[1]]]  # texts of two lengths are sampled one by one
    assert sample(model, (apart, SIDES[1])).isfinite().all() and encoded == [2], "both people, once"


@pytest.fixture
def foreign(net, vae):
    """ComfyUI's own node with some ControlNet of FLUX.1 that reads the text, or the old one."""

    def foreign(conditioning, old=False):
        hint = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(8))
        if old:  # which has no input for a VAE
            copy = net.copy().set_cond_hint(hint.movedim(-1, 1), 0.5, vae=vae)
            more = {"control": copy, "control_apply_to_uncond": True}
            return [[text, {**options, **more}] for text, options in conditioning]
        return nodes.ControlNetApplyAdvanced().apply_controlnet(conditioning, [], net, hint, 0.5, 0.0, 1.0, vae)[0]

    return foreign


def test_other_controlnets_before_and_after_add_up(model, put, foreign):
    ours, theirs = put(two(1.0, 1.0)), (foreign(SIDES[0]), SIDES[1])
    before = sample(model, put(two(1.0, 1.0), theirs))
    assert relative(before, sample(model, (foreign(ours[0]), SIDES[1]))) < 1e-5
    assert min(relative(before, sample(model, alone)) for alone in (ours, theirs)) > 1e-3
    assert relative(sample(model, put(two(1.0, 1.0), ours)), sample(model, ours)) > 1e-3


def test_beside_references_by_region_in_both_orders(model, put):
    portraits = tuple(tiny_dits.latent(FLUX, 48, 64, n) for n in (10, 11))
    record = {REFERENCES: PeopleReferences(two(1.0, 1.0), portraits, (0, 1))}
    bare = [tiny_dits.conditioning(n, portraits, **record) for n in (1, 2)]

    def bound(positive, negative):
        given = {"model": model, "positive": positive, "negative": negative}
        return apply("LikenessBindReferences", **given, mask=attack_values.mask(2, WIDTH, HEIGHT))

    patched, *theirs = bound(*bare)
    faces = put(two(1.0, 1.0), bare)
    first, *second = bound(*faces)
    before, after = sample(patched, put(two(1.0, 1.0), theirs)), sample(first, second)
    assert relative(before, after) < 1e-5
    assert min(relative(before, sample(*alone)) for alone in ((patched, theirs), (model, faces))) > 1e-4


def test_a_net_that_the_host_gives_to_the_negative_too_is_there_without_faces(model, put, foreign):
    """As Apply ControlNet (OLD) asks for it."""
    asked = put(two(1.0, 1.0), (foreign(SIDES[0], old=True), SIDES[1]))
    given = put(two(1.0, 1.0), [foreign(side) for side in SIDES])
    assert relative(sample(model, asked, cfg=3.0), sample(model, given, cfg=3.0)) < 1e-5


def test_copied_to_another_device_it_is_the_same(model, put, net):
    applied = put(two(1.0, 1.0))
    whole, ((text, options),) = sample(model, applied), applied[0]
    clone = options["control"].deepclone_multigpu(torch.device("cpu"))
    assert clone.control_model is not net.control_model
    assert torch.equal(sample(model, ([[text, {**options, "control": clone}]], SIDES[1])), whole)


def test_a_model_that_an_ended_run_has_left_behind_stops_nobody(model, put):
    """As after an error whose traceback is kept: the host's list has its network, and no patcher for it."""
    applied = put(two(1.0, 1.0))
    right, other = sample(model, applied), tiny_dits.model(FLUX)
    sample(other, SIDES)
    network = other.model
    network.current_patcher = None
    del other
    gc.collect()
    assert None in comfy.model_management.loaded_models(only_currently_used=True)
    assert torch.equal(sample(model, applied), right)
    del network


@pytest.fixture
def told(monkeypatch):
    said = []
    monkeypatch.setattr(notes, "tell", lambda _, words, *__: said.append(words))
    return said


def test_another_size_of_the_same_shape_is_told_and_another_shape_refused(model, put, told):
    applied = put(two(1.0, 1.0))
    for _ in range(2):  # of which no run knows what another has seen
        told.clear()
        assert sample(model, applied, tiny_dits.latent(FLUX, 2 * WIDTH, 2 * HEIGHT)).isfinite().all()
        assert any("all people are scaled 2 times" in words for words in told)
    with pytest.raises(BadSize, match="another shape"):
        sample(model, applied, tiny_dits.latent(FLUX, HEIGHT, WIDTH))


@pytest.mark.parametrize("cast", [two(1.0, 1.0), two(1.0)])
def test_a_prompt_with_an_area_is_refused_where_people_have_places(model, put, cast):
    sides = tiny_dits.conditioning(3, area=(14, 9, 0, 0)), SIDES[1]
    with pytest.raises(BadRegion, match=r"an area of its own.*Set Mask"):
        sample(model, put(cast, sides))
    assert sample(model, put(one(), sides)).isfinite().all()


def wrong(**changes):
    return lambda _: {"control_net": infuse_made.infuse_net(**changes)}


def as_if(name, value):
    def changed(net):
        copy = net.copy()
        setattr(copy, name, value)
        return {"control_net": copy}

    return changed


REFUSED = {
    "another family's net": (lambda _: {"control_net": comfy.controlnet.ControlBase()}, NotAnInfuseNet,
                             r"of another family \(ControlBase\).*infusenet_aes_bf16"),
    "a union": (wrong(num_union_modes=3), NotAnInfuseNet, "a union ControlNet"),
    "one that reads pictures": (wrong(latent_input=False), NotAnInfuseNet, "reads pictures without a VAE"),
    "inpainting": (as_if("concat_mask", True), NotAnInfuseNet, "for inpainting"),
    "keyframes": (as_if("timestep_keyframes", [0.0, 0.5]), NotAnInfuseNet, "timestep keyframes"),
    "other blocks": (wrong(depth=5), NotAnInfuseNet, r"one with 5 double and 10 single blocks.*4 double and 10 single"),
    "another width": (wrong(context_in_dim=40), NotAnInfuseNet, "tokens of width 40, not 24"),
    "another VAE": (lambda _: {"vae": tiny_vaes.flux1(4)}, WrongBaseModel,
                    "The VAE given to Apply InfiniteYou.*latents of 4 channels.*one for 16 channels"),
    "several without places": (lambda _: {"cast": Cast((person(1), person(2)))}, NotPlaced,
                               "a position for each person"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_of_the_method_is_refused(put, net, what):
    change, error, said = REFUSED[what]
    with pytest.raises(error, match=said):
        put(**{"cast": one(), **change(net)})


def test_models_of_other_families_are_refused_when_sampling_begins(put):
    applied = put(one())
    with pytest.raises(WrongBaseModel, match=r"FLUX\.2, but FLUX.1 is needed"):
        tiny_dits.sample(tiny_dits.model(FLUX_2), *applied, tiny_dits.latent(FLUX_2, WIDTH, HEIGHT))
    with pytest.raises(WrongBaseModel, match="width 64, but one of width 96"):
        sample(tiny_dits.model(FLUX, hidden_size=96, num_heads=3), applied)
    sdxl = [[torch.zeros(1, 77, 2048), {**options, "pooled_output": torch.zeros(1, 1280)}] for _, options in applied[0]]
    with pytest.raises(WrongBaseModel, match=r"SDXL, but FLUX\.1 is needed"):
        tiny_dits.sample(tiny_sdxl.host_model(tiny_sdxl.diffusers_unet()), sdxl, sdxl, torch.zeros(1, 4, 8, 8))


def test_the_licence_and_who_is_shown_black_are_told(put, tmp_path, monkeypatch, told):
    torch.save(infuse_made.projection_file(), tmp_path / "image_proj_model.bin")
    monkeypatch.setattr(of_node.FILE.__class__, "chosen", lambda *_: str(tmp_path / "image_proj_model.bin"))
    LoadAdapter.execute("image_proj_model.bin")
    assert "CC BY-NC 4.0" in told[-1]
    bare = replace(two(1.0, 1.0).people[1], slot=replace(box(95.0), keypoints=None))
    put(PlacedCast((two(1.0).people[0], bare), WIDTH, HEIGHT))
    assert "InfuseNet is shown black: person 2" in told[-1]
