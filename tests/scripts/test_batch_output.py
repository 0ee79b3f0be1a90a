"""The folder that batch.py fills, and a run over a table: what is done, what fails, parts, going on; no host."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from batch import locks, page, rows
from batch import output as output_module
from batch.beside import Beside, BesideWriter
from batch.faults import Finished
from batch.folders import Folder
from batch.maker import Maker
from batch.one_worker import OneWorker, WorkerSettings
from batch.output import Measuring, Output, PictureWriter, Task, disk_errors_told, size_kept
from batch.page import Again
from batch.prompts import Job
from batch.ray_workers import HERE, RayWorkers
from batch.rows import Row
from batch.run import Run, last_line
from batch.temporary import temporary_folder
from batch.worker import Outcome, SavedFile
from batch_pages import row_named, told
from environment import ROOT, SetupError
from saved_files import saved
from shared.tables import as_cell
from systems import posix


def task(name: str = "one", seed: int = 1, line: int = 2) -> Task:
    return Task(Row(line, name, {}), f"of seed {seed}")


@contextmanager
def opened(
    folder: Path,
    worker: str = "1",
    measuring: Measuring | None = None,
    kind: type[Folder] = Folder,
    part: rows.Part | None = None,
    only: Sequence[str] = (),
    moved_seeds: int | None = None,
) -> Iterator[tuple[Output, PictureWriter]]:
    output = Output(kind(str(folder)), measuring, part, only, moved_seeds)
    output.begin(Again("python batch.py", has_seeds=True))
    writer = PictureWriter(output.folder, worker, f"Likeness of run {worker}", moved_seeds or 0)
    yield output, writer
    writer.close()  # as the end of its process does
    output.close()


def has(output: Output, *tasks: Task) -> list[bool]:
    return [output.has(rows.key_of(one.row.name), one.fingerprint) for one in tasks]


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock", "done.csv", "failed.csv", "done", "index.html"}


def test_the_folder_says_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with opened(folder, "1") as (output, writer):
        assert has(output, task()) == [False]
        writer.keep(task(), [saved(b"1"), saved(b"2")], 1.0)
        writer.keep(task("other"), [saved(b"3", ".webp")], 1.0)
        writer.keep(task("far", line=4000), [saved(b"4")], 1.0)
    with (folder / "done" / "1.jsonl").open("a") as file:
        file.write('{"name": "torn", "fing')  # as a worker leaves it that is killed while it writes
    assert names(folder) == {"one_1of2.png", "one_2of2.png", "other.webp", "00004"}
    with opened(folder, "2") as (output, writer):
        assert has(output, task(), task(seed=2), task("far", line=4000), task("torn")) == [True, False, True, False]
        assert (output.earlier.count, output.earlier.size, output.earlier.smallest_size) == (3, 4, 1)
        writer.keep(task(seed=2), [saved(b"5")], 1.0)
    assert names(folder) == {"one.png", "other.webp", "00004"}
    assert (folder / "one.png").read_bytes() == b"5"
    (folder / "other.webp").unlink()
    (folder / "00004" / "far.png").write_bytes(b"more than was written")
    with opened(folder, "3") as (output, _):
        assert has(output, task(seed=2), task(), task("other"), task("far")) == [True, False, False, False]
    assert sorted(line[1] for line in table(folder / "done.csv")) == ["far", "name", "one", "other"]
    assert ["4000", "far", "of seed 1", "00004/far.png", "1.0000"] in table(folder / "done.csv")


class Alike(Folder):
    """A folder on a disk that does not tell capitals."""

    def put(self, file: Path, name: str) -> None:
        super().put(file, name.lower())

    def remove(self, name: str) -> None:
        super().remove(name.lower())


@pytest.mark.parametrize("kind", [Folder, Alike])
@pytest.mark.parametrize("names_in_turn", [("Anna", "anna"), ("anna", "Anna")])
def test_a_row_whose_name_has_other_capitals_now_has_its_picture(
    tmp_path: Path, kind: type[Folder], names_in_turn: tuple[str, str]
) -> None:
    for number, name in enumerate(names_in_turn):
        with opened(tmp_path / "out", str(number), kind=kind) as (_, writer):
            writer.keep(task(name, seed=number), [saved(b"%d" % number)], 1.0)
    (picture,) = names(tmp_path / "out")
    assert (tmp_path / "out" / picture).read_bytes() == b"1"


def test_what_a_worker_has_made_before_it_ended_is_known(tmp_path: Path) -> None:
    with opened(tmp_path / "out", "1") as (output, writer):
        writer.keep(task(), [saved(b"123")], 1.0)
        assert size_kept(output.folder, "1", task()) == 3
        assert size_kept(output.folder, "1", task(seed=2)) is None
        assert size_kept(output.folder, "12", task()) is None


def test_a_row_is_done_only_if_it_is_measured_as_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path / "out", "1") as (_, writer):
        writer.keep(task(), [saved(b"1")], 1.0)
        line = {
            "set": "two",
            "picture": "two.png",
            "person": "Anna",
            "similarity": 0.5,
            "seed": 2**64 - 1,
            "kept": "yes",
        }
        writer.keep(task("two"), [saved(b"1")], 1.0, Measuring(2, "clip.pth"), [line])
    cases = [(None, True, True), (Measuring(), False, True), (Measuring(2), False, True), (Measuring(3), False, False),
             (Measuring(1, "clip.pth"), False, True), (Measuring(1, "other.pth"), False, False),
             (Measuring(2, "", 0.5), False, False), (Measuring(1, "", 0.5), False, True)]  # fmt: skip
    for number, (measuring, is_one_done, is_two_done) in enumerate(cases):
        with opened(tmp_path / "out", f"2{number}", measuring) as (output, _):
            assert has(output, task(), task("two")) == [is_one_done, is_two_done], measuring
    (_, written) = table(tmp_path / "out" / "likeness.csv")
    assert written[:3] == ["two", "two.png", "Anna"]
    assert written[8:9] == ["0.5000"]
    assert written[-2:] == [str(2**64 - 1), "yes"]


def test_a_list_has_what_a_run_writes_and_names_no_file_but_its_rows_own(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with opened(folder, "1"):
        pass
    for file in (tmp_path / "mine.txt", folder / "mine.txt", folder / "one.png"):
        file.touch()
    entry = {"line": 2, "name": "one", "fingerprint": "x", "seconds": 1, "tries": 0, "vision": ""}
    entries = [
        {**entry, "files": ["../mine.txt", "mine.txt"], "sizes": [0, 0]},
        {**entry, "files": ["one.png"], "sizes": [0]},
    ]
    changes = [
        {"name": "../mine", "files": ["../mine.txt"]}, {"name": 5, "files": ["5.png"]}, {"name": "\ud800"},
        {"files": [1]}, {"files": "one.png"}, {"files": ["one\0.png"]}, {"sizes": ["0"]}, {"sizes": [math.inf]},
        {"sizes": None}, {"seconds": "1"}, {"seconds": math.nan}, {"seconds": 10**400}, {"fingerprint": ["x"]},
        {"tries": "x"}, {"vision": None}, {"line": 5000}, {"line": "2"}, {"scores": 5}, {"scores": [5]},
        {"cells": 5}, {"cells": {"Prompt": [5]}}, {"beside": "x"}, {"beside": [5, ["a", "b"], ["a", "b", 5]]},
        {"beside": [["a", "c\0"], ["b", "javascript:alert(1)//"]]}, {"moved_seeds": -1}, {"moved_seeds": "x"},
    ]  # fmt: skip
    entries += [{**entries[1], **change} for change in changes]
    (folder / "done" / "1.jsonl").write_text("\n".join(map(json.dumps, entries)) + f"\n[]\n{{}}\n5\n{'[' * 10**5}\n")
    for number, measuring in enumerate((None, Measuring(2))):
        with opened(folder, f"2{number}", measuring):
            pass
    assert (tmp_path / "mine.txt").is_file()
    assert names(folder) == {"mine.txt", "one.png"}
    for change in [*changes, {"scores": [{"kept": "yes", "similarity": "x", "state": [], "person": {}}]}]:
        (folder / "done" / "1.jsonl").write_text(json.dumps({**entries[1], **change}))
        with opened(folder, "3"):
            pass
        for row in told(folder)["rows"]:
            assert row["pictures"] == [["one.png", "one.png"]]
            assert row["again"] == "--only=one --move-seeds=1"
            assert all(not address.startswith("javascript:") for _, address in row["beside"])


def test_a_run_that_is_refused_before_its_first_row_leaves_the_folder(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new" / "deep"
    with opened(old) as (output, _):
        output.refuse(Row(3, "three", {}), "no photo")
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    for folder in (old, new):
        output = Output(Folder(str(folder)))
        output.refuse(Row(2, "two", {}), "no seed")
        output.close()
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    assert not new.parent.exists()


def test_a_folder_is_one_runs_alone_and_all_machines_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "_LOCK_SECONDS", 0.1)
    with opened(tmp_path / "out"), pytest.raises(SetupError, match="Another run writes into"):
        Output(Folder(str(tmp_path / "out")))
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "one.png").write_bytes(b"mine")
    with pytest.raises(SetupError, match=r"has no folder done, but one\.png"):
        Output(Folder(str(tmp_path / "holiday")))
    assert names(tmp_path / "holiday") == {"one.png"}
    with pytest.raises(SetupError, match=r"is another folder on .*name one for --output that all machines reach"):
        PictureWriter(Folder(str(tmp_path / "holiday")), "1")


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_ours_is_a_formula(tmp_path: Path, text: str) -> None:
    with opened(tmp_path / "out") as (output, _):
        output.refuse(Row(3, text, {}), "+1 is\nno seed")
    assert table(tmp_path / "out" / "failed.csv") == [["line", "name", "reason"], ["3", f"'{text}", "'+1 is no seed"]]
    assert as_cell(f"a{text}") == f"a{text}"
    assert as_cell(-0.5) == "-0.5000"


def test_failed_rows_are_read_while_it_runs_and_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "_FAILED_SECONDS", 0)
    monkeypatch.setattr(output_module, "_MOST_OF_A_RUN", math.inf)
    with opened(tmp_path / "out") as (output, _):
        tracemalloc.start()
        for number in range(2000):
            output.refuse(Row(number, f"row{number}", {}), "no")
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert table(tmp_path / "out" / "failed.csv")[1:] == [[f"{row}", f"row{row}", "no"] for row in range(2000)]
        assert kept < 20_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is needed")
def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with opened(folder) as (output, writer):
        (folder / ".one.png.part").symlink_to("/dev/full")
        with (
            pytest.raises(
                SetupError, match=r"out cannot be written to .*: make room there, .* What was made so far is kept\."
            ),
            disk_errors_told(output.folder),
        ):
            writer.keep(task(), [saved(b"1")], 1.0)
        assert names(folder) == set()
        writer.keep(task(), [saved(b"1")], 1.0)
        assert names(folder) == {"one.png"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has another lock")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_locks(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network drive: one run goes on, and is told so once."""

    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    if code == errno.EIO:
        with pytest.raises(SetupError, match=f"cannot be written to .{os.strerror(code)}"):
            Output(Folder(str(tmp_path / "out")))
        return
    temporary_folder().cleanup()  # without a word: nobody takes it for abandoned
    Output(Folder(str(tmp_path / "out"))).close()
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'out'} has no locks ({os.strerror(code)}): let no second run use it" in said


