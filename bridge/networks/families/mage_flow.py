"""Mage-Flow, as the host has it."""

from ....core import families
from ..transformer_families import POST_INPUT, HostNetwork, ReferencePictures, TransformerFamily
from .qwen import QWEN_STREAMS, qwen_modulations

TRANSFORMER = TransformerFamily(
    name=families.MAGE_FLOW.name,
    made=HostNetwork(
        network="comfy.ldm.mage_flow.model.MageFlowTransformer2DModel",
        model="MageFlow",
        image_model="mage_flow",
        latent=(families.MAGE_FLOW.latent, 2),
        sizes="in_channels out_channels num_layers attention_head_dim num_attention_heads joint_attention_dim "
        "axes_dims_rope",
    ),
    blocks=("transformer_blocks",),
    text_layers=("txt_in",),
    code=(
        "reference_image_num_tokens",
        POST_INPUT,
        # Every token of a text has the position 0, so counted_axes is empty.
        "txt_ids = torch.zeros((x.shape[0], context.shape[1], 3), device=x.device)",
        "QwenImageTransformerBlock(",
    ),
    mask_place=2,
    streams=QWEN_STREAMS,
    modulations=qwen_modulations(zero_time=False),
    references=ReferencePictures(
        model="Mage-Flow-Edit",
        text_encoder="qwen3vl_4b with mage",
        tokenizers={"MageFlowTokenizer": ""},
        vae="mage_flow_vae_bf16",
        latent=(128,),
        word="Image {}",
        sees=True,
        cell=16,
        step=16,
        numbers_pictures=True,
        scaling="bicubic",
        longest_shown=384,
        empty_negative=" ",
    ),
)
