"""A tiny PhotoMaker file of either version, SDXL's two text encoders in small, and people with portraits."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import comfy.utils
import tiny_sdxl
import torch
from pack.nodes.photo_maker.nodes import PhotoMaker, load_photo_maker
from shared.shapes import of
from tiny import tiny_encoders
from tiny.people_made import a_member as a_member
from tiny.seeded import Shapes, seeded
from torch import Tensor

TEXT, VISION = 2048, 64
RECOGNISER = "w600k_r50"
DEFAULTS = {"trigger": "img", "weight": 1.0, "lora_weight": 1.0, "start_percent": 0.22}


clip = cache(tiny_encoders.sdxl)
"""With the real tokenizers and the real widths of what comes out."""


def encoder_shapes(version: int) -> Shapes:
    """Below id_encoder. in a file. Its perceiver has two heads of 128 numbers."""
    small = {"count": 2, "width": VISION, "inner": 2 * VISION, "inside": 32, "depth": 2, "hidden": 256, "forward": 32}
    return dict(of("photo_maker_v2" if version == 2 else "photo_maker", **small))


@cache
def file(version: int) -> dict[str, dict[str, Tensor]]:
    """As the authors pickle it, with a LoRA for the tiny UNet."""
    lora: dict[str, tuple[int, ...]] = {}
    names = comfy.utils.unet_to_diffusers(tiny_sdxl.HOST_CONFIG)
    weights = tiny_sdxl.seeded_model().model.diffusion_model.state_dict()
    for key, name_in_host in names.items():
        if ".to_" in key and key.endswith(".weight"):
            out, inputs = weights[name_in_host].shape
            name = f"unet.{key}".replace(".to_", ".processor.to_").removesuffix(".weight").removesuffix(".0")
            lora |= {f"{name}_lora.down.weight": (4, inputs), f"{name}_lora.up.weight": (out, 4)}
    parts = {"id_encoder": seeded(encoder_shapes(version), 221), "lora_weights": seeded(lora, 222)}
    # A LoRA changes little of what it is added to.
    return {**parts, "lora_weights": {key: tensor * 0.5 for key, tensor in parts["lora_weights"].items()}}


@cache
def loaded(version: int = 1) -> PhotoMaker:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"photomaker-v{version}.bin"
        torch.save(file(version), path)
        return load_photo_maker(str(path))
