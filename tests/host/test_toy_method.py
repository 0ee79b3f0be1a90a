"""One more method is one more folder: with tests/support/toy_method below nodes/, all that lists methods knows it."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "support" / "toy_method"
LAID_BESIDE = ("core", "bridge", "web", "locales", "workflows", "pictures", "models_manifest.json", "__init__.py")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The pack with the toy's folder, as another package of this process."""
    root = tmp_path_factory.mktemp("toy") / "pack"
    root.mkdir()
    for name in LAID_BESIDE:
        (root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "nodes", root / "nodes")
    shutil.copytree(TOY, root / "nodes" / TOY.name)
    spec = importlib.util.spec_from_file_location(
        "toy_pack", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec and spec.loader
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "toy_pack", importlib.util.module_from_spec(spec))
        patch.setattr(folder_paths, "folder_names_and_paths", dict(folder_paths.folder_names_and_paths))
        yield sys.modules["toy_pack"]
        for name in [name for name in sys.modules if name.startswith("toy_pack.")]:
            del sys.modules[name]


def module(name: str) -> Any:
    return importlib.import_module(f"toy_pack.{name}")


def test_lists_know_it(toy: ModuleType) -> None:
    nodes = {node.define_schema().node_id for node in module("nodes.extension").NODES}
    assert "LikenessApplyToy" in nodes
    assert "toy_method" in module("nodes.adapters").LOADERS
    assert "toy" in folder_paths.folder_names_and_paths
    assert module("core.measure").METHODS["Toy Adapter"] == "antelopev2"
    state = {"toy_proj.weight": torch.zeros(8, 512)}
    assert module("core.models.formats").identify(state).title == "a toy adapter"
    graph = {
        "1": {"class_type": "LikenessApplyToy", "inputs": {}},
        "2": {"class_type": "LikenessIdentity", "inputs": {}},
    }
    assert "antelopev2" in [model.id for model in module("core.models.needs").wanted(graph)]
    uses = module("core.models.needs").users(
        {"mine": graph}, lambda _: {"1": {"class_type": "LikenessApplyInstantID", "inputs": {}}}
    )
    assert uses(module("core.models.manifest").model("instantid")) == "Toy Adapter"
    assert "Toy" not in module("bridge.unet").instead(), "it is for UNets"


PROMISES = ("off", "a_b_a", "masks", "people_together", "rows", "odd_sizes", "half", "cancel", "wrong_values")


def test_it_is_in_the_matrix_of_promises_by_its_record_alone(tmp_path: Path) -> None:
    """In a copy of the pack with its folder: nothing of it stands anywhere else."""
    for name in (*LAID_BESIDE, "pyproject.toml", "nodes", "scripts", "tests"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    shutil.copytree(TOY, tmp_path / "nodes" / TOY.name)
    files = [f"tests/promises/test_{name}.py" for name in PROMISES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "toy_method", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and " skipped" not in done.stdout, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 20


def test_a_cell_that_is_forgotten_is_named(tmp_path: Path) -> None:
    from pack.core.methods import BadRecord, read

    text = (TOY / "method.json").read_text("utf-8")
    for wrong, why in (('"recogniser": "antelopev2",', "missing"), ('"reads": ["embedding"]', "reads")):
        path = tmp_path / "method.json"
        path.write_text(text.replace(wrong, "" if why == "missing" else '"reads": ["mind"]'))
        with pytest.raises(BadRecord, match=why):
            read(path)
