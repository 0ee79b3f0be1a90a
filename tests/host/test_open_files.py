"""No loader keeps a file open: it could not be replaced on Windows, and a host that runs for days would run out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.supported_models
import folder_paths
import pytest
from attack_graphs import DEFAULTS, Node, node, ours
from graph_run import run
from rig import small_networks
from rig.standins import Standins

OPEN = Path("/proc/self/fd")
KEYS = (
    "insightface", "facexlib", "id_patch", "instantid", "ipadapter", "storymaker", "withanyone", "infiniteyou",
    "photomaker", "parts2whole", "densepose",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not OPEN.is_dir(), reason="this system does not list open files")


@pytest.fixture
def folders(standin_models: Standins, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Where models lie, and people who are saved."""
    known = folder_paths.folder_names_and_paths
    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            patch.setitem(known, key, ([str(standin_models.root / key)], known[key][1]))
        patch.setitem(known, "likeness_faces", ([str(tmp_path)], known["likeness_faces"][1]))
        patch.setattr(folder_paths, "filename_list_cache", {})
        patch.setattr(comfy.supported_models, "models", small_networks.families())
        yield standin_models.root, tmp_path


def opened(*below: Path) -> list[str]:
    """Files in these folders that this process holds open."""
    found: list[str] = []
    for entry in os.listdir(OPEN):
        try:
            found.append(os.readlink(OPEN / entry))
        except OSError:  # of the listing itself
            continue
    return [path for path in found if any(Path(path).is_relative_to(folder) for folder in below)]


LOADERS = [kind for kind in DEFAULTS if kind.startswith("LikenessLoad") and kind != "LikenessLoadIdentity"]


@pytest.mark.parametrize("kind", [*LOADERS, "LikenessDetectBodySurface", "LikenessDoctor"])
def test_models_are_closed(kind: str, folders: tuple[Path, Path]) -> None:
    kept: dict[Node, Any] = {}
    run(ours(kind, **({"backend": "torch"} if kind == "LikenessLoadFaceModel" else {})), kept)
    assert opened(*folders) == []


def test_people_are_closed(folders: tuple[Path, Path]) -> None:
    kept: dict[Node, Any] = {}
    run(ours("LikenessSaveIdentity", filename="anna"), kept)
    run(node("LikenessLoadIdentity", file="anna.safetensors"), kept)
    assert opened(*folders) == []
