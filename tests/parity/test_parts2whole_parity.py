"""Parts2Whole through the host's UNet, against the authors' numbers, which begin at latents and encoded texts; and from
the nodes' inputs on against their algorithm written plainly on diffusers' modules: a dense bank, projected again at
every step, in which masked tokens stay as zeros."""

import math

import comfy.model_management
import numpy as np
import parts_made
import parts_run
import pytest
import tiny_sd15
import torch
import torch.nn.functional as functional
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from drawn import picture
from figures import relative
from graphs import ours
from marks import each
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.parts.recording import record_at_zero
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.bridge.sampling.node_of_run import NodeOfRun
from pack.core.cast import PlacedCast
from pack.core.parts.bank import token_mask, tokens_inside
from pack.core.parts.parts import LABELS
from pack.nodes.parts2whole.net import padded
from pack.nodes.parts2whole.nodes import Features, put_in
from parts_made import HEIGHT, WIDTH
from parts_run import denoiser, reading, text
from peers import Sampling, apply, attend
from PIL import Image
from safetensors.torch import load_file
from tiny import tiny_encoders, tiny_networks

GOLDEN = load_file(tiny_sd15.GOLDEN)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def parts_networks():
    return parts_made.made()


@pytest.fixture(scope="module")
def bank(parts_networks):
    reference = parts_networks.networks.reference
    comfy.model_management.load_models_gpu([reference])
    recorded = [record_at_zero(reference, GOLDEN[f"in.part{n}.latent"], GOLDEN[f"in.part{n}.text"]) for n in (0, 1)]
    masks = [GOLDEN[f"in.part{n}.mask"][0, 0] for n in (0, 1)]
    pairs = list(zip(recorded, masks, strict=True))
    parts_by_block = {}
    for block in recorded[0]:
        parts = []
        for tokens_by_block, mask in pairs:
            tokens = tokens_by_block[block]
            parts += tokens_inside(token_mask(mask, len(tokens))[None], tokens).of(tokens[None])
        parts_by_block[block] = tuple(parts)
    return parts_by_block


def equals(kept_part, dense):
    """What is kept of a part, and what the dense bank has of it."""
    inside = (dense != 0).any(dim=1)
    assert kept_part.dropped == int((~inside).sum())
    assert len(kept_part.kept) + kept_part.dropped == len(dense)
    assert (kept_part.kept - dense[inside]).abs().max() <= TOLERANCE


@pytest.mark.both_hosts
def test_the_bank_equals_the_authors(bank):
    assert len(bank) == 16
    for block, parts in bank.items():
        for n, part in enumerate(parts):
            equals(part, GOLDEN[f"bank.{n}.{tiny_sd15.diffusers_name(block)}"][0])


def test_pose_features_equal_the_authors(parts_networks):
    features = parts_networks.networks.pose_guider.model(GOLDEN["in.pose"])
    assert (features - GOLDEN["pose_features"]).abs().max() <= TOLERANCE


@pytest.mark.both_hosts
@pytest.mark.parametrize("timestep", [301, 901])
def test_predictions_equal_the_authors(parts_networks, bank, timestep):
    """The noise predicted for each side, from one batch through the host's whole sampling path."""
    x = GOLDEN["in.x"]
    predictions = {}
    embeds = tuple(GOLDEN["in.image_embeds"][:, None])
    size = [8 * side for side in x.shape[:1:-1]]
    features = Features(parts_networks.networks, bank, (1.0, 1.0), None, padded(embeds), None, tuple(size))
    texts = SamplerInputs(None, [[GOLDEN["in.prompt"], {}]], [[GOLDEN["in.neg"], {}]])
    sides = put_in(texts, features, 1.0, WHOLE_SCHEDULE, GOLDEN["pose_features"], NodeOfRun("test", None))
    model = reading(parts_networks.model)
    model.set_model_sampler_post_cfg_function(lambda args: predictions.update(args) or args["denoised"], True)
    sigma = model.get_model_object("model_sampling").sigma(torch.tensor([float(timestep)]))
    noisy = x * (sigma**2 + 1).sqrt()
    tiny_networks.host_sample(model, noisy, torch.cat([sigma, torch.zeros(1)]), sides.positive, sides.negative, 3.5)
    for side in ("cond", "uncond"):
        predicted_noise = (noisy - predictions[f"{side}_denoised"].cpu()) / sigma
        assert relative(predicted_noise, GOLDEN[f"eps.{side}.{timestep}"]) <= TOLERANCE


