"""Mage-Flow: Qwen3-VL, of which it reads the last layer."""

from functools import partial

from family_encoders import LLAMA, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles

RECORD = FamilyRecord(
    described=described.mage_flow.TRANSFORMER,
    clip=partial(encoder, "mage_flow", "te", "MageFlowTokenizer", qwen3vl_4b={**LLAMA, "num_hidden_layers": 3}),
    reads_clip={"joint_attention_dim": WIDTH},
    without_place="time_text_embed",
    of_the_time={"transformer.time_text_embed.timestep_embedder.linear_2": (64, 64)},
    names=(
        # musubi
        NameInFiles("lora_unet_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q"),
        NameInFiles("lora_unet_transformer_blocks_1_img_mod_1", "transformer_blocks.1.img_mod.1"),
        # ai-toolkit, diffusers, PEFT and others
        NameInFiles("diffusion_model.transformer_blocks.0.img_mod.1", "transformer_blocks.0.img_mod.1", all_kinds=True),
        NameInFiles("transformer.transformer_blocks.1.txt_mlp.net.0.proj", "transformer_blocks.1.txt_mlp.net.0.proj"),
        NameInFiles("transformer_blocks.0.attn.to_out.0", "transformer_blocks.0.attn.to_out.0", all_kinds=True),
        NameInFiles("base_model.model.transformer_blocks.0.attn.add_k_proj", "transformer_blocks.0.attn.add_k_proj"),
        NameInFiles("lycoris_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q"),
    ),
)
