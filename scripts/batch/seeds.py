"""Several pictures of a row by their seeds, and which of them is kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from environment import SetupError
from shared.links import as_link
from shared.widgets import SEEDS
from shared.workflow import Prompt

from .prompts import Job

if TYPE_CHECKING:
    from core.measure.report import MeasuredPicture, Report

_SEED_COUNT = 2**64


@dataclass(frozen=True)
class Seed:
    """A seed of a prompt. inputs: of the node that reads it, in which it can be set."""

    inputs: dict[str, Any]
    name: str
    value: int


def tries(job: Job, count: int, first: int) -> Iterator[Job]:
    """The job with as many seeds, one after the other. first: how far the first are from the job's own."""
    for number in range(first, first + count):
        yield replace(job, prompt=with_moved_seeds(job.prompt, number))


def with_moved_seeds(prompt: Prompt, distance: int) -> Prompt:
    """The prompt with a number added to all its seeds. Raises SetupError where it has none."""
    if not distance:
        return prompt
    moved = copy.deepcopy(prompt)
    seeds = list(seeds_of(moved))
    if not seeds:
        raise SetupError(
            "--keep and --move-seeds make other pictures of a row by other seeds, and this workflow has no seed."
        )
    for seed in seeds:
        seed.inputs[seed.name] = (seed.value + distance) % _SEED_COUNT
    return moved


def seeds_of(prompt: Prompt) -> Iterator[Seed]:
    """The seeds of a prompt, also where another node holds the number."""
    for node in prompt.values():
        for name in SEEDS:
            value = node["inputs"].get(name)
            link = as_link(value)
            if link is not None:
                source = prompt[link.node]["inputs"]
                if list(source) == ["value"]:
                    value = source["value"]
            if isinstance(value, int):
                yield Seed(node["inputs"], name, value)


_GARMENT_SHARE = 0.5
"""Of a row in which somebody wears a look, where nothing else is asked for."""


def best_try(reports_of_tries: Sequence[Sequence[Report]], garment_share: float | None) -> int:
    """The number of the try that Pick Best Likeness would keep, where no garment is weighed.

    reports_of_tries: of each try a report for every picture. A try with several pictures counts as its worst: those of
    people are ranked by these, those without by their parts. garment_share: how much the least similar garment counts
    beside the least similar person, 0..1; None: nothing, or where somebody wears a look _GARMENT_SHARE.
    """
    from core.measure import figures, report_text
    from core.measure.report import Report

    if garment_share is None:
        wears_looks = any(report.of_looks for reports in reports_of_tries for report in reports)
        garment_share = _GARMENT_SHARE if wears_looks else 0.0
    worst_places = [0] * len(reports_of_tries)
    for has_people in (True, False):
        try_numbers: list[int] = []
        pictures: list[MeasuredPicture] = []
        for number, reports in enumerate(reports_of_tries):
            for report in reports:
                if bool(report.people) is has_people:
                    try_numbers.append(number)
                    pictures.append(report.judged_pictures[0])
        together = Report((), ("",), {"": tuple(pictures)})
        figure = figures.weighed(garment_share) if has_people else figures.figure_named(figures.PARTS)
        for place, picture_number in enumerate(report_text.ranking_by(together, figure)):
            number = try_numbers[picture_number]
            worst_places[number] = max(worst_places[number], place)
    return worst_places.index(min(worst_places))
