"""The published adapters that read a face, a picture or a person: what is in each, for a UNet of any widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import shapes
from .shapes import Shapes

RANK = 128


@dataclass(frozen=True)
class UNet:
    """text: width of what its cross-attention reads. widths: of its transformer blocks, in the order of such files:
    down, up, middle."""

    text: int
    widths: tuple[int, ...]


SD15 = UNet(768, (320, 320, 640, 640, 1280, 1280, *(1280,) * 3, *(640,) * 3, *(320,) * 3, 1280))
SDXL = UNet(2048, (*(640,) * 4, *(1280,) * 20, *(1280,) * 30, *(640,) * 6, *(1280,) * 10))


def layers(unet: UNet, lora: bool = False, rank: int = RANK) -> Shapes:
    """lora: of this rank, of every attention layer, of which those with even numbers are self-attention."""
    for number, width in enumerate(width for width in unet.widths for _ in "12"):
        text = unet.text if number % 2 else width
        for name, width_in in (("q", width), ("k", text), ("v", text), ("out", width)) if lora else ():
            yield f"ip_adapter.{number}.to_{name}_lora.down.weight", (rank, width_in)
            yield f"ip_adapter.{number}.to_{name}_lora.up.weight", (width, rank)
        if number % 2:
            yield f"ip_adapter.{number}.to_k_ip.weight", (width, text)
            yield f"ip_adapter.{number}.to_v_ip.weight", (width, text)


def _file(projection: str, unet: UNet, lora: bool = False, **sizes: int) -> Shapes:
    yield from shapes.of(projection, text=unet.text, **sizes)
    yield from layers(unet, lora)


def _kind(projection: str, **more: int) -> Callable[[UNet], Shapes]:
    return partial(_file, projection, **more)


PUBLISHED: dict[str, tuple[UNet, Callable[[UNet], Shapes]]] = {
    "ip-adapter-faceid_sd15": (SD15, _kind("face-id", lora=True)),
    "ip-adapter-faceid-plusv2_sd15": (SD15, _kind("face-id-plus", lora=True)),
    "ip-adapter-faceid-portrait-v11_sd15": (SD15, _kind("face-id-portrait")),
    "ip-adapter-faceid_sdxl": (SDXL, _kind("face-id", lora=True)),
    "ip-adapter-faceid-plusv2_sdxl": (SDXL, _kind("face-id-plus", lora=True)),
    "ip-adapter-faceid-portrait_sdxl": (SDXL, _kind("face-id-portrait")),
    "ip-adapter-faceid-portrait_sdxl_unnorm": (SDXL, _kind("face-id-unnorm")),
    "ip-adapter_sd15": (SD15, _kind("plain")),
    "ip-adapter_sd15_vit-G": (SD15, _kind("plain", embedding=1280)),
    "ip-adapter-plus-face_sd15": (SD15, _kind("plus", width=768)),
    "ip-adapter-full-face_sd15": (SD15, _kind("full")),
    "ip-adapter_sdxl": (SDXL, _kind("plain", embedding=1280)),
    "ip-adapter_sdxl_vit-h": (SDXL, _kind("plain")),
    "ip-adapter-plus_sdxl_vit-h": (SDXL, _kind("plus")),
    "mask": (SDXL, _kind("story_maker", lora=True)),
}
"""What is in a file as published, by its name, for the UNet it is for."""
IN_FULL_PRECISION = "ip-adapter-faceid-portrait_sdxl_unnorm"
"""Whose projection is published in it, by which alone it is told from InstantID's."""


def photo_maker(blocks: dict[str, int], width: int, version: int) -> Shapes:
    """An encoder, and a LoRA under the names that diffusers gives a UNet's attention. blocks: transformer blocks of
    each of a UNet's transformers, by diffusers' names."""
    yield from shapes.under("id_encoder", shapes.of("photo_maker_v2" if version == 2 else "photo_maker"))
    for name, depth in blocks.items():
        for number in range(depth):
            for attention, text in (("attn1", width), ("attn2", SDXL.text)):
                key = f"lora_weights.unet.{name}.transformer_blocks.{number}.{attention}.processor"
                yield from shapes.under(key, shapes.of("photo_maker_lora", width=width, text=text))
