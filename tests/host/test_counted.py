"""What `scripts/bench.py` counts, and what references cost: it is right, and no step costs more than it did."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_patcher
import comfy.supported_models
import marks
import pytest
import torch
from bench import figures, people_in_pictures, transformers, unets
from bench.counting import LiveBytes, counting
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.networks.attention import around_attention
from pack.bridge.networks.model_family import transformer_family
from pack.bridge.references.by_region import REFERENCES_BY_REGION, RegionalReferences
from pack.bridge.references.record import LATENTS, REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling.forward import ForwardInput, call_network
from pack.bridge.sampling.model_conds import carry
from pack.bridge.sampling.node_of_run import NodeOfRun
from pack.bridge.sampling.runs import Run
from pack.core import families
from pack.core.cast import Cast, Member, Person
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


def test_no_node_that_applies_a_method_is_left_out() -> None:
    """Those that draw from parts or from references are made by other functions."""
    code = "".join(path.read_text("utf-8") for path in Path(unets.__file__).parent.glob("*.py"))
    elsewhere = {"LikenessApplyParts2Whole", "LikenessPeopleAsReferences"}
    applied = {method.applies for method in methods()}
    assert {node for node in applied if f'"{node}"' not in code} == elsewhere


DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Family:
    """A DiT in small and what it is given. of: as bridge.networks.model_family names it. words: how many a text has,
    and how many each picture adds to them."""

    of: str
    words: int
    words_per_picture: int = 0

    def network(self) -> Any:
        """The host's model, in shapes alone."""
        name, shape = tiny_dits.CONFIGS[self.of]
        return unets.unet(getattr(comfy.supported_models, name), shape, DTYPE)

    def latent(self, side: int) -> Any:
        """Of a square picture of so many pixels."""
        return tiny_dits.latent(self.of, side, side).to("meta", DTYPE)

    def text(self, pictures: int) -> Any:
        """A text beside so many pictures."""
        tokens = self.words + pictures * self.words_per_picture
        return torch.empty(1, tokens, tiny_dits.TEXT, dtype=DTYPE, device="meta")


# The host fills the text of FLUX.2 up to 512 tokens. Qwen's encoder sees each picture at 384 x 384 px: 14 x 14 tokens,
# and those that name and frame them.
KLEIN, QWEN = Family(families.FLUX_2.name, 512), Family(families.QWEN.name, 100, 204)
FORWARDS = [(KLEIN, 1, 512), (KLEIN, 2, 512), (QWEN, 3, 512), (KLEIN, 4, 1024)]
SIDE = 1024
"""Pixels of the picture."""
CANVAS_NODE = NodeOfRun("counted")


