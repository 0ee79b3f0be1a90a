"""Pictures of the help pages that scripts/pictures.py makes in a ComfyUI."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from environment import Host
from miniature import built
from rig.host_server import HostServer

SCRIPT: Any = importlib.import_module("pictures")
"""By its name: for a type checker it is the folder pictures/."""


@pytest.fixture(scope="module")
def server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """A host with the miniature's files."""
    base = tmp_path_factory.mktemp("previews") / "base"
    with HostServer(host, Path(sys.executable), base, [built.build().root], without=("facexlib",)) as running:
        yield running


@pytest.mark.parametrize("name", ["part.png", "person.jpg", "layout_from_faces.png"])
def test_a_preview_is_the_picture_of_its_help_page(server: HostServer, name: str) -> None:
    """The preview of a node alone, and of nodes that find faces in the pack's drawn people."""
    (picture,) = SCRIPT.previews_in(server, f"web/docs/img/{name}")
    assert not SCRIPT.compared(picture).startswith("looks different")
    wrong_picture = picture._replace(path="web/docs/img/regions.png")
    assert SCRIPT.compared(wrong_picture).startswith("looks different"), "another picture is no longer told from it"
