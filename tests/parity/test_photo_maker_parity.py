"""PhotoMaker's encoders against transformers and plain torch, its text and its sampling against the released pipeline.

The released modules, run beside ours with the same weights at full width, differ by some 1e-6 where tokens reach 4.
"""

from __future__ import annotations

from pathlib import Path

import comfy.clip_vision
import comfy.sd1_clip
import photo_maker_made as made
import pytest
import tiny_sdxl
import torch
import torch.nn.functional as functional
from diffusers import EulerDiscreteScheduler
from figures import relative
from pack.bridge.photo_maker import prompt
from pack.core.models.tensors import below
from pack.core.people import Cast
from pack.nodes.photo_maker import ApplyPhotoMaker
from transformers import CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

VERSIONS = (1, 2)
TOLERANCE = 2e-6  # relative to the largest latent value


# The released modules, stated anew in plain torch: x is a tensor, p the names of a file's tensors below some module.


def linear(x, p, name):
    return functional.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def norm(x, p, name):
    return functional.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])


def mlp(x, p, name):
    return linear(functional.gelu(linear(norm(x, p, f"{name}.layernorm"), p, f"{name}.fc1")), p, f"{name}.fc2")


def fuse(words, tokens, p):
    joined = mlp(torch.cat([words, tokens], dim=-1), p, "mlp1") + words
    return norm(mlp(joined, p, "mlp2") + joined, p, "layer_norm")


def perceive(latents, x, p):
    x = linear(x, p, "proj_in")
    for n in range(2):
        read, own = norm(x, p, f"layers.{n}.0.norm1"), norm(latents, p, f"layers.{n}.0.norm2")
        key, value = linear(torch.cat([read, own], dim=1), p, f"layers.{n}.0.to_kv").chunk(2, dim=-1)
        q, k, v = (
            x.unflatten(-1, (-1, 128)).transpose(1, 2) for x in (linear(own, p, f"layers.{n}.0.to_q"), key, value)
        )
        heard = (q @ k.transpose(-2, -1) / 128**0.5).softmax(dim=-1) @ v
        latents = latents + linear(heard.transpose(1, 2).flatten(2), p, f"layers.{n}.0.to_out")
        forward = functional.gelu(linear(norm(latents, p, f"layers.{n}.1.0"), p, f"layers.{n}.1.1"))
        latents = latents + linear(forward, p, f"layers.{n}.1.3")
    return norm(linear(latents, p, "proj_out"), p, "norm_out")


def face_tokens(faces, seen, p):
    tokens = linear(functional.gelu(linear(faces, p, "token_proj.0")), p, "token_proj.2")
    tokens = norm(tokens.view(len(faces), 2, made.TEXT), p, "token_norm")
    return tokens + perceive(tokens, seen, below("perceiver_resampler.", p))


def reference_tokens(version, person):
    """By transformers' CLIP; photos as the host brings them to its size, which rounds otherwise."""
    p = made.file(version)["id_encoder"]
    config = CLIPVisionConfig(
        hidden_size=made.VISION, intermediate_size=2 * made.VISION, num_attention_heads=1, num_hidden_layers=2,
        patch_size=14, projection_dim=768,
    )  # fmt: skip
    clip = CLIPVisionModelWithProjection(config).eval()
    missing, _ = clip.load_state_dict(p, strict=False)
    assert not missing
    pixels = comfy.clip_vision.clip_preprocess(person.identity.portraits.loose / 255)
    with torch.no_grad():
        seen = clip.vision_model(pixels)
        if version == 2:
            faces = person.identity.embeddings[made.RECOGNISER]
            return face_tokens(faces, seen.last_hidden_state, below("qformer_perceiver.", p)).flatten(0, 1)
        both = (linear(seen.pooler_output, p, name) for name in ("visual_projection", "visual_projection_2"))
        return torch.cat(list(both), dim=-1)


