"""A UNet small enough to be compiled in a test, compiled by the host's own way, and how often that is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import comfy.ldm.modules.attention as attention
import pytest
import tiny_sdxl
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_torch_compile import TorchCompileModel
from tiny import tiny_networks

SHAPE = {
    **tiny_sdxl.HOST_CONFIG, "model_channels": 32, "channel_mult": [1, 2], "num_res_blocks": [1, 1],
    "transformer_depth": [0, 1], "transformer_depth_output": [0, 0, 0, 1], "transformer_depth_middle": -1,
}  # fmt: skip
"""One layer on the way down and one on the way up, at half the latent's resolution."""


def model(dtype: torch.dtype = torch.float32) -> ModelPatcher:
    return tiny_networks.seeded_model("SDXL", SHAPE, 181, dtype)


def whole(model: Any) -> Any:
    return TorchCompileModel.execute(model, "eager").args[0]


def _with_attention() -> list[ModuleType]:
    """The host's modules of networks. Each has a name of its own for the attention that the host has chosen."""
    return [module for name, module in sys.modules.items() if name.startswith("comfy.ldm.")]


@contextmanager
def counting() -> Iterator[Callable[[], tuple[int, int]]]:
    """What compiling has come to: (graphs, breaks). With an attention of the host's that does not break graphs."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    with pytest.MonkeyPatch.context() as chosen:
        for module in _with_attention():
            for name in ("optimized_attention", "optimized_attention_masked"):
                chosen.setattr(module, name, attention.attention_pytorch, raising=False)
        yield lambda: (counters["stats"]["unique_graphs"], sum(counters["graph_break"].values()))
    torch._dynamo.reset()
