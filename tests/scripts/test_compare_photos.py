"""The folder of people that compare.py is given, as other computers leave it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from comparison import photos
from environment import SetupError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people, and what a Mac and a program for photos have put beside them."""
    files = (
        "anna/1.jpg", "anna/._1.jpg", "anna/anna.safetensors", "anna/._anna.safetensors", "ben.png", "._ben.png",
        ".thumbnails/1.jpg", ".DS_Store", "notes.txt",
    )  # fmt: skip
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "anna" / "originals.jpg").mkdir()
    return tmp_path


def test_hidden_files_and_folders_are_nobodys(folder: Path) -> None:
    anna, ben = photos.people_in(folder)
    assert (anna.name, ben.name) == ("anna", "ben")
    assert anna.photos == (folder / "anna" / "1.jpg",)
    assert anna.lora == folder / "anna" / "anna.safetensors"
    assert ben.photos == (folder / "ben.png",)


def test_a_folder_below_a_hidden_one_is_read(folder: Path) -> None:
    """What is given is meant, wherever it lies."""
    for name in ("2.jpg", "3.jpg"):
        (folder / ".thumbnails" / name).touch()
    assert [person.name for person in photos.people_in(folder / ".thumbnails")] == ["1", "2", "3"]


def test_one_person_is_too_few(folder: Path) -> None:
    (folder / "ben.png").unlink()
    with pytest.raises(SetupError, match="fewer than two people"):
        photos.people_in(folder)


@pytest.mark.skipif(os.name == "nt", reason="only Linux has such names")
def test_a_name_that_is_no_utf_8_is_a_name_of_letters(folder: Path) -> None:
    (folder / "ben.png").rename(folder / os.fsdecode(b"\xffben.png"))
    assert [person.name for person in photos.people_in(folder)] == ["anna", "ben"]
