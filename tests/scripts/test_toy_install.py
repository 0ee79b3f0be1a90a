"""The toy model in one's own ComfyUI: a workflow in which all is set, what a user has stays."""

import json
from pathlib import Path
from typing import Any

import pytest
from shared.workflow import all_nodes
from toy import built, export, install, net


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """Of a ComfyUI no more than what it is known by."""
    (tmp_path / "models").mkdir()
    (tmp_path / "main.py").touch()
    return tmp_path


def every_file(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def chosen(workflow: dict[str, Any]) -> set[str]:
    """Pictures, and files of models."""
    kinds = ("LoadImage", "CheckpointLoaderSimple", "CLIPVisionLoader", "VAELoader", "LikenessLoadParts2Whole")
    return {node["widgets_values"][0] for node in all_nodes(workflow) if node["type"] in kinds}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ComfyUI that had nothing but the pack."""
    folder = tmp_path_factory.mktemp("installed")
    for name in ("models", "custom_nodes"):
        (folder / name).mkdir()
    (folder / "main.py").touch()
    (folder / "custom_nodes" / "mine").symlink_to(install.ROOT)
    install.put(folder / "models")
    return folder


def left(comfyui: Path, name: str) -> Any:
    """A workflow that is among the user's afterwards."""
    return json.loads((comfyui / "user" / "default" / "workflows" / f"{name}.json").read_text("utf-8"))


def test_without_the_pack_it_is_said_that_nothing_can_run(comfyui: Path) -> None:
    assert "cannot run" in install.put(comfyui / "models").lines()[-8]
    (comfyui / "custom_nodes").mkdir()
    (comfyui / "custom_nodes" / "mine").symlink_to(install.ROOT)
    assert "cannot run" not in install.put(comfyui / "models").lines()[-8]


def test_its_workflows_name_nothing_that_is_to_be_fetched(installed: Path) -> None:
    there = {path.name for path in installed.rglob("*")}
    group, outfit = left(installed, install.GROUP), left(installed, install.OUTFIT)
    text = json.dumps(group).replace("standin-toy-id-patch.bin", "")
    for real in ("sd_xl_base", "id-patch.bin", "antelopev2", "diffusion_pytorch_model", "example.png"):
        assert real not in text, real
    photos = {node["widgets_values"][0] for node in all_nodes(group) if node["type"] == "LoadImage"}
    assert len(photos) == 2 and photos | {built.build().checkpoint.name, built.build().control_net.name} < there
    assert len(chosen(outfit)) == 9 and chosen(outfit) < there


def test_its_photos_are_copies_of_drawn_ones(installed: Path) -> None:
    """Nobody who lives; and ComfyUI may write into them."""
    folders = install.ROOT / "pictures", built.build().root / "input"
    drawn = {path.read_bytes() for folder in folders for path in folder.glob("*.png")}
    photos = [*(installed / "input").iterdir()]
    assert {path.read_bytes() for path in photos} <= drawn
    assert [path.name for path in photos if path.stat().st_nlink > 1] == []


def test_the_sampler_is_set_as_the_toy_was_trained(installed: Path) -> None:
    (sampler,) = (node for node in all_nodes(left(installed, install.GROUP)) if node["type"] == "KSampler")
    assert sampler["widgets_values"][1:6] == ["fixed", net.Settings().steps, 1.0, "euler", "normal"]


def test_a_second_time_changes_nothing(installed: Path) -> None:
    before = every_file(installed)
    install.put(installed / "models")
    assert every_file(installed) == before
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
        install.put(comfyui / "models")
    assert sorted(comfyui.rglob("*")) == before
    assert mine.read_bytes() == b"mine"


def test_a_second_run_that_fails_takes_away_nothing_of_the_first_one(comfyui: Path) -> None:
    install.put(comfyui / "models")
    after_all = every_file(comfyui)
    outfit = comfyui / "user" / "default" / "workflows" / f"{install.OUTFIT}.json"
    outfit.unlink()
    outfit.mkdir()
    (outfit / "in the way").touch()
    renewed = comfyui / "user" / "default" / "workflows" / f"{install.GROUP}.json"
    renewed.unlink()
    del after_all[str(outfit.relative_to(comfyui))], after_all[str(renewed.relative_to(comfyui))]
    with pytest.raises(OSError):
        install.put(comfyui / "models")
    now = every_file(comfyui)
    del now[str((outfit / "in the way").relative_to(comfyui))]
    assert now == after_all


def test_what_the_user_has_stays(comfyui: Path) -> None:
    """A changed workflow and a photo of that name; an older file of the toy model's own is renewed."""
    install.put(comfyui / "models")
    mine = comfyui / "user" / "default" / "workflows" / f"{install.GROUP}.json"
    photo = comfyui / "input" / "toy_likeness_ben.png"
    old = export.files(comfyui / "models").id_patch
    for file, now in ((mine, b'{"mine": 1}'), (photo, b"a photo"), (old, b"old")):
        file.unlink()
        file.write_bytes(now)
    assert "so it stays as it is" in install.put(comfyui / "models").lines()[-7]
    assert mine.read_bytes() == b'{"mine": 1}' and photo.read_bytes() == b"a photo"
    assert old.read_bytes() == built.build().id_patch.read_bytes()


def test_a_face_pack_is_completed_but_the_users_own_is_not(comfyui: Path) -> None:
    """As of a first time that was stopped between two files."""
    install.put(comfyui / "models")
    pack = export.files(comfyui / "models").face_pack
    first, *rest = whole = sorted(path.name for path in pack.iterdir())
    (pack / first).unlink()
    install.put(comfyui / "models")
    assert sorted(path.name for path in pack.iterdir()) == whole
    (pack / first).rename(pack / "mine.onnx")
    install.put(comfyui / "models")
    assert sorted(path.name for path in pack.iterdir()) == sorted(["mine.onnx", *rest])
