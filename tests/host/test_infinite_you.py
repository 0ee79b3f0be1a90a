"""Apply InfiniteYou in the host, beside other ControlNets. What it refuses: test_refused.py."""

from copy import deepcopy

import marks
import sample_values
import torch
from figures import relative
from peers import apply
from tiny import tiny_dits

import nodes

pytestmark = marks.transformers
WIDTH, HEIGHT = 128, 96
SIDES = tiny_dits.conditioning(1), tiny_dits.conditioning(2)


def put(sides=SIDES):
    return apply("LikenessApplyInfiniteYou", positive=sides[0], negative=sides[1])


def sample(sides, cfg=1.0):
    return tiny_dits.sample(sample_values.flux(), *sides, tiny_dits.latent(tiny_dits.FLUX, WIDTH, HEIGHT), cfg=cfg)


def foreign(conditioning, old=False):
    """ComfyUI's own node with some ControlNet of FLUX.1 that reads the text, or the old one."""
    hint = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(8))
    net = sample_values.infuse_net()
    vae = sample_values.flux_vae()
    if old:  # which has no input for a VAE
        copy = net.copy().set_cond_hint(hint.movedim(-1, 1), 0.5, vae=vae)
        return [[text, {**o, "control": copy, "control_apply_to_uncond": True}] for text, o in conditioning]
    return nodes.ControlNetApplyAdvanced().apply_controlnet(conditioning, [], net, hint, 0.5, 0.0, 1.0, vae)[0]


def test_other_controlnets_before_and_after_add_up():
    with_faces = put()
    with_another_net = (foreign(SIDES[0]), SIDES[1])
    before = sample(put(with_another_net))
    assert relative(before, sample((foreign(with_faces[0]), SIDES[1]))) < 1e-5
    assert min(relative(before, sample(alone)) for alone in (with_faces, with_another_net)) > 1e-3
    assert relative(sample(put(with_faces)), sample(with_faces)) > 1e-3


def test_a_deep_copy_of_a_prompt_has_the_network_of_the_net():
    net = put()[0][0][1]["control"]
    copied = deepcopy(net)
    assert copied is not net
    assert copied.control_model is net.control_model


def test_both_sides_are_one_batch_in_which_the_negative_has_no_faces():
    positive, negative = put()
    model, batches = sample_values.flux().clone(), []

    def forward(apply_model, given):
        batches.append(given["cond_or_uncond"])
        return apply_model(given["input"], given["timestep"], **given["c"])

    model.set_model_unet_function_wrapper(forward)
    start = tiny_dits.latent(tiny_dits.FLUX, WIDTH, HEIGHT, rows=2)
    together = tiny_dits.sample(model, positive, negative, start, steps=1, cfg=3.0)
    assert [sorted(batch) for batch in batches] == [[0, 1]]
    of_positive = tiny_dits.sample(model, positive, negative, start, steps=1, cfg=1.0)
    of_negative = tiny_dits.sample(model, SIDES[1], negative, start, steps=1, cfg=1.0)
    assert relative(together, of_negative + 3.0 * (of_positive - of_negative)) < 1e-5


def test_a_net_that_the_host_gives_to_the_negative_too_is_there_without_faces():
    """As Apply ControlNet (OLD) asks for it."""
    with_old_net = put((foreign(SIDES[0], old=True), SIDES[1]))
    with_net_on_both = put([foreign(side) for side in SIDES])
    assert relative(sample(with_old_net, cfg=3.0), sample(with_net_on_both, cfg=3.0)) < 1e-5
