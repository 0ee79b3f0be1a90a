"""No loader keeps a file open: it could not be replaced on Windows, and a host that runs for days would run out."""

import os
from pathlib import Path
from typing import Any

import comfy.supported_models
import folder_paths
import pytest
from graph_run import run
from graphs import DEFAULTS, Node, node, ours
from standins_made import Standins
from tiny import small_networks

OPEN = Path("/proc/self/fd")
KEYS = (
    "insightface", "facexlib", "id_patch", "instantid", "ipadapter", "pulid", "photomaker", "parts2whole",
)  # fmt: skip
LOADERS = [kind for kind in DEFAULTS if kind.startswith("LikenessLoad") and kind != "LikenessLoadPerson"]

pytestmark = pytest.mark.skipif(not OPEN.is_dir(), reason="this system does not list open files")


@pytest.fixture(autouse=True)
def _folders(standin_models: Standins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the stand-ins, and an empty one of people."""
    folders_by_key = folder_paths.folder_names_and_paths
    folders = {**{key: standin_models.root / key for key in KEYS}, "likeness_faces": tmp_path}
    for key, folder in folders.items():
        monkeypatch.setitem(folders_by_key, key, ([str(folder)], folders_by_key[key][1]))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(comfy.supported_models, "models", small_networks.families())


def _open_files(folders: list[Path]) -> list[str]:
    """The files below those folders that this process holds open, without the tests' own lock on the stand-ins."""
    paths: list[str] = []
    for entry in os.listdir(OPEN):
        try:
            path = Path(os.readlink(OPEN / entry))
        except OSError:  # the listing's own entry is closed by now
            continue
        if any(path.is_relative_to(folder) for folder in folders):
            paths.append(str(path))
    return paths


@pytest.mark.parametrize("kind", [*LOADERS, "LikenessCheckModelFiles", "LikenessSavePerson"])
def test_files_are_closed(kind: str, standin_models: Standins, tmp_path: Path) -> None:
    outputs_by_node: dict[Node, Any] = {}
    saves = kind == "LikenessSavePerson"
    inputs = {"filename": "anna"} if saves else {}
    run(ours(kind, **inputs), outputs_by_node)
    if saves:
        run(node("LikenessLoadPerson", file="anna.safetensors"), outputs_by_node)
    assert _open_files([standin_models.root, tmp_path]) == []
