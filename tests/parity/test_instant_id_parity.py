"""InstantID's whole sampling through our nodes and the host's sampler, against the authors' pipeline and diffusers."""

from __future__ import annotations

import copy
from pathlib import Path

import comfy.samplers
import pytest
import tiny_sdxl
import torch
import torch.nn.functional as functional
from diffusers import EulerDiscreteScheduler
from figures import relative
from instant_id_made import DEFAULTS, person
from pack.bridge import unet
from pack.core.people import Cast, PlacedCast, Slot
from pack.nodes.instant_id.nodes import ApplyInstantID, load_instant_id
from safetensors import safe_open
from safetensors.torch import load_file
from seeded import instant_id_file

GOLDEN = Path(__file__).parents[1] / "golden" / "instant_id.safetensors"
TOLERANCE = 1e-5  # relative to the largest latent value
LAYOUTS = {"sdxl": (tiny_sdxl.HOST_CONFIG, {}), "ssd-1b": (tiny_sdxl.SSD_CONFIG, tiny_sdxl.SSD_CHANGES)}


class Pair:
    """The same weights in the host and in diffusers: UNet, IdentityNet and adapter."""

    def __init__(self, layout, folder):
        shape, changes = LAYOUTS[layout]
        self.unet = tiny_sdxl.diffusers_unet(151, **changes)
        # IdentityNet keeps SDXL's own layout whatever the UNet's.
        self.net = tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet(151), 172)
        self.model = tiny_sdxl.host_model(self.unet, shape)
        self.control_net = tiny_sdxl.host_control_net(self.net)
        file = instant_id_file([width for *_, width in unet.attention_layers(self.model)])
        torch.save(file, folder / f"{layout}.bin")
        self.instant_id = load_instant_id(str(folder / f"{layout}.bin"))
        self.unet._load_ip_adapter_weights([file], low_cpu_mem_usage=False)
        self.unet.eval().requires_grad_(False)

    def apply(self, cast, text, pooled, hint, **changed):
        return ApplyInstantID.execute(
            self.model, *tiny_sdxl.conditioning(text, pooled), self.instant_id, self.control_net, cast, hint,
            **{**DEFAULTS, **changed},
        ).args  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instantid")
    return {layout: Pair(layout, folder) for layout in LAYOUTS}


@pytest.mark.both_hosts
def test_golden_sampling_of_the_authors(pairs, record_property):
    golden = load_file(GOLDEN)
    with safe_open(GOLDEN, "pt") as file:
        init = float(file.metadata()["init"])
    pair = pairs["sdxl"]
    generator = torch.Generator().manual_seed(181)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    assert torch.equal(pooled, golden["in.pooled"])
    face = golden["in.emb"][None, None]
    tokens = pair.instant_id.tokens([torch.zeros(1, 1, 512), face])
    assert (tokens - golden["sdxl.tokens"]).abs().max() <= 1e-5

    hint = golden["in.hint"][None] / 255.0
    model, positive, negative = pair.apply(Cast((person("her", face[0]),)), text, pooled, hint)
    latents = tiny_sdxl.host_sample(model, golden["in.noise"] * init, golden["sdxl.sigmas"], positive, negative, 5.0)
    difference = relative(latents, golden["sdxl.latents"])
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE


CASES = {
    "one picture": ("sdxl", 1, {}),
    "batch of two": ("sdxl", 2, {}),
    "layout of SSD-1B": ("ssd-1b", 1, {}),
    "adapter alone": ("sdxl", 1, {"control_strength": 0.0}),
    "IdentityNet alone": ("sdxl", 1, {"adapter_weight": 0.0}),
    "IdentityNet from 0.1 to 0.5": ("sdxl", 1, {"start_percent": 0.1, "end_percent": 0.5}),
    "adapter from 0.2 to 0.7": ("sdxl", 1, {"adapter_start_percent": 0.2, "adapter_end_percent": 0.7}),
}


