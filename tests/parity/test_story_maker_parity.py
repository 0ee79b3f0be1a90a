"""StoryMaker from the node's inputs on: its tokens in plain torch, and whole sampling against diffusers with processors
that are written here from the formula: its LoRA beside every projection, and one softmax over the background and
people."""

from dataclasses import replace
from functools import cache

import comfy.model_management
import numpy as np
import pytest
import tiny_sdxl
import torch
import torch.nn.functional as functional
from figures import relative
from graphs import ours
from pack.bridge.host import unet
from pack.core.cast import Cast, PlacedCast, Slot
from pack.core.models.tensors import below
from peers import Sampling, apply, attend, face_tokens, linear, norm, perceived, read
from PIL import Image
from seeded_files import story_maker_file
from tiny import tiny_encoders
from tiny.people_made import a_member

TOLERANCE = 2e-6  # relative to the largest latent value, in double precision
WIDTH, HEIGHT, STATES = 136, 104, 32  # odd multiples of 8; of the tiny CLIP


def body(seed: int, width: int = 60, height: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture (1, height, width, 3) and where the person is in it, (1, height, width)."""
    picture = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, height, width)
    mask[:, 10 + seed : height - 5, 7 : width - 12 - seed] = 1
    return picture, mask


@cache
def networks():
    """The same weights in diffusers and in the host, and the file."""
    # In single precision rounding alone makes 3e-6 of it at this CFG.
    net = tiny_sdxl.diffusers_unet(151).double()
    model = tiny_sdxl.host_model(net)
    return net, model, story_maker_file(unet.attention_widths(model), STATES)


class Published:
    """An attention layer of diffusers with its LoRA and, where it reads the text, the people.

    layer: its tensors in the file. tokens: (rows, T, 2048). scales: (T, 1), of what each token gives. visible: (H, W,
    T) what each pixel may look at, or None for all.
    """

    def __init__(self, layer, tokens, scales, visible):
        self.layer, self.tokens, self.scales, self.visible = layer, tokens, scales, visible

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = self.plus(attn.to_q, "q", hidden_states)
        out = attend(attn.heads, q, self.plus(attn.to_k, "k", text), self.plus(attn.to_v, "v", text))
        if encoder_hidden_states is not None:
            tokens = self.tokens.repeat_interleave(len(q) // 2, dim=0)
            k, v = (linear(tokens, self.layer, f"to_{side}_ip") for side in "kv")
            out = out + attend(attn.heads, q, k.to(q), (self.scales * v).to(q), self.mask(q.shape[1]))
        return self.plus(attn.to_out[0], "out", out)

    def plus(self, projection, side, x):
        down, up = (self.layer[f"to_{side}_lora.{direction}.weight"] for direction in ("down", "up"))
        return projection(x) + SETTINGS["lora_weight"] * functional.linear(functional.linear(x, down.to(x)), up.to(x))

    def mask(self, pixels):
        if self.visible is None:
            return None
        height = round((pixels * HEIGHT / WIDTH) ** 0.5)
        size = next((h, pixels // h) for h in (height, height + 1, height - 1) if pixels % h == 0)
        visible = functional.interpolate(self.visible.float().movedim(-1, 0)[None], size, mode="nearest")[0]
        return torch.where(visible.flatten(1).T > 0.5, 0.0, -torch.inf).double()


def quarters():
    """A region each, which leave a rest to nobody."""
    masks = torch.zeros(4, HEIGHT, WIDTH)
    for n, mask in enumerate(masks):
        mask[8:, 34 * n : 34 * n + 28] = 1
    return masks


MASKS = quarters()
WEIGHTS = 0.6, 1.4, 0.8, 1.2
DRESSED = 0.5, 0.0, 1.5, 1.0
"""Of the people, and of their bodies."""
FOUR = tuple(a_member(n, photos=3 - n // 2, weight=WEIGHTS[n]) for n in range(4))
PLACED = tuple(replace(one, slot=Slot((0.0, 0.0), mask=mask)) for one, mask in zip(FOUR, MASKS, strict=True))
CASES = {"two as published": Cast(FOUR[:2]), "by region more than the file numbers": PlacedCast(PLACED, WIDTH, HEIGHT)}
SETTINGS = {"weight": 0.5, "lora_weight": 0.3, "mask": None}


def tokens_of(tensors, number, embedding, face, clothes, dressed):
    """(1, 20, 2048), of the features that a person's tokens are made of."""
    queries = perceived(tensors["resample.latents"], clothes, below("resample.", tensors))
    tokens = torch.cat([face_tokens(embedding, face, tensors), queries * dressed], dim=1)
    tokens = tokens + tensors["pos_embed"][number % 3]
    return norm(linear(tokens, tensors, "proj_out"), tensors, "norm_out") + tokens


def seen(vision, pictures):
    """The mean of what CLIP sees of pictures (B, H, W, 3), (1, n, STATES)."""
    return vision.encode_image(pictures)["penultimate_hidden_states"].mean(0, keepdim=True)


def squashed(picture, mask):
    """What is inside of a mask without soft edges, as a square."""
    rows, columns = mask[0].nonzero(as_tuple=True)
    inside = picture[0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    eight_bits = Image.fromarray((inside * 255).round().byte().numpy())
    return torch.from_numpy(np.array(eight_bits.resize((224, 224), Image.Resampling.BICUBIC)))[None] / 255


def tokens_of_people(cast, vision, tensors):
    """The background's and everybody's, unconditional and conditional: (2, 20 + 20 * people, 2048). The weight of a
    body counts on the conditional side alone."""
    sides = [[tensors["bg_embed"]], [tensors["bg_embed"]]]
    for number, member in enumerate(cast.people):
        embedding = functional.normalize(member.person.embeddings["w600k_r50"].mean(0, keepdim=True))
        face = seen(vision, member.person.portraits.aligned / 255)
        clothes = seen(vision, squashed(*body(number)))
        features = embedding, face, clothes
        sides[0].append(tokens_of(tensors, number, *map(torch.zeros_like, features), 1.0))
        sides[1].append(tokens_of(tensors, number, *features, DRESSED[number]))
    return torch.cat([torch.cat(tokens, dim=1) for tokens in sides])


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_sampling_equals_diffusers(case):
    cast = CASES[case]
    count = len(cast.people)
    (network, model, file) = networks()
    sampling = Sampling(WIDTH, HEIGHT, 4, cfg=7.5, spacing="trailing")
    vision = tiny_encoders.clip_vision()
    bodies = {}
    for number in range(count):
        picture, mask = body(number)
        bodies["parts"] = ours("LikenessPart", image=picture, mask=mask, weight=DRESSED[number], **bodies)
    inputs = {"story_maker": read("story_maker", file), "cast": cast, "clip_vision": vision, "bodies": bodies["parts"]}
    latents = sampling.ours(*apply("LikenessApplyStoryMaker", model=model, **sampling.sides, **inputs, **SETTINGS))

    comfy.model_management.unload_all_models()  # back to the CPU, where the authors' is
    tokens = tokens_of_people(cast, vision, file["image_proj_model"])
    scales = SETTINGS["weight"] * torch.tensor([1.0, *WEIGHTS[:count]]).repeat_interleave(20)[:, None]
    visible = None
    if isinstance(cast, PlacedCast):
        visible = torch.cat([torch.ones(1, HEIGHT, WIDTH), MASKS]).repeat_interleave(20, dim=0).movedim(0, -1)
    processors = {}
    for n, name in enumerate(network.attn_processors):
        processors[name] = Published(below(f"{n}.", file["ip_adapter"]), tokens, scales, visible)
    network.set_attn_processor(processors)
    assert relative(latents, sampling.theirs(network)) <= TOLERANCE
