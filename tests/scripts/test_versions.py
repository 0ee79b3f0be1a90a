"""Folders below .cache are made once per version, whole or not at all, and old versions go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from environment import ROOT
from shared.versions import KEPT_SECONDS, version_folder

CODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from shared.versions import version_folder

FILES = 20
folder = Path(sys.argv[2])

def write(to):
    for number in range(FILES):
        (to / f"{number}.txt").write_text(folder.name)

version_folder(folder, write)
assert [file.read_text() for file in folder.glob("*.txt")] == [folder.name] * FILES
"""


@pytest.fixture
def kind(tmp_path: Path) -> Path:
    """A folder of versions."""
    folder = tmp_path / ".cache" / "toy"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path) -> None:
    (folder / "model.txt").write_text("whole")


def names(kind: Path) -> list[str]:
    return sorted(path.name for path in kind.iterdir())


def test_a_version_goes_that_nobody_has_asked_for_in_a_day(kind: Path) -> None:
    """So does what a killed process has left; a file beside them stays."""
    (kind / "notes.txt").touch()
    (kind / "unfinished-1").mkdir()
    version_folder(kind / "old", write)
    version_folder(kind / "older", write)
    for name in ("unfinished-1", "old", "older"):
        os.utime(kind / name, (0, time.time() - KEPT_SECONDS - 60))
    version_folder(kind / "old", write)
    assert version_folder(kind / "new", write) == kind / "new"
    assert names(kind) == ["new", "notes.txt", "old"]
    assert (kind / "new" / "model.txt").read_text() == "whole"


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


def test_processes_that_ask_at_the_same_time_each_have_theirs_whole(kind: Path) -> None:
    for _ in range(3):
        command = [sys.executable, "-c", CODE, str(ROOT / "scripts")]
        processes = [subprocess.Popen([*command, str(kind / name)]) for name in "abaa"]
        assert [process.wait() for process in processes] == [0] * 4
        assert names(kind) == ["a", "b"]
        for name in "ab":
            os.utime(kind / name, (0, 0))
