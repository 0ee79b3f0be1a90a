"""The published adapters that read a face, a picture or a person: what is in each, for a UNet of any widths."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
    for block, width in enumerate(unet.widths):
        self_attention = f"ip_adapter.{2 * block}"
        cross_attention = f"ip_adapter.{2 * block + 1}"
        if lora:
            yield from _lora(self_attention, width, width, rank)
            yield from _lora(cross_attention, width, unet.text, rank)
        yield f"{cross_attention}.to_k_ip.weight", (width, unet.text)
        yield f"{cross_attention}.to_v_ip.weight", (width, unet.text)


def _lora(layer: str, width: int, context: int, rank: int) -> Shapes:
    """Of an attention layer. context: width of what its keys and values are made of."""
    for name, width_in in (("q", width), ("k", context), ("v", context), ("out", width)):
        yield f"{layer}.to_{name}_lora.down.weight", (rank, width_in)
        yield f"{layer}.to_{name}_lora.up.weight", (width, rank)


def _file(projection: str, unet: UNet, *, lora: bool = False, **sizes: int) -> Shapes:
    yield from shapes.of(projection, text=unet.text, **sizes)
    yield from layers(unet, lora)


def _published() -> Iterator[tuple[str, tuple[UNet, Callable[..., Shapes]]]]:
    unets = {"SD15": SD15, "SDXL": SDXL}
    table = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    for name, row in table.items():
        unet = unets[row.pop("unet")]
        projection = row.pop("projection")
        yield name, (unet, partial(_file, projection, **row))


PUBLISHED = dict(_published())
"""What is in a file as published, by its name, for the UNet it is for."""
