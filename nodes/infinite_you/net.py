"""InfiniteYou: one face embedding becomes 8 tokens, which a ControlNet of FLUX.1 (InfuseNet) reads instead of the text.

Source: "InfiniteYou: Flexible Photo Recrafting While Preserving Your Identity" (arXiv 2503.16418), its released
pipeline_infu_flux.py, and for several people infuse_net.py of the authors' ComfyUI_InfiniteYou (all Apache-2.0).
"""

from collections.abc import Callable

from torch import Tensor

from ...core.attention.projections import Resampler
from ...core.cast import EMBEDDING

BLOCKS = (4, 10)
"""The number of double blocks and the number of single blocks of the published InfuseNets."""
GUIDANCE = 1.0
"""The guidance that InfuseNet gets, whatever guidance FLUX.1 itself gets: controlnet_guidance_scale in the released
pipeline."""


class InfiniteYouNet(Resampler):
    """The network of one image_proj_model.bin: face embeddings (people, n, 512) -> tokens (people, 8, 4096).

    n is the number of photos of each person, or 1 where they are joined.
    """

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self(zeros(1, 1, EMBEDDING))
