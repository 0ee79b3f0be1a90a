"""Whose fault it is that a row was not made: the table of batch/faults.py, walked for workers of every kind."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from batch.faults import Fault, Happened, Standing, failure
from batch.one_worker import DrivenWorkers, OneWorker, WorkerSettings
from batch.ray_workers import HERE, RayWorkers
from crews import quicken
from environment import SetupError

ROWS = 60
ALWAYS = 10**3
FAILED, ENDED, SILENT, LOST = (
    Fault(happened, "why") for happened in (Happened.FAILED, Happened.ENDED, Happened.SILENT, Happened.LOST)
)
EVERY_FAILS, EVERY_ENDS = ({row: fault for row in range(ROWS)} for fault in (FAILED, ENDED))  # noqa: C420
FULL = failure("Save: [Errno 28] No space left on device")


@dataclass(frozen=True)
class Case:
    """What happens to rows wherever they are made, and to the first worker at one row after the other.

    away: how often that is asked in vain. failed: how many rows are given up, and why. said: of the first worker. ends:
    why the run ends. alone: what is other where it is the only worker.
    """

    rows: Mapping[int, Exception] = field(default_factory=dict)
    first: Sequence[Exception] = ()
    away: int = 0
    failed: int = 0
    why: str = "why"
    said: Sequence[str] = ()
    ends: str = ""
    alone: Mapping[str, Any] = field(default_factory=dict)


BACK = "makes rows again."
HAS_ENDED = "has ended or hung at a row, and gets others when it answers again: why"
HAS_STOPPED = "does not answer, and gets rows when it does again: why"
MAKES_NONE = "makes no rows, and gets one now and then: "
IS_FULL = f"{MAKES_NONE}its disk is full, make room there (Save: [Errno 28] No space left"
LOSES = f"{MAKES_NONE}it loses the rows that it is given, 3 one after the other. The last: why"
FAILS = f"{MAKES_NONE}it fails at rows that others make, 3 one after the other. The last: why"
NO_ONE = "^No worker is left that makes rows. .*: "
CASES = {
    # The row's: two have failed at it, or the only one has.
    "a row that fails": Case({3: FAILED}, failed=1),
    "all rows fail, each by itself": Case(EVERY_FAILS, failed=ROWS),
    "a row that nobody has thought of": Case({3: KeyError("x")}, failed=1, why="KeyError: 'x'"),
    "a row that ends whoever makes it": Case(
        {3: ENDED}, failed=1, why="2 workers ended or hung at this row. The last: ", said=(HAS_ENDED, BACK)
    ),
    # The worker's: others make what it does not.
    "a row that fails at one alone": Case(first=[FAILED], alone={"failed": 1}),
    "a worker at which all rows fail": Case(first=[FAILED] * ALWAYS, said=[FAILS], alone={"said": (), "failed": ROWS}),
    "a worker that ends, and is back": Case(first=[ENDED], said=(HAS_ENDED, BACK)),
    "a worker that does not answer for a while": Case(first=[SILENT] * 3, away=3, said=(HAS_STOPPED, BACK)),
    "a worker that does not answer any more": Case(
        first=[SILENT] * 3, away=ALWAYS**2, said=[HAS_STOPPED], alone={"ends": f"{NO_ONE}why. Mend that"}
    ),
    "a row that a worker loses": Case(first=[LOST]),
    "a worker that loses all": Case(first=[LOST] * ALWAYS, said=[LOSES], alone={"ends": f"{NO_ONE}it loses"}),
    "a full disk": Case(first=[FULL] * ALWAYS, said=[IS_FULL], alone={"ends": f"{NO_ONE}its disk is full, make room"}),
    "a full disk that gets room": Case(
        first=[FULL] * 3, said=(IS_FULL, BACK), alone={"ends": f"{NO_ONE}its disk is full"}
    ),
    # The run's: no row survives.
    "rows that all end whoever makes them": Case(
        EVERY_ENDS, ends="^3 rows one after the other ended their workers. 2 workers ended or"
    ),
}


class Small:
    """A worker that does nothing by itself. away: how often it is asked in vain."""

    version = label = "small"

    def __init__(self, name: str) -> None:
        self.name = name
        self.away = 0

    def start(self) -> None:
        pass

    def is_back(self) -> bool:
        self.away -= 1
        return self.away < 0

    def stop(self) -> None:
        pass

    def clear(self) -> None:
        pass


class Settings(WorkerSettings):
    def worker(self, number: int) -> Any:
        return Small(self.name(number))


class Numbers:
    """Makes twice a number of each, but for what happens. first: the name of the first worker. folder: has a file for
    each time that this one was given a row, as workers may be other processes."""

    def __init__(self, case: Case, first: str, folder: Path) -> None:
        self._case = case
        self._first = first
        self._folder = folder

    def make(self, worker: Any, number: int) -> int:
        if worker.name == self._first and self._case.first:
            time_of_it = self._time()
            if time_of_it < len(self._case.first):
                raise self._case.first[time_of_it]
        if number in self._case.rows:
            raise self._case.rows[number]
        time.sleep(0.02)
        return 2 * number

    def _time(self) -> int:
        number = 0
        while True:
            try:
                os.close(os.open(self._folder / str(number), os.O_CREAT | os.O_EXCL))
                return number
            except FileExistsError:
                number += 1

    def kept(self, worker: str, task: Any) -> None:
        """Nothing is kept of a worker that ended."""


def walk(case: Case, workers: DrivenWorkers, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Make rows while that happens which the case says."""
    first = workers._crew.standings[0]
    label = first.worker.label
    name = first.worker._name if isinstance(workers, RayWorkers) else first.worker.name
    first.worker.away = case.away
    made: dict[int, int] = {}
    reasons: list[str] = []
    ends = ""
    try:
        for finished in workers.results(Numbers(case, name, folder), range(ROWS)):
            if finished.error:
                reasons.append(finished.error)
            else:
                made[finished.task] = finished.made
    except SetupError as cause:
        ends = str(cause)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"[likeness] {label} ")]
    if case.ends:
        assert re.search(case.ends, ends), ends
        return
    assert ends == ""
    assert len(reasons) == case.failed
    assert all(reason.startswith(case.why) for reason in reasons), reasons
    assert len(made) == ROWS - case.failed
    assert all(twice == 2 * number for number, twice in made.items())
    assert len(said) == len(case.said), said
    for line, text in zip(said, case.said, strict=True):
        assert line.startswith(f"[likeness] {label} {text}")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch, 1000)
    monkeypatch.setattr(DrivenWorkers, "patience", 0.3)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_two_servers(case: Case, impatient: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Small("1"), Small("2")
    first.label = "first"
    with DrivenWorkers([first, second]) as workers:
        walk(case, workers, tmp_path, capsys)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_worker(case: Case, impatient: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with OneWorker(Settings()) as workers:
        walk(replace(case, **case.alone), workers, tmp_path, capsys)


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[RayWorkers]:
    """Two that are real."""
    temporary = tempfile.mkdtemp(prefix="trial-", dir="/tmp")  # Ray's sockets want it short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", temporary)
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # what happens is of this module
        quicken(patch, 1000)
        with RayWorkers(HERE, 2, Settings(), "small", gpus=0) as workers:
            yield workers
    shutil.rmtree(temporary, ignore_errors=True)


def make_well(workers: RayWorkers) -> None:
    """All that an earlier test has done to them is over."""
    standings = workers._crew.standings
    while any(standing.is_asked for standing in standings):
        workers._wait()
    workers._crew._again.clear()
    workers._crew._deadly = 0
    for standing in standings:
        standing.__dict__.update(vars(Standing(standing.worker)))


@pytest.mark.thorough
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not here")
@pytest.mark.parametrize("case", [case for case in CASES.values() if not case.away])  # Ray waits until one is there
def test_two_workers_on_ray(
    case: Case, ray_workers: RayWorkers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_well(ray_workers)
    walk(case, ray_workers, tmp_path, capsys)


@pytest.mark.thorough
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not here")
def test_all_workers_on_ray_are_given_one_maker(
    ray_workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is sent slowly, and many rows wait for it."""
    make_well(ray_workers)
    sent: list[Any] = []

    def put(value: Any, put: Any = ray_workers._ray.put) -> Any:
        time.sleep(0.3)
        sent.append(put(value))
        return sent[-1]

    monkeypatch.setattr(ray_workers._ray, "put", put)
    assert len(list(ray_workers.results(Numbers(Case(), "", tmp_path), range(6)))) == 6
    assert len(sent) == 1
