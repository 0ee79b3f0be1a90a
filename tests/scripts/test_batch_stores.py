"""batch.py with tables, photos and pictures in a store, on Ray, whatever ends meanwhile: every row is made once.

The workers write small files (tests/support/small_files.py); the store is moto's S3 server.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from batch import folders, rows
from batch import output as output_module
from batch.folders import StoreFolder, folder_of
from batch.output import Measuring, Output, PictureWriter, Task, size_kept
from batch.rows import Row
from environment import ROOT, SetupError
from saved_files import saved
from shared.given_files import Unreadable

pytest.importorskip("psutil")
pytest.importorskip("s3fs", reason="the store of these tests is s3fs and moto")
pytest.importorskip("moto", reason="the store of these tests is s3fs and moto")

import fsspec
import psutil
import s3fs

SCRIPT = ROOT / "tests" / "support" / "small_files.py"
START = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
WAIT_SECONDS = 400


@dataclass
class Store:
    """A server of S3 in a process of its own, which holds all in its memory, with a bucket called `bucket`."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def files(self) -> s3fs.S3FileSystem:
        return s3fs.S3FileSystem(endpoint_url=self.url, use_listings_cache=False, skip_instance_cache=True)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        port = 20000 + os.getpid() % 20000
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        server = Store(port, process)
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**keys, "AWS_ENDPOINT_URL": server.url}.items():
            patch.setenv(name, value)
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                server.files().mkdir("bucket")
                break
            except OSError:
                assert time.monotonic() < give_up
                time.sleep(0.2)
        yield server
        process.kill()
        process.wait()


def test_a_table_and_photos_in_a_store(store: Store) -> None:
    files = store.files()
    files.pipe({"bucket/in/jobs.csv": b"name,Photo\na,Set/x.png\n", "bucket/in/Set/x.png": b"1"})
    parent, name = os.path.split("s3://bucket/in/jobs.csv")
    folder = folder_of(parent)
    assert folder.is_there()
    table = rows.read(folder, name)
    files.pipe("bucket/in/jobs.csv", b"name\nof somebody who writes meanwhile\n")
    (row,) = rows.rows(table, lambda _: True)
    assert folder.read(row.cells["Photo"], 10) == b"1"
    assert sorted(folder.names) == ["Set/x.png", "jobs.csv"]
    stamp = folder.stamp("Set/x.png")
    files.pipe("bucket/in/Set/x.png", b"2")
    folders._stamps.cache_clear()
    assert folder.stamp("Set/x.png") not in ("", stamp)
    assert folder.stamp("Set/y.png") == ""
    assert pickle.loads(pickle.dumps(folder)).read("Set/x.png", 1) == b"2"
    for size in (None, 1, 0):  # as it is asked for, as it was listed, and as a shorter file was
        with pytest.raises(Unreadable, match="is too long: at most 0 bytes"):
            folder.read("Set/x.png", 0, size)
    assert not folder_of("s3://bucket/nothing").is_there()
    for ask in (StoreFolder.is_there, lambda folder: rows.read(folder, "jobs.csv")):
        with pytest.raises(SetupError, match=r"^nowhere://bucket is opened by .* -m pip install fsspec s3fs"):
            ask(folder_of("nowhere://bucket"))


@pytest.mark.parametrize(
    "address", ["memory://run [v2]", "memory://run*?", "memory://2026-[11]/{a,b}", "memory://a#b%5B"]
)
def test_an_address_is_a_name_and_no_pattern(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(address)
    for name in ("done/1.jsonl", "done/[2]*.jsonl"):
        folder.write(name, b"{}\n")
    assert list(folder.lines(["done/[2]*.jsonl", "done/1.jsonl"])) == [b"{}", b"{}"]
    assert sorted(folder.sizes("done")) == ["1.jsonl", "[2]*.jsonl"]
    assert sorted(folder.names) == ["done/1.jsonl", "done/[2]*.jsonl"]
    assert folder.stamp("done/[2]*.jsonl")
    assert folder.read("done/[2]*.jsonl", 3) == folder.copied("done/[2]*.jsonl").read_bytes() == b"{}\n"
    folder.remove("done/[2]*.jsonl")
    with pytest.raises(SetupError, match=f"^{re.escape(folder.place('done/[2]*.jsonl'))} cannot be read: "):
        list(folder.lines(["done/[2]*.jsonl"]))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(folder._files), "ls", refused)
    with pytest.raises(SetupError, match=f"^{re.escape(folder.place('done'))} cannot be read: Permission denied"):
        Output(folder)


