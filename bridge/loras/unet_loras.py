"""LoRAs of single people in a UNet: whose the pixels of its layers are.

A layer has a token for each pixel of its block's grid. How much of a rank a pixel has is its owner's region there. A
layer of the time step has no pixels, and its block adds what it gives to all of them alike; where people have regions,
it gives something for each pixel. Keys and values of the text are nobody's: each pixel reads those that are made with
the LoRAs of whom it belongs to, see text_readings.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.attention.spans import Tokens
from ..host.unet import Grid, Options, block_of, first_convolution_of, grids
from ..networks.model_family import network_of
from ..sampling.forward import ForwardShape
from ..sampling.rows_of_others import made_rows_error
from ..sampling.watch import DueCalls
from .layer_hooks import Forward, LayerHook, LayerHooks
from .layer_loras import KeptWeights, LayerLoras, LorasBatch, NodeInLayer, NodeLoras, nodes_by_layer
from .people_layers import Owners, as_tokens
from .refused import other_pixels
from .text_readings import TextLayers, TextWithLoras, shares_on_grid


class PixelWeights(KeptWeights):
    """How much of every rank counts in the pixels of one UNet. own_grids: those that its blocks have by themselves."""

    def __init__(self, nodes: Sequence[NodeLoras], forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape.empty_like_network())
        self.own_grids = grids(network_of(forward_shape.model), *forward_shape.latent[-2:])
        # Made before the first forward, because torch.compile compiles the forward, which should only read what lies
        # ready.
        self._ready: dict[Any, Tensor] = {}
        for node in nodes:
            if node.shares is None:
                continue
            every_ranks = {layer.ranks for layer in node.layers.values()}
            # GLoRA also adds to the layer's input, with one weight per pixel for all of its channels.
            every_ranks |= {front.owner for layer in node.layers.values() for front in layer.in_front}
            for grid in set(self.own_grids.values()):
                for ranks in every_ranks:
                    self._ready[node.number, grid, ranks] = self._on_grid(node, grid, ranks)

    def by_region(self, node: NodeLoras, grid: Grid, ranks: Owners) -> Tensor:
        """How much of each rank every pixel of a grid has: (1, pixels, ranks).

        For a grid that another node has changed it is made anew at every call.
        """
        key = node.number, grid, ranks
        return self._ready[key] if key in self._ready else self._on_grid(node, grid, ranks)

    def _on_grid(self, node: NodeLoras, grid: Grid, ranks: Owners) -> Tensor:
        shares = shares_on_grid(node, grid)
        assert shares is not None  # asked for people with regions alone
        return shares[..., list(ranks)].to(self.like)


@dataclass(frozen=True, eq=False)
class UNetLayerLoras(LayerLoras):
    """What a batch does in one layer of a UNet.

    text: of the batch, for a layer that makes keys or values of the text, else None. block: in which the layer stands;
    None for one of the whole UNet, such as those of the time step. shows_grid: whether it is the first convolution of
    its block, whose output shows how many pixels the block has in this forward.
    """

    kept: PixelWeights
    text: TextWithLoras | None
    block: tuple[str, int] | None
    shows_grid: bool

    def output(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        if self.text is not None:
            self.calls.count(hook.name)
            return self.text.keys_or_values(forward.text_people, hook, x, out)
        out = super().output(forward, hook, x, out)
        if self.shows_grid and self.block is not None:
            forward.grids[self.block] = int(out.shape[2]), int(out.shape[3])
        return out

    def with_node(self, forward: Forward, hook: LayerHook, of_node: NodeInLayer, x: Tensor, out: Tensor) -> Tensor:
        """What the layer gives of x, `out`, with what one node's LoRAs add to it.

        Of a layer of the time step, (B, channels), it is (B, channels, h, w) where people have regions.
        """
        node, loras = of_node.node, of_node.loras
        is_for_pixels = out.dim() == 2 and node.shares is not None
        if not is_for_pixels and not loras.in_front:
            return super().with_node(forward, hook, of_node, x, out)
        # A sum that no single kernel makes.
        hidden = self.hidden(forward, hook, of_node, x, out)
        addition = functional.linear(hidden, loras.up.like(x))  # (B, tokens, channels), or (B, channels) for all alike
        for front in loras.in_front:
            change = as_tokens(front.change(hook.layer, x))
            addition = addition + self.weighted(forward, node, front.owner, change, out)
        if addition.dim() == out.dim():
            return out + addition
        pixels = out if out.dim() == 4 else out[..., None, None]  # (B, channels, h or 1, w or 1)
        # (B, pixels, channels) -> (B, channels, h, w)
        return pixels + addition.mT.unflatten(2, self._grid(forward, out))

    def weights_by_region(
        self, forward: Forward, node: NodeLoras, ranks: Owners, hidden: Tensor, out: Tensor
    ) -> Tensor:
        """How much of each rank every token has: (1, tokens, ranks).

        Raises TokensMoved where the layer has not a whole number of tokens for each pixel.
        """
        grid = self._grid(forward, out)
        weights = self.kept.by_region(node, grid, ranks)
        if out.dim() != 3:  # a convolution, whose output is the grid, or a layer of the time step, without tokens
            return weights
        # Reference-only nodes put keys of other rows of the batch behind a row's own, so there may be several tokens of
        # each pixel.
        copies, rest = divmod(out.shape[1], weights.shape[1])
        if rest:
            raise other_pixels(out.shape[1], grid)
        return weights if copies == 1 else weights.repeat(1, copies, 1)

    def _grid(self, forward: Forward, out: Tensor) -> Grid:
        """The grid of the pixels of the layer, which gives `out`."""
        if out.dim() == 4:  # a convolution, whose output is a picture
            return int(out.shape[2]), int(out.shape[3])
        assert self.block is not None  # of people with regions the node refuses a layer that stands in no block
        # What the block has in this forward, as another node may have changed it; else what it has by itself.
        return forward.grids.get(self.block, self.kept.own_grids[self.block])

    def people_of_rows(self, forward: Forward, person_of_row: tuple[int, ...], row_count: int) -> tuple[int, ...]:
        if row_count != len(person_of_row):
            raise made_rows_error(row_count, len(person_of_row), function=None)
        return person_of_row


class UNetLorasBatch(LorasBatch):
    """What is added to the layers of one UNet in the forwards that carry the same."""

    def __init__(
        self,
        hooks: LayerHooks,
        nodes: Sequence[NodeLoras],
        forward_shape: ForwardShape,
        text_layers: Sequence[TextLayers],
    ) -> None:
        """hooks, text_layers: of the UNet. nodes: what each node adds."""
        super().__init__(hooks, forward_shape.row_count)
        self._text = TextWithLoras(text_layers, hooks, nodes, forward_shape)
        self._text.calls = self.calls  # it is a part of this batch
        of_text = {name for layer in text_layers for name in (layer.keys, layer.values)}
        named = [name for node in nodes for name in node.layers if block_of(name) is not None]
        # A block that does not begin with a ResBlock has no such convolution.
        first = {convolution for convolution in map(first_convolution_of, named) if convolution in hooks.modules}
        kept = PixelWeights(nodes, forward_shape)
        self.in_layers = {
            name: UNetLayerLoras(
                self.mark,
                of_nodes,
                self.calls,
                kept,
                text=self._text if name in of_text else None,
                block=block_of(name),
                shows_grid=name in first,
            )
            for name, of_nodes in nodes_by_layer(nodes, sorted(first)).items()
        }

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """The cross-attentions in which the text is read with LoRAs, and by name each layer that is hooked."""
        return {**self._text.due_calls(modules), **super().due_calls(modules)}

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with the attention of the layers whose text is read with LoRAs."""
        return self._text.options_for_network(super().options_for_network(options, tokens), tokens)
