"""Image tokens in cross-attention: what each person's tokens add to what the text says, layer by layer.

An `Injection` holds the keys and values of every layer, projected once when the node runs, so that the MODEL needs
no adapter weights, nothing is projected per step, and another seed or prompt finds them in the host's cache.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from ..core.attention import Attend, Block, decoupled, on_grid, region_weights
from .carried import Carried, cut_regions
from .conditioning import Canvas
from .cross_attention import CrossAttentionBatch, CrossAttentionRun, Place, as_many, rows_of
from .runs import Given
from .unet import Grid, Options, Replacement, attend_with, grid_of


@dataclass(frozen=True, eq=False)
class Injection(Carried):
    """What one apply node adds to one side of the conditioning; IdentityNet finds its tokens by the source.

    tokens: (people, T, width) float32 CPU, unscaled, for IdentityNet.
    layers: per cross-attention layer ((people, T, C), (people, T, C)); adapter scale and weight are in the values.
    None for a layer in which it is not read, which then does what it did. Empty where the adapter is switched off.
    Of a subclass whatever is read of people in a layer, by person.
    regions: (people, H, W) weights of the whole picture, or None: one person everywhere.
    boxes: (people, H, W), at most 1 in all: where they act in the UNet, and IdentityNet's residuals act at all, while
    IdentityNet itself reads by `regions`; or None: wherever they act.
    canvas: what the regions are parts of and whose rows people have, or None where somebody else looks at its size.
    by_row: person n acts in row n of the batch alone; there are no regions, and boxes are of their rows.
    """

    key = "likeness_injections"
    tokens: Tensor
    layers: tuple[tuple[Tensor, ...] | None, ...]
    regions: Tensor | None
    canvas: Canvas | None = None
    by_row: bool = False
    boxes: Tensor | None = None

    @property
    def active(self) -> bool:
        return bool(self.layers)

    @property
    def acts(self) -> Tensor | None:
        """Where in the picture, or None: everywhere."""
        return self.regions if self.boxes is None else self.boxes

    @property
    def shares(self) -> Tensor | None:
        """How much each pixel of the UNet listens to each of them, (people, H, W), at most 1 in all."""
        return region_weights(self.regions) if self.boxes is None and self.regions is not None else self.boxes

    def of(self, picture: int) -> Self:
        if not self.by_row:
            return self
        number = picture % len(self.tokens)
        return self.piece(number, lambda: self._row(slice(number, number + 1)))

    def _row(self, row: slice) -> Self:
        layers = tuple(layer and tuple(x[row] for x in layer) for layer in self.layers)
        boxes = None if self.boxes is None else self.boxes[row]
        return replace(self, tokens=self.tokens[row], layers=layers, by_row=False, boxes=boxes)

    def by_person(self, x: Tensor) -> Tensor:
        """(people, ...) as (people, rows, ...): one row for all the batch, or one person in each of several rows."""
        return x[None] if self.by_row else x[:, None]

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        regions, boxes = (None if one is None else cut_regions(one, area, latent) for one in (self.regions, self.boxes))
        return replace(self, regions=regions, boxes=boxes)

    def alike(self, other: Any) -> bool:
        return (
            self.regions is other.regions
            and self.boxes is other.boxes
            and self.source is other.source
            and self.tokens.shape == other.tokens.shape
            and [pair is None for pair in self.layers] == [pair is None for pair in other.layers]
        )


class InjectionsRun(CrossAttentionRun):
    """One sampling run of a MODEL that reads injections."""

    key = Injection.key

    def batch(self, chunks: tuple[tuple[Injection, ...], ...], given: Given) -> CrossAttentionBatch | None:
        on = self.acting(chunks, given)
        return self.ready(on, given, lambda place: InjectionsBatch(self.layers, on, place)) if on else None


class InjectionsBatch(CrossAttentionBatch):
    """What stands in each layer, or the layer's own attention, plus what the rows' injections add."""

    def __init__(self, layers: Sequence[Block], injections: Sequence[tuple[Injection, ...]], place: Place) -> None:
        self.layers, self.rows = layers, place.rows
        self._additions = [Addition(each, place) for each in injections]

    def acts(self, layer: int) -> bool:
        return any(layer in addition.layers for addition in self._additions)

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        attend, grid = attend_with(extra_options), grid_of(extra_options)
        whose = self.whose(before, q, extra_options)
        out = before(q, k, v, extra_options) if before else attend(q, k, v)
        for addition in self._additions:
            if layer in addition.layers:
                out = out + addition.attended(q, layer, grid, attend, whose)
        return out


class Addition:
    """What one apply node's injections, one per chunk and all alike, add to the layers.

    layers: by number, keys and values (people, rows, T, C) of those where they act.
    """

    def __init__(self, injections: Sequence[Injection], place: Place) -> None:
        self._place = place
        pairs = zip(*(injection.layers for injection in injections), strict=True)
        self.layers = {
            number: tuple(self._rows(zip(injections, sides, strict=True)) for sides in zip(*layer, strict=True))
            for number, layer in enumerate(pairs)
            if all(layer)
        }
        # Regions are the same in all rows, boxes may be of one each.
        by_region = injections if injections[0].boxes is not None else injections[:1]
        self._shares = [(one, shares) for one in by_region if (shares := one.shares) is not None]
        self._weights = {grid: self._on(grid) for grid in place.grids} if self._shares else {}

    def attended(self, q: Tensor, layer: int, grid: Grid, attend: Attend, whose: Tensor | None) -> Tensor:
        """What they add to one layer of this grid; q: (B, N, C). whose: of which of ours each row is."""
        keys, values = (rows_of(x.to(q), whose, dim=1) for x in self.layers[layer])
        weights = None
        if self._shares:
            weights = self._weights[grid] if grid in self._weights else self._on(grid)
            weights = rows_of(weights.to(q), whose, dim=1)
        return decoupled(q, keys, values, weights, attend)

    def _on(self, grid: Grid) -> Tensor:
        """(people, rows, tokens, 1)."""
        return self._rows((one, on_grid(shares, *grid)) for one, shares in self._shares)

    def _rows(self, by_chunk: Iterable[tuple[Injection, Tensor]]) -> Tensor:
        """(people, rows, ...) of all chunks, one after the other."""
        each = torch.cat([one.by_person(x) for one, x in by_chunk], dim=1)
        return as_many(self._place.put(each), self._place.rows, dim=1)
