"""IP-Adapter's projections of pictures against diffusers' classes, with the published keys."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from pack.core.projections import EmbeddingProjection, Resampler
from pack.nodes.ip_adapter.net import FullProjection
from seeded import EMBEDS, PROJECTIONS, STATES, seeded

TEXT = 96


@pytest.mark.parametrize(
    ("kind", "projection", "seen", "tokens"),
    [
        ("ip-adapter", EmbeddingProjection, (EMBEDS,), 4),
        ("ip-adapter-plus", Resampler, (257, STATES), 16),
        ("ip-adapter-full", FullProjection, (257, STATES), 257),
    ],
)
def test_tokens_equal_diffusers(kind, projection, seen, tokens):
    """Of pictures and of nothing."""
    state = seeded(PROJECTIONS[kind](TEXT), 91)
    ours = projection(state, ops=torch.nn)
    ours.load_state_dict(state, strict=True)
    convert = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    theirs = convert(dict(state), low_cpu_mem_usage=False).eval()
    pictures = torch.randn(3, *seen, generator=torch.Generator().manual_seed(92))
    for given in (pictures, torch.zeros_like(pictures[:1])):
        with torch.no_grad():
            found, expected = ours(given), theirs(given)
        assert found.shape == (len(given), tokens, TEXT) and (ours.embedding, ours.width) == (seen[-1], TEXT)
        assert (found - expected).abs().max() <= 1e-6
