"""Training of the miniature stands apart from what the demo runs, and leaves its files whole."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from environment import ROOT
from miniature import net, stored
from miniature.training import lessons

SCRIPTS = ROOT / "scripts"
DRAWS = sorted((SCRIPTS / "miniature").glob("*.py"))
WITHOUT_TRAINING = [*DRAWS, SCRIPTS / "demo.py", *sorted((SCRIPTS / "rig").glob("*.py"))]
"""What the demo runs."""


def imported_by(path: Path) -> set[str]:
    """Every name after `import` and `from`, with the dots of a relative one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", WITHOUT_TRAINING, ids=[path.stem for path in WITHOUT_TRAINING])
def test_the_demo_needs_no_training(path: Path) -> None:
    assert not [name for name in imported_by(path) if "training" in name.split(".")]


def test_every_lesson_is_a_file() -> None:
    folder = Path(str(lessons.__file__)).parent
    for name, lesson in lessons.LESSONS.items():
        assert (folder / f"{name}.py").is_file()
        assert lesson.make_loss.__module__ == f"miniature.training.lessons.{name}"


def test_a_time_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "miniature.training.train", "0"]
    shown = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=240)
    assert shown.returncode == 2
    assert "0 minutes are no time to train. Give a number above 0." in shown.stderr


def test_weights_are_stored_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was trained before stays where the disk is full in the middle of a file."""
    model = stored.load()
    file = tmp_path / stored.FILE.name
    stored.save(model, file, {"trained": "here"})
    before = file.read_bytes()

    def half_written(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(before[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(stored, "save_file", half_written)
    with pytest.raises(OSError, match="No space left"):
        stored.save(net.Miniature(), file, {})
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
