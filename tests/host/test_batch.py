"""scripts/batch.py as a user runs it: nothing is lost, nothing is made twice, and every picture is the one that a plain
loop over one ComfyUI makes, whatever ends.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from shared.host_server import HostServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux names them")

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = 4
ALONE = ("--workers", "1")
ON_RAY = ("--workers", "2")
WORKERS = [
    pytest.param(ALONE, id="one"),
    pytest.param(
        ON_RAY, id="ray", marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not here")
    ),
]
COLUMNS = ("name", "Photo.image", "Grain.seed", "Size.width", "Size.upscale_method")
TABLE = json.loads(Path(__file__).with_name("batch.json").read_text("utf-8"))
WORKFLOW, BAD = TABLE["workflow"], TABLE["bad"]
"""Without models; a row takes half a second or so. And name -> what is wrong with that row, in one cell or in the
name."""


def row(number: int, **more: str) -> dict[str, str]:
    cells = {"name": f"row_{number:03}", "Photo.image": f"photo_{number % PHOTOS}.png", "Grain.seed": str(number)}
    return cells | more


@dataclass(frozen=True)
class Setup:
    """folder: with photos and the workflow."""

    folder: Path
    server: HostServer
    _plain: dict[str, bytes] = field(default_factory=dict)
    """By the filled workflow: the picture. Rows of other tests, and those that differ in their names, have the same."""

    def plainly(self, cells: Mapping[str, str]) -> bytes:
        """One turn of the loop that a handful of lines would do: fill in, post, wait, read."""
        filled = json.loads(json.dumps(WORKFLOW))
        for column, cell in cells.items():
            if column != "name":
                node, name = column.split(".")
                filled[node]["inputs"][name] = int(cell) if cell.isdigit() else cell
        recipe = json.dumps(filled)
        if recipe not in self._plain:
            path = self.server.file(self.server.run(filled).outputs["Save"]["images"][0])
            self._plain[recipe] = path.read_bytes()
        return self._plain[recipe]


@pytest.fixture(scope="module")
def setup(host_server: HostServer, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("jobs")
    for number in range(PHOTOS):
        Image.effect_noise((96, 96), 60).convert("RGB").save(folder / f"photo_{number}.png")
        host_server.upload_image(folder / f"photo_{number}.png")
    (folder / "torn.png").write_bytes((folder / "photo_0.png").read_bytes()[:200])
    (folder / "words.png").write_text("no picture")
    (folder / "empty.png").touch()
    (folder / "workflow.json").write_text(json.dumps(WORKFLOW))
    return Setup(folder, host_server)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Short: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """What is started meanwhile heeds Ctrl-C, as in a terminal.

    A shell without job control has Ctrl-C ignored in what it starts in the background, and nobody who is started so
    can be stopped by it, batch.py neither. A handler of ours, whichever, is the default again in what is started.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Listening:
    """A process that others can connect to, and the address at which."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    process: str

    @property
    def on_this_machine_alone(self) -> bool:
        return (getattr(self.address, "ipv4_mapped", None) or self.address).is_loopback


@dataclass
class Batch:
    """A running batch.py, in a group of its own as in a terminal. Its processes are those with its temporary folder."""

    setup: Setup
    output: Path
    rows: list[dict[str, str]]
    temporary: Path
    options: tuple[str, ...]

    def __enter__(self) -> Batch:
        jobs = self.setup.folder / f"{self.output.name}.csv"
        with jobs.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        self.log = (self.setup.folder / f"{self.temporary.name}.log").open("a+")
        command = [sys.executable, str(ROOT / "scripts" / "batch.py"), str(jobs), "--python", sys.executable]
        command += ["--workflow", str(self.setup.folder / "workflow.json"), "--output", str(self.output), *self.options]
        # Ray ends workers where other programs fill the memory of the machine, which is none of ours.
        variables = {**os.environ, "TMPDIR": str(self.temporary), "RAY_memory_monitor_refresh_ms": "0"}
        with heeding_ctrl_c():
            self.process = subprocess.Popen(
                command, env=variables, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        # Of a killed driver two processes of Ray's own end after a minute.
        alive = psutil.wait_procs(self.running(), timeout=100)[1]
        processes_left = {process: of(process, "cmdline") for process in alive}
        for process in processes_left:
            process.kill()
        assert list(processes_left.values()) == [], "it left processes behind"
        if self.process.returncode >= 0:
            assert list(self.temporary.glob("likeness*")) == [], "it left its workers' folders behind"

    def running(self) -> list[psutil.Process]:
        """All processes that it has started, whoever their parent is now."""
        running: list[psutil.Process] = []
        for process in psutil.process_iter():
            variables = of(process, "environ")
            if variables and variables.get("TMPDIR") == str(self.temporary):
                running.append(process)
        return running

    def host(self) -> psutil.Process:
        """A ComfyUI."""
        return next(process for process in self.running() if "--base-directory" in (of(process, "cmdline") or ()))

    def listening(self) -> list[Listening]:
        found: list[Listening] = []
        for process in self.running():
            for socket in of(process, "net_connections") or ():
                if socket.status == psutil.CONN_LISTEN:
                    found.append(Listening(ipaddress.ip_address(socket.laddr.ip), process.name()))
        return found

    def until_made(self, count: int) -> None:
        self._wait(lambda: len(made(self.output)) >= count, while_running=True)

    def end(self) -> int:
        self._wait(lambda: self.process.poll() is not None)
        assert "Traceback" not in self.log_text(), self.log_text()
        return self.process.returncode

    def _wait(self, until: Callable[[], bool], while_running: bool = False) -> None:
        give_up = time.monotonic() + 400
        while not until():
            ended = while_running and self.process.poll() is not None
            assert not ended and time.monotonic() < give_up, self.log_text()
            time.sleep(0.1)

    def log_text(self) -> str:
        self.log.seek(0)
        return self.log.read()


def of(process: psutil.Process, attribute: str) -> Any:
    """None of one that has ended."""
    with contextlib.suppress(psutil.Error):
        return getattr(process, attribute)()
    return None


def made(output: Path) -> list[dict[str, Any]]:
    """What the workers have listed, in lines that are whole."""
    entries: list[dict[str, Any]] = []
    for path in sorted((output / "done").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
    return entries


def good_and_all_rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Some that differ in their names alone; and these with one of each kind of error among them."""
    bad = [row(900 + number, **wrong) | {"name": name} for number, (name, wrong) in enumerate(BAD.items())]
    good = [row(number) for number in range(12)]
    good[4:4] = [row(number // 3, name=f"copy_{number}") for number in range(6)]
    return good, [*good[:9], *bad, *good[9:]]


def failed(output: Path) -> dict[str, str]:
    with (output / "failed.csv").open(newline="", encoding="utf-8-sig") as file:
        return {entry["name"]: entry["reason"] for entry in csv.DictReader(file)}


def check(setup: Setup, output: Path, rows: list[dict[str, str]], again: Sequence[str] = ()) -> None:
    """Exactly these pictures, each recorded once and that of the plain loop, and nothing beside them. again: rows that
    were made twice."""
    assert sorted(entry["name"] for entry in made(output)) == sorted([*again, *(cells["name"] for cells in rows)])
    pictures = {path.name for path in output.iterdir()} - {"done", "done.csv", "failed.csv", "index.html", ".lock"}
    assert pictures == {f"{cells['name']}.png" for cells in rows}
    for cells in rows:
        made_of_it = pixels((output / f"{cells['name']}.png").read_bytes())
        assert np.array_equal(made_of_it, pixels(setup.plainly(cells))), cells


@pytest.mark.thorough
@pytest.mark.parametrize("workers", WORKERS)
def test_nothing_is_lost_made_twice_or_open_to_the_network(
    workers: tuple[str, ...], setup: Setup, tmp_path: Path, temporary: Path
) -> None:
    """A worker ends, as a process of Ray's where there is one, else its ComfyUI, and then another hangs; rows of each
    kind of error are among the others, and some that differ in their names alone: ComfyUI makes nothing anew for those,
    and names a file that has been taken."""
    good, rows = good_and_all_rows()
    with Batch(setup, tmp_path / "out", rows, temporary, (*workers, "--row-limit", "20")) as batch:
        batch.until_made(2)
        if workers == ON_RAY:
            worker = batch.host().parent()
            assert worker and worker.pid != batch.process.pid
            worker.kill()
        else:
            batch.host().kill()
            batch.until_made(10)
            batch.host().suspend()
        listening = batch.listening()
        assert batch.end() == 1, batch.log_text()
        log = batch.log_text()
    check(setup, tmp_path / "out", good)
    assert f"Rows: {len(good)} done, {len(BAD)} failed, " in log.splitlines()[-1]
    assert log.splitlines()[-1].endswith(f" s per row. The pictures are in {tmp_path / 'out'}")
    if workers == ALONE:
        assert log.count("ComfyUI has ended or hung at a row, and gets others when it answers again: ") == 2
        assert log.count("ComfyUI makes rows again.") == 2
        assert "It was not done after 20 s" in log
    # Three of the bad rows have photos that cannot be read, and one fails in a node.
    assert f"{len(good) + 4} rows to make; 0 done earlier, {len(BAD) - 4} refused." in log
    assert "By the first rows: " in log
    of_ray = {"gcs_server", "raylet"} & {one.process for one in listening}
    if workers == ON_RAY:
        assert log.count(" has ended or hung at a row, and gets others when it answers again: ") == 1
        assert "raylet" not in log, "Ray's own pages"
        assert "Ray's dashboard: http://" in log
        assert of_ray == {"gcs_server", "raylet"}
    else:
        assert "Ray" not in log
        assert of_ray == set()
    assert [one for one in listening if not one.on_this_machine_alone] == []
    reasons = failed(tmp_path / "out")
    assert reasons.keys() == BAD.keys() and all(len(reason) > 20 for reason in reasons.values()), reasons
    assert reasons["no such photo"] == f"Photo.image is nobody.png, which is not in {setup.folder}. Nearest: words.png."


@pytest.mark.thorough
@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("workers", WORKERS)
def test_a_run_that_is_stopped_goes_on(
    workers: tuple[str, ...], stop_signal: signal.Signals, setup: Setup, tmp_path: Path, temporary: Path
) -> None:
    """Ctrl-C, as a service manager ends it, or killed; then one worker does the rest, and a row that has changed."""
    rows = [row(number) for number in range(20)]
    output = tmp_path / "out"
    with Batch(setup, output, rows, temporary, workers) as batch:
        batch.until_made(4)
        if stop_signal == signal.SIGKILL:
            batch.process.kill()
            batch.process.wait()
        else:
            # Ctrl-C meets all; of Ray's own processes one that is ended takes the others along.
            if stop_signal == signal.SIGINT:
                os.killpg(batch.process.pid, stop_signal)
            else:
                batch.process.send_signal(stop_signal)
            assert batch.end() == 128 + stop_signal
    recorded = [entry["name"] for entry in made(output)]
    before = {name: (output / f"{name}.png").stat().st_mtime_ns for name in recorded}
    assert 4 <= len(recorded) < len(rows)
    for cells in rows:
        if cells["name"] == recorded[0]:
            cells["Grain.seed"] = "99"
    with Batch(setup, output, rows, temporary, ("--workers", "1")) as batch:
        assert batch.end() == 0, batch.log_text()
    check(setup, output, rows, recorded[:1])
    assert [name for name in before if (output / f"{name}.png").stat().st_mtime_ns != before[name]] == recorded[:1]


@pytest.mark.thorough
def test_servers_that_run_already_make_the_rows_of_one_that_stops(
    setup: Setup, tmp_path: Path, temporary: Path
) -> None:
    """Photos go there, pictures come back, and nothing of ours waits in a server that is left."""
    good, rows = good_and_all_rows()
    other = HostServer(setup.server.host, Path(sys.executable), tmp_path / "other")
    with other:
        servers = ("--server", setup.server.url, "--server", other.url.removeprefix("http://"))
        with Batch(setup, tmp_path / "out", rows, temporary, servers) as batch:
            batch.until_made(4)
            other.stop()
            assert batch.end() == 1, batch.log_text()
            assert f"Rows: {len(good)} done, {len(BAD)} failed, " in batch.log_text().splitlines()[-1]
    check(setup, tmp_path / "out", good)
    assert {entry["made_by"].rpartition(", ")[2] for entry in made(tmp_path / "out")} == {
        f"{setup.server.host} of a server"
    }
    with Batch(setup, tmp_path / "stopped", [row(n) for n in range(50)], temporary, servers[:2]) as batch:
        batch.until_made(2)
        os.killpg(batch.process.pid, signal.SIGINT)
        assert batch.end() == 130
    queue = setup.server.get("/queue")
    assert [queue["queue_running"], queue["queue_pending"]] == [[], []]
