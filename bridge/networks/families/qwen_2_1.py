"""Qwen-Image 2.1, as ComfyUI 0.36 has it: text and references are a causal prefix in front of the picture."""

from ....core import families
from ..transformer_families import HostNetwork, LayerStream, ReferencePictures, Stream, TransformerFamily

TRANSFORMER = TransformerFamily(
    name=families.QWEN_2_1.name,
    made=HostNetwork(
        network="comfy.ldm.qwen_image21.model.QwenImage21Transformer2DModel",
        model="QwenImage21",
        image_model="qwen_image21",
        latent=(families.QWEN_2_1.latent, 2),
        sizes="in_channels out_channels num_layers attention_head_dim num_attention_heads context_in_dim mlp_ratio "
        "axes_dims_rope eps fused_mlp",
    ),
    least_host="0.36",
    code=(
        "slots = (image_slots + [txt.shape[1]] * len(ref_latents))[:len(ref_latents)]",
        "- (h - h // 2) + 0.5 * (h % 2 - x.shape[-2] % 2)",
        "parts.append(self.img_in(img.flatten(2).transpose(1, 2)))",
        "zip(zip(bounds[:-1], bounds[1:]), ref_latents + [x])",
        "pos += max(h, w)",
        'out = p({"img": hidden_states, "pe": pe, "transformer_options": transformer_options})',
        "self.pe_embedder(torch.cat(ids, dim=0).unsqueeze(0)).transpose(1, 2).contiguous()",
        "optimized_attention(q[:, start:end].flatten(2), k[:, :end].flatten(2), v[:, :end].flatten(2), heads, ",
        "torch.cat([prefix_k, k], dim=1).flatten(2)",
        'transformer_options["block_index"] = i',
        "def _forward(self, x, timesteps, context, ref_latents=None, image_slots=None, transformer_options={}",
    ),
    blocks=("transformer_blocks",),
    patch="",
    text_layers=("txt_in.in_layer",),
    prefix=True,
    streams=(  # without modulation: one layer of the time makes that of all blocks
        LayerStream(r"img_in", Stream.ONE_PICTURE),
        LayerStream(r"txt_in\.(in|out)_layer", Stream.TEXT),
        LayerStream(r"transformer_blocks\.\d+\.(attn\.to_[qkv]|attn\.to_out\.0|img_mlp\.\w+)", Stream.BOTH),
        LayerStream(r"proj_out", Stream.PICTURE),
    ),
    references=ReferencePictures(
        model="Qwen-Image 2.1",
        text_encoder="qwen3vl_8b with qwen_image",
        tokenizers={"QwenImage21Tokenizer": ""},
        vae="qwen_image_2.1_vae",
        latent=(64,),
        cell=16,
        step=32,
        scaling="lanczos",
        word="<image{}>",
        sees=True,
        numbers_pictures=True,
        shown_as_encoded=True,
        empty_text=" ",
        most={"Qwen-Image 2.1": 10},
    ),
)
