"""Ideogram 4, as the host has it."""

from ....core import families
from ..transformer_families import BlockInputs, HostNetwork, LayerStream, Stream, TransformerFamily

TRANSFORMER = TransformerFamily(
    name=families.IDEOGRAM_4.name,
    made=HostNetwork(
        network="comfy.ldm.ideogram4.model.Ideogram4Transformer2DModel",
        model="Ideogram4",
        image_model="ideogram4",
        latent=(families.IDEOGRAM_4.latent, 2),
        sizes="in_channels num_layers num_attention_heads attention_head_dim intermediate_size adaln_dim "
        "llm_features_dim rope_theta mrope_section norm_eps",
    ),
    blocks=("layers",),
    text_layers=("llm_cond_proj",),
    code=(
        "self._backbone(context_chunk, x_full, t_chunk, position_ids, attn_mask, indicator",
        "text_pos = torch.arange(L_text, device=device)",
        # The picture's positions begin here, however long the text is.
        "torch.stack([t_idx, h_idx, w_idx], dim=1) + IMAGE_POSITION_OFFSET",
    ),
    picture_layer="input_proj",
    patch=1,  # patch_size says how many pixels of the VAE are one cell
    block_inputs=BlockInputs(
        "_backbone", text="llm_features", picture="x", positions="position_ids", picture_behind_text=True
    ),
    counted_axes=(0, 1, 2),
    mask_place=2,
    streams=(
        LayerStream(
            r"input_proj|layers\.\d+\.(attention\.(qkv|o)|feed_forward\.w[123])|final_layer\.linear", Stream.BOTH
        ),
        LayerStream(r"llm_cond_proj", Stream.TEXT),
        LayerStream(r"(layers\.\d+|final_layer)\.adaln_modulation", Stream.BOTH, modulates=True),
    ),
)
