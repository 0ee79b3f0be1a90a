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
    shown = helps[script]
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    examples = re.findall(rf"^    (python scripts/{re.escape(script)}.*)$", shown.stdout, re.MULTILINE)
    assert examples, f"{script} --help has no line that begins with: python scripts/{script}"
    usage, _, rest = shown.stdout.partition("\n\n")
    commands = re.findall(r"^  \{([\w,]+)\}$", rest, re.MULTILINE)
    for example in examples:
        assert not re.search(r"[\[\]<]|\.\.\.|\b[A-Z]{3,}\b", example), example
        words = shlex.split(example)[2:]
        if commands:
            assert words[0] in commands[0].split(","), example
            continue
        for word in words:
            if word.startswith("--"):
                assert word in usage, example