_STARTED = (
    "import sys; from batch.temporary import temporary_folder; folder = temporary_folder(); "
    "open(folder.name + '/photo.png', 'wb'); print(folder.name, flush=True); sys.stdin.read()"
)
_CONTAINER = ("unshare", "--user", "--map-root-user", "--fork", "--kill-child", "--pid")


@posix
def test_a_temporary_folder_is_removed_when_its_process_has_ended_wherever_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two containers that share a disk one number is two processes. Where none can be made, on this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    has_containers = bool(shutil.which("unshare")) and not subprocess.run([*_CONTAINER, "true"], check=False).returncode
    command = [*(_CONTAINER if has_containers else ()), sys.executable, "-c", _STARTED]
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT)])
    variables = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().decode().strip())
        with temporary_folder() as first, temporary_folder() as second:
            assert {path.parent for path in (folder, Path(first), Path(second))} == {tmp_path}
            assert (folder / "photo.png").is_file()
            assert Path(first).is_dir()
        assert not Path(first).exists()
        process.kill()
        process.wait()  # before its input ends, at which it would begin to remove the folder itself
    give_up = time.monotonic() + 20
    while folder.exists() and time.monotonic() < give_up:  # who was killed ends a little later
        temporary_folder().cleanup()
    assert not list(tmp_path.iterdir())


