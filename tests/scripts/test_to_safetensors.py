"""The converter, run as a user runs it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import standins_made
import torch
from pack.core.models import manifest
from pack.core.models.formats import identify, known
from pack.core.models.tensors import described_tensors, flatten, origin
from safetensors import safe_open
from safetensors.torch import load_file
from seeded_files import id_patch_file
from systems import STOPS, posix
from to_safetensors import convert

from core.checks.errors import LikenessError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "to_safetensors.py"


def run(path, **variables):
    command = [sys.executable, str(SCRIPT), str(path)]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def saved(folder, **tensors):
    """An ID-Patch file; tensors: what else is in it."""
    file = id_patch_file("mlp")
    file["patch_proj"] |= tensors
    torch.save(file, folder / "id-patch.bin")
    return folder / "id-patch.bin"


def test_every_tensor_arrives(tmp_path):
    """Apart from each other; the file is readable for whom the pickle is, and nothing is written through a link. Its
    name is printed on any console."""
    folder = tmp_path / "小明 Полина"
    folder.mkdir()
    state = flatten(id_patch_file("mlp"))
    source = saved(folder, again=state["patch_proj.norm.weight"])
    source.chmod(0o644)
    (folder / "own.txt").write_text("one's own")
    (folder / "id-patch.safetensors.part").symlink_to("own.txt")
    process = run(source, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    target = folder / "id-patch.safetensors"
    printed = str(target).encode("ascii", "backslashreplace").decode()
    assert (process.returncode, process.stdout.strip()) == (0, printed), process.stderr
    with safe_open(target, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["source_sha256"]) == {"id-patch.bin": sha256(source)}
    assert metadata["source"] == "https://huggingface.co/ByteDance/ID-Patch"
    assert "CC BY-NC 4.0" in metadata["licence"]
    written = load_file(target)
    state = {**state, "patch_proj.again": state["patch_proj.norm.weight"]}
    assert written.keys() == state.keys()
    assert all(torch.equal(written[key], state[key]) for key in state)
    assert target.stat().st_mode == source.stat().st_mode
    assert (folder / "own.txt").read_text() == "one's own"
    with pytest.raises(LikenessError, match="exists already"):
        convert(source)


def test_what_cannot_be_converted_is_named_and_leaves_nothing(tmp_path):
    torch.save({"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)}, tmp_path / "x.bin")
    process = run(tmp_path / "x.bin")
    assert process.returncode == 1
    assert "is a ControlNet; this node needs ID-Patch" in process.stderr
    assert "Traceback" not in process.stderr
    with pytest.raises(LikenessError, match=r"id-patch.safetensors could not be written"):
        convert(saved(tmp_path, unknown=torch.eye(3, dtype=torch.complex128)))
    assert {path.name for path in tmp_path.iterdir()} == {"x.bin", "id-patch.bin"}


def code_when_told(stop, source):
    """The exit status of the script, which is told to stop once it writes, and what it has said."""
    with subprocess.Popen([sys.executable, str(SCRIPT), str(source)], stderr=subprocess.PIPE) as process:
        give_up = time.monotonic() + 60
        while not [*source.parent.glob(".converting-*")] and process.poll() is None:
            assert time.monotonic() < give_up
            time.sleep(0.001)
        process.send_signal(stop)
        code = process.wait(60)
        return code, process.stderr.read()


@posix
@pytest.mark.parametrize("name", STOPS)
def test_what_is_told_to_stop_leaves_nothing(name, tmp_path):
    """The file of 200 MB is written for a while: it is ended as soon as there is something to be cleared up.

    On a busy machine it may be done before it is told: then it is tried again.
    """
    source = saved(tmp_path)
    for _ in range(5):
        code, said = code_when_told(signal.Signals[name], source)
        if code != 0:
            break
        source.with_suffix(".safetensors").unlink()
    assert code == 128 + signal.Signals[name], said
    assert {path.name for path in tmp_path.iterdir()} == {"id-patch.bin"}


@pytest.mark.parametrize("name", ["ip-adapter-faceid-portrait_sdxl_unnorm", "ip-adapter-plus_sdxl_vit-h"])
def test_an_adapter_is_the_same_when_it_is_safetensors(name, tmp_path):
    """Also that which only its kinds of numbers tell from InstantID's; of several of one shape the name says which."""
    built = standins_made.build()
    source = shutil.copy(built.ip_adapter(name), tmp_path / f"{name}.bin")
    written = convert(Path(source))
    published = known(manifest_of(name).format)
    assert identify(described_tensors(Path(source))) == published
    assert identify(described_tensors(written)) == published
    assert origin(written) == origin(Path(source)) == sha256(Path(source)), "which tells two of one shape apart"
    with safe_open(str(written), "pt") as file:
        assert file.metadata()["title"] == manifest_of(name).title


def manifest_of(name):
    return next(model for model in manifest.models() if Path(model.name).stem == name)
