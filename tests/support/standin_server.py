"""A running ComfyUI with the pack and the stand-ins in it, and what is asked of it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest
import torch
from environment import Host
from listening import ListeningServer
from safetensors.torch import save_file
from shared import archive
from shared.host_server import HostServer, refusal
from shared.workflow import Prompt
from standins_made import Standins

WITHOUT_OPTIONAL = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.split(".")[0] in ("insightface", "onnxruntime", "onnx", "cv2")
        return None if blocked else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
"""A sitecustomize.py: what a Python with nothing but the host's packages looks like from inside."""


@contextmanager
def standin_server(host: Host, models: Standins, folder: Path) -> Iterator[ListeningServer]:
    """The registry's archive in a folder with dashes, the stand-ins among the models and the pack `expanding`, in a
    Python where insightface, onnxruntime, onnx and cv2 cannot be imported.

    folder: an empty one, for the archive and all that the host writes.
    """
    archive.unpack(folder / "archive")
    (folder / "sitecustomize.py").write_text(WITHOUT_OPTIONAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        server = ListeningServer(
            host, Path(sys.executable), folder / "base", [models.root], "likeness-nodes", pack=folder / "archive",
            packs=[Path(__file__).with_name("expanding")],
        )  # fmt: skip
    with server:
        yield server


def said_against(server: HostServer, prompt: Prompt) -> str:
    """What the host says at once against a prompt that is sent, empty where it will run."""
    try:
        answer = server.read("/prompt", json.dumps({"prompt": prompt}).encode())
    except HTTPError as bad:
        answer = bad.read()
    return refusal(json.loads(answer))


@contextmanager
def kept_waiting(server: HostServer) -> Iterator[None]:
    """The host reads a picture that does not end, a pipe: it looks at all that is sent meanwhile, and runs nothing."""
    pipe = server.base / "input" / "endless.png"
    os.mkfifo(pipe)
    loading = {"class_type": "LoadImage", "inputs": {"image": pipe.name}}
    showing = {"class_type": "PreviewImage", "inputs": {"images": ["endless", 0]}}
    assert said_against(server, {"endless": loading, "shown": showing}) == ""
    with pipe.open("wb"):  # waits until the host has opened it
        try:
            yield
        finally:
            server.read("/queue", b'{"clear": true}')
            server.read("/interrupt", b"{}", **{"Content-Type": "application/json"})
    while any(server.get("/queue").values()):
        time.sleep(0.02)
    pipe.unlink()


def write_lora(file: Path, checkpoint: Path) -> None:
    """A LoRA of rank 2 of every query of the network in a checkpoint, the same one at every call."""
    file.parent.mkdir(exist_ok=True)
    random = torch.Generator().manual_seed(54)
    weights = torch.load(checkpoint, weights_only=True)
    shapes = {key: tensor.shape for key, tensor in weights.items() if key.endswith("to_q.weight")}
    state: dict[str, torch.Tensor] = {}
    for key, (width_out, width_in) in shapes.items():
        layer = f"lora_unet_{key.split('.', 2)[2].removesuffix('.weight').replace('.', '_')}"
        state[f"{layer}.lora_down.weight"] = torch.randn(2, width_in, generator=random)
        # About as strong as the weights themselves. Were it stronger, attention would be a choice of one pixel, and the
        # last bits of another CPU would decide which.
        state[f"{layer}.lora_up.weight"] = torch.randn(width_out, 2, generator=random) / 16
        state[f"{layer}.alpha"] = torch.tensor(2.0)
    save_file(state, file)


def write_transformer_lora(file: Path, network: Path) -> None:
    """A LoRA of rank 2 of every layer that makes queries, keys and values of a transformer, the same one at every
    call."""
    file.parent.mkdir(exist_ok=True)
    random = torch.Generator().manual_seed(55)
    weights = torch.load(network, weights_only=True)
    state: dict[str, torch.Tensor] = {}
    for key, weight in weights.items():
        names = ("qkv.weight", "blocks.0.attn.wq.weight", "self_attn.q_proj.weight")
        # What Anima makes its text with has no place in the picture.
        if key.startswith("llm_adapter") or not key.endswith(names):
            continue
        width_out, width_in = weight.shape
        layer = f"diffusion_model.{key.removeprefix('model.diffusion_model.').removesuffix('.weight')}"
        state[f"{layer}.lora_A.weight"] = torch.randn(2, width_in, generator=random) / width_in**0.5
        state[f"{layer}.lora_B.weight"] = torch.randn(width_out, 2, generator=random) / 4
    save_file(state, file)
