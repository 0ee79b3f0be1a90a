"""What tiny text encoders of families share, CLIPs of other sizes and DINOv2, of the host, tiny and random."""

from functools import cache
from importlib import import_module
from typing import Any
from unittest.mock import patch

import comfy.clip_vision
import comfy.hooks
import comfy.sd
import comfy.sdxl_clip
import torch
from comfy_extras.nodes_hooks import SetClipHooks
from tiny.tiny_encoders import clip_vision, looking, made, small_clip

WIDTH = 16
LLAMA = {
    "hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1,
    "num_hidden_layers": 2,
}  # fmt: skip
"""And of Qwen, which is made like it."""
T5 = {"d_model": WIDTH, "d_ff": 32, "num_heads": 2, "d_kv": 8, "num_layers": 2}


def encoder(module: str, te: str, tokenizer: str, **sizes: Any) -> comfy.sd.CLIP:
    """By the names that the host has for it, of which an older one lacks some. What looks at pictures is small, too."""
    from comfy.text_encoders import qwen3vl

    host = import_module(f"comfy.text_encoders.{module}")
    small = {"hidden_size": 32, "intermediate_size": 32, "depth": 2, "deepstack_visual_indexes": [0]}
    vision = {"qwen3vl_4b": small, "qwen3vl_8b": small}
    with patch.dict(qwen3vl.QWEN3VL_VISION, vision), patch.dict(qwen3vl.QWEN3VL_VISION_COMMON, num_heads=2):
        return made(getattr(host, te)(), getattr(host, tokenizer), **sizes)


def refiner(width: int = 64) -> comfy.sd.CLIP:
    """CLIP-G alone, published with a width of 1280."""
    return made(
        comfy.sdxl_clip.SDXLRefinerClipModel, comfy.sdxl_clip.SDXLTokenizer, clip_g=small_clip(width, 128, 4, 3)
    )


def vit_h() -> comfy.clip_vision.ClipVisionModel:
    """As wide as CLIP ViT-H/14."""
    return clip_vision(1024, 1280)


@cache
def dinov2() -> comfy.clip_vision.ClipVisionModel:
    sizes = {"hidden_size": 32, "mlp_ratio": 4, "image_size": 518}
    return looking(119, **sizes, layer_norm_eps=1e-6, use_swiglu_ffn=False, model_type="dinov2")


def changing(clip: Any) -> Any:
    """A CLIP with a LoRA from the middle of the schedule on, by Set CLIP Hooks."""
    generator, state = torch.Generator().manual_seed(5), {}
    for name, weight in clip.cond_stage_model.state_dict().items():
        if name.endswith(".weight") and weight.dim() == 2 and "layers" in name:
            key = f"text_encoders.{name.removesuffix('.weight')}"
            out_width, in_width = weight.shape
            state[f"{key}.lora_A.weight"] = torch.randn(2, in_width, generator=generator) / in_width**0.5
            state[f"{key}.lora_B.weight"] = torch.randn(out_width, 2, generator=generator) * 0.3
    hooks = comfy.hooks.create_hook_lora(lora=state, strength_model=0.0, strength_clip=1.0)
    frames = comfy.hooks.HookKeyframeGroup()
    for start, strength in ((0.0, 0.0), (0.5, 1.0)):
        frames.add(comfy.hooks.HookKeyframe(strength=strength, start_percent=start))
    hooks.set_keyframes_on_hooks(frames)
    return SetClipHooks().apply_hooks(clip, True, False, hooks)[0]