class Forward:
    """One of a DiT with so many people, each with a reference of `size` px; `runs`: what reads them. weight: the first
    person's."""

    def __init__(
        self, family: Family, model: Any, people: int, size: int, is_bound: bool = False, weight: float = 1.0
    ) -> None:
        meta = torch.device("meta")
        self._model = model
        self._patcher = comfy.model_patcher.ModelPatcher(model, meta, meta)
        model.current_patcher = self._patcher  # as the host does when it loads a model
        self._x = family.latent(SIDE)
        self._references = [family.latent(size) for _ in range(people)]
        self._text = family.text(people)
        # Which tokens hear what is worked out, so on no meta tensor.
        self._where = torch.zeros_like(self._x, device="cpu")
        self.runs: list[Run] = []
        if is_bound:
            persons = [Person(f"{number}", {}, torch.zeros(1, 8, 8, 3)) for number in range(people)]
            weights = [weight] + [1.0] * (people - 1)
            cast = Cast(tuple(Member(*person) for person in zip(persons, weights, strict=True)))
            record = PeopleReferences(cast, tuple(map(ReferenceLatent, self._references, range(people), range(people))))
            entry_with_references = [self._text, {LATENTS: self._references, REFERENCES: record}]
            (entry,) = carry([entry_with_references], by_region(record))
            self._entry = entry[1]
            options = {"transformer_options": {}}
            conds = {"positive": [self._entry]}
            guider: Any = SimpleNamespace(model_patcher=self._patcher, conds=conds, model_options=options)
            run = Run(guider, self._x)
            self._carried = run.read([REFERENCES_BY_REGION], guider, self._x)
            self.runs.append(run)

    def __call__(self, options: dict[str, Any] | None = None) -> Any:
        """options: transformer_options of others."""
        network = self._model.diffusion_model
        time = torch.full((1,), 0.5, dtype=DTYPE, device=self._x.device)
        given = {"ref_latents": self._references or None, "transformer_options": options or {}}
        with torch.inference_mode():
            for run in self.runs:
                forward_input = ForwardInput(
                    self._model, self._where, time, self._text, given["transformer_options"], None, self._references
                )
                of_nodes = tuple((carried,) for carried in self._carried)
                batch = REFERENCES_BY_REGION.batch(run, of_nodes, forward_input)
                if batch:
                    network = partial(call_network, [batch], network)
            return network(self._x, time, self._text, **given)

    def asked(self) -> list[tuple[int, int]]:
        """(queries, keys) of every call of the attention kernel in one layer."""
        calls: list[tuple[int, int]] = []

        def note(attend: Callable[..., Any], q: Any, k: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append((q.shape[2], k.shape[2]))
            return attend(q, k, *args, **kwargs)

        self(around_attention({}, note))
        family = transformer_family(self._model)
        assert family
        layers = sum(len(getattr(self._model.diffusion_model, name)) for name in family.blocks)
        return calls[: len(calls) // layers]


def side_by_side(people: int) -> Any:
    """Regions (people, SIDE, SIDE) with a hard edge between them."""
    regions = torch.zeros(people, SIDE, SIDE)
    for person, columns in enumerate(torch.arange(SIDE).chunk(people)):
        regions[person, :, columns] = 1
    return regions


def by_region(record: PeopleReferences) -> RegionalReferences:
    """Everybody has a strip of the picture."""
    people = len(record.references)
    regions = side_by_side(people)
    names = tuple(map(str, range(people)))
    return RegionalReferences(object(), WHOLE_SCHEDULE, regions, record, names, 1.0, False, canvas_node=CANVAS_NODE)


def teraflops(forward: Forward) -> float:
    with counting() as counter:
        forward()
    return counter.get_total_flops() / 1e12


@marks.transformers
@pytest.mark.parametrize(("family", "count", "size"), FORWARDS, ids=lambda value: getattr(value, "of", value))
def test_a_reference_is_heard_where_its_person_is_and_nowhere_else(family: Family, count: int, size: int) -> None:
    """Of a picture of 1024 px: keys exactly, and what is saved of the operations, in networks as narrow as in tests."""
    model = family.network()
    picture = 64 * 64
    reference = (size // 16) ** 2
    free = Forward(family, model, count, size)
    bound = Forward(family, model, count, size, is_bound=True)
    text = family.words + family.words_per_picture * count
    all_tokens = text + picture + count * reference
    assert free.asked() == [(all_tokens, all_tokens)]
    (words, keys_of_the_picture), *people = sorted(bound.asked())
    assert (words, keys_of_the_picture) == (text, text + picture), "the text reads no person"
    assert {keys for _, keys in people} == {keys_of_the_picture + reference}
    assert len(people) == count
    assert sum(queries for queries, _ in people) == picture + count * reference, "everything asks once"
    strips = [queries - reference for queries, _ in people]
    assert all(abs(strip - picture / count) <= 64 for strip in strips), "a column of tokens more or less"
    width = 64
    layers = 4 if family is KLEIN else 2
    pairs_read = sum(queries * keys for queries, keys in bound.asked())
    saved = 4 * width * layers * (all_tokens**2 - pairs_read) / 1e12
    assert teraflops(free) - teraflops(bound) == pytest.approx(saved, rel=1e-9)
    assert saved > 0


@marks.transformers
@pytest.mark.parametrize("weight", [0.5, 1.5])
def test_a_weight_between_whole_numbers_is_one_more_attention_of_the_persons_region(weight: float) -> None:
    model = KLEIN.network()
    once = Forward(KLEIN, model, 2, 512, is_bound=True).asked()
    twice = Forward(KLEIN, model, 2, 512, is_bound=True, weight=weight).asked()
    strip = 64 * 32  # tokens of the region
    keys = KLEIN.words + 64 * 64 + (2 * 32**2 if weight > 1 else 0)
    more = sum(queries * keys for queries, keys in twice) - sum(queries * keys for queries, keys in once)
    assert more == strip * keys


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
