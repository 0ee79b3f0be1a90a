"""PhotoMaker from the node's inputs on: photos by transformers and plain torch, the text as released.

The released modules, run beside ours with the same weights at full width, differ by some 1e-6 where tokens reach 4.
"""

from pathlib import Path
from typing import NamedTuple

import comfy.clip_vision
import comfy.sd1_clip
import photo_maker_made as made
import pytest
import tiny_sdxl
import torch
import torch.nn.functional as functional
from figures import WHOLE_SAMPLING, relative
from pack.core.cast import Cast
from pack.core.models.tensors import below
from peers import Sampling, apply, attend, face_tokens, linear, norm
from transformers import CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from nodes import ControlNetApplyAdvanced

# The released modules, stated anew in plain torch: x is a tensor, p the names of a file's tensors below some module.


def mlp(x, p, name):
    return linear(functional.gelu(linear(norm(x, p, f"{name}.layernorm"), p, f"{name}.fc1")), p, f"{name}.fc2")


def fuse(words, tokens, p):
    joined = mlp(torch.cat([words, tokens], dim=-1), p, "mlp1") + words
    return norm(mlp(joined, p, "mlp2") + joined, p, "layer_norm")


def reference_tokens(version, member):
    """By transformers' CLIP; photos as the host brings them to its size, which rounds otherwise."""
    tensors = made.file(version)["id_encoder"]
    config = CLIPVisionConfig(
        hidden_size=made.VISION, intermediate_size=2 * made.VISION, num_attention_heads=1, num_hidden_layers=2,
        patch_size=14, projection_dim=768,
    )  # fmt: skip
    clip = CLIPVisionModelWithProjection(config).eval()
    missing, _ = clip.load_state_dict(tensors, strict=False)
    assert not missing
    pixels = comfy.clip_vision.clip_preprocess(member.person.portraits.loose / 255)
    with torch.no_grad():
        vision_output = clip.vision_model(pixels)
        if version == 2:
            faces = member.person.embeddings[made.RECOGNISER]
            perceiver = {key.removeprefix("token_"): x for key, x in below("qformer_perceiver.", tensors).items()}
            return face_tokens(faces, vision_output.last_hidden_state, perceiver, head_dim=128).flatten(0, 1)
        pooled = vision_output.pooler_output
        projections = [linear(pooled, tensors, name) for name in ("visual_projection", "visual_projection_2")]
        return torch.cat(projections, dim=-1)


