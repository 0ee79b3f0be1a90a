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


def examined(
    comfyui: Path, workflow: Path, pack: Path = ROOT, command: str = "check", **more: str
) -> subprocess.CompletedProcess[str]:
    """pack: where it lies. more: variables of the environment."""
    called = [sys.executable, str(pack / "scripts" / "models.py"), command, str(workflow)]
    variables = {**os.environ, "COMFYUI_PATH": str(comfyui), **more}
    return subprocess.run(called, capture_output=True, text=True, env=variables, timeout=300)


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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with models and custom_nodes alone, in which the pack lies."""
    folder = tmp_path / "Documents" / "ComfyUI"
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "custom_nodes" / "likeness").symlink_to(ROOT)
    (folder / "models" / "unet").mkdir(parents=True)
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("names_code", [True, False])
def test_models_lie_where_the_pack_lies(comfyui: Path, workflow: Path, data: Path, names_code: bool) -> None:
    """As with Desktop and --base-directory. Without COMFYUI_PATH they are looked for there alone."""
    (comfyui / PLACES[0]).rename(data / PLACES[0])
    config = data.parent / "ComfyUI" / "extra_models_config.yaml"  # in what stands for ~/.config
    (data / "more").mkdir()
    (comfyui / PLACES[1]).rename(data / "more" / "extra.safetensors")
    config.write_text(f"comfyui_desktop:\n    is_default: true\n    base_path: {data}\n    loras: more\n")
    variables = {"XDG_CONFIG_HOME": str(data.parent), "COMFYUI_PATH": str(comfyui) if names_code else ""}
    process = examined(comfyui, workflow, data / "custom_nodes" / "likeness", **variables)
    assert str(data / PLACES[0]) in process.stdout, process.stdout + process.stderr
    missing = [line.split()[0] for line in process.stdout.splitlines() if "  missing  " in line]
    assert missing == ([] if names_code else ["extra.safetensors", "saved.safetensors"])


@pytest.mark.thorough
def test_nothing_is_downloaded_into_an_application(comfyui: Path, tmp_path: Path) -> None:
    code = tmp_path / "App" / "resources" / "ComfyUI"
    code.parent.mkdir(parents=True)
    comfyui.rename(code)
    process = examined(code, Path("start_two_people"), command="download")
    assert process.returncode
    assert f"{code / 'models'} belongs to an application" in process.stderr
