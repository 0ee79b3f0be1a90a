"""What the networks of the tests compute on: the CPU, or a graphics card where LIKENESS_TEST_DEVICE=cuda says so."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

AnyT = TypeVar("AnyT")

VARIABLE = "LIKENESS_TEST_DEVICE"
_NAME = os.environ.get(VARIABLE, "cpu")
# With its number, as ComfyUI names it: it frees and counts the memory of this very device.
DEVICE = torch.device(_NAME if _NAME in ("cpu", "mps") or ":" in _NAME else f"{_NAME}:0")
CPU = torch.device("cpu")
ON_CPU = DEVICE.type == "cpu"


def on_device(tensors: AnyT) -> AnyT:
    """A tensor, or all in a list or dictionary, on DEVICE: what a formula written out in a test reads beside a network
    of the host."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(DEVICE), tensors)


def compute_exactly() -> None:
    """Let the host compute in float32 what is made in float32, to compare a card with the CPU.

    To be called between the host's arguments and its memory management, which reads them. By itself the host looks at
    pictures in half precision on either device, and on a card it also decodes them and adds LoRAs so, which rounds to
    1e-4 or 1e-3. TF32 is off by NVIDIA_TF32_OVERRIDE=0, for a host that is started as a process too.
    """
    import comfy.cli_args

    for name in ("force_fp32", "fp32_vae", "fp32_text_enc"):
        setattr(comfy.cli_args.args, name, True)
