"""Anima, as the host has it."""

from ....core import families
from ..transformer_families import HostNetwork, LayerStream, Stream, TransformerFamily

TRANSFORMER = TransformerFamily(
    name=families.ANIMA.name,
    made=HostNetwork(
        network="comfy.ldm.anima.model.Anima",
        model="Anima",
        image_model="anima",
        latent=(families.ANIMA.latent, 3),
        sizes="max_img_h max_img_w max_frames in_channels out_channels patch_spatial patch_temporal "
        "concat_padding_mask model_channels num_blocks num_heads mlp_ratio crossattn_emb_channels pos_emb_cls "
        "pos_emb_learnable pos_emb_interpolation min_fps max_fps use_adaln_lora adaln_lora_dim "
        "rope_h_extrapolation_ratio rope_w_extrapolation_ratio rope_t_extrapolation_ratio "
        "extra_h_extrapolation_ratio extra_w_extrapolation_ratio extra_t_extrapolation_ratio",
    ),
    blocks=("blocks",),
    text_layers=("blocks.0.cross_attn.k_proj",),
    code=("class Anima(MiniTrainDIT)", "def preprocess_text_embeds(self, text_embeds, text_ids, t5xxl_weights=None)"),
    picture_layer="x_embedder.proj.1",
    patch="patch_spatial",
    text_reader="cross_attn",
    streams=(
        LayerStream(
            r"x_embedder\.proj\.1|blocks\.\d+\.(self_attn\.(q|k|v|output)_proj|cross_attn\.(q|output)_proj|mlp\.layer[12])"
            r"|final_layer\.linear",
            Stream.PICTURE,
        ),
        LayerStream(r"blocks\.\d+\.cross_attn\.[kv]_proj", Stream.TEXT),
        LayerStream(r"llm_adapter\..+", Stream.PROMPT),
    ),
)
