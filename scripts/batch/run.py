"""A run around its workers: what it needs is looked for before the first row, and the best try of a row is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from environment import SetupError

from . import check, prompts
from .inputs import Template
from .measured import Scores, best, seeded, split, tries, with_measure
from .output import Output, with_prompt
from .prompts import Job, Known
from .rows import BadRow, Row
from .worker import Made
from .workers import Crew


class Run:
    """count: how many pictures are made of a row, of which the best is kept. scores: where they are measured, if they
    are."""

    def __init__(
        self, workers: Crew, known: Known, template: Template, output: Output, count: int, scores: Scores | None
    ) -> None:
        self._workers, self._known, self._template = workers, known, template
        self._output, self._count, self._scores = output, count, scores

    def prepare(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are to be made: the others are done, or in failed.csv.

        Raises SetupError with all that the rows need and that is not there, and where they cannot be measured, or
        have no seed of which there are more.
        """
        prompts.require_whole(self._template.prompt, self._known)
        if self._scores:
            with_measure(self._template.prompt, self._known, self._scores.vision)
        if self._count > 1:
            seeded(self._template.prompt, 1)
        needed, to_do = check.Needed(self._known), list[Row]()
        for row in rows:
            job = self._job(row)
            if job and not (self._output.has(job) and (not self._scores or self._scores.has(job, self._count))):
                to_do.append(row)
                needed.add(job)
        if needed.found:
            ((_, made),) = self._workers.made(iter([Job(rows[0], needed.doctor(), {})]))
            if made.error:
                raise SetupError(f"Check Model Files could not look for the files of models: {made.error}")
            needed.require(made.files[0][1].decode())
        return to_do

    def made(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Each of these once its pictures are in the output folder, or its reason in failed.csv."""
        begun: dict[int, list[tuple[Job, Made]]] = {}
        jobs = (job for row in rows if (job := self._job(row)))
        each = (one for job in jobs for one in tries(job, self._count))
        if self._scores:
            vision = self._scores.vision
            each = (replace(one, prompt=with_measure(one.prompt, self._known, vision)) for one in each)
        for one, made in self._workers.made(each):
            of_row = begun.setdefault(one.row.line, [])
            of_row.append((one, made))
            if len(of_row) == self._count and one.of:
                del begun[one.row.line]
                if problem := self._kept(one.of, sorted(of_row, key=lambda made: made[0].number)):
                    self._output.refuse(one.row, problem)
                yield one.row

    def _job(self, row: Row) -> Job | None:
        """None, and a line in failed.csv, for a row that cannot be made."""
        try:
            return self._template.job(row)
        except BadRow as problem:
            self._output.refuse(row, str(problem))
            return None

    def _kept(self, job: Job, made: Sequence[tuple[Job, Made]]) -> str:
        """Why nothing of a row could be kept, or nothing."""
        each = [(one, *split(result)) for one, result in made]
        if error := next((result.error for _, result, _ in each if result.error), ""):
            return error
        chosen = best([reports for *_, reports in each]) if self._count > 1 else 0
        one, result, _ = each[chosen]
        pictures = result.files
        if self._scores:  # without the nodes that measured them
            meant = seeded(job.prompt, one.number)
            pictures = [(ending, with_prompt(data, meant)) for ending, data in pictures]
        files = self._output.keep(job, pictures, sum(result.seconds for _, result, _ in each))
        if self._scores:
            self._scores.keep(job, files, [(one, reports) for one, _, reports in each], chosen)
        return ""
