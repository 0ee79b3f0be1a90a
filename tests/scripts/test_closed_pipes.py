"""What scripts print into a pipe that its reader closes, or onto a full disk: an end without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from environment import ROOT
from shared.stopping import READER_LEFT

LIST = (str(ROOT / "scripts" / "models.py"), "list")
WHOLE_LINES = "import environment, sys; environment.run(lambda: print('x' * 100_000) or 0)"
"""A script that prints more than a pipe holds."""
BUFFERING = [pytest.param("", id="buffered"), pytest.param("1", id="unbuffered")]


def environment_of(unbuffered: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": unbuffered}


def run_without_reader(
    command: Sequence[str], unbuffered: str, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run Python with this command line; its stdout is a pipe that nobody reads. stderr: as subprocess.run takes it."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, *command],
            stdout=writer,
            stderr=stderr,
            text=True,
            timeout=60,
            cwd=ROOT / "scripts",
            env=environment_of(unbuffered),
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("unbuffered", BUFFERING)
@pytest.mark.parametrize("command", [LIST, ("-c", WHOLE_LINES)], ids=["models", "long"])
def test_a_reader_that_leaves_ends_a_script_quietly(command: tuple[str, ...], unbuffered: str) -> None:
    """As `| head -1` does. The pipe is closed before the first line, so that no line is early enough."""
    run = run_without_reader(command, unbuffered)
    assert run.stderr == ""
    assert run.returncode == READER_LEFT


@pytest.mark.parametrize("unbuffered", BUFFERING)
def test_the_reader_of_both_streams_leaves(unbuffered: str) -> None:
    """As `2>&1 | head` does: the message has nowhere to go."""
    script = "import environment\ndef main(): raise environment.SetupError('Mend this.')\nenvironment.run(main)"
    run = run_without_reader(("-c", script), unbuffered, stderr=subprocess.STDOUT)
    assert run.returncode == READER_LEFT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is needed")
@pytest.mark.parametrize("unbuffered", BUFFERING)
@pytest.mark.parametrize("command", [LIST], ids=["models"])
def test_a_full_disk_is_named_in_one_line(command: tuple[str, ...], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=environment_of(unbuffered),
        )
    expected = "What this prints cannot be written: No space left on device. Free its disk and run the same again.\n"
    assert run.stderr == expected
    assert run.returncode == 1


def test_the_error_of_a_connection_is_not_taken_for_that_of_the_console() -> None:
    """A connection that breaks raises the same error as a pipe without a reader."""
    script = "import environment\ndef main(): raise BrokenPipeError(32, 'Broken pipe')\nenvironment.run(main)"
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT / "scripts")
    assert run.returncode == 1
    assert run.stderr.rstrip().endswith("BrokenPipeError: [Errno 32] Broken pipe")
