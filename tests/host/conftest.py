"""What host tests share: small networks, files for them, and pages of a browser."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import fixtures, launch
from browser.fixtures import browser, newest, people, visit, watched  # noqa: F401
from browser.newest_frontend import newest_frontend
from environment import Host, SetupError
from small_templates import known, pictures, small  # noqa: F401

if TYPE_CHECKING:
    from comfy.controlnet import ControlNet
    from comfy.model_patcher import ModelPatcher
    from pack.bridge.people.face_model import HostedFaceModel
    from pack.nodes.id_patch.nodes import IDPatch
    from pack.nodes.instant_id.nodes import InstantID
    from shared.host_server import HostServer
    from standins_made import Standins


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A browser is at work while a test uses it, and not beside any other test."""
    if not fixtures.uses_browser(item):
        return (yield)
    with launch.at_work():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failed test says where its trace and its screenshot are."""
    report = yield
    if call.when == "call":
        fixtures.keep_failure(item, report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A page that no test looks at any more computes nothing."""
    opened = fixtures.visit_of(item)
    if opened and nextitem and not fixtures.uses_browser(nextitem) and not opened.page.is_closed():
        opened.rest()


@pytest.fixture(scope="session")
def windows_server(
    host: Host, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostServer]:
    """It lists files as Windows writes their names, and has the newest frontend where that is for this ComfyUI."""
    import windows_names

    frontend = None
    if host.version >= (0, 10):
        with suppress(SetupError):
            frontend = newest_frontend(Path(sys.executable))
    with windows_names.server(host, standin_models, tmp_path_factory.mktemp("windows"), frontend) as server:
        yield server


@pytest.fixture(scope="session")
def id_patch() -> IDPatch:
    """Small projections of the published kind."""
    import sample_values

    return sample_values.loaded("id_patch")


@pytest.fixture(scope="session")
def sdxl() -> tuple[ModelPatcher, ControlNet]:
    """A tiny MODEL and ControlNet of SDXL's kind."""
    import sample_values

    return sample_values.sdxl(), sample_values.new_control_net(172)


@pytest.fixture(scope="session")
def model(sdxl: tuple[ModelPatcher, ControlNet]) -> ModelPatcher:
    return sdxl[0]


@pytest.fixture(scope="session")
def instant_id(sdxl: tuple[ModelPatcher, ControlNet]) -> InstantID:
    """Its file for them."""
    import sample_values

    return sample_values.loaded("instant_id", sdxl[0])


@pytest.fixture(scope="session")
def face_model() -> HostedFaceModel:
    """A real detector and a real recogniser, in the host's hands."""
    import real_faces
    from pack.bridge.people import face_model

    recogniser = real_faces.recogniser(face_model.Hosted)
    return face_model.HostedFaceModel(real_faces.detector(face_model.Hosted), (recogniser,))
