"""PhotoMaker's encoders against transformers and plain torch, its text and its sampling against the released pipeline.

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
from marks import each
from pack.core.models.tensors import below
from pack.core.people import Cast
from pack.nodes.photo_maker.nodes import encode_prompt
from peers import Sampling, apply, attend, linear, norm
from transformers import CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from nodes import ControlNetApplyAdvanced

# The released modules, stated anew in plain torch: x is a tensor, p the names of a file's tensors below some module.


def mlp(x, p, name):
    return linear(functional.gelu(linear(norm(x, p, f"{name}.layernorm"), p, f"{name}.fc1")), p, f"{name}.fc2")


def fuse(words, tokens, p):
    joined = mlp(torch.cat([words, tokens], dim=-1), p, "mlp1") + words
    return norm(mlp(joined, p, "mlp2") + joined, p, "layer_norm")


def perceive(latents, x, tensors):
    x = linear(x, tensors, "proj_in")
    for n in range(2):
        attention = f"layers.{n}.0"
        normed_input = norm(x, tensors, f"{attention}.norm1")
        normed_latents = norm(latents, tensors, f"{attention}.norm2")
        keys_and_values = linear(torch.cat([normed_input, normed_latents], dim=1), tensors, f"{attention}.to_kv")
        key, value = keys_and_values.chunk(2, dim=-1)
        query = linear(normed_latents, tensors, f"{attention}.to_q")
        attended = attend(query.shape[-1] // 128, query, key, value)
        latents = latents + linear(attended, tensors, f"{attention}.to_out")
        forward = functional.gelu(linear(norm(latents, tensors, f"layers.{n}.1.0"), tensors, f"layers.{n}.1.1"))
        latents = latents + linear(forward, tensors, f"layers.{n}.1.3")
    return norm(linear(latents, tensors, "proj_out"), tensors, "norm_out")


def face_tokens(faces, hidden_states, tensors):
    tokens = linear(functional.gelu(linear(faces, tensors, "token_proj.0")), tensors, "token_proj.2")
    tokens = norm(tokens.view(len(faces), 2, made.TEXT), tensors, "token_norm")
    return tokens + perceive(tokens, hidden_states, below("perceiver_resampler.", tensors))


def reference_tokens(version, person):
    """By transformers' CLIP; photos as the host brings them to its size, which rounds otherwise."""
    tensors = made.file(version)["id_encoder"]
    config = CLIPVisionConfig(
        hidden_size=made.VISION, intermediate_size=2 * made.VISION, num_attention_heads=1, num_hidden_layers=2,
        patch_size=14, projection_dim=768,
    )  # fmt: skip
    clip = CLIPVisionModelWithProjection(config).eval()
    missing, _ = clip.load_state_dict(tensors, strict=False)
    assert not missing
    pixels = comfy.clip_vision.clip_preprocess(person.identity.portraits.loose / 255)
    with torch.no_grad():
        vision_output = clip.vision_model(pixels)
        if version == 2:
            faces = person.identity.embeddings[made.RECOGNISER]
            perceiver = below("qformer_perceiver.", tensors)
            return face_tokens(faces, vision_output.last_hidden_state, perceiver).flatten(0, 1)
        pooled = vision_output.pooler_output
        projections = [linear(pooled, tensors, name) for name in ("visual_projection", "visual_projection_2")]
        return torch.cat(projections, dim=-1)


@pytest.mark.both_hosts
@pytest.mark.parametrize("version", [1, 2])
def test_tokens_and_fused_words_equal_the_released_modules(version):
    loaded = made.loaded(version)
    person = made.person(3, photos=2)
    expected = reference_tokens(version, person)
    tokens = loaded.tokens(person)
    words = torch.randn(len(expected), made.TEXT, generator=torch.Generator().manual_seed(1))
    fused = loaded.fused(torch.cat([torch.zeros(1, made.TEXT), words])[None], 1, expected, 1.0)[0, 1:]
    reference = fuse(words, expected, below("fuse_module.", made.file(version)["id_encoder"]))
    assert max(relative(tokens, expected), relative(fused, reference)) <= 1e-6


def as_released(text, trigger, tokens, weight=1.0):
    """(plain words, class words repeated, where the first stands): both as the released pipeline tokenizes.

    weight: the host's, of the class word.
    """
    folder = Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer"
    sides = [{}, {}]
    place = 0
    for encoder, pad in (("l", 49407), ("g", 0)):
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        tokenizer.add_tokens([trigger], special_tokens=True)
        mark = tokenizer.convert_tokens_to_ids(trigger)
        ids = tokenizer(text)["input_ids"]
        place = ids.index(mark) - 1
        words_left = [token for token in ids if token != mark]
        copied = [*words_left[:place], *[words_left[place]] * tokens, *words_left[place + 1 :]]
        for side, ids_of_side, count in zip(sides, (words_left, copied), (1, tokens), strict=True):
            numbers = enumerate([*ids_of_side, *[pad] * (77 - len(ids_of_side))])
            side[encoder] = [[(token, weight if 0 <= n - place < count else 1.0) for n, token in numbers]]
    return *(made.clip().encode_from_tokens(side, return_pooled=True) for side in sides), place


TEXT = "cinematic photo of a firefighter img, smiling, in the snow"


