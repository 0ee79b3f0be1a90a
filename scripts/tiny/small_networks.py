"""A node pack without nodes, which lies among the stand-ins: with it the host takes networks as small as these are.

ComfyUI knows a family of models by how wide its UNet is, CLIP by the last layers in a file and the tiny autoencoder by
its keys, and then makes them in their published sizes: no small file makes them small. In these sizes a step, a text
for SDXL or a picture for ViT-H takes seconds of a CPU. The networks are the host's own either way, and what is tested
reads their sizes from their tensors. Of the models whose denoiser is a transformer it reads most from the file; the
text encoders, Qwen-Image and the encoding half of their autoencoders it does not.
"""

from functools import wraps
from typing import Any

import comfy.clip_model
import comfy.ldm.chroma.model
import comfy.ldm.modules.diffusionmodules.model
import comfy.ldm.wan.vae
import comfy.model_detection
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import comfy.text_encoders.llama
import comfy.text_encoders.qwen_vl
import comfy.text_encoders.t5
from comfy_api.latest import ComfyExtension

WIDTH, VAE_WIDTH = 64, 32
"""Channels of a UNet in the place of 320, one head of SDXL's, and of the autoencoder in the place of 64."""
LAYERS = 3
"""Of CLIP: the fewest of which the host takes the last but one."""
TEXT_WIDTH, WAN_WIDTH, HEADS = 64, 4, 2
"""Of the text encoders of FLUX and Qwen-Image, of Qwen-Image's autoencoder, and heads of Qwen-Image itself."""
Z_IMAGE_WIDTH = 256
"""Of Z-Image in the place of 3840."""
Z_IMAGE = {
    "n_heads": 2, "n_kv_heads": 2, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0,
    "ffn_dim_multiplier": 8 / 3, "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
}  # fmt: skip
"""What the host knows of Z-Image by its width, with two heads of the published size."""
ANIMA_WIDTH = 256
"""Of Anima in the place of 2048."""


def families() -> list[Any]:
    """All that the host knows, and SD1.5, Segmind Vega and Z-Image of these widths; an older host has no Z-Image."""
    known = comfy.supported_models
    narrow = [_family(known.SD15, model_channels=WIDTH), _family(known.Segmind_Vega, model_channels=WIDTH)]
    if hasattr(known, "ZImage"):
        narrow.append(_family(known.ZImage, dim=Z_IMAGE_WIDTH))
    return [*known.models, *narrow]


def _family(known: Any, **sizes: int) -> Any:
    """A family of the host that is told by other sizes."""
    return type(known.__name__, (known,), {"unet_config": {**known.unet_config, **sizes}})


def _knows_by_width(usual: Any) -> Any:
    """usual: what reads a network's sizes from a file; some of Z-Image's and Anima's it knows by the width alone."""

    @wraps(usual)
    def known(*file: Any, **named: Any) -> Any:
        sizes = usual(*file, **named)
        if sizes is not None and sizes.get("image_model") == "lumina2" and sizes["dim"] == Z_IMAGE_WIDTH:
            return {**sizes, **Z_IMAGE}
        if sizes is not None and sizes.get("image_model") == "anima" and sizes["model_channels"] == ANIMA_WIDTH:
            return {**sizes, "num_heads": 2, "crossattn_emb_channels": TEXT_WIDTH}
        return sizes

    return known


def end_early(network: Any) -> None:
    """network: made of a configuration with transformers' names; what a file has of further layers is left over."""
    made = network.__init__

    @wraps(made)
    def init(self: Any, config: dict[str, Any], *given: Any) -> None:
        made(self, {**config, "num_hidden_layers": min(LAYERS, config["num_hidden_layers"])}, *given)

    network.__init__ = init


def _with(network: Any, **sizes: int) -> None:
    """network: a class that is made with these sizes from now on, whatever it is given."""
    made = network.__init__

    @wraps(made)
    def init(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **{**named, **sizes})

    network.__init__ = init


def _narrow_t5(made: Any) -> Any:
    sizes = {"num_layers": LAYERS, "num_heads": 1, "d_model": TEXT_WIDTH, "d_ff": 2 * TEXT_WIDTH}
    return lambda self, config, *given: made(self, {**config, **sizes}, *given)


