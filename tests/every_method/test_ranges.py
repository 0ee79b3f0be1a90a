"""A range of the schedule is the host's samplings joined: what is on in a step acts in it, and nothing else does.

They are joined as by KSampler (Advanced): one ends with noise left, and the next goes on from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from figures import relative
from graph_run import brought
from graphs import Node, value
from host_sampling import Applied, latent_of, sigmas_of
from method_rows import Condition, Row, bypassed, in_front, model_behind, often
from sample_values import a_person, cast, unplaced, with_loras
from torch import Tensor

EARLY, LATE = (0.1, 0.5), (0.3, 0.7)
"""Where a range begins and ends. Of the steps, at 0, 0.2, 0.4, 0.6 and 0.8 of the schedule, the second is in the early
one, the third in both, and the fourth in the late one."""
STEPS = 5
WHOLE, NEVER = (0.0, 1.0), (1.0, 1.0)
OFF: dict[tuple[str, str], dict[str, Any]] = {
    ("LikenessApplyInstantID", ""): {"control_strength": 0.0},
    ("LikenessApplyInstantID", "adapter_"): {"adapter_weight": 0.0},
    ("LikenessApplyParts2Whole", ""): {"strength": 0.0},
    ("LikenessPeopleAsReferences", ""): {"region_strength": 0.0},
    ("LikenessPeopleAsReferences", "references_"): {"cast": value(cast, weights=(0.0, 0.0))},
}
"""By node and range: what switches off what it is the range of. Without a line it is a range without a step."""
STAYS = ("LikenessApplyParts2Whole", "LikenessApplyPhotoMaker", "LikenessPeopleAsReferences")
"""Nodes of which something acts in every step: a pose, words, other pictures."""


def ranges_of(row: Row) -> list[str]:
    """How the names of begin and end begin, for each range of the node."""
    return [name.removesuffix("start_percent") for name in row.inputs if name.endswith("start_percent")]


EVERYWHERE = ("ip_adapter, ApplyIPAdapter", "pulid, ApplyPuLID")
"""Rows of which two are tried with a person without a place each: no regions keep their entries apart."""
CONDITIONS = (Condition(lambda row: bool(ranges_of(row)), "It acts in every step."),)


@dataclass(frozen=True, eq=False)
class Entry:
    """A node whose conditioning is an entry of a prompt. make: makes it with other inputs. ends: of its ranges."""

    row: Row
    make: Callable[..., Node]
    ends: tuple[tuple[float, float], ...]

    def in_its_ranges(self) -> Node:
        return self.make(**self._inputs(dict(zip(ranges_of(self.row), self.ends, strict=False))))

    def in_no_range(self, percent: float) -> Node:
        """Every range from this point of the schedule to this point, and what has no end never."""
        ends = {
            name: (percent, percent) if f"{name}end_percent" in self.row.inputs else NEVER
            for name in ranges_of(self.row)
        }
        return self.make(**self._inputs(ends))

    def on(self, percent: float) -> tuple[str, ...]:
        """The ranges in which a point of the schedule lies. One that has no end goes on to that of the schedule."""
        ranges = zip(ranges_of(self.row), self.ends, strict=False)
        endless = [name for name in ranges_of(self.row) if f"{name}end_percent" not in self.row.inputs]
        return tuple(name for name, (start, end) in ranges if start <= percent and (percent < end or name in endless))

    def with_alone(self, on: tuple[str, ...]) -> Node:
        """With these ranges whole, and without what the others are of."""
        ranges = ranges_of(self.row)
        inputs = self._inputs({name: WHOLE if name in on else NEVER for name in ranges})
        for name in set(ranges) - set(on):
            inputs |= OFF.get((self.row.kind, name), {})
        return self.make(**inputs)

    def _inputs(self, ranges: dict[str, tuple[float, float]]) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for name, ends in ranges.items():
            inputs |= zip((f"{name}start_percent", f"{name}end_percent"), ends, strict=True)
        return {name: percent for name, percent in inputs.items() if name in self.row.inputs}


def entry(row: Row, names: Sequence[str], *ends: tuple[float, float]) -> Entry:
    """With these people, where the node puts in a cast. LoRAs are without words, which are read in every step."""
    if not row.takes_a_cast:
        return Entry(row, row.node, ends)
    people = [a_person(name) for name in names]
    if row.kind == "LikenessLoRAPerPerson":
        people = [with_loras(person, words="") for person in people]
    return Entry(row, partial(row.node, cast=cast(*people) if len(people) > 1 else unplaced(*people)), ends)


def prompt_of(row: Row, nodes: list[Node], acts: list[bool], outputs: dict[Node, Any]) -> Applied:
    """Nodes behind each other, with conditioning put together as by Conditioning (Combine).

    acts: whether it is a node's own, or else what it is where that is bypassed.
    """
    model = row.model
    sides: tuple[list[Any], list[Any]] = ([], [])
    for node, is_acting in zip(nodes, acts, strict=True):
        behind = in_front(node, model) if "model" in row.inputs else node
        model = model_behind(row, behind) if "model" in row.outputs else model
        for number, side in enumerate(("positive", "negative")):
            source = behind[row.outputs.index(side)] if is_acting else bypassed(behind, side)
            sides[number].extend(brought(source, outputs))
    return Applied(brought(model, outputs), *sides)


def sampled(given: Applied, start: Tensor, sigmas: Tensor, noise: Tensor | None) -> Tensor:
    """From a latent with this noise, or with the noise that is left in it."""
    noise = torch.zeros_like(start) if noise is None else noise
    euler = comfy.samplers.sampler_object("euler")
    return given.guider().sample(noise, start, euler, sigmas, seed=1, disable_pbar=True)


def assert_joined(row: Row, *entries: Entry) -> None:
    outputs: dict[Node, Any] = {}
    ranged = prompt_of(row, [entry.in_its_ranges() for entry in entries], [True] * len(entries), outputs)
    start = comfy.sample.fix_empty_latent_channels(ranged.model, latent_of(row))
    noise = comfy.sample.prepare_noise(start, 1)
    sigmas = sigmas_of(ranged.model, STEPS, "simple")
    joined = start
    for on, steps in groupby(range(STEPS), lambda step: [entry.on(step / STEPS) for entry in entries]):
        first, *others = steps
        nodes = [entry.with_alone(names) for entry, names in zip(entries, on, strict=True)]
        acts = [bool(names) or row.kind in STAYS for names in on]
        part_of_sigmas = sigmas[first : first + len(others) + 2]
        joined = sampled(prompt_of(row, nodes, acts, outputs), joined, part_of_sigmas, None if first else noise)
    assert relative(sampled(ranged, start, sigmas, noise), joined) <= 1e-5


@often(
    "share_parts, SharePartsAttention",
    "id_patch, ApplyIDPatch, by region",
    "references, PeopleAsReferences, by region",
    "LoRAPerPerson",
    "instant_id, ApplyInstantID",
)
def test_of_one_node(row: Row) -> None:
    assert_joined(row, entry(row, ("Anna", "Boris"), EARLY, LATE))


@pytest.mark.parametrize("percent", [0.0, 2 / STEPS])
@often(
    "instant_id, ApplyInstantID",
    "pulid, ApplyPuLID, FLUX.1",
    "references, PeopleAsReferences, by region",
    "parts2whole, ApplyParts2Whole",
    "LoRAPerPerson",
)
def test_a_range_of_no_length_is_nobody(row: Row, percent: float) -> None:
    """Also where a step begins exactly there, as the first one of a flow model does at 0."""
    people = entry(row, ("Anna", "Boris"))
    pictures: list[Tensor] = []
    for node in (people.in_no_range(percent), people.with_alone(())):
        given = prompt_of(row, [node], [True], {})
        start = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row))
        noise = comfy.sample.prepare_noise(start, 1)
        sigmas = sigmas_of(given.model, STEPS, "simple")
        if percent:
            sigmas[2] = given.model.get_model_object("model_sampling").percent_to_sigma(percent)
        pictures.append(sampled(given, start, sigmas, noise))
    assert relative(*pictures) <= 1e-6


@often("ip_adapter, ApplyIPAdapter", "pulid, ApplyPuLID, FLUX.1", "parts2whole, ApplyParts2Whole")
def test_of_two_nodes_in_one_prompt(row: Row) -> None:
    """With other people and other ranges in the second."""
    of_each = 1 if str(row) in EVERYWHERE else 2
    first = entry(row, ("Anna", "Boris")[:of_each], EARLY, LATE)
    second = entry(row, ("Christa", "Daniel")[:of_each], LATE, EARLY)
    assert_joined(row, first, second if row.takes_a_cast else Entry(row, row.other, (LATE, EARLY)))