@pytest.mark.both_hosts
@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_and_fused_words_equal_the_released_modules(version, record_property):
    loaded, person = made.loaded(version), made.person(3, photos=2)
    expected = reference_tokens(version, person)
    tokens = loaded.tokens(person)
    words = torch.randn(len(expected), made.TEXT, generator=torch.Generator().manual_seed(1))
    fused = loaded.fused(torch.cat([torch.zeros(1, made.TEXT), words])[None], 1, expected, 1.0)[0, 1:]
    reference = fuse(words, expected, below("fuse_module.", made.file(version)["id_encoder"]))
    differences = relative(tokens, expected), relative(fused, reference)
    record_property("relative_difference", differences)
    assert max(differences) <= 1e-6


def as_released(text, trigger, tokens):
    """(plain words, class words repeated, where the first stands): both as the released pipeline tokenizes."""
    folder = Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer"
    sides, place = [{}, {}], 0
    for encoder, pad in (("l", 49407), ("g", 0)):
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        tokenizer.add_tokens([trigger], special_tokens=True)
        mark = tokenizer.convert_tokens_to_ids(trigger)
        ids = tokenizer(text)["input_ids"]
        place = ids.index(mark) - 1
        left = [one for one in ids if one != mark]
        copied = [*left[:place], *[left[place]] * tokens, *left[place + 1 :]]
        for side, each in zip(sides, (left, copied), strict=True):
            side[encoder] = [[(one, 1.0) for one in [*each, *[pad] * (77 - len(each))]]]
    return *(made.clip().encode_from_tokens(side, return_pooled=True) for side in sides), place


TEXT = "cinematic photo of a firefighter img, smiling, in the snow"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_text_equals_the_released_pipeline_s(version):
    person = made.person(4, photos=3)
    tokens = reference_tokens(version, person)
    (plain, pooled), (text, later), place = as_released(TEXT, "img", len(tokens))
    here = slice(place, place + len(tokens))
    text[0, here] = fuse(text[0, here], tokens, below("fuse_module.", made.file(version)["id_encoder"]))
    said = prompt(made.loaded(version), made.clip(), TEXT, "img", [person])
    for (ours, options), expected, vector in ((*said.plain, plain, pooled), (*said.fused, text, later)):
        assert relative(ours, expected) <= 1e-6 and torch.equal(options["pooled_output"], vector)


def test_sampling_equals_a_plain_loop(record_property):
    """With the LoRA in the weights, plain words for the first steps and merged ones then, CFG on, a batch of two."""
    unet = tiny_sdxl.diffusers_unet(151)
    model, person = tiny_sdxl.host_model(unet), made.person(5)
    negative = [[torch.randn(1, 77, made.TEXT, generator=torch.Generator().manual_seed(2)), {}]]
    said = prompt(made.loaded(), made.clip(), TEXT, "img", [person])
    pooled = said.plain[0][1]["pooled_output"].expand(2, -1)
    negative[0][1]["pooled_output"] = pooled[:1]
    applied = ApplyPhotoMaker.execute(
        model, made.clip(), negative, made.loaded(), Cast((person,)), TEXT, **made.DEFAULTS
    ).args
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="leading"
    )
    scheduler.set_timesteps(50)
    start = model.get_model_object("model_sampling").percent_to_sigma(made.DEFAULTS["start_percent"])
    assert scheduler.sigmas[10] > start > scheduler.sigmas[11]  # i <= start_merge_step of 50 is plain
    scheduler.set_timesteps(8)
    sigmas = scheduler.sigmas.float()
    noise = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(6)) * scheduler.init_noise_sigma
    ours = tiny_sdxl.host_sample(applied[0], noise, sigmas, *applied[1:])

    lora, weights = made.file(1)["lora_weights"], dict(unet.named_parameters())
    for key in (key for key in lora if key.endswith("up.weight")):
        name = key.removeprefix("unet.").replace(".processor", "").replace("_lora.up", "")
        weight = weights[name if name in weights else name.replace("to_out", "to_out.0")]
        weight += lora[key] @ lora[key.replace("up.weight", "down.weight")]

    def contexts(i):
        return torch.cat([negative[0][0], (said.plain if sigmas[i] > start else said.fused)[0][0]])

    reference = tiny_sdxl.diffusers_sample(
        unet, noise, sigmas, scheduler.timesteps, contexts, pooled, torch.tensor([[96, 128, 0, 0, 96, 128]]), 5.0
    )
    difference = relative(ours, reference)
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE
