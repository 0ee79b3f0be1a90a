"""InfiniteYou: one face embedding becomes 8 tokens, which a ControlNet of FLUX.1 (InfuseNet) reads instead of the text.

Source: "InfiniteYou: Flexible Photo Recrafting While Preserving Your Identity" (arXiv 2503.16418), its released
pipeline_infu_flux.py, and for several people infuse_net.py of the authors' ComfyUI_InfiniteYou (all Apache-2.0).
"""

from collections.abc import Callable

import torch.nn.functional as functional
from torch import Tensor

from ...core.people import EMBEDDING
from ...core.projections import Resampler

BLOCKS = (4, 10)
"""Double and single blocks of the published InfuseNets."""
GUIDANCE = 1.0
"""What InfuseNet is told, whatever FLUX.1 itself is: controlnet_guidance_scale in the released pipeline."""


class InfiniteYouNet(Resampler):
    """The network of one image_proj_model.bin: face embeddings (people, n, 512) of n photos each -> tokens
    (people, 8, 4096)."""

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Run every layer once on zeros. Raises RuntimeError where sizes do not fit each other."""
        self(zeros(1, 1, EMBEDDING))


def shares_on_tokens(shares: Tensor, height: int, width: int) -> Tensor:
    """Shares (n, H, W) of a picture as (n, rows, columns) of the tokens of its latent: the mean over each token.

    height, width: of the latent. A token is 2x2 pixels of the latent; the last row and column of odd sides stand twice.
    """
    on_latent = functional.interpolate(shares[:, None], size=(height, width), mode="area")  # (n, 1, height, width)
    odd_sides = (0, width % 2, 0, height % 2)  # left, right, top, bottom
    padded = functional.pad(on_latent, odd_sides, mode="replicate")
    return functional.avg_pool2d(padded, 2)[:, 0]
