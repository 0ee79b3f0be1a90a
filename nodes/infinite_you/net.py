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
    """One image_proj_model.bin: (people, n, 512) of n photos each -> (people, 8, 4096)."""

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        self(zeros(1, 1, EMBEDDING))


def shares_on_tokens(shares: Tensor, height: int, width: int) -> Tensor:
    """(n, H, W) of the picture as the mean over each token of a latent (height, width): (n, rows, columns).

    A token is 2x2 of the latent, whose odd sides are padded.
    """
    cells = functional.interpolate(shares[:, None], size=(height, width), mode="area")
    return functional.avg_pool2d(functional.pad(cells, (0, width % 2, 0, height % 2), mode="replicate"), 2)[:, 0]
