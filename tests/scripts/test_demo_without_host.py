"""scripts/demo.py where there is no ComfyUI: run for real, from a folder of its own, so that nothing of the clone's
changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import demo as demo_script
import pytest
from environment import ROOT, VENV
from PIL import Image

NEEDED = ("core", "scripts", "pictures", "workflows", "models_manifest.json", "nodes")
PICTURES = {
    "1_cast_from_photos.png": (338, 196),
    "2_layout_for_a_group.png": (512, 384),
    "3_place_cast.png": (512, 384),
    "4_apply_id_patch.png": (512, 384),
    "outfit.png": (128, 192),
    "result.png": (512, 384),
    "story.png": (1024, 828),
}
"""What the demo leaves, with a host and without, and the sizes in pixels."""
NOWHERE = "http://127.0.0.1:9"
"""A proxy that nobody listens at: what needs a network fails at once."""


def linked(root: Path) -> Path:
    """The pack as links in a folder that has no environment, no cache and no output yet."""
    folder = root / "likeness"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return linked(tmp_path)


def variables(home: Path) -> dict[str, str]:
    """Of a machine without a ComfyUI and without a network."""
    hidden = ("COMFYUI_PATH", "LIKENESS_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")
    visible = {name: value for name, value in os.environ.items() if name not in hidden}
    proxies = {"HTTPS_PROXY": NOWHERE, "https_proxy": NOWHERE, "HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE}
    return {**visible, **proxies, "HOME": str(home), "USERPROFILE": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


def demo(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "scripts" / "demo.py"), *arguments]
    return subprocess.run(command, env=variables(clone.parent), cwd=clone.parent, capture_output=True, text=True)


def python_says(clone: Path, code: str) -> subprocess.CompletedProcess[str]:
    """What the demo's own functions say, in a process that finds them in the clone."""
    command = [sys._base_executable, "-c", f"import sys; sys.path.insert(0, {str(clone / 'scripts')!r})\n{code}"]
    return subprocess.run(command, env=variables(clone.parent), cwd=clone.parent, capture_output=True, text=True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which the demo has run, and what it has said. The folder of pictures had some before."""
    there = linked(tmp_path_factory.mktemp("drawn"))
    output = there / "output"
    output.mkdir()
    (output / "report.json").write_text(json.dumps({"pictures": ["9_last_run.png", "../outside.png"]}))
    for name in ("9_last_run.png", "others.png", "../outside.png"):
        (output / name).write_bytes(b"a picture")
    process = demo(there, "--python", sys.executable)
    assert process.returncode == 0, process.stderr
    return there, process.stderr


def test_what_the_last_run_has_left_goes_and_what_others_have_left_stays(drawn: tuple[Path, str]) -> None:
    clone, _ = drawn
    assert (clone / "outside.png").is_file()
    assert {path.name for path in (clone / "output").iterdir()} == {*PICTURES, "report.json", "others.png"}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_something(name: str, drawn: tuple[Path, str]) -> None:
    clone, _ = drawn
    with Image.open(clone / "output" / name) as picture:
        assert picture.size == PICTURES[name]
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 1


def test_each_person_stands_in_their_place_by_the_report(drawn: tuple[Path, str]) -> None:
    clone, _ = drawn
    report = json.loads((clone / "output" / "report.json").read_text("utf-8"))
    assert report["host"] is None
    assert (report["ran"], report["did_not_run"]) == (["core", "toy model"], ["nodes", "host"])
    assert report["association"] == 1.0, "everybody's place shows their own look"
    assert report["pictures"] == sorted(PICTURES)


def test_it_is_said_what_ran_what_did_not_and_which_picture_to_open_first(drawn: tuple[Path, str]) -> None:
    clone, said = drawn
    lines = said.splitlines()
    shown = len(demo_script.SHOWN)
    ran, not_run, command, done = lines[-4 - shown : -shown]
    assert "What ran: the pack's core" in ran
    assert "toy model" in ran
    assert "What did NOT run: the nodes and ComfyUI." in not_run
    assert "git clone https://" in not_run
    assert command.startswith("COMFYUI_PATH=")
    assert f"The pictures and report.json are in {clone / 'output'}. Open the first one first:" in done
    for line, name in zip(lines[-shown:], demo_script.SHOWN, strict=True):
        assert f"{clone / 'output' / name}: " in line
    assert "Place Cast" not in said, "steps are named with --verbose alone"


def test_pictures_of_the_steps_are_called_like_their_nodes() -> None:
    """So a run in a ComfyUI, which takes the titles of its nodes, leaves the same names."""
    nodes = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    node_names = ("CastFromPhotos", "LayoutForAGroup", "PlaceCast", "ApplyIDPatch")
    names: list[str] = []
    for number, node in enumerate(node_names, 1):
        title = nodes[f"Likeness{node}"]["display_name"]
        names.append(f"{number}_{demo_script.picture_name(title)}.png")
    assert names == sorted(PICTURES)[:4]


def test_weights_for_no_host_are_refused_before_anything_comes(clone: Path) -> None:
    process = demo(clone, "--python", sys.executable, "--download", "--yes")
    assert process.returncode == 1
    assert "--download fetches the released weights for a ComfyUI, and there is no ComfyUI here." in process.stderr
    assert not (clone / ".cache").exists()
    assert not (clone / "output").exists()


@pytest.mark.skipif(not (VENV / "likeness-installed.txt").is_file(), reason="there is no .venv of our own")
def test_comfyui_is_looked_for_before_anything_is_installed(clone: Path) -> None:
    """Out of reach, the pictures are drawn in the environment that is there; nothing is fetched."""
    (clone / ".venv").symlink_to(VENV)
    process = python_says(clone, "import demo; print(*demo.prepared(None, False))")
    assert process.stdout.split() == ["None", str(clone / ".venv" / "bin" / "python")], process.stderr
    assert "No ComfyUI was found" in process.stderr
    assert "its repository does not answer" in process.stderr
    assert not (clone / ".cache").exists()


def git(*arguments: str, folder: Path) -> None:
    named = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*named, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_comfyui_within_reach_is_fetched_whole(clone: Path, tmp_path: Path) -> None:
    repository = tmp_path / "ComfyUI"
    repository.mkdir()
    (repository / "main.py").touch()
    (repository / "comfyui_version.py").write_text('__version__ = "0.33.0"\n')
    git("init", "--quiet", folder=repository)
    git("add", "--all", folder=repository)
    git("commit", "--quiet", "--message", "release", folder=repository)
    git("tag", "v0.33.0", folder=repository)
    code = f"import environment; environment.COMFYUI = {repository.as_uri()!r}; print(*environment.fetched_host())"
    process = python_says(clone, code)
    assert process.stdout.strip().startswith("ComfyUI 0.33.0"), process.stderr
    assert [path.name for path in (clone / ".cache").iterdir()] == ["ComfyUI"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_a_program_that_was_started_ends_with_the_script(clone: Path, tmp_path: Path) -> None:
    """Else an installer would go on after the demo was stopped."""
    started = tmp_path / "started"
    cleaned = tmp_path / "cleaned"
    child = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(cleaned)!r}).touch(), sys.exit(1)))\n"
        "time.sleep(0.3)  # until the script waits for it\n"
        f"pathlib.Path({str(started)!r}).touch()\n"
        "time.sleep(60)\n"
    )
    script = f"import environment, sys\nenvironment.run(lambda: environment.called([sys.executable, '-c', {child!r}]))"
    code = f"import sys; sys.path.insert(0, {str(clone / 'scripts')!r})\n{script}"
    with subprocess.Popen([sys.executable, "-c", code], env=variables(clone.parent)) as process:
        give_up = time.monotonic() + 60
        while not started.exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert started.exists()
    assert cleaned.exists()
