"""StoryMaker's whole sampling through our nodes and the host's sampler, against diffusers with processors that are
written here from the formula: its LoRA beside every projection, and one softmax over the background and people."""

from __future__ import annotations

import parts_made
import pytest
import tiny_sdxl
import torch
import torch.nn.functional as functional
from diffusers import EulerDiscreteScheduler
from figures import relative
from pack.bridge import encode, unet
from pack.core.people import Cast, PlacedCast, Slot
from pack.nodes.story_maker.bodies import cut_out
from pack.nodes.story_maker.net import Seen
from pack.nodes.story_maker.nodes import ApplyStoryMaker, load_story_maker
from people_made import person
from story_maker_made import DEFAULTS, body, story_maker_file

TOLERANCE = 2e-6  # relative to the largest latent value
WIDTH, HEIGHT, STATES = 136, 104, 32  # odd multiples of 8; of the tiny CLIP


class Pair:
    """The same weights in the host and in diffusers."""

    def __init__(self, folder):
        # In single precision rounding alone makes 3e-6 of it at this CFG.
        self.unet = tiny_sdxl.diffusers_unet(151).double()
        self.model = tiny_sdxl.host_model(self.unet)
        self.file = story_maker_file([width for *_, width in unet.attention_layers(self.model)], STATES)
        torch.save(self.file, folder / "mask.bin")
        self.story_maker = load_story_maker(str(folder / "mask.bin"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("storymaker"))


class Published:
    """An attention layer of diffusers with its LoRA and, where it reads the text, the people.

    layer: its tensors in the file. tokens: (rows, T, 2048). told: (H, W, T) what each pixel may look at, or None: all.
    """

    def __init__(self, layer, tokens, told, scale, lora):
        self.layer, self.tokens, self.told, self.scale, self.lora = layer, tokens, told, scale, lora

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = self.plus(attn.to_q, "q", hidden_states)
        out = attend(attn.heads, q, self.plus(attn.to_k, "k", text), self.plus(attn.to_v, "v", text))
        if encoder_hidden_states is not None:
            tokens = self.tokens.repeat_interleave(len(q) // 2, dim=0)
            k, v = (functional.linear(tokens, self.layer[f"to_{side}_ip.weight"]).to(q) for side in "kv")
            out = out + self.scale * attend(attn.heads, q, k, v, self.mask(q.shape[1]))
        return self.plus(attn.to_out[0], "out", out)

    def plus(self, projection, side, x):
        down, up = (self.layer[f"to_{side}_lora.{way}.weight"] for way in ("down", "up"))
        return projection(x) + self.lora * functional.linear(functional.linear(x, down.to(x)), up.to(x))

    def mask(self, pixels):
        if self.told is None:
            return None
        height = round((pixels * HEIGHT / WIDTH) ** 0.5)
        size = next((h, pixels // h) for h in (height, height + 1, height - 1) if pixels % h == 0)
        told = functional.interpolate(self.told.float().movedim(-1, 0)[None], size, mode="nearest")[0]
        return torch.where(told.flatten(1).T > 0.5, 0.0, -torch.inf).double()


def attend(heads, q, k, v, mask=None):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def half(left):
    """A region that leaves a rest to nobody."""
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[8:, : WIDTH // 2 - 10] = 1
    return mask if left else mask.flip(1)


def one(photos=1):
    return Cast((person(1, photos=photos),))


def two():
    return Cast((person(1), person(2)))


def placed():
    people = (person(n, slot=Slot((0.0, 0.0), mask=half(n == 1))) for n in (1, 2))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


CASES = {
    "one of three photos, another scale and LoRA, batch": (one(3), 2, {"weight": 0.5, "lora_weight": 0.3}),
    "two as published": (two(), 1, {}),
    "two by region": (placed(), 1, {}),
    "two by masks, from 0.2 to 0.7": (
        two(), 1, {"mask": torch.stack([half(True), half(False)]), "start_percent": 0.2, "end_percent": 0.7},
    ),
    "one in a mask": (one(), 1, {"mask": half(True)[None]}),
}  # fmt: skip


DEFAULT = {"two as published", "two by region"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in DEFAULT else pytest.mark.thorough) for case in CASES]
)
def test_sampling_equals_diffusers(pair, case, record_property):
    cast, batch, changed = CASES[case]
    settings, count = {**DEFAULTS, **changed}, len(cast.people)
    generator = torch.Generator().manual_seed(11)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(4)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(batch, 4, HEIGHT // 8, WIDTH // 8, generator=generator) * scheduler.init_noise_sigma
    pictures, masks = (torch.cat(each) for each in zip(*(body(n) for n in range(count)), strict=True))
    vision = parts_made.clip_vision()

    model, positive, negative = ApplyStoryMaker.execute(
        pair.model, *tiny_sdxl.conditioning(text, pooled), pair.story_maker, cast, vision, pictures, masks, **settings
    ).args
    ours = tiny_sdxl.host_sample(model, start, sigmas, positive, negative, 7.5)

    # Tokens of our own network, which has its own test; how they are joined and read is what is compared.
    net = pair.story_maker.net.image_proj_model
    rows = []
    for unconditional in (True, False):
        tokens = [net.bg_embed]
        for number, (who, dressed) in enumerate(zip(cast.people, cut_out(cast.people, pictures, masks), strict=True)):
            identity = functional.normalize(who.identity.embeddings["w600k_r50"].mean(0, keepdim=True), dim=-1)
            face, clothes = (
                encode.states(vision, x, STATES).mean(0, keepdim=True)
                for x in (who.identity.portraits.aligned / 255, dressed.picture[None])
            )
            seen = Seen(identity, face, clothes)
            tokens.append(net.person(seen.nobody if unconditional else seen, number))
        rows.append(torch.cat(tokens, dim=1))
    told = None
    if settings.get("mask") is not None or isinstance(cast, PlacedCast):
        regions = torch.stack([half(True), half(False)][:count]).bool()
        told = torch.cat([torch.ones(1, HEIGHT, WIDTH).bool(), regions]).repeat_interleave(20, dim=0).movedim(0, -1)

    def contexts(i):
        sampling = pair.model.get_model_object("model_sampling")
        first, last = (sampling.percent_to_sigma(settings[f"{end}_percent"]) for end in ("start", "end"))
        scale = settings["weight"] * bool(first >= sigmas[i] >= last)
        pair.unet.set_attn_processor({
            name: Published(
                {key.partition(".")[2]: x for key, x in pair.file["ip_adapter"].items() if key.startswith(f"{n}.")},
                torch.cat(rows), told, scale, settings["lora_weight"],
            )
            for n, name in enumerate(pair.unet.attn_processors)
        })  # fmt: skip
        return text

    time_ids = torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]])
    with torch.no_grad():
        reference = tiny_sdxl.diffusers_sample(pair.unet, start, sigmas, timesteps, contexts, pooled, time_ids, 7.5)
    difference = relative(ours, reference)
    record_property("relative_difference", difference)

    assert difference <= TOLERANCE
