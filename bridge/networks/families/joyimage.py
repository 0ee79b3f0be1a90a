"""JoyImage, as the host has it."""

from ....core import families
from ..transformer_families import BlockInputs, HostNetwork, LayerStream, ReferencePictures, Stream, TransformerFamily

_WIDTHS = {
    512: (1792, 2048),
    576: (1600, 1792),
    640: (1472, 1600),
    704: (1344, 1472),
    768: (1216, 1344),
    832: (1152, 1216),
    896: (1088, 1152),
    960: (1024, 1088),
    1024: (960, 1024),
    1088: (896, 960),
    1152: (832, 896),
    1216: (768, 832),
    1280: (768, 768),
    1344: (704, 768),
    1408: (704, 704),
    1472: (640, 704),
    1536: (640, 640),
    1600: (576, 640),
    1664: (576, 576),
    1728: (576, 576),
    1792: (512, 576),
    1856: (512, 512),
    1920: (512, 512),
    1984: (512, 512),
    2048: (512, 512),
}
"""Height -> the narrowest and the widest of the pictures that JoyImage was trained with, 64 px apart."""
TRANSFORMER = TransformerFamily(
    name=families.JOYIMAGE.name,
    made=HostNetwork(
        network="comfy.ldm.joyimage.model.JoyImageTransformer3DModel",
        model="JoyImage",
        image_model="joyimage",
        latent=(families.JOYIMAGE.latent, 3),
        sizes="in_channels out_channels hidden_size num_attention_heads text_dim mlp_width_ratio num_layers "
        "rope_dim_list theta",
        required={"patch_size": [1, 2, 2]},
    ),
    blocks=("double_blocks",),
    text_layers=("condition_embedder.text_embedder.linear_1",),
    code=(
        "components = [hidden_states, *(ref_latents or [])]",
        # Texts have no positions, so counted_axes is empty.
        "joint_q = torch.cat([img_q, txt_q], dim=1)",
        "comfy_kitchen.rms_rope(\n            img_q,\n            img_k,\n            image_rotary_emb,",
        "img, txt = block(",
        "img = img[:, :target_tokens, :]",
    ),
    text_last=True,
    patch=2,  # of its three patch_size, which are a frame, rows and columns
    block_inputs=BlockInputs(
        "forward",
        module="double_blocks.0",
        text="encoder_hidden_states",
        picture="hidden_states",
        positions="image_rotary_emb",
    ),
    streams=(
        LayerStream(
            r"double_blocks\.\d+\.(attn\.img_attn_(qkv|proj)|img_mlp\.net\.(0\.proj|2))|proj_out", Stream.PICTURE
        ),
        LayerStream(
            r"double_blocks\.\d+\.(attn\.txt_attn_(qkv|proj)|txt_mlp\.net\.(0\.proj|2))"
            r"|condition_embedder\.text_embedder\.linear_[12]",
            Stream.TEXT,
        ),
    ),  # without modulation: one layer of the time makes that of all blocks
    references=ReferencePictures(
        model="JoyImage-Edit",
        text_encoder="qwen3vl_8b_joyimage_edit with joyimage",
        tokenizers={"JoyImageTokenizer": ""},
        vae="wan_2.1_vae",
        latent=(16, 1),
        scaling="bilinear",
        sides=tuple(
            (height, width)
            for height, (narrowest, widest) in _WIDTHS.items()
            for width in range(narrowest, widest + 1, 64)
        ),
        sees=True,
        numbers_pictures=True,
        mark="{picture}",
        before_shown=2,  # of its template two tokens more are left than of Qwen-Image's
        shown_as_encoded=True,
        most={"JoyImage-Edit": 6},
    ),
)
