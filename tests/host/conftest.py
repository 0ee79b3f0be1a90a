"""What host tests share: a running ComfyUI with the pack in it, and the stand-in model files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import chromium
import one_thread  # noqa: F401
import pytest
from environment import Host, host_at
from rig.host_server import HostServer
from rig.standins import Standins, build


@pytest.fixture(scope="session")
def host() -> Host:
    """The ComfyUI under test."""
    import os

    found = host_at(Path(os.environ["COMFYUI_PATH"]))
    assert found
    return found


@pytest.fixture(scope="session")
def standin_models() -> Standins:
    """Model files with real keys and random weights; `.root` holds one folder per model key."""
    return build()


@pytest.fixture(scope="session")
def host_server(host: Host, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """One running host for the whole session, the pack in a folder with dashes, the stand-ins among its models."""
    base = tmp_path_factory.mktemp("host-server") / "base"
    with HostServer(host, Path(sys.executable), base, [standin_models.root], "likeness-nodes") as server:
        yield server


@pytest.fixture(scope="session")
def chrome() -> Iterator[chromium.Browser]:
    """One browser for the whole session."""
    chromium.require()
    with chromium.Browser() as browser:
        yield browser
