"""Files that are there whole or not at all."""

import os

import pytest
from pack.core.models.files import unfinished_folder


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
