"""Z-Image, as the host has it."""

from dataclasses import replace

from ....core import families
from ..transformer_families import (
    GatedLayer,
    HostNetwork,
    LayerStream,
    Modulation,
    ScaledNorm,
    Stream,
    TransformerFamily,
)


def _z_image_modulation(blocks: str, stream: Stream) -> Modulation:
    """The modulation of blocks of Z-Image. blocks: where they stand. Its four parts: scale, gate, scale, gate."""
    return Modulation(
        f"{blocks}.{{}}.adaLN_modulation.0",
        stream,
        parts=4,
        norms=(
            ScaledNorm(f"{blocks}.{{}}.attention_norm1", scale=0),
            ScaledNorm(f"{blocks}.{{}}.ffn_norm1", scale=2),
        ),
        gated=(
            GatedLayer(f"{blocks}.{{}}.attention_norm2", gate=1),
            GatedLayer(f"{blocks}.{{}}.ffn_norm2", gate=3),
        ),
        tanh=True,
    )


TRANSFORMER = TransformerFamily(
    name=families.Z_IMAGE.name,
    made=HostNetwork(
        network="comfy.ldm.lumina.model.NextDiT",
        model="Lumina2",
        image_model="lumina2",
        latent=(families.Z_IMAGE.latent, 2),
        sizes="patch_size in_channels dim n_layers n_refiner_layers n_heads n_kv_heads multiple_of ffn_dim_multiplier "
        "norm_eps qk_norm cap_feat_dim axes_dims axes_lens rope_theta time_scale siglip_feat_dim",
        required={"pad_tokens_multiple": True, "z_image_modulation": True},
    ),
    blocks=("layers",),
    telling_block=18,
    text_layers=("cap_embedder.1",),
    code=(
        "self.embed_cap(cap_feats, offset=offset",
        "out = self.embed_all(x, cap_feats, main_siglip, offset=start_t",
        "cap_mask = None",
        "cap_feats = layer(cap_feats, cap_mask, cap_freqs_cis, transformer_options",
        "padded_full_embed = torch.cat(feats + (x,), dim=1)",
    ),
    picture_layer="x_embedder",
    refiners="context_refiner",
    streams=(
        LayerStream(r"noise_refiner\.\d+\.(attention|feed_forward)\.\w+|x_embedder", Stream.PICTURE),
        LayerStream(r"context_refiner\.\d+\.(attention|feed_forward)\.\w+|cap_embedder\.1", Stream.TEXT),
        LayerStream(r"layers\.\d+\.(attention|feed_forward)\.\w+|final_layer\.linear", Stream.BOTH),
    ),
    modulations=(
        _z_image_modulation("layers", Stream.BOTH),
        _z_image_modulation("noise_refiner", Stream.PICTURE),
        Modulation(
            "final_layer.adaLN_modulation.1",
            Stream.BOTH,
            parts=1,
            norms=(ScaledNorm("final_layer.norm_final", scale=0),),
        ),
    ),
    own_captions=True,
    control_net="Apply Z-Image Fun ControlNet",
)
IN_PIXEL_SPACE = replace(
    TRANSFORMER,
    name="Z-Image in pixel space",
    made=replace(
        TRANSFORMER.made,
        network="comfy.ldm.lumina.model.NextDiTPixelSpace",
        model="ZImagePixelSpace",
        image_model="zimage_pixel",
        latent=(3, 2),
        sizes=f"{TRANSFORMER.made.sizes} decoder_hidden_size decoder_num_res_blocks decoder_max_freqs "
        "decoder_in_channels use_x0",
    ),
    # Behind the blocks stands a network of its own, in whose layers nobody's place is known.
    streams=(*TRANSFORMER.streams[:2], LayerStream(r"layers\.\d+\.(attention|feed_forward)\.\w+", Stream.BOTH)),
    modulations=TRANSFORMER.modulations[:2],
    control_net="",  # its cells are pixels, and its tokens 16 or 32 of them wide
)