def test_pictures_in_a_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.StoreList, "MOST_LINES", 3)
    monkeypatch.setattr(output_module, "_FAILED_SECONDS", 0)
    monkeypatch.setattr(output_module, "_MOST_OF_A_RUN", math.inf)
    folder = folder_of("s3://bucket/out")

    def task(number: int) -> Task:
        return Task(Row(number, f"row{number}", {}), "made so")

    def done(output: Output) -> list[bool]:
        return [output.has(rows.key_of(f"row{number}"), "made so") for number in range(8)]

    output = Output(folder)
    output.begin()
    writer = PictureWriter(folder, "1")
    for number in range(5):
        writer.keep(task(number), [saved(b"1")], 1.0)
    assert size_kept(folder, "1", task(4)) == 1
    assert size_kept(folder, "1", task(5)) is None
    again = PictureWriter(folder, "1")
    again.keep(task(5), [saved(b"1")], 1.0, Measuring(), [{"person": "Anna"}])
    output.refuse(Row(6, "row6", {}), "no")
    output.refuse(Row(7, "row7", {}), "no")
    assert b"6,row6,no\r\n" in store.files().cat("bucket/out/failed.csv"), "while it runs"
    output.close()
    assert store.files().cat("bucket/out/failed.csv").endswith(b"7,row7,no\r\n")
    store.files().rm_file("bucket/out/row2.png")
    output = Output(folder)
    output.begin()
    assert done(output) == [True, True, False, True, True, True, False, False]
    assert output.free_bytes is None
    output.close()
    assert sorted(store.files().ls("bucket/out/done", detail=False)) == [
        f"bucket/out/done/1.0000{number}.jsonl" for number in range(3)
    ]
    names = [line["name"] for line in csv.DictReader(io.StringIO(store.files().cat("bucket/out/done.csv").decode()))]
    assert sorted(names) == [f"row{number}" for number in range(6)]
    assert b"Anna" in store.files().cat("bucket/out/likeness.csv")


class CountingFolder(StoreFolder):
    """A folder in this process's memory. lists: how many bytes each write of a list had."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.lists: list[int] = []

    def write(self, name: str, data: bytes) -> None:
        super().write(name, data)
        if name.startswith("done/"):
            self.lists.append(len(data))


def test_what_lists_in_a_store_cost() -> None:
    """No list grows with the run, and each row writes one."""
    folder = CountingFolder("memory://lists")
    Output(folder).begin()
    writer = PictureWriter(folder, "1")
    task = Task(Row(2, "one", {}), "made so")
    for number in range(1000):
        writer.keep(replace(task, row=replace(task.row, name=f"row{number}")), [saved(b"1")], 1.0)
    kept = sum(folder.sizes("done").values())
    assert len(folder.lists) == 1000
    assert sum(folder.lists) / kept == pytest.approx(100.5, rel=0.05)


def test_a_store_that_does_not_answer_is_asked_again_if_it_has_before(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = StoreFolder("s3://bucket/out")
    away._files.fs.connect_timeout = 1
    away._files.fs.retries = 0
    for has_answered in (False, True):
        away._has_answered = has_answered
        with pytest.raises(OSError, match="s3://bucket/out does not answer"):
            away.write("x", b"1")
        assert ("is asked again" in capsys.readouterr().err) == has_answered
        monkeypatch.setattr(folders, "STORE_SECONDS", 1)
    s3fs.S3FileSystem.clear_instance_cache()  # this one, which other tests would be given


# --- Whatever ends


def processes_of(temporary: str, *names: str) -> list[psutil.Process]:
    """Those with this temporary folder whose command lines have one of these names."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.environ().get("TMPDIR") == temporary and any(name in line for name in names):
                found.append(process)
        except psutil.Error:
            continue
    return found


