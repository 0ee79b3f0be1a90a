"""A UNet small enough to be compiled in a test, compiled by the host's own way, and what of torch is counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention as attention
import comfy.model_patcher
import comfy.supported_models
import pytest
import tiny_sdxl
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_torch_compile import TorchCompileModel
from pack.bridge.unet import transformers
from seeded import fill
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PACK = Path(__file__).parents[2]
SHAPE = {
    **tiny_sdxl.HOST_CONFIG,
    "model_channels": 32,
    "channel_mult": [1, 2],
    "num_res_blocks": [1, 1],
    "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 0, 1],
    "transformer_depth_middle": -1,
}
"""One layer on the way down and one on the way up, at half the latent's resolution."""


def model(dtype: torch.dtype = torch.float32) -> comfy.model_patcher.ModelPatcher:
    made = comfy.supported_models.SDXL(dict(SHAPE, dtype=dtype)).get_model({})
    fill(made.diffusion_model, 181)
    made.diffusion_model.to(dtype)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(made, load_device=cpu, offload_device=cpu)


def whole(model: Any) -> Any:
    return TorchCompileModel.execute(model, "eager").args[0]


def per_block(model: Any) -> Any:
    """Every transformer block by itself."""
    layers = transformers(model.get_model_object("diffusion_model"))
    where = {"input": "input_blocks.{}.1", "output": "output_blocks.{}.1", "middle": "middle_block.1"}
    keys = [f"diffusion_model.{where[n].format(number)}.transformer_blocks.{i}" for n, number, i, _ in layers]
    clone = model.clone()
    set_torch_compile_wrapper(model=clone, backend="eager", keys=keys)
    return clone


@contextmanager
def counting() -> Iterator[Callable[[], tuple[int, int]]]:
    """What compiling has come to: (graphs, breaks). With an attention of the host's that does not break graphs."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    with pytest.MonkeyPatch.context() as chosen:
        for name in ("optimized_attention", "optimized_attention_masked"):
            chosen.setattr(attention, name, attention.attention_pytorch)
        yield lambda: (counters["stats"]["unique_graphs"], sum(counters["graph_break"].values()))
    torch._dynamo.reset()


class Waits(TorchDispatchMode):
    """Where the pack reads a number out of a tensor, or moves one that the picture of this step has no part in."""

    NUMBERS = ("aten._local_scalar_dense.default", "aten.nonzero.default")
    COPY = "aten._to_copy.default"

    def __init__(self) -> None:
        super().__init__()
        self._found: list[str] = []
        self._of_step: dict[int, torch.Tensor] = {}  # kept so that no other takes their place in memory

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        given, name, where = _storages((args, kwargs)), str(function), _asked_by()
        of_step = bool(given.keys() & self._of_step.keys())
        if where and (name in self.NUMBERS or (name == self.COPY and not of_step)):
            self._found.append(f"{name} at {where}")
        if of_step or not where:
            self._of_step |= {at: x for at, x in _storages(out).items() if of_step or at not in given}
        return out

    def of_a_step(self) -> list[str]:
        """What was found since the last call."""
        found, self._found, self._of_step = self._found, [], {}
        return found


def _storages(of: Any) -> dict[int, torch.Tensor]:
    return {x.untyped_storage().data_ptr(): x for x in tree_leaves(of) if isinstance(x, torch.Tensor)}


def _asked_by() -> str:
    """The line of the pack that is nearest to what torch was asked for; nothing where that is another's."""
    frame = sys._getframe(2)
    while frame and f"{Path(torch.__file__).parent}" in frame.f_code.co_filename:
        frame = frame.f_back
    path = Path(frame.f_code.co_filename) if frame else Path()
    ours = path.is_relative_to(PACK / "bridge") or path.is_relative_to(PACK / "core")
    return f"{path.name}:{frame.f_lineno}" if frame and ours else ""
