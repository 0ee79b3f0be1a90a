"""What `scripts/bench.py` counts, and what references cost: it is right, and no step costs more than it did."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import comfy.ldm.modules.attention
import comfy.model_patcher
import comfy.supported_models
import marks
import pytest
import torch
from bench import figures, people_in_pictures, transformers, unets
from bench.counting import LiveBytes, ShapesAlone
from pack.core.methods import methods
from tiny import tiny_dits

COSTS = json.loads(Path(__file__).with_name("counted.json").read_text("utf-8"))
"""For two people, or parts: operations, in those of a step without anything, and KiB that stay from step to step. More
than that is something worked out again at every step, or kept twice."""


@pytest.fixture(autouse=True)
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every network of the host."""
    for name, module in list(sys.modules.items()):
        if name.startswith("comfy.ldm."):
            for attention in ("optimized_attention", "optimized_attention_masked"):
                if hasattr(module, attention):
                    monkeypatch.setattr(module, attention, comfy.ldm.modules.attention.attention_pytorch)


MOST_IN_SMALL = 5e6
"""Operations: less than any convolution of the small networks has."""


@pytest.fixture(autouse=True)
def of_shapes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShapesAlone, "MOST", MOST_IN_SMALL)


def small_unet(family: str) -> unets.Networks:
    """A UNet as small as in the tests, in shapes alone."""
    full_size = unets.SDXL if family == "sdxl" else unets.SD15
    return unets.for_counting(replace(full_size, shape=full_size.tiny, size=(256, 256)))


@pytest.mark.thorough
@pytest.mark.parametrize("group", COSTS)
def test_a_step_costs_no_more_than_it_did(group: str) -> None:
    """In the small shapes of the tests."""
    family = small_unet(group.partition(",")[0])
    plain = figures.counted(family, family.plain())
    limits = COSTS[group]
    steps = {name: figures.counted(family, unets.ON_UNETS[name].apply(family, 2)) for name in limits}
    costlier = {}
    for name, step in steps.items():
        most_operations, most_kept = limits[name]
        operations = step.tflop / plain.tflop
        kib = round(step.resident * 1024)
        if operations > 1.0001 * most_operations or kib > most_kept:
            costlier[name] = operations, kib
    assert not costlier, "more than before"
    assert not {name for name, step in steps.items() if step.tflop <= plain.tflop}, "nothing of ours was run"


@pytest.mark.thorough
@pytest.mark.parametrize("family", unets.BOTH)
def test_every_method_is_counted(family: str) -> None:
    """As scripts/bench.py does it, on small networks."""
    ways = {name: way for name, way in unets.ON_UNETS.items() if family in way.families}
    plain, *lines = figures.count(small_unet(family), ways, (2,))
    assert (plain["method"], plain["ratio"]) == (figures.NOBODY, 1.0)
    assert all(line["ours"] > line["peer"] for line in lines), "nothing of ours was run"
    assert all(line["kernels"] > plain["kernels"] for line in lines)
    assert [line["method"] for line in lines] == [name for name, way in ways.items() if way.most > 1]


PAGE = Path(__file__).resolve().parents[2] / "docs" / "dev" / "bench.md"


def rows_of_page(name: str) -> list[list[str]]:
    """The cells behind a name, of every row of it in the section of transformers of docs/dev/bench.md."""
    section = PAGE.read_text("utf-8").split("## Transformers\n")[1].split("\n## ")[0]
    lines = [line.split(" | ") for line in section.splitlines() if line.startswith(f"| {name} |")]
    return [[cell.strip(" |") for cell in cells[1:]] for cells in lines]


