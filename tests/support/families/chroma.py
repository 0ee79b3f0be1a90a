"""Chroma: T5 alone."""

from functools import partial

from family_encoders import T5, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles

RECORD = FamilyRecord(
    described=described.chroma.TRANSFORMER,
    clip=partial(encoder, "pixart_t5", "pixart_te", "PixArtTokenizer", t5xxl=T5),
    reads_clip={"context_in_dim": WIDTH},
    without_place="distilled_guidance_layer",
    of_the_time={"diffusion_model.distilled_guidance_layer.in_proj": (64, 64)},
    names=(
        # musubi and kohya
        NameInFiles("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv"),
        NameInFiles("lora_unet_single_blocks_1_linear2", "single_blocks.1.linear2", all_kinds=True),
        # ai-toolkit, diffusers, OneTrainer and others
        NameInFiles("diffusion_model.double_blocks.1.txt_mlp.2", "double_blocks.1.txt_mlp.2"),
        NameInFiles(
            "transformer.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64), all_kinds=True
        ),
        NameInFiles("transformer.single_transformer_blocks.0.attn.to_k", "single_blocks.0.linear1", (64, 128)),
        NameInFiles("lora_transformer_single_transformer_blocks_1_proj_out", "single_blocks.1.linear2"),
        NameInFiles("lycoris_transformer_blocks_0_ff_net_0_proj", "double_blocks.0.img_mlp.0"),
    ),
)
