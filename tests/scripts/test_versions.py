"""Of each kind of folder below .cache there is one version, and none goes that a running process uses."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch.folders import Folder
from batch.output import Output
from environment import ROOT, SetupError
from shared import locks
from shared.versions import version_folder

CODE = """
import random, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from shared.versions import version_folder

FILES = 20
folder = Path(sys.argv[2])
does = sys.argv[3]

def used(folder):
    def write(to):
        for number in range(FILES):
            (to / f"{number}.txt").write_text(folder.name)
            if does == "stops while it writes":
                print("writes", flush=True)
                time.sleep(600)

    version_folder(folder, write)
    texts = [file.read_text() for file in folder.glob("*.txt")]
    assert texts == [folder.name] * FILES, texts

used(folder)
print("has it", flush=True)
if does == "uses it":
    sys.stdin.read()
if does == "goes from one to the other":
    used(folder.with_name(random.choice("abc")))
    used(folder)
"""


def start(folder: Path, does: str = "") -> subprocess.Popen[str]:
    """A process that asks for a version; its first line has come when this returns."""
    command = [sys.executable, "-c", CODE, str(ROOT / "scripts"), str(folder), does]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline()
    return process


@pytest.fixture
def kind(tmp_path: Path) -> Iterator[Path]:
    """A folder of versions."""
    folder = tmp_path / ".cache" / "miniature"
    folder.mkdir(parents=True)
    yield folder


def write(folder: Path) -> None:
    (folder / "model.txt").write_text("whole")


def names(kind: Path) -> list[str]:
    return sorted(path.name for path in kind.iterdir())


def test_old_versions_go_when_a_new_one_is_made(kind: Path) -> None:
    """A file beside them stays: training keeps its state there."""
    (kind / "training.pt").touch()
    with start(kind / "old"):
        pass
    (kind / "older").mkdir()
    assert names(kind) == ["old", "older", "training.pt"]
    assert version_folder(kind / "new", write) == kind / "new"
    assert names(kind) == ["new", "training.pt"]
    assert (kind / "new" / "model.txt").read_text() == "whole"


def test_a_version_goes_when_the_process_that_used_it_has_ended(kind: Path) -> None:
    with start(kind / "old", "uses it"):
        version_folder(kind / "new", write)
        assert names(kind) == ["new", "old"]
        assert len(list((kind / "old").glob("*.txt"))) == 20
    version_folder(kind / "new", write)
    assert names(kind) == ["new"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_process_was_writing_goes(kind: Path) -> None:
    """While it writes, nobody takes that away."""
    process = start(kind / "old", "stops while it writes")
    version_folder(kind / "new", write)
    unfinished, new = sorted(names(kind), reverse=True)
    assert unfinished.startswith("unfinished-")
    assert new == "new"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    version_folder(kind / "new", write)
    assert names(kind) == ["new"]


def test_a_version_that_cannot_be_written_leaves_nothing(kind: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise ValueError("no such weights")

    with pytest.raises(ValueError, match="no such weights"):
        version_folder(kind / "new", fail)
    assert names(kind) == []
    (kind / "new").touch()
    with pytest.raises(OSError):
        version_folder(kind / "new", write)
    assert names(kind) == ["new"]


def test_in_a_linked_cache_nothing_is_removed(kind: Path, tmp_path: Path) -> None:
    """It is another clone's."""
    (kind / "old").mkdir()
    linked = tmp_path / "another clone" / ".cache"
    linked.parent.mkdir()
    linked.symlink_to(kind.parent)
    version_folder(linked / kind.name / "new", write)
    assert names(kind) == ["new", "old"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has another lock")
@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "ENOTSUP", "EIO"])
def test_a_disk_without_locks(
    code: str, kind: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network drive: one run goes on, is told so once, and takes away nothing that another may use."""

    def flock(*_: object) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    (kind / "old").mkdir()
    if code == "EIO":
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            version_folder(kind / "new", write)
        with pytest.raises(SetupError, match=f"cannot be written to .{os.strerror(errno.EIO)}"):
            Output(Folder(str(tmp_path / "out")))
        return
    version_folder(kind / "new", write)
    assert names(kind) == ["new", "old"]
    Output(Folder(str(tmp_path / "out"))).close()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert f"{kind} has no locks ({os.strerror(getattr(errno, code))}): let no second run use it" in said[0]
    assert f"{tmp_path / 'out'} has no locks" in said[1]


def test_processes_that_ask_at_the_same_time_each_have_theirs_whole(kind: Path) -> None:
    for _ in range(6):
        processes = [start(kind / name, "goes from one to the other") for name in "abca"]
        for process in processes:
            process.communicate()
            assert process.returncode == 0
    version_folder(kind / "a", write)
    assert names(kind) == ["a"]
