"""IP-Adapter's projections of pictures against diffusers' classes, with the published keys."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from pack.core.ip_adapter.pictures import FullProjection, ImageProjection
from pack.core.resampler import Resampler
from seeded import resampler_shapes, seeded

TEXT, SEEN = 96, 80
PLAIN = {
    "proj.weight": (4 * TEXT, SEEN), "proj.bias": (4 * TEXT,), "norm.weight": (TEXT,), "norm.bias": (TEXT,),
}  # fmt: skip
FULL = {
    "proj.0.weight": (SEEN, SEEN), "proj.0.bias": (SEEN,), "proj.2.weight": (TEXT, SEEN), "proj.2.bias": (TEXT,),
    "proj.3.weight": (TEXT,), "proj.3.bias": (TEXT,),
}  # fmt: skip
PLUS = resampler_shapes(16, TEXT, width=128, heads=2, embedding=SEEN)


@pytest.mark.parametrize(
    ("projection", "shapes", "seen", "tokens"),
    [
        (ImageProjection, PLAIN, (SEEN,), 4),
        (Resampler, PLUS, (257, SEEN), 16),
        (FullProjection, FULL, (257, SEEN), 257),
    ],
    ids=["plain", "plus", "full"],
)
def test_tokens_equal_diffusers(projection, shapes, seen, tokens):
    """Of pictures and of nothing."""
    state = seeded(shapes, 91)
    ours = projection(state, ops=torch.nn)
    ours.load_state_dict(state, strict=True)
    convert = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    theirs = convert(dict(state), low_cpu_mem_usage=False).eval()
    pictures = torch.randn(3, *seen, generator=torch.Generator().manual_seed(92))
    for given in (pictures, torch.zeros_like(pictures[:1])):
        with torch.no_grad():
            found, expected = ours(given), theirs(given)
        assert found.shape == (len(given), tokens, TEXT) and (ours.embedding, ours.width) == (SEEN, TEXT)
        assert (found - expected).abs().max() <= 1e-6
