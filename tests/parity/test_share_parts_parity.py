"""Share Parts Attention: the model as its own reference, on tiny SD1.5- and SDXL-shaped networks."""

import math
from dataclasses import dataclass
from functools import partial
from itertools import product

import comfy.patcher_extension
import instant_id_run
import parts_made
import pytest
import sample_values
import tiny_sd15
import tiny_sdxl
import torch
import torch.nn.functional as functional
from diffusers.models.embeddings import get_timestep_embedding
from figures import relative
from graphs import UNCONNECTED, ours
from marks import each
from pack.bridge.host.unet import coarsest_token_side, transformers
from pack.bridge.parts.recording import PartsRecorder
from pack.core.cast import PlacedCast
from pack.core.parts.bank import token_mask, window
from pack.core.pictures.geometry import Rect
from peers import apply, attend
from tiny import devices, tiny_encoders, tiny_networks
from torch import Tensor

WIDTH, HEIGHT = 88, 120  # odd multiples of 8
LABELS = ("hair or headwear", "shoes")


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request):
    """Of the family, in float64 where the parameter says so: in float32 the order of sums alone makes 2e-6."""
    family, *exact = request.param.split()
    dtype = torch.float64 if exact else torch.float32
    if family == "sd15":
        return tiny_sd15.host_model(tiny_sd15.diffusers_unet(111).to(dtype))
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet().to(dtype))


sd15_often = pytest.mark.parametrize("model", ["sd15", pytest.param("sdxl", marks=pytest.mark.thorough)], indirect=True)


def width_of(model):
    return transformers(model.model.diffusion_model)[0][-1].attn2.to_k.in_features


def text(model, seed):
    return sample_values.text(seed, width_of(model))


def clip_of(model):
    return sample_values.clip() if width_of(model) != 2048 else sample_values.sdxl_clip()


