"""The converter, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from pack.core.checkpoints import flatten
from safetensors.torch import load_file
from seeded import id_patch_file

SCRIPT = Path(__file__).parents[2] / "scripts" / "to_safetensors.py"


def run(path):
    return subprocess.run([sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True)


def test_every_tensor_arrives(tmp_path):
    torch.save(id_patch_file("mlp"), tmp_path / "id-patch.bin")
    done = run(tmp_path / "id-patch.bin")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "id-patch.safetensors"))
    written, source = load_file(done.stdout.strip()), flatten(id_patch_file("mlp"))
    assert written.keys() == source.keys() and all(torch.equal(written[key], source[key]) for key in source)
    assert "exists already" in run(tmp_path / "id-patch.bin").stderr


def test_other_files_are_named(tmp_path):
    torch.save({"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)}, tmp_path / "x.bin")
    done = run(tmp_path / "x.bin")
    assert done.returncode == 1 and "is a ControlNet (diffusers); this node needs ID-Patch" in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.glob("*.safetensors"))
