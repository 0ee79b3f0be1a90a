"""Z-Image: Qwen3. Its network fills each text up, to a multiple of 8 in the tiny one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from family_encoders import LLAMA, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles


def several_texts(network: Any, lengths: Sequence[int]) -> tuple[str, Callable[..., Any]]:
    """Each text alone, so that all end at the same position."""
    embed = network.embed_cap
    filled_up = [RECORD.filled_up(length) for length in lengths]

    def embed_cap(cap_feats: Any = None, offset: int = 0, **options: Any) -> Any:
        parts = []
        for words, length in zip(cap_feats.split(lengths, 1), filled_up, strict=True):
            parts.append(embed(words, offset=offset + sum(filled_up) - length, **options))
        tokens = torch.cat([part[0][0] for part in parts], 1)
        rotations = torch.cat([part[1][0] for part in parts], 1)
        return (tokens,), (rotations,), sum(filled_up)

    return "embed_cap", embed_cap


RECORD = FamilyRecord(
    described=described.z_image.TRANSFORMER,
    often=True,
    clip=partial(encoder, "z_image", "te", "ZImageTokenizer", qwen3_4b={**LLAMA, "num_hidden_layers": 3}),
    reads_clip={"cap_feat_dim": WIDTH},
    multiple=8,
    several_texts=several_texts,
    without_place="t_embedder",
    of_the_time={"diffusion_model.t_embedder.mlp.2": (256, 1024)},
    names=(
        # ai-toolkit
        NameInFiles("diffusion_model.layers.0.attention.to_q", "layers.0.attention.qkv", (0, 256), all_kinds=True),
        NameInFiles("diffusion_model.layers.1.attention.to_out.0", "layers.1.attention.out"),
        NameInFiles("diffusion_model.layers.0.adaLN_modulation.0", "layers.0.adaLN_modulation.0", all_kinds=True),
        NameInFiles("diffusion_model.context_refiner.0.attention.to_v", "context_refiner.0.attention.qkv", (512, 768)),
        # musubi
        NameInFiles("lora_unet_layers_0_attention_to_q", "layers.0.attention.qkv", (0, 256)),
        NameInFiles("lora_unet_layers_2_attention_to_k", "layers.2.attention.qkv", (256, 512)),
        NameInFiles("lora_unet_layers_0_attention_to_out_0", "layers.0.attention.out"),
        NameInFiles("lora_unet_layers_0_attention_qkv", "layers.0.attention.qkv"),
        NameInFiles("lora_unet_noise_refiner_1_feed_forward_w2", "noise_refiner.1.feed_forward.w2"),
        # diffusers, PEFT and others
        NameInFiles("transformer.layers.0.attention.to_q", "layers.0.attention.qkv", (0, 256)),
        NameInFiles("layers.0.feed_forward.w1", "layers.0.feed_forward.w1"),
        NameInFiles("base_model.model.layers.0.attention.to_v", "layers.0.attention.qkv", (512, 768)),
        NameInFiles("transformer.all_final_layer.2-1.linear", "final_layer.linear"),
        NameInFiles("transformer.all_x_embedder.2-1", "x_embedder"),
        NameInFiles("lora_transformer_layers_0_adaLN_modulation_0", "layers.0.adaLN_modulation.0"),
        NameInFiles("lycoris_layers_0_attention_to_q", "layers.0.attention.qkv", (0, 256)),
    ),
)