@pytest.mark.parametrize("case", CASES)
def test_sampling_equals_diffusers(pairs, case, record_property):
    layout, batch, changed = CASES[case]
    pair, settings = pairs[layout], {**DEFAULTS, **changed}
    width, height = 136, 104  # odd multiples of 8
    generator = torch.Generator().manual_seed(11)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    face = torch.randn(1, 512, generator=generator) * 1.5
    hint = torch.rand(1, height, width, 3, generator=generator)
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(8)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(batch, 4, height // 8, width // 8, generator=generator) * scheduler.init_noise_sigma

    model, positive, negative = pair.apply(Cast((person("her", face),)), text, pooled, hint, **changed)
    ours = tiny_sdxl.host_sample(model, start, sigmas, positive, negative, 5.0)

    def inside(i, first, last):
        sampling = pair.model.get_model_object("model_sampling")
        return sampling.percent_to_sigma(first) >= sigmas[i] >= sampling.percent_to_sigma(last)

    tokens = pair.instant_id.tokens([torch.zeros(1, 1, 512), face[None]])
    embeds = torch.stack([torch.zeros(1, 1, 512), face[None]]).repeat_interleave(batch, dim=0)

    def control(i):
        strength = settings["control_strength"] * inside(i, settings["start_percent"], settings["end_percent"])
        return (pair.net, hint.permute(0, 3, 1, 2), strength, tokens) if strength else None

    def contexts(i):
        on = inside(i, settings["adapter_start_percent"], settings["adapter_end_percent"])
        for processor in pair.unet.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [settings["adapter_weight"] if on else 0.0]
        return text

    time_ids = torch.tensor([[height, width, 0, 0, height, width]])
    reference = tiny_sdxl.diffusers_sample(
        pair.unet, start, sigmas, timesteps, contexts, pooled, time_ids, 5.0, control, image_embeds=[embeds]
    )
    difference = relative(ours, reference)
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE


# Inside the face boxes alone: the masks of the authors' pipeline_..._full.py, stated anew for diffusers' modules.

SCALES = (8, 8, 8, 16, 16, 16, 32, 32, 32)
"""Pixels of the picture per residual pixel of a ControlNet, block by block."""


def heard(attn, hidden, context, keys, values):
    """Attention of a diffusers layer before its output projection, (B, N, C)."""
    given = attn.to_q(hidden), keys(context), values(context)
    q, k, v = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in given)
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def at_tokens(share, tokens):
    """A share (H, W) at the grid of so many tokens, (tokens, 1)."""
    ratio = (share.numel() / tokens) ** 0.5
    return functional.interpolate(share[None, None], scale_factor=1 / ratio, mode="nearest").reshape(-1, 1)


class Regional:
    """Cross-attention of a diffusers layer in which each face counts in its own share of the picture.

    shares: (faces, H, W). adapter: the UNet's own for the image tokens beside the text, with its scale; else the whole
    context is image tokens.
    """

    def __init__(self, shares, adapter=None, scale=1.0):
        self.shares, self.adapter, self.scale = shares, adapter, scale

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        if self.adapter is None:
            out, keys, values = 0, attn.to_k, attn.to_v
            faces = encoder_hidden_states.unflatten(1, (len(self.shares), -1))
        else:
            text, (faces,) = encoder_hidden_states
            out = heard(attn, hidden_states, text, attn.to_k, attn.to_v)
            (keys,), (values,) = self.adapter.to_k_ip, self.adapter.to_v_ip
        for share, tokens in zip(self.shares, faces.unbind(1), strict=True):
            inside = self.scale * at_tokens(share, hidden_states.shape[1])
            out = out + inside * heard(attn, hidden_states, tokens, keys, values)
        return attn.to_out[0](out)