# The published algorithm, with nothing left out and nothing made faster


class Writer:
    """Self-attention of the reference UNet: remembers what it sees, times the mask."""

    def __init__(self, masks):
        self.masks = masks
        self.bank = []

    def __call__(self, attn, hidden_states, *_, **__):
        mask = self.masks[-1]
        small = functional.interpolate(mask[None, None], size=grid_of(hidden_states), mode="nearest")
        grown = (9 * functional.avg_pool2d(small, 3, stride=1, padding=1)).clamp(0, 1)
        self.bank.append(hidden_states * grown.reshape(1, -1, 1))
        return AttnProcessor()(attn, hidden_states)


def grid_of(hidden_states):
    """Rows and columns of a layer's tokens."""
    scale = 2 ** math.ceil(math.log2(HEIGHT * WIDTH / hidden_states.shape[1]) / 2)
    return math.ceil(HEIGHT / scale), math.ceil(WIDTH / scale)


class Reader:
    """Self-attention of the denoiser over [own | bank]; the first half of the rows is unconditional. shares: of each
    part, (H, W), by which a pixel reads it."""

    def __init__(self, bank, shares):
        self.bank, self.shares = bank, shares

    def __call__(self, attn, hidden_states, *_, **__):
        rows, own, _ = hidden_states.shape
        everything = torch.cat([hidden_states, *(part.expand(rows, -1, -1) for part in self.bank)], dim=1)
        shares = functional.interpolate(self.shares[:, None], grid_of(hidden_states), mode="area").flatten(1).T
        times = torch.cat([torch.ones(own, own), shares.repeat_interleave(own, dim=1)], dim=1)
        q = attn.to_q(hidden_states)
        shared = attend(attn.heads, q, attn.to_k(everything), attn.to_v(everything), times.log().to(q))
        alone = attend(attn.heads, q, attn.to_k(hidden_states), attn.to_v(hidden_states))
        return attn.to_out[0](torch.cat([alone[: rows // 2], shared[rows // 2 :]]))


class Decoupled:
    """Cross-attention over the text, plus that over the last tokens, six of each region, through their own projections.

    regions: (regions, H, W), by which a pixel reads the six."""

    def __init__(self, to_k, to_v, strength, regions):
        self.to_k, self.to_v, self.strength, self.regions = to_k, to_v, strength, regions

    def __call__(self, attn, hidden_states, encoder_hidden_states, *_, **__):
        words, *regions = encoder_hidden_states.tensor_split([-6 * n for n in range(len(self.regions), 0, -1)], dim=1)
        q = attn.to_q(hidden_states)
        out = attend(attn.heads, q, attn.to_k(words), attn.to_v(words))
        shares = functional.interpolate(self.regions[:, None], grid_of(hidden_states), mode="nearest").flatten(1)
        for six, share in zip(regions, shares, strict=True):
            values = self.strength * six @ self.to_v.T
            out = out + share[:, None] * attend(attn.heads, q, six @ self.to_k.T, values)
        return attn.to_out[0](out)


def by_pillow(picture, resampling=Image.Resampling.BICUBIC):
    """(H, W, 3) or (H, W), at the size of the new picture."""
    eight_bits = Image.fromarray((picture * 255).round().byte().numpy())
    return torch.from_numpy(np.array(eight_bits.resize((WIDTH, HEIGHT), resampling))) / 255


def dense_bank(reference, parts):
    """Per attn1 module the (1, tokens, C) of every part."""
    masks = []
    clip = parts_made.clip()
    writers = {name: Writer(masks) for name in reference.attn_processors if "attn1" in name}
    other_processors = {name: AttnProcessor() for name in reference.attn_processors if "attn1" not in name}
    reference.set_attn_processor({**writers, **other_processors})
    for part in parts:
        masks.append(torch.ones(HEIGHT, WIDTH) if part.get("mask") is None else by_pillow(part["mask"][0]))
        latent = tiny_encoders.vae().encode(by_pillow(part["image"][0])[None]) * parts_run.LATENT_SCALE
        words = clip.encode_from_tokens(clip.tokenize(part["label"]))
        reference(latent.to(reference.dtype), torch.zeros(()), encoder_hidden_states=words.to(reference.dtype))
    return {name: writer.bank for name, writer in writers.items()}


def weights_of(parts):
    """Pictures of one label and target share the weight of the heaviest."""
    weights = []
    for part in parts:
        garment = [
            other["weight"] for other in parts
            if (other["label"], id(other.get("target_mask"))) == (part["label"], id(part.get("target_mask")))
        ]  # fmt: skip
        weights.append(part["weight"] * max(garment) / sum(garment))
    return weights


def image_tokens(parts, embeds):
    """Regions (regions, H, W), which share a pixel, and the six tokens of each, (6 * regions, width): those of the
    garments whose target it is, and of those without a target. The last region is what all others leave."""
    masks = list({id(part["target_mask"]): part["target_mask"] for part in parts if "target_mask" in part}.values())
    sixes = []
    for mask in (*masks, None):
        by_label: dict[str, torch.Tensor] = {}
        for part, embed in zip(parts, embeds, strict=True):
            if part.get("target_mask") is None or part.get("target_mask") is mask:
                by_label[part["label"]] = by_label.get(part["label"], 0) + embed
        tokens = torch.cat([*by_label.values(), torch.zeros_like(embeds[0])])
        sixes.append(functional.pad(tokens, (0, 0, 0, 6 - len(tokens)))[:6])
    total = sum(masks, torch.zeros(1, HEIGHT, WIDTH))
    regions = torch.cat([*(mask / total.clamp(min=1) for mask in masks), 1 - total.clamp(max=1)])
    return regions, torch.cat(sixes)


@torch.no_grad()
def expected(parts_networks, parts, pose, strength, cfg=3.5, batch=1, steps=parts_run.STEPS):
    """parts: inputs of Part nodes. pose: (1, H, W, 3) or None."""
    sampling = Sampling(WIDTH, HEIGHT, cfg=cfg)
    (sampling.sigmas, sampling.timesteps) = parts_run.schedule(steps)
    unet = parts_networks.denoiser
    sampling.start = parts_run.noise(batch).to(unet.dtype)
    bank = dense_bank(parts_networks.reference, parts)
    everywhere = torch.ones(1, HEIGHT, WIDTH)
    weights = weights_of(parts)
    shares = torch.cat(
        [strength * weight * part.get("target_mask", everywhere) for weight, part in zip(weights, parts, strict=True)]
    )
    see = tiny_encoders.clip_vision().encode_image
    embeds = [weight * see(part["image"])["image_embeds"] for weight, part in zip(weights, parts, strict=True)]
    regions, images = image_tokens(parts, embeds)
    readers: dict[str, Reader | Decoupled] = {name: Reader(bank[name], shares) for name in bank}
    for name in unet.attn_processors.keys() - bank.keys():
        to_k, to_v = (parts_networks.decoupled[f"{name}.to_{side}_dc.weight"] for side in "kv")
        readers[name] = Decoupled(to_k, to_v, strength, regions)
    unet.set_attn_processor(readers)
    context = torch.cat([text(2)[0], text(1)[0]])
    context = torch.cat([context, torch.stack([torch.zeros_like(images), images])], dim=1)
    posed = 0
    if pose is not None:
        guider = ControlNetConditioningEmbedding(32, block_out_channels=(16, 32, 96, 256))
        guider.load_state_dict(parts_made.pose_guider_state(32))
        posed = guider(by_pillow(pose[0], Image.Resampling.LANCZOS).movedim(-1, 0)[None])
    hook = unet.conv_in.register_forward_hook(lambda _, __, out: out + posed)
    try:
        return sampling.theirs(unet, lambda _: context)
    finally:
        hook.remove()


def parts(count):
    """Inputs of Part nodes."""
    weights = 0.6, 1.4, 0.8, 2.0, 0.3, 1.2
    return [
        {"image": picture(n), "label": LABELS[n], "mask": parts_made.MASKS[n], "weight": weights[n]}
        for n in range(count)
    ]


TARGET = torch.zeros(1, HEIGHT, WIDTH)
TARGET[:, 20:90, 13:60] = 1
BESIDE = torch.linspace(-1, 2, WIDTH).clamp(0, 1).expand(1, HEIGHT, WIDTH)  # with a soft edge, over part of TARGET
POSE = picture(90, 2 * WIDTH, 2 * HEIGHT)
ONE, OTHER, THIRD = parts(3)
CASES = {
    "one at CFG 1": ([ONE], {"cfg": 1.0}), "six": (parts(6), {}), "no mask": ([{**ONE, "mask": None}], {}),
    "three in a batch of two without a pose": ([ONE, OTHER, THIRD], {"batch": 2, "pose": None}),
    "a mask of everything": ([{**ONE, "mask": torch.ones(1, 140, 100)}], {}),
    "half masked, a target": (
        [{**ONE, "mask": parts_made.box_mask(0, 0, 50, 140)}, {**OTHER, "target_mask": TARGET}], {},
    ),
    "two people, one in a jacket from two sides": (
        [{**ONE, "target_mask": TARGET}, {**OTHER, "target_mask": BESIDE}, THIRD,
         {**ONE, "image": picture(8), "weight": 0.9, "target_mask": TARGET}], {},
    ),
    "two people in looks beside a part": (
        [{**ONE, "target_mask": TARGET}, {**ONE, "image": picture(8), "weight": 0.9, "target_mask": TARGET},
         {**OTHER, "target_mask": BESIDE}, THIRD], {"looks": True},
    ),
    "a target of the whole picture": ([{**ONE, "target_mask": torch.ones(1, HEIGHT, WIDTH)}, OTHER], {}),
    "the pose alone": ([ONE, OTHER], {"strength": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize(
    "case",
    each(
        CASES,
        [
            "three in a batch of two without a pose",
            "two people, one in a jacket from two sides",
            "two people in looks beside a part",
            "the pose alone",
        ],
    ),
)
def test_sampling_equals_the_published_algorithm(parts_networks, case):
    """Looks in float64, which takes its time, so two steps: in float32 the order of sums alone makes 2e-6."""
    inputs, changed = CASES[case]
    settings = {"strength": 0.7, "pose": POSE, **changed}
    acting = {name: settings.pop(name) for name in ("strength", "pose")}
    chain = {}
    connected = inputs
    tolerance = TOLERANCE
    if settings.pop("looks", False):
        parts_networks, tolerance = parts_made.made(torch.float64), 1e-6
        settings["steps"] = 2
        *anna, ben, beside = inputs
        people = [parts_made.wearing("Anna", TARGET, *anna), parts_made.wearing("Ben", BESIDE, ben)]
        chain["cast"] = PlacedCast(tuple(people), WIDTH, HEIGHT)
        connected = [beside]
    for part in connected:
        in_front = {name: chain[name] for name in ("parts",) if name in chain}
        chain["parts"] = ours("LikenessPart", **part, **in_front)
    encoders = {"clip": parts_made.clip(), "clip_vision": tiny_encoders.clip_vision(), "vae": tiny_encoders.vae()}
    features = ours(
        "LikenessEncodeParts", parts2whole=parts_networks.networks, width=WIDTH, height=HEIGHT, **chain, **encoders
    )
    sides = {"positive": [text(1)], "negative": [text(2)]}
    applied = apply("LikenessApplyParts2Whole", model=denoiser(parts_networks), features=features, **sides, **acting)
    start = parts_run.noise(settings.get("batch", 1)).to(parts_networks.denoiser.dtype)
    latents = parts_run.sample(*applied, start=start, **settings)
    assert relative(latents, expected(parts_networks, inputs, **acting, **settings)) <= tolerance
