"""InstantID: one face embedding becomes 16 tokens, read by the UNet beside the text and by IdentityNet instead of it.

Source: "InstantID: Zero-shot Identity-Preserving Generation in Seconds" (arXiv 2401.07519) and its released
pipeline_stable_diffusion_xl_instantid.py (Apache-2.0).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.projections import AdapterLayers, Resampler
from ...core.cast import EMBEDDING
from ...core.models.tensors import State, below


class InstantIDNet(nn.Module):
    """The network of one ip-adapter.bin: a resampler, and a key and value projection for each cross-attention layer.

    The resampler makes tokens of face embeddings: (people, n, 512) of n photos each -> (people, 16, 2048).
    state: the file's tensors, under the keys "image_proj.*" and "ip_adapter.<n>.to_{k,v}_ip.weight". n counts all
    attention layers as diffusers does, self- and cross-attention in turns, so cross-attention has the odd numbers.
    width: of one token, the text width of the models this file is made for.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.image_proj = Resampler(below("image_proj.", state), ops=ops, **factory)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.width = self.image_proj.width

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self.ip_adapter.keys_and_values(self.image_proj(zeros(1, 1, EMBEDDING)))


def unconditional(noise: float, length: int) -> Tensor:
    """The embedding (1, 1, length) from which the tokens of no face are made: zeros as published, or uniform noise.

    The UNet reads these tokens on the negative side, and IdentityNet reads them outside of all regions.
    The noise is the same in every run. Its generator is its own, so that no other random numbers change.

    noise: 0..1, the largest value of the noise; 0 gives zeros. Some people use 0.35 against burnt colours.
    """
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(1, 1, length, generator=generator, dtype=torch.float32)
    return uniform * noise
