"""Qwen-Image: Qwen2.5-VL, which looks at pictures."""

from unittest.mock import patch

import comfy.sd
from comfy.text_encoders import qwen_image, qwen_vl
from family_encoders import LLAMA, WIDTH
from pack.bridge.networks import families as described
from tiny.tiny_encoders import made
from torch import Tensor

from .record import FamilyRecord, NameInFiles


def clip() -> comfy.sd.CLIP:
    small = {"hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "num_layers": 2}
    vision = qwen_vl.Qwen2VLVisionTransformer
    with patch.object(qwen_vl, "Qwen2VLVisionTransformer", lambda **options: vision(**{**options, **small})):
        return made(qwen_image.te(), qwen_image.QwenImageTokenizer, qwen25_7b=LLAMA)


def count_positions(positions: Tensor, numbers: Tensor) -> None:
    positions[:, :, :] = (positions[0, 0, 0] + numbers)[None, :, None]


RECORD = FamilyRecord(
    described=described.qwen.TRANSFORMER,
    often=True,
    clip=clip,
    reads_clip={"joint_attention_dim": WIDTH},
    count_positions=count_positions,
    without_place="time_text_embed",
    of_the_time={"transformer.time_text_embed.timestep_embedder.linear_2": (64, 64)},
    names=(
        # musubi
        NameInFiles("lora_unet_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q"),
        NameInFiles("lora_unet_transformer_blocks_1_img_mod_1", "transformer_blocks.1.img_mod.1"),
        # ai-toolkit
        NameInFiles("diffusion_model.transformer_blocks.0.img_mod.1", "transformer_blocks.0.img_mod.1", all_kinds=True),
        NameInFiles("transformer.transformer_blocks.0.txt_mod.1", "transformer_blocks.0.txt_mod.1"),
        # DiffSynth and diffusers
        NameInFiles("transformer_blocks.0.attn.to_out.0", "transformer_blocks.0.attn.to_out.0", all_kinds=True),
        NameInFiles("transformer_blocks.1.txt_mlp.net.0.proj", "transformer_blocks.1.txt_mlp.net.0.proj"),
        NameInFiles("base_model.model.transformer_blocks.0.attn.add_k_proj", "transformer_blocks.0.attn.add_k_proj"),
        NameInFiles("lora_transformer_transformer_blocks_0_attn_to_v", "transformer_blocks.0.attn.to_v"),
        NameInFiles("lycoris_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q"),
    ),
)
