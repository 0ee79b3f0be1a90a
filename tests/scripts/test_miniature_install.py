"""The miniature in one's own ComfyUI: a workflow in which all is set, what a user has stays."""

import json
from pathlib import Path
from typing import Any

import pytest
from miniature import built, export, install, net
from pack.core.models.workflow_nodes import nodes_in
from shared import workflow as workflows


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """Of a ComfyUI no more than what it is known by."""
    (tmp_path / "models").mkdir()
    (tmp_path / "main.py").touch()
    return tmp_path


def every_file(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def chosen(workflow: dict[str, Any]) -> set[str]:
    """Pictures, and files of models, of the nodes that run."""
    running = (node for node in nodes_in(workflow) if node.get("mode", 0) != workflows.BYPASSED)
    kinds = ("LoadImage", "CheckpointLoaderSimple", "CLIPVisionLoader", "VAELoader", "LikenessLoadParts2Whole")
    return {node["widgets_values"][0] for node in running if node["type"] in kinds}


def test_everything_is_set_and_a_second_time_changes_nothing(comfyui: Path) -> None:
    (comfyui / "custom_nodes").mkdir()
    assert "cannot run" in install.install(comfyui / "models")[-7]
    (comfyui / "custom_nodes" / "mine").symlink_to(install.ROOT)
    said = install.install(comfyui / "models")
    left = comfyui / "user" / "default" / "workflows" / f"{install.GROUP}.json"
    assert "cannot run" not in said[-7] and said[-6].startswith(str(left))
    nodes, text = list(nodes_in(json.loads(left.read_text("utf-8")))), left.read_text("utf-8")
    for real in ("sd_xl_base", "id-patch.bin", "antelopev2", "diffusion_pytorch_model", "example.png"):
        assert real not in text.replace("standin-miniature-id-patch.bin", ""), real
    known = {path.name for path in comfyui.rglob("*")}
    photos = {node["widgets_values"][0] for node in nodes if node["type"] == "LoadImage"}
    assert len(photos) == 2 and known > photos | {built.build().checkpoint.name, built.build().control_net.name}
    drawn = {path.read_bytes() for path in (install.ROOT / "pictures").glob("*.png")}
    drawn |= {path.read_bytes() for path in (built.build().root / "input").iterdir()}
    assert {path.read_bytes() for path in (comfyui / "input").iterdir()} <= drawn, "nobody who lives"
    assert all(path.stat().st_nlink == 1 for path in (comfyui / "input").iterdir()), "ComfyUI may write into them"
    outfit = json.loads(left.with_name(f"{install.OUTFIT}.json").read_text("utf-8"))
    assert len(chosen(outfit)) == 9 and known > chosen(outfit), "nothing that is to be fetched"
    (sampler,) = (node["widgets_values"] for node in nodes if node["type"] == "KSampler")
    assert sampler[1:6] == ["fixed", net.Settings().steps, 1.0, "euler", "normal"]
    before = every_file(comfyui)
    assert install.install(comfyui / "models")[-1] == said[-1] and every_file(comfyui) == before
    assert not [name for name in before if name.endswith(".part")]


def test_a_run_that_fails_leaves_nothing(comfyui: Path) -> None:
    """The last thing that is written cannot be: its folder is a file. What was there before stays as it was."""
    mine = comfyui / "models" / "checkpoints" / "mine.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    (comfyui / "user").mkdir()
    (comfyui / "user" / "default").write_text("a file")
    before = sorted(comfyui.rglob("*"))
    with pytest.raises(OSError):
        install.install(comfyui / "models")
    assert sorted(comfyui.rglob("*")) == before
    assert mine.read_bytes() == b"mine"
    (comfyui / "user" / "default").unlink()
    install.install(comfyui / "models")
    after_all = every_file(comfyui)
    # A second run that fails takes away nothing of the first one.
    left = comfyui / "user" / "default" / "workflows" / f"{install.OUTFIT}.json"
    left.unlink()
    left.mkdir()
    (left / "in the way").touch()
    renewed = comfyui / "user" / "default" / "workflows" / f"{install.GROUP}.json"
    renewed.unlink()
    del after_all[str(left.relative_to(comfyui))], after_all[str(renewed.relative_to(comfyui))]
    with pytest.raises(OSError):
        install.install(comfyui / "models")
    now = every_file(comfyui)
    del now[str((left / "in the way").relative_to(comfyui))]
    assert now == after_all


def test_what_the_user_has_stays(comfyui: Path) -> None:
    """A changed workflow and a photo of that name; an older file of the miniature's own is renewed."""
    install.install(comfyui / "models")
    mine = comfyui / "user" / "default" / "workflows" / f"{install.GROUP}.json"
    photo = comfyui / "input" / "miniature_likeness_ben.png"
    old = export.files(comfyui / "models").id_patch
    for file, now in ((mine, b'{"mine": 1}'), (photo, b"a photo"), (old, b"old")):
        file.unlink()
        file.write_bytes(now)
    assert "so it stays as it is" in install.install(comfyui / "models")[-6]
    assert mine.read_bytes() == b'{"mine": 1}' and photo.read_bytes() == b"a photo"
    assert old.read_bytes() == built.build().id_patch.read_bytes()


def test_a_face_pack_is_completed_but_the_users_own_is_not(comfyui: Path) -> None:
    """As of a first time that was stopped between two files."""
    install.install(comfyui / "models")
    pack = export.files(comfyui / "models").face_pack
    first, *rest = whole = sorted(path.name for path in pack.iterdir())
    (pack / first).unlink()
    install.install(comfyui / "models")
    assert sorted(path.name for path in pack.iterdir()) == whole
    (pack / first).rename(pack / "mine.onnx")
    install.install(comfyui / "models")
    assert sorted(path.name for path in pack.iterdir()) == sorted(["mine.onnx", *rest])
