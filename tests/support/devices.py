"""What the networks of the tests compute on: the CPU, or a graphics card where LIKENESS_TEST_DEVICE=cuda says so."""

from __future__ import annotations

import os

import torch

VARIABLE = "LIKENESS_TEST_DEVICE"
DEVICE = torch.device(os.environ.get(VARIABLE, "cpu"))
CPU = torch.device("cpu")
ON_CPU = DEVICE.type == "cpu"


def compute_exactly() -> None:
    """On a card: let convolutions in float32 be computed in float32.

    torch computes them in TF32 by default, which rounds to 1e-3. The tests compare float32 to 5e-6.
    """
    if not ON_CPU:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