class Trial:
    """small_files.py in a group of its own. Its processes are those with its temporary folder."""

    def __init__(self, log: Path, *arguments: str, script: Path = SCRIPT) -> None:
        self.temporary = tempfile.mkdtemp(prefix="trial-", dir="/tmp")  # Ray's sockets want it short
        self.log = log
        # Ray ends workers where other programs fill the memory of the machine, which is none of ours.
        variables = {**os.environ, "TMPDIR": self.temporary, "RAY_memory_monitor_refresh_ms": "0"}
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(script), *arguments],
                stdout=file,
                stderr=file,
                env=variables,
                start_new_session=True,
            )

    def running(self, *names: str) -> list[psutil.Process]:
        return processes_of(self.temporary, *names)

    def until(self, is_so: Any, while_running: bool = True) -> None:
        give_up = time.monotonic() + WAIT_SECONDS
        while not is_so():
            assert time.monotonic() < give_up, self.log.read_text()
            assert not while_running or self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)

    def end(self) -> int:
        self.until(lambda: self.process.poll() is not None, while_running=False)
        for process in self.running(""):
            process.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)
        return self.process.returncode


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux names them")
def test_two_workers_on_ray_make_each_row_once(tmp_path: Path) -> None:
    """And one worker without Ray, which goes on with that folder, makes none."""
    pytest.importorskip("ray")
    made = tmp_path / "made"
    arguments = (str(tmp_path / "jobs.csv"), str(made))

    def listed() -> list[str]:
        return [json.loads(line)["name"] for path in (made / "done").iterdir() for line in path.open() if line.strip()]

    for number, options in enumerate((("--workers", "2", "--make", "50", "--seconds", "0.02"), ("--workers", "1"))):
        log = tmp_path / f"{number}.txt"
        assert Trial(log, *arguments, *options).end() == 0, log.read_text()
        assert sorted(listed()) == sorted(f"row{row}" for row in range(50))
        pictures = {path.stem: path.read_text() for path in made.glob("*.txt")}
        assert pictures == {f"row{row}": str(row) for row in range(50)}
        assert f"] {0 if number else 50} rows in " in log.read_text()


ASKED = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "scripts")!r})
from batch.one_worker import WorkerSettings
from batch import ray_workers
from batch.ray_workers import HERE, RayWorkers
import environment

asked, ends, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if seconds:
    ray_workers._QUIET_SECONDS = 1

class Worker:
    name = version = "small"
    def start(self): time.sleep(seconds)
    def stop(self): pass
    def clear(self): pass
    def object_info(self):
        with open(asked, "a+") as file:
            file.write("asked ")
        if open(asked).read().count("asked") <= ends:
            os._exit(1)
        return {{"Text": {{}}}}

class Settings(WorkerSettings):
    def worker(self, number): return Worker()

def main():
    with RayWorkers(HERE, 1, Settings(), "small", "/place") as workers:
        print(workers.object_info(), file=sys.stderr)
    return 0

