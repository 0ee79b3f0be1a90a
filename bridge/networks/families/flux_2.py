"""FLUX.2, as the host has it."""

from dataclasses import replace

from ....core import families
from ..transformer_families import POST_INPUT, LayerName, ReferencePictures, TransformerFamily
from .flux import FLUX_NETWORK, FLUX_SIZES, FLUX_STREAMS

TRANSFORMER = TransformerFamily(
    name=families.FLUX_2.name,
    made=replace(
        FLUX_NETWORK,
        model="Flux2",
        image_model="flux2",
        latent=(families.FLUX_2.latent, 2),
        sizes=FLUX_SIZES + "guidance_embed mlp_silu_act ops_bias default_ref_method ref_index_scale",
        required={"global_modulation": True, "txt_ids_dims": [3]},
    ),
    blocks=("double_blocks", "single_blocks"),
    telling_block=11,
    text_layers=("txt_in",),
    code=("reference_image_num_tokens", POST_INPUT, "txt_ids_dims"),
    counted_axes=(3,),
    left_padded_to=512,
    joint_mask=True,
    streams=FLUX_STREAMS,
    layer_names=(
        LayerName("double_stream_modulation_img.linear", "double_stream_modulation_img.lin"),
        LayerName("double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin"),
        LayerName("single_stream_modulation.linear", "single_stream_modulation.lin"),
        LayerName("time_guidance_embed.timestep_embedder.linear_1", "time_in.in_layer"),
        LayerName("time_guidance_embed.timestep_embedder.linear_2", "time_in.out_layer"),
        LayerName("time_guidance_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
        LayerName("time_guidance_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
        # Behind q, k and v all is the MLP's, which is wider than in FLUX.1.
        LayerName("single_transformer_blocks.{}.proj_mlp", "single_blocks.{}.linear1", behind_qkv=True),
    ),
    references=ReferencePictures(
        model="FLUX.2",
        text_encoder="qwen_3_4b, qwen_3_8b or mistral_3_small with flux2",
        tokenizers={
            "KleinTokenizer": "FLUX.2 klein",
            "KleinTokenizer8B": "FLUX.2 klein",
            "Flux2Tokenizer": "FLUX.2 dev",
        },
        vae="flux2-vae",
        latent=(128,),
        cell=16,
        step=16,
        most={"FLUX.2 klein": 4, "FLUX.2 dev": 6},
    ),
)