def _knows_qwen3(usual: Any) -> Any:
    """usual: what tells text encoders, Qwen3, Qwen3-VL and Mistral by their widths."""
    of_first_layer = "model.layers.0.self_attn.q_norm.weight", "model.layers.0.post_attention_layernorm.weight"
    of_eye, of_8b = "model.visual.merger.linear_fc2.weight", "model.lm_head.weight"

    def known(file: Any) -> Any:
        if of_eye in file and len(file[of_eye]) == TEXT_WIDTH:
            return comfy.sd.TEModel.QWEN3VL_8B if of_8b in file else comfy.sd.TEModel.QWEN3VL_4B
        narrow = all(key in file for key in of_first_layer) and len(file[of_first_layer[1]]) == TEXT_WIDTH
        if "tekken_model" in file:
            return comfy.sd.TEModel.MISTRAL3_24B
        if not narrow:
            return usual(file)
        has_36_layers = "model.layers.35.self_attn.q_norm.weight" in file
        return comfy.sd.TEModel.QWEN3_4B if has_36_layers else comfy.sd.TEModel.QWEN3_06B

    return known


def _narrow_transformers() -> None:
    """And what comes with them; an older host has no Qwen3."""
    text, encoders = {"hidden_size": TEXT_WIDTH, "intermediate_size": 2 * TEXT_WIDTH}, comfy.text_encoders
    comfy.text_encoders.t5.T5.__init__ = _narrow_t5(comfy.text_encoders.t5.T5.__init__)
    _with(encoders.llama.Qwen25_7BVLI_Config, **text, num_attention_heads=4, num_key_value_heads=4)
    _with(encoders.qwen_vl.Qwen2VLVisionTransformer, hidden_size=64, intermediate_size=128, num_heads=2, num_layers=2)
    comfy.supported_models.QwenImage.unet_extra_config = {
        "num_attention_heads": HEADS,
        "joint_attention_dim": TEXT_WIDTH,
    }
    _with(comfy.ldm.modules.diffusionmodules.model.Encoder, ch=VAE_WIDTH)
    _with(comfy.ldm.wan.vae.WanVAE, dim=WAN_WIDTH)
    if hasattr(encoders.llama, "Qwen3_4BConfig"):
        _with(encoders.llama.Qwen3_4BConfig, **text, num_attention_heads=2, num_key_value_heads=1)
        if hasattr(encoders.llama, "Mistral3Small24BConfig"):
            _with(encoders.llama.Mistral3Small24BConfig, **text, num_attention_heads=2, num_key_value_heads=1)
        comfy.sd.detect_te_model = _knows_qwen3(comfy.sd.detect_te_model)
    if hasattr(comfy.supported_models, "Anima"):
        from comfy.ldm.anima import model

        _with(encoders.llama.Qwen3_06BConfig, **text, num_attention_heads=2, num_key_value_heads=1)
        adapter = {"source_dim": TEXT_WIDTH, "target_dim": TEXT_WIDTH, "model_dim": TEXT_WIDTH}
        _with(model.LLMAdapter, **adapter, num_layers=1, num_heads=2)
    if hasattr(encoders, "qwen3vl"):
        for config in (encoders.llama.Qwen3VL_4BConfig, encoders.llama.Qwen3VL_8BConfig):
            _with(config, **text, num_attention_heads=2, num_key_value_heads=1)
        eye = {"hidden_size": 64, "intermediate_size": 128, "depth": 2, "deepstack_visual_indexes": [0]}
        encoders.qwen3vl.QWEN3VL_VISION |= {"qwen3vl_4b": eye, "qwen3vl_8b": eye}
        encoders.qwen3vl.QWEN3VL_VISION_COMMON["num_heads"] = 2
        comfy.supported_models.Krea2.unet_extra_config = {"txtheads": 1, "txtkvheads": 1}
    _with(comfy.ldm.chroma.model.Chroma, out_dim=256, hidden_dim=64, n_layers=1)


def _convolution(usual: Any) -> Any:
    """Of the autoencoder."""
    return lambda n_in, n_out, **given: usual(*(VAE_WIDTH if n == 64 else n for n in (n_in, n_out)), **given)


class SmallNetworks(ComfyExtension):
    async def get_node_list(self) -> list[Any]:
        return []


async def comfy_entrypoint() -> SmallNetworks:
    comfy.supported_models.models = families()
    comfy.model_detection.detect_unet_config = _knows_by_width(comfy.model_detection.detect_unet_config)
    comfy.taesd.taesd.conv = _convolution(comfy.taesd.taesd.conv)
    end_early(comfy.clip_model.CLIPTextModel)
    end_early(comfy.clip_model.CLIPVisionModelProjection)
    _narrow_transformers()
    return SmallNetworks()
