"""Text encoders of UNets, CLIP vision and a VAE of the host, with tiny random networks."""

import json
from functools import cache
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import Any

import comfy.clip_vision
import comfy.hooks
import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.taesd.taesd
import folder_paths
import torch

from .seeded import fill

SD15 = 768
"""Width of SD1.5's tokens, as published."""


def sdxl() -> comfy.sd.CLIP:
    """As wide as published: 768 and 1280."""
    return made(
        comfy.sdxl_clip.SDXLClipModel, comfy.sdxl_clip.SDXLTokenizer,
        clip_l=small_clip(768, 64, 12, 3), clip_g=small_clip(1280, 64, 20, 3),
    )  # fmt: skip


def sd1(width: int = 48) -> comfy.sd.CLIP:
    return made(comfy.sd1_clip.SD1ClipModel, comfy.sd1_clip.SD1Tokenizer, clip_l=small_clip(width, 2 * width, 4, 2))


def small_clip(width: int, inner: int, heads: int, layers: int) -> dict[str, int]:
    sizes = {"hidden_size": width, "projection_dim": width, "intermediate_size": inner}
    return {**sizes, "num_attention_heads": heads, "num_hidden_layers": layers}


def made(network: Any, tokenizer: Any, **configs: dict[str, int]) -> comfy.sd.CLIP:
    options = {f"{name}_model_config": config for name, config in configs.items()}
    target = SimpleNamespace(clip=network, tokenizer=lambda **_: _vocabulary(tokenizer), params={})
    clip = comfy.sd.CLIP(target, model_options={"dtype": torch.float32, **options})
    fill(clip.cond_stage_model, 401)
    return clip


@cache
def _vocabulary(tokenizer: Any) -> Any:
    """Half a second to read; nothing changes it."""
    return tokenizer(embedding_directory=folder_paths.get_folder_paths("embeddings"))


def looking(seed: int, **config: Any) -> comfy.clip_vision.ClipVisionModel:
    with NamedTemporaryFile("w", suffix=".json") as file:  # 0.3.64 reads the configuration from a file only
        sizes = {"num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 14, "num_channels": 3}
        json.dump({**sizes, **config}, file)
        file.flush()
        vision_model = comfy.clip_vision.ClipVisionModel(file.name)
    fill(vision_model.model, seed)
    return vision_model


@cache
def clip_vision(width: int = 48, hidden: int = 32, side: int = 28) -> comfy.clip_vision.ClipVisionModel:
    return looking(
        117, hidden_act="quick_gelu", hidden_size=hidden, intermediate_size=64, image_size=side, projection_dim=width,
        layer_norm_eps=1e-5, model_type="clip_vision_model",
    )  # fmt: skip


@cache
def vae() -> comfy.sd.VAE:
    return comfy.sd.VAE(sd=fill(comfy.taesd.taesd.TAESD(), 118).state_dict())
