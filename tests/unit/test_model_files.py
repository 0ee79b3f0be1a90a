"""What lies below a folder: found again when something has changed, and not looked for when nothing has."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pack.core.models import files
from pack.core.models.files import files_below


@pytest.fixture
def walks(monkeypatch) -> list[str]:
    """The folders that were walked."""
    walked: list[str] = []
    plain = files.walk
    monkeypatch.setattr(files, "walk", lambda root: walked.append(root) or plain(root))
    return walked


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "below").mkdir(parents=True)
    (folder / "a.bin").touch()
    (folder / "below" / "b.bin").touch()
    return folder


def settle(*folders: Path) -> None:
    for folder in folders:
        os.utime(folder, (time.time() - 3600,) * 2)


def names(root: Path) -> list[str]:
    return [name for name, _ in files_below(str(root))]


def test_a_folder_that_has_not_changed_is_walked_once(root, walks):
    settle(root, root / "below")
    assert [names(root) for _ in range(3)] == [["a.bin", os.path.join("below", "b.bin")]] * 3
    assert len(walks) == 1
    assert [path for _, path in files_below(str(root))] == [str(root / "a.bin"), str(root / "below" / "b.bin")]


def test_what_comes_goes_or_moves_is_seen(root):
    settle(root, root / "below")
    assert len(names(root)) == 2
    (root / "below" / "c.bin").touch()
    settle(root / "below")  # as a copy that keeps times leaves it
    assert len(names(root)) == 3
    settle(root, root / "below")
    (root / "below" / "c.bin").unlink()
    assert len(names(root)) == 2
    (root / "below").rename(root / "elsewhere")
    assert names(root) == ["a.bin", os.path.join("elsewhere", "b.bin")]


def test_a_folder_that_has_just_changed_is_walked_again(root, walks):
    """Clocks of file systems are coarse: a second change may leave a folder with the time of the first."""
    assert names(root) == names(root) and len(walks) == 2


def test_a_folder_that_is_made_later(tmp_path):
    assert names(tmp_path / "models") == []
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.bin").touch()
    settle(tmp_path / "models")
    assert names(tmp_path / "models") == ["a.bin"]


def test_a_link_whose_folder_comes_later(root, tmp_path):
    """As that of a disk that is not mounted yet."""
    (root / "disk").symlink_to(tmp_path / "disk")
    settle(root, root / "below")
    assert "disk" in names(root)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "c.bin").touch()
    assert os.path.join("disk", "c.bin") in names(root)


def test_links_in_a_circle_end(root):
    (root / "below" / "up").symlink_to(root)
    assert names(root) == ["a.bin", os.path.join("below", "b.bin")]


def test_another_file_of_the_same_length_and_time_is_another_file(tmp_path):
    """As copies and what is unpacked may be."""
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for one in (path, other):
        one.write_bytes(b"1234")
        os.utime(one, (10**9, 10**9))
    before = files.stamp(str(path))
    settled = os.stat(path).st_ctime_ns
    while os.stat(other).st_ctime_ns == settled:
        other.chmod(0o644)
    other.replace(path)
    assert files.stamp(str(path)) != before and files.stamp(str(path))[:2] == before[:2]
