"""FLUX.1: T5 and CLIP-L."""

import comfy.sd
from comfy.text_encoders import flux
from family_encoders import T5, WIDTH
from pack.bridge.networks import families as described
from tiny.tiny_encoders import made, small_clip

from .record import FamilyRecord, NameInFiles


def clip() -> comfy.sd.CLIP:
    return made(flux.flux_clip(), flux.FluxTokenizer, t5xxl=T5, clip_l=small_clip(64, 64, 1, 3))


RECORD = FamilyRecord(
    described=described.flux.TRANSFORMER,
    clip=clip,
    reads_clip={"context_in_dim": WIDTH, "vec_in_dim": 64},
    without_place="(time|vector|guidance)_in",
    of_the_time={
        "diffusion_model.time_in.in_layer": (64, 256),
        "transformer.time_text_embed.guidance_embedder.linear_2": (64, 64),
    },
    names=(
        # kohya
        NameInFiles("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv"),
        NameInFiles("lora_unet_double_blocks_1_txt_mod_lin", "double_blocks.1.txt_mod.lin"),
        NameInFiles("lora_unet_single_blocks_1_modulation_lin", "single_blocks.1.modulation.lin"),
        NameInFiles("lora_unet_final_layer_linear", "final_layer.linear"),
        # ai-toolkit and diffusers
        NameInFiles(
            "transformer.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64), all_kinds=True
        ),
        NameInFiles("transformer.transformer_blocks.0.attn.add_v_proj", "double_blocks.0.txt_attn.qkv", (128, 192)),
        NameInFiles("transformer.transformer_blocks.0.norm1.linear", "double_blocks.0.img_mod.lin", all_kinds=True),
        NameInFiles("transformer.transformer_blocks.1.norm1_context.linear", "double_blocks.1.txt_mod.lin"),
        NameInFiles("transformer.single_transformer_blocks.0.norm.linear", "single_blocks.0.modulation.lin"),
        NameInFiles("transformer.single_transformer_blocks.0.attn.to_k", "single_blocks.0.linear1", (64, 128)),
        NameInFiles("transformer.x_embedder", "img_in"),
        NameInFiles("transformer.context_embedder", "txt_in"),
        NameInFiles("transformer.proj_out", "final_layer.linear"),
        # PEFT
        NameInFiles("base_model.model.transformer_blocks.0.attn.to_v", "double_blocks.0.img_attn.qkv", (128, 192)),
        NameInFiles("base_model.model.transformer.transformer_blocks.0.ff.net.2", "double_blocks.0.img_mlp.2"),
        # DiffSynth and others
        NameInFiles("transformer_blocks.1.attn.to_out.0", "double_blocks.1.img_attn.proj"),
        NameInFiles("unet.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64)),
        NameInFiles("diffusion_model.single_blocks.1.linear1_qkv", "single_blocks.1.linear1", (0, 192)),
        NameInFiles("model.diffusion_model.single_blocks.1.linear2", "single_blocks.1.linear2"),
        NameInFiles("double_blocks.0.img_mlp.0", "double_blocks.0.img_mlp.0"),
        # OneTrainer and LyCORIS
        NameInFiles("lora_transformer_transformer_blocks_0_attn_to_k", "double_blocks.0.img_attn.qkv", (64, 128)),
        NameInFiles("lora_transformer_single_transformer_blocks_1_proj_out", "single_blocks.1.linear2"),
        NameInFiles("lycoris_transformer_blocks_0_ff_net_0_proj", "double_blocks.0.img_mlp.0"),
    ),
)
