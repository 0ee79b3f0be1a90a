"""What the methods share whose image tokens stand beside the text: do they fit a MODEL, and their keys and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..core.errors import LikenessError
from . import unet
from .injections import Injection
from .load import Loaded
from .scopes import Scope

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider


class AdapterMismatch(LikenessError):
    """An adapter whose layers do not fit the MODEL's cross-attention layers."""

    def __init__(self, adapter: str, model: str, theirs: int, ours: int, why: str) -> None:
        super().__init__(
            f"This {adapter} file has {ours} cross-attention layers and does not fit the MODEL ({model}, {theirs} "
            f"layers): {why}.",
            "Use a MODEL with the own layout of the file's family (SD1.5 or SDXL, Turbo, Lightning, LCM and their "
            "fine-tunes), or an adapter that was trained for this one.",
        )


def check_layout(widths: Sequence[int], model: ModelPatcher, what: str) -> None:
    """Raise AdapterMismatch unless every layer of an adapter finds a cross-attention layer of its width.

    widths: of the adapter's layers, in diffusers' order. what: the method.
    """
    theirs = [width for *_, width in unet.attention_layers(model)]
    if list(widths) != theirs:
        different = [i for i, pair in enumerate(zip(widths, theirs, strict=False)) if pair[0] != pair[1]]
        why = "another number of layers" if not different else f"layer {different[0]} has another width"
        raise AdapterMismatch(what, type(model.model.model_config).__name__, len(theirs), len(widths), why)


def keys_and_values(loaded: Loaded[Any], tokens: Tensor, scales: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Of tokens (people, T, width), per layer of the file (people, T, C) twice, float32 on the CPU.

    scales: (people,) or (people, T), of the values.
    """
    pairs = loaded.net.ip_adapter.keys_and_values(loaded.beside(tokens))
    return tuple((keys.cpu(), values.cpu() * scales.reshape(len(scales), -1, 1)) for keys, values in pairs)


def injections(
    loaded: Loaded[Any],
    scope: Scope,
    sides: Sequence[Tensor],
    scales: Tensor,
    begins: Callable[[CFGGuider], None] | None = None,
) -> list[Injection]:
    """What each side of the conditioning carries.

    sides: tokens (people, T, width) of each. scales: as in keys_and_values; where all are 0 the UNet reads nothing.
    begins: as in Injection.
    """
    source = object()

    def injection(tokens: Tensor) -> Injection:
        layers = keys_and_values(loaded, tokens, scales) if scales.any() else ()
        return scope.injection(source, tokens, layers, begins)

    return [injection(tokens) for tokens in sides]
