"""Keys and shapes of the published adapters that read a face, a picture or a person, for a UNet of any widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .shapes import Shapes, clip_vision, layer, under

EMBEDDING, STATES = 512, 1280
"""Numbers of a face embedding, and of a hidden state of ViT-H/14."""
RANK = 128


@dataclass(frozen=True)
class UNet:
    """text: width of what its cross-attention reads. widths: of its transformer blocks, in the order of such files:
    down, up, middle."""

    text: int
    widths: tuple[int, ...]


SD15 = UNet(768, (320, 320, 640, 640, 1280, 1280, *(1280,) * 3, *(640,) * 3, *(320,) * 3, 1280))
SDXL = UNet(2048, (*(640,) * 4, *(1280,) * 20, *(1280,) * 30, *(640,) * 6, *(1280,) * 10))


def layers(unet: UNet, lora: bool = False) -> Shapes:
    """lora: of every attention layer, of which those with even numbers are self-attention."""
    for number, width in enumerate(width for width in unet.widths for _ in "12"):
        text = unet.text if number % 2 else width
        for name, width_in in (("q", width), ("k", text), ("v", text), ("out", width)) if lora else ():
            yield f"ip_adapter.{number}.to_{name}_lora.down.weight", (RANK, width_in)
            yield f"ip_adapter.{number}.to_{name}_lora.up.weight", (width, RANK)
        if number % 2:
            yield f"ip_adapter.{number}.to_k_ip.weight", (width, text)
            yield f"ip_adapter.{number}.to_v_ip.weight", (width, text)


def _of_face(text: int, tokens: int) -> Shapes:
    yield from layer("proj.0", 2 * EMBEDDING, EMBEDDING)
    yield from layer("proj.2", tokens * text, 2 * EMBEDDING)
    yield from layer("norm", text)


def _perceiver(width: int, inputs: int, text: int, depth: int = 4) -> Shapes:
    yield from layer("proj_in", width, inputs)
    yield from layer("proj_out", text, width)
    yield from layer("norm_out", text)
    for number in range(depth):
        attention, forward = f"layers.{number}.0", f"layers.{number}.1"
        yield from layer(f"{attention}.norm1", width)
        yield from layer(f"{attention}.norm2", width)
        yield f"{attention}.to_q.weight", (width, width)
        yield f"{attention}.to_kv.weight", (2 * width, width)
        yield f"{attention}.to_out.weight", (width, width)
        yield from layer(f"{forward}.0", width)
        yield f"{forward}.1.weight", (4 * width, width)
        yield f"{forward}.3.weight", (width, 4 * width)


def _queries(width: int, inputs: int, text: int) -> Shapes:
    yield "latents", (1, 16, width)
    yield from _perceiver(width, inputs, text)


def face_id(unet: UNet) -> Shapes:
    yield from under("image_proj", _of_face(unet.text, 4))
    yield from layers(unet, lora=True)


def face_id_plus(unet: UNet) -> Shapes:
    """Version 1 as well as 2."""
    yield from under("image_proj", _of_face(unet.text, 4))
    yield from under("image_proj.perceiver_resampler", _perceiver(unet.text, STATES, unet.text))
    yield from layers(unet, lora=True)


def face_id_portrait(unet: UNet) -> Shapes:
    yield from under("image_proj", _of_face(unet.text, 16))
    yield from layers(unet)


def face_id_unnorm(unet: UNet) -> Shapes:
    """InstantID's own."""
    yield from under("image_proj", _queries(1280, EMBEDDING, unet.text))
    yield from layers(unet)


def plain(unet: UNet, embedding: int = 1024) -> Shapes:
    """embedding: 1024 of ViT-H/14, 1280 of bigG."""
    yield from under("image_proj", layer("proj", 4 * unet.text, embedding))
    yield from under("image_proj", layer("norm", unet.text))
    yield from layers(unet)


def plus(unet: UNet) -> Shapes:
    """For faces as well as for pictures."""
    yield from under("image_proj", _queries(768 if unet.text == 768 else 1280, STATES, unet.text))
    yield from layers(unet)


