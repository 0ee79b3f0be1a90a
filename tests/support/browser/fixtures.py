"""What pytest gives to tests of the page: a browser, and a visit in each frontend with each kind of nodes."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import real_faces
from environment import Host, SetupError, host_at
from shared.host_server import HostServer
from standins_made import Standins

from . import launch
from .canvas import Graph, node
from .newest_frontend import PACKAGE, newest_frontend
from .visit import Visit

OWN, NEWEST = "its own with classic nodes", "the newest with Vue nodes"
"""The frontends that a test of the page is tried in with every run: each once, and each kind of nodes once."""
OWN_WITH_VUE, NEWEST_WITH_CLASSIC = "its own with Vue nodes", "the newest with classic nodes"
ALL = OWN, NEWEST, OWN_WITH_VUE, NEWEST_WITH_CLASSIC


def _parameters(frontends: Iterable[str], often: Collection[str]) -> list[Any]:
    """Without those that are not for this ComfyUI: 1.27.10 of 0.3.64 has no Vue nodes, and needs no newer one."""
    host = host_at(Path(os.environ.get("COMFYUI_PATH", "-")))
    known = frontends if host and host.version >= (0, 10) else {OWN}.intersection(frontends)
    return [pytest.param(one, marks=() if one in often else pytest.mark.thorough) for one in known]


def in_frontends(*frontends: str, often: Collection[str] = (OWN, NEWEST)) -> pytest.MarkDecorator:
    """A decorator: the test is tried in these frontends, and in those of `often` in every run."""
    return pytest.mark.parametrize("visit", _parameters(frontends, often), indirect=True)


own_often = in_frontends(*ALL, often=[OWN])
newest_often = in_frontends(*ALL, often=[NEWEST])
once_of_each = in_frontends(OWN, NEWEST)
"""For what is tried with every file or page. What is the same in every file the other tests try in all four."""


@pytest.fixture(scope="session")
def newest(host: Host, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """The host with the newest frontend."""
    python = Path(sys.executable)
    try:
        frontend = newest_frontend(python)
    except SetupError as problem:
        pytest.skip(f"NOT TRIED in {PACKAGE}: {problem}")
    base = tmp_path_factory.mktemp("newest") / "base"
    with HostServer(host, python, base, [standin_models.root], frontend=frontend) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[launch.Browser]:
    """One for all."""
    browser = launch.Browser(launch.program())
    yield browser
    browser.close()


@pytest.fixture(scope="session", params=_parameters(ALL, (OWN, NEWEST)))
def visit(request: pytest.FixtureRequest, browser: launch.Browser) -> Iterator[Visit]:
    """A page and a profile of its own for every frontend and kind of nodes."""
    of_the_host, vue = request.param in (OWN, OWN_WITH_VUE), request.param in (NEWEST, OWN_WITH_VUE)
    server = request.getfixturevalue("host_server" if of_the_host else "newest")
    server.upload_image(real_faces.COFFEE, "example.png")  # which every ComfyUI brings
    visit = opened(Visit(browser, server, vue))
    yield visit
    visit.set("Comfy.VueNodes.Enabled", False)  # the host is not ours alone
    visit.close()


@pytest.fixture
def people(visit: Visit) -> Graph:
    """Yao on his photo in the one place of a layout."""
    image = visit.server.upload_image(real_faces.YAO)
    yao = {"name": "Yao", "which_face": "only", "on_no_face": "error"}
    size = {"width": 512, "height": 512}
    return {
        "models": node("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="all found", provider="CPU"),
        "photo": node("LoadImage", image=image),
        "yao": node("LikenessPerson", face_model=["models", 0], image=["photo", 0], **yao),
        "cast": node("LikenessCast", person_1=["yao", 0]),
        "layout": node("LikenessLayoutForAGroup", count=1, framing="half", rows=0, **size),
        "place": node("LikenessPlaceCast", cast=["cast", 0], layout=["layout", 0], order="as listed", custom_order=""),
        "shown": node("PreviewImage", images=["place", 1]),
    }


def opened(visit: Visit) -> Visit:
    """The page, once it has opened. Where it does not, the error says where a trace and a screenshot are."""
    visit.recording.begin("open")
    try:
        visit.open()
    except Exception as error:
        files_of_failure = visit.recording.keep(visit.page, "open")
        visit.close()
        raise AssertionError(f"The editor did not open.\n{files_of_failure}") from error
    visit.recording.discard()
    return visit


@pytest.fixture(autouse=True)
def watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Opens the page anew where the test before has failed or the page rested, records what the test does, and fails
    where a script of ours has thrown what nobody has caught."""
    if "visit" not in request.fixturenames:
        yield
        return
    visit: Visit = request.getfixturevalue("visit")
    if visit.needs_opening:
        visit.open()
    visit.recording.begin(request.node.nodeid)
    yield
    visit.recording.discard()
    thrown = visit.console.thrown_by(f"/extensions/{visit.server.pack_name}/")
    assert thrown == []


def visit_of(item: pytest.Item) -> Visit | None:
    """The page that a test looks at, once there is one."""
    visit = getattr(item, "funcargs", {}).get("visit")
    return visit if isinstance(visit, Visit) else None


def keep_failure(item: pytest.Item, report: pytest.TestReport) -> None:
    """Say in a failed test's report where its trace and its screenshot are."""
    visit = visit_of(item)
    if report.failed and visit is not None:
        report.sections.append(("browser", visit.recording.keep(visit.page, item.nodeid)))
        visit.needs_opening = True


def uses_browser(item: pytest.Item | None) -> bool:
    return "browser" in getattr(item, "fixturenames", ())
