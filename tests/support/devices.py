"""What the networks of the tests compute on: the CPU, or a graphics card where LIKENESS_TEST_DEVICE=cuda says so."""

from __future__ import annotations

import os

import torch

VARIABLE = "LIKENESS_TEST_DEVICE"
DEVICE = torch.device(os.environ.get(VARIABLE, "cpu"))
CPU = torch.device("cpu")
ON_CPU = DEVICE.type == "cpu"


def compute_exactly() -> None:
    """On a card: let the host and torch compute in float32 what the tests make in float32.

    To be called between the host's arguments and its memory management, which reads them. By itself the host encodes
    texts, looks at pictures, decodes them and adds LoRAs in half precision on a card, and torch computes convolutions
    in TF32. Both round to 1e-3, and the tests compare float32 to 5e-6.
    """
    if ON_CPU:
        return
    import comfy.cli_args

    for name in ("force_fp32", "fp32_vae", "fp32_text_enc"):
        setattr(comfy.cli_args.args, name, True)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
