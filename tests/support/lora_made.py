"""LoRA files for the tiny networks, of every kind that the host reads, among the models of this process."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import folder_paths
import lora_dense
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor

KINDS = ("lora", "tucker", "loha", "loha tucker", "lokr", "lokr whole", "lokr tucker", "glora", "older glora")


@cache
def folder() -> Path:
    """Where the host looks for LoRAs, too; there is one to choose."""
    made = Path(mkdtemp())
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    folder_paths.add_model_folder_path("loras", str(made))
    save_file({"any": torch.zeros(1)}, made / "any.safetensors")
    return made


def layers(model: ModelPatcher, words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Every layer that multiplies and sees the picture, of those with one of the words in their names, and the size of
    its weights."""
    modules = model.model.diffusion_model.named_modules()
    found = {name: tuple(one.weight.shape) for name, one in modules if getattr(one, "weight", None) is not None}
    seeing = {name: shape for name, shape in found.items() if len(shape) > 1 and name[:4] not in ("time", "labe")}
    return {name: shape for name, shape in seeing.items() if any(word in name for word in words)}


def of_kind(kind: str, shape: Sequence[int], r: Callable[..., Tensor], rank: int = 3) -> dict[str, Tensor]:
    """A layer's tensors, r(*shape) random ones."""
    out, inputs, *kernel = shape
    ones, n = [1] * len(kernel), rank
    if kind == "tucker" and kernel:
        down = {"lora_down.weight": r(n, inputs, 1, 1), "lora_mid.weight": r(n, n, *kernel)}
        return {"lora_up.weight": r(out, n, 1, 1), **down}
    if kind == "loha" or (kind == "loha tucker" and not kernel):
        flat = inputs * int(torch.tensor(kernel).prod())
        return {f"hada_w{k}_{x}": r(*size) for k in "12" for x, size in (("a", (out, n)), ("b", (n, flat)))}
    if kind == "loha tucker":
        sizes = {"t{}": (2, n, *kernel), "w{}_a": (2, out), "w{}_b": (n, inputs)}
        return {f"hada_{x.format(k)}": r(*size) for k in "12" for x, size in sizes.items()}
    if kind == "lokr" and out % 2 == inputs % 2 == 0:
        flat = inputs // 2 * int(torch.tensor(kernel).prod())
        return {"lokr_w1": r(2, 2), "lokr_w2_a": r(out // 2, n), "lokr_w2_b": r(n, flat)}
    if kind == "lokr whole" and out % 2 == inputs % 2 == 0:
        return {"lokr_w1_a": r(2, 1), "lokr_w1_b": r(1, 2), "lokr_w2": r(out // 2, inputs // 2, *kernel)}
    if kind == "lokr tucker" and kernel and out % 2 == inputs % 2 == 0:
        core = {"lokr_t2": r(n, n, *kernel), "lokr_w2_a": r(n, out // 2), "lokr_w2_b": r(n, inputs // 2)}
        return {"lokr_w1": r(2, 2), **core}
    if kind == "glora":
        b = {"b1.weight": r(out, n, *ones), "b2.weight": r(n, inputs, *kernel)}
        return {"a1.weight": r(inputs, n, *ones), "a2.weight": r(n, inputs, *ones), **b}
    if kind == "older glora" and not kernel:
        a = {"a1.weight": r(n, inputs), "a2.weight": r(inputs, n)}
        return {**a, "b1.weight": r(n, inputs), "b2.weight": r(out, n)}
    return {"lora_up.weight": r(out, n, *ones), "lora_down.weight": r(n, inputs, *kernel)}


def file(
    model: ModelPatcher, kind: str = "lora", seed: int = 1, words: Sequence[str] = ("",), clip: CLIP | None = None,
    strong: float = 0.15, rank: int = 3, dtype: torch.dtype = torch.float32, **more: Tensor,
) -> str:  # fmt: skip
    """The name of one for these layers of a MODEL, and for the keys of a CLIP. more: tensors of other kinds."""
    generator, state = torch.Generator().manual_seed(seed), dict[str, Tensor]()

    def add(name: str, tensors: dict[str, Tensor]) -> None:
        state.update({f"{name}.{key}": tensor for key, tensor in tensors.items()})

    def r(*size: int) -> Tensor:
        return (torch.randn(size, generator=generator) * strong).to(dtype)

    for layer, shape in layers(model, words).items():
        add(f"diffusion_model.{layer}", {**of_kind(kind, shape, r, rank), "alpha": torch.tensor(2.0)})
    known: dict[str, Any] = clip.cond_stage_model.state_dict() if clip else {}
    for layer, one in known.items():
        if layer.endswith("k_proj.weight"):
            add(f"text_encoders.{layer.removesuffix('.weight')}", of_kind("lora", one.shape, r))
    name = f"{len(list(folder().iterdir()))}.safetensors"
    save_file({**state, **more}, folder() / name)
    return name


def dense(model: ModelPatcher, file: str) -> str:
    """The same file as whole differences, worked out by hand: the host's own loader leaves out a LoKr with a core, for
    torch.kron takes no turned tensors (ComfyUI 0.33, torch 2.11).

    It reads the weights of the live MODEL, for kinds whose difference depends on them. The host leaves LoRAs patched
    into these weights after a sampling, so call this before anything has sampled with a LoRA, or unpatch the MODEL.
    """
    tensors, differences = load_file(folder() / file), dict[str, Tensor]()
    for layer in layers(model, ("",)):
        name = f"diffusion_model.{layer}"
        own = {key.removeprefix(f"{name}."): one for key, one in tensors.items() if key.startswith(f"{name}.")}
        if own:
            alpha = float(own.pop("alpha"))
            weight = model.model.diffusion_model.get_submodule(layer).weight
            differences[f"{name}.diff"] = lora_dense.difference(own, weight, alpha).float()
    made = f"{len(list(folder().iterdir()))}.safetensors"
    save_file(differences, folder() / made)
    return made
