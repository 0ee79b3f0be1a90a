"""Two hundred rows over two workers, and what may happen to them: nothing is lost, nothing is made twice, and every
picture is the one that a plain loop over one ComfyUI makes. With -s the figures of docs/many_pictures.md are printed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from batch.inputs import Template
from batch.output import Output
from batch.rows import Row
from batch.workers import Crew, on_ray
from environment import Host
from PIL import Image
from rig.host_server import HostServer
from rig.standins import Standins

pytest.importorskip("ray", reason="batch.py hands rows to several workers with it")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux names them"),
]

ROOT = Path(__file__).resolve().parents[2]
ROWS, PHOTOS = 200, 8
POISON = "poison"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def workflow(checkpoint: str) -> dict[str, Any]:
    """A photo drawn over by SD1.5 at its real shapes, 64 px, one step: some 0.2 s of one core."""
    size = {"upscale_method": "area", "width": 64, "height": 64, "crop": "center"}
    drawn = {"seed": 0, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5}
    drawn |= {"positive": ["Prompt", 0], "negative": ["Prompt", 0], "latent_image": ["Seen", 0]}
    inputs = {
        "Model": ("CheckpointLoaderSimple", {"ckpt_name": checkpoint}),
        "Photo": ("LoadImage", {"image": "none.png"}),
        "Size": ("ImageScale", {"image": ["Photo", 0], **size}),
        "Seen": ("VAEEncode", {"pixels": ["Size", 0], "vae": ["Model", 2]}),
        "Prompt": ("CLIPTextEncode", {"text": "", "clip": ["Model", 1]}),
        "Draw": ("KSampler", {"model": ["Model", 0], **drawn}),
        "Picture": ("VAEDecode", {"samples": ["Draw", 0], "vae": ["Model", 2]}),
        "Save": ("SaveImage", {"images": ["Picture", 0], "filename_prefix": "trial"}),
    }
    return {
        key: {"class_type": kind, "inputs": given, "_meta": {"title": key}} for key, (kind, given) in inputs.items()
    }


COLUMNS = ("name", "Photo.image", "Prompt.text", "Draw.seed", "Draw.steps", "Draw.sampler_name", "Size.width")
BAD = {
    "no number": {"Draw.seed": "many"},
    "too small": {"Draw.steps": "0"},
    "not in the menu": {"Draw.sampler_name": "eular"},
    "no such photo": {"Photo.image": "nobody.png"},
    "outside": {"Photo.image": "../photo_0.png"},
    "no picture": {"Photo.image": "words.png"},
    "empty file": {"Photo.image": "empty.png"},
    "fails in a node": {"Size.width": "4"},
    "../up": {},
}
"""Name -> what is wrong with that row, in one cell or in the name."""


def row(number: int) -> dict[str, str]:
    photo, prompt = f"photo_{number % PHOTOS}.png", f"a person in street {number // 20}"
    return {"name": f"row_{number:03}", "Photo.image": photo, "Prompt.text": prompt, "Draw.seed": str(number)}


@dataclass(frozen=True)
class Setup:
    """folder: with photos and the workflow. made: by a row's cells its picture, as a plain loop makes it."""

    folder: Path
    models: Path
    prompt: dict[str, Any]
    server: HostServer
    made: dict[str, np.ndarray] = field(default_factory=dict)

    def alone(self, cells: Mapping[str, str]) -> np.ndarray:
        key = json.dumps({column: cell for column, cell in cells.items() if column != "name"})
        if key not in self.made:
            self.made[key] = pixels(plainly(self.server, self.prompt, cells))
        return self.made[key]


