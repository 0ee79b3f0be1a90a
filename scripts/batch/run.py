"""A run: which rows of its table are to be made, what that will take, and what becomes of each.

It reads the table twice, as a stream: before the first row, when a byte is noted for each, and for the workers.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from environment import SetupError, say
from tqdm import tqdm

from core.checks.errors import counted

from . import check, prompts
from .estimate import RowCosts
from .faults import failure
from .inputs import Template
from .one_worker import Workers
from .output import Measuring, Output, Task, made_by, saved_folder
from .prompts import Job, ObjectInfo
from .rows import BadRow, Part, Row, Table, key_of, rows
from .seeds import seeds_of, with_moved_seeds
from .worker import Outcome, Worker

_TERMINAL_SECONDS = 0.5
_LOG_SECONDS = 10
"""How often a bar is drawn in a terminal, and in a file."""
_TO_DO, _DONE, _REFUSED, _REPEATED, _OTHERS = range(5)
"""What is noted of a row. Repeated: an earlier one has its name. Others: another machine or another run makes it."""


@dataclass
class Survey:
    """What is known of the rows before the first is made.

    states: a number of each. first: the first row that is to be made. made_by: how many of those that are done each
    version made.
    """

    states: Any
    first: Row | None = None
    made_by: Counter[str] = field(default_factory=Counter)

    def count(self, state: int) -> int:
        return int((self.states == state).sum())

    @property
    def rows(self) -> int:
        """Of this run."""
        return len(self.states) - self.count(_OTHERS)

    @property
    def to_do(self) -> int:
        return self.count(_TO_DO)

    @property
    def repeated(self) -> int:
        return self.count(_REPEATED)


class Run:
    """The rows of a table, made by workers."""

    def __init__(
        self,
        table: Table,
        template: Template,
        object_info: ObjectInfo,
        output: Output,
        workers: Workers,
        part: Part | None = None,
        only: Sequence[str] = (),
    ) -> None:
        """only: the names of the rows that are made; empty: all."""
        self._table = table
        self._template = template
        self._object_info = object_info
        self._output = output
        self._workers = workers
        self._part = part or Part()
        self._only = {key_of(name): name for name in only}

    @property
    def has_seeds(self) -> bool:
        return any(seeds_of(self._template.prompt))

    def require_makeable(self, measuring: Measuring | None, moved_seeds: int = 0) -> None:
        """Raises SetupError where the workflow makes no picture, or none that can be measured or seeded."""
        prompts.require_runnable(self._template.prompt, self._object_info)
        if measuring:
            from .measured import with_measure

            with_measure(self._template.prompt, self._object_info, measuring.vision)
        if moved_seeds or (measuring and measuring.tries > 1):
            with_moved_seeds(self._template.prompt, 1)

    def survey(self) -> Survey:
        """Look through all rows. What cannot be made by its cells or missing photos is in failed.csv then. Raises
        SetupError where a row is asked for that the table has not."""
        states, names = bytearray(), array("Q")
        survey = Survey(None)
        for number, row in enumerate(bar(rows(self._table, self._template.is_photo), None, "Reading rows")):
            names.append(key_of(row.name))
            if not self._part.has(number) or (self._only and names[-1] not in self._only):
                states.append(_OTHERS)
                continue
            fingerprint = self._fingerprint(row)
            if not fingerprint:
                states.append(_REFUSED)
            elif self._output.has(names[-1], fingerprint):
                states.append(_DONE)
            else:
                states.append(_TO_DO)
                survey.first = survey.first or row
        survey.states = np.frombuffer(states, np.uint8).copy()
        keys = np.frombuffer(names, np.uint64)
        for key in self._only.keys() - set(names if self._only else ()):
            raise SetupError(
                f"No row of the table is called {self._only[key]}: --only takes the names that done.csv and failed.csv "
                "have."
            )
        _, first = np.unique(keys, return_index=True)
        if len(first) < len(keys):
            is_later = np.ones(len(keys), bool)
            is_later[first] = False
            survey.states[is_later & (survey.states != _REFUSED) & (survey.states != _OTHERS)] = _REPEATED
        survey.made_by.update(map(self._output.made_by, keys[survey.states == _DONE].tolist()))
        return survey

    def _fingerprint(self, row: Row) -> str:
        """What a row's pictures are made of; "" for one that cannot be made, which is written into failed.csv."""
        try:
            return self._template.fingerprint(row)
        except BadRow as problem:
            self._output.refuse(row, str(problem))
            return ""

    def require_files(self, row: Row) -> None:
        """Raises SetupError with all that a row needs and that is not there: what it chooses in menus.

        Files of its cells are left out: they travel with the row, and no menu has them before.
        """
        cells = {column: cell for column, cell in row.cells.items() if not self._template.is_file(column, cell)}
        job = self._template.job(Row(row.line, row.name, cells))
        if check.CHECK_MODEL_FILES not in self._object_info:  # a server without the pack has only the nodes' menus
            check.require(job, "", self._object_info)
            return
        checking = Job(row, check.model_check(job, self._object_info), {})
        (finished,) = self._workers.results(Asking(), [checking])
        if finished.error:
            raise SetupError(f"Check Model Files could not look for the files of models: {finished.error}")
        check.require(job, finished.made.texts[check.SAID], self._object_info)

    def tasks(self, survey: Survey) -> Iterator[Task]:
        """The rows that are to be made, as workers ask for them."""
        for number, row in enumerate(rows(self._table, self._template.is_photo)):
            state = survey.states[number]
            if state == _REPEATED:
                self._output.refuse(row, f"an earlier row has the name {row.name} too: give each row its own.")
            if state != _TO_DO:
                continue
            fingerprint = self._fingerprint(row)
            if fingerprint:
                yield Task(row, fingerprint)

    def make(self, maker: Any, survey: Survey) -> int:
        """Make all rows that are to be made; how many have been. Raises SetupError where no worker is left."""
        costs = RowCosts()
        made_count = 0
        last = 0.0
        is_told = False
        done = survey.count(_DONE)
        to_do = survey.to_do
        finished_rows = bar(self._workers.results(maker, self.tasks(survey)), done + to_do, "Rows", done=done)
        for number, finished in enumerate(finished_rows, 1):
            if finished.error:
                self._output.refuse(finished.task.row, finished.error)
                continue
            made_count += 1
            now = time.monotonic()
            # Without the first row, which waits for the models.
            if made_count > 1:
                costs.add(now - last, finished.made)
            last = now
            if not is_told and costs.is_enough:
                is_told = True
                if to_do > number:
                    sentence = costs.estimate(to_do - number, self._output.free_bytes, self._output.folder.address)
                    say(f"By the first rows: {sentence}")
        return made_count

    def say_what_comes(self, survey: Survey) -> None:
        """How many rows there are, and what they will take, by those of earlier runs into this folder.

        Raises SetupError where they have no room on the disk.
        """
        text = f"{counted(survey.to_do, 'row')} to make; {survey.count(_DONE)} done earlier, "
        text += f"{self._output.failed + survey.repeated} refused."
        earlier = self._output.earlier
        if earlier.count and survey.to_do:
            folder = self._output.folder.address
            sentence = earlier.estimate(survey.to_do, self._output.free_bytes, folder, self._workers.count)
            text += f" By the earlier rows: {sentence}"
        say(text)
        now = made_by(self._workers.version)
        for earlier_version, count in survey.made_by.items():
            if earlier_version not in ("", now):
                say(f"{counted(count, 'row')} done earlier: made by {earlier_version}; now {now} is used.")


