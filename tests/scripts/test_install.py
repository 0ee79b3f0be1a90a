"""Installing the pack changes no package that is there: real pip, real environments, packages of a few bytes.

The Manager and comfy-cli install what requirements.txt names, pip what pyproject.toml does.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What people have: the GPU's flavour of onnxruntime and an OpenCV of their own, beside either numpy.
THERE = {"onnxruntime-gpu": "onnxruntime", "opencv-contrib-python": "cv2"}
NUMPY = ("1.26.4", "2.3.5")
# What the pack once asked for, whose own requirements are of the other flavours.
OTHERS = {"onnxruntime": ("onnxruntime", ()), "opencv-python": ("cv2", ("numpy>=2",))}


def wheel(folder: Path, name: str, version: str, module: str, needs: tuple[str, ...] = ()) -> None:
    """A package that holds one module, which says whose it is."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {one}" for one in needs)]
    files = {
        f"{module}/__init__.py": f"OF = {name!r}\n",
        f"{stem}.dist-info/METADATA": "\n".join(metadata) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, record: "".join(f"{path},,\n" for path in [*files, record])}.items():
            archive.writestr(path, text)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip finds packages, instead of the network."""
    folder = tmp_path_factory.mktemp("index")
    for name, module in THERE.items():
        wheel(folder, name, "1.9.9", module)
    for version in NUMPY:
        wheel(folder, "numpy", version, "numpy")
    for name, (module, needs) in OTHERS.items():
        wheel(folder, name, "1.9.9", module, needs)
    wheel(folder, "insightface", "2.0.0", "insightface", tuple(OTHERS))
    return folder


class Environment:
    def __init__(self, folder: Path, index: Path, numpy: str) -> None:
        self.folder, self.index = folder, index
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.install(*THERE, f"numpy=={numpy}")

    def pip(self, *words: str) -> str:
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", str(self.folder)]
        return subprocess.run([*pip, *words], check=True, capture_output=True, text=True).stdout

    def install(self, *words: str) -> None:
        self.pip("install", "--quiet", "--no-index", "--find-links", str(self.index), *words)

    def state(self) -> tuple[str, dict[str, str]]:
        """What `pip freeze` says, and what lies in the modules."""
        (packages,) = self.folder.glob("[Ll]ib/**/site-packages")
        modules = {path.parent.name: path.read_text() for path in packages.glob("*/__init__.py")}
        return self.pip("freeze"), modules


@pytest.mark.parametrize("numpy", NUMPY)
def test_installing_the_pack_changes_nothing(tmp_path: Path, index: Path, numpy: str) -> None:
    environment = Environment(tmp_path / "venv", index, numpy)
    before = environment.state()
    assert "onnxruntime-gpu==1.9.9" in before[0] and f"numpy=={numpy}" in before[0] and len(before[1]) == 3
    environment.install("-r", str(ROOT / "requirements.txt"), "-r", str(named_by_pyproject(tmp_path)))
    assert environment.state() == before


def named_by_pyproject(folder: Path) -> Path:
    """The line that pip reads of it, as a file of requirements."""
    (line,) = (line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("dependencies ="))
    file = folder / "named.txt"
    file.write_text("\n".join(part.strip(" \"'") for part in line.partition("[")[2].strip("]").split(",")))
    return file


def test_it_would_be_seen(tmp_path: Path, index: Path) -> None:
    """insightface among the requirements brings its flavours, which write over what is there."""
    environment = Environment(tmp_path / "venv", index, NUMPY[0])
    frozen, modules = environment.state()
    asked = tmp_path / "requirements.txt"
    asked.write_text("insightface>=2.0\n")
    environment.install("-r", str(asked))
    after, changed = environment.state()
    assert after != frozen and "onnxruntime==1.9.9" in after
    assert modules["cv2"] == "OF = 'opencv-contrib-python'\n" and changed["cv2"] == "OF = 'opencv-python'\n"
