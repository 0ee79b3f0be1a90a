"""Parts2Whole through our modules and the host's UNet, against the authors' modules."""

from __future__ import annotations

import comfy.sample
import comfy.samplers
import pytest
import tiny_sd15
import torch
from pack.bridge import carried, runs
from pack.bridge.injections import Injection, InjectionsRun
from pack.bridge.self_attention.recording import record_at_zero
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts, share_with
from pack.core.parts.bank import PartWeights, keep, token_mask
from pack.nodes.parts2whole.net import DecoupledAttn, PoseGuider, padded
from safetensors.torch import load_file
from seeded import seeded

GOLDEN = load_file(tiny_sd15.GOLDEN)


@pytest.fixture(scope="module")
def denoiser():
    return tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))


@pytest.fixture(scope="module")
def reference():
    return tiny_sd15.host_model(tiny_sd15.diffusers_unet(112))


@pytest.fixture(scope="module")
def bank(reference):
    recorded = [record_at_zero(reference, GOLDEN[f"in.part{n}.latent"], GOLDEN[f"in.part{n}.text"]) for n in (0, 1)]
    masks = [GOLDEN[f"in.part{n}.mask"][0, 0] for n in (0, 1)]
    return {
        block: [
            keep(seen[block], token_mask(mask, len(seen[block]))) for seen, mask in zip(recorded, masks, strict=True)
        ]
        for block in recorded[0]
    }


@pytest.mark.both_hosts
def test_the_bank_equals_the_authors(bank):
    assert len(bank) == 16
    for block, parts in bank.items():
        for n, part in enumerate(parts):
            golden = GOLDEN[f"bank.{n}.{tiny_sd15.diffusers_name(block)}"][0]
            inside = (golden != 0).any(dim=1)
            assert part.dropped == int((~inside).sum()) and len(part.kept) + part.dropped == len(golden)
            assert (part.kept - golden[inside]).abs().max() <= 1e-5


def pose_guider_shapes(out=32):
    shapes, channels = {}, 3
    layout = [
        ("conv_in", 16),
        *((f"blocks.{n}", c) for n, c in enumerate((16, 32, 32, 96, 96, 256))),
        ("conv_out", out),
    ]
    for name, width in layout:
        shapes |= {f"{name}.weight": (width, channels, 3, 3), f"{name}.bias": (width,)}
        channels = width
    return shapes


def test_pose_features_equal_the_authors():
    state = seeded(pose_guider_shapes(), 114)
    guider = PoseGuider(state, ops=torch.nn)
    guider.load_state_dict(state, strict=True)
    assert (guider(GOLDEN["in.pose"]) - GOLDEN["pose_features"]).abs().max() <= 1e-5


def dc_shapes(unet):
    widths = {
        name.removesuffix(".processor"): (unet.get_submodule(name.removesuffix(".processor")).to_k.out_features, 48)
        for name in unet.attn_processors
        if "attn2" in name
    }
    return {f"{name}.processor.to_{side}_dc.weight": shape for name, shape in widths.items() for side in "kv"}


def sides(bank, text, negative, image_embeds, pose, dc, weights):
    """Positive and negative as Apply Parts makes them."""
    source, everywhere = object(), carried.ALWAYS
    tokens = padded(list(image_embeds[:, None]))
    layers = tuple((k, v) for k, v in dc.keys_and_values(tokens))
    silent = tuple((torch.zeros_like(k), torch.zeros_like(v)) for k, v in layers)
    positive, negative = (
        share_with([[side, {}]], SharedParts(source, everywhere, seen, weights, pose))
        for side, seen in ((text, bank), (negative, None))
    )
    return (
        carried.put(positive, Injection(source, everywhere, tokens, layers, None)),
        carried.put(negative, Injection(source, everywhere, tokens, silent, None)),
    )


def predictions(model, x, timestep, positive, negative):
    """The noise predicted for each side, from one batch through the host's whole sampling path."""
    seen = {}

    def capture(args):
        seen.update({side: args[f"{side}_denoised"] for side in ("cond", "uncond")})
        return args["denoised"]

    model.set_model_sampler_post_cfg_function(capture, disable_cfg1_optimization=True)
    sigma = model.get_model_object("model_sampling").sigma(torch.tensor([float(timestep)]))
    noisy = x * (sigma**2 + 1).sqrt()

    def once(wrapped, _, sigmas, extra_args=None, **__):
        return wrapped(noisy, sigma, **extra_args)

    zeros = torch.zeros_like(x)
    sigmas = torch.cat([sigma, torch.zeros(1)])
    comfy.sample.sample_custom(
        model, zeros, 3.5, comfy.samplers.KSAMPLER(once), sigmas, positive, negative, zeros, disable_pbar=True, seed=0
    )
    return {side: (noisy - denoised) / sigma for side, denoised in seen.items()}


@pytest.mark.both_hosts
@pytest.mark.parametrize("timestep", [301, 901])
def test_predictions_equal_the_authors(denoiser, bank, timestep, record_property):
    dc_state = seeded(dc_shapes(tiny_sd15.diffusers_unet(111)), 113)
    dc = DecoupledAttn(dc_state, ops=torch.nn)
    dc.load_state_dict(dc.own_state(dc_state), strict=True)
    pose = GOLDEN["pose_features"]
    positive, negative = sides(
        bank, GOLDEN["in.prompt"], GOLDEN["in.neg"], GOLDEN["in.image_embeds"], pose, dc, PartWeights([1.0, 1.0])
    )
    model = runs.patched(denoiser, InjectionsRun, SharingRun)
    eps = predictions(model, GOLDEN["in.x"], timestep, positive, negative)
    for side, ours in eps.items():
        golden = GOLDEN[f"eps.{side}.{timestep}"]
        difference = ((ours - golden).abs().max() / golden.abs().max()).item()
        record_property(f"relative_difference_{side}", difference)
        assert difference <= 1e-5
