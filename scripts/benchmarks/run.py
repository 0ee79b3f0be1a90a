"""A run of a benchmark: what is drawn and seen already stays, the rest is drawn, seen and kept beside its picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import evaluate
from batch.run import bar
from comparison.drafts import Sitting
from comparison.graphs import Graph, GraphError
from comparison.photos import PersonFiles
from comparison.records import DrawnMethod
from comparison.session import Refusal, Session
from environment import say
from rig.workflow import WorkflowError

from .kept import Failure, Kept, Result, note_of, read_kept, write_kept
from .pictures import Drawer, Finished, Task
from .records import GIVEN, Benchmark, Case, Size
from .watching import Watcher

STEP = 64
"""Pixels. The sides of all pictures are multiples of it."""
NOT_DRAWN = (Refusal, WorkflowError, GraphError)
"""Why a method is not drawn: its text is a sentence."""
MOST_FAILURES = 3
"""So many pictures of a method may fail one after the other, before any is drawn."""


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    folder: of the benchmark. out: of the results. size: (width, height), whose number of pixels every picture has; None
    for that of each method's template. steps: None for those of the templates. limit: so many pictures of each kind,
    None for all.
    """

    folder: Path
    out: Path
    places: str = GIVEN
    size: Size | None = None
    steps: int | None = None
    limit: int | None = None


class Run:
    """The pictures of a benchmark by several methods. cases: all of the benchmark."""

    def __init__(
        self, benchmark: Benchmark, settings: Settings, cases: Sequence[Case], session: Session, watcher: Watcher,
        drawer: Drawer,
    ) -> None:  # fmt: skip
        self.benchmark = benchmark
        self.settings = settings
        self.session = session
        self.watcher = watcher
        self.drawer = drawer
        self.all_cases = cases
        self.cases = limited(cases, settings.limit)

    def result(self, method: DrawnMethod) -> Result:
        """Draw and see what is not there yet of a method's pictures."""
        result = Result(method)
        try:
            self.graph_of(method, self.cases[0])
        except NOT_DRAWN as refusal:
            result.note = str(refusal)
            say(f"{method.title}: {refusal}")
            return result
        to_draw = list(bar(self._to_draw(result), len(self.cases), f"{method.title}: looking", "picture"))
        missing = [task for task in to_draw if task is not None]
        say(f"{method.title}: {len(missing)} of {len(self.cases)} pictures to draw.")
        finished = bar(self.drawer.results(missing), len(missing), method.title, "picture")
        for one in finished:
            self._take(result, one)
            if len(result.failures) >= MOST_FAILURES and not result.kept:
                result.note = f"The first {MOST_FAILURES} pictures failed. {result.failures[0].public_why}"
                say(f"{method.title}: {result.note} {result.failures[0].why}")
                return result
        for case in bar(self.cases, len(self.cases), f"{method.title}: measuring", "picture"):
            if case.name in result.kept:
                self._watch(result, case)
        return result

    def _to_draw(self, result: Result) -> Iterator[Task | None]:
        """For each case the task, None where its picture is there and made of the same."""
        for case in self.cases:
            task = self.task(result.method, case)
            kept = kept_of(task)
            if kept is not None:
                result.kept[case.name] = kept
                yield None
            else:
                # The note goes first: a run that is killed leaves no picture beside the note of another one.
                note_of(task.path).unlink(missing_ok=True)
                yield task

    def task(self, method: DrawnMethod, case: Case) -> Task:
        """The picture of a case by a method."""
        graph = self.graph_of(method, case)
        fingerprint = self.session.fingerprint(graph, method, self.drawer.made_with)
        return Task(case, graph, self.path_of(method, case), fingerprint)

    def graph_of(self, method: DrawnMethod, case: Case) -> Graph:
        """The prompt of a case. Raises one of NOT_DRAWN where something is missing."""
        size = canvas(self.settings.size or method.size, case.shape)
        people: list[PersonFiles] = []
        for number, photo in enumerate(case.photos, 1):
            people.append(PersonFiles(f"person {number}", (photo,)))
        sitting = Sitting(
            people, 1, self.benchmark.seed, case.prompt, size, self.settings.steps, self.session.pack,
            self.settings.folder, case.places_on(size),
        )  # fmt: skip
        return self.session.graph("benchmark", method, sitting, method.title, case.name, "")

    def path_of(self, method: DrawnMethod, case: Case) -> Path:
        """Where a picture lies: `compute_scores.py` of MultiHuman-Testbench takes such a folder as it is."""
        return self.settings.out / "pictures" / method.title / f"{case.name}.png"

    def _take(self, result: Result, finished: Finished) -> None:
        """Keep a picture that was drawn, and look at it."""
        case = finished.task.case
        if finished.error:
            result.failures.append(Failure(case.name, finished.error, finished.public_error))
            return
        kept = Kept(finished.task.fingerprint, finished.seconds)
        write_kept(note_of(finished.task.path), kept)
        result.kept[case.name] = kept
        self._watch(result, case)

    def _watch(self, result: Result, case: Case) -> None:
        """Look at a picture, unless the same watchers have done so, beside the same photo."""
        kept = result.kept[case.name]
        watchers = self.watcher.named_for(case)
        if kept.seen is not None and list(kept.watchers) == watchers:
            return
        path = self.path_of(result.method, case)
        try:
            seen = self.watcher.seen(case, evaluate.image(path))
        except evaluate.Unusable as error:
            result.failures.append(Failure(case.name, str(error), "No face was found in a reference photo."))
            del result.kept[case.name]
            return
        kept = Kept(kept.fingerprint, kept.seconds, watchers, seen)
        write_kept(note_of(path), kept)
        result.kept[case.name] = kept


def kept_of(task: Task) -> Kept | None:
    """What is kept of the picture of a task; None where it is not there, or made of something else."""
    kept = read_kept(note_of(task.path))
    if kept is None or kept.fingerprint != task.fingerprint or not task.path.is_file():
        return None
    return kept


def limited(cases: Sequence[Case], limit: int | None) -> list[Case]:
    """The first cases of each kind, which are those of the same rows; all of them for None."""
    if limit is None:
        return list(cases)
    counts: Counter[tuple[str, ...]] = Counter()
    first: list[Case] = []
    for case in cases:
        kind = tuple(case.groups)
        counts[kind] += 1
        if counts[kind] <= limit:
            first.append(case)
    return first


def canvas(size: Size, shape: Size | None) -> Size:
    """A canvas with as many pixels as `size`, of the proportions of `shape`, in steps of STEP."""
    if shape is None:
        return size
    pixels = size[0] * size[1]
    width = math.sqrt(pixels * shape[0] / shape[1])
    return max(1, round(width / STEP)) * STEP, max(1, round(pixels / width / STEP)) * STEP