def full(unet: UNet) -> Shapes:
    yield from layer("image_proj.proj.0", STATES, STATES)
    yield from layer("image_proj.proj.2", unet.text, STATES)
    yield from layer("image_proj.proj.3", unet.text)
    yield from layers(unet)


def story_maker(unet: UNet) -> Shapes:
    yield "image_proj_model.pos_embed", (3, 20, unet.text)
    yield "image_proj_model.bg_embed", (1, 20, unet.text)
    yield from under("image_proj_model", _of_face(unet.text, 4))
    yield from layer("image_proj_model.proj_out", unet.text, unet.text)
    yield from layer("image_proj_model.norm_out", unet.text)
    yield from under("image_proj_model.perceiver_resampler", _perceiver(unet.text, STATES, unet.text))
    yield from under("image_proj_model.resample", _queries(1280, STATES, unet.text))
    yield from layers(unet, lora=True)


PUBLISHED: dict[str, tuple[UNet, Callable[[UNet], Shapes]]] = {
    "ip-adapter-faceid_sd15": (SD15, face_id),
    "ip-adapter-faceid-plusv2_sd15": (SD15, face_id_plus),
    "ip-adapter-faceid-portrait-v11_sd15": (SD15, face_id_portrait),
    "ip-adapter-faceid_sdxl": (SDXL, face_id),
    "ip-adapter-faceid-plusv2_sdxl": (SDXL, face_id_plus),
    "ip-adapter-faceid-portrait_sdxl": (SDXL, face_id_portrait),
    "ip-adapter-faceid-portrait_sdxl_unnorm": (SDXL, face_id_unnorm),
    "ip-adapter_sd15": (SD15, plain),
    "ip-adapter_sd15_vit-G": (SD15, lambda unet: plain(unet, 1280)),
    "ip-adapter-plus-face_sd15": (SD15, plus),
    "ip-adapter-full-face_sd15": (SD15, full),
    "ip-adapter_sdxl": (SDXL, lambda unet: plain(unet, 1280)),
    "ip-adapter_sdxl_vit-h": (SDXL, plain),
    "ip-adapter-plus_sdxl_vit-h": (SDXL, plus),
    "mask": (SDXL, story_maker),
}
"""What is in a file as published, by its name, for the UNet it is for."""


# --- PhotoMaker: an encoder, and a LoRA under the names that diffusers gives a UNet's attention.


def photo_maker(blocks: dict[str, int], widths: dict[str, int], version: int) -> Shapes:
    """blocks: transformer blocks of each of a UNet's transformers, by diffusers' names. widths: theirs."""
    yield from under("id_encoder", _id_encoder(version))
    for name, depth in blocks.items():
        for number in range(depth):
            for attention, text in (("attn1", widths[name]), ("attn2", SDXL.text)):
                key = f"lora_weights.unet.{name}.transformer_blocks.{number}.{attention}.processor"
                width = widths[name]
                for side, width_in in (("q", width), ("k", text), ("v", text), ("out", width)):
                    yield f"{key}.to_{side}_lora.down.weight", (64, width_in)
                    yield f"{key}.to_{side}_lora.up.weight", (width, 64)


def _id_encoder(version: int) -> Shapes:
    text = SDXL.text
    yield from clip_vision(24, 1024, 768)
    yield "visual_projection_2.weight", (1280, 1024)
    for name, inputs in (("mlp1", 2 * text), ("mlp2", text)):
        yield from layer(f"fuse_module.{name}.layernorm", inputs)
        yield from layer(f"fuse_module.{name}.fc1", text, inputs)
        yield from layer(f"fuse_module.{name}.fc2", text, text)
    yield from layer("fuse_module.layer_norm", text)
    if version == 2:
        yield from layer("qformer_perceiver.token_proj.0", 4 * EMBEDDING, EMBEDDING)
        yield from layer("qformer_perceiver.token_proj.2", 2 * text, 4 * EMBEDDING)
        yield from layer("qformer_perceiver.token_norm", text)
        yield from under("qformer_perceiver.perceiver_resampler", _perceiver(text, 1024, text))
