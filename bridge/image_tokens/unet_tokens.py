"""Image tokens in cross-attention: in each layer, every person's tokens add to what the text gives.

A `UNetImageTokens` holds the keys and values of every layer, projected once when the node runs, so that the MODEL
needs no adapter weights, nothing is projected per step, and another seed or prompt finds them in the host's cache.

From the node to a layer:

    UNetImageTokens                         of one node on one side of the conditioning
    _new_batch                              the UNetImageTokens of all nodes that are on at this step
        UNetImageTokensBatch                    made once for all forwards that carry the same
            ImageTokensOfNode                       of each node: keys, values and weights of all rows of the batch
    UNetImageTokensBatch.attention_output   of a layer: what the text gives
        ImageTokensOfNode.people_attention      and what each node's people add to it, by its `reads`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core.attention.cross_attention import PeopleRead, TextRead, beside_text, on_grid, region_weights
from ..host.unet import Grid, Options, Replacement, grid_of
from ..networks.file_attention import attend_whole_with, attend_with
from ..networks.layers import CrossAttentionBatch, QueryShape, attention_of_other_pack, query_shape_of
from ..networks.row_tracking import of_source_rows, repeat_rows
from ..sampling.carried import CarriedOfPeople, PerChunk
from ..sampling.forward import ForwardShape
from ..sampling.runs import Kind, Run, when_acting


@dataclass(frozen=True, eq=False)
class UNetImageTokens(CarriedOfPeople):
    """What one apply node puts on one side of the conditioning. IdentityNet finds its tokens here, by the source.

    tokens: (people, T, width) float32 CPU, unscaled, for IdentityNet.
    layers: per cross-attention layer ((people, T, C), (people, T, C)), keys and values; adapter scale and weight are in
    the values. Empty where the adapter is switched off: then no layer reads any. A subclass may hold other tensors for
    a layer, each with the people in its first dimension.
    regions: how strongly each person acts where in the whole picture; None: one person everywhere, and with by_row.
    boxes: at most 1 in all for each pixel, or None. With boxes (acts_in = face boxes) the UNet reads people in these
    and not in their regions, and IdentityNet's residuals are added in these alone. IdentityNet itself still reads its
    tokens by `regions`.
    reads: what people add to a layer. Each node is given what the text alone has given there, so the order of nodes
    does not matter.
    """

    key = "likeness_unet_image_tokens"
    per_person = ("tokens",)
    per_person_in_layers = ("layers",)
    tokens: Tensor
    layers: tuple[tuple[Tensor, ...], ...]
    reads: PeopleRead = beside_text

    @property
    def active(self) -> bool:
        return bool(self.layers)

    @property
    def shares(self) -> Tensor | None:
        """How much each pixel of the UNet reads of each person: (people, H, W), at most 1 in all for each pixel.

        None: one person, whom every pixel reads.
        """
        if self.boxes is not None:
            return self.boxes
        if self.regions is None:
            return None
        return region_weights(self.regions)

    def can_join_batch(self, other: Any) -> bool:
        """Whether rows with this UNetImageTokens and with `other` can be computed in one batch.

        They can if both are of one node, in the same places, and read in the same way.
        """
        # Regions and boxes are not compared pixel by pixel: the entries of a node share the same tensors.
        return (
            super().can_join_batch(other)
            and self.regions is other.regions
            and self.boxes is other.boxes
            and self.reads is other.reads
            and self.tokens.shape == other.tokens.shape
        )


def _new_batch(
    run: Run, acting: tuple[PerChunk[UNetImageTokens], ...], forward_shape: ForwardShape
) -> UNetImageTokensBatch:
    return UNetImageTokensBatch(acting, query_shape_of(forward_shape))


UNET_IMAGE_TOKENS = Kind(UNetImageTokens.key, when_acting(_new_batch))
"""Image tokens of people in cross-attention."""


class UNetImageTokensBatch(CrossAttentionBatch):
    """The attention of each layer, or what another pack has put in its place, plus what the rows' image tokens add."""

    def __init__(self, acting: Sequence[PerChunk[UNetImageTokens]], query_shape: QueryShape) -> None:
        super().__init__(query_shape)
        self._nodes = [ImageTokensOfNode(by_chunk, query_shape) for by_chunk in acting]

    def attention_output(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """What a layer reads of the text, plus what the people of each node add: (B, N, C).

        before: what another pack has put in the place of the attention, or None. The other arguments are as in the base
        class.
        """
        source_rows = self.source_rows(before, q, extra_options)
        if before is None:
            read_of_text = attend_whole_with(extra_options)(q, k, v)  # (B, N, C)
        else:
            read_of_text = attention_of_other_pack(before, q, k, v, extra_options)
        # Every node is given what is read of the text alone, without what other nodes add.
        layer = TextRead(read_of_text, q, extra_options["n_heads"], attend_with(extra_options))
        out = read_of_text
        for node in self._nodes:
            out = out + node.people_attention(layer, layer_index, extra_options, source_rows)
        return out


class KeysAndValues(NamedTuple):
    """What people's tokens are in one layer: (people, rows, T, C) each."""

    keys: Tensor
    values: Tensor


class ImageTokensOfNode:
    """What the people of one apply node add to the layers, in the forwards of a batch.

    layers: the keys and values of all rows in each of UNetImageTokensBatch.layers.
    """

    def __init__(self, by_chunk: PerChunk[UNetImageTokens], query_shape: QueryShape) -> None:
        """by_chunk: what the node has put into each chunk, in the same regions."""
        self._by_chunk = by_chunk
        self._reads = by_chunk[0].reads  # a function, the same in every run: torch.compile compiles it once
        self._query_shape = query_shape
        self.layers = [self._rows_of_layer(layer_index) for layer_index in range(len(by_chunk[0].layers))]
        # All chunks have the same regions, so the first chunk's serve all rows. Boxes may differ between rows: where
        # people have a row of the batch each, a row has the box of its person. So they are taken from every chunk.
        different = by_chunk if by_chunk[0].boxes is not None else by_chunk[:1]
        self._shares_of_chunks = [item.shares for item in different if item.shares is not None]
        """The shares in each of these chunks, see UNetImageTokens.shares; empty where every pixel reads one person."""
        self._shares_on_grids: dict[Grid, Tensor] = {}
        """The shares of all rows, (people, rows, N, 1), by grid of the layer."""
        if self._shares_of_chunks:
            for grid in query_shape.grids:
                self._shares_on_grids[grid] = self._make_shares(grid)

    def people_attention(
        self, layer: TextRead, layer_index: int, extra_options: Options, source_rows: Tensor | None
    ) -> Tensor:
        """What the people of this node add to a layer, (B, N, C).

        layer: what the layer has read of the text. layer_index: as in `layers`. extra_options: of the layer.
        source_rows: (B,), for each row of the layer the row of the batch that it was made of; None where the rows are
        those of the batch.
        """
        q = layer.query
        grid = grid_of(extra_options)
        of_batch = self.layers[layer_index]  # (people, rows of the batch, T, C) each
        keys = of_source_rows(of_batch.keys.to(q), source_rows, dim=1)  # (people, B, T, C)
        values = of_source_rows(of_batch.values.to(q), source_rows, dim=1)
        shares = None
        if self._shares_of_chunks:
            # A grid that was not known when the batch was made comes from a node that changes the latent between steps.
            is_ready = grid in self._shares_on_grids
            shares_of_batch = self._shares_on_grids[grid] if is_ready else self._make_shares(grid)
            shares = of_source_rows(shares_of_batch.to(q), source_rows, dim=1)  # (people, B, N, 1)
        return self._reads(layer, keys, values, shares)

    def _make_shares(self, grid: Grid) -> Tensor:
        """How much each pixel of a grid reads of each person: (people, rows, N, 1)."""
        return self._rows_of_batch([on_grid(shares, *grid) for shares in self._shares_of_chunks])

    def _rows_of_layer(self, layer_index: int) -> KeysAndValues:
        """Keys and values of all rows in one layer."""
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for item in self._by_chunk:
            keys_of_people, values_of_people = item.layers[layer_index]  # (people, T, C) each
            keys.append(keys_of_people)
            values.append(values_of_people)
        return KeysAndValues(self._rows_of_batch(keys), self._rows_of_batch(values))

    def _rows_of_batch(self, by_chunk: Sequence[Tensor]) -> Tensor:
        """The tensors of all chunks as one for all rows of the batch, (people, rows of the batch, ...), on the device.

        by_chunk: (people, ...) of each chunk, which all of its rows read; or of one chunk for all.
        """
        of_chunks = torch.stack(list(by_chunk), dim=1)  # (people, chunks, ...)
        return repeat_rows(self._query_shape.like_queries(of_chunks), self._query_shape.row_count, dim=1)
