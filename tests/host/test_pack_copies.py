"""The pack twice in custom_nodes, or with its files in custom_nodes itself: said once, with the folders."""

import shutil
import sys
from pathlib import Path

import comfy.cli_args
import folder_paths
import pytest
from environment import Host
from pack.bridge.host import pack_copies
from pack.core.text import logger
from pack.nodes import doctor
from shared import archive
from shared.host_server import HostServer

pytestmark = [pytest.mark.both_hosts, pytest.mark.xdist_group("server")]


def asked(server: HostServer) -> str:
    """What Doctor says of a workflow with nothing but itself."""
    run = server.run(
        {
            "1": {"class_type": "LikenessCheckModelFiles", "inputs": {}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
        }
    )
    return run.outputs["2"]["text"][0]


def told(server: HostServer, words: str) -> list[str]:
    return [line for line in server.log.splitlines() if words in line]


@pytest.mark.thorough
def test_two_copies_in_a_running_host(host: Host, tmp_path: Path) -> None:
    archive.unpack(tmp_path / "copy" / "likeness-main")
    archive.unpack(tmp_path / "pack")
    base = tmp_path / "base"
    server = HostServer(
        host, Path(sys.executable), base, [], pack=tmp_path / "pack", packs=[tmp_path / "copy" / "likeness-main"]
    )
    with server:
        (line,) = told(server, "Likeness is installed 2 times: ")
        for name in ("likeness", "likeness-main"):
            assert f"{base / 'custom_nodes' / name} (version " in line
        assert line.endswith("Delete all but one, and restart ComfyUI.")
        report = asked(server)
        assert "Still to do for this workflow: Likeness." in report
        assert "Likeness is installed 2 times: " in report


@pytest.mark.thorough
def test_files_in_custom_nodes_itself_in_a_running_host(host: Host, tmp_path: Path) -> None:
    archive.unpack(tmp_path / "pack")
    (tmp_path / "other").mkdir()
    base = tmp_path / "base"
    server = HostServer(host, Path(sys.executable), base, [], "other", pack=tmp_path / "other")
    command = server._command

    def unpacked() -> list[str]:
        for entry in (tmp_path / "pack").iterdir():
            entry.rename(base / "custom_nodes" / entry.name)
        return command()

    server._command = unpacked
    with server:
        (line,) = told(server, "The files of Likeness lie in ")
        assert f"lie in {base / 'custom_nodes'} itself" in line
        assert f"Make a folder {base / 'custom_nodes' / 'likeness'}, move the files" in line
        assert "The files of Likeness lie in " in asked(server)
        assert not told(server, "Likeness is installed")


@pytest.fixture
def nodes_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of custom nodes with one copy of the pack, and other packs."""
    folder = tmp_path / "custom_nodes"
    for name, project in (
        ("likeness", 'name = "likeness"\nversion = "0.9.0"\n'),
        ("other", 'name = "likeness-tools"\n'),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
        (folder / name / "pyproject.toml").write_text(f"[project]\n{project}")
    (folder / "one.py").write_text("")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "custom_nodes", ([str(folder)], set()))
    return folder


def copy_of(folder: Path, name: str) -> Path:
    copy = folder / name
    shutil.copytree(folder / "likeness", copy)
    return copy


def test_one_copy_is_no_fault(nodes_folder: Path) -> None:
    assert [copy.folder for copy in pack_copies.copies()] == [nodes_folder / "likeness"]
    assert pack_copies.faults() == []
    assert not [finding for finding in doctor._findings_on_host() if finding.what == "Likeness"]
    copy_of(nodes_folder, "likeness-main.disabled")
    assert pack_copies.faults() == [], "not loaded"


def test_copies_by_a_link_and_in_another_folder(nodes_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nodes_folder / "b link").symlink_to(nodes_folder / "likeness", target_is_directory=True)
    second = nodes_folder.with_name("more_nodes")
    second.mkdir()
    shutil.copytree(nodes_folder / "likeness", second / "Likeness-main")
    folders = ([str(nodes_folder), str(second)], set())
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "custom_nodes", folders)
    (fault,) = pack_copies.faults()
    places = [nodes_folder / "b link", nodes_folder / "likeness", second / "Likeness-main"]
    named = " and ".join(f"{place} (version 0.9.0)" for place in places)
    assert fault.startswith(f"Likeness is installed 3 times: {named}. ")


def test_files_in_custom_nodes_itself_are_a_copy(nodes_folder: Path) -> None:
    for file in (nodes_folder / "likeness").iterdir():
        file.rename(nodes_folder / file.name)
    (fault,) = pack_copies.faults()
    assert fault.startswith(f"The files of Likeness lie in {nodes_folder} itself")


def test_packs_that_are_switched_off_are_none(nodes_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_of(nodes_folder, "likeness-main")
    monkeypatch.setattr(comfy.cli_args.args, "disable_all_custom_nodes", True)
    monkeypatch.setattr(comfy.cli_args.args, "whitelist_custom_nodes", ["likeness"])
    assert [copy.folder for copy in pack_copies.copies()] == [nodes_folder / "likeness"]


def test_it_is_logged_once_for_all_copies(
    nodes_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(nodes_folder, "likeness-main")
    monkeypatch.setattr(logger, "likeness_told_of_copies", True, raising=False)
    monkeypatch.delattr(logger, "likeness_told_of_copies")
    pack_copies.warn()
    pack_copies.warn()
    assert caplog.text.count("Likeness is installed 2 times: ") == 1
