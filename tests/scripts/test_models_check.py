"""`scripts/models.py check`: what of a workflow's models is there, in lines and in an exit code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from environment import SetupError, python_command
from pack.core.checks.text import as_typed
from safetensors.torch import save_file
from shared.workflow_files import named, titles

with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [*sys.path])  # it puts its folders in front, where a host's are in these tests
    import models as models_script

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


@dataclass(frozen=True)
class Ending:
    returncode: int
    stdout: str
    stderr: str


Examine = Callable[..., Ending]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Examine:
    """The command with these words. host: the ComfyUI that is found."""

    def examine(*words: str | Path, host: Path | None = None) -> Ending:
        monkeypatch.delenv("COMFYUI_PATH", raising=False)
        for home in ("HOME", "USERPROFILE"):
            monkeypatch.setenv(home, str(ROOT / "no home"))  # where no ComfyUI is
        if host:
            monkeypatch.setenv("COMFYUI_PATH", str(host))
        monkeypatch.setattr(sys, "argv", ["models.py", "check", *map(str, words)])
        return Ending(models_script.main(), *capsys.readouterr())

    return examine


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


def test_all_is_there(examined: Examine, workflow: Path, models: Path) -> None:
    """ComfyUI looks for diffusion models in models/unet as well, and for text encoders in models/clip."""
    further = {
        "4": {"class_type": "UNETLoader", "inputs": {"unet_name": "mine.safetensors"}},
        "5": {"class_type": "CLIPLoader", "inputs": {"clip_name": "words.safetensors"}},
    }
    workflow.write_text(json.dumps(WORKFLOW | further), "utf-8")
    for place in ("unet/mine.safetensors", "clip/words.safetensors"):
        (models / place).parent.mkdir()
        save_file({"x": torch.zeros(1)}, models / place)
    process = examined(workflow, "--models", models)
    assert process.returncode == 0, process.stdout + process.stderr
    assert line_of(process.stdout, "SDXL base 1.0").endswith(str(models / "checkpoints" / CHECKPOINT))
    for name in (LORA, "mine.safetensors", "words.safetensors"):
        assert "found" in line_of(process.stdout, name)
    assert process.stdout.splitlines()[-1] == f"Everything that {workflow} needs is there."
    assert "curl" not in process.stdout


def test_a_missing_an_empty_and_a_misplaced_file(examined: Examine, workflow: Path, models: Path) -> None:
    """With the size and the address of what is to be downloaded; nothing is changed."""
    workflow = workflow.rename(workflow.with_name("für $(id) `zwei`.json"))
    (models / "loras" / LORA).unlink()
    (models / "checkpoints" / CHECKPOINT).write_bytes(b"")
    (models / "instantid" / ADAPTER).rename(models / "ipadapter" / ADAPTER)
    files_before = sorted(path for path in models.rglob("*") if path.is_file())
    process = examined(workflow, "--models", models)
    assert process.returncode == 1, process.stdout + process.stderr
    lora = line_of(process.stdout, LORA)
    assert "missing" in lora
    assert str(models / "loras" / LORA) in lora
    checkpoint = line_of(process.stdout, "SDXL base 1.0")
    assert "damaged" in checkpoint
    assert "is an empty file. Download it again." in checkpoint
    adapter = line_of(process.stdout, "InstantID adapter")
    assert "in the wrong place" in adapter
    assert f"move it to {models / 'instantid' / ADAPTER}." in adapter
    assert "To download: 6.9 GB." in process.stdout
    address = "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors"
    assert line_of(process.stdout, "curl").endswith(address)
    script = as_typed(SCRIPT)
    command = f"{python_command()} {script} download '{workflow}' --models {as_typed(models)}"
    assert process.stdout.splitlines()[-1] == f"Or download all of this with: {command}"
    assert sorted(path for path in models.rglob("*") if path.is_file()) == files_before


def test_a_template_by_its_name(examined: Examine, models: Path) -> None:
    """Also without its ending. Everything but the checkpoint is missing."""
    of_template = ROOT / "workflows" / "start_two_people.json"
    title, chinese = (titles(language)["start_two_people"] for language in ("en", "zh"))
    for name in ("start_two_people", "start_two_people.json", title, f" {title.upper()} ", chinese):
        assert named(name) == of_template
    process = examined("start_two_people", "--models", models)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "found" in line_of(process.stdout, "SDXL base 1.0")
    network = line_of(process.stdout, "ID-Patch ControlNet")
    assert "missing" in network
    assert "(5 GB)" in network
    assert "https://huggingface.co/ByteDance/ID-Patch/resolve/main/id-patch.bin" in process.stdout


def test_what_is_no_workflow(examined: Examine, models: Path) -> None:
    """What else is none, and pictures with a workflow in them: test_what_scripts_are_given.py."""
    process = examined("start_two_peple", "--models", models)
    assert process.returncode == 2
    assert process.stdout == ""
    assert "no template of that name" in process.stderr
    assert "start_two_people" in process.stderr
    title = titles("en")["start_two_people"]
    with pytest.raises(SetupError, match=f"such as {re.escape(title)}"):
        named(title[:-1].lower())


def test_no_models_to_look_for(examined: Examine, workflow: Path, models: Path, tmp_path: Path) -> None:
    process = examined(workflow, "--models", tmp_path / "modles")
    assert process.returncode == 2
    assert "There is no folder" in process.stderr
    process = examined(workflow, host=tmp_path)
    assert process.returncode == 2
    assert "which is not a ComfyUI folder" in process.stderr


@pytest.mark.skipif((ROOT.parent.parent / "main.py").exists(), reason="this pack sits in a ComfyUI")
def test_no_comfyui(examined: Examine, workflow: Path) -> None:
    if (ROOT / ".cache" / "ComfyUI").exists():
        pytest.skip("the demo has installed a ComfyUI")
    process = examined(workflow)
    assert process.returncode == 2
    assert "There is no ComfyUI here. Name its models folder: --models ComfyUI/models" in process.stderr
