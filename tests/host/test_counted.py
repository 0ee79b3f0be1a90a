"""What `scripts/bench.py people` and `references` count: it is right, and no step costs more than it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any

import comfy.ldm.flux.math
import comfy.ldm.modules.attention
import comfy.ldm.qwen_image.model as qwen
import comfy.supported_models
import pytest
import tiny_dits
import tiny_sdxl
import torch
from bench import dits, people, references
from bench.live import LiveBytes
from bench.measure import teraflops
from bench.parts import host_attention
from bench.step import DEVICE, Family
from torch.profiler import ProfilerActivity, profile

# For two people, or parts: operations, in those of a step without anything, and KiB that stay from step to step. More
# than that is something worked out again at every step, or kept twice.
SDXL = {
    "id_patch": (1.951284, 899),
    "id_patch_by_region": (1.951827, 1039),
    "instant_id": (1.265143, 2475),
    "ip_adapter_faceid": (1.001448, 782),
    "ip_adapter_plus": (1.00579, 1190),
    "story_maker": (1.02171, 2687),
    "photo_maker": (1.000543, 743),
    "style_per_person": (1.000362, 710),
    "prompt_per_person": (1.503116, 2175),
    "share_parts": (1.776049, 1349),
    "share_parts_cropped": (1.535486, 1349),
    "second_pass": (2.454732, 1528),
}
SD15 = {"ip_adapter_full_face": (1.453906, 2845), "parts2whole": (1.037829, 146)}


@pytest.fixture(scope="module")
def families() -> tuple[Family, Family]:
    return people.families(tiny=True)


@pytest.fixture(autouse=True)
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for transformer, name in ((comfy.ldm.flux.math, "optimized_attention"), (qwen, "optimized_attention_masked")):
        monkeypatch.setattr(transformer, name, comfy.ldm.modules.attention.attention_pytorch)
    with host_attention("attention_pytorch"):
        yield


def check(family: Family, methods: dict[str, people.Method], limits: dict[str, tuple[float, int]]) -> None:
    plain = people.counted(partial(people.plain, family, 0))
    found = {name: people.counted(partial(methods[name].step, family, 2)) for name in limits}
    said = {name: (one.tflop / plain.tflop, round(one.kept * 1024)) for name, one in found.items()}
    over = {name: one for name, one in said.items() if one[0] > 1.0001 * limits[name][0] or one[1] > limits[name][1]}
    assert not over, "more than before"
    same = {name for name, one in found.items() if one.tflop <= plain.tflop and name != "photo_maker"}
    assert not same, "nothing of ours was run"


def test_a_step_costs_no_more_than_it_did(families: tuple[Family, Family]) -> None:
    for family, methods, limits in zip(families, (people.SDXL, people.SD15), (SDXL, SD15), strict=True):
        check(family, methods, limits)


KLEIN, _, QWEN = (family.tiny for family in dits.FAMILIES)


@tiny_dits.needed
@pytest.mark.parametrize(
    ("family", "count", "size"),
    [(KLEIN, 1, 512), (KLEIN, 2, 512), (QWEN, 3, 512), (KLEIN, 4, 1024)],
    ids=lambda one: getattr(one, "name", one),
)
def test_a_reference_is_heard_where_its_person_is_and_nowhere_else(family: dits.Family, count: int, size: int) -> None:
    """Of a picture of 1024 px: keys exactly, and what is saved of the operations, in networks as narrow as in tests."""
    model, picture, reference = family.network("meta", torch.bfloat16), 64 * 64, (size // 16) ** 2
    free, bound = (references.Forward(family, model, count, size, each) for each in (False, True))
    text = 512 if family is KLEIN else 100 + 204 * count
    whole = text + picture + count * reference
    assert free.asked() == [(whole, whole)]
    (words, own), *people = sorted(bound.asked())
    assert (words, own) == (text, text + picture), "the text hears no person"
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
    for device in ("cpu", DEVICE):
        run = step(device)
        with LiveBytes(device) as memory:
            run()
        counted[device] = memory.peak
    run = step("cpu")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    assert counted["cpu"] == counted[DEVICE] == pytest.approx(allocated(record), rel=1e-3)