class Plain:
    """A template whose rows are as their cells say."""

    def is_photo(self, column: str) -> bool:
        return column == "Photo"

    def fingerprint(self, row: Row) -> str:
        if row.problem:
            raise rows.BadRow(row.problem)
        return repr(sorted(row.cells.items()))

    def job(self, row: Row) -> Job:
        return Job(row, {}, {})


class Short:
    """A worker that makes rows at once, but for those that are called so."""

    count = 1
    version = "ComfyUI 0.33.0"

    def __init__(self, writer: PictureWriter) -> None:
        self._writer = writer
        self.tasks: list[Task] = []

    def results(self, _: Any, tasks: Iterable[Task]) -> Iterator[Finished]:
        for one in tasks:
            self.tasks.append(one)
            if one.row.name.startswith("bad"):
                yield Finished(one, None, "no face")
            else:
                self._writer.keep(one, [saved(b"1")], 1.0)
                yield Finished(one, 1)


def ran(
    folder: Path, text: str, run: str, part: rows.Part | None = None, only: Sequence[str] = (), moved: int | None = None
) -> tuple[Run, Short, dict[str, str]]:
    """A run over a table, and why rows failed."""
    (folder / "jobs.csv").write_text(text)
    with opened(folder / "out", run, part=part, only=only, moved_seeds=moved) as (output, writer):
        worker = Short(writer)
        one_run = Run(rows.read(Folder(str(folder)), "jobs.csv"), Plain(), {}, output, worker, part, only)
        survey = one_run.survey()
        one_run.say_what_comes(survey)
        one_run.make(None, survey)
    return one_run, worker, {line[1]: line[2] for line in table(folder / "out" / output.failed_name)[1:]}


