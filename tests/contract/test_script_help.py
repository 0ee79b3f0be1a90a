"""Whoever asks a script for --help is shown a command that can be copied."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path.name for path in (ROOT / "scripts").glob("*.py") if 'if __name__ == "__main__":' in path.read_text("utf-8")
)
"""All that are run; the others are modules of theirs."""


def help_of(script: str) -> subprocess.CompletedProcess[str]:
    """What a script says to --help, in a terminal of 80 columns."""
    command = [sys.executable, str(ROOT / "scripts" / script), "--help"]
    variables = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def helps() -> dict[str, subprocess.CompletedProcess[str]]:
    """Script -> what it says to --help."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SCRIPTS, pool.map(help_of, SCRIPTS), strict=True))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_an_example(script: str, helps: dict[str, subprocess.CompletedProcess[str]]) -> None:
    """On a line of its own, without brackets and words to be replaced, with options that the script has."""
    process = helps[script]
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    examples = re.findall(rf"^    (python scripts/{re.escape(script)}.*)$", process.stdout, re.MULTILINE)
    assert examples, f"{script} --help has no line that begins with: python scripts/{script}"
    usage, _, after_usage = process.stdout.partition("\n\n")
    commands = re.findall(r"^  \{([\w,]+)\}$", after_usage, re.MULTILINE)
    for example in examples:
        assert not re.search(r"[\[\]<]|\.\.\.|\b[A-Z]{3,}\b", example), example
        words = shlex.split(example)[2:]
        if commands:
            assert words[0] in commands[0].split(","), example
            continue
        for word in words:
            if word.startswith("--"):
                assert word in usage, example


MODULES = ["miniature.install", "miniature.training.evaluate", "miniature.training.train", "rig.archive"]
"""Those that are run with -m, in the folder scripts/."""


@pytest.mark.parametrize("module", MODULES)
def test_help_of_a_module_shows_an_example(module: str, tmp_path: Path) -> None:
    """And makes nothing: a folder called --help is no place for a file."""
    variables = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-m", module, "--help"]
    process = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stderr
    assert re.search(rf"^    python -m {re.escape(module)} \S+", process.stdout, re.MULTILINE), process.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_module_that_is_run_is_looked_at() -> None:
    modules: list[str] = []
    for path in sorted((ROOT / "scripts").glob("*/**/*.py")):
        if 'if __name__ == "__main__":' in path.read_text("utf-8"):
            modules.append(".".join(path.relative_to(ROOT / "scripts").with_suffix("").parts))
    assert modules == MODULES


def test_the_archive_goes_into_no_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for folder, message in ((tmp_path, "is not empty"), (ROOT / "scripts" / "new", "is in the repository")):
        command = [sys.executable, "-m", "rig.archive", str(folder)]
        refused = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, timeout=240)
        assert refused.returncode == 2
        assert message in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert not (ROOT / "scripts" / "new").exists()
