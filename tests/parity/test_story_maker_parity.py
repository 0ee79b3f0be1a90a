"""StoryMaker's tokens against diffusers' classes, and whole sampling against diffusers with processors that are written
here from the formula: its LoRA beside every projection, and one softmax over the background and people."""

from functools import cache

import comfy.model_management
import pytest
import story_maker_made
import tiny_sdxl
import torch
import torch.nn.functional as functional
from figures import relative
from pack.bridge.host import encode, unet
from pack.core.models.tensors import below
from pack.core.people import Cast, PlacedCast, Slot
from pack.nodes.story_maker.bodies import cut_out
from pack.nodes.story_maker.net import PersonFeatures, Projection
from peers import Sampling, apply, attend, converted, read
from story_maker_made import body, story_maker_file
from tiny import tiny_encoders
from tiny.people_made import person
from tiny.seeded import seeded

TOLERANCE = 2e-6  # relative to the largest latent value, in double precision
WIDTH, HEIGHT, STATES = 136, 104, 32  # odd multiples of 8; of the tiny CLIP


@pytest.mark.parametrize(("number", "dressed"), [(0, 1.0), (2, 1.0), (4, 0.5), (0, 0.0)])
def test_tokens_of_a_person(number, dressed):
    """diffusers' own classes for face and body, the rest in plain torch."""
    text, states = 128, 80
    state = seeded(story_maker_made.projection_shapes(text, states, hidden=text, forward=4 * text, depth=4), 191)
    net = Projection(state, ops=torch.nn)
    net.load_state_dict(state, strict=True)
    halves = ("proj.", "norm.", "perceiver_resampler.")
    plus = converted({key: x for key, x in state.items() if key.startswith(halves)})
    resampler = converted(below("resample.", state))
    plus.shortcut = True
    generator = torch.Generator().manual_seed(192)
    identity = functional.normalize(torch.randn(1, 512, generator=generator), dim=-1)
    face, dress = (torch.randn(1, 257, states, generator=generator) for _ in "12")
    for features in (
        PersonFeatures(identity, face, dress, dressed),
        PersonFeatures(identity, face, dress, dressed).unconditional,
    ):
        plus.clip_embeds = features.face[:, None]
        with torch.no_grad():
            tokens_of_person = net.person(features, number)
            tokens = torch.cat([plus(features.embedding), resampler(features.body) * features.body_weight], dim=1)
        tokens = tokens + state["pos_embed"][number % 3]
        last = functional.linear(tokens, state["proj_out.weight"], state["proj_out.bias"])
        last = functional.layer_norm(last, (text,), state["norm_out.weight"], state["norm_out.bias"])
        assert tokens_of_person.shape == (1, 20, text)
        assert (tokens_of_person - last - tokens).abs().max() <= 1e-6 * (last + tokens).abs().max()


def test_the_negative_is_zeros_and_not_what_clip_sees_of_black():
    features = PersonFeatures(torch.ones(1, 512), torch.ones(1, 257, 80), torch.ones(1, 257, 80), 0.0).unconditional
    assert features.face.shape == features.body.shape == (1, 257, 80)
    assert not any(x.any() for x in (features.embedding, features.face, features.body))
    assert features.body_weight == 1


@cache
def networks():
    """The same weights in diffusers and in the host, and the file."""
    # In single precision rounding alone makes 3e-6 of it at this CFG.
    net = tiny_sdxl.diffusers_unet(151).double()
    model = tiny_sdxl.host_model(net)
    return net, model, story_maker_file(unet.attention_widths(model), STATES)


class Published:
    """An attention layer of diffusers with its LoRA and, where it reads the text, the people.

    layer: its tensors in the file. tokens: (rows, T, 2048). visible: (H, W, T) what each pixel may look at, or None for
    all.
    """

    def __init__(self, layer, tokens, visible, scale, lora):
        self.layer, self.tokens, self.visible, self.scale, self.lora = layer, tokens, visible, scale, lora

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
        down, up = (self.layer[f"to_{side}_lora.{direction}.weight"] for direction in ("down", "up"))
        return projection(x) + self.lora * functional.linear(functional.linear(x, down.to(x)), up.to(x))

    def mask(self, pixels):
        if self.visible is None:
            return None
        height = round((pixels * HEIGHT / WIDTH) ** 0.5)
        size = next((h, pixels // h) for h in (height, height + 1, height - 1) if pixels % h == 0)
        visible = functional.interpolate(self.visible.float().movedim(-1, 0)[None], size, mode="nearest")[0]
        return torch.where(visible.flatten(1).T > 0.5, 0.0, -torch.inf).double()


def half(left):
    """A region that leaves a rest to nobody."""
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[8:, : WIDTH // 2 - 10] = 1
    return mask if left else mask.flip(1)


MASKS = torch.stack([half(True), half(False)])
PLACED = PlacedCast(tuple(person(n, slot=Slot((0.0, 0.0), mask=half(n == 1))) for n in (1, 2)), WIDTH, HEIGHT)
CASES = {"two as published": Cast((person(1, photos=3), person(2))), "two by region": PLACED}
SETTINGS = {"weight": 0.5, "lora_weight": 0.3, "mask": None}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_sampling_equals_diffusers(case):
    cast = CASES[case]
    (network, model, file) = networks()
    sampling = Sampling(WIDTH, HEIGHT, 4, cfg=7.5, spacing="trailing")
    (first_picture, first_mask), (second_picture, second_mask) = body(0), body(1)
    pictures = torch.cat([first_picture, second_picture])
    masks = torch.cat([first_mask, second_mask])
    vision = tiny_encoders.clip_vision()
    story_maker = read("story_maker", file)
    inputs = {"story_maker": story_maker, "cast": cast, "clip_vision": vision, "bodies": pictures, "body_masks": masks}
    latents = sampling.ours(*apply("LikenessApplyStoryMaker", model=model, **sampling.sides, **inputs, **SETTINGS))

    # Tokens of our own network, which has its own test; how they are joined and read is what is compared. It goes back
    # to the CPU, where the authors' is.
    comfy.model_management.unload_all_models()
    net = story_maker.net.image_proj_model
    rows = []
    for unconditional in (True, False):
        tokens = [net.bg_embed]
        bodies = cut_out(cast.people, pictures, masks)
        for number, (member, dressed) in enumerate(zip(cast.people, bodies, strict=True)):
            identity = functional.normalize(member.identity.embeddings["w600k_r50"].mean(0, keepdim=True), dim=-1)
            face, clothes = (
                encode.encode_pictures(vision, x, encode.STATES, STATES).mean(0, keepdim=True)
                for x in (member.identity.portraits.aligned / 255, dressed.picture[None])
            )
            features = PersonFeatures(identity, face, clothes)
            tokens.append(net.person(features.unconditional if unconditional else features, number))
        rows.append(torch.cat(tokens, dim=1))
    visible = None
    if isinstance(cast, PlacedCast):
        visible = torch.cat([torch.ones(1, HEIGHT, WIDTH), MASKS]).repeat_interleave(20, dim=0).movedim(0, -1)

    tokens_of_people = torch.cat(rows)
    processors = {}
    for n, name in enumerate(network.attn_processors):
        layer = below(f"{n}.", file["ip_adapter"])
        processors[name] = Published(layer, tokens_of_people, visible, SETTINGS["weight"], SETTINGS["lora_weight"])
    network.set_attn_processor(processors)
    assert relative(latents, sampling.theirs(network)) <= TOLERANCE