def masks(crop):
    """A band each, or a piece each that does not begin at the picture's edges."""
    of_parts = torch.zeros(2, HEIGHT, WIDTH)
    for n in range(2):
        if crop:
            of_parts[n, 10 + 60 * n : 34 + 60 * n, 40:60] = 1
        else:
            of_parts[n, 20 * n : 20 * n + HEIGHT // 2] = 1
    return list(of_parts)


def pictures():
    return torch.randint(0, 256, (2, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(9)) / 255


def places():
    """(2, H, W): the left of the picture, and what lies right of it with a soft edge over a part of both."""
    left = (torch.arange(WIDTH) < 40).float()
    return torch.stack([left, torch.linspace(-1, 2, WIDTH).clamp(0, 1)])[:, None].repeat(1, HEIGHT, 1)


def worn():
    """The cast of two people, in a look of each part."""
    shown = zip(pictures(), masks(False), LABELS, places(), strict=True)
    people = [
        parts_made.wearing(label, place[None], {"image": picture[None], "mask": mask[None], "label": label})
        for picture, mask, label, place in shown
    ]
    return {"cast": PlacedCast(tuple(people), WIDTH, HEIGHT), "parts": UNCONNECTED}


def wired(crop):
    parts = None
    for picture, mask, label in zip(pictures(), masks(crop), LABELS, strict=True):
        in_front = {} if parts is None else {"parts": parts}
        parts = ours("LikenessPart", image=picture[None], mask=mask[None], label=label, **in_front)
    return {"parts": parts}


def sharing(model, steps=1, crop=False, looks=False):
    """The node's outputs for two parts. steps: None for a reference that is read once. looks: whether two people wear
    the parts, each in a place."""
    given = worn() if looks else wired(crop)
    return apply(
        "LikenessSharePartsAttention", model=model, positive=text(model, 1), negative=text(model, 2), **given,
        clip=clip_of(model), vae=tiny_encoders.vae(), width=WIDTH, height=HEIGHT, layers="all",
        reference="once" if steps is None else "at every step", renew_every=steps or 1, crop_to_mask=crop,
    )  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """What the model is shown of the parts. adm: what SDXL reads beside a text. windows: in latent pixels.

    places: where each is read, (2, H, W)."""

    latents: Tensor
    noise: Tensor
    contexts: Tensor
    adm: Tensor | None
    masks: list[Tensor]
    windows: list[Rect]
    steps: int | None
    places: Tensor | None


@torch.no_grad()
def reference(model, steps=1, crop=False, looks=False):
    """The same parts, read by the networks as diffusers' pipelines read a picture and a text."""
    masks_of_parts = masks(crop)
    cell = coarsest_token_side(model.model.diffusion_model)
    latents, contexts, adm, windows = [], [], [], []
    for picture, mask, label in zip(pictures(), masks_of_parts, LABELS, strict=True):
        windows.append(window(mask, cell) if crop else (0, 0, WIDTH // 8, HEIGHT // 8))
        left, top, right, below = (8 * side for side in windows[-1])
        latents.append(model.model.process_latent_in(tiny_encoders.vae().encode(picture[None])))
        context, pooled = clip_of(model).encode_from_tokens(clip_of(model).tokenize(label), return_pooled=True)
        contexts.append(context)
        # Original size, where the crop begins, and its size, as `add_time_ids` of diffusers' SDXL.
        numbers = torch.tensor([HEIGHT, WIDTH, top, left, below - top, right - left])
        embedded = get_timestep_embedding(numbers, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
        adm.append(torch.cat([pooled, embedded.reshape(1, -1)], dim=1))
    noise = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(0))
    adm_of_parts = torch.cat(adm) if width_of(model) == 2048 else None
    return Reference(
        torch.cat(latents),
        noise,
        torch.cat(contexts),
        adm_of_parts,
        masks_of_parts,
        windows,
        steps,
        places() if looks else None,
    )


sample = partial(instant_id_run.sample, cfg=4.0, size=(WIDTH, HEIGHT))


def oracle(model, parts_reference):
    """The same written plainly: before every n-th forward, or once without noise, each part's own forward, all tokens
    kept, masked ones as zeros; those around a window, which are not computed, too."""
    state = {"calls": 0}
    latents, noise, contexts, adm_of_parts = devices.on_device(
        [parts_reference.latents, parts_reference.noise, parts_reference.contexts, parts_reference.adm]
    )

    def seen_of(unet, x, timesteps, n):
        tokens_by_block = {}
        (left, top, right, below) = parts_reference.windows[n]

        def record(tokens, k, v, extra):
            high, wide = extra["activations_shape"][-2:]
            shrunk = 1 << round(math.log2((right - left) * (below - top) / (high * wide)) / 2)
            grid = [math.ceil(side / shrunk) for side in latents.shape[-2:]]
            dense = tokens.new_zeros(*grid, tokens.shape[-1])
            dense[top // shrunk :, left // shrunk :][:high, :wide] = tokens[0].unflatten(0, (high, wide))
            tokens_by_block[(*extra["block"], extra["block_index"])] = dense.flatten(0, 1)
            return tokens, k, v

        dtype = model.model.get_dtype()
        adm = None if adm_of_parts is None else adm_of_parts[n : n + 1].to(dtype)
        options = {"patches": {"attn1_patch": [record]}}
        x = x[n : n + 1, :, top:below, left:right].to(dtype)
        unet._forward(x, timesteps[:1], contexts[n : n + 1].to(dtype), adm, None, options)
        return tokens_by_block

    def forward(executor, *args, **kwargs):
        timesteps, options = args[1], args[-1]
        sigma = options["sigmas"].max()
        shown = (latents + sigma * noise) / (sigma**2 + 1).sqrt()
        if parts_reference.steps is None:
            shown, timesteps = latents, torch.zeros_like(timesteps)
        if state["calls"] % (parts_reference.steps or math.inf) == 0:
            parts = [seen_of(executor.class_obj, shown, timesteps, n) for n in range(len(shown))]
            state["seen"] = {block: [part[block] for part in parts] for block in parts[0]}
        state["calls"] += 1
        return executor(*args, **kwargs)

    def append(n, k, v, extra):
        tokens_of_parts = state["seen"][(*extra["block"], extra["block_index"])]
        dense = []
        for tokens, mask in zip(tokens_of_parts, parts_reference.masks, strict=True):
            dense.append(tokens * token_mask(mask, len(tokens))[:, None].to(tokens))
        all_tokens = torch.cat([n, torch.cat(dense).expand(len(n), -1, -1)], dim=1)
        return n, all_tokens, all_tokens

    def attention(q, k, v, extra):
        used = [k.shape[1] if side == 0 else q.shape[1] for side in extra["cond_or_uncond"]]
        rows = []
        for n, tokens in enumerate(used):
            row = slice(n, n + 1)
            bias = None
            if parts_reference.places is not None and tokens > q.shape[1]:
                grid = extra["activations_shape"][-2:]
                shares = functional.interpolate(parts_reference.places[None], size=grid, mode="area")[0].flatten(1)
                of_parts = shares.log().T.repeat_interleave(q.shape[1], dim=1)  # (queries, tokens of both parts)
                bias = torch.cat([torch.zeros(q.shape[1], q.shape[1]), of_parts], dim=1).to(q)
            rows.append(attend(extra["n_heads"], q[row, :tokens], k[row, :tokens], v[row, :tokens], bias))
        return torch.cat(rows)

    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "oracle", forward)
    clone.set_model_attn1_patch(append)
    for name, number, _, _ in transformers(model.model.diffusion_model):
        clone.set_model_attn1_replace(attention, name, number)
    return clone


ONCE, PIECES, LOOKS = {"steps": None}, {"crop": True, "steps": 2}, {"looks": True}
CASES = [
    *product(("sd15", "sdxl"), ({}, {"steps": 2}, ONCE, PIECES)),
    *product(("sd15 float64", "sdxl float64"), [LOOKS]),
]


@pytest.mark.parametrize(
    ("model", "changed"),
    each(CASES, [("sd15", {"steps": 2}), ("sd15", ONCE), ("sd15 float64", LOOKS), ("sdxl", PIECES)]),
    indirect=["model"],
)
def test_it_equals_the_idea_written_plainly(model, changed):
    result = sample(*sharing(model, **changed))
    expected = sample(oracle(model, reference(model, **changed)), text(model, 1), text(model, 2))
    assert relative(result, expected) <= (1e-6 if changed is LOOKS else 1e-5)


RENEWED = [
    ("heun", [6, 5, 4, 3, 2, 1, 0], [6, 3]), ("dpmpp_2s_ancestral", [6, 5, 4, 3, 2, 1, 0], [6, 3]),
    ("euler", [6, 5, 4, 3, 5, 4, 3, 2, 1, 0], [6, 4, 3, 5, 4, 3]),  # restarted
]  # fmt: skip


@pytest.mark.parametrize(("name", "sigmas", "recorded"), RENEWED)
@sd15_often
def test_renewed_every_third_step(model, monkeypatch, name, sigmas, recorded):
    """However often a sampler asks within a step; one that goes back is shown the parts at that noise again."""
    recorded_sigmas = []
    plain = PartsRecorder.record

    def counted(self, model, sigma, options):
        recorded_sigmas.append(round(float(sigma), 4))
        return plain(self, model, sigma, options)

    monkeypatch.setattr(PartsRecorder, "record", counted)
    zeros = torch.zeros(2, 4, HEIGHT // 8, WIDTH // 8)
    model_out, *sides = sharing(model, steps=3)
    tiny_networks.host_sample(model_out, zeros, torch.tensor(sigmas).float(), *sides, sampler=name)
    assert recorded_sigmas == recorded
