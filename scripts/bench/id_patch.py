"""ID-Patch's cases of bench.py: a step with the ID tokens of eight people, and the condition image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pack.bridge.conditioning import append_tokens
from pack.core.id_patch import condition_image as add_patches

from bench import sdxl
from bench.measure import COUNTED, accelerator, finished, interleaved, named, peak_gib, report, teraflops

PEOPLE, CANVAS = 8, 1024
CENTERS = [(64.0 + 128 * i, 300.0 + 200 * (i % 2)) for i in range(PEOPLE)]


def contexts(dtype: Any, device: Any) -> tuple[Any, Any]:
    """(with ID tokens of 8 people, without): what Apply ID-Patch hands over after the switch, and the prompt alone."""
    text = torch.zeros(2, 77, 2048, dtype=dtype, device=device)
    tokens = torch.zeros(1, PEOPLE * 16, 2048, dtype=dtype, device=device)
    return append_tokens([[text, {}]], tokens, 0.0, "bench")[0][0], text


def step(unet: Any, net: Any, context: Any, dtype: Any, device: Any) -> Any:
    """One denoising step with CFG: ControlNet, then UNet, two rows."""
    with torch.inference_mode():
        given = sdxl.inputs(dtype, device)
        hint = torch.zeros(2, 3, sdxl.SIDE, sdxl.SIDE, dtype=dtype, device=device)
        control = net(**given, hint=hint, context=context)
        return unet.diffusion_model(**given, context=context, control=control, transformer_options={})


def operations() -> None:
    dtype = torch.float16
    unet, net = sdxl.networks("meta", dtype)
    ours, peer = (teraflops(partial(step, unet, net, context, dtype, "meta")) for context in contexts(dtype, "meta"))
    report("id_patch_step_operations_8_people", ours, peer, "TFLOP", 1.05, COUNTED)


def gpu_step() -> None:
    device, dtype = accelerator(), torch.float16
    unet, net = sdxl.networks(device, dtype)
    with_ids, without = contexts(dtype, device)
    run, other = (finished(partial(step, unet, net, context, dtype, device)) for context in (with_ids, without))
    ours, peer = interleaved(run, other, 15)
    memory = peak_gib(run)
    more = {"seconds_for_50_steps": round(ours * 50, 2), "peak_memory_gib": round(memory, 2)}
    report("id_patch_step_time_8_people", ours, peer, "s", 1.08, named(device), **more)


def condition_image() -> None:
    """The peer is the 20 ms that are allowed."""
    generator = torch.Generator().manual_seed(0)
    control = torch.rand(1, CANVAS, CANVAS, 3, generator=generator)
    patches = list(torch.randn(PEOPLE, 3, 64, 64, generator=generator))
    ours, _ = interleaved(lambda: add_patches(control, patches, CENTERS), lambda: None, 25)
    report("id_patch_condition_image_8_people", ours * 1000, 20.0, "ms", 1.0, "CPU")


CASES: dict[str, Callable[[], None]] = {
    "id_patch_operations": operations,
    "condition_image": condition_image,
    "id_patch_gpu_step": gpu_step,
}
NEED_GPU = {"id_patch_gpu_step"}
