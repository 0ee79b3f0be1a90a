"""compare.py with the miniature: what it draws, and that its judge can fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import comfy.supported_models
import compare
import folder_paths
import pytest
import real_faces
import small_networks
import torch
from comparison import parts, worlds
from comparison.methods import METHODS, World, drawn, meaning, of_photos
from environment import ROOT
from miniature_made import files_in
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with worlds.miniature(3) as there:
        yield there


@pytest.mark.parametrize("name", ["ID-Patch", "InstantID by region"])
def test_people_in_the_wrong_places_are_found_to_be_there(world: World, name: str) -> None:
    """And those in the right ones too."""
    people = [of_photos(person, 1) for person in world.people[:2]]
    picture = drawn(world, METHODS[name], world.cast(people), 1)
    assert world.judge([picture])["association"] == 1
    swapped = world.judge([meaning(picture, people[::-1])])
    assert swapped["association"] == 0 and swapped["leakage"] > 0.5 > swapped["own"], swapped


def test_every_question_has_a_line_for_every_setting(world: World, tmp_path: Path) -> None:
    """Faces one by one are redrawn by each method, and nothing but these; a sheet and a table are written."""
    chosen = {name: METHODS[name] for name in ("ID-Patch", "faces one by one, InstantID")}
    lines, pictures = compare.drawn_in(world, chosen, {"1": [([0], 1, 1)], "2": [([0, 1], 1, 1)]}, True)
    assert [(line[""], line["people"]) for line in lines] == [(name, people) for name in chosen for people in (1, 2)]
    assert lines[0]["cost"] <= lines[1]["cost"] < lines[2]["cost"] < lines[3]["cost"]
    compare.write("crowd", lines, pictures, tmp_path)
    assert (tmp_path / "crowd.md").read_text("utf-8").count("\n") == 6 and (tmp_path / "crowd.jpg").is_file()
    assert {path.name for path in (tmp_path / "crowd").iterdir()} == {f"{', '.join(names)}.png" for names in pictures}


@pytest.mark.thorough
def test_what_lies_beside_a_part_shows_without_masks() -> None:
    wardrobe = parts.wardrobe_of("Parts2Whole")
    ways = (parts.WAYS[name] for name in ("1 part", "1 part, without masks"))
    with_masks, without = (parts.dressed(wardrobe, way, 3).figures["beside"] for way in ways)
    assert abs(with_masks) < 0.1 < without


@pytest.mark.thorough
def test_the_command_answers(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), "--miniature", "--quick", "--out", str(tmp_path)]
    subprocess.run([*command, "--python", sys.executable, "seeds"], check=True, timeout=600)
    rows = (tmp_path / "seeds.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(METHODS)


@pytest.mark.thorough
def test_photos_are_drawn_with_the_files_of_the_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rehearsed with the miniature's under the published names: whose faces are not found counts as missing."""
    (folder := tmp_path / "people").mkdir()
    for path in real_faces.six(folder)[2:]:
        path.unlink()
    models = tmp_path / "models"
    monkeypatch.setattr(comfy.supported_models, "models", small_networks.families())
    with files_in(tmp_path / "files") as files:
        for file, name in (
            (files.checkpoint, "checkpoints/Juggernaut-X-RunDiffusion-NSFW.safetensors"),
            (files.control_net, "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors"),
            (files.identity_net, "controlnet/InstantID/ControlNetModel/diffusion_pytorch_model.safetensors"),
        ):
            (models / name).parent.mkdir(parents=True, exist_ok=True)
            whole = {key: each.contiguous().clone() for key, each in torch.load(file).items()}
            save_file(whole, models / name)
        for file, name in (
            (files.id_patch, "id_patch/id-patch.bin"),
            (files.instant_id, "instantid/ip-adapter.bin"),
            (files.recogniser, "facexlib/recognition_arcface_ir_se50.pth"),
            *((file, f"insightface/models/antelopev2/{file.name}") for file in files.antelope.parent.iterdir()),
        ):
            (models / name).parent.mkdir(parents=True, exist_ok=True)
            (models / name).symlink_to(file)
    for kind in models.iterdir():
        folder_paths.add_model_folder_path(kind.name, str(kind))
    with worlds.published(folder, "two people", (512, 384), 1) as there:
        lines, pictures = compare.seeds(there, True)
    assert [line[""] for line in lines] == list(METHODS) and len(pictures) == 2 * len(METHODS)
    assert all(line["pictures"] == 2 and 0 <= line["missing"] <= 4 for line in lines), lines
