"""Patches, which the host's loader makes of a LoRA's file, one for each weight: their kind, tensors, sizes and fit.

A patch is an object of the host's weight_adapter, with `name` (its kind) and `weights`, or for whole differences, new
weights and biases a tuple of its kind and its tensors, ("diff", (tensor,)).
"""

from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.attention.low_rank import LORA_KINDS, LoraKind, LowRank
from ..host.unet import own_shape, weight_shape

TURNING_KINDS = ("oft", "boft")
"""The host's names of kinds that turn what a layer gives, block by block, instead of adding to it."""
UNFIT_TENSORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What Python and torch raise where the tensors of a file do not fit each other."""


def kind_of(patch: Any) -> str | None:
    """The host's name of the kind of a patch; None for a whole difference and the like."""
    return getattr(patch, "name", None)


def lora_of(patch: Any) -> LoraKind | None:
    """The LoRA of a patch, with its tensors by their names; None for a patch that is no addition of low rank."""
    kind = kind_of(patch)
    if kind is None or kind not in LORA_KINDS:
        return None
    return LORA_KINDS[kind].from_host(patch.weights)


def tensors_of(patch: Any) -> list[Tensor]:
    """All tensors of a patch of any kind."""
    # An object of weight_adapter has weights, ("diff", (tensor,)) has its tensors second.
    values = getattr(patch, "weights", None) or patch[1]
    return [value for value in values if isinstance(value, Tensor)]


def fits(model: ModelPatcher, name: str, patch: Any) -> bool:
    """Whether a patch fits the weight of this name, and the model has it.

    A patch of a kind that is not known here counts as fitting: the host finds out when it samples.
    """
    return fitting_shape(model, name, patch) is not None


def fitting_shape(model: ModelPatcher, name: str, patch: Any, rows: slice | None = None) -> tuple[int, ...] | None:
    """The shape of the weight of this name if the patch fits it; None if it does not, or if there is no such weight.

    A layer that a LoRA on the model has widened has two shapes, with and without that LoRA: the first that fits is
    returned. rows: the outputs that the patch changes, None for all; the returned shape has these outputs alone.
    """
    for shape in dict.fromkeys((weight_shape(model, name), own_shape(model, name))):
        changed_shape = shape
        if rows is not None and shape:
            if rows.stop > shape[0]:
                continue  # the weight has no such outputs
            changed_shape = (rows.stop - rows.start, *shape[1:])
        if _fits_shape(patch, changed_shape):
            return changed_shape
    return None


def _fits_shape(patch: Any, shape: tuple[int, ...]) -> bool:
    """Whether a patch fits a weight of this shape. shape: () for no weight, or for one that is a single number."""
    kind = kind_of(patch)
    if kind is None:  # a whole difference, which may be a single number, too
        return tensors_of(patch)[0].shape == shape
    if not shape:
        return False
    if kind in TURNING_KINDS:
        # (blocks, size, size), or (rounds, blocks, size, size) of BOFT. Each block turns `size` outputs, and all blocks
        # together turn every output of the layer: blocks * size of them.
        blocks_and_size = patch.weights[0].shape[-3:-1]
        return blocks_and_size.numel() == shape[0]
    lora = lora_of(patch)
    if lora is None:
        return True  # of a kind that is not known here: the host finds out when it samples
    low_rank = low_rank_shapes(lora, shape)
    return low_rank is not None and low_rank.fits(shape)


def low_rank_shapes(lora: LoraKind, shape: Sequence[int]) -> LowRank | None:
    """The two matrices of a LoRA for a layer with weights of this shape, as shapes without numbers (on "meta").

    None where the tensors of the file do not fit each other or the shape: torch then raises one of UNFIT_TENSORS.
    """
    try:
        return lora.to("meta").low_rank(shape)
    except UNFIT_TENSORS:
        return None


def sizes_in_words(model: ModelPatcher, name: str, patch: Any) -> str:
    """The sizes of a patch and of its weight: "NAME is made of 64x2 and 2x32, here it is 48x32"."""
    tensor_sizes = [_size_in_words(tensor.shape) for tensor in tensors_of(patch)]
    shape = weight_shape(model, name)
    weight_size = _size_in_words(shape) if shape else "missing"
    return f"{name} is made of {' and '.join(tensor_sizes)}, here it is {weight_size}"


def _size_in_words(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"
