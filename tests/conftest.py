"""Loads the pack as the package `pack`, with or without a host, for every test."""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Of what is imported nothing is garbage: to look for it takes a second of each worker's start.
gc.disable()

ROOT = Path(__file__).resolve().parent.parent
HOST = os.environ.get("COMFYUI_PATH")
# Before torch is imported, and for every process that is started from here. One thread each: the networks are tiny, and
# there are as many workers as cores. Threads that spin while they wait can make it 30 times as slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# On a card of NVIDIA's float32 is float32, whatever torch or the host asks for: TF32 rounds to 1e-3.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
# A ComfyUI that is started from here computes on the same device as the tests.
os.environ.setdefault("LIKENESS_TEST_DEVICE", "cpu")
# Behind everything else, so that no module of the host or the standard library (`test`) is hidden.
SCRIPTS = ROOT / "scripts"
SUPPORT = ROOT / "tests" / "support"
sys.path += [str(SCRIPTS), str(SUPPORT)]

from shared.pack import load_host, load_pack  # noqa: E402
from tiny import devices  # noqa: E402


def _write_below_a_folder_of_its_own() -> None:
    import folder_paths

    folder = tempfile.mkdtemp(prefix="likeness-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder_paths.set_temp_directory(folder)


LONGEST = (
    "server", "browser", "test_compare_people", "test_hostile_inputs", "test_toy",
    "test_compiled", "test_other_packs", "test_counted", "test_toy_method", "test_bench",
)  # fmt: skip
"""Groups of tests that take minutes: begun first, so that no worker is left alone with one of them at the end. The two
of servers and browsers wait for these, so that the other workers have the cores while they do."""

ON_HOSTS = ("host", "parity", "every_method")

load_pack()


def pytest_configure(config: pytest.Config) -> None:
    """With a host: model folders are known, and nodes hold what they are given to their schemas. A process that only
    hands tests to its workers (pytest -n) needs none of it."""
    if HOST and not getattr(config.option, "numprocesses", None):
        load_host(HOST, devices.ON_CPU)
        if not devices.ON_CPU:
            devices.compute_exactly()
        _write_below_a_folder_of_its_own()
        import pack.nodes.extension  # noqa: F401


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of the folders in ON_HOSTS need a ComfyUI; scripts/test.py runs them in every one that it finds.

    A file's tests share networks, and those of several files a running host: each such group stays in one worker.
    """
    skip = pytest.mark.skip(reason="needs COMFYUI_PATH")
    for item in items:
        if not HOST and {ROOT / "tests" / name for name in ON_HOSTS} & set(item.path.parents):
            item.add_marker(skip)
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("browser"))
        elif not item.get_closest_marker("xdist_group"):
            shared = "server" if "host_server" in getattr(item, "fixturenames", ()) else item.path.stem
            item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=_turn)


def pytest_collection_finish(session: pytest.Session) -> None:
    """ComfyUI collects garbage often, and what has been imported is never any: half a second each time.

    Without groups every worker would start each ComfyUI and each browser: that is an error, as it is only slow.
    """
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("This pytest does not hand its tests to workers by groups: install pytest<9.2.")
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def standin_models() -> Any:
    """Model files with real keys and random weights; `.root` holds one folder per model key."""
    import standins_made

    return standins_made.build()


@pytest.fixture(scope="session")
def host() -> Any:
    """The ComfyUI under test."""
    from environment import host_at

    found = host_at(Path(os.environ["COMFYUI_PATH"]))
    assert found
    return found


@pytest.fixture(scope="session")
def host_server(host: Any, standin_models: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """It runs, for the whole session, with the stand-ins among its models."""
    from standin_server import standin_server

    with standin_server(host, standin_models, tmp_path_factory.mktemp("host-server")) as server:
        yield server


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    _forget_models_of_errors()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    try:
        return (yield)
    finally:
        _forget_models_of_errors()


def _forget_models_of_errors() -> None:
    """What a test holds of an error keeps a network that no patcher has any more; the host would collect garbage at
    every later load, which took half of the time of tests/every_method, and warn in the next test's log."""
    management = sys.modules.get("comfy.model_management")
    if management and any(one.model is None for one in management.current_loaded_models):
        management.current_loaded_models[:] = [one for one in management.current_loaded_models if one.model]


def _turn(item: pytest.Item) -> int:
    mark = item.get_closest_marker("xdist_group")
    group = mark.args[0] if mark else ""
    return LONGEST.index(group) if group in LONGEST else len(LONGEST)
