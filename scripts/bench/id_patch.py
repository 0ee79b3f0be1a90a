"""ID tokens by region in one layer of attention, and ID-Patch's condition image: time on a CPU, or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch
from pack.bridge.carried import ALWAYS
from pack.bridge.cross_attention import Place
from pack.bridge.regional_text import RegionalText, RegionalTextBatch
from pack.core.geometry import with_patches as add_patches
from pack.core.people import PlacedCast
from pack.core.places import group, regions
from people_made import person

from bench.measure import TINY, accelerator, finished, interleaved, named, report

PEOPLE, CANVAS = 8, 1024
CENTERS = [(64.0 + 128 * i, 300.0 + 200 * (i % 2)) for i in range(PEOPLE)]


def regional_layer(device: Any, dtype: Any, rounds: int) -> None:
    """Cross-attention of one of the finest layers, ID tokens by region as Apply ID-Patch and ID Tokens by Region leave
    them, everybody where Place Cast puts groups; the peer hears all everywhere."""
    grid, heads, width = (8, 8) if TINY else (64, 64), 10, 640
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
    "id_tokens_by_region": partial(regional_layer, torch.device("cpu"), torch.float32, 25),
    "condition_image": condition_image,
    "id_tokens_by_region_gpu": partial(regional_layer, accelerator(), torch.float16, 50),
}
NEED_GPU = {"id_tokens_by_region_gpu"}
