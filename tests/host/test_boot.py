"""The pack starts in this host as it is published: under any folder name, without its optional packages, quickly, and
explains itself."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import folder_paths
import pytest
from environment import Host
from pack.bridge.people import photos
from shared.host_server import HostServer, link_pack

pytestmark = pytest.mark.xdist_group("server")
ROOT = Path(__file__).resolve().parents[2]
CODE = "\n".join(module.read_text("utf-8") for module in (ROOT / "nodes").rglob("*.py"))
NODE_IDS = {*re.findall(r'node_id="(Likeness\w+)"', CODE)}


@pytest.mark.both_hosts
def test_examples_take_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands under their names stays, one that is deleted stays away, one that is new comes, and a folder that
    cannot be written into is a line in the log, as is a record that is no file."""
    monkeypatch.setattr(photos, "running_server", object)
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    (tmp_path / "likeness_anna.png").write_bytes(b"mine")
    (tmp_path / "likeness_two.png").symlink_to(tmp_path / "away")  # of a disk that is not there now
    photos.copy_examples()
    assert (tmp_path / "likeness_two.png").readlink() == tmp_path / "away"
    (tmp_path / "likeness_two.png").unlink()
    record = tmp_path / ".likeness_examples"
    record.write_text(record.read_text().replace("likeness_ben.png\n", ""))  # as if it had come with a newer version
    (tmp_path / "likeness_ben.png").unlink()
    photos.copy_examples()
    record.unlink()
    record.mkdir()
    (tmp_path / "likeness_ben.png").unlink()
    photos.copy_examples()
    record.rmdir()
    assert "Is a directory" in caplog.text
    caplog.clear()
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    examples = {path.name: path.read_bytes() for path in photos.PICTURES.glob("*.png")}
    del examples["likeness_two.png"], examples["likeness_ben.png"]
    assert files == examples | {"likeness_anna.png": b"mine"}
    assert len(files) > 10
    assert not caplog.text
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path / "likeness_anna.png"))
    photos.copy_examples()
    assert "example pictures of the workflows are in" in caplog.text
    assert "Not a directory" in caplog.text


@pytest.mark.both_hosts
def test_every_node_registers(host_server: HostServer) -> None:
    """In the menu and on the node only the name tells one from those of others."""
    infos = {name: info for name, info in host_server.object_info().items() if name.startswith("Likeness")}
    assert NODE_IDS
    assert set(infos) == NODE_IDS
    assert {info["python_module"] for info in infos.values()} == {"custom_nodes.likeness-nodes"}
    all_infos = host_server.object_info()
    titles_of_other_nodes = {info["display_name"] for name, info in all_infos.items() if name not in infos}
    input_files = {path.name for path in (host_server.base / "input").iterdir()}
    examples = {path.name for path in (ROOT / "pictures").glob("*.png")}
    assert examples <= input_files, "they are where Load Image looks"
    assert not {info["display_name"] for info in infos.values()} & titles_of_other_nodes


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("likeness", marks=pytest.mark.thorough),
        pytest.param("Likeness-Nodes-main", marks=pytest.mark.thorough),
        "likeness.v1.2",
        "with a space",
        "名前",
    ],
)
def test_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the host's own loader."""
    import nodes

    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
    monkeypatch.setattr(nodes, "EXTENSION_WEB_DIRS", {})
    link_pack(tmp_path / name)
    assert asyncio.run(nodes.load_custom_node(str(tmp_path / name), module_parent="custom_nodes"))
    loaded = {key: node for key, node in nodes.NODE_CLASS_MAPPINGS.items() if key.startswith("Likeness")}
    assert set(loaded) == NODE_IDS
    assert {node.RELATIVE_PYTHON_MODULE for node in loaded.values()} == {f"custom_nodes.{name}"}
    assert list(nodes.EXTENSION_WEB_DIRS.values()) == [str((tmp_path / name / "web").absolute())]


def test_the_pack_imports_nothing_that_the_host_has_not(host: Host) -> None:
    """Every start pays for what is imported. Standard library and the pack aside."""
    code = (
        f"import sys; sys.path.append({str(ROOT / 'scripts')!r}); import asyncio, shared.pack\n"
        f"shared.pack.load_pack(); shared.pack.load_host({str(host.path)!r})\n"
        "import comfy_api.latest, comfy.controlnet, comfy.sd, comfy_execution.graph, comfyui_version, nodes\n"
        "import comfy_extras.nodes_custom_sampler; before = set(sys.modules)\n"
        "import pack.nodes.extension; asyncio.run(pack.nodes.extension.Likeness().get_node_list())\n"
        "added = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(added - set(sys.stdlib_module_names)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.stdout.strip().splitlines()[-1:] == ["['pack']"], result.stderr


@pytest.mark.both_hosts
def test_what_is_published_has_help_and_templates(host_server: HostServer) -> None:
    help_panel = "/extensions/likeness-nodes/docs/"
    for page in ("LikenessCheckModelFiles.md", "LikenessCheckModelFiles/en.md"):
        assert host_server.read(f"{help_panel}{page}").startswith(b"# Check Model Files")
    pages = [path.read_text("utf-8") for path in (ROOT / "web" / "docs").glob("**/*.md")]
    pictures = set()
    for page in pages:
        pictures |= {*re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)}
    assert {picture.partition("img/")[0] for picture in pictures} == {"", "../"}, "of English pages, and of translated"
    for picture in pictures:
        assert host_server.read(urljoin(help_panel, picture)) == (ROOT / "web/docs" / picture.lstrip("./")).read_bytes()
    assert "start_outfit" in host_server.get("/workflow_templates")["likeness-nodes"]
