"""What torch.compile makes of a step, by the host's own node and block by block: time of compiling and of a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_torch_compile import TorchCompileModel
from pack.bridge.unet import transformers

from bench import methods
from bench.measure import TINY, accelerator, interleaved, named, report

BACKEND = "eager" if TINY else "inductor"
NEEDS = () if TINY else ("triton",)
WANTED = (
    ("whole", "instant_id", "float16", 90),
    ("whole", "instant_id", "bfloat16", 60),
    ("per_block", "instant_id", "float16", 40),
    ("per_block", "instant_id", "bfloat16", 40),
    ("whole", "unpatched", "float16", 60),
    ("whole", "share_parts", "float16", 90),
    ("whole", "person_prompts", "float16", 60),
    ("whole", "unpatched", "bfloat16", 60),
)
"""(how, what, precision, seconds of it all on an H200), the most valuable first."""


def whole(model: Any) -> Any:
    return TorchCompileModel.execute(model, BACKEND).args[0]


def per_block(model: Any) -> Any:
    """Every transformer block by itself."""
    where = {"input": "input_blocks.{}.1", "output": "output_blocks.{}.1", "middle": "middle_block.1"}
    layers = transformers(model.get_model_object("diffusion_model"))
    keys = [f"diffusion_model.{where[n].format(number)}.transformer_blocks.{i}" for n, number, i, _ in layers]
    clone = model.clone()
    set_torch_compile_wrapper(model=clone, backend=BACKEND, keys=keys)
    return clone


WAYS: dict[str, Callable[[Any], Any]] = {"whole": whole, "per_block": per_block}


def step(method: str, how: str, dtype: str) -> None:
    """A step of four people (or parts), compiled and not; `recompiled`: graphs that other people and seeds cost."""
    on, people = methods.networks(getattr(torch, dtype)), 4
    plain = methods.METHODS[method](on, people)
    compiled = plain._replace(model=WAYS[how](plain.model))
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    wanted, began = methods.sampled(on, plain).float(), time.perf_counter()
    apart = methods.difference(methods.sampled(on, compiled), wanted)
    seconds, graphs = time.perf_counter() - began, counters["stats"]["unique_graphs"]
    others = methods.METHODS[method](on, people)._replace(model=compiled.model)
    methods.sampled(on, others)
    ours, peer = interleaved(lambda: methods.sampled(on, compiled), lambda: methods.sampled(on, plain), 4)
    more = {
        "compiling_s": round(seconds, 1),
        "graphs": graphs,
        "recompiled": counters["stats"]["unique_graphs"] - graphs,
        "breaks": sum(counters["graph_break"].values()),
        "relative_difference": apart,
    }
    name = f"compiled_{how}_{method}_{dtype}_vs_uncompiled"
    report(name, ours / methods.STEPS, peer / methods.STEPS, "s a step", None, named(accelerator()), **more)
