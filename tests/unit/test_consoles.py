"""Names on consoles of an old code page: written with escapes, and never an error."""

import io
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from pack.core.checks.consoles import accept_any_text
from pack.core.checks.errors import BadPhoto
from pack.core.checks.text import logger

ROOT = Path(__file__).resolve().parents[2]
NAME = "小明 Полина \N{GRINNING FACE}.jpg"
"""A name, a path, a label or a prompt with letters of three scripts: cp932 has the first two, cp1252 and ascii none."""


class Console(io.TextIOWrapper):
    """As app/logger.py of ComfyUI makes of a stream: its class keeps a list and then writes, and it raises."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding=encoding, errors=errors, newline="")

    def written(self) -> bytes:
        self.flush()
        return self._bytes.getvalue()


def escaped(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii", "gbk", "latin-1", "utf-8", "utf-16-le"])
def test_an_error_can_be_logged_and_traced(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the host does: the text, then the traceback. Both are written in the place where the error was caught, so that
    whatever failed there would have it as its context."""
    err = Console(encoding)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler()])
    text = f"{NAME} is no picture. Choose another."
    error = BadPhoto(f"{NAME} is no picture.", "Choose another.")
    try:
        raise error
    except BadPhoto:
        logging.exception("!!! Exception during processing !!! %s", error)
        traceback.print_exc()
        log = err.written().decode(encoding)
        logger.warning("A note on %s", NAME)
        assert escaped(f"A note on {NAME}", encoding) in err.written().decode(encoding)
        logging.warning("A line that has the name itself ends nothing: %s", NAME)
    assert log.count(escaped(text, encoding)) == 3
    assert "Logging error" not in log
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    assert str(error) == text, "a console that escapes letters itself"


@pytest.mark.skipif(os.name == "nt", reason="Windows has letters in names of files, not bytes")
def test_bytes_of_a_file_name_come_out_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python opens the console so where no language is set (LANG=C), and scripts print names of files for others."""
    console = Console("utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdout", console)
    accept_any_text()
    console.write(f"{os.fsdecode(bytes([74, 0xE9]))} {NAME}")
    assert console.written() == b"J\xe9 " + NAME.encode()


def test_what_is_no_stream_of_pythons_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No console at all (pythonw), one that is closed, one that was taken apart, and a class of another pack."""

    class Other:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            return len(text)

    closed = Console("ascii")
    detached = Console("ascii")
    other = Other()
    closed.close()
    detached.detach()
    for stream in (None, closed, detached, io.StringIO(), other):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)
        accept_any_text()
        assert sys.stdout is stream
    assert vars(other) == {}


SCRIPTS = ("demo", "test", "batch", "bench", "models", "compare", "environment")
"""And to_safetensors, which imports torch first: tests/scripts/test_to_safetensors.py."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_print_names_on_any_console(script: str, tmp_path: Path) -> None:
    """Whatever each of them prints: a module that Python loads first has its main print a name, and ends it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import argparse\n"
        "def parse_args(self, *rest, **more):\n"
        f"    print({NAME!r})\n"
        "    raise SystemExit(5)\n"
        "argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = parse_args\n",
        "utf-8",
    )
    variables = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py")]
    process = subprocess.run(command, env=variables, capture_output=True, timeout=120)
    assert process.returncode == 5, process.stderr.decode()
    assert process.stdout.decode("ascii").splitlines() == [escaped(NAME, "ascii")]
