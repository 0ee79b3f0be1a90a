"""FLUX.1, as the host has it."""

from ....core import families
from ..transformer_families import (
    APPLY_CONTROL_NET,
    POST_INPUT,
    HostNetwork,
    LayerStream,
    ReferencePictures,
    Stream,
    TransformerFamily,
)

FLUX_STREAMS = (
    LayerStream(r"double_blocks\.\d+\.img_(attn\.(qkv|proj)|mlp\.\d+)|img_in|final_layer\.linear", Stream.PICTURE),
    LayerStream(r"double_blocks\.\d+\.txt_(attn\.(qkv|proj)|mlp\.\d+)|txt_in", Stream.TEXT),
    LayerStream(r"single_blocks\.\d+\.linear[12]", Stream.BOTH),
    LayerStream(r"double_blocks\.\d+\.img_mod\.lin|double_stream_modulation_img\.lin", Stream.PICTURE, modulates=True),
    LayerStream(r"final_layer\.adaLN_modulation\.1", Stream.PICTURE, modulates=True),
    LayerStream(r"double_blocks\.\d+\.txt_mod\.lin|double_stream_modulation_txt\.lin", Stream.TEXT, modulates=True),
    LayerStream(r"single_blocks\.\d+\.modulation\.lin|single_stream_modulation\.lin", Stream.BOTH, modulates=True),
)
FLUX_SIZES = (
    "in_channels out_channels vec_in_dim context_in_dim hidden_size mlp_ratio num_heads depth depth_single_blocks "
    "axes_dim theta patch_size qkv_bias "
)
FLUX_NETWORK = HostNetwork(
    network="comfy.ldm.flux.model.Flux",
    model="Flux",
    image_model="flux",
    latent=(families.FLUX.latent, 2),
    sizes=FLUX_SIZES + "guidance_embed",
)
TRANSFORMER = TransformerFamily(
    name=families.FLUX.name,
    made=FLUX_NETWORK,
    blocks=("double_blocks", "single_blocks"),
    telling_block=18,
    text_layers=("txt_in",),
    code=("reference_image_num_tokens", POST_INPUT),
    joint_mask=True,
    streams=FLUX_STREAMS,
    control_net=APPLY_CONTROL_NET,
    references=ReferencePictures(
        model="FLUX.1 Kontext",
        text_encoder="clip_l and t5xxl with Load CLIP (Dual) and flux",
        tokenizers={"FluxTokenizer": ""},
        vae="ae",
        latent=(16,),
        most={"FLUX.1 Kontext": 1},
    ),
)
