"""What another pack has switched for the whole process changes nothing of what our nodes give."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from graph_run import OURS, brought, call, run
from graphs import DEFAULTS, SAMPLED, node, ours, sampled
from method_rows import rows
from standins_made import Standins
from tiny import tiny_dits

pytestmark = pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")


@pytest.fixture(scope="module")
def made(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """What runs before the nodes, once for all; model files are found among the stand-ins."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in standin_models.root.iterdir():
            patch.setitem(folder_paths.folder_names_and_paths, kind.name, ([str(kind)], set()))
        bank = tmp_path_factory.mktemp("faces")
        patch.setitem(folder_paths.folder_names_and_paths, "likeness_faces", ([str(bank)], set()))
        yield {}


@contextmanager
def switched(folder: Any) -> Iterator[None]:
    """Switches of torch, numpy, Python and the system as no pack needs them."""
    before = os.getcwd(), torch.is_grad_enabled()
    os.chdir(folder)
    torch.set_default_dtype(torch.bfloat16)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(True)
    try:
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_grad_enabled(before[1])
        torch.set_default_dtype(torch.float32)
        os.chdir(before[0])


def tensors_in(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """Those in lists, dictionaries and objects of ours, in their order."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item, seen)
    elif isinstance(value, dict) or is_dataclass(value) or type(value).__module__.startswith("pack."):
        for item in (value if isinstance(value, dict) else getattr(value, "__dict__", {})).values():
            yield from tensors_in(item, seen)


LEFT_OUT = {
    "LikenessLoadParts2Whole",  # its small files only a server takes
    "LikenessCheckModelFiles",  # its table tells how much memory is free at this moment
}
RUN = {kind: ours(kind) for kind in DEFAULTS if kind not in LEFT_OUT}
RUN |= {str(row): row.node() for row in rows() if row.network}


@pytest.mark.parametrize("name", RUN)
def test_a_node_gives_the_same(name: str, made: dict[Any, Any], tmp_path: Any) -> None:
    kind = RUN[name].kind
    inputs = {name: brought(source, made) for name, source in RUN[name].inputs.items()}
    usual = [*tensors_in(call(OURS[kind], **inputs).args, set())]
    with switched(tmp_path), torch.device("meta"):
        others = [*tensors_in(call(OURS[kind], **inputs).args, set())]
    assert len(others) == len(usual)
    for other, one in zip(others, usual, strict=True):
        assert other.dtype == one.dtype
        assert torch.equal(other, one)


@pytest.mark.parametrize("kind", [*SAMPLED, "LikenessPromptPerPerson"])
def test_a_sampler_behind_it_gives_the_same(
    kind: str, made: dict[Any, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default device is another where the host calls our code for a forward: with it the host samples nothing."""
    graph = sampled(ours(kind))
    inputs = {name: brought(source, made) for name, source in graph.inputs.items()}
    usual = run(graph, made)[0]["samples"]
    model = inputs["model"].clone()
    applied = model.model._apply_model

    def on_cpu(*args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.device("cpu"):
            return applied(*args, **kwargs)

    def on_meta(executor: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.device("meta"):
            return executor(*args, **kwargs)

    monkeypatch.setattr(model.model, "_apply_model", on_cpu)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "another pack", on_meta)
    with switched(tmp_path):
        assert torch.equal(run(node(graph.kind, **{**inputs, "model": model}), {})[0]["samples"], usual)