def test_each_row_is_made_once_or_said_to_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "name,Photo,Seed\na,x,1\nbad,y,2\na,x,3\na,x\nb,x,1,2\nc,z,1\n"
    _, worker, failed = ran(tmp_path, text, "1")
    assert [one.row.name for one in worker.tasks] == ["a", "bad", "c"]
    assert failed.keys() == {"bad", "a", "b"}
    assert failed["a"] == "an earlier row has the name a too: give each row its own."
    assert "3 rows to make; 0 done earlier, 3 refused." in capsys.readouterr().err
    _, worker, failed = ran(tmp_path, text.replace("z,1", "z,9").replace("x,3", "x,1"), "2")
    assert [one.row.name for one in worker.tasks] == ["bad", "c"]
    assert failed.keys() == {"bad", "a", "b"}
    said = capsys.readouterr().err
    assert "2 rows to make; 1 done earlier, 3 refused." in said
    assert "1 row done earlier: made by Likeness of run 1; now Likeness " in said
    ran(tmp_path, text.replace("z,1", "z,9").replace("x,3", "x,1"), "3")
    said = capsys.readouterr().err
    assert "1 row done earlier: made by Likeness of run 1;" in said
    assert "1 row done earlier: made by Likeness of run 2;" in said


def test_machines_that_share_a_folder_make_a_part_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While the other runs too; one run then makes what both have left."""
    text = "name,Photo,Seed\na,x,1\nbad1,y,2\nb,x,3\na,x,4\nc,x,5\nd,x,6,7\ne,x,8\n"
    made: list[str] = []
    with opened(tmp_path / "out", "0", part=rows.Part(2, 3)):
        with pytest.raises(SetupError, match="Another run writes into"):
            output_module._locked(tmp_path / "out", ".lock.2of3")
        for number, failures in ((1, {"a"}), (3, {"d"})):
            _, worker, failed = ran(tmp_path, text, f"1{number}", rows.Part(number, 3))
            made += [one.row.name for one in worker.tasks]
            assert failed.keys() == failures
    assert made == ["a", "e", "b"]
    # One page for all, whoever writes it last.
    states = {(row["line"], row["name"], bool(row["pictures"])) for row in told(tmp_path / "out")["rows"]}
    assert states == {(2, "a", True), (4, "b", True), (5, "a", False), (7, "d", False), (8, "e", True)}
    _, worker, failed = ran(tmp_path, text, "2")
    assert [one.row.name for one in worker.tasks] == ["bad1", "c"]
    assert failed.keys() == {"a", "bad1", "d"}
    assert "2 rows to make; 3 done earlier, 2 refused." in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("failed.*of*"))
    assert [row["line"] for row in told(tmp_path / "out")["rows"]] == [3, 5, 7, 2, 4, 6, 8]


def test_one_row_is_made_again_and_all_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also what is known of those that failed. Another seed counts for the row until the row itself is another."""
    text = "name,Photo,Seed\na,x,1\nbad,y,2\nb,x,3,4\nc,x,4\n"
    ran(tmp_path, text, "1", rows.Part(1, 2))
    ran(tmp_path, text, "2", rows.Part(2, 2))
    out = tmp_path / "out"
    assert row_named(out, "c")["again"] == "--only=c --move-seeds=1"
    for moved, made in ((4, ["c"]), (4, []), (None, []), (0, ["c"]), (5, ["c"])):
        _, worker, failed = ran(tmp_path, text, f"3{moved}", only=["C"], moved=moved)
        assert [one.row.name for one in worker.tasks] == made
        assert failed == {}
        assert "0 failed" not in capsys.readouterr().err
    assert {row["name"]: row["reason"] for row in told(out)["rows"] if row["reason"]}.keys() == {"bad", "b"}
    assert row_named(out, "c")["again"] == "--only=c --move-seeds=6"
    assert row_named(out, "bad")["again"] == "--only=bad"
    good = text.replace("3,4", "3").replace("bad", "good")
    ran(tmp_path, good.replace("good", "b2"), "4", only=["b"])
    assert {row["name"]: row["reason"] for row in told(out)["rows"] if row["reason"]} == {"bad": "no face"}
    _, worker, failed = ran(tmp_path, text, "5")
    assert [one.row.name for one in worker.tasks] == ["bad"], "c is done, of other seeds"
    _, worker, _ = ran(tmp_path, text.replace("c,x,4", "c,x,5"), "6")
    assert [one.row.name for one in worker.tasks] == ["bad", "c"]
    assert row_named(out, "c")["again"] == "--only=c --move-seeds=1"
    with pytest.raises(SetupError, match=r"No row of the table is called d: --only takes the names that done\.csv"):
        ran(tmp_path, text, "7", only=["a", "d"])


