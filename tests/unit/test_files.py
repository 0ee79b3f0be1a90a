"""Files that are there whole or not at all."""

import os

import pytest
from pack.core.models.files import files_below, listing, unfinished_folder


def test_a_stop_right_after_the_folder_is_made_leaves_nothing(tmp_path, monkeypatch):
    """As Ctrl-C does between the system's call and the line behind it."""
    make = os.mkdir

    def stopped(path, *arguments, **options):
        make(path, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", stopped)
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path, ".converting-"):
        pass
    assert [*tmp_path.iterdir()] == []


def test_what_is_moved_away_stays_and_the_rest_goes(tmp_path):
    with unfinished_folder(tmp_path, ".fetching-") as folder:
        (folder / "rest").write_text("half")
        (folder / "whole").write_text("all of it")
        (folder / "whole").replace(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_what_a_mac_writes_beside_files_is_left_out(tmp_path):
    """In listings for menus and for the doctor; other hidden files stay, as ComfyUI lists them."""
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._a.bin", "a.bin", ".hidden.bin", "__MACOSX/._a.bin"):
        (tmp_path / name).touch()
    assert [name for name, _ in files_below(str(tmp_path), 10)] == [".hidden.bin", "a.bin"]
    assert [name for name, _ in listing(str(tmp_path)).files] == [".hidden.bin", "a.bin"]
