"""A run around its workers: what it needs, people of several rows, rows, and the best try of each.

What it needs is looked for before the first row, and people of several rows are made once.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from environment import SetupError, say
from tqdm import tqdm

from core.errors import counted

from . import check, prompts
from .inputs import Template
from .measured import MeasuredOutcome, split, with_measure
from .output import Output, with_prompt
from .prompts import Job, ObjectInfo
from .rows import BadRow, Row
from .scores import MeasuredTry, Scores
from .seeds import best_try, tries, with_moved_seeds
from .shared_people import SharedPeople
from .worker import SavedFile
from .workers import Crew, FinishedJob

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 10
"""How often a bar is drawn in a terminal, and in a file."""


@dataclass(frozen=True)
class FinishedRow:
    """A row whose pictures are in the output folder, or whose reason is in failed.csv. problem: that reason, if any."""

    row: Row
    problem: str


class Run:
    """The rows of a table, made by workers.

    count: how many pictures are made of a row, of which the best is kept. scores: where they are measured, if they are.
    """

    def __init__(
        self,
        workers: Crew,
        object_info: ObjectInfo,
        template: Template,
        output: Output,
        shared_people: SharedPeople,
        count: int = 1,
        scores: Scores | None = None,
    ) -> None:
        self._workers = workers
        self._object_info = object_info
        self._template = template
        self._output = output
        self._people = shared_people
        self._count = count
        self._scores = scores

    def prepare(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are to be made: the others are done, or in failed.csv.

        Raises SetupError with all that the rows need and that is not there, and where they cannot be measured, or
        have no seed of which there are more.
        """
        prompts.require_runnable(self._template.prompt, self._object_info)
        if self._scores:
            with_measure(self._template.prompt, self._object_info, self._scores.vision)
        if self._count > 1:
            with_moved_seeds(self._template.prompt, 1)
        needed = check.Needed(self._object_info)
        to_do: list[Row] = []
        # Photos are read and looked through here.
        for row in bar(rows, len(rows), "Reading rows"):
            job = self._job(row)
            if job is None or self._is_done(job):
                continue
            to_do.append(row)
            needed.add(job)
            self._people.add(job)
        if not needed.is_empty:
            self._require_files(needed, rows[0])
        return to_do

    def _is_done(self, job: Job) -> bool:
        """Whether a row has its pictures, measured where that is asked for."""
        if not self._output.has(job):
            return False
        return self._scores is None or self._scores.has(job, self._count)

    def _require_files(self, needed: check.Needed, row: Row) -> None:
        """Raises SetupError with all that the rows need and that is not there. row: any, for the workers' messages."""
        (finished,) = self._workers.results(iter([Job(row, needed.doctor(), {})]))
        if finished.outcome.error:
            raise SetupError(f"Check Model Files could not look for the files of models: {finished.outcome.error}")
        needed.require(finished.outcome.files[0].data.decode())

    def make_people(self) -> None:
        """Make everybody who is in several rows. Who cannot be made is left to the rows, which say why."""
        count = self._people.count
        if not count:
            return
        say(f"{counted(count, 'person is', 'people are')} in several rows: their photos are looked at once.")
        jobs = self._people.jobs(self._template.job)
        for finished in bar(self._workers.results(jobs), count, "People", "person"):
            if not finished.outcome.error:
                self._people.keep(finished.job, finished.outcome.files[0])

    def results(self, rows: Sequence[Row]) -> Iterator[FinishedRow]:
        """Each of these rows once its pictures are in the output folder, or its reason in failed.csv."""
        tries_of_row: dict[int, list[FinishedJob]] = {}
        for finished in self._workers.results(self._tries(rows)):
            row = finished.job.row
            finished_tries = tries_of_row.setdefault(row.line, [])
            finished_tries.append(finished)
            if len(finished_tries) < self._count or finished.job.row_job is None:
                continue
            del tries_of_row[row.line]
            finished_tries.sort(key=lambda finished_try: finished_try.job.try_number)
            problem = self._keep(finished.job.row_job, finished_tries)
            if problem:
                self._output.refuse(row, problem)
            yield FinishedRow(row, problem)

    def _tries(self, rows: Sequence[Row]) -> Iterator[Job]:
        """The jobs of the rows, as workers ask for them."""
        for row in rows:
            job = self._job(row)
            if job is None:
                continue
            for row_try in tries(job, self._count):
                ready = self._people.with_people(row_try)
                if self._scores:
                    ready = replace(ready, prompt=with_measure(ready.prompt, self._object_info, self._scores.vision))
                yield ready

    def _job(self, row: Row) -> Job | None:
        """None, and a line in failed.csv, for a row that cannot be made."""
        try:
            return self._template.job(row)
        except BadRow as problem:
            self._output.refuse(row, str(problem))
            return None

    def _keep(self, job: Job, finished_tries: Sequence[FinishedJob]) -> str:
        """Keep the pictures of a row; the reason why nothing could be kept, or nothing."""
        measured: list[MeasuredOutcome] = []
        for finished in finished_tries:
            measured_outcome = split(finished.outcome)
            if measured_outcome.outcome.error:
                return measured_outcome.outcome.error
            measured.append(measured_outcome)
        chosen = 0
        if self._count > 1:
            chosen = best_try([measured_outcome.reports for measured_outcome in measured])
        pictures = measured[chosen].outcome.files
        # Without the nodes that measured them, and with photos in the place of people who were made before.
        meant = with_moved_seeds(job.prompt, chosen)
        if finished_tries[chosen].job.prompt != meant:
            pictures = [SavedFile(picture.ending, with_prompt(picture.data, meant)) for picture in pictures]
        seconds = sum(finished.outcome.seconds for finished in finished_tries)
        files = self._output.keep(job, pictures, seconds)
        if self._scores:
            measured_tries: list[MeasuredTry] = []
            for finished, measured_outcome in zip(finished_tries, measured, strict=True):
                measured_tries.append(MeasuredTry(finished.job, measured_outcome.reports))
            self._scores.keep(job, files, measured_tries, chosen)
        return ""


def bar(items: Iterable, total: int, title: str, unit: str = "row", done: int = 0) -> tqdm:
    """A bar that says how far something is. done: how many of the total were done before."""
    pace = TERMINAL_SECONDS if sys.stderr.isatty() else LOG_SECONDS
    # A bar of something short would only flicker by.
    delay = 0 if done or title == "Rows" else 2
    return tqdm(items, title, total=total, initial=done, unit=unit, mininterval=pace, delay=delay)
