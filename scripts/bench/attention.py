"""What torch's attention kernels take for the shapes that the pack asks for, one by one, beside torch's own choice."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.measure import TINY, accelerator, finished, interleaved, named, report

KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "mem_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
FINE, COARSE = ((64, 4), (16, 4)) if TINY else ((4096, 10), (1024, 20))
"""(tokens of the picture, heads of 64) of SDXL's two kinds of layers at 1024 px."""
KEYS = {"self": 0, "text": 77, "text_and_8_people": 77 + 8 * 16}


def kernels() -> None:
    """A layer's attention in both precisions, with an additive mask and without; what a kernel refuses is named."""
    for dtype in (torch.float16, torch.bfloat16):
        for grid, (tokens, heads) in (("fine", FINE), ("coarse", COARSE)):
            for keys, count in KEYS.items():
                for masked in (False, True):
                    q, k = (_random(2, heads, n, 64, dtype=dtype) for n in (tokens, count or tokens))
                    mask = _random(2, 1, tokens, k.shape[2], dtype=dtype) if masked else None
                    kind = f"{grid}_{keys}{'_masked' if masked else ''}_{str(dtype).removeprefix('torch.')}"
                    _each(f"attention_{kind}", partial(functional.scaled_dot_product_attention, q, k, k, mask))


def _random(*shape: int, dtype: Any) -> Any:
    return torch.randn(*shape, dtype=dtype, device=accelerator())


def _each(name: str, attend: Any) -> None:
    """ours: the fastest kernel; peer: what torch takes by itself."""
    refused, taken = list[str](), dict[str, float]()
    for kernel, backend in KERNELS.items():
        try:
            with torch.inference_mode(), sdpa_kernel(backend):
                taken[kernel] = _milliseconds(attend)
        except RuntimeError:  # no such kernel for these inputs, or on this machine
            refused.append(kernel)
    with torch.inference_mode():
        peer = _milliseconds(attend)
    fastest = min(taken, key=taken.__getitem__)
    more = {"fastest": fastest, "each_ms": taken, "refused": refused}
    report(name, taken[fastest], peer, "ms", None, named(accelerator()), **more)


def _milliseconds(attend: Any, calls: int = 1 if TINY else 20) -> float:
    def several() -> None:
        for _ in range(calls):
            attend()

    return interleaved(finished(several), lambda: None, 5)[0] * 1000 / calls
