"""What a ComfyUI that scripts start is given: folders of models, packs; and how far the demo says that it is."""

import sys
from pathlib import Path

import demo
import pytest
from batch.worker import packs_of
from environment import Host
from shared.host_server import HostServer, link_pack


def test_a_host_without_its_own_files_of_a_kind(tmp_path: Path) -> None:
    """As the demo starts it where the real recogniser is there and the rest is not."""
    for folder in ("host/models/facexlib", "host/models/vae", "ours/facexlib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "host" / "requirements.txt").touch()
    host = Host(tmp_path / "host", (0, 33, 0))
    for without, own_kinds in (((), {"facexlib", "vae"}), (("facexlib",), {"vae"})):
        server = HostServer(host, Path(sys.executable), tmp_path / "base", [tmp_path / "ours"], without=without)
        own_paths, standin_paths = server._model_paths().values()
        assert own_paths.keys() - {"base_path"} == own_kinds
        assert "facexlib" in standin_paths


def test_a_worker_has_all_packs_that_its_host_loads(tmp_path: Path) -> None:
    """One-file packs, what they read beside them, links, and those of an extra_model_paths.yaml that the host finds; a
    host made of links does not find it, as ComfyUI looks for it where main.py leads to."""
    real, linked, packs = tmp_path / "real", tmp_path / "linked", tmp_path / "linked" / "custom_nodes"
    for folder in (real, packs / "pack", packs / "old.disabled", packs / ".disabled", packs / "ComfyUI-Manager"):
        folder.mkdir(parents=True)
    files = (packs / "one_file.py", packs / "words.json", packs / "off.py.disabled")
    for file in (real / "main.py", linked / "requirements.txt", *files):
        file.touch()
    (packs / "away").symlink_to(real)
    (packs / "gone").symlink_to(tmp_path / "nowhere")
    (linked / "main.py").symlink_to(real / "main.py")
    (linked / "extra_model_paths.yaml").touch()
    host = Host(linked, (0, 33, 0))
    assert [path.name for path in packs_of(host)] == ["away", "one_file.py", "pack", "words.json"]
    server = HostServer(host, Path(sys.executable), tmp_path / "base", packs=packs_of(host))
    assert server._own_model_paths() == [str(linked / "extra_model_paths.yaml")]
    (real / "extra_model_paths.yaml").touch()
    assert server._own_model_paths() == []
    link_pack(tmp_path / "one_file.py", packs / "one_file.py")
    assert (tmp_path / "one_file.py").is_file()


def test_the_demo_says_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "SAY_SECONDS", -1)
    (tmp_path / "host" / "models").mkdir(parents=True)
    (tmp_path / "host" / "requirements.txt").touch()
    server = HostServer(Host(tmp_path / "host", (0, 33, 0)), Path(sys.executable), tmp_path)
    tell = demo.Progress(server)
    for bar in ("loading", "loading\r 33%|###3      | 2/6 [00:01<00:02]\r 50%|#####     | 3/6 [00:02<00:02]"):
        (tmp_path / "host.log").write_text(bar)
        tell()
    assert capsys.readouterr().err.splitlines() == ["[likeness]   step 3 of 6"]
