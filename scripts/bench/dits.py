"""DiTs at real size in the host, and what a forward of theirs is given: FLUX.2, Qwen-Image-Edit 2511, FLUX.1 dev."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import comfy.supported_models
import tiny_dits
import torch
from pack.bridge import dit

from bench import networks

FLUX1 = tiny_dits.CONFIGS[dit.FLUX][1] | {
    "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19,
    "depth_single_blocks": 38, "axes_dim": [16, 56, 56],
}  # fmt: skip
KLEIN = tiny_dits.CONFIGS[dit.FLUX_2][1] | {
    "context_in_dim": 7680, "hidden_size": 3072, "mlp_ratio": 3.0, "num_heads": 24, "depth": 5,
    "depth_single_blocks": 20, "axes_dim": [32, 32, 32, 32],
}  # fmt: skip
WIDE = {"context_in_dim": 15360, "hidden_size": 6144, "num_heads": 48, "depth": 8, "depth_single_blocks": 48}
QWEN = {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60, "default_ref_method": "index_timestep_zero"}


@dataclass(frozen=True)
class Family:
    """A DiT and what it is given.

    of: as bridge.dit names it. shape: what the host is told of it. text: width of a token, how many the words are, and
    how many each picture adds to them.
    """

    name: str
    of: str
    shape: dict[str, Any]
    text: tuple[int, int, int]

    def network(self, device: Any, dtype: Any) -> Any:
        """The host's model; on a real device with random weights."""
        host = getattr(comfy.supported_models, tiny_dits.CONFIGS[self.of][0])
        return networks.unet(host, self.shape, device, dtype)

    def latent(self, width: int, height: int, dtype: Any, device: Any) -> Any:
        """Of a picture of this size in pixels."""
        return tiny_dits.latent(self.of, width, height).to(device, dtype)

    def words(self, pictures: int, dtype: Any, device: Any) -> Any:
        """A text beside so many pictures."""
        width, words, each = self.text
        return torch.randn(1, words + pictures * each, width, dtype=dtype, device=device)

    @property
    def tiny(self) -> Family:
        shape = {**tiny_dits.CONFIGS[self.of][1]}
        return replace(self, shape=shape, text=(tiny_dits.TEXT, *self.text[1:]))


FAMILIES = (
    # The host fills the text of FLUX.2 up to 512 tokens.
    Family("klein_4b", dit.FLUX_2, KLEIN, (7680, 512, 0)),
    Family("flux2_dev", dit.FLUX_2, {**KLEIN, **WIDE, "guidance_embed": True}, (15360, 512, 0)),
    # Its encoder sees each picture at 384 x 384 px: 14 x 14 tokens, and those that name and frame them.
    Family("qwen_2511", dit.QWEN, QWEN, (3584, 100, 204)),
)
DEV = Family("flux_dev", dit.FLUX, FLUX1, (4096, 256, 0))
"""FLUX.1 dev, whose text the host fills up to 256 tokens. It takes no references."""
