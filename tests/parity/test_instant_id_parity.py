"""InstantID's whole sampling through our nodes and the host's sampler, against the authors' pipeline and diffusers."""

import copy
from functools import cache
from pathlib import Path

import pytest
import sample_values
import tiny_sdxl
import torch
import torch.nn.functional as functional
from diffusers import MultiControlNetModel
from figures import relative
from instant_id_run import DEFAULTS, a_member
from marks import each
from pack.core.cast import Cast, PlacedCast, Slot
from pack.core.places.region_settings import FACE_BOXES, RegionSettings
from pack.nodes.instant_id.net import unconditional
from peers import Sampling, apply, attend, scaled, with_adapters
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import tiny_networks

GOLDEN = Path(__file__).parents[1] / "golden" / "instant_id.safetensors"
TOLERANCE = 1e-5  # relative to the largest latent value
LAYOUTS = {
    "sdxl": (tiny_sdxl.HOST_CONFIG, {}),
    "ssd-1b": (tiny_sdxl.SSD_CONFIG, tiny_sdxl.SSD_CHANGES),
    "golden": (tiny_sdxl.GOLDEN_CONFIG, tiny_sdxl.GOLDEN_CHANGES),
}


class Pair:
    """The same weights in the host and in diffusers: UNet, IdentityNet and adapter."""

    def __init__(self, layout):
        shape, changes = LAYOUTS[layout]
        self.unet = tiny_sdxl.diffusers_unet(151, **changes)
        # IdentityNet keeps SDXL's own layout whatever the UNet's.
        net_shape, net_changes = LAYOUTS["sdxl" if layout == "ssd-1b" else layout]
        self.net = tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet(151, **net_changes), 172)
        self.model = tiny_sdxl.host_model(self.unet, shape)
        self.control_net = tiny_sdxl.host_control_net(self.net, net_shape)
        self.instant_id = sample_values.loaded("instant_id", self.model)
        with_adapters(self.unet, sample_values.file_of("instant_id", self.model))

    def apply(self, cast, sides, hint, **changed):
        inputs = {"instant_id": self.instant_id, "control_net": self.control_net, "cast": cast, "image": hint}
        return apply("LikenessApplyInstantID", model=self.model, **sides, **inputs, **changed)


pair_of = cache(Pair)


@pytest.mark.both_hosts
def test_golden_sampling_of_the_authors():
    golden = load_file(GOLDEN)
    with safe_open(GOLDEN, "pt") as file:
        init = float(file.metadata()["init"])
    pair = pair_of("golden")
    sampling = Sampling(64, 64, seed=181)
    assert torch.equal(sampling.pooled, golden["in.pooled"])
    face = golden["in.emb"][None, None]
    no_face = unconditional(0.0, 512)
    noise = unconditional(1.0, 512)
    assert not no_face.any()
    assert 0 <= noise.min() < 0.01 < 0.99 < noise.max() <= 1
    assert torch.equal(unconditional(0.35, 512), noise * 0.35)
    tokens = pair.instant_id.tokens([no_face, face])
    assert (tokens - golden["sdxl.tokens"]).abs().max() <= 1e-5

    hint = golden["in.hint"][None] / 255.0
    model, *sides = pair.apply(Cast((a_member("her", face[0]),)), sampling.sides, hint)
    latents = tiny_networks.host_sample(model, golden["in.noise"] * init, golden["sdxl.sigmas"], *sides, 5.0)
    assert relative(latents, golden["sdxl.latents"]) <= TOLERANCE


