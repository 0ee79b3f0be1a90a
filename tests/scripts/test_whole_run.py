"""scripts/test.py, run for real and whole in a small clone: it changes no tracked file, fetches ComfyUI where there is
none, and says what was not tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environment import INSTALLED_HOST, RELEASE, ROOT, VENV, host_at
from systems import with_all_packages

NOWHERE = "http://127.0.0.1:9"
"""A proxy that nobody listens at: what needs a network fails at once."""
UNIT = "def test_a():\n    assert 1 + 1 == 2\n"
OF_A_METHOD = """
import os
import pytest

@pytest.mark.parametrize("method", ["id_patch, ApplyIDPatch", "instant_id, ApplyInstantID"])
def test_weight_zero(method):
    assert os.path.isfile(os.path.join(os.environ["COMFYUI_PATH"], "main.py"))
"""


def git(*arguments: str, folder: Path) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def committed(folder: Path) -> None:
    git("init", "--quiet", folder=folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message", "all", folder=folder)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git clone of the pack whose tests are one without a ComfyUI and two of a method."""
    folder = tmp_path / "likeness"
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("core", "nodes", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", ".gitignore", "models_manifest.json"):
        shutil.copyfile(ROOT / name, folder / name)
    for path, text in (("unit/test_sums.py", UNIT), ("every_method/test_off.py", OF_A_METHOD)):
        file = folder / "tests" / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
    committed(folder)
    return folder


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """The repository of a ComfyUI that has little in it. It asks for no package that .venv has not."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text(f'__version__ = "{RELEASE}"\n')
    shutil.copyfile(ROOT / "scripts" / "requirements" / "demo.txt", folder / "requirements.txt")
    committed(folder)
    git("tag", f"v{RELEASE}", folder=folder)
    return folder


def run(clone: Path, *command: str, python: str = sys.executable, **settings: str) -> subprocess.CompletedProcess[str]:
    """A script of the clone, on a machine without a ComfyUI and without a network."""
    hidden = ("COMFYUI_PATH", "LIKENESS_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "CI", "PYTHONPATH")
    variables: dict[str, str] = {}
    for name, value in os.environ.items():
        if name not in hidden and not name.startswith("PYTEST_"):
            variables[name] = value
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        variables[name] = NOWHERE
    variables |= {"HOME": str(clone.parent), "USERPROFILE": str(clone.parent), **settings}
    script = str(clone / "scripts" / command[0])
    return subprocess.run([python, script, *command[1:]], cwd=clone, env=variables, capture_output=True, text=True)


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stderr + process.stdout
    return process.stdout.splitlines()[-1]


@with_all_packages
def test_a_whole_run_changes_no_tracked_file(clone: Path, comfyui: Path) -> None:
    process = run(clone, "test.py", "--python", sys.executable, COMFYUI_PATH=str(comfyui))
    assert [*map(int, re.findall(r"(\d+) passed in", process.stdout))] == [1, 2]
    assert "NOT tested: the thorough tests (--all runs them)" in last_line(process)
    assert git("status", "--porcelain", folder=clone) == ""


@with_all_packages
def test_an_older_comfyui_is_left_alone_where_it_has_nothing_to_run(clone: Path, comfyui: Path) -> None:
    """Its requirements, which would be installed first, cannot be had."""
    older = clone.parent / "comfy" / "ComfyUI-older"
    shutil.copytree(comfyui, older)
    (older / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    (older / "requirements.txt").write_text("no-such-package-at-all==1.0\n")
    process = run(clone, "test.py", "--python", sys.executable, "-k", "zero", COMFYUI_PATH=str(comfyui))
    assert last_line(process).startswith("All that ran passed")
    assert "Tests: ComfyUI 0.33.0" in process.stderr
    assert "0.3.64" not in process.stderr


def with_venv(clone: Path) -> None:
    (clone / ".venv").symlink_to(VENV)
    # The link is no folder, which is what .gitignore names.
    (clone / ".git" / "info" / "exclude").write_text(".venv\n")


needs_venv = pytest.mark.skipif(not (VENV / "likeness-installed.txt").is_file(), reason="there is no .venv of our own")


@needs_venv
def test_a_comfyui_within_reach_is_fetched_and_tested(clone: Path, comfyui: Path) -> None:
    """git takes a repository on this machine for ComfyUI's."""
    with_venv(clone)
    instead = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{comfyui.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/comfyanonymous/ComfyUI",
    }
    process = run(clone, "test.py", python=sys._base_executable, **instead)
    assert [*map(int, re.findall(r"(\d+) passed in", process.stdout))] == [1, 2]
    assert "ComfyUI (nodes" not in last_line(process)
    fetched = host_at(clone / ".cache" / INSTALLED_HOST.name)
    assert fetched
    assert str(fetched) == f"ComfyUI {RELEASE}"
    assert git("status", "--porcelain", folder=clone) == ""


@needs_venv
@pytest.mark.parametrize(
    ("arguments", "gap"),
    [
        ((), "everything that needs a ComfyUI (nodes, every method, parity)"),
        (("tests/unit", "tests/every_method/test_off.py"), "tests/every_method/test_off.py, which needs a ComfyUI"),
    ],
)
def test_without_a_comfyui_the_last_line_says_what_was_not_tested(
    clone: Path, arguments: tuple[str, ...], gap: str
) -> None:
    with_venv(clone)
    last = last_line(run(clone, "test.py", *arguments, python=sys._base_executable))
    assert last.startswith("All that ran passed, in ")
    assert f"NOT tested: {gap}: none was found and none could be fetched" in last


@needs_venv
def test_what_needs_no_comfyui_fetches_none(clone: Path) -> None:
    with_venv(clone)
    process = run(clone, "test.py", "tests/unit", python=sys._base_executable)
    assert " NOT tested: anything outside of the paths that you named" in last_line(process)
    assert "No ComfyUI was found" not in process.stderr
