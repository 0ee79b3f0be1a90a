"""Text of ours on consoles and in logs of an old code page: written with escapes, and never an error."""

import importlib.util
import inspect
import io
import logging
import os
import pkgutil
import subprocess
import sys
import traceback
from pathlib import Path

import pack.core
import pytest
from pack.core.consoles import accept_any_text
from pack.core.errors import LikenessError
from pack.core.text import logger

ROOT = Path(__file__).resolve().parents[2]
NAME = "小明 Полина \N{GRINNING FACE}.jpg"
"""A name, a path, a label or a prompt with letters of three scripts: cp932 has the first two, cp1252 and ascii none."""
CODE_PAGES = ("cp1252", "cp932", "ascii", "gbk", "latin-1")
EXAMPLES = {"str": NAME, "str | None": NAME, "Sequence[str]": [NAME, NAME], "int": 640, "bool": False}
EXAMPLES |= {"tuple[int, int]": (640, 480), "pathlib._local.Path": Path(NAME), "pathlib.Path": Path(NAME)}


def core_errors() -> list[type[LikenessError]]:
    """Every class of errors that a module of the pack's core holds, the base among them.

    Taken from the modules: the subclasses of LikenessError are also those of nodes, of other tests and of a second
    copy of the pack, where one process has loaded these as well, and all of them call their module "likeness".
    """
    classes: set[type[LikenessError]] = set()
    for module_info in pkgutil.walk_packages(pack.core.__path__, "pack.core."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, LikenessError):
                classes.add(value)
    return sorted(classes, key=lambda kind: kind.__name__)


ERRORS = core_errors()


def example(kind: type[LikenessError]) -> LikenessError:
    """An error with that name in every text."""
    values: dict[str, object] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        annotation = inspect.formatannotation(parameter.annotation)
        values[name] = EXAMPLES[annotation.replace("collections.abc.", "")]
    return kind(**values)


class Console(io.TextIOWrapper):
    """As app/logger.py of ComfyUI makes of a stream: its class keeps a list and then writes, and it raises."""

    def __init__(self, encoding: str) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding=encoding, newline="")
        self.lines: list[str] = []

    def write(self, data: str) -> int:
        self.lines.append(data)
        return super().write(data)

    def written(self) -> str:
        self.flush()
        return self._bytes.getvalue().decode(self.encoding)


class Tee:
    """A class of another pack, which has nothing but `write` and `flush` and says nothing of its encoding."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        data = text.encode(self._stream.encoding)
        self._stream.buffer.write(data)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class HandsOn:
    """As colorama and tqdm wrap a stream: what this class does not have it takes from the stream."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def accept_any_text_of_a_second_copy() -> None:
    """As where the pack lies in two folders: its modules are others, and the streams are the same."""
    spec = importlib.util.spec_from_file_location("second_copy", ROOT / "core" / "consoles.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.accept_any_text()


def escaped(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


def test_every_error_of_the_core_is_there() -> None:
    assert len(ERRORS) > 25
    assert {kind.__module__ for kind in ERRORS} == {"likeness"}


def test_an_error_of_another_module_is_not_taken() -> None:
    """As those of nodes and of other tests, which may be loaded in the same process."""

    class Elsewhere(LikenessError):
        def __init__(self, network: object) -> None:
            super().__init__(f"{network} is of a node.", "Nothing.")

    assert Elsewhere in LikenessError.__subclasses__()
    assert core_errors() == ERRORS


@pytest.mark.parametrize("encoding", CODE_PAGES)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_can_be_printed_logged_and_traced(
    kind: type[LikenessError], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the host does: the text, then the traceback; where its log raises, Python writes that to sys.stderr."""
    out = Console(encoding)
    err = Console(encoding)
    log = Console(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    handler = logging.StreamHandler(log)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    with pytest.raises(UnicodeEncodeError):
        Console(encoding).write(NAME)
    try:
        raise example(kind)
    except LikenessError as error:
        text = str(error)
        sys.stdout.write(f"{text}\n")
        logging.error("!!! Exception during processing !!! %s", error)
        logging.error(traceback.format_exc())
        traceback.print_exc()
    assert "小明" in text, "what the editor shows has the name itself"
    line = escaped(text, encoding)
    assert out.written() == f"{line}\n"
    assert line in log.written()
    assert line in err.written()
    assert "Logging error" not in err.written()


@pytest.mark.parametrize("encoding", CODE_PAGES)
@pytest.mark.parametrize("wrapper", [Console, Tee, HandsOn], ids=lambda kind: kind.__name__)
def test_a_stream_that_takes_the_place_of_the_console_later(
    wrapper: type, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pack does this after ours was loaded. Notes and reports go to the log."""
    accept_any_text()
    real = Console(encoding)
    stream = real if wrapper is Console else wrapper(real)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler()])
    logger.warning("Left out: %s", NAME)
    # Of a class that says nothing of its encoding all letters of such a line are escaped.
    letters = "ascii" if wrapper is Tee else encoding
    assert real.written() == escaped(f"Left out: {NAME}\n", letters)
    write = stream.write
    accept_any_text()
    accept_any_text_of_a_second_copy()
    assert stream.write == write, "guarded once"


def test_a_log_in_a_file_of_the_code_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened already, and opened with the first record."""
    opened = logging.FileHandler(tmp_path / "a.log", encoding="cp1252")
    later = logging.FileHandler(tmp_path / "b.log", encoding="cp1252", delay=True)
    other_logger = logging.getLogger("another.pack")
    monkeypatch.setattr(logging.root, "handlers", [opened])
    monkeypatch.setattr(other_logger, "handlers", [later])
    accept_any_text()
    other_logger.error(NAME)
    opened.close()
    later.close()
    for name in ("a.log", "b.log"):
        assert (tmp_path / name).read_text("cp1252") == escaped(f"{NAME}\n", "cp1252")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "gb18030"])
def test_where_every_letter_can_be_written_it_is(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(encoding)
    monkeypatch.setattr(sys, "stdout", console)
    accept_any_text()
    sys.stdout.write(NAME)
    assert console.written() == NAME
    assert console.lines[0] == NAME


def test_bytes_of_a_file_name_come_out_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python opens the console so where no language is set (LANG=C), and scripts print names of files for others."""
    console = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="")
    monkeypatch.setattr(sys, "stdout", console)
    accept_any_text()
    console.write(f"{os.fsdecode(bytes([74, 0xE9]))} {NAME}")
    console.flush()
    assert console.buffer.getvalue() == b"J\xe9 " + NAME.encode()


def test_what_cannot_be_mended_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No console at all (pythonw), one that is closed, one that was taken apart, and a class with fixed attributes."""

    class Fixed:
        __slots__ = ()

        def write(self, text: str) -> int:
            raise UnicodeEncodeError("ascii", text, 0, 1, "fixed")

    closed = Console("ascii")
    detached = Console("ascii")
    memory = io.StringIO()
    closed.close()
    detached.detach()
    for stream in (None, closed, detached, memory, Fixed()):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)
        accept_any_text()
        assert sys.stdout is stream


SCRIPTS = ("demo", "test", "batch", "bench", "models", "compare", "environment", "evaluate", "status", "to_safetensors")


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