RANGES = {"start_percent": 0.1, "end_percent": 0.5, "adapter_start_percent": 0.2, "adapter_end_percent": 0.7}
CASES = {
    "one picture": ("sdxl", 1, {}), "ranges, batch of two": ("sdxl", 2, RANGES), "layout of SSD-1B": ("ssd-1b", 1, {}),
    "adapter alone": ("sdxl", 1, {"control_strength": 0.0}), "IdentityNet alone": ("sdxl", 1, {"adapter_weight": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize("case", each(CASES, ["ranges, batch of two", "layout of SSD-1B"]))
def test_sampling_equals_diffusers(case):
    layout, batch, changed = CASES[case]
    pair = pair_of(layout)
    settings = {**DEFAULTS, **changed}
    width, height = 136, 104  # odd multiples of 8
    sampling = Sampling(width, height, 8, batch=batch, spacing="trailing")
    face = sampling.normal(1, 512) * 1.5
    hint = torch.rand(1, height, width, 3, generator=sampling.generator)
    latents = sampling.ours(*pair.apply(Cast((a_member("her", face),)), sampling.sides, hint, **changed))

    tokens = pair.instant_id.tokens([torch.zeros(1, 1, 512), face[None]])
    embeds = torch.stack([torch.zeros(1, 1, 512), face[None]]).repeat_interleave(batch, dim=0)

    def within(i, prefix):
        return sampling.inside(pair.model, i, *(settings[f"{prefix}{end}_percent"] for end in ("start", "end")))

    def control(i):
        strength = settings["control_strength"] * within(i, "")
        return (pair.net, hint.permute(0, 3, 1, 2), strength, tokens) if strength else None

    def contexts(i):
        scaled(pair.unet, [settings["adapter_weight"] * within(i, "adapter_")])
        return sampling.text

    reference = sampling.theirs(pair.unet, contexts, control=control, image_embeds=[embeds])
    assert relative(latents, reference) <= TOLERANCE


# Beside other ControlNets, and inside the face boxes: the masks of the authors' pipeline_..._full.py, stated anew.

SCALES = (8, 8, 8, 16, 16, 16, 32, 32, 32)
"""Pixels of the picture per residual pixel of a ControlNet, block by block."""


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
        q = attn.to_q(hidden_states)
        if self.adapter is None:
            out, keys, values = 0, attn.to_k, attn.to_v
            faces = encoder_hidden_states.unflatten(1, (len(self.shares), -1))
        else:
            text, (faces,) = encoder_hidden_states
            out = attend(attn.heads, q, attn.to_k(text), attn.to_v(text))
            (keys,), (values,) = self.adapter.to_k_ip, self.adapter.to_v_ip
        for share, tokens in zip(self.shares, faces.unbind(1), strict=True):
            inside = self.scale * at_tokens(share, hidden_states.shape[1])
            out = out + inside * attend(attn.heads, q, keys(tokens), values(tokens))
        return attn.to_out[0](out)


class Company:
    """IdentityNet, its residuals inside `mask` (H, W) alone, and further ControlNets: together as one net.

    faces: (2, tokens, 2048), row 0 unconditional, read instead of the text. others, hints, strengths: of the further
    nets, which read the text.
    """

    def __init__(self, net, faces, mask, others, hints, strengths):
        self.net, self.faces, self.hints, self.strengths = net, faces, hints, strengths
        self.others = MultiControlNetModel(others)
        height, width = mask.shape
        sizes = [(height // scale, width // scale) for scale in SCALES]
        self.masks = [functional.interpolate(mask[None, None], size, mode="bilinear") for size in sizes]

    def __call__(self, x, timestep, controlnet_cond, conditioning_scale, encoder_hidden_states, **conditions):
        rows = self.faces.repeat_interleave(len(x) // 2, dim=0)
        down, mid = self.net(
            x, timestep, controlnet_cond=controlnet_cond, conditioning_scale=conditioning_scale,
            encoder_hidden_states=rows, **conditions,
        )  # fmt: skip
        residuals, middle = self.others(
            x, timestep, encoder_hidden_states, [hint.expand(len(x), -1, -1, -1) for hint in self.hints],
            self.strengths, **conditions,
        )  # fmt: skip
        together = [a * mask + b for a, mask, b in zip(down, self.masks, residuals, strict=True)]
        return together, mid * self.masks[-1] + middle


def filled(box, height, width):
    """1 inside a box of whole pixels."""
    mask = torch.zeros(height, width)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = 1
    return mask


def read_inside(unet, shares):
    """A copy of the UNet whose adapter acts by everybody's share of each pixel, (people, H, W)."""
    reader = copy.deepcopy(unet)
    layers = reader.attn_processors.items()
    reader.set_attn_processor(
        {name: Regional(shares, old, 0.8) if hasattr(old, "scale") else old for name, old in layers}
    )
    return reader


def read_by_owner(net, tokens, owned):
    """A copy of IdentityNet that reads everybody in their region, where they share what is also another's, and in the
    rest nobody's face; and the tokens of all with those of nobody, (2, people + 1, 16, 2048)."""
    shares = owned / owned.sum(dim=0).clamp(min=1)
    shares = torch.cat([shares, 1 - shares.sum(dim=0, keepdim=True)])
    reader = copy.deepcopy(net)
    layers = reader.attn_processors.items()
    reader.set_attn_processor({name: Regional(shares) if "attn2" in name else old for name, old in layers})
    return reader, torch.cat([tokens, tokens[:1, :1].expand(2, -1, -1, -1)], dim=1)


# Boxes and what is left of them in whole pixels; regions where there are two people: they overlap, and leave a rest.
BOXES = [((24.9, 33.3, 101.7, 111.2), (24, 33, 101, 111)), ((81.5, 20.4, 170.9, 190.0), (81, 20, 170, 128))]
OWNED = [(0, 0, 110, 120), (70, 10, 192, 128)]


@pytest.mark.parametrize(
    ("people", "inside_boxes"), [(1, False), pytest.param(1, True, marks=pytest.mark.thorough), (2, True)]
)
def test_beside_other_control_nets(people, inside_boxes):
    """As in the authors' demo: those of pose and outlines keep the text and the whole picture, and IdentityNet and the
    adapter act everywhere or inside the face boxes alone."""
    pair = pair_of("sdxl")
    (width, height) = (192, 128)
    others = [tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet(), seed) for seed in (173, 174)]
    strengths = [0.4, 0.3]
    sampling = Sampling(width, height, seed=37)
    faces = sampling.normal(people, 512) * 1.5
    hint, pose, edges = torch.rand(3, 1, 3, height, width, generator=sampling.generator)
    boxes = torch.ones(people, height, width)
    if inside_boxes:
        boxes = torch.stack([filled(cut, height, width) for _, cut in BOXES[:people]])
    owned = torch.stack([filled(region, height, width) for region in OWNED]) if people > 1 else None

    chain = None
    for other, picture, strength in zip(others, (pose, edges), strengths, strict=True):
        net = tiny_sdxl.host_control_net(other).set_cond_hint(picture, strength, (0.0, 1.0))
        net.set_previous_controlnet(chain)
        chain = net
    members = (a_member(str(n), faces[n : n + 1], Slot((0.0, 0.0), BOXES[n][0])) for n in range(people))
    settings = RegionSettings(acts_in=FACE_BOXES) if inside_boxes else RegionSettings()
    cast = PlacedCast(tuple(members), width, height, region_settings=settings)
    sides = {}
    for name, side in sampling.sides.items():
        sides[name] = [[tensor, {**options, "control": chain}] for tensor, options in side]
    latents = sampling.ours(*pair.apply(cast, sides, hint.movedim(1, -1), mask=owned))

    embeddings = torch.stack([torch.zeros_like(faces), faces])[:, :, None]
    tokens = pair.unet.encoder_hid_proj([embeddings])[0]  # (2, people, 16, 2048)
    net, acting = pair.net, boxes
    if owned is not None:
        net, tokens = read_by_owner(pair.net, tokens, owned)
        acting = boxes * owned
        acting = acting / acting.sum(dim=0).clamp(min=1)
    reader = read_inside(pair.unet, acting)
    company = Company(net, tokens.flatten(1, 2), acting.sum(dim=0), others, [pose, edges], strengths)
    control = (company, hint, 0.8, None)
    reference = sampling.theirs(reader, control=lambda _: control, image_embeds=[embeddings])
    assert relative(latents, reference) <= TOLERANCE
