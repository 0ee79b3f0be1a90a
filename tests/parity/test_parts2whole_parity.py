"""Parts2Whole through our nodes and the host's UNet, against the authors' numbers, and against their algorithm written
plainly on diffusers' modules: a dense bank, in which masked tokens stay as zeros, projected again at every step."""

import math

import comfy.model_management
import parts_made
import parts_run
import pytest
import tiny_sd15
import torch
import torch.nn.functional as functional
from diffusers.models.attention_processor import AttnProcessor
from drawn import picture
from figures import relative
from marks import each
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.parts.recording import record_at_zero
from pack.core.parts.bank import token_mask, tokens_inside
from pack.core.parts.parts import Parts, make_part
from pack.core.parts.resizing import prepare
from pack.nodes.parts2whole.nodes import Features, put_in
from parts_made import HEIGHT, WIDTH
from parts_run import POSE, apply, denoiser, encode, reading, text
from peers import Sampling, attend
from safetensors.torch import load_file
from tiny import tiny_encoders, tiny_networks

GOLDEN = load_file(tiny_sd15.GOLDEN)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def parts_networks():
    return parts_made.made()


@pytest.fixture(scope="module")
def model(parts_networks):
    return denoiser(parts_networks)


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
            parts.append(tokens_inside(token_mask(mask, len(tokens)), tokens).of(tokens))
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
    features = Features(parts_networks.networks, ("", ""), bank, embeds, (1.0, 1.0), None, tuple(size))
    sides = [[GOLDEN["in.prompt"], {}]], [[GOLDEN["in.neg"], {}]]
    sides = put_in(sides, features, 1.0, WHOLE_SCHEDULE, GOLDEN["pose_features"])
    model = reading(parts_networks.model)
    model.set_model_sampler_post_cfg_function(lambda args: predictions.update(args) or args["denoised"], True)
    sigma = model.get_model_object("model_sampling").sigma(torch.tensor([float(timestep)]))
    noisy = x * (sigma**2 + 1).sqrt()
    tiny_networks.host_sample(model, noisy, torch.cat([sigma, torch.zeros(1)]), *sides, 3.5)
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
        height, width = mask.shape
        scale = 2 ** math.ceil(math.log2(height * width / hidden_states.shape[1]) / 2)
        grid = (math.ceil(height / scale), math.ceil(width / scale))
        small = functional.interpolate(mask[None, None], size=grid, mode="nearest")
        grown = (9 * functional.avg_pool2d(small, 3, stride=1, padding=1)).clamp(0, 1)
        self.bank.append(hidden_states * grown.reshape(1, -1, 1))
        return AttnProcessor()(attn, hidden_states)