@pytest.mark.thorough
@marks.transformers
@pytest.mark.parametrize("published", transformers.PUBLISHED, ids=lambda published: published.name)
def test_people_on_transformers_cost_what_the_page_says(published: transformers.Transformer) -> None:
    """Of four people at the published size of the network."""
    network = transformers.for_counting(published)
    without = figures.counted(network, network.plain())
    steps = [figures.counted(network, way.apply(network, 4)) for way in transformers.ON_TRANSFORMERS.values()]
    ratios, memory = rows_of_page(published.name)
    assert ratios[0] == f"{without.tflop:.1f}"
    counted = [step.tflop / without.tflop for step in steps]
    for cell, ratio in zip(ratios[1:], counted, strict=True):
        of_four = cell.split(" / ")[-1]
        decimals = len(of_four.partition(".")[2])
        assert of_four == f"{ratio:.{decimals}f}"
    assert counted[1] <= 1.04
    peaks = [without.peak, *(step.peak for step in steps[:3])]
    for cell, peak in zip(memory, peaks, strict=True):
        assert float(cell) == pytest.approx(peak, rel=0.02)


@pytest.mark.thorough
@marks.transformers
@pytest.mark.parametrize("transformer", transformers.tiny(), ids=lambda transformer: transformer.family)
def test_every_way_is_counted_on_transformers(transformer: transformers.Transformer) -> None:
    """As scripts/bench.py does it, on the networks of the tests."""
    ways = people_in_pictures.ways_of(transformer)
    _, *lines = figures.count(transformers.for_counting(transformer), ways, (2,))
    assert [line["method"] for line in lines] == [*ways]
    assert all(line["ours"] > line["peer"] for line in lines), "nothing of ours was run"


@marks.transformers
def test_a_second_sampling_prepares_no_loras_again() -> None:
    """Its first step launches no more than a step does, and some kernels for where people are."""
    (transformer,) = (transformer for transformer in transformers.tiny() if transformer.family == tiny_dits.QWEN)
    network = transformers.for_counting(transformer)
    step = figures.counted(network, transformers.lora_per_person(network, 4))
    first, again = step.first_kernels
    assert first - step.kernels > 300
    assert again - step.kernels <= 40


def test_no_node_that_applies_a_method_is_left_out() -> None:
    """Those that draw from parts or from references are made by other functions."""
    code = "".join(path.read_text("utf-8") for path in Path(unets.__file__).parent.glob("*.py"))
    elsewhere = {"LikenessApplyParts2Whole", "LikenessPeopleAsReferences"}
    applied = {method.applies for method in methods()}
    assert {node for node in applied if f'"{node}"' not in code} == elsewhere


IN_REFERENCES = [
    (tiny_dits.FLUX_2, {"references": 2.0415, "references_by_region": 1.7202}),
    (tiny_dits.QWEN, {"references": 2.4668, "references_by_region": 2.0816}),
]
"""For two people: operations, in those of a step without them. By region a token of the picture reads no reference but
its person's, and nothing is asked twice."""


@marks.transformers
@pytest.mark.parametrize(("family", "costs"), IN_REFERENCES)
def test_references_cost_what_is_read(family: str, costs: dict[str, float]) -> None:
    """In the small shapes of the tests."""
    (transformer,) = (transformer for transformer in transformers.tiny() if transformer.family == family)
    network = transformers.for_counting(transformer)
    plain = figures.counted(network, network.plain()).tflop
    counted: dict[str, float] = {}
    for name, way in people_in_pictures.IN_REFERENCES.items():
        counted[name] = figures.counted(network, way.apply(network, 2)).tflop / plain
    assert counted == pytest.approx(costs, rel=1e-4)


def test_a_step_that_computes_numbers_is_not_counted() -> None:
    family = replace(unets.SDXL, shape=unets.SDXL.tiny, size=(128, 128))
    with_numbers = unets.for_timing(family, torch.float32)
    with pytest.raises(AssertionError, match=r"convolution.* ran on numbers"):
        figures.counted(with_numbers, with_numbers.plain())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_are_alive_from_the_first_tensor_of_a_storage_to_its_last(device: str) -> None:
    """Views and what is written in place take none; what has gone is still in the peak."""
    with LiveBytes(device) as memory:
        first = torch.zeros(1000, device=device)
        view = first[::2].add_(1)
        del first
        assert (memory.live, memory.peak) == (4000, 4000)
        copies = torch.cat([view, view]).to(torch.float16)
        assert (memory.live, memory.peak) == (6000, 10000)
        del view, copies
        assert (memory.live, memory.peak) == (0, 10000)
        assert memory.kernels == 4, "zeros, add_, cat and the copy in float16, but no view"