@pytest.fixture(scope="module")
def setup(host_server: HostServer, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder, rng = tmp_path_factory.mktemp("jobs"), np.random.default_rng(0)
    for number in range(PHOTOS):
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(folder / f"photo_{number}.png")
        host_server.upload_image(folder / f"photo_{number}.png")
    (folder / "words.png").write_text("no picture")
    (folder / "empty.png").touch()
    prompt = workflow(standin_models.sd15.name)
    (folder / "workflow.json").write_text(json.dumps(prompt))
    return Setup(folder, standin_models.root, prompt, host_server)


def plainly(server: HostServer, prompt: dict[str, Any], cells: Mapping[str, str]) -> bytes:
    """One turn of the loop that a handful of lines would do: fill in, post, wait, read."""
    filled = json.loads(json.dumps(prompt))
    for column, cell in cells.items():
        if column != "name":
            node, name = column.split(".")
            filled[node]["inputs"][name] = int(cell) if cell.isdigit() else cell
    path = server.file(server.run(filled).outputs["Save"]["images"][0])
    return path.read_bytes()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Short: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Batch:
    """A running batch.py, and all processes that it has ever had."""

    setup: Setup
    output: Path
    rows: list[dict[str, str]]
    temporary: Path
    workers: int = 2
    seen: dict[int, psutil.Process] = field(default_factory=dict)

    def __enter__(self) -> Batch:
        jobs = self.setup.folder / f"{self.output.name}.csv"
        with jobs.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        self.log = (self.setup.folder / f"{self.temporary.name}.log").open("a+")
        command = [sys.executable, str(ROOT / "scripts" / "batch.py"), str(jobs), "--python", sys.executable]
        command += ["--workflow", str(self.setup.folder / "workflow.json"), "--models", str(self.setup.models)]
        command += ["--output", str(self.output), "--workers", str(self.workers)]
        variables = {**os.environ, "TMPDIR": str(self.temporary), "RAY_USAGE_STATS_ENABLED": "0"}
        self.process = subprocess.Popen(command, env=variables, stdout=self.log, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        self.process.kill()
        self.process.wait()
        self.log.close()
        # Of a killed driver two processes of Ray's own end after a minute.
        left = {process: line(process) for process in psutil.wait_procs(self.seen.values(), timeout=100)[1]}
        for process in left:
            process.kill()
        assert list(left.values()) == [], "it left processes behind"
        if self.process.returncode >= 0:
            assert list(self.temporary.glob("likeness*")) == [], "it left its workers' folders behind"

    def look(self) -> list[psutil.Process]:
        """All processes of it that run."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen |= {process.pid: process for process in found}
        return found

    def hosts(self) -> dict[psutil.Process, str]:
        """Each ComfyUI, and its address."""
        commands = {process: command for process in self.look() if "--base-directory" in (command := line(process))}
        return {process: f"http://127.0.0.1:{c[c.index('--port') + 1]}" for process, c in commands.items()}

    def until(self, done: Callable[[], bool], seconds: float = 400) -> None:
        give_up = time.monotonic() + seconds
        while not done():
            self.look()
            assert self.process.poll() is None and time.monotonic() < give_up, self.said()
            time.sleep(0.05)

    def until_made(self, count: int) -> None:
        self.until(lambda: len(made(self.output)) >= count)

    def end(self, seconds: float = 400) -> int:
        give_up = time.monotonic() + seconds
        while self.process.poll() is None:
            self.look()
            assert time.monotonic() < give_up, self.said()
            time.sleep(0.2)
        return self.process.returncode

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()


def line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def made(output: Path) -> list[dict[str, str]]:
    """The lines of done.csv that are whole."""
    try:
        text = (output / "done.csv").read_text("utf-8-sig")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))


def failed(output: Path) -> dict[str, str]:
    with (output / "failed.csv").open(newline="", encoding="utf-8-sig") as file:
        return {entry["name"]: entry["reason"] for entry in csv.DictReader(file)}


def check(setup: Setup, output: Path, rows: list[dict[str, str]]) -> None:
    """Exactly these pictures, each recorded once and that of the plain loop, and nothing beside them."""
    assert sorted(entry["name"] for entry in made(output)) == sorted(cells["name"] for cells in rows)
    pictures = {path.name for path in output.iterdir()} - {"done.csv", "failed.csv", ".lock"}
    assert pictures == {f"{cells['name']}.png" for cells in rows}
    for cells in rows:
        assert np.array_equal(pixels((output / f"{cells['name']}.png").read_bytes()), setup.alone(cells)), cells


def test_two_hundred_rows_while_workers_are_killed(setup: Setup, tmp_path: Path, temporary: Path) -> None:
    """One as a process of Ray's, another loses its ComfyUI; rows of each kind of error are among the others."""
    bad = [{**row(900 + number), **wrong, "name": name} for number, (name, wrong) in enumerate(BAD.items())]
    good = [row(number) for number in range(ROWS)]
    with Batch(
        setup, tmp_path / "out", [*good[:50], *bad[:5], *good[50:120], *bad[5:], *good[120:]], temporary
    ) as batch:
        batch.until_made(30)
        first = next(iter(batch.hosts())).parent()
        assert first and first.pid != batch.process.pid
        first.kill()
        batch.until_made(100)
        next(iter(batch.hosts())).kill()
        assert batch.end() == 1, batch.said()
    check(setup, tmp_path / "out", good)
    assert len({setup.alone(cells).tobytes() for cells in good}) == ROWS, "pictures that are alike tell nothing"
    reasons = failed(tmp_path / "out")
    assert reasons.keys() == BAD.keys() and all(len(reason) > 20 for reason in reasons.values()), reasons


def test_rows_that_differ_in_their_names_alone(setup: Setup, tmp_path: Path, temporary: Path) -> None:
    """ComfyUI makes nothing anew for them, and the file that it names may be another row's by then."""
    rows = [{**row(number % 3), "name": f"copy_{number:02}"} for number in range(24)]
    with Batch(setup, tmp_path / "out", rows, temporary, workers=1) as batch:
        assert batch.end() == 0, batch.said()
    check(setup, tmp_path / "out", rows)


def test_the_driver_is_killed_and_goes_on(setup: Setup, tmp_path: Path, temporary: Path) -> None:
    rows = [row(number) for number in range(40)]
    with Batch(setup, tmp_path / "out", rows, temporary) as batch:
        batch.until_made(20)
        batch.process.kill()
        batch.process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert 20 <= len(before) < len(rows)
    recorded = {entry["name"] for entry in made(tmp_path / "out")}
    with Batch(setup, tmp_path / "out", rows, temporary) as batch:
        assert batch.end() == 0, batch.said()
    check(setup, tmp_path / "out", rows)
    again = [path.stem for path, written in before.items() if path.stat().st_mtime_ns != written]
    assert recorded.isdisjoint(again), "made twice"


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can mount a small disk")
def test_a_full_disk(setup: Setup, tmp_path: Path, temporary: Path) -> None:
    rows = [row(number) for number in range(60)]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with Batch(setup, disk / "out", rows, temporary) as batch:
            assert batch.end() == 1
            assert "is full" in batch.said() and "Traceback" not in batch.said(), batch.said()
        done = {entry["name"] for entry in made(disk / "out")}
        assert 0 < len(done) < len(rows)
        check(setup, disk / "out", [cells for cells in rows if cells["name"] in done])
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        with Batch(setup, disk / "out", rows, temporary) as batch:
            assert batch.end() == 0, batch.said()
        check(setup, disk / "out", rows)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_row_that_kills_three_workers_is_set_aside(setup: Setup, tmp_path: Path, temporary: Path) -> None:
    rows = [row(number) for number in range(40)]
    poisoned = {**row(0), "name": "poisoned", "Prompt.text": POISON, "Draw.steps": "200"}
    with Batch(setup, tmp_path / "out", [*rows[:10], poisoned, *rows[10:]], temporary) as batch:
        deaths, stop = [], threading.Event()
        watcher = threading.Thread(target=lambda: deaths.extend(kill_where_poison_runs(batch, stop)))
        watcher.start()
        try:
            status = batch.end()
        finally:
            stop.set()
            watcher.join()
        assert status == 1, batch.said()
    check(setup, tmp_path / "out", rows)
    assert len(deaths) == 3
    assert failed(tmp_path / "out").keys() == {"poisoned"} and "3 workers" in failed(tmp_path / "out")["poisoned"]


def kill_where_poison_runs(batch: Batch, stop: threading.Event) -> Iterator[int]:
    """Each ComfyUI in which the row runs, as a card's driver would that does not survive it."""
    while not stop.wait(0.05):
        for process, address in batch.hosts().items():
            try:
                running = json.loads(_DIRECT(f"{address}/queue", timeout=2).read())["queue_running"]
            except OSError:
                continue
            if POISON in json.dumps(running):
                process.kill()
                process.wait()
                yield process.pid


BLOCK, ROUNDS = 10, 8
STEPS = {"Draw.steps": "24"}
"""Some 0.3 s a row, as the quickest that somebody would wait for."""


def test_what_a_row_costs_beside_a_plain_loop(setup: Setup, host: Host, tmp_path: Path) -> None:
    """The same rows in turns, in blocks: one ComfyUI posted to by a plain loop that writes its pictures, and one worker
    whose pictures come into a folder. The medians of the blocks' ratios, of time and of the CPU seconds of all
    that each of them needs, Ray's own processes too; from run to run they differ by 0.1."""
    columns = [column for column in COLUMNS if column in {*row(0), *STEPS} - {"name"}]
    template = Template(setup.folder / "workflow.json", setup.server.object_info(), columns, setup.folder, setup.folder)
    output, plain = Output(tmp_path / "out"), tmp_path / "plain"
    plain.mkdir()
    ratios, spent = [], {"plain": Spent(), "batch": Spent()}
    with Crew(*on_ray(None, 1, [str(setup.models)]), host) as workers:
        workers.object_info()
        for number in range(1000, 1000 + BLOCK * ROUNDS, BLOCK):
            rows = [{**row(one), **STEPS} for one in range(number, number + BLOCK)]
            jobs = (template.job(Row(0, cells["name"], {c: cells[c] for c in columns})) for cells in rows)
            with spent["plain"].more(only=setup.server.url):
                for cells in rows:
                    (plain / f"{cells['name']}.png").write_bytes(plainly(setup.server, setup.prompt, cells))
            with spent["batch"].more(but=setup.server.url):
                for job, result in workers.made(jobs):
                    output.keep(job, result.files, result.seconds)
    first, second = spent["plain"], spent["batch"]
    ratios = [ours / theirs for ours, theirs in zip(second.cpu[1:], first.cpu[1:], strict=True)]
    wall = [ours / theirs for ours, theirs in zip(second.wall[1:], first.wall[1:], strict=True)]
    sys.stderr.write(f"plain {first} batch {second} ratios {ratios} wall {wall}\n")
    assert statistics.median(wall) <= 1.15 and statistics.median(ratios) <= 1.2
    assert pictures_of(plain) == pictures_of(tmp_path / "out")


def pictures_of(folder: Path) -> dict[str, bytes]:
    return {path.name: pixels(path.read_bytes()).tobytes() for path in folder.glob("*.png")}


@dataclass
class Spent:
    """Seconds per row of each block."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def more(self, only: str = "", but: str = "") -> Iterator[None]:
        """only, but: the address of a ComfyUI, of all processes below this one."""
        begun, before = time.monotonic(), cpu_seconds(only, but)
        yield
        self.wall.append((time.monotonic() - begun) / BLOCK)
        self.cpu.append((cpu_seconds(only, but) - before) / BLOCK)


def cpu_seconds(only: str, but: str) -> float:
    total = 0.0
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            address = command[command.index("--port") + 1] if "--port" in command else ""
            counted = address == only.rsplit(":")[-1] if only else not but or address != but.rsplit(":")[-1]
            if counted or process == this:
                total += sum(process.cpu_times()[:2])
    return total
