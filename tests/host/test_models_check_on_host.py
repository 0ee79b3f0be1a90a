"""`scripts/models.py check` looks where ComfyUI looks: also where extra_model_paths.yaml leads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """The code of the ComfyUI under test, in a folder of its own: with other models and an extra_model_paths.yaml."""
    source = Path(os.environ["COMFYUI_PATH"])
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    for name in ("main.py", "comfyui_version.py", "folder_paths.py"):
        shutil.copyfile(source / name, folder / name)
    for name in ("comfy", "utils"):
        (folder / name).symlink_to(source / name)
    for name in ("input", "output", "models/loras", "shared/weights"):
        (folder / name).mkdir(parents=True)
    return folder


def examined(comfyui: Path, workflow: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "models.py"), "check", str(workflow)]
    variables = {**os.environ, "COMFYUI_PATH": str(comfyui)}
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)


PLACES = ("models/unet/old.safetensors", "shared/weights/extra.safetensors", "output/vae/saved.safetensors")


@pytest.fixture
def workflow(comfyui: Path, tmp_path: Path) -> Path:
    """With a file in each of these places."""
    prompt = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "old.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "extra.safetensors"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "saved.safetensors"}},
    }
    for place in PLACES:
        (comfyui / place).parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": torch.zeros(1)}, comfyui / place)
    path = tmp_path / "own.json"
    path.write_text(json.dumps(prompt))
    return path


@pytest.mark.thorough
def test_a_file_in_a_folder_that_comfyui_does_not_know_is_missing(comfyui: Path, workflow: Path) -> None:
    process = examined(comfyui, workflow)
    assert process.returncode == 1, process.stdout + process.stderr
    (missing,) = [line for line in process.stdout.splitlines() if "  missing  " in line]
    assert missing.startswith("extra.safetensors")
    assert str(comfyui / "models" / "loras") in missing


@pytest.mark.thorough
def test_every_folder_of_a_comfyui_is_looked_into(comfyui: Path, workflow: Path) -> None:
    (comfyui / "extra_model_paths.yaml").write_text("mine:\n    base_path: shared\n    loras: weights\n")
    process = examined(comfyui, workflow)
    assert process.returncode == 0, process.stdout + process.stderr
    for place in PLACES:
        assert str(comfyui / place) in process.stdout


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine: [a list\n", "cannot be read: "),
        ("", "names no folder, and ComfyUI does not start with such a file."),
        ("# mine:\n#    loras: weights\n", "names no folder, and ComfyUI does not start with such a file."),
    ],
    ids=["broken", "empty", "remarks alone"],
)
def test_extra_model_paths_that_comfyui_would_not_start_with_are_named(
    comfyui: Path, workflow: Path, text: str, said: str
) -> None:
    extra = comfyui / "extra_model_paths.yaml"
    extra.write_text(text)
    process = examined(comfyui, workflow)
    assert process.returncode == 2
    assert f"{extra} {said}" in process.stderr