def as_released(text, counts, weights):
    """(plain words, class words repeated, where the copies of each stand): both as the released pipeline tokenizes.

    counts: how often each class word stands. weights: the host's, of each. The released pipeline knows one person.
    """
    tokenizer = CLIPTokenizer.from_pretrained(Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer")
    tokenizer.add_tokens(["img"], special_tokens=True)
    mark = tokenizer.convert_tokens_to_ids("img")
    ids = tokenizer(text)["input_ids"]
    words = [n for n, after in enumerate(ids[1:]) if after == mark]
    sides = []
    for copies in ([1] * len(words), counts):
        tokens, places = [], []
        for n, token in enumerate(ids):
            if n in words:
                number = words.index(n)
                places.append(slice(len(tokens), len(tokens) + copies[number]))
                tokens += [(token, weights[number])] * copies[number]
            elif token != mark:
                tokens.append((token, 1.0))
        chunks = {encoder: [[*tokens, *[(pad, 1.0)] * (77 - len(tokens))]] for encoder, pad in (("l", 49407), ("g", 0))}
        sides.append(made.clip().encode_from_tokens(chunks, return_pooled=True))
    return *sides, places


class ByRegion:
    """Cross-attention of a diffusers UNet whose conditional rows, while it acts, read the tokens of each person in part
    of the picture only. mask: (people, H, W), how often each of them stands there; without one the UNet stays."""

    acts = False

    def __init__(self, unet, places, mask):
        if mask is None:
            return
        self.regions = list(zip(places, mask, strict=True))
        layers = unet.attn_processors.items()
        unet.set_attn_processor({layer: self if "attn2" in layer else old for layer, old in layers})

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        q = attn.to_q(hidden_states)
        k = attn.to_k(encoder_hidden_states)
        v = attn.to_v(encoder_hidden_states)
        times = torch.ones(len(q), 1, q.shape[1], k.shape[1])
        for tokens, share in self.regions if self.acts else ():
            side = round((share.numel() / q.shape[1]) ** 0.5)
            grid = functional.avg_pool2d(share[None, None], side).reshape(-1, 1)
            times[len(q) // 2 :, 0, :, tokens] = grid
        return attn.to_out[0](attend(attn.heads, q, k, v, times.log()))


def merge(unet, lora):
    """Add the authors' LoRA to the weights that it is of."""
    weights = dict(unet.named_parameters())
    for key in (key for key in lora if key.endswith("up.weight")):
        layer = key.removeprefix("unet.").replace(".processor", "").replace("_lora.up", "")
        weight = weights[layer if layer in weights else layer.replace("to_out", "to_out.0")]
        weight += SETTINGS["lora_weight"] * lora[key] @ lora[key.replace("up.weight", "down.weight")]


def merging_starts(model):
    """At this noise, behind the eleventh of the authors' 50 steps: i <= start_merge_step is plain."""
    start = model.get_model_object("model_sampling").percent_to_sigma(SETTINGS["start_percent"])
    fifty = Sampling(WIDTH, HEIGHT, 50).sigmas
    assert fifty[10] > start > fifty[11]
    return start


class Case(NamedTuple):
    """Inputs of Apply PhotoMaker, and of the ControlNet behind it (strength, start, end).

    weights: the host's, of the class words, which the released pipeline takes for brackets of the text: released_text
    has none.
    """

    cast: Cast
    text: str
    released_text: str
    weights: tuple[float, ...]
    version: int
    mask: torch.Tensor | None
    control: tuple[float, float, float]


@torch.no_grad()
def released(case):
    """Plain text and the one with people in it, each with its pooled vector; where the copies of each person stand."""
    photos = [reference_tokens(case.version, member) for member in case.cast.people]
    plain, (text, pooled), places = as_released(case.released_text, list(map(len, photos)), case.weights)
    fuse_module = below("fuse_module.", made.file(case.version)["id_encoder"])
    for member, place, tokens in zip(case.cast.people, places, photos, strict=True):
        fused = fuse(text[0, place], tokens, fuse_module)
        text[0, place] = text[0, place].lerp(fused, SETTINGS["weight"] * member.weight)
    return plain, (text, pooled), places


WIDTH, HEIGHT = 128, 96
SETTINGS = {**made.DEFAULTS, "weight": 0.8, "lora_weight": 0.7}
OVERLAPPING = torch.zeros(2, HEIGHT, WIDTH)
OVERLAPPING[0, :, :80], OVERLAPPING[1, 16:, 56:] = 1, 0.5
TEXT = "cinematic photo of a policewoman img, smiling, in the snow"
ONE = Cast((made.a_member(5, 3, weight=1.5),))
TWO = Cast((made.a_member(6, 2, weight=0.75), made.a_member(7, 3, weight=1.5)))
CASES = {
    "one person": Case(ONE, TEXT, TEXT, (1.0,), 2, None, (1.0, 0.1, 0.6)),
    "two by masks": Case(
        TWO, "a (Woman:1.2) img and a man img at sea", "a Woman img and a man img at sea", (1.2, 1.0), 1,
        OVERLAPPING, (0.7, 0.0, 1.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["one person", pytest.param("two by masks", marks=pytest.mark.both_hosts)])
def test_sampling_equals_a_plain_loop(name):
    """With the LoRA in the weights, plain words for the first steps and merged ones then, CFG on, a batch of two.

    The ControlNet reads the plain words at every step, as in the authors' pipeline_controlnet.py.
    """
    case = CASES[name]
    unet = tiny_sdxl.diffusers_unet(151)
    net = tiny_sdxl.diffusers_control_net(unet)
    model = tiny_sdxl.host_model(unet)
    ((negative, unwanted),) = made.clip().encode_from_tokens_scheduled(made.clip().tokenize("blurry"))
    inputs = {"model": model, "clip": made.clip(), "negative": [[negative, unwanted]], "mask": case.mask, **SETTINGS}
    inputs |= {"photo_maker": made.loaded(case.version), "cast": case.cast, "text": case.text}
    applied, *sides = apply("LikenessApplyPhotoMaker", **inputs)
    start = merging_starts(model)
    sampling = Sampling(WIDTH, HEIGHT, 5, seed=6, batch=2)
    hint = torch.rand(1, HEIGHT, WIDTH, 3, generator=sampling.generator)
    sides = ControlNetApplyAdvanced().apply_controlnet(*sides, tiny_sdxl.host_control_net(net), hint, *case.control)
    latents = sampling.ours(applied, *sides)

    merge(unet, made.file(case.version)["lora_weights"])
    plain, fused, places = released(case)
    attention = ByRegion(unet, places, case.mask)

    def words(i):
        return plain if sampling.sigmas[i] > start else fused

    def contexts(i):
        attention.acts = words(i) is fused
        return torch.cat([negative, words(i)[0]])

    def pooled(i):
        return torch.cat([unwanted["pooled_output"], words(i)[1]])

    def control(i):
        strength, *ends = case.control
        shown = net, hint.movedim(-1, 1), strength, torch.cat([negative, plain[0]])
        return shown if sampling.inside(model, i, *ends) else None

    assert relative(latents, sampling.theirs(unet, contexts, pooled, control)) <= WHOLE_SAMPLING
