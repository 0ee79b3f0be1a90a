"""compare.py as a command: its questions, and where it may not write."""

from __future__ import annotations

import sys
from pathlib import Path

import compare
import pytest
from comparison import command
from comparison import people as people_source
from environment import SetupError


def test_the_command_line_knows_all_questions() -> None:
    """It names them before anything is loaded that has them."""
    assert tuple(people_source.QUESTIONS) == compare.QUESTIONS


@pytest.mark.parametrize(
    ("out", "said"),
    [("file", "written"), ("file/below", "read or written"), ("n" * 300, "written"), ("loop/below", "written")],
)
def test_an_output_that_cannot_be_written_to_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr(sys, "argv", ["compare.py", "--people", str(tmp_path), "--out", str(tmp_path / out)])
    with pytest.raises(SetupError, match=rf"cannot be {said} to \(.+\): mend that or name another place"):
        command.run(compare.parsed())
