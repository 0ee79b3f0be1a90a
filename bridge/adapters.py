"""What the methods share whose image tokens stand beside the text: do they fit a MODEL, and their keys and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..core.errors import LikenessError
from ..core.people import Cast, PlacedCast, RowCast, is_a
from ..core.places import heard
from ..core.projections.layers import AdapterLayers
from . import load, unet
from .conditioning import Canvas
from .injections import Injection

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


def keys_and_values(
    patcher: ModelPatcher, layers: AdapterLayers, tokens: Tensor, scales: Tensor
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Of tokens (people, T, width), per layer (people, T, C) twice, float32 on the CPU.

    layers: a part of the network in `patcher`. scales: (people,) or (people, T), of the values.
    """
    pairs = layers.keys_and_values(load.on_device(patcher, tokens))
    return tuple((keys.cpu(), values.cpu() * scales.reshape(len(scales), -1, 1)) for keys, values in pairs)


@dataclass(frozen=True)
class Hearing:
    """Where, when and in which rows people are heard: the same on both sides of the conditioning.

    sigmas, regions, boxes, by_row: as in Injection. canvas: what the regions are parts of. placed: whether they are
    parts of the cast's canvas, which is then looked at before the run.
    """

    sigmas: tuple[float, float]
    regions: Tensor | None
    boxes: Tensor | None
    by_row: bool
    canvas: Canvas
    placed: bool

    @property
    def acts(self) -> Tensor | None:
        """Where in the picture, for the eye, or None: everywhere."""
        return self.regions if self.boxes is None else self.boxes

    def injection(
        self,
        source: object,
        tokens: Tensor,
        layers: tuple[tuple[Tensor, ...] | None, ...],
        begins: Callable[[CFGGuider], None] | None = None,
        kind: type[Injection] = Injection,
    ) -> Injection:
        """Tokens, and keys and values, for one side."""
        canvas = self.canvas if self.placed or self.by_row else None
        return kind(source, self.sigmas, tokens, layers, self.regions, canvas, begins, self.by_row, self.boxes)


def hearing(
    cast: Cast,
    node: str,
    node_id: str | None,
    sigmas: tuple[float, float],
    mask: Tensor | None,
    margin: float,
    feather: float,
    acts_in: str,
    scaled: str = "with regions",
    far_corner: Callable[[float], int] = int,
) -> Hearing:
    """Of those of a cast who are heard, by the inputs of schema.heard_inputs.

    node: its name. scaled: what becomes of what the method puts on the canvas in runs of another size. far_corner: of
    face boxes, as in core.places.regions.in_face_boxes. Raises as core.places.heard.
    """
    areas, by_row = heard.weights(cast, mask, margin, feather, node), is_a(cast, RowCast)
    boxes = heard.in_boxes(cast, areas, node, far_corner) if acts_in == heard.FACE_BOXES else None
    canvas = Canvas(node_id, node, lambda _: scaled, len(heard.heard(cast).people) if by_row else 0)
    placed = is_a(cast, PlacedCast) and (areas is not None or boxes is not None)
    return Hearing(sigmas, areas, boxes, by_row, canvas, placed)
