"""What a worker does with a row: its prompt, the best of its tries, its pictures in the folder of the run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shared import tables
from shared.given_files import Unreadable
from shared.workflow import Prompt, is_of_others

from .faults import Fault, Happened, failure
from .folders import Folder
from .inputs import Template
from .output import (
    Measuring,
    PictureWriter,
    Task,
    disk_errors_told,
    made_by,
    names_of,
    saved_folder,
    set_prompt,
    size_kept,
)  # fmt: skip
from .prompts import Job, ObjectInfo
from .rows import BadRow
from .saved_people import with_separate_people
from .seeds import best_try, seeds_of, tries, with_moved_seeds
from .worker import Outcome, Worker

_OPENING = threading.Lock()
"""Held by the thread that makes a `_Bench`. It stays here when a Maker is sent to another process."""


@dataclass(frozen=True)
class _Bench:
    """What the threads of one worker share. turn: of the one whose row is in the worker's ComfyUI; meanwhile others
    read what their rows need, and write what they have made."""

    writer: PictureWriter
    turn: threading.Lock = field(default_factory=threading.Lock)


class Maker:
    """Makes rows, in whatever process it is sent to, and in as many threads as there are.

    measuring: what is measured of their pictures, and of how many tries the best is kept, if so. moved_seeds: added to
    the seeds of every row.
    """

    def __init__(
        self,
        template: Template,
        object_info: ObjectInfo,
        folder: Folder,
        measuring: Measuring | None = None,
        moved_seeds: int = 0,
    ) -> None:
        self._template = template
        self._object_info = object_info
        self._folder = folder
        self._measuring = measuring
        self._moved_seeds = moved_seeds
        self._benches: dict[str, _Bench] = {}
        """By the name of the worker."""

    def make(self, worker: Worker, task: Task) -> int:
        """Make a row, and put its pictures into the folder; how many bytes they have. Raises Fault where the row is not
        made, and SetupError where the folder cannot be written to."""
        try:
            job = self._template.job(task.row)
        except (BadRow, Unreadable) as problem:
            raise Fault(Happened.FAILED, str(problem)) from problem
        with disk_errors_told(self._folder):
            bench = self._bench(worker)
        with saved_folder(worker.folder) as saved:
            tried = self._all_tried(bench, worker, job, Path(saved))
            with disk_errors_told(self._folder):
                return self._keep(bench.writer, task, job, tried)

    def _bench(self, worker: Worker) -> _Bench:
        with _OPENING:
            if worker.name not in self._benches:
                writer = PictureWriter(self._folder, worker.name, made_by(worker.version), self._moved_seeds)
                self._benches[worker.name] = _Bench(writer)
            return self._benches[worker.name]

    def close(self) -> None:
        """Nobody makes rows any more: the folder is free for another run."""
        for bench in self._benches.values():
            bench.writer.close()

    def kept(self, worker: str, task: Task) -> int | None:
        """How many bytes a worker that ended has made of a row all the same; None where it is to be made again."""
        with disk_errors_told(self._folder):
            return size_kept(self._folder, worker, task)

    def _all_tried(self, bench: _Bench, worker: Worker, job: Job, saved: Path) -> list[_Try]:
        """All tries of a row, in one turn: ComfyUI remembers what two prompts after each other have in common."""
        tried: list[_Try] = []
        with nullcontext() if self._may_queue(worker) else bench.turn:
            count = self._measuring.tries if self._measuring else 1
            for number, row_try in enumerate(tries(job, count, self._moved_seeds)):
                folder = saved / str(number)
                folder.mkdir()
                one = self._tried(worker, row_try, folder)
                if one.outcome.error:
                    raise failure(one.outcome.error)
                if not one.outcome.files:
                    raise Fault(Happened.FAILED, "The workflow saved no picture.")
                tried.append(one)
        return tried

    def _may_queue(self, worker: Worker) -> bool:
        """Whether a row may wait in a worker's ComfyUI behind another. Nodes of other packs may save several under one
        name."""
        if not worker.takes_several:
            return False
        kinds = {node["class_type"] for node in self._template.prompt.values()}
        savers = [kind for kind in kinds if self._object_info[kind]["output_node"]]
        return not any(is_of_others(kind, self._object_info) for kind in savers)

    def _tried(self, worker: Worker, job: Job, folder: Path) -> _Try:
        # Whoever is in several rows is looked at once, with whomever they are: worker_nodes/__init__.py keeps them.
        prompt = with_separate_people(job.prompt)
        if not self._measuring:
            return _Try(job, prompt, worker.run(prompt, job.files, folder), [])
        from .measured import problem_of, reports_of, with_measure

        prompt = with_measure(prompt, self._object_info, self._measuring.vision)
        outcome = worker.run(prompt, job.files, folder)
        reports = reports_of(outcome)
        outcome = replace(outcome, error=outcome.error or problem_of(outcome, reports))
        return _Try(job, prompt, outcome, reports)

    def _keep(self, writer: PictureWriter, task: Task, job: Job, tried: Sequence[_Try]) -> int:
        """Keep the best pictures of a row, and what was measured of all; how many bytes they have."""
        measuring = self._measuring or Measuring()
        chosen = best_try([one.reports for one in tried], measuring.garment_share) if len(tried) > 1 else 0
        pictures = tried[chosen].outcome.files
        files = names_of(task.row, [picture.ending for picture in pictures])
        scores: list[dict[str, Any]] = []
        for number, one in enumerate(tried):
            scores += score_lines(task, files, one.job, one.reports, number == chosen, measuring.vision)
        # As the row asks for them, without the nodes that measured them.
        meant = with_moved_seeds(job.prompt, self._moved_seeds + chosen)
        if tried[chosen].prompt != meant:
            for picture in pictures:
                set_prompt(picture.path, meant)
        seconds = sum(one.outcome.seconds for one in tried)
        seeds = {seed.value for seed in seeds_of(meant)}
        writer.keep(task, pictures, seconds, self._measuring, scores, job.beside, seeds)
        return sum(picture.size for picture in pictures)


@dataclass(frozen=True)
class _Try:
    """A try of a row, the prompt that was run for it, what became of it, and what was measured of each picture."""

    job: Job
    prompt: Prompt
    outcome: Outcome
    reports: Sequence[Any]


def score_lines(
    task: Task, files: Sequence[str], job: Job, reports: Sequence[Any], is_kept: bool, vision: str = ""
) -> Iterator[dict[str, Any]]:
    """The lines of likeness.csv of a try: those of `tables.lines_of`, behind them the seed and whether its pictures
    were kept. files: their names. vision: the file by which garments were compared."""
    first_seed = next(seeds_of(job.prompt), None)
    ending = {"seed": "" if first_seed is None else first_seed.value, "kept": "yes" if is_kept else "no"}
    for file, report in zip(files, reports, strict=bool(reports)):
        for line in tables.lines_of(task.row.name, file, report):
            if line["state"] == tables.PART:
                line["recogniser"] = vision
            yield {**line, **ending}
