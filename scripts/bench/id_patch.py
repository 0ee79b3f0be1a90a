"""ID-Patch's cases of bench.py: a step with the ID tokens of eight people, a second pass, and the condition image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch
from pack.bridge.conditioning import append_tokens
from pack.core.attention import EVERYBODY, hearing_bias
from pack.core.id_patch import condition_image as add_patches

from bench import sdxl
from bench.measure import COUNTED, accelerator, finished, interleaved, named, peak_gib, report, teraflops

PEOPLE, CANVAS = 8, 1024
CENTERS = [(64.0 + 128 * i, 300.0 + 200 * (i % 2)) for i in range(PEOPLE)]


def contexts(dtype: Any, device: Any) -> tuple[Any, Any]:
    """(with ID tokens of 8 people, without): what Apply ID-Patch hands over after the switch, and the prompt alone."""
    text = torch.zeros(2, 77, 2048, dtype=dtype, device=device)
    tokens = torch.zeros(1, PEOPLE * 16, 2048, dtype=dtype, device=device)
    return append_tokens([[text, {}]], tokens, PEOPLE, 0.0, "bench")[0][0], text


def step(unet: Any, net: Any, context: Any, dtype: Any, device: Any, side: int = sdxl.SIDE) -> Any:
    """One denoising step with CFG: ControlNet, then UNet, a row for each of `context`."""
    with torch.inference_mode():
        given = sdxl.inputs(dtype, device, len(context), side)
        hint = torch.zeros(len(context), 3, side, side, dtype=dtype, device=device)
        control = net(**given, hint=hint, context=context)
        return unet.diffusion_model(**given, context=context, control=control, transformer_options={})


def operations() -> None:
    dtype = torch.float16
    unet, net = sdxl.networks("meta", dtype)
    ours, peer = (teraflops(partial(step, unet, net, context, dtype, "meta")) for context in contexts(dtype, "meta"))
    report("id_patch_step_operations_8_people", ours, peer, "TFLOP", 1.05, COUNTED)


def second_pass() -> None:
    """A step of six faces at half the side, a row each, beside a step of the whole picture with all six."""
    dtype, faces = torch.float16, 6
    unet, net = sdxl.networks("meta", dtype)
    text = [[torch.zeros(1, 77, 2048, dtype=dtype, device="meta"), {}]]
    tokens = torch.zeros(faces, 16, 2048, dtype=dtype, device="meta")
    given = ((tokens, 1), (tokens.flatten(0, 1)[None], faces))
    by_row, together = (append_tokens(text, rows, n, 0.0, "bench")[0][0].repeat(2, 1, 1) for rows, n in given)
    ours = teraflops(partial(step, unet, net, by_row, dtype, "meta", sdxl.SIDE // 2))
    peer = teraflops(partial(step, unet, net, together, dtype, "meta"))
    more = {"ratio_of_20_steps_to_50": round(20 * ours / (50 * peer), 4)}
    report("second_pass_step_operations_6_faces_at_512", ours, peer, "TFLOP", 1.5, COUNTED, **more)


def gpu_step() -> None:
    device, dtype = accelerator(), torch.float16
    unet, net = sdxl.networks(device, dtype)
    with_ids, without = contexts(dtype, device)
    run, other = (finished(partial(step, unet, net, context, dtype, device)) for context in (with_ids, without))
    ours, peer = interleaved(run, other, 15)
    memory = peak_gib(run)
    more = {"seconds_for_50_steps": round(ours * 50, 2), "peak_memory_gib": round(memory, 2)}
    report("id_patch_step_time_8_people", ours, peer, "s", 1.08, named(device), **more)


def regional_layer() -> None:
    """Cross-attention of one of the finest layers, eight people's tokens by region; the peer hears all everywhere."""
    queries, heads, width = (CANVAS // 16) ** 2, 10, 640
    q, (k, v) = torch.randn(2, queries, width), torch.randn(2, 2, 77 + PEOPLE * 16, width)
    regions = torch.zeros(PEOPLE, CANVAS, CANVAS)
    for region, (x, y) in zip(regions, CENTERS, strict=True):
        region[int(y) - 100 :, int(x) - 60 : int(x) + 60] = 1
    owners = torch.cat([torch.full((77,), EVERYBODY), torch.arange(PEOPLE).repeat_interleave(16)])
    bias = hearing_bias([regions], owners, (CANVAS // 16, CANVAS // 16))[None].expand(2, -1, -1)
    ours, peer = interleaved(
        lambda: attention_pytorch(q, k, v, heads, mask=bias), lambda: attention_pytorch(q, k, v, heads), 25
    )
    report("id_tokens_by_region_one_layer_8_people", ours * 1000, peer * 1000, "ms", 1.5, "CPU")


def condition_image() -> None:
    """The peer is the 20 ms that are allowed."""
    generator = torch.Generator().manual_seed(0)
    control = torch.rand(1, CANVAS, CANVAS, 3, generator=generator)
    patches = list(torch.randn(PEOPLE, 3, 64, 64, generator=generator))
    ours, _ = interleaved(lambda: add_patches(control, patches, CENTERS), lambda: None, 25)
    report("id_patch_condition_image_8_people", ours * 1000, 20.0, "ms", 1.0, "CPU")


CASES: dict[str, Callable[[], None]] = {
    "id_patch_operations": operations,
    "id_tokens_by_region": regional_layer,
    "condition_image": condition_image,
    "second_pass_operations": second_pass,
    "id_patch_gpu_step": gpu_step,
}
NEED_GPU = {"id_patch_gpu_step"}
