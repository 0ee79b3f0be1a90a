"""A run around its workers: what it needs is looked for, people are made once, and the best try of a row is kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from environment import SetupError, say

from core.errors import counted

from . import check, people, prompts
from .estimate import FIRST, estimate
from .inputs import Template
from .measured import Scores, best, seeded, split, tries, with_measure
from .metadata import with_prompt
from .output import Output, writing
from .prompts import Job, Known
from .rows import BadRow, Row
from .worker import Made
from .workers import Crew


class Run:
    """count: how many pictures are made of a row, of which the best is kept. scores: where they are measured, if they
    are. bank: an empty folder for people who are made once."""

    def __init__(
        self, workers: Crew, known: Known, output: Output, count: int, scores: Scores | None, bank: Path
    ) -> None:
        self._workers, self._known, self._output, self._count, self._scores = workers, known, output, count, scores
        self._bank, self._people = bank, dict[str, Path]()
        self._waiting, self._sizes, self._ends = 0, list[int](), list[float]()

    def has(self, job: Job) -> bool:
        """Whether the row is done, and measured where that is asked for."""
        return self._output.has(job) and (self._scores is None or self._scores.has(job, self._count))

    def prepare(self, template: Template, rows: Sequence[Row]) -> None:
        """Raises SetupError with all that the rows need and that is not there, and where they cannot be measured, or
        have no seed of which there are more."""
        prompts.require_whole(template.prompt, self._known)
        if self._scores:
            with_measure(template.prompt, self._known)
        if self._count > 1:
            seeded(template.prompt, 1)
        needed: dict[check.Choice, str] = {}
        shared = people.to_make(check.choices(self._to_do(template, rows), self._known, needed), self._known)
        if needed:
            ((_, told),) = self._workers.made(iter([Job(rows[0], check.doctor(needed, self._known), {})]))
            if told.error:
                raise SetupError(f"Likeness Doctor could not look for the files of models: {told.error}")
            check.require(needed, self._known, told.files[0][1].decode())
        if shared:
            say(f"{counted(len(shared), 'person is', 'people are')} in several rows: their photos are looked at once.")
            self._make(template, shared)

    def _to_do(self, template: Template, rows: Iterable[Row]) -> Iterator[Job]:
        """What is wrong with a row is said when its turn comes."""
        for row in rows:
            if (job := _job(template, row)) and not self.has(job):
                self._waiting += 1
                yield job

    def _make(self, template: Template, shared: dict[str, Job]) -> None:
        """Who cannot be made is left to the rows: each says why."""
        files = {job.fingerprint: file for file, job in shared.items()}
        whole = ((job, _job(template, job.row)) for job in shared.values())
        jobs = (people.with_files(job, of_row.photos) for job, of_row in whole if of_row)
        for job, made in self._workers.made(jobs):
            if not made.error:
                file = files[job.fingerprint]
                with writing(self._bank):
                    (self._bank / file).write_bytes(made.files[0][1])
                self._people[file] = self._bank / file

    def made(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, str]]:
        """Every job once its picture is in the output folder, or with the reason why there is none."""
        begun: dict[int, list[tuple[Job, Made]]] = {}
        each = (self._ready(one) for job in jobs for one in tries(job, self._count))
        for one, made in self._workers.made(each):
            of_row = begun.setdefault(one.row.line, [])
            of_row.append((one, made))
            if len(of_row) == self._count and one.of:
                del begun[one.row.line]
                yield one.of, self._kept(one.of, sorted(of_row, key=lambda made: made[0].number))

    def summary(self) -> str:
        """Of all that was measured in this folder; nothing where nothing is."""
        return self._scores.summary() if self._scores else ""

    def _ready(self, one: Job) -> Job:
        one = people.with_made(one, self._known, self._people)
        return replace(one, prompt=with_measure(one.prompt, self._known)) if self._scores else one

    def _kept(self, job: Job, made: Sequence[tuple[Job, Made]]) -> str:
        """Why nothing of a row could be kept, or nothing."""
        each = [(one, *split(result)) for one, result in made]
        if error := next((result.error for _, result, _ in each if result.error), ""):
            return error
        chosen = best([reports for *_, reports in each]) if self._count > 1 else 0
        one, result, _ = each[chosen]
        meant = seeded(job.prompt, one.number)
        pictures = [
            (ending, with_prompt(data, meant) if one.prompt != meant else data) for ending, data in result.files
        ]
        files = self._output.keep(job, pictures, sum(result.seconds for _, result, _ in each))
        if self._scores:
            self._scores.keep(job, files, [(one, reports) for one, _, reports in each], chosen)
        self._tell(sum(len(data) for _, data in pictures))
        return ""

    def _tell(self, size: int) -> None:
        """After the first rows: what all of them will take."""
        self._sizes.append(size)
        self._ends.append(time.monotonic())
        left = self._waiting - len(self._ends)
        if len(self._ends) == FIRST and left > 0:
            say(estimate(self._ends[-1] - self._ends[0], self._sizes, left, self._output.folder))


def _job(template: Template, row: Row) -> Job | None:
    try:
        return None if template.check(row) else template.job(row)
    except BadRow:
        return None
