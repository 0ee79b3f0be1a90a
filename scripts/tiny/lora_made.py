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
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from pack.bridge.host.unet import layer_shape
from pack.core.models.tensors import below
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import lora_dense

KINDS = ("lora", "tucker", "loha", "loha tucker", "lokr", "lokr whole", "lokr tucker", "glora", "older glora")


_NO_LAYERS = (
    "bundle_emb.ema.clip_l",
    "bundle_emb.ema.string_to_param.*",
    "lora_te9_nobody.lora_up.weight",
    "step",
    "diffusion_model.img_in.steps",
)
_LAYERS_OF_OTHERS = (
    "transformer.controlnet_x_embedder",
    "lora_unet_down_blocks_2_downsamplers_0_conv",
)
"""What the host has a name for, on FLUX.1 and on SDXL, and no layer: other models of the family have it."""
LEFT_OUT = [
    ({key: torch.ones(2, 8)}, f"1 tensor that no layer of the MODEL or the CLIP takes, first {key}.")
    for key in _NO_LAYERS
] + [
    (
        {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.ones(8, 2)},
        f"2 tensors that no layer of the MODEL or the CLIP takes, first {name}.lora_down.weight.",
    )
    for name in _LAYERS_OF_OTHERS
]
"""Tensors of a file that Load LoRA leaves out, and what is said of them."""


@cache
def folder() -> Path:
    """Where the host looks for LoRAs, too; there is one to choose."""
    loras = Path(mkdtemp())
    atexit.register(shutil.rmtree, loras, ignore_errors=True)
    folder_paths.add_model_folder_path("loras", str(loras))
    save_file({"any": torch.zeros(1)}, loras / "any.safetensors")
    return loras


def layers(model: ModelPatcher, words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Every layer that multiplies and sees the picture, of those with one of the words in their names, and the size of
    its weights."""
    shapes = dict[str, tuple[int, ...]]()
    for name, module in model.model.diffusion_model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or len(weight.shape) < 2:
            continue
        sees_the_picture = not name.startswith(("time", "label_emb", "llm_adapter")) and "adaln_modulation_" not in name
        if sees_the_picture and any(word in name for word in words):
            # Of the layer: the host leaves the weights of the last sampling there, which patches may have widened.
            shapes[name] = layer_shape(module) or tuple(weight.shape)
    return shapes


def of_kind(kind: str, shape: Sequence[int], random: Callable[..., Tensor], rank: int = 3) -> dict[str, Tensor]:
    """A layer's tensors, random(*shape) for each."""
    out, inputs, *kernel = shape
    ones = [1] * len(kernel)
    n = rank
    if kind == "tucker" and kernel:
        down = {"lora_down.weight": random(n, inputs, 1, 1), "lora_mid.weight": random(n, n, *kernel)}
        return {"lora_up.weight": random(out, n, 1, 1), **down}
    if kind == "loha" or (kind == "loha tucker" and not kernel):
        flat = inputs * int(torch.tensor(kernel).prod())
        return {
            "hada_w1_a": random(out, n),
            "hada_w1_b": random(n, flat),
            "hada_w2_a": random(out, n),
            "hada_w2_b": random(n, flat),
        }
    if kind == "loha tucker":
        tensors = dict[str, Tensor]()
        for number in "12":
            tensors[f"hada_t{number}"] = random(2, n, *kernel)
            tensors[f"hada_w{number}_a"] = random(2, out)
            tensors[f"hada_w{number}_b"] = random(n, inputs)
        return tensors
    if kind == "lokr" and out % 2 == inputs % 2 == 0:
        flat = inputs // 2 * int(torch.tensor(kernel).prod())
        return {"lokr_w1": random(2, 2), "lokr_w2_a": random(out // 2, n), "lokr_w2_b": random(n, flat)}
    if kind == "lokr whole" and out % 2 == inputs % 2 == 0:
        return {"lokr_w1_a": random(2, 1), "lokr_w1_b": random(1, 2), "lokr_w2": random(out // 2, inputs // 2, *kernel)}
    if kind == "lokr tucker" and kernel and out % 2 == inputs % 2 == 0:
        core = {"lokr_t2": random(n, n, *kernel), "lokr_w2_a": random(n, out // 2), "lokr_w2_b": random(n, inputs // 2)}
        return {"lokr_w1": random(2, 2), **core}
    if kind == "glora":
        b = {"b1.weight": random(out, n, *ones), "b2.weight": random(n, inputs, *kernel)}
        return {"a1.weight": random(inputs, n, *ones), "a2.weight": random(n, inputs, *ones), **b}
    if kind == "older glora" and not kernel:
        a = {"a1.weight": random(n, inputs), "a2.weight": random(inputs, n)}
        return {**a, "b1.weight": random(n, inputs), "b2.weight": random(out, n)}
    return {"lora_up.weight": random(out, n, *ones), "lora_down.weight": random(n, inputs, *kernel)}


def file(
    model: ModelPatcher, kind: str = "lora", seed: int = 1, words: Sequence[str] = ("",), clip: CLIP | None = None,
    strong: float = 0.15, rank: int = 3, dtype: torch.dtype = torch.float32, **more: Tensor,
) -> str:  # fmt: skip
    """The name of one for these layers of a MODEL, and for the keys of a CLIP. more: tensors of other kinds."""
    generator = torch.Generator().manual_seed(seed)
    state = dict[str, Tensor]()

    def add(name: str, tensors: dict[str, Tensor]) -> None:
        state.update({f"{name}.{key}": tensor for key, tensor in tensors.items()})

    def random(*size: int) -> Tensor:
        return (torch.randn(size, generator=generator) * strong).to(dtype)

    for layer, shape in layers(model, words).items():
        add(f"diffusion_model.{layer}", {**of_kind(kind, shape, random, rank), "alpha": torch.tensor(2.0)})
    weights_of_texts: dict[str, Any] = clip.cond_stage_model.state_dict() if clip else {}
    for layer, weight in weights_of_texts.items():
        if layer.endswith("k_proj.weight"):
            add(f"text_encoders.{layer.removesuffix('.weight')}", of_kind("lora", weight.shape, random))
    name = f"{len(list(folder().iterdir()))}.safetensors"
    save_file({**state, **more}, folder() / name)
    return name


def dense(model: ModelPatcher, file: str) -> str:
    """The same file as whole differences, worked out by hand: the host's own loader leaves out a LoKr with a core, for
    torch.kron takes no turned tensors (ComfyUI 0.33, torch 2.11).

    It reads the weights of the live MODEL, for kinds whose difference depends on them. The host leaves LoRAs patched
    into these weights after a sampling, so call this before anything has sampled with a LoRA, or unpatch the MODEL.
    """
    tensors = load_file(folder() / file)
    differences = dict[str, Tensor]()
    for layer in layers(model, ("",)):
        name = f"diffusion_model.{layer}"
        of_the_layer = below(f"{name}.", tensors)
        if of_the_layer:
            alpha = float(of_the_layer.pop("alpha"))
            weight = model.model.diffusion_model.get_submodule(layer).weight
            differences[f"{name}.diff"] = lora_dense.difference(of_the_layer, weight, alpha).float()
    dense_file = f"{len(list(folder().iterdir()))}.safetensors"
    save_file(differences, folder() / dense_file)
    return dense_file
