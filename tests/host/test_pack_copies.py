"""The pack twice in custom_nodes, or with its files in custom_nodes itself: said once, with the folders."""

import sys
from pathlib import Path

import pytest
from environment import Host
from pack.bridge.host import pack_copies
from pack.nodes import doctor
from shared import archive
from shared.host_server import HostServer

import nodes as host_nodes

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


def pack_in(folder: Path, project: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f"[project]\n{project}")
    return folder


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """One copy of the pack, and other packs, as the host knows them once they are loaded."""
    root = tmp_path / "custom_nodes"
    ours = pack_in(root / "likeness", 'name = "likeness"\nversion = "0.9.0"\n')
    other = pack_in(root / "other", 'name = "likeness-tools"\n')
    modules = {"ours": f"{ours}", "other": f"{other}", "one.py": f"{root}"}
    monkeypatch.setattr(host_nodes, "LOADED_MODULE_DIRS", modules)
    return modules


def test_one_copy_is_no_fault(loaded: dict[str, str]) -> None:
    assert pack_copies.copies() == {Path(loaded["ours"]): "0.9.0"}
    assert pack_copies.faults() == []
    assert not [finding for finding in doctor._findings_on_host() if finding.what == "Likeness"]


def test_copies_by_a_link_and_in_another_folder(loaded: dict[str, str], tmp_path: Path) -> None:
    first, link = Path(loaded["ours"]), Path(loaded["ours"]).with_name("b link")
    link.symlink_to(first, target_is_directory=True)
    second = pack_in(tmp_path / "more_nodes" / "Likeness-main", "name = 'likeness'\n")
    loaded.update({"link": f"{link}", "second": f"{second}"})
    (fault,) = pack_copies.faults()
    places = f"{first} (version 0.9.0) and {link} (version 0.9.0) and {second}"
    assert fault.startswith(f"Likeness is installed 3 times: {places}. ")