environment.run(main)
"""
"""So many workers end when they are asked for their nodes, and the next one answers. A worker takes so many seconds to
start."""
WAITS = "0 of 1 workers have started."


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux names them")
@pytest.mark.parametrize(
    ("ends", "seconds", "status", "words"),
    [
        (1, 0, 0, "{'Text': {}}"),
        (9, 0, 1, "2 workers ended when they were asked for their nodes. The last: "),
        (0, 6, 0, WAITS),
    ],
)
def test_a_worker_that_ends_when_it_is_asked_for_its_nodes_or_starts_late(
    ends: int, seconds: int, status: int, words: str, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    script = tmp_path / "asked.py"
    script.write_text(ASKED)
    log = tmp_path / "log.txt"
    assert Trial(log, str(tmp_path / "asked"), str(ends), str(seconds), script=script).end() == status, log.read_text()
    assert words in log.read_text()
    assert log.read_text().count(WAITS) == (1 if seconds else 0)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux names them")
def test_machines_join_a_cluster_and_leave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nodes of Ray's, of which two are said to have a GPU each and join later. Each gets a worker, nothing else
    does, and the last makes the rows of the other that is lost."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    temporary = tempfile.mkdtemp(prefix="trial-", dir="/tmp")
    # Ray writes the cluster's address into the folder "ray" of this one, which it does not make.
    monkeypatch.setenv("RAY_TMPDIR", temporary)
    Path(temporary, "ray").mkdir()
    jobs = Jobs(str(tmp_path), 1500)
    log = tmp_path / "log.txt"
    cluster = cluster_utils.Cluster(True, head_node_args={"num_cpus": 1, "num_gpus": 0, "temp_dir": temporary})
    trial: Trial | None = None
    try:
        arguments = (f"{tmp_path}/jobs.csv", f"{tmp_path}/made", "--address", cluster.address, "--seconds", "0.02")
        trial = Trial(log, *arguments)
        trial.until(lambda: "The cluster has no GPU yet" in log.read_text())
        first = cluster.add_node(num_cpus=1, num_gpus=1)
        trial.until(lambda: jobs.made(0.01))
        assert len(list((tmp_path / "made" / "done").iterdir())) == 1
        cluster.add_node(num_cpus=1, num_gpus=1)
        trial.until(lambda: len(list((tmp_path / "made" / "done").iterdir())) == 2)
        cluster.remove_node(first, allow_graceful=False)
        assert trial.end() == 0, log.read_text()
    finally:
        if trial:
            trial.process.kill()
        cluster.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)
    assert "has ended or hung at a row, and gets others when it answers again: " in log.read_text()
    assert sorted(jobs.names()) == sorted(f"row{number}" for number in range(jobs.count)), "each is listed once"
    assert len(jobs.pictures()) == jobs.count


class Jobs:
    """A table of so many rows in a folder or a store, and what is made of it in the folder `made` beside it."""

    def __init__(self, root: str, count: int) -> None:
        self.count = count
        self.files, self._folder = fsspec.core.url_to_fs(root, use_listings_cache=False)
        lines = "".join(f"row{number},{number}\n" for number in range(count))
        self.files.pipe_file(f"{self._folder}/jobs.csv", f"name,Seed\n{lines}".encode())

    def names(self) -> list[str]:
        """Of the rows that the lists have."""
        try:
            lists = self.files.cat(self.files.ls(f"{self._folder}/made/done", detail=False))
        except (OSError, ValueError):
            return []
        found: list[str] = []
        for data in lists.values():
            for line in data.splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line)["name"])
        return found

    def made(self, share: float) -> bool:
        return len(self.names()) >= share * self.count

    def pictures(self) -> dict[str, bytes]:
        return self.files.cat([path for path in self.files.find(f"{self._folder}/made") if path.endswith(".txt")])

    def failed(self) -> list[dict[str, str]]:
        text = self.files.cat_file(f"{self._folder}/made/failed.csv").decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux names them")
@pytest.mark.parametrize(("is_local", "count", "seconds"), [(True, 2000, 0.01), (False, 1000, 0.05)])
def test_whatever_ends_every_row_is_made_once(
    store: Store, tmp_path: Path, is_local: bool, count: int, seconds: float
) -> None:
    """A worker, the store for a while, Ray's own process of the machine, and the driver; one row ends its worker each
    time."""
    pytest.importorskip("ray")
    root = str(tmp_path) if is_local else "s3://bucket/whatever"
    jobs = Jobs(root, count)
    arguments = (f"{root}/jobs.csv", f"{root}/made", "--workers", "2", "--seconds", f"{seconds}", "--deadly", "77")
    log = tmp_path / "log.txt"

    trial = Trial(log, *arguments)
    trial.until(lambda: jobs.made(0.1))
    trial.running("ray::Actor")[0].kill()
    trial.until(lambda: jobs.made(0.25))
    if not is_local:
        os.kill(store.process.pid, signal.SIGSTOP)
        time.sleep(20)
        os.kill(store.process.pid, signal.SIGCONT)
    trial.until(lambda: jobs.made(0.4))
    trial.process.kill()
    trial.end()
    trial = Trial(log, *arguments)
    trial.until(lambda: jobs.made(0.6))
    for process in trial.running("raylet/raylet"):
        process.kill()
    trial.end()
    trial = Trial(log, *arguments)
    assert trial.end() == 0, log.read_text()
    expected = [f"row{number}" for number in range(count) if number != 77]
    assert sorted(jobs.names()) == sorted(expected), "each is listed once"
    pictures = jobs.pictures()
    assert len(pictures) == len(expected)
    assert all(data == path[:-4].rpartition("row")[2].encode() for path, data in pictures.items())
    (failed,) = jobs.failed()
    assert failed["name"] == "row77"
    assert failed["reason"].startswith("2 workers ended or hung at this row. The last: Worker ")
