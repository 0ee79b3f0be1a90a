"""A walk over the host's UNets: their attention layers, what stands in these, and which family they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import comfy.ldm.modules.attention
from comfy.ldm.modules.attention import SpatialTransformer
from torch import Tensor

from ..core.attention import Attend
from ..core.errors import WrongBaseModel
from ..core.models.formats import FAMILIES

_UNETS, _USE = "a UNet of the SD family", "Use an SD1.5 or SDXL model, as the method asks for."


def family(width: int | None) -> str:
    """Name of the models that read text of this width."""
    return f"{FAMILIES.get(width or 0, 'another family')} (text width {width or 'unknown'})"


def text_width(model: Any) -> int:
    """Of the text that a MODEL's UNet reads. Raises WrongBaseModel for a MODEL that is none."""
    return transformers(model.get_model_object("diffusion_model"))[0][-1].attn2.to_k.in_features


def attention_layers(model: Any) -> list[tuple[str, int, int, int]]:
    """(block, number, index, query width) of every cross-attention layer, in diffusers' order: down, up, mid.

    Raises WrongBaseModel for a MODEL that is not a UNet with cross-attention.
    """
    found = transformers(model.get_model_object("diffusion_model"))
    return [(name, number, index, block.attn2.to_q.out_features) for name, number, index, block in found]


def transformers(unet: Any) -> list[tuple[str, int, int, Any]]:
    """(block, number, index, BasicTransformerBlock) of a UNet, in diffusers' order: down, up, mid.

    Raises WrongBaseModel for a network that is not a UNet with cross-attention.
    """
    if not hasattr(unet, "middle_block"):
        raise WrongBaseModel("The MODEL", type(unet).__name__, _UNETS, _USE)
    blocks = [
        *(("input", number, block) for number, block in enumerate(unet.input_blocks)),
        *(("output", number, block) for number, block in enumerate(unet.output_blocks)),
        ("middle", 0, unet.middle_block or ()),  # some distilled models have none
    ]
    found = [
        (name, number, index, transformer)
        for name, number, block in blocks
        for module in block
        if isinstance(module, SpatialTransformer)
        for index, transformer in enumerate(module.transformer_blocks)
    ]
    if not found:
        raise WrongBaseModel("The MODEL", "a UNet without cross-attention", _UNETS, _USE)
    return found


def attend_with(
    extra_options: dict[str, Any], kernel: Callable[..., Tensor] | None = None, mask: Tensor | None = None
) -> Attend:
    """The host's attention, or another kernel of its, as this layer calls it. mask: added to the logits."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Looked up when called: the host's choice is a name of its module.
        chosen = kernel or comfy.ldm.modules.attention.optimized_attention
        return chosen(
            q, k, v, extra_options["n_heads"], mask=mask,
            attn_precision=extra_options["attn_precision"], transformer_options=extra_options,
        )  # fmt: skip

    return attend


def standing(options: Mapping[str, Any], attention: str, block: tuple[Any, ...]) -> Callable[..., Tensor] | None:
    """What others have put in place of `attention` (attn1, attn2) in this layer, as the host looks it up."""
    patches = options.get("patches_replace", {}).get(attention, {})
    return patches.get(block, patches.get(block[:2]))


def replaced(options: dict[str, Any], attention: str, patches: Mapping[Any, Callable[..., Tensor]]) -> dict[str, Any]:
    """A copy of transformer_options with these in place of `attention`."""
    before = options.get("patches_replace", {})
    return {**options, "patches_replace": {**before, attention: {**before.get(attention, {}), **patches}}}
