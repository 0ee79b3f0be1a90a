"""Ideogram 4: Qwen3-VL, of which it reads thirteen layers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from family_encoders import LLAMA, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles, counts


def several_texts(network: Any, lengths: Sequence[int]) -> tuple[str, Callable[..., Any]]:
    """Each text counts from its own beginning."""
    backbone = network._backbone

    def of_texts(text: Any, x: Any, t: Any, ids: Any, *masks: Any, **options: Any) -> Any:
        numbers = counts(lengths, ids)
        of_picture = ids[:1, len(numbers) :]
        new_ids = torch.cat([numbers[None, :, None].expand(1, -1, 3), of_picture], 1)
        return backbone(text, x, t, new_ids, *masks, **options)

    return "_backbone", of_texts


RECORD = FamilyRecord(
    described=described.ideogram_4.TRANSFORMER,
    clip=partial(encoder, "ideogram4", "te", "Ideogram4Tokenizer", qwen3vl_8b={**LLAMA, "num_hidden_layers": 36}),
    reads_clip={"llm_features_dim": 13 * WIDTH},
    several_texts=several_texts,
    without_place="t_embedding|adaln_proj",
    of_the_time={"diffusion_model.adaln_proj": (16, 64)},
    names=(
        NameInFiles("diffusion_model.layers.0.attention.qkv", "layers.0.attention.qkv", all_kinds=True),
        NameInFiles("lora_unet_layers_1_feed_forward_w2", "layers.1.feed_forward.w2"),
        NameInFiles("transformer.layers.1.adaln_modulation", "layers.1.adaln_modulation", all_kinds=True),
        NameInFiles("base_model.model.llm_cond_proj", "llm_cond_proj"),
        # OneTrainer
        NameInFiles("lora_transformer_layers_0_attention_o", "layers.0.attention.o"),
    ),
)
