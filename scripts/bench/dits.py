"""DiTs at real size in the host, and what a forward of theirs is given: FLUX.2, Qwen-Image-Edit 2511, FLUX.1 dev."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.supported_models
import torch

from bench import networks

FLUX1 = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096,
    "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38,
    "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip
KLEIN = {
    "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "context_in_dim": 7680,
    "hidden_size": 3072, "mlp_ratio": 3.0, "num_heads": 24, "depth": 5, "depth_single_blocks": 20,
    "axes_dim": [32, 32, 32, 32], "theta": 2000, "patch_size": 1, "qkv_bias": False, "guidance_embed": False,
    "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
    "default_ref_method": "index", "ref_index_scale": 10.0,
}  # fmt: skip
FLUX2 = {
    **KLEIN, "context_in_dim": 15360, "hidden_size": 6144, "num_heads": 48, "depth": 8, "depth_single_blocks": 48,
    "guidance_embed": True,
}  # fmt: skip
QWEN = {
    "image_model": "qwen_image", "in_channels": 64, "num_layers": 60, "default_ref_method": "index_timestep_zero",
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A DiT and what it is given.

    host: the host's class of it. shape: what that is told. channels: of a latent. cell: pixels of a latent's pixel, and
    of a token, along one side. text: width of a token of the text, how many the words are and how many each picture
    adds. frames: whether a latent has a time of its own.
    """

    name: str
    host: Any
    shape: networks.Shape
    channels: int
    cell: tuple[int, int]
    text: tuple[int, int, int]
    frames: bool = False

    def latent(self, width: int, height: int, dtype: Any, device: Any) -> Any:
        time = (1,) if self.frames else ()
        return torch.zeros(1, self.channels, *time, height // self.cell[0], width // self.cell[0]).to(device, dtype)

    def tokens(self, width: int, height: int) -> int:
        return (height // self.cell[1]) * (width // self.cell[1])

    def words(self, pictures: int) -> int:
        """Tokens of a text beside so many pictures."""
        return self.text[1] + pictures * self.text[2]


FAMILIES = {
    # FLUX.2's text is filled up to 512 tokens by the host.
    "klein_4b": Family("klein_4b", comfy.supported_models.Flux2, KLEIN, 128, (16, 16), (7680, 512, 0)),
    "flux2_dev": Family("flux2_dev", comfy.supported_models.Flux2, FLUX2, 128, (16, 16), (15360, 512, 0)),
    # Its encoder sees each picture at 384 x 384: 14 x 14 tokens, and what names and frames them.
    "qwen_2511": Family("qwen_2511", comfy.supported_models.QwenImage, QWEN, 16, (8, 16), (3584, 100, 204), True),
}
