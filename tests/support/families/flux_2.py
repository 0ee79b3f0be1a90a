"""FLUX.2 klein: Qwen3, of which it reads the layers 9, 18 and 27, 512 tokens of each text."""

from unittest.mock import patch

import comfy.sd
from comfy.text_encoders import flux, llama
from family_encoders import LLAMA, WIDTH
from pack.bridge.networks import families as described
from tiny.tiny_encoders import made
from torch import Tensor

from .record import FamilyRecord, NameInFiles


def clip() -> comfy.sd.CLIP:
    """With one narrow head, as it reads so many tokens."""

    class Narrow(llama.Qwen3_4BConfig):
        head_dim = 8  # no field of the host's, so no option sets it

    sizes = {**LLAMA, "num_hidden_layers": 28, "num_attention_heads": 1}
    with patch.object(llama, "Qwen3_4BConfig", Narrow):
        return made(flux.klein_te(), flux.KleinTokenizer, qwen3_4b=sizes)


def count_positions(positions: Tensor, numbers: Tensor) -> None:
    positions[:, :, 3] = numbers


RECORD = FamilyRecord(
    described=described.flux_2.TRANSFORMER,
    often=True,
    clip=clip,
    reads_clip={"context_in_dim": 3 * WIDTH},
    left_padded_to=512,
    count_positions=count_positions,
    without_place="(time|guidance)_in",
    of_the_time={"transformer.time_guidance_embed.timestep_embedder.linear_1": (64, 256)},
    names=(
        NameInFiles("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv"),
        NameInFiles("diffusion_model.double_stream_modulation_img.lin", "double_stream_modulation_img.lin"),
        NameInFiles("transformer.double_stream_modulation_img.linear", "double_stream_modulation_img.lin"),
        NameInFiles("base_model.model.double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin"),
        NameInFiles("single_stream_modulation.linear", "single_stream_modulation.lin"),
        NameInFiles("lora_unet_single_stream_modulation_lin", "single_stream_modulation.lin"),
        NameInFiles(
            "transformer.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64), all_kinds=True
        ),
        NameInFiles("transformer.transformer_blocks.1.attn.add_q_proj", "double_blocks.1.txt_attn.qkv", (0, 64)),
        NameInFiles("transformer.transformer_blocks.0.ff.linear_in", "double_blocks.0.img_mlp.0"),
        NameInFiles("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", "single_blocks.0.linear1"),
        NameInFiles("transformer.single_transformer_blocks.1.attn.to_out", "single_blocks.1.linear2", all_kinds=True),
        NameInFiles("transformer.single_transformer_blocks.0.proj_mlp", "single_blocks.0.linear1", (192, 448)),
        NameInFiles("lora_transformer_transformer_blocks_0_attn_to_k", "double_blocks.0.img_attn.qkv", (64, 128)),
    ),
)