class Company:
    """IdentityNet, its residuals inside `mask` (H, W) alone, and a second ControlNet: together as one net.

    faces: (2, tokens, 2048), row 0 unconditional, read instead of the text.
    """

    def __init__(self, net, faces, mask, other, edges):
        self.net, self.faces, self.other, self.edges = net, faces, other, edges
        height, width = mask.shape
        self.masks = [
            functional.interpolate(mask[None, None], (height // scale, width // scale), mode="bilinear")
            for scale in SCALES
        ]

    def __call__(self, x, timestep, controlnet_cond, conditioning_scale, encoder_hidden_states, **given):
        rows = self.faces.repeat_interleave(len(x) // 2, dim=0)
        down, mid = self.net(
            x, timestep, controlnet_cond=controlnet_cond, conditioning_scale=conditioning_scale,
            encoder_hidden_states=rows, **given,
        )  # fmt: skip
        more, middle = self.other(
            x, timestep, controlnet_cond=self.edges.expand(len(x), -1, -1, -1), conditioning_scale=0.4,
            encoder_hidden_states=encoder_hidden_states, **given,
        )  # fmt: skip
        together = [a * mask + b for a, mask, b in zip(down, self.masks, more, strict=True)]
        return together, mid * self.masks[-1] + middle


def filled(box, height, width):
    """1 inside a box of whole pixels."""
    mask = torch.zeros(height, width)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = 1
    return mask


# Boxes and what is left of them in whole pixels; regions where there are two people: they overlap, and leave a rest.
BOXES = [((24.9, 33.3, 101.7, 111.2), (24, 33, 101, 111)), ((81.5, 20.4, 170.9, 190.0), (81, 20, 170, 128))]
OWNED = [(0, 0, 110, 120), (70, 10, 192, 128)]


@pytest.mark.parametrize("people", [1, 2])
def test_inside_the_face_boxes_alone(pairs, people, record_property):
    """With a second ControlNet in company, which keeps the text and the whole picture."""
    pair, (width, height) = pairs["sdxl"], (192, 128)
    other = tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet(151), 173)
    generator = torch.Generator().manual_seed(37)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    faces = torch.randn(people, 512, generator=generator) * 1.5
    hint, edges = torch.rand(2, 1, height, width, 3, generator=generator)
    boxes = torch.stack([filled(cut, height, width) for _, cut in BOXES[:people]])
    owned = torch.stack([filled(region, height, width) for region in OWNED])
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="leading"
    )
    scheduler.set_timesteps(6)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(1, 4, height // 8, width // 8, generator=generator) * scheduler.init_noise_sigma

    canny = tiny_sdxl.host_control_net(other).set_cond_hint(edges.movedim(-1, 1), 0.4, (0.0, 1.0))
    cast = PlacedCast(
        tuple(person(str(n), faces[n : n + 1], Slot((0.0, 0.0), BOXES[n][0])) for n in range(people)), width, height
    )
    sides = [[[x, {**more, "control": canny}] for x, more in side] for side in tiny_sdxl.conditioning(text, pooled)]
    model, positive, negative = ApplyInstantID.execute(
        pair.model, *sides, pair.instant_id, pair.control_net, cast, hint,
        **{**DEFAULTS, "acts_in": "face boxes", "mask": owned if people > 1 else None},
    ).args  # fmt: skip
    ours = tiny_sdxl.host_sample(model, start, sigmas, positive, negative, 5.0)

    given = torch.stack([torch.zeros_like(faces), faces])[:, :, None]
    tokens = pair.unet.encoder_hid_proj([given])[0]  # (2, people, 16, 2048)
    acting, net = boxes, copy.deepcopy(pair.net)
    if people > 1:
        # Everybody is read in their region, and shares what is also another's; the rest hears nobody's face.
        acting = boxes * owned
        acting, shares = (x / x.sum(dim=0).clamp(min=1) for x in (acting, owned))
        shares = torch.cat([shares, 1 - shares.sum(dim=0, keepdim=True)])
        tokens = torch.cat([tokens, tokens[:1, :1].expand(2, -1, -1, -1)], dim=1)
        net.set_attn_processor(
            {name: Regional(shares) if "attn2" in name else old for name, old in net.attn_processors.items()}
        )
    reader = copy.deepcopy(pair.unet)
    reader.set_attn_processor(
        {n: Regional(acting, old, 0.8) if hasattr(old, "scale") else old for n, old in reader.attn_processors.items()}
    )
    company = Company(net, tokens.flatten(1, 2), acting.sum(dim=0), other, edges.movedim(-1, 1))
    time_ids = torch.tensor([[height, width, 0, 0, height, width]])
    reference = tiny_sdxl.diffusers_sample(
        reader, start, sigmas, timesteps, lambda _: text, pooled, time_ids, 5.0,
        lambda _: (company, hint.movedim(-1, 1), 0.8, None), image_embeds=[given],
    )  # fmt: skip
    difference = relative(ours, reference)
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE


def test_the_sampler_switches_at_the_same_sigmas_as_the_host(pairs):
    """The adapter's range is the host's own percentage, not a fraction of the steps."""
    sampling = pairs["sdxl"].model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 6)
    assert sampling.percent_to_sigma(0.2) == pytest.approx(float(sigmas[1]), rel=1e-6)