class Reader:
    """Self-attention of the denoiser over [own | bank]; the first half of the rows is unconditional."""

    def __init__(self, bank):
        self.bank = bank

    def __call__(self, attn, hidden_states, *_, **__):
        rows = len(hidden_states)
        everything = torch.cat([hidden_states, *(part.expand(rows, -1, -1) for part in self.bank)], dim=1)
        q = attn.to_q(hidden_states)
        shared, alone = (attend(attn.heads, q, attn.to_k(x), attn.to_v(x)) for x in (everything, hidden_states))
        return attn.to_out[0](torch.cat([alone[: rows // 2], shared[rows // 2 :]]))


class Decoupled:
    """Cross-attention over the text, plus that over the last six tokens through their own projections."""

    def __init__(self, to_k, to_v):
        self.to_k, self.to_v = to_k, to_v

    def __call__(self, attn, hidden_states, encoder_hidden_states, *_, **__):
        words, images = encoder_hidden_states[:, :-6], encoder_hidden_states[:, -6:]
        q = attn.to_q(hidden_states)
        out = attend(attn.heads, q, attn.to_k(words), attn.to_v(words))
        return attn.to_out[0](out + attend(attn.heads, q, images @ self.to_k.T, images @ self.to_v.T))


def dense_bank(parts_networks, parts):
    """Per attn1 module the (1, tokens, C) of every part, from what the networks before the UNets make of them."""
    masks = []
    clip = parts_made.clip()
    reference = parts_networks.reference
    writers = {name: Writer(masks) for name in reference.attn_processors if "attn1" in name}
    other_processors = {name: AttnProcessor() for name in reference.attn_processors if "attn1" not in name}
    reference.set_attn_processor({**writers, **other_processors})
    for part in parts.parts:
        ready = prepare(part, WIDTH, HEIGHT)
        masks.append(ready.mask)
        latent = tiny_encoders.vae().encode(ready.picture[None]) * parts_run.LATENT_SCALE
        words = clip.encode_from_tokens(clip.tokenize(part.label))
        reference(latent, torch.zeros(()), encoder_hidden_states=words)
    return {name: writer.bank for name, writer in writers.items()}


@torch.no_grad()
def expected(parts_networks, parts, cfg=3.5, batch=1, pose=POSE):
    """parts: None for the pose alone."""
    sampling = Sampling(WIDTH, HEIGHT, cfg=cfg)
    (sampling.sigmas, sampling.timesteps) = parts_run.schedule()
    sampling.start = parts_run.noise(batch)
    context = torch.cat([text(2)[0], text(1)[0]])
    unet = parts_networks.denoiser
    unet.set_attn_processor(AttnProcessor())
    if parts:
        bank = dense_bank(parts_networks, parts)
        readers: dict[str, Reader | Decoupled] = {name: Reader(bank[name]) for name in bank}
        for name in unet.attn_processors.keys() - bank.keys():
            readers[name] = Decoupled(*(parts_networks.decoupled[f"{name}.to_{side}_dc.weight"] for side in "kv"))
        unet.set_attn_processor(readers)
        embeds = [tiny_encoders.clip_vision().encode_image(part.picture[None])["image_embeds"] for part in parts.parts]
        images = functional.pad(torch.cat(embeds), (0, 0, 0, 6 - len(embeds)))
        context = torch.cat([context, torch.stack([torch.zeros_like(images), images])], dim=1)
    posed = 0 if pose is None else parts_networks.networks.pose_guider.model(pose.movedim(-1, 1))
    hook = unet.conv_in.register_forward_hook(lambda _, __, out: out + posed)
    try:
        return sampling.theirs(unet, lambda _: context)
    finally:
        hook.remove()


def one(mask):
    return Parts((make_part("face", picture(5), mask, 1.0, None),))


CASES = {
    "one at CFG 1": (parts_made.parts(1), {"cfg": 1.0}), "six": (parts_made.parts(6), {}), "no mask": (one(None), {}),
    "three in a batch of two without a pose": (parts_made.parts(3), {"batch": 2, "pose": None}),
    "a mask of everything": (one(torch.ones(1, 140, 100)), {}),
    "a mask of a half": (one(parts_made.box_mask(0, 0, 50, 140)), {}),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", each(CASES, ["three in a batch of two without a pose", "a mask of a half", "one at CFG 1"])
)
def test_sampling_equals_the_published_algorithm(parts_networks, model, case):
    parts, changed = CASES[case]
    pose = changed.get("pose", POSE)
    settings = {name: value for name, value in changed.items() if name != "pose"}
    latents = parts_run.sample(*apply(model, encode(parts_networks, parts), pose=pose), **settings)
    assert relative(latents, expected(parts_networks, parts, pose=pose, **settings)) <= TOLERANCE


def test_strength_zero_leaves_the_pose_alone(parts_networks, model):
    parts = parts_made.parts(3)
    pose_alone = parts_run.sample(*apply(model, encode(parts_networks, parts), strength=0.0))
    with_parts = parts_run.sample(*apply(model, encode(parts_networks, parts), strength=1.0))
    assert relative(pose_alone, expected(parts_networks, None)) <= TOLERANCE
    assert relative(pose_alone, with_parts) > TOLERANCE
