"""IP-Adapter's cases of bench.py: what a step costs with it, with one person and with four, at both families' sizes.

The networks are the host's and the adapter is an injection, as Apply IP-Adapter makes it: keys and values of every
layer, projected before the first step. Only how many tokens a person has differs between its kinds of files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench import instant_id, sd15, sdxl
from bench.measure import COUNTED, TINY, accelerator, finished, interleaved, named, peak_gib, report, teraflops

FACE_ID, FULL_FACE = 4, 257
"""Tokens of a person: the fewest and the most of any published file."""


class Step(instant_id.Step):
    """One step of SDXL."""

    def __init__(self, unet: Any, people: int, tokens: int, dtype: Any, device: Any) -> None:
        self.tokens = tokens
        super().__init__(unet, None, people, dtype, device)


class Step15(Step):
    """One step of SD1.5 at 512 px."""

    width = sd15.SHAPE["context_dim"]
    side = 128 if TINY else 512

    def _given(self, dtype: Any, device: Any) -> dict[str, Any]:
        given = sdxl.inputs(dtype, device, side=self.side)
        del given["y"]
        return given


def operations() -> None:
    device, dtype = "meta", torch.float16
    for family, kind, unet in (("sd15", Step15, sd15.unet(device, dtype)), ("sdxl", Step, sdxl.unet(device, dtype))):
        for what, tokens in (("faceid", FACE_ID), ("full_face", FULL_FACE)):
            without, one, four = (kind(unet, people, tokens, dtype, device).denoise for people in (0, 1, 4))
            for case, ours, peer, target in (
                ("1_person_vs_no_adapter", one, without, 1.02),
                ("4_people_vs_1", four, one, 1.02 if tokens == FACE_ID else 1.1),
            ):
                counted = teraflops(ours), teraflops(peer)
                report(f"ip_adapter_{what}_{family}_operations_{case}", *counted, "TFLOP", target, COUNTED)


def _timed(name: str, kind: type[Step], unet: Any, dtype: Any, device: Any, rounds: int, **targets: float) -> None:
    """Of FaceID; peak memory of a step with four people beside it, on a GPU."""
    without, one, four = (kind(unet, people, FACE_ID, dtype, device).denoise for people in (0, 1, 4))
    more = {"peak_gib_4": round(peak_gib(four), 2)} if torch.device(device).type == "cuda" else {}
    for case, ours, peer in (("1_person_vs_no_adapter", one, without), ("4_people_vs_1", four, one)):
        times = interleaved(finished(ours), finished(peer), rounds)
        report(f"{name}_{case}", *times, "s", targets[case], named(device), **more)


def cpu_step() -> None:
    targets = {"1_person_vs_no_adapter": 1.1, "4_people_vs_1": 1.05}
    _timed("ip_adapter_sd15_time", Step15, sd15.unet("cpu", torch.float32), torch.float32, "cpu", 3, **targets)


def gpu_step() -> None:
    device, dtype = accelerator(), torch.float16
    targets = {"1_person_vs_no_adapter": 1.03, "4_people_vs_1": 1.05}
    _timed("ip_adapter_sdxl_time", Step, sdxl.unet(device, dtype), dtype, device, 15, **targets)
    _timed("ip_adapter_sd15_gpu_time", Step15, sd15.unet(device, dtype), dtype, device, 15, **targets)


CASES: dict[str, Callable[[], None]] = {
    "ip_adapter_operations": operations,
    "ip_adapter_step": cpu_step,
    "ip_adapter_gpu_step": gpu_step,
}
NEED_GPU = {"ip_adapter_gpu_step"}
