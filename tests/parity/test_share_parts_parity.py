"""Share Parts Attention: the model as its own reference, on tiny SD1.5- and SDXL-shaped networks."""

import math
from dataclasses import replace
from functools import partial

import comfy.patcher_extension
import instant_id_run
import pytest
import sample_values
import tiny_sd15
import tiny_sdxl
import torch
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from figures import relative
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.host.unet import coarsest_token_side, transformers
from pack.bridge.parts.recording import PartsRecorder, SelfReference
from pack.bridge.parts.shared_parts import SharedParts, share_with
from pack.bridge.parts.sharing_run import SharingRun
from pack.bridge.sampling.runs import patched
from pack.core.parts.bank import PartWeights, token_mask, window
from pack.core.parts.parts import Parts, make_part
from peers import apply, attend
from tiny import devices, tiny_networks
from tiny.seeded import normal

WIDTH, HEIGHT = 88, 120  # odd multiples of 8


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request):
    if request.param == "sd15":
        return tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


sd15_often = pytest.mark.parametrize("model", ["sd15", pytest.param("sdxl", marks=pytest.mark.thorough)], indirect=True)


def width_of(model):
    return transformers(model.model.diffusion_model)[0][-1].attn2.to_k.in_features


def text(model, seed):
    return sample_values.text(seed, width_of(model))


def masks(cover, wide):
    bands = torch.zeros(2, HEIGHT, WIDTH)
    for n in range(2):
        bands[n, n * 20 : n * 20 + int(HEIGHT * cover), :wide] = 1
    return list(bands)


def reference(model, cover=0.5, steps=1, crop=False):
    count = 2
    adm = None if width_of(model) != 2048 else normal(9, 2, 2816)
    masks_of_parts = masks(cover, 20 if crop else WIDTH)
    cell = coarsest_token_side(model.model.diffusion_model)
    latents, noise = (normal(seed, rows, 4, HEIGHT // 8, WIDTH // 8) for seed, rows in ((3, count), (5, 1)))
    return SelfReference(
        model.model.process_latent_out(latents), masks=masks_of_parts, noise=noise, adm=adm,
        contexts=normal(4, count, 77, width_of(model)), layers="all", steps=steps,
        windows=[window(mask, cell) if crop else (0, 0, WIDTH // 8, HEIGHT // 8) for mask in masks_of_parts],
    )  # fmt: skip


def sides(model, live):
    common = {"source": object(), "weights": PartWeights([1.0, 1.0], None), "pose": None, "schedule": WHOLE_SCHEDULE}
    with_parts, without_parts = SharedParts(bank=None, live=live, **common), SharedParts(bank=None, **common)
    return share_with(text(model, 1), text(model, 2), with_parts, without_parts)


sample = partial(instant_id_run.sample, cfg=4.0, size=(WIDTH, HEIGHT))


def oracle(model, parts_reference):
    """The same written plainly: before every n-th forward, or once without noise, each part's own forward, all tokens
    kept, masked ones as zeros; those around a window, which are not computed, too."""
    state = {"calls": 0}
    read = {name: getattr(parts_reference, name) for name in ("latents", "noise", "contexts", "adm")}
    parts_reference = replace(parts_reference, **devices.on_device(read))

    def seen_of(unet, x, timesteps, n):
        tokens_by_block = {}
        (left, top, right, below) = parts_reference.windows[n]

        def record(tokens, k, v, extra):
            high, wide = extra["activations_shape"][-2:]
            shrunk = 1 << round(math.log2((right - left) * (below - top) / (high * wide)) / 2)
            grid = [math.ceil(side / shrunk) for side in parts_reference.latents.shape[-2:]]
            dense = tokens.new_zeros(*grid, tokens.shape[-1])
            dense[top // shrunk :, left // shrunk :][:high, :wide] = tokens[0].unflatten(0, (high, wide))
            tokens_by_block[(*extra["block"], extra["block_index"])] = dense.flatten(0, 1)
            return tokens, k, v

        adm = None if parts_reference.adm is None else parts_reference.adm[n : n + 1]
        options = {"patches": {"attn1_patch": [record]}}
        x = x[n : n + 1, :, top:below, left:right]
        unet._forward(x, timesteps[:1], parts_reference.contexts[n : n + 1], adm, None, options)
        return tokens_by_block

    def forward(executor, *args, **kwargs):
        kwargs.pop(SharedParts.key, None)
        timesteps, options = args[1], args[-1]
        sigma = options["sigmas"].max()
        latents = model.model.process_latent_in(parts_reference.latents)
        shown = (latents + sigma * parts_reference.noise) / (sigma**2 + 1).sqrt()
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
            rows.append(attend(extra["n_heads"], q[row, :tokens], k[row, :tokens], v[row, :tokens]))
        return torch.cat(rows)

    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "oracle", forward)
    clone.set_model_attn1_patch(append)
    for name, number, _, _ in transformers(model.model.diffusion_model):
        clone.set_model_attn1_replace(attention, name, number)
    return clone


ONCE = {"steps": None}


@sd15_often
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, marks=pytest.mark.thorough),
        {"steps": 2},
        ONCE,
        {"crop": True, "cover": 0.2, "steps": 2},
    ],
    ids=str,
)
def test_it_equals_the_idea_written_plainly(model, changed):
    parts_reference = reference(model, **changed)
    result = sample(patched(model, SharingRun), *sides(model, parts_reference))
    expected = sample(oracle(model, parts_reference), text(model, 1), text(model, 2))
    assert relative(result, expected) <= 1e-5


def test_sdxl_is_told_which_crop_of_a_part_it_is_shown():
    """By the node: height and width, top and left of the crop, height and width of the crop, as in SDXL's training."""
    mask = torch.zeros(1, 256, 384)
    mask[:, 70:180, 200:300] = 1
    garment = make_part("coat", normal(6, 1, 256, 384, 3).sigmoid(), mask, 1.0, None)
    given = {"model": tiny_sdxl.host_model(tiny_sdxl.diffusers_unet()), "clip": sample_values.sdxl_clip()}
    given |= {"positive": sample_values.text(1), "negative": sample_values.text(2), "parts": Parts((garment,))}
    _, positive, _ = apply("LikenessSharePartsAttention", **given, width=384, height=256, crop_to_mask=True)
    live = positive[0][1]["model_conds"][SharedParts.key].cond[0].live
    ((left, top, right, below),) = live.windows
    told = torch.tensor([256, 384, 8 * top, 8 * left, 8 * (below - top), 8 * (right - left)])
    assert top != left and 8 * top <= 70 and 8 * left <= 200 and 8 * below >= 180 and 8 * right >= 300
    assert relative(live.adm[0, -6 * 256 :], timestep_embedding(told, 256).flatten()) <= 1e-6


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

    def counted(self, model, sigma):
        recorded_sigmas.append(round(float(sigma), 4))
        return plain(self, model, sigma)

    monkeypatch.setattr(PartsRecorder, "record", counted)
    zeros = torch.zeros(2, 4, HEIGHT // 8, WIDTH // 8)
    live = sides(model, reference(model, steps=3))
    tiny_networks.host_sample(patched(model, SharingRun), zeros, torch.tensor(sigmas).float(), *live, sampler=name)
    assert recorded_sigmas == recorded
