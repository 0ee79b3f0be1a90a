"""Qwen-Image, as the host has it."""

from dataclasses import replace

from ....core import families
from ..transformer_families import (
    APPLY_CONTROL_NET,
    POST_INPUT,
    GatedLayer,
    HostNetwork,
    LayerStream,
    Modulation,
    ReferencePictures,
    ScaledNorm,
    Stream,
    TransformerFamily,
)


def _modulations() -> tuple[Modulation, ...]:
    """The modulations of the network: two in each block, and the last.

    Six parts in a block: shift, scale, gate of the attention, then of the MLP.
    """
    modulations: list[Modulation] = []
    for stream, name, out in ((Stream.PICTURE, "img", "to_out.0"), (Stream.TEXT, "txt", "to_add_out")):
        block = f"transformer_blocks.{{}}.{name}"
        modulations.append(
            Modulation(
                f"{block}_mod.1",
                stream,
                parts=6,
                norms=(ScaledNorm(f"{block}_norm1", scale=1, shift=0), ScaledNorm(f"{block}_norm2", scale=4, shift=3)),
                gated=(
                    GatedLayer(f"transformer_blocks.{{}}.attn.{out}", gate=2),
                    GatedLayer(f"{block}_mlp.net.2", gate=5),
                ),
            )
        )
    last = Modulation(
        "norm_out.linear", Stream.PICTURE, parts=2, norms=(ScaledNorm("norm_out.norm", scale=0, shift=1),)
    )
    return (*modulations, last)


TRANSFORMER = TransformerFamily(
    name=families.QWEN.name,
    made=HostNetwork(
        network="comfy.ldm.qwen_image.model.QwenImageTransformer2DModel",
        model="QwenImage",
        image_model="qwen_image",
        latent=(families.QWEN.latent, 3),
        sizes="patch_size in_channels out_channels num_layers attention_head_dim num_attention_heads "
        "joint_attention_dim pooled_projection_dim axes_dims_rope default_ref_method",
    ),
    blocks=("transformer_blocks",),
    text_layers=("txt_in",),
    code=("reference_image_num_tokens", POST_INPUT),
    counted_axes=(0, 1, 2),
    mask_place=2,
    streams=(
        LayerStream(
            r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_out\.0)|img_mlp\.net\.(0\.proj|2))|img_in|proj_out",
            Stream.PICTURE,
        ),
        LayerStream(
            r"transformer_blocks\.\d+\.(attn\.(add_[qkv]_proj|to_add_out)|txt_mlp\.net\.(0\.proj|2))|txt_in",
            Stream.TEXT,
        ),
    ),
    modulations=_modulations(),
    control_net=APPLY_CONTROL_NET,
    references=ReferencePictures(
        model="Qwen-Image-Edit",
        text_encoder="qwen_2.5_vl_7b with qwen_image",
        tokenizers={"QwenImageTokenizer": ""},
        vae="qwen_image_vae",
        latent=(16, 1),
        word="Picture {}",
        sees=True,
        most={"Qwen-Image-Edit": 3},
    ),
)


LAYERED = replace(
    TRANSFORMER,
    name="Qwen-Image-Layered",
    made=replace(TRANSFORMER.made, required={"use_additional_t_cond": True}),
    references=None,  # its VAE has an alpha channel, and its latents a frame for each layer
    control_net="",
)
