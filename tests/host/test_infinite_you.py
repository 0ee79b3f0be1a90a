"""Apply InfiniteYou in the host: other ControlNets, what a run leaves behind. What it refuses: test_refused.py."""

from __future__ import annotations

import gc

import attack_values
import comfy.model_management
import infuse_made
import tiny_dits
import torch
from figures import relative
from pack.bridge.dit import FLUX
from pack.nodes.adapters import LoadAdapter
from pack.nodes.infinite_you import nodes as of_node
from peers import apply

import nodes

pytestmark = tiny_dits.needed
WIDTH, HEIGHT = 128, 96
SIDES = tiny_dits.conditioning(1), tiny_dits.conditioning(2)


def put(sides=SIDES, **changed):
    return apply("LikenessApplyInfiniteYou", positive=sides[0], negative=sides[1], **changed)


def sample(sides, cfg=1.0):
    return tiny_dits.sample(attack_values.flux(), *sides, tiny_dits.latent(FLUX, WIDTH, HEIGHT), cfg=cfg)


def test_prompts_combined_share_the_net_and_what_it_is_shown(monkeypatch):
    positive = [*tiny_dits.conditioning(3, mask=torch.ones(1, HEIGHT, WIDTH)), *tiny_dits.conditioning(4)]
    first, second = put((positive, SIDES[1]))[0]
    assert first[1]["control"] is second[1]["control"] and "mask" in first[1]
    assert all("control" not in options for _, options in positive), "the node works on copies"
    encoded, vae = [], attack_values.flux_vae()
    encode = vae.encode
    monkeypatch.setattr(vae, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    apart = [[first[0], first[1]], [second[0][:, :5], second[1]]]  # texts of two lengths are sampled one by one
    assert sample((apart, SIDES[1])).isfinite().all() and encoded == [2], "both people, once"


def foreign(conditioning, old=False):
    """ComfyUI's own node with some ControlNet of FLUX.1 that reads the text, or the old one."""
    hint = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(8))
    net, vae = attack_values.infuse_net(), attack_values.flux_vae()
    if old:  # which has no input for a VAE
        copy = net.copy().set_cond_hint(hint.movedim(-1, 1), 0.5, vae=vae)
        return [[text, {**o, "control": copy, "control_apply_to_uncond": True}] for text, o in conditioning]
    return nodes.ControlNetApplyAdvanced().apply_controlnet(conditioning, [], net, hint, 0.5, 0.0, 1.0, vae)[0]


def test_other_controlnets_before_and_after_add_up():
    ours, theirs = put(), (foreign(SIDES[0]), SIDES[1])
    before = sample(put(theirs))
    assert relative(before, sample((foreign(ours[0]), SIDES[1]))) < 1e-5
    assert min(relative(before, sample(alone)) for alone in (ours, theirs)) > 1e-3
    assert relative(sample(put(ours)), sample(ours)) > 1e-3


def test_a_net_that_the_host_gives_to_the_negative_too_is_there_without_faces():
    """As Apply ControlNet (OLD) asks for it."""
    asked, given = put((foreign(SIDES[0], old=True), SIDES[1])), put([foreign(side) for side in SIDES])
    assert relative(sample(asked, cfg=3.0), sample(given, cfg=3.0)) < 1e-5


def test_copied_to_another_device_it_is_the_same():
    applied = put()
    whole, ((text, options),) = sample(applied), applied[0]
    clone = options["control"].deepclone_multigpu(torch.device("cpu"))
    assert clone.control_model is not attack_values.infuse_net().control_model
    assert torch.equal(sample(([[text, {**options, "control": clone}]], SIDES[1])), whole)


def test_a_model_that_an_ended_run_has_left_behind_stops_nobody():
    """As after an error whose traceback is kept: the host's list has its network, and no patcher for it."""
    applied = put()
    right, other = sample(applied), tiny_dits.model(FLUX)
    tiny_dits.sample(other, *SIDES, tiny_dits.latent(FLUX, WIDTH, HEIGHT))
    network = other.model
    network.current_patcher = None
    del other
    gc.collect()
    assert None in comfy.model_management.loaded_models(only_currently_used=True)
    assert torch.equal(sample(applied), right)
    del network


def test_a_prompt_with_an_area_is_taken_where_nobody_has_a_place():
    alone = put((tiny_dits.conditioning(3, area=(6, 8, 0, 0)), SIDES[1]), cast="unplaced(identity())")
    assert sample(alone).isfinite().all()


def test_the_licence_is_told(tmp_path, monkeypatch, caplog):
    torch.save(infuse_made.projection_file(), tmp_path / "image_proj_model.bin")
    monkeypatch.setattr(of_node.FILE.__class__, "chosen", lambda *_: str(tmp_path / "image_proj_model.bin"))
    LoadAdapter.execute("image_proj_model.bin")
    assert "CC BY-NC 4.0" in caplog.text
