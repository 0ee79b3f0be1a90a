"""Text encoders of families of transformers, CLIPs of other sizes and DINOv2, of the host, tiny and random."""

from functools import cache
from typing import Any
from unittest.mock import patch

import comfy.clip_vision
import comfy.hooks
import comfy.sd
import comfy.sdxl_clip
import torch
from comfy.text_encoders import flux, llama, qwen_image, qwen_vl
from comfy_extras.nodes_hooks import SetClipHooks
from tiny.tiny_encoders import clip_vision, looking, made, small_clip

WIDTH = 16
_LLAMA = {
    "hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1,
    "num_hidden_layers": 2,
}  # fmt: skip
_VISION = {"hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "num_layers": 2}
_T5 = {"d_model": WIDTH, "d_ff": 32, "num_heads": 2, "d_kv": 8, "num_layers": 2}


def qwen() -> comfy.sd.CLIP:
    """Qwen2.5-VL, which looks at pictures."""
    vision = qwen_vl.Qwen2VLVisionTransformer
    with patch.object(qwen_vl, "Qwen2VLVisionTransformer", lambda **options: vision(**{**options, **_VISION})):
        return made(qwen_image.te(), qwen_image.QwenImageTokenizer, qwen25_7b=_LLAMA)


def klein() -> comfy.sd.CLIP:
    """Qwen3, of which FLUX.2 klein reads the layers 9, 18 and 27: each reads 512 tokens, with one narrow head."""

    class Narrow(llama.Qwen3_4BConfig):
        head_dim = 8  # no field of the host's, so no option sets it

    sizes = {**_LLAMA, "num_hidden_layers": 28, "num_attention_heads": 1}
    with patch.object(llama, "Qwen3_4BConfig", Narrow):
        return made(flux.klein_te(), flux.KleinTokenizer, qwen3_4b=sizes)


def z_image() -> comfy.sd.CLIP:
    """Qwen3."""
    from comfy.text_encoders import z_image

    return made(z_image.te(), z_image.ZImageTokenizer, qwen3_4b={**_LLAMA, "num_hidden_layers": 3})


def krea2() -> comfy.sd.CLIP:
    """Qwen3-VL, of which Krea 2 reads twelve layers."""
    from comfy.text_encoders import krea2, qwen3vl

    small = {"hidden_size": 32, "intermediate_size": 32, "depth": 2, "deepstack_visual_indexes": [0]}
    with patch.dict(qwen3vl.QWEN3VL_VISION, qwen3vl_4b=small), patch.dict(qwen3vl.QWEN3VL_VISION_COMMON, num_heads=2):
        return made(krea2.te(), krea2.Krea2Tokenizer, qwen3vl_4b={**_LLAMA, "num_hidden_layers": 36})


def mage_flow() -> comfy.sd.CLIP:
    """Qwen3-VL, of which Mage-Flow reads the last layer."""
    from comfy.text_encoders import mage_flow, qwen3vl

    small = {"hidden_size": 32, "intermediate_size": 32, "depth": 2, "deepstack_visual_indexes": [0]}
    with patch.dict(qwen3vl.QWEN3VL_VISION, qwen3vl_4b=small), patch.dict(qwen3vl.QWEN3VL_VISION_COMMON, num_heads=2):
        return made(mage_flow.te(), mage_flow.MageFlowTokenizer, qwen3vl_4b={**_LLAMA, "num_hidden_layers": 3})


def chroma() -> comfy.sd.CLIP:
    """T5 alone."""
    from comfy.text_encoders import pixart_t5

    return made(pixart_t5.pixart_te(), pixart_t5.PixArtTokenizer, t5xxl=_T5)


def ideogram_4() -> comfy.sd.CLIP:
    """Qwen3, of which Ideogram 4 reads thirteen layers."""
    from comfy.text_encoders import ideogram4

    return made(ideogram4.te(), ideogram4.Ideogram4Tokenizer, qwen3vl_8b={**_LLAMA, "num_hidden_layers": 36})


def anima() -> comfy.sd.CLIP:
    """Qwen3, and the numbers of T5's tokens, which the network reads as one text."""
    from comfy.text_encoders import anima

    return made(anima.te(), anima.AnimaTokenizer, qwen3_06b={**_LLAMA, "num_hidden_layers": 3})


def flux1() -> comfy.sd.CLIP:
    """T5 and CLIP-L."""
    return made(flux.flux_clip(), flux.FluxTokenizer, t5xxl=_T5, clip_l=small_clip(64, 64, 1, 3))


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