HOSTILE = "</script><script>alert(1)</script><!-- \" ' & \u2028 \n 小明"


def test_the_page_has_what_a_picture_is_held_against(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    cells = {"Photo": "an #1.png", "Person": "anna", "Prompt": HOSTILE, "Text": "x" * 5000}
    beside = [
        Beside("Photo", str(tmp_path / "people" / "an #1%.png")),
        Beside("Person", "anna-0.safetensors", b"damaged"),
        Beside(HOSTILE, os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff.png")),
    ]
    with opened(folder) as (output, writer):
        task = Task(Row(2, "100% #1 'a' & b", cells), "x")
        writer.keep(task, [saved(b"1"), saved(b"2", ".mp4")], 1.0, beside=beside, seeds={9, 2**64 - 1})
        output.refuse(Row(3, HOSTILE, {}), HOSTILE)
    failed, made = told(folder)["rows"]
    assert made["pictures"][0] == ["100% #1 'a' & b_1of2.png", "100%25%20%231%20%27a%27%20%26%20b_1of2.png"]
    assert made["beside"] == [
        ["Photo: an #1%.png", "../people/an%20%231%25.png"],
        [f"{HOSTILE}: \udcff.png", "../%FF.png"],
    ]
    assert made["cells"] == {**cells, "Text": "x" * 1000, "drawn with seed": "9, 18446744073709551615"}
    assert made["again"] == """'--only=100% #1 '"'"'a'"'"' & b' --move-seeds=1"""
    assert failed["reason"] == " ".join(HOSTILE.split())
    text = (folder / "index.html").read_text("utf-8")
    assert text.count("<script") == text.count("</script>") == 2
    assert "<!--" not in text


@pytest.mark.parametrize(
    ("place", "output", "address"),
    [
        ("s3://bucket/people/a b.png", "s3://bucket/out", "../people/a%20b.png"),
        ("ftp://host/out/people/a:b.jpg", "ftp://me:secret@host/out", "people/a%3Ab.jpg"),
        ("s3://other/a.png", "s3://bucket/out", "../../other/a.png"),
        ("/photos/a.png", "/out/jobs", "../../photos/a.png"),
    ],
)
def test_photos_are_named_as_the_page_sees_them(tmp_path: Path, place: str, output: str, address: str) -> None:
    folder = Folder("/")
    folder.address = output
    entry = {"line": 2, "name": "a", "files": [], "tries": 0}
    entry["beside"] = BesideWriter(folder, "people").entry([Beside("Photo", place)])
    (tmp_path / "index.html").write_bytes(page.as_html(folder, [entry], [], None))
    assert told(tmp_path)["rows"][0]["beside"] == [[f"Photo: {place.rpartition('/')[2]}", address]]
    folder.address = f"ftp://me:secret@{folder.address.rpartition('/')[2]}"
    assert b"secret" not in page.as_html(folder, [], [], None)


def test_the_least_like_row_is_the_first_of_the_page(tmp_path: Path) -> None:
    """A person who is not there is the least like of all; where nobody is meant garments count. Tries that were not
    kept do not. Without figures the rows stand as in the table, behind those that failed."""

    def line(state: str, similarity: float | None = None, kept: str = "yes") -> dict[str, Any]:
        return {"person": "Anna", "state": state, "similarity": similarity, "looks_like": "Ben", "kept": kept}

    scores = {
        "alike": [line("right", 0.9), line("right", 0.1, "no")],
        "one unlike": [line("right", 0.9), line("swapped", -0.5)],
        "a garment": [line("part", 0.3)],
        "with garments": [line("right", 0.5), line("part", 0.2), line("extra")],
        "missing": [line("right", 0.9), line("missing")],
        "not measured": [],
    }
    for is_measured in (False, True):
        with opened(tmp_path / "out", str(is_measured)) as (output, writer):
            output.refuse(Row(99, "failed", {}), "no")
            for number, name in enumerate(scores):
                lines = scores[name] if is_measured else []
                writer.keep(Task(Row(20 - number, name, {}), "x"), [saved(b"1")], 1.0, Measuring(4), lines)
        order = [row["name"] for row in told(tmp_path / "out")["rows"]]
        if not is_measured:
            assert order == ["failed", *reversed(scores)]
    assert order == ["failed", "missing", "one unlike", "a garment", "with garments", "alike", "not measured"]
    assert row_named(tmp_path / "out", "one unlike")["figures"] == [
        ["Anna", 0.9, "", ""],
        ["Anna", -0.5, "looks like Ben", ""],
    ]
    assert row_named(tmp_path / "out", "missing")["figures"][1] == ["Anna", None, "not found", ""]
    assert row_named(tmp_path / "out", "with garments")["figures"][2][0] == "a stranger"
    assert row_named(tmp_path / "out", "a garment")["figures"] == [["Anna", 0.3, "", ""]], "by nothing that is named"
    assert row_named(tmp_path / "out", "alike")["again"] == "--only=alike --move-seeds=4"


def test_a_page_of_ten_thousand_rows_is_written_at_once_and_of_more_it_has_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path))
    entry = {"files": ["one.png"], "tries": 1, "cells": {"Prompt": "two friends " * 10}}
    scores = [{"person": "Anna", "state": "right", "similarity": 0.5, "kept": "yes"}]
    entries = [{**entry, "line": line, "name": f"row {line}", "scores": scores} for line in range(10_000)]
    began = time.process_time()
    data = page.as_html(folder, entries, [page.Failure(5, "bad", "no")], Again("batch.py", has_seeds=True))
    assert time.process_time() - began < 2
    (tmp_path / "index.html").write_bytes(data)
    assert (told(tmp_path)["isCut"], len(told(tmp_path)["rows"])) == (False, 10_001)
    monkeypatch.setattr(page, "_MOST_ROWS", 3)
    (tmp_path / "index.html").write_bytes(page.as_html(folder, entries, [page.Failure(5, "bad", "no")], None))
    assert told(tmp_path)["isCut"]
    assert [row["name"] for row in told(tmp_path)["rows"]] == ["bad", "row 0", "row 1"]
    failures = [page.Failure(line, "bad", "no") for line in range(4)]
    for count, is_cut in ((3, False), (4, True)):
        (tmp_path / "index.html").write_bytes(page.as_html(folder, [], failures[:count], None))
        assert (told(tmp_path)["isCut"], len(told(tmp_path)["rows"])) == (is_cut, 3)


