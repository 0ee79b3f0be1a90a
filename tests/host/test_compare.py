"""compare.py as a command: its questions, where it may not write, and --pictures from photos to page."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import compare
import pytest
import real_faces
from comparison import command
from comparison import people as people_source
from environment import ROOT, SetupError


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


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_folder_of_own_pictures_is_measured_and_can_be_stopped(tmp_path: Path) -> None:
    """The command, ended by Ctrl-C and called again."""
    files = {
        "people/Yao/yao.jpg": real_faces.YAO,
        "pictures/one/1.jpg": real_faces.YAO,
        "models/insightface/models/small/detector.onnx": real_faces.DETECTOR,
        "models/insightface/models/small/w600k_mbf.onnx": real_faces.RECOGNISER,
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tmp_path / name)
    script = [sys.executable, str(ROOT / "scripts" / "compare.py"), "--pictures", str(tmp_path)]
    command = [*script, "--models", str(tmp_path / "models"), "--python", sys.executable]
    # A handler of ours is the default again in what is started, also where whoever started pytest has Ctrl-C ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    with process:
        assert process.stderr
        for line in process.stderr:
            if line == "[likeness] Yao: 1 photo\n":
                process.send_signal(signal.SIGINT)
                break
        assert "Stopped before the tables and the page were written" in process.communicate(timeout=60)[1]
    assert process.returncode == 130 and not (tmp_path / "measured" / "index.html").exists()
    subprocess.run(command, check=True, timeout=300)
    assert "w600k_mbf" in (tmp_path / "measured" / "sets.csv").read_text("utf-8")
    assert (tmp_path / "measured" / "index.html").is_file()
