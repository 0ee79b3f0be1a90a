"""The LoRA that is a part of an adapter's file, put on a clone of the MODEL by the host's own loader."""

from collections.abc import Mapping
from typing import Any

import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.checks.errors import WrongBaseModel
from ...core.models.tensors import State
from ..host import notes
from ..host.unet import advice_on, modules_of_network, transformers, unet_of
from .host_patches import fits

_PROJECTIONS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}
"""Layers of an attention: their names in such a file -> in the host."""


def with_lora(
    model: ModelPatcher,
    state: State,
    strength: float,
    host_names: Mapping[str, str] | None = None,
) -> ModelPatcher:
    """A clone of the MODEL with a LoRA. Unlike everything else of ours it acts in all of the picture and on both sides
    of CFG, as it was trained.

    The MODEL itself is returned in three cases: there is no LoRA (an empty state); its strength is 0; or the MODEL has
    this LoRA already, from a file of its own or from another node, which a note under the node says.
    state: "<n>.to_q_lora.{down,up}.weight" and so on for to_k, to_v and to_out. <n> is the number of the attention:
    self-attention 0 and cross-attention 1 of the first transformer block, and so on in diffusers' order.
    host_names: name of a layer in the file -> name of its weight in the MODEL, for a file that names its layers in
    another way; None for names as above.
    Raises WrongBaseModel unless every layer of the file finds a weight of its size.
    """
    if not state or not strength:
        return model
    patches = _patches(model, state, host_names)
    applied_strength = _strength_on(model, patches)
    if applied_strength:
        notes.tell(f"The MODEL has the LoRA of this file already, at {applied_strength:g}: not added a second time")
        return model
    clone = model.clone()
    clone.add_patches(patches, strength)
    return clone


def _patches(model: ModelPatcher, state: State, host_names: Mapping[str, str] | None) -> dict[str, Any]:
    """The host's patches of a LoRA, by the names of the MODEL's weights.

    state, host_names: as in `with_lora`. Raises WrongBaseModel unless every layer of the file finds a weight of its
    size. The host itself raises nothing, and leaves out layers that find none.
    """
    patches = comfy.lora.load_lora(dict(state), host_names or _host_names(model), log_missing=False)
    # Each layer has one up matrix, and should have got one patch.
    layer_count = sum(key.endswith("up.weight") for key in state)
    fitting_count = sum(fits(model, name, patch) for name, patch in patches.items())
    if patches and fitting_count == layer_count:
        return patches
    base = f"another UNet ({layer_count} layers, of which {fitting_count} fit)"
    family = type(model.model.model_config).__name__
    advice = "Use a MODEL with the own layout of the file's family, or set lora_weight to 0."
    raise WrongBaseModel("The LoRA in this file", base, f"one for the MODEL's ({family})", advice_on(model, advice))


def _strength_on(model: ModelPatcher, patches: Mapping[str, Any]) -> float:
    """The strength, all in all, at which a MODEL has these patches already; 0 where it does not have them.

    patches: at least one. Only the first weight that they change is looked at, as one stands for all of a file.
    """
    weight_name, patch = next(iter(patches.items()))
    total_strength = 0.0
    for model_strength, model_patch, *_ in model.patches.get(weight_name, ()):
        if _same_matrices(model_patch, patch):
            total_strength += model_strength
    return total_strength


def _same_matrices(model_patch: Any, patch: Any) -> bool:
    """Whether a patch on a MODEL has the same up and down matrices as `patch`, which is a LoRA of the host.

    model_patch: of any kind. The `weights` of a host's LoRA begin with up and down. Patches of other kinds are not the
    same: their `weights` begin with other tensors, and a tuple such as ("diff", tensors) has no `weights`.
    """
    model_weights = getattr(model_patch, "weights", None)
    if not model_weights:
        return False
    return _same_numbers(model_weights[0], patch.weights[0]) and _same_numbers(model_weights[1], patch.weights[1])


def _same_numbers(model_tensor: Any, tensor: Tensor) -> bool:
    """Whether two tensors have one shape and, to a tolerance, the same numbers. model_tensor: None for no tensor."""
    if not isinstance(model_tensor, Tensor) or model_tensor.shape != tensor.shape:
        return False
    # To a tolerance, because other files may have the same LoRA in other bits.
    return torch.allclose(model_tensor.float().cpu(), tensor.float().cpu(), rtol=1e-2, atol=1e-6)


def _host_names(model: ModelPatcher) -> dict[str, str]:
    """The name of a weight in the MODEL, by the name of its projection in an adapter's file, such as "0.to_q"."""
    unet = unet_of(model)
    module_names = {module: name for name, module in modules_of_network(unet).items()}
    host_names: dict[str, str] = {}
    attention_number = 0
    for transformer in transformers(unet):
        block_name = f"diffusion_model.{module_names[transformer.module]}"
        for attention in ("attn1", "attn2"):
            for file_name, module_name in _PROJECTIONS.items():
                host_names[f"{attention_number}.{file_name}"] = f"{block_name}.{attention}.{module_name}.weight"
            attention_number += 1
    return host_names
