"""Anima: Qwen3, and the numbers of T5's tokens, which the network reads as one text."""

from functools import partial

from family_encoders import LLAMA, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles

RECORD = FamilyRecord(
    described=described.anima.TRANSFORMER,
    clip=partial(encoder, "anima", "te", "AnimaTokenizer", qwen3_06b={**LLAMA, "num_hidden_layers": 3}),
    reads_clip={"crossattn_emb_channels": WIDTH},
    without_place=r"t_embedder|llm_adapter|\.adaln_modulation\w*\.\d",
    of_the_time={"diffusion_model.blocks.0.adaln_modulation_mlp.2": (192, 16)},
    names=(
        # kohya
        NameInFiles("lora_unet_blocks_0_self_attn_q_proj", "blocks.0.self_attn.q_proj"),
        NameInFiles("lora_unet_blocks_1_cross_attn_output_proj", "blocks.1.cross_attn.output_proj"),
        NameInFiles("lora_unet_blocks_0_mlp_layer1", "blocks.0.mlp.layer1"),
        # diffusion-pipe and others
        NameInFiles("diffusion_model.blocks.1.cross_attn.k_proj", "blocks.1.cross_attn.k_proj", all_kinds=True),
        NameInFiles("transformer.blocks.0.self_attn.v_proj", "blocks.0.self_attn.v_proj", all_kinds=True),
    ),
)