class Passing:
    """Template, folder and worker of a few rows. A row that is made waits until another is read, one that is written
    until another is made. missed: those that waited in vain."""

    version = label = "small"
    name = "1"
    takes_several = False

    def __init__(self, folder: Path, count: int) -> None:
        self.output = Folder(str(folder / "out"))
        self.folder = folder
        self._put = self.output.put
        self.output.put = self.written
        self.count = count
        self.read = self.begun = self.ended = 0
        self.missed = 0
        self._changed = threading.Condition()

    def until(self, is_so: Callable[[], bool], **more: int) -> None:
        """Count what has happened, and wait."""
        with self._changed:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)
            self._changed.notify_all()
            self.missed += not self._changed.wait_for(is_so, 10)

    def job(self, row: Row) -> Job:
        self.until(lambda: True, read=1)
        return Job(row, {"1": {"class_type": "Text", "inputs": {"text": row.line}}}, {})

    def run(self, prompt: Any, _: Any, folder: Path) -> Outcome:
        self.until(lambda: self.begun == self.ended + 1, begun=1)  # one row at a time
        self.until(lambda: self.read > self.begun or self.read == self.count)
        self.until(lambda: True, ended=1)
        saved = folder / "saved.txt"
        saved.write_text(str(prompt["1"]["inputs"]["text"]))
        return Outcome([SavedFile(".txt", saved)], 1.0)

    def written(self, file: Path, name: str) -> None:
        if name.endswith(".txt"):
            self.until(lambda: self.begun > self.ended or self.begun == self.count)
        self._put(file, name)

    def stop(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def worker(self, _: int) -> Any:
        return self


def test_a_row_is_read_and_another_written_while_one_is_made(tmp_path: Path) -> None:
    passing = Passing(tmp_path, 6)
    output = Output(passing.output)
    output.begin()
    tasks = [task(f"r{number}", 1, number) for number in range(6)]
    with OneWorker(cast("Any", passing)) as workers:
        results = list(workers.results(Maker(cast("Any", passing), {}, passing.output), tasks))
    output.close()
    assert sorted(end.task.row.line for end in results if not end.error) == list(range(6))
    assert passing.missed == 0
    assert sorted(row[1] for row in table(tmp_path / "out" / "done.csv")[1:]) == [f"r{number}" for number in range(6)]


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:a", "127.0.0.1:99999", ":"])
def test_a_cluster_that_does_not_answer(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(SetupError, match=f"Nothing answers at {address} .*ray start --head"):
        RayWorkers(address, None, WorkerSettings(), "")


def test_without_ray_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SetupError, match=r'-m pip install "ray\[default\]"\. One worker needs no Ray: leave --workers'):
        RayWorkers(HERE, 2, WorkerSettings(), "")


@pytest.mark.parametrize(
    ("rows_of_table", "made", "failed", "beginning"),
    [
        (4, 4, 0, "Rows: 4 done, 0 failed, 2.5 s per row."),
        (4, 3, 1, "Rows: 3 done, 1 failed, 3.3 s per row."),
        (10, 4, 1, "Rows: 9 done (5 of them earlier), 1 failed, 2.5 s per row."),
        (4, 0, 0, "Rows: 4 done (4 of them earlier), 0 failed."),
    ],
)
def test_the_last_line_sums_up(rows_of_table: int, made: int, failed: int, beginning: str) -> None:
    assert last_line(rows_of_table, made, failed, 10.0, "here") == f"{beginning} The pictures are in here"
    assert last_line(2, 0, 2, 3.0, "here") == "Rows: 0 done, 2 failed. There is no picture."
