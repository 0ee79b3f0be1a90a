"""`scripts/models.py doctor`: what of a workflow's models is there, in lines and in an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "models.py"
CHECKPOINT = "sd_xl_base_1.0.safetensors"
ADAPTER = "ip-adapter.bin"
LORA = "my style.safetensors"
WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
    "2": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": LORA}},
    "3": {"class_type": "LikenessLoadAdapter", "inputs": {"file": ADAPTER}},
}
"""A published checkpoint, a published file of one of our methods, and a file of the user's own."""


def examined(*words: str | Path, host: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The script for real, in the Python that runs this. host: the ComfyUI that is found."""
    left_out = ("COMFYUI_PATH", "HOME", "USERPROFILE")
    variables = {name: value for name, value in os.environ.items() if name not in left_out}
    # No ComfyUI is found in a home that does not exist.
    variables["HOME"] = str(ROOT / "no home")
    variables["USERPROFILE"] = str(ROOT / "no home")
    if host:
        variables["COMFYUI_PATH"] = str(host)
    command = [sys.executable, str(SCRIPT), "doctor", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=variables, timeout=300)


def line_of(output: str, start: str) -> str:
    """The line of a model: the one that begins with its title."""
    (line,) = [line for line in output.splitlines() if line.startswith(start)]
    return line


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "für zwei.json"
    path.write_text(json.dumps(WORKFLOW), "utf-8")
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with all that the workflow needs: real files with a few of the real tensors."""
    folder = tmp_path / "models"
    for name in ("checkpoints", "loras", "instantid", "ipadapter"):
        (folder / name).mkdir(parents=True)
    of_checkpoint = {
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(640, 2048)
    }
    save_file(of_checkpoint, folder / "checkpoints" / CHECKPOINT)
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(4, 8)}, folder / "loras" / LORA)
    of_adapter = {
        "image_proj": {"latents": torch.zeros(1, 16, 1280), "proj_in.weight": torch.zeros(1280, 512)},
        "ip_adapter": {"1.to_k_ip.weight": torch.zeros(640, 2048)},
    }
    torch.save(of_adapter, folder / "instantid" / ADAPTER)
    return folder


def test_all_is_there(workflow: Path, models: Path) -> None:
    done = examined(workflow, "--models", models)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line_of(done.stdout, "SDXL base 1.0").endswith(str(models / "checkpoints" / CHECKPOINT))
    assert "found" in line_of(done.stdout, LORA)
    assert done.stdout.splitlines()[-1] == f"Everything that {workflow} needs is there."
    assert "curl" not in done.stdout


def test_a_missing_an_empty_and_a_misplaced_file(workflow: Path, models: Path) -> None:
    """With the size and the address of what is to be downloaded; nothing is changed."""
    (models / "loras" / LORA).unlink()
    (models / "checkpoints" / CHECKPOINT).write_bytes(b"")
    (models / "instantid" / ADAPTER).rename(models / "ipadapter" / ADAPTER)
    before = sorted(path for path in models.rglob("*") if path.is_file())
    done = examined(workflow, "--models", models)
    assert done.returncode == 1, done.stdout + done.stderr
    lora = line_of(done.stdout, LORA)
    assert "missing" in lora and str(models / "loras" / LORA) in lora
    checkpoint = line_of(done.stdout, "SDXL base 1.0")
    assert "damaged" in checkpoint and "is an empty file. Download it again." in checkpoint
    adapter = line_of(done.stdout, "InstantID adapter")
    assert "in the wrong place" in adapter
    assert f"move it to {models / 'instantid' / ADAPTER}." in adapter
    assert "To download: 6.9 GB." in done.stdout
    address = "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors"
    assert line_of(done.stdout, "curl").endswith(address)
    command = f'python scripts/models.py download "{workflow}" --models "{models}"'
    assert done.stdout.splitlines()[-1] == f"Or download all of this with: {command}"
    assert sorted(path for path in models.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("name", ["start_two_people", "start_two_people.json"])
def test_a_template_by_its_name(name: str, models: Path) -> None:
    """Everything but the checkpoint is missing."""
    done = examined(name, "--models", models)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "found" in line_of(done.stdout, "SDXL base 1.0")
    network = line_of(done.stdout, "ID-Patch ControlNet")
    assert "missing" in network and "(5 GB)" in network
    assert "https://huggingface.co/ByteDance/ID-Patch/resolve/main/id-patch.bin" in done.stdout


def test_a_picture_with_its_workflow_in_it(tmp_path: Path, models: Path) -> None:
    info = PngInfo()
    info.add_text("prompt", json.dumps(WORKFLOW))
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png", pnginfo=info)
    assert examined(tmp_path / "picture.png", "--models", models).returncode == 0
    (models / "loras" / LORA).unlink()
    assert examined(tmp_path / "picture.png", "--models", models).returncode == 1


def test_files_in_the_second_folder_of_a_kind(tmp_path: Path, models: Path) -> None:
    """ComfyUI looks for diffusion models in models/unet as well, and for text encoders in models/clip."""
    prompt = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "mine.safetensors"}},
        "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "words.safetensors"}},
    }
    (tmp_path / "own.json").write_text(json.dumps(prompt))
    for place in ("unet/mine.safetensors", "clip/words.safetensors"):
        (models / place).parent.mkdir()
        save_file({"x": torch.zeros(1)}, models / place)
    done = examined(tmp_path / "own.json", "--models", models)
    assert done.returncode == 0, done.stdout + done.stderr


NOT_EXAMINED = {
    "an unknown name": ("start_two_peple", "no template of that name", "start_two_people"),
    "a folder": (ROOT, "is a folder, not a file"),
    "no workflow": (ROOT / "README.md", "is no workflow"),
}
"""What is named in the place of a workflow, and what is said of it."""


@pytest.mark.parametrize("case", NOT_EXAMINED)
def test_what_is_no_workflow(case: str, models: Path) -> None:
    name, *sentences = NOT_EXAMINED[case]
    done = examined(name, "--models", models)
    assert done.returncode == 2
    assert done.stdout == ""
    for sentence in sentences:
        assert str(sentence) in done.stderr


def test_no_models_to_look_for(workflow: Path, models: Path, tmp_path: Path) -> None:
    done = examined(workflow, "--models", tmp_path / "modles")
    assert done.returncode == 2 and "There is no folder" in done.stderr
    done = examined(workflow, host=tmp_path)
    assert done.returncode == 2 and "which is not a ComfyUI folder" in done.stderr


@pytest.mark.skipif((ROOT.parent.parent / "main.py").exists(), reason="this pack sits in a ComfyUI")
def test_no_comfyui(workflow: Path) -> None:
    if (ROOT / ".cache" / "ComfyUI").exists():
        pytest.skip("the demo has installed a ComfyUI")
    done = examined(workflow)
    assert done.returncode == 2
    assert "There is no ComfyUI here. Name its models folder: --models ComfyUI/models" in done.stderr
