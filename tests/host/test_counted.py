"""What `scripts/bench.py people` and `references` count: it is right, and no step costs more than it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import comfy.ldm.flux.math
import comfy.ldm.modules.attention
import comfy.ldm.qwen_image.model as qwen
import comfy.supported_models
import pytest
import tiny_dits
import tiny_sdxl
import torch
from bench import methods, networks, references
from bench.measure import LiveBytes, teraflops
from torch.profiler import ProfilerActivity, profile

COSTS = json.loads(Path(__file__).with_name("counted.json").read_text("utf-8"))
"""For two people, or parts: operations, in those of a step without anything, and KiB that stay from step to step. More
than that is something worked out again at every step, or kept twice."""


@pytest.fixture(autouse=True)
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    host = comfy.ldm.modules.attention
    for module, name in ((host, ""), (comfy.ldm.flux.math, ""), (qwen, "_masked")):
        monkeypatch.setattr(module, f"optimized_attention{name}", host.attention_pytorch)


@pytest.mark.parametrize(
    "group", [pytest.param(one, marks=pytest.mark.thorough if "others" in one else ()) for one in COSTS]
)
def test_a_step_costs_no_more_than_it_did(group: str) -> None:
    """In the small shapes of the tests. The others are carried and read as those that every run looks at."""
    known = networks.SDXL if "sdxl" in group else networks.SD15
    family = networks.for_counting(replace(known, shape=known.tiny, size=(256, 256)))
    plain, limits = methods.counted(family, methods.unpatched(family, 0)), COSTS[group]
    found = {name: methods.METHODS[name].counted_on(family, 2) for name in limits}
    said = {name: (one.tflop / plain.tflop, round(one.kept * 1024)) for name, one in found.items()}
    over = {name: one for name, one in said.items() if one[0] > 1.0001 * limits[name][0] or one[1] > limits[name][1]}
    assert not over, "more than before"
    assert not {name for name, one in found.items() if one.tflop <= plain.tflop}, "nothing of ours was run"


KLEIN, _, QWEN = (family.tiny for family in references.FAMILIES)


@tiny_dits.needed
@pytest.mark.parametrize(
    ("family", "count", "size"),
    [(KLEIN, 1, 512), (KLEIN, 2, 512), (QWEN, 3, 512), (KLEIN, 4, 1024)],
    ids=lambda one: getattr(one, "name", one),
)
def test_a_reference_is_heard_where_its_person_is_and_nowhere_else(
    family: references.Family, count: int, size: int
) -> None:
    """Of a picture of 1024 px: keys exactly, and what is saved of the operations, in networks as narrow as in tests."""
    model, picture, reference = family.network(), 64 * 64, (size // 16) ** 2
    free, bound = (references.Forward(family, model, count, size, each) for each in (False, True))
    text = 512 if family is KLEIN else 100 + 204 * count
    whole = text + picture + count * reference
    assert free.asked() == [(whole, whole)]
    (words, own), *people = sorted(bound.asked())
    assert (words, own) == (text, text + picture), "the text reads no person"
    assert {keys for _, keys in people} == {own + reference} and len(people) == count
    assert sum(asked for asked, _ in people) == picture + count * reference, "everything asks once"
    strips = [asked - reference for asked, _ in people]
    assert all(abs(one - picture / count) <= 64 for one in strips), "a column of tokens more or less"
    width, layers = 64, 4 if family is KLEIN else 2
    saved = 4 * width * layers * (whole**2 - sum(asked * keys for asked, keys in bound.asked())) / 1e12
    assert teraflops(free) - teraflops(bound) == pytest.approx(saved, rel=1e-9) and saved > 0


def allocated(record: Any) -> int:
    """The most bytes at once."""
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def test_bytes_alive_are_those_that_torch_allocates() -> None:
    """A step on a CPU by torch's own record of its allocations, and counted, on meta tensors too."""

    def step(device: str) -> Callable[[], Any]:
        config = comfy.supported_models.SDXL({**tiny_sdxl.HOST_CONFIG, "dtype": torch.float32})
        given = {
            "x": torch.zeros(2, 4, 32, 32, device=device), "timesteps": torch.zeros(2, device=device),
            "context": torch.zeros(2, 77, 2048, device=device), "y": torch.zeros(2, 2816, device=device),
        }  # fmt: skip
        with torch.device(device):
            unet = config.get_model({}, device=device).diffusion_model
        return torch.inference_mode()(partial(unet, **given, control=None, transformer_options={}))

    counted = {}
    for device in ("cpu", "meta"):
        run = step(device)
        with LiveBytes(device) as memory:
            run()
        counted[device] = memory.peak
    run = step("cpu")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    assert counted["cpu"] == counted["meta"] == pytest.approx(allocated(record), rel=1e-3)
