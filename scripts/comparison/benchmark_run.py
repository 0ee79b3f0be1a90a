"""The source --benchmark: a published benchmark is drawn by methods, and measured by its own definitions.

What is drawn and measured already stays; the rest is drawn, and what is measured of it is kept beside the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from batch.run import bar
from environment import SetupError, say

from . import identities_collapse, multi_human, multi_id, picture_cache
from .benchmark_results import Result, read_judged, rows_of, write, write_judged
from .benchmarks import Benchmark, Case, Size
from .graphs import Graph
from .photos import PersonFiles, image
from .prompts import Scene
from .session import NOT_DRAWN, Session
from .template_methods import TemplateMethod
from .workers import Draw, Task

BENCHMARKS = {one.key: one for one in (multi_id.BENCHMARK, multi_human.BENCHMARK, identities_collapse.BENCHMARK)}
STEP = 64
"""Pixels. The sides of all pictures are multiples of it."""
MOST_FAILURES = 3
"""So many pictures of a method may fail one after the other, before any is drawn."""


class Run:
    """The pictures of a benchmark by several methods. cases: all of the benchmark. made_with: what pictures by `draw`
    depend on beside their prompts and files."""

    def __init__(
        self, benchmark: Benchmark, cases: Sequence[Case], session: Session, draw: Draw, made_with: Mapping[str, str]
    ) -> None:
        self.benchmark = benchmark
        self.session = session
        self.draw = draw
        self.made_with = made_with
        self.all_cases = cases
        self.cases = first_of_each_kind(cases) if session.settings.quick else cases

    def results(self) -> list[Result]:
        """Draw and measure by each method, and write what comes of it after each."""
        results: list[Result] = []
        for method in self.session.settings.methods:
            results.append(self.result(method))
            self._write(results)
        for result in results:
            for failure in result.failures:
                say(f"{result.method.title}, {failure.case}: {failure.why}")
        return results

    def result(self, method: TemplateMethod) -> Result:
        """Draw and measure what is not there yet of a method's pictures."""
        result = Result(method)
        if refusal := self.refusal(method):
            result.note = refusal
            say(f"{method.title}: {refusal}")
            return result
        total = len(self.cases)
        tasks = [self.task(method, case) for case in bar(self.cases, total, f"{method.title}: looking", "picture")]
        missing = [task for task in tasks if not picture_cache.is_drawn(task.path, task.fingerprint)]
        self.session.taken_count += total - len(missing)
        say(f"{method.title}: {len(missing)} of {total} pictures to draw.")
        for finished in bar(self.draw(missing), len(missing), method.title, "picture"):
            if finished.error:
                result.fail(finished.task.case, finished.error, finished.public_error)
            else:
                self.session.drawn_count += 1
                self._judge(result, finished.task)
            if len(result.failures) >= MOST_FAILURES and len(missing) == total and not result.judged:
                result.note = f"The first {MOST_FAILURES} pictures failed. {result.failures[0].public_why}"
                say(f"{method.title}: {result.note} {result.failures[0].why}")
                return result
        looked_at = {*result.judged, *[failure.case for failure in result.failures]}
        for task in bar(tasks, total, f"{method.title}: measuring", "picture"):
            if task.case.name not in looked_at:
                self._judge(result, task)
        return result

    def refusal(self, method: TemplateMethod) -> str:
        """Why a method cannot be drawn here, "" where it can."""
        try:
            self.graph_of(method, self.cases[0])
        except NOT_DRAWN as refusal:
            return str(refusal)
        return ""

    def task(self, method: TemplateMethod, case: Case) -> Task:
        """The picture of a case by a method. `compute_scores.py` of MultiHuman-Testbench takes its folder as it is."""
        graph = self.graph_of(method, case)
        fingerprint = self.session.fingerprint(graph, method, self.made_with)
        path = self.session.settings.out / "pictures" / method.title / f"{case.name}.png"
        return Task(case, graph, path, fingerprint)

    def graph_of(self, method: TemplateMethod, case: Case) -> Graph:
        """The prompt of a case. Raises one of NOT_DRAWN where something is missing."""
        settings = self.session.settings
        size = canvas(settings.size or method.size, case.shape)
        people: list[PersonFiles] = []
        for number, photo in enumerate(case.photos, 1):
            people.append(PersonFiles(f"person {number}", (photo,)))
        scene = Scene(
            people, 1, self.benchmark.seed, case.prompt, size, settings.steps, self.session.pack,
            settings.folder, case.places_on(size),
        )  # fmt: skip
        return self.session.graph("benchmark", method, scene, method.title, case.name, "")

    def _judge(self, result: Result, task: Task) -> None:
        """Measure a picture, unless the same judges have done so, beside the same photo."""
        # With the fingerprint: what was measured is that of this picture, whatever has been at its path.
        judge = self.session.judge
        judges = [*judge.names_for(task.case), task.fingerprint]
        judged = read_judged(task.path, judges)
        if judged is None:
            try:
                judged = judge.of_case(task.case, image(task.path))
            except SetupError as error:
                result.fail(task.case, str(error), "No face was found in a reference photo.")
                return
            write_judged(task.path, judges, judged)
        result.judged[task.case.name] = judged

    def _write(self, results: Sequence[Result]) -> None:
        """The page, the table and the report of the methods so far."""
        recognisers = self.session.face_model.ids
        out = self.session.settings.out
        rows = self.benchmark.published_rows()
        for result in results:
            rows += rows_of(self.benchmark, self.cases, result, recognisers, out)
        unread = [*self.benchmark.unread, *self.session.unread(self.benchmark.columns)]
        write(self.benchmark, rows, results, self.about(), unread, out)

    def about(self) -> dict[str, Any]:
        """What is said of the whole run, without names and paths."""
        about: dict[str, Any] = {
            "benchmark": self.benchmark.title,
            "source": self.benchmark.source,
            **self.session.about(),
            "seed": self.benchmark.seed,
            "pictures": len(self.cases),
            "pictures of the benchmark": len(self.all_cases),
            "places": "given" if self.session.settings.given_places else "group",
            "pictures with made-up places": sum(case.places is None for case in self.cases),
        }
        if len(self.cases) < len(self.all_cases):
            about["part"] = "not all pictures of the benchmark: its published figures are of all"
        return about

    def say_what_was_read(self) -> None:
        made_up = sum(case.places is None for case in self.all_cases)
        text = f"{self.benchmark.title}: {len(self.all_cases)} pictures in {self.session.settings.folder}"
        if len(self.cases) < len(self.all_cases):
            text += f", of which {len(self.cases)} are taken"
        if made_up:
            text += f"; {made_up} of all have no places there and get a group layout"
        say(f"{text}.")


def first_of_each_kind(cases: Sequence[Case]) -> list[Case]:
    """The first case of each kind, which are those of the same groups."""
    first: dict[tuple[str, ...], Case] = {}
    for case in cases:
        first.setdefault(tuple(case.groups), case)
    return [*first.values()]


def canvas(size: Size, shape: Size | None) -> Size:
    """A canvas with as many pixels as `size`, of the proportions of `shape`, in steps of STEP."""
    if shape is None:
        return size
    pixels = size[0] * size[1]
    width = math.sqrt(pixels * shape[0] / shape[1])
    return max(1, round(width / STEP)) * STEP, max(1, round(pixels / width / STEP)) * STEP