class Asking:
    """Runs a prompt as it is."""

    def make(self, worker: Worker, task: Job) -> Outcome:
        with saved_folder(worker.folder) as saved:
            outcome = worker.run(task.prompt, task.files, Path(saved))
        if outcome.error:
            raise failure(outcome.error)
        return outcome

    def kept(self, worker: str, task: Job) -> None:
        """Nothing: what was asked is lost with the worker."""


def bar(items: Iterable[Any], total: int | None, title: str, unit: str = "row", done: int = 0) -> tqdm[Any]:
    """A bar that says how far something is. done: how many of the total were done before."""
    pace = _TERMINAL_SECONDS if sys.stderr.isatty() else _LOG_SECONDS
    # A bar of something short would only flicker by.
    delay = 0 if done or title == "Rows" else 2
    return tqdm(items, title, total=total, initial=done, unit=unit, mininterval=pace, delay=delay)


def last_line(rows: int, made: int, failed: int, seconds: float, place: str) -> str:
    """The last line of a run. rows: of the table. made: of this run. seconds: how long that took, all workers together.
    place: of the pictures."""
    done = rows - failed
    text = f"Rows: {done} done"
    if done > made:
        text += f" ({done - made} of them earlier)"
    text += f", {failed} failed"
    if made:
        text += f", {seconds / made:.1f} s per row"
    if not done:
        return f"{text}. There is no picture."
    return f"{text}. The pictures are in {place}"
