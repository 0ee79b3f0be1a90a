"""ID-Patch's cases of bench.py: a step with the ID tokens of eight people, a second pass, and the condition image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch
from pack.bridge.carried import ALWAYS
from pack.bridge.conditioning import append_tokens
from pack.bridge.cross_attention import Place
from pack.bridge.regional_text import RegionalText, RegionalTextBatch
from pack.core.people import PlacedCast
from pack.core.pictures import with_patches as add_patches
from pack.core.places import group, regions
from people_made import person

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
    unet, net = sdxl.unet("meta", dtype), sdxl.control_net("meta", dtype)
    ours, peer = (teraflops(partial(step, unet, net, context, dtype, "meta")) for context in contexts(dtype, "meta"))
    report("id_patch_step_operations_8_people", ours, peer, "TFLOP", 1.05, COUNTED)


def second_pass() -> None:
    """A step of six faces at half the side, a row each, beside a step of the whole picture with all six."""
    dtype, faces = torch.float16, 6
    unet, net = sdxl.unet("meta", dtype), sdxl.control_net("meta", dtype)
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
    unet, net = sdxl.unet(device, dtype), sdxl.control_net(device, dtype)
    with_ids, without = contexts(dtype, device)
    run, other = (finished(partial(step, unet, net, context, dtype, device)) for context in (with_ids, without))
    ours, peer = interleaved(run, other, 15)
    memory = peak_gib(run)
    more = {"seconds_for_50_steps": round(ours * 50, 2), "peak_memory_gib": round(memory, 2)}
    report("id_patch_step_time_8_people", ours, peer, "s", 1.08, named(device), **more)


def regional_layer(device: Any, dtype: Any, rounds: int) -> None:
    """Cross-attention of one of the finest layers, ID tokens by region as Apply ID-Patch and ID Tokens by Region leave
    them, everybody where Place Cast puts groups; the peer hears all everywhere."""
    grid, heads, width = (sdxl.SIDE // 16, sdxl.SIDE // 16), 10, 640
    options = {"n_heads": heads, "attn_precision": None, "activations_shape": (2, width, *grid)}
    for people in (2, 4, PEOPLE):
        text = standing_in_text(people)
        place = Place(2, frozenset({grid}), device, dtype)
        batch = RegionalTextBatch([("input", 4, 0)], ((text,), (text,)), text.length, place)
        q = torch.randn(2, grid[0] * grid[1], width, device=device, dtype=dtype)
        k, v = torch.randn(2, 2, text.length, width, device=device, dtype=dtype)
        ours = finished(partial(batch.attended, 0, None, q, k, v, options))
        peer = finished(partial(attention_pytorch, q, k, v, heads))
        with torch.inference_mode():
            mine, theirs = interleaved(ours, peer, rounds)
        title = f"id_tokens_by_region_one_layer_{people}_people"
        report(title, mine * 1000, theirs * 1000, "ms", 1.05, named(device))


def standing_in_text(people: int) -> RegionalText:
    layout = group.layout(people, "half", 0, CANVAS, CANVAS)
    cast = PlacedCast(tuple(person(n, slot=slot) for n, slot in enumerate(layout.slots)), CANVAS, CANVAS)
    areas = regions.of_present(cast, cast.people, None, "body", 0.25, 32)
    text = torch.zeros(1, 77 + people * 16, 8)
    return RegionalText(object(), ALWAYS, areas, (16,) * people, None, None, 77).known(text)


def condition_image() -> None:
    """The peer is the 20 ms that are allowed."""
    generator = torch.Generator().manual_seed(0)
    control = torch.rand(1, CANVAS, CANVAS, 3, generator=generator)
    patches = list(torch.randn(PEOPLE, 3, 64, 64, generator=generator))
    ours, _ = interleaved(lambda: add_patches(control, patches, CENTERS), lambda: None, 25)
    report("id_patch_condition_image_8_people", ours * 1000, 20.0, "ms", 1.0, "CPU")


CASES: dict[str, Callable[[], None]] = {
    "id_patch_operations": operations,
    "id_tokens_by_region": partial(regional_layer, torch.device("cpu"), torch.float32, 25),
    "condition_image": condition_image,
    "second_pass_operations": second_pass,
    "id_patch_gpu_step": gpu_step,
    "id_tokens_by_region_gpu": partial(regional_layer, accelerator(), torch.float16, 50),
}
NEED_GPU = {"id_patch_gpu_step", "id_tokens_by_region_gpu"}
