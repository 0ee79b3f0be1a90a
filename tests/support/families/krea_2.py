"""Krea 2: Qwen3-VL, of which it reads twelve layers."""

from functools import partial

from family_encoders import LLAMA, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles

RECORD = FamilyRecord(
    described=described.krea_2.TRANSFORMER,
    clip=partial(encoder, "krea2", "te", "Krea2Tokenizer", qwen3vl_4b={**LLAMA, "num_hidden_layers": 36}),
    reads_clip={"txtdim": WIDTH, "txtlayers": 12},
    without_place="^tmlp",
    of_the_time={"transformer.time_embed.linear_2": (64, 64)},
    beside_references="tproj",
    names=(
        NameInFiles("diffusion_model.blocks.0.attn.wq", "blocks.0.attn.wq", all_kinds=True),
        NameInFiles("diffusion_model.transformer_blocks.0.attn.to_gate", "blocks.0.attn.gate"),
        NameInFiles("transformer.transformer_blocks.0.attn.to_q", "blocks.0.attn.wq"),
        NameInFiles("transformer.text_fusion.refiner_blocks.0.attn.to_q", "txtfusion.refiner_blocks.0.attn.wq"),
        NameInFiles("transformer.text_fusion.projector", "txtfusion.projector"),
        NameInFiles("diffusion_model.tproj.1", "tproj.1", all_kinds=True),
        NameInFiles("transformer.time_mod_proj", "tproj.1"),
        NameInFiles("lora_unet_blocks_0_attn_wq", "blocks.0.attn.wq"),
        NameInFiles("lora_unet_transformer_blocks_0_attn_to_q", "blocks.0.attn.wq"),
        NameInFiles("base_model.model.transformer_blocks.1.ff.down", "blocks.1.mlp.down"),
        NameInFiles("lycoris_transformer_blocks_2_attn_to_out_0", "blocks.2.attn.wo"),
        NameInFiles("transformer.txt_in.linear_2", "txtmlp.3"),
    ),
)
