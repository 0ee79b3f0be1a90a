"""StoryMaker's tokens against diffusers' own classes for its two halves, the rest in plain torch."""

from __future__ import annotations

import pytest
import story_maker_made
import torch
import torch.nn.functional as functional
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from pack.core.models.tensors import below
from pack.nodes.story_maker.net import Projection, Seen
from seeded import seeded

TOLERANCE = 1e-6
TEXT, STATES = 128, 80


@pytest.fixture(scope="module")
def state():
    return seeded(story_maker_made.projection_shapes(TEXT, STATES, inner=TEXT, feed_forward=4 * TEXT, depth=4), 191)


@pytest.fixture(scope="module")
def halves(state):
    """Of face and body."""
    convert = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    face = {key: x for key, x in state.items() if key.startswith(("proj.", "norm.", "perceiver_resampler."))}
    plus = convert(face, low_cpu_mem_usage=False).eval()
    plus.shortcut = True
    return plus, convert(below("resample.", state), low_cpu_mem_usage=False).eval()


@pytest.mark.parametrize(("number", "dressed"), [(0, 1.0), (2, 1.0), (4, 0.5), (0, 0.0)])
def test_tokens_of_a_person(state, halves, number, dressed):
    net = Projection(state, ops=torch.nn)
    net.load_state_dict(state, strict=True)
    generator = torch.Generator().manual_seed(192)
    identity = functional.normalize(torch.randn(1, 512, generator=generator), dim=-1)
    face, body = (torch.randn(1, 257, STATES, generator=generator) for _ in "12")
    plus, resampler = halves
    for seen in (Seen(identity, face, body, dressed), Seen(identity, face, body, dressed).nobody):
        plus.clip_embeds = seen.face[:, None]
        with torch.no_grad():
            ours = net.person(seen, number)
            tokens = (
                torch.cat([plus(seen.embedding), resampler(seen.body) * seen.dressed], dim=1)
                + state["pos_embed"][number % 3]
            )
        last = functional.linear(tokens, state["proj_out.weight"], state["proj_out.bias"])
        last = functional.layer_norm(last, (TEXT,), state["norm_out.weight"], state["norm_out.bias"])
        assert ours.shape == (1, 20, TEXT)
        assert (ours - last - tokens).abs().max() <= TOLERANCE * (last + tokens).abs().max()


def test_the_negative_is_zeros_and_not_what_clip_sees_of_black():
    seen = Seen(torch.ones(1, 512), torch.ones(1, 257, STATES), torch.ones(1, 257, STATES), 0.0).nobody
    assert seen.face.shape == seen.body.shape == (1, 257, STATES)
    assert not any(x.any() for x in (seen.embedding, seen.face, seen.body)) and seen.dressed == 1