@pytest.mark.parametrize(("version", "written", "released_text", "weight"), [
    (2, TEXT, TEXT, 1.0),
    # The released pipeline knows no weights, and takes a bracket for the class word; the host's are not words.
    (1, "photo of a (Woman:1.2) img, smiling", "photo of a Woman img, smiling", 1.2),
])  # fmt: skip
def test_the_text_equals_the_released_pipeline_s(version, written, released_text, weight):
    person = made.person(4, photos=3)
    tokens = reference_tokens(version, person)
    (plain, pooled), (text, later), place = as_released(released_text, "img", len(tokens), weight)
    person_tokens = slice(place, place + len(tokens))
    fuse_module = below("fuse_module.", made.file(version)["id_encoder"])
    text[0, person_tokens] = fuse(text[0, person_tokens], tokens, fuse_module)
    encoded = encode_prompt(made.loaded(version), made.clip(), written, "img", [person])
    for (encoded_text, options), expected, vector in ((*encoded.plain, plain, pooled), (*encoded.fused, text, later)):
        assert relative(encoded_text, expected) <= 1e-6
        assert torch.equal(options["pooled_output"], vector)


class ByRegion:
    """Cross-attention of a diffusers UNet whose conditional rows, while it acts, read the tokens of each person in part
    of the picture only. mask: (people, H, W), how often each of them stands there; without one the UNet stays."""

    acts = False

    def __init__(self, unet, encoded, mask):
        if mask is None:
            return
        places = [slice(word.position, word.position + word.copies) for word in encoded.class_words]
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
        weight += lora[key] @ lora[key.replace("up.weight", "down.weight")]


def merging_starts(model):
    """At this noise, behind the eleventh of the authors' 50 steps: i <= start_merge_step is plain."""
    start = model.get_model_object("model_sampling").percent_to_sigma(made.DEFAULTS["start_percent"])
    fifty = Sampling(WIDTH, HEIGHT, 50).sigmas
    assert fifty[10] > start > fifty[11]
    return start


class Case(NamedTuple):
    """Settings of Apply PhotoMaker, and of the ControlNet behind it (strength, start, end)."""

    cast: Cast
    text: str
    version: int
    mask: torch.Tensor | None
    control: tuple[float, float, float]

    @property
    def settings(self):
        return {**made.DEFAULTS, "mask": self.mask}


WIDTH, HEIGHT = 128, 96


OVERLAPPING = torch.zeros(2, HEIGHT, WIDTH)
OVERLAPPING[0, :, :80], OVERLAPPING[1, 16:, 56:] = 1, 0.5
TWO = Cast((made.person(6, 2), made.person(7, 3)))
CASES = {
    "one person, ControlNet": Case(Cast((made.person(5, 2),)), TEXT, 2, None, (1.0, 0.1, 0.6)),
    "two people by masks, ControlNet": Case(TWO, "a man img and a woman img at sea", 1, OVERLAPPING, (0.7, 0.0, 1.0)),
}


@pytest.mark.both_hosts
@pytest.mark.parametrize("name", each(CASES, ["two people by masks, ControlNet"]))
def test_sampling_equals_a_plain_loop(name):
    """With the LoRA in the weights, plain words for the first steps and merged ones then, CFG on, a batch of two.

    The ControlNet reads the plain words at every step, as in the authors' pipeline_controlnet.py.
    """
    case = CASES[name]
    unet = tiny_sdxl.diffusers_unet(151)
    net = tiny_sdxl.diffusers_control_net(unet)
    model = tiny_sdxl.host_model(unet)
    loaded = made.loaded(case.version)
    ((negative, unwanted),) = made.clip().encode_from_tokens_scheduled(made.clip().tokenize("blurry"))
    inputs = {"model": model, "clip": made.clip(), "negative": [[negative, unwanted]], "photo_maker": loaded}
    applied, *sides = apply("LikenessApplyPhotoMaker", **inputs, cast=case.cast, text=case.text, **case.settings)
    start = merging_starts(model)
    sampling = Sampling(WIDTH, HEIGHT, 8, seed=6, batch=2)
    hint = torch.rand(1, HEIGHT, WIDTH, 3, generator=sampling.generator)
    sides = ControlNetApplyAdvanced().apply_controlnet(*sides, tiny_sdxl.host_control_net(net), hint, *case.control)
    latents = sampling.ours(applied, *sides)

    merge(unet, made.file(case.version)["lora_weights"])
    encoded = encode_prompt(loaded, made.clip(), case.text, "img", case.cast.people)
    (plain,), (fused,) = encoded.plain, encoded.fused  # a text and its options each
    attention = ByRegion(unet, encoded, case.mask)

    def words(i):
        return plain if sampling.sigmas[i] > start else fused

    def contexts(i):
        attention.acts = words(i) is fused
        return torch.cat([negative, words(i)[0]])

    def pooled(i):
        return torch.cat([unwanted["pooled_output"], words(i)[1]["pooled_output"]])

    def control(i):
        strength, *ends = case.control
        shown = net, hint.movedim(-1, 1), strength, torch.cat([negative, plain[0]])
        return shown if sampling.inside(model, i, *ends) else None

    assert relative(latents, sampling.theirs(unet, contexts, pooled, control)) <= WHOLE_SAMPLING
