"""The toy model's files in a host that takes so small a UNet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import comfy.supported_models
import torch
from shared.standins import Files, narrow
from tiny import small_networks
from torch import Tensor
from toy import export


@contextmanager
def files_in(folder: Path) -> Iterator[Files]:
    """While the host loads them."""
    files = export.files(folder)
    export.write(files, partial(narrow, vae=64))
    with patch.object(comfy.supported_models, "models", small_networks.families()):
        yield files


def as_published(files: Files, models: Path) -> None:
    """Put the toy model's files below `models` under the names that the templates of ID-Patch and InstantID have."""
    names = {
        "checkpoints/sd_xl_base_1.0.safetensors": files.checkpoint,
        "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors": files.control_net,
        "controlnet/InstantID/ControlNetModel/diffusion_pytorch_model.safetensors": files.identity_net,
    }
    for name, file in names.items():
        target = models / name
        target.parent.mkdir(parents=True, exist_ok=True)
        save_without_zeros(torch.load(file), target)
    links = {
        "id_patch/id-patch.bin": files.id_patch,
        "instantid/ip-adapter.bin": files.instant_id,
        "facexlib/recognition_arcface_ir_se50.pth": files.recogniser,
    }
    for file in files.antelope.parent.iterdir():
        links[f"insightface/models/antelopev2/{file.name}"] = file
    for name, file in links.items():
        target = models / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)


def save_without_zeros(state: Mapping[str, Tensor], target: Path) -> None:
    """As safetensors' save_file does, of float16 and float32. One zero expanded is left out, as a hole in the file that
    takes no time and no room: of a checkpoint of 1.7 GB that is nearly all."""
    header: dict[str, dict[str, Any]] = {}
    end = 0
    for key, tensor in state.items():
        start, end = end, end + tensor.nbytes
        kind = {torch.float16: "F16", torch.float32: "F32"}[tensor.dtype]
        header[key] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    described = json.dumps(header).encode()
    with target.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        for tensor in state.values():
            if tensor.ndim and not any(tensor.stride()):
                file.seek(tensor.nbytes, os.SEEK_CUR)
            else:
                file.write(tensor.contiguous().numpy().tobytes())
        file.truncate(8 + len(described) + end)
