"""What a card holds: the weights that lie on it at the same time, and what computing with them takes beside, counted.

Per family, size and method one line, in MiB of fp16. held: weights a step needs; beside: what is alive beside them at
the peak. Reading text and decoding come before and after sampling, so each is a line of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.sd1_clip
import comfy.sdxl_clip
import torch

from bench import networks
from bench.live import LiveBytes
from bench.measure import COUNTED, TINY
from bench.people import ELSEWHERE, ELSEWHERE_15, SD15, SDXL, Method, counted, families, plain
from bench.step import DEVICE, DTYPE, Family

MOST, TILE = 12, 128 if TINY else 512
"""People counted, and the side in pixels of the tiles in which the host decodes what does not fit."""
SIZES = {"sdxl": ((1024, 1024), (1536, 1536)), "sd15": ((512, 768), (768, 1152))}
TEXT = {"sdxl": comfy.sdxl_clip.SDXLClipModel, "sd15": comfy.sd1_clip.SD1ClipModel}


def mebibytes(*held: Any) -> float:
    """Of their weights."""
    found = (each for network in held for each in (*network.parameters(), *network.buffers()))
    return sum(each.nbytes for each in found) / 2**20


def decoding(autoencoder: Any, width: int, height: int) -> float:
    """MiB alive at the peak beside the weights."""
    with LiveBytes(DEVICE) as memory, torch.inference_mode():
        autoencoder.decode(torch.zeros(1, 4, height // 8, width // 8, dtype=DTYPE, device=DEVICE))
    return memory.peak / 2**20


def _line(what: str, held: float, beside: float, **more: Any) -> None:
    line = {"name": f"memory_{what}", "unit": "MiB", "held": round(held), "beside": round(beside), "device": COUNTED}
    print(json.dumps({**line, **more}), flush=True)


def sampling(family: Family, methods: dict[str, Method]) -> None:
    for size in ((family.width, family.height),) if TINY else SIZES[family.name]:
        for name, method in {"plain": Method(plain, most=0), **methods}.items():
            if name == "plain" or method.step is not plain:
                people = min(MOST, method.most)
                found = counted(partial(method.step, family.at(*size), people))
                what = f"{family.name}_{size[0]}x{size[1]}_{name}"
                _line(what, mebibytes(*found.networks), found.peak, people=people, kept=round(found.kept))


def table() -> None:
    with torch.device(DEVICE):
        autoencoder = networks.autoencoder().to(DTYPE)
    methods = ({**SDXL, **ELSEWHERE}, {**SD15, **ELSEWHERE_15})
    for family, each in zip(families(), methods, strict=True):
        sampling(family, each)
        _line(f"{family.name}_text", mebibytes(TEXT[family.name](device=DEVICE, dtype=DTYPE)), 0)
        for width, height in SIZES[family.name]:
            _line(f"decode_{width}x{height}", mebibytes(autoencoder), decoding(autoencoder, width, height))
    _line(f"decode_tiles_of_{TILE}", mebibytes(autoencoder), decoding(autoencoder, TILE // 2, 2 * TILE))


CASES: dict[str, Callable[[], None]] = {"cards": table}
NEED_GPU: set[str] = set()
