"""Which build of torch the demo's small environment gets, and what is printed on the way: real pip and uv, no network.

The packages are empty ones of these names in a folder that pip is set to look in.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from environment import ROOT, python_in

REQUIREMENTS = ROOT / "scripts" / "requirements" / "alone.txt"
NOWHERE = "http://127.0.0.1:9"
"""A proxy that nobody listens at."""
pytest.importorskip("uv")


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    """An empty package."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    wheel(folder, "torch", "9.1", "nvidia-cudnn-cu13")
    wheel(folder, "nvidia_cudnn_cu13", "9.9")
    pinned = re.findall(r"^([\w-]+)==([\w.]+)", REQUIREMENTS.read_text("utf-8"), re.MULTILINE)
    assert len(pinned) > 3
    for name, version in pinned:
        wheel(folder, name.replace("-", "_"), version)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python environment."""
    folder = tmp_path_factory.mktemp("python") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return python_in(folder)


SMALL = "environment._install_cpu_build(python, '-r', requirements)"
"""Of all that the demo without a host needs."""


def printed_by(call: str, python: Path, packages: Path, **variables: str) -> str:
    """What functions of environment.py print that install packages into the Python. variables: of their environment."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "import pathlib, environment\n"
        f"python = pathlib.Path({str(python)!r})\n"
        f"requirements = {str(REQUIREMENTS)!r}\n"
        f"{call}\n"
    )
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), NOWHERE)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages), "PIP_CONFIG_FILE": os.devnull}
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **proxies, **pip, "PATH": tools, "UV_HTTP_RETRIES": "0", **variables},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stderr


def version_of(package: str, python: Path) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_torch_comes_without_cuda_where_there_is_such_a_build(packages: Path, small: Path) -> None:
    """And with it where there is none. What an index that does not answer says is not printed as an error."""
    printed = printed_by(SMALL, small, packages)
    assert version_of("torch", small) == "9.1"
    assert version_of("nvidia-cudnn-cu13", small) == "9.9"
    assert "No package index here has a CPU build of torch." in printed
    assert "Installing the build with CUDA (a download of 3 GB, 7 GB on disk)." in printed
    assert "error" not in printed.lower(), printed

    remove = [str(small), "-m", "pip", "uninstall", "--quiet", "--yes", "torch", "nvidia-cudnn-cu13"]
    subprocess.run(remove, check=True)
    wheel(packages, "torch", "8.0+cpu")
    printed = printed_by(SMALL, small, packages)
    assert version_of("torch", small) == "8.0+cpu", "an older build, but one that needs no CUDA"
    assert "Installing a CPU build of torch and a few packages (a download of 300 MB, 1 GB on disk)." in printed
    assert "error" not in printed.lower(), printed


def test_an_index_that_does_not_answer_is_no_error_where_the_packages_come_from_another(
    packages: Path, small: Path
) -> None:
    """uv reaches neither torch's index nor PyPI; pip finds the package in its folder."""
    wheel(packages, "tiny", "3.0")
    printed = printed_by("environment.install(python, 'tiny')", small, packages)
    assert version_of("tiny", small) == "3.0"
    assert "uv cannot find these packages. Trying pip instead, which is slower." in printed
    assert "error" not in printed.lower(), printed


def test_uv_takes_torch_from_the_usual_index_where_torchs_own_does_not_answer(tmp_path: Path, small: Path) -> None:
    (tmp_path / "torch").mkdir()
    wheel(tmp_path / "torch", "torch", "9.2")
    (tmp_path / "torch" / "index.html").write_text('<a href="torch-9.2-py3-none-any.whl">torch</a>', "utf-8")
    usual = {"UV_DEFAULT_INDEX": tmp_path.as_uri()}
    printed = printed_by("environment.install(python, 'torch==9.2')", small, tmp_path / "nothing", **usual)
    assert version_of("torch", small) == "9.2"
    assert "pip instead" not in printed
    assert "error" not in printed.lower(), printed
