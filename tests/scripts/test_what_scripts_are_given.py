"""What people give to scripts in the place of a workflow, a table or a Python: taken for what is in it, or named."""

import json
import os
import re
import runpy
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
import pytest
from batch import command, rows
from batch.folders import Folder
from environment import SetupError
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from shared import workflow_files
from shared.given_files import Unreadable, bytes_of
from systems import posix

from core.checks.text import as_typed

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
PROMPT: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "é"}},
}
GRAPH: dict[str, Any] = {"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["x.png"]}], "links": []}

TAKEN: dict[str, tuple[Any, Any]] = {
    "as the editor saves it": (GRAPH, GRAPH),
    "as the API takes it": (PROMPT, PROMPT),
}
"""Form -> what the file holds, and the graph in it."""


@pytest.mark.parametrize("form", TAKEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_forms_that_are_taken(tmp_path: Path, form: str, encoding: str) -> None:
    content, graph = TAKEN[form]
    (tmp_path / "w.json").write_text(json.dumps(content, ensure_ascii=False), encoding)
    assert workflow_files.read(tmp_path / "w.json") == graph


LOST = {"inputs": {}, "_meta": {"title": "Face Detailer"}}
NAMED: dict[str, tuple[Any, str]] = {
    "a node without a class": (
        {**PROMPT, "15": LOST},
        r"w\.json is no workflow: the editor that exported it did not know node 15 \(Face Detailer\): install what",
    ),
    "two of them": ({**PROMPT, "15": LOST, "16": {"inputs": {}}}, r"did not know node 15 \(Face Detailer\), 16: "),
    "nothing but such": ({"15": LOST}, r"did not know node 15 \(Face Detailer\)"),
    "a node without inputs": ({"3": {"class_type": "KSampler"}}, r"node 3 has no list of inputs"),
    "an empty graph": ({"nodes": [], "links": []}, "there are no nodes in it"),
    "as it is posted": ({"prompt": PROMPT, "client_id": "a"}, r"there are no nodes in it: save it .* Export \(API\)"),
    "a list": ([GRAPH, GRAPH], "there are no nodes in it"),
    "null": (None, "there are no nodes in it"),
    "nothing": ({}, "there are no nodes in it"),
    "another program's": ({"nodes": [{"id": "a"}], "edges": []}, "a workflow of another program"),
}
"""What the file holds, and what is said of it."""


@pytest.mark.parametrize("form", NAMED)
def test_forms_that_are_named(tmp_path: Path, form: str) -> None:
    content, words = NAMED[form]
    (tmp_path / "w.json").write_text(json.dumps(content))
    with pytest.raises(SetupError, match=words):
        workflow_files.read(tmp_path / "w.json")


TAGS = b"".join(struct.pack("<HHLL", number, 7, 10**5, 8) for number in range(9000))
FILES: dict[str, tuple[bytes, str]] = {
    "tags that all name the same bytes": (
        b"II*\0\x08\0\0\0" + struct.pack("<H", 9000) + TAGS,
        "it is neither JSON .* nor a picture",
    ),
    "empty": (b"", "it is neither JSON .* nor a picture"),
    "zip": (b"PK\x03\x04" + bytes(20), "it is neither JSON .* nor a picture"),
    "cut off": (b'{"nodes": [', r"it is neither JSON \(Expecting value"),
    "brackets": (b"[" * 100_000, "its brackets go deeper"),
    "many brackets": (b"[" + b"{}," * 1_000_000 + b"0]", "it has 1,000,001 brackets, and 1,000,000 is the most"),
    "long": (b'{"nodes": [], "a": "' + bytes(20_000_000), "it has 20,000,020 bytes, and 20,000,000 is the most"),
    "no whole picture": (b"\x89PNG\r\n\x1a\n" + bytes(30), "it is neither JSON .* nor a picture"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_workflow(tmp_path: Path, kind: str) -> None:
    data, words = FILES[kind]
    (tmp_path / "w.json").write_bytes(data)
    with pytest.raises(SetupError, match=f"w.json is no workflow: .*{words}"):
        workflow_files.read(tmp_path / "w.json")


def png(path: Path, packed: bool, **texts: str) -> None:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text, zip=packed)
    info.add_itxt("about", "naïve")
    Image.new("RGB", (4, 4)).save(path, pnginfo=info)


def webp(path: Path, **texts: str) -> None:
    """As ComfyUI's own nodes write it."""
    picture = Image.new("RGB", (4, 4))
    exif = picture.getexif()
    if "prompt" in texts:
        exif[0x0110] = f"prompt:{texts['prompt']}"
    if "workflow" in texts:
        exif[0x010F] = f"workflow:{texts['workflow']}"
    picture.save(path, exif=exif)


@pytest.mark.parametrize("kind", ["png", "packed png", "webp"])
def test_pictures_that_comfyui_saved(tmp_path: Path, kind: str) -> None:
    """The editor opens them too; of both texts it takes the graph."""
    path = tmp_path / f"picture.{kind.split()[-1]}"
    for texts, graph in (
        ({"prompt": json.dumps(PROMPT), "workflow": json.dumps(GRAPH)}, GRAPH),
        ({"prompt": json.dumps(PROMPT)}, PROMPT),
        ({"prompt": json.dumps(PROMPT), "workflow": json.dumps({"nodes": []})}, PROMPT),
    ):
        if kind == "webp":
            webp(path, **texts)
        else:
            png(path, kind == "packed png", **texts)
        assert workflow_files.read(path) == graph
    png(tmp_path / "other.png", False, parameters="a woman, Steps: 20")
    Image.new("RGB", (4, 4)).save(tmp_path / "other.jpg")
    for name, words in (("png", " but the settings of another program"), ("jpg", ": save it")):
        with pytest.raises(SetupError, match=f"is a picture without a workflow of ComfyUI's{words}"):
            workflow_files.read(tmp_path / f"other.{name}")


# --- What is no file


@pytest.fixture
def no_files(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Paths that are no files, or that would never end, and what is said of each."""
    paths = {
        "folder": (tmp_path, "is no file"),
        "absent": (tmp_path / "absent", "cannot be read: No such file"),
    }
    if os.name == "nt":
        return paths
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_zero").symlink_to("/dev/zero")
    return paths | {
        "device": (Path("/dev/zero"), "is no file"),
        "link": (tmp_path / "to_zero", "is no file"),
        "pipe": (tmp_path / "pipe", "is no file"),
        "huge": (tmp_path / "huge", "is too long: at most"),
    }


def test_nothing_is_read_that_is_no_file_or_never_ends(no_files: dict[str, tuple[Path, str]]) -> None:
    for path, words in no_files.values():
        with pytest.raises(Unreadable, match=words):
            bytes_of(path, 10**9)
        with pytest.raises(SetupError, match=words):
            workflow_files.read(path)
        with pytest.raises(SetupError, match=words):
            rows.read(Folder(str(path.parent)), path.name)
    if sys.platform == "linux":
        with pytest.raises(Unreadable, match="is too long: at most 3 bytes"):
            bytes_of(Path("/proc/self/status"), 3)  # its system says that it is empty


def test_models_py_names_what_is_no_workflow(no_files: dict[str, tuple[Path, str]]) -> None:
    path, words = no_files["folder"]
    command = [sys.executable, str(SCRIPTS / "models.py"), "download", str(path), "--yes", "--models", str(ROOT)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert f"{path} {words}" in process.stderr


# --- What is no Python


PROGRAMS = {
    "says nothing": "exit 0",
    "says something else": "echo hello",
    "fails": "exit 3",
    "is too old": "echo python 3 8",
}
SAID = {
    "is too old": "is Python 3.8. Likeness needs 3.10 or newer",
    "fails": r"cannot be run as Python \(it ended with the status 3\)",
}


@posix
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_no_python(tmp_path: Path, program: str) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{PROGRAMS[program]}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(SetupError, match=SAID.get(program, "cannot be run as Python")):
        environment.python_for([], str(path), ["torch"])


BATCH = ("batch.py", "jobs.csv", "--workflow", "w.json")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        # It used to be run in the script's place, and ended without a word.
        pytest.param(
            (*BATCH, "--python", "/bin/true"), 1, "/bin/true cannot be run as Python: it names no version.", marks=posix
        ),
        ((*BATCH, "--python", sys.executable, "--models", "modles"), 1, "There is no folder modles. Name the models"),
        ((*BATCH, "--only", "a", "--part", "1/2"), 2, "--only finds its rows in the whole table: leave --part out"),
        ((*BATCH, "--move-seeds", "-1"), 2, "-1 is not a whole number"),
        (
            (*BATCH, "--garment-share", "0.5", "--keep", "best-of:2"),
            2,
            "--garment-share is for --keep with --clip-vision",
        ),
        ((*BATCH, "--garment-share", "nan"), 2, "nan is not 0 to 1"),
        (("bench.py", "--pictures", "4"), 2, "--pictures is for --gpu."),
        (("bench.py", "--gpu", "--pictures", "0"), 2, "0 is not a whole number from 1"),
        (("bench.py", "--table", "nowhere/table.md"), 2, "There is no folder nowhere for --table"),
    ],
)
def test_options_that_cannot_be_followed(tmp_path: Path, arguments: Sequence[str], status: int, message: str) -> None:
    host = tmp_path / "ComfyUI"
    host.mkdir()
    (host / "main.py").touch()
    (host / "comfyui_version.py").write_text('__version__ = "0.33.0"\n')
    command = [sys.executable, str(SCRIPTS / arguments[0]), *arguments[1:]]
    variables = {name: value for name, value in os.environ.items() if name != "LIKENESS_PYTHON"}
    process = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**variables, "COMFYUI_PATH": str(host)}
    )
    assert process.returncode == status
    assert message in process.stderr


@posix
@pytest.mark.parametrize(
    ("given", "typed"),
    [
        (("jobs.csv", "--workflow", "my story.json"), ("{here}/jobs.csv", "--workflow={here}/my story.json")),
        (("/x/jobs.csv", "--workflow=a b"), ("/x/jobs.csv", "--workflow=a b")),
        (("s3://me:pass@bucket/a?b#c.csv", "--keep", "best-of:4"), ("s3://bucket/a?b#c.csv", "--keep=best-of:4")),
        (("j", "--server", "h:1", "--server", "https://me:p@ss@h/x?token=5"), ("--server=http://h:1", "--server=https://h/x")),
        (("j", "--set", "A=-1", "--set", "It's=$(id) `x` \n%小=y"), ("--set=A=-1", "--set=It's=$(id) `x` \n%小=y")),
        (("j", "--part", "1/2", "--move-seeds", "3", "--gpus", "0", "--measure"), ("--gpus=0.0", "--measure")),
        (("j", "--only", "a", "--models", "m", "--photos", "p"), ("--models={here}/m", "--photos={here}/p")),
        (("j", "--out", "-", "--workers", "2", "--address", "auto"), ("--output={here}/-", "--workers=2")),
    ],
)  # fmt: skip
def test_a_run_is_typed_again_as_it_was_without_its_rows_and_logins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Sequence[str], typed: Sequence[str]
) -> None:
    """In any folder, through a shell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my story.json").touch()
    script = runpy.run_path(str(SCRIPTS / "batch.py"))
    if not any(word.startswith("--workflow") for word in given):
        given = [*given, "--workflow", "w"]
    monkeypatch.setattr(sys, "argv", ["batch.py", *given])
    options = script["arguments"]()
    line = f"printf '%s\\0' {command.typed(options)} --only=x"
    words = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")[1:-1]
    assert words[0] == str(SCRIPTS / "batch.py")
    assert {word.format(here=tmp_path) for word in typed} <= set(words)
    assert "ss@" not in line
    monkeypatch.setattr(sys, "argv", ["batch.py", *words[1:]])
    again = script["arguments"]()
    assert (again.only, again.part, again.move_seeds) == (["x"], None, None)
    monkeypatch.setattr(sys, "argv", ["batch.py", *words[1:-1]])
    assert command.typed(script["arguments"]()) == command.typed(options)
    in_powershell = command.typed(options, "nt")
    assert in_powershell.startswith("& ")
    assert all(as_typed(word, "nt") in in_powershell for word in words[1:-1])


def test_a_folder_of_a_modules_name_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_such_module").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="does not have these packages: no_such_module"):
        environment.python_for([], sys.executable, ["no_such_module"])


@posix
def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As nohup starts a script: the terminal may be closed."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import os, signal, environment\n"
        "def main():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return 5\n"
        "environment.run(main)\n"
    )
    for handler, code in (("SIG_IGN", 5), ("SIG_DFL", 128 + signal.SIGHUP)):
        started = (
            f"import os, signal, sys; signal.signal(signal.SIGHUP, signal.{handler}); "
            f"os.execv(sys.executable, [sys.executable, {str(script)!r}])"
        )
        assert subprocess.run([sys.executable, "-c", started], timeout=60).returncode == code


def ended_by(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A script that ends with an error of the system. code: what its main does."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import environment\n"
        "from pathlib import Path\n"
        f"def main(): {code}\n"
        "environment.run(main)\n"
    )
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)


IN_THE_WAY = {
    "a file in the place of a folder": "Path({place!r}, 'out').mkdir(parents=True)",
    "a folder in the place of a file": "Path({folder!r}).write_text('x')",
    "a file that may not be read": "raise PermissionError(13, 'Permission denied', {place!r})",
    "a full disk": "raise OSError(28, 'No space left on device', {place!r})",
}
"""What a script does, with the paths of a file and of a folder."""


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_a_place_that_cannot_be_written_to_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    place = tmp_path / "file"
    place.touch()
    run = ended_by(tmp_path, IN_THE_WAY[case].format(place=str(place), folder=str(tmp_path)))
    assert run.returncode == 1
    assert run.stderr.startswith(f"[likeness] {tmp_path}")
    assert re.search(r" cannot be (read or )?written to \(", run.stderr)
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error", ["ConnectionRefusedError(111, 'Connection refused')", "FileNotFoundError(2, 'No', 'x')"]
)
def test_any_other_error_of_the_system_keeps_its_traceback(tmp_path: Path, error: str) -> None:
    run = ended_by(tmp_path, f"raise {error}")
    assert run.returncode == 1
    assert run.stderr.startswith("Traceback")
