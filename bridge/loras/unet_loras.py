"""LoRAs of single people, each added to what the layers give where that person is: y = W x + sum of m_i up_i down_i x.

No weight is changed. While a forward runs, a `LayerHook` stands in the layers concerned and adds to what they give. m_i
is the weight of person i in a pixel; a `PeopleLayer` makes one product of all people. Keys and values of the text are
made with each person's LoRAs, and read by that person's pixels alone.

What lives how long, from the longest to the shortest:

    PersonLoras         in the conditioning, from the node on    what one node adds; immutable, on the CPU
    UNetLorasRun        one sampling                             for each UNet: PeopleLayers of every node, and hooks
    UNetLorasBatch      the forwards of one UNet that carry the same people in the same rows
    UNetNodeLoras       as its batch                             what one node adds, with weights of every pixel
    Forward             one forward in one thread                the grids of the blocks, as the forward shows them
    LayerHook           one forward, or several that overlap     stands in a layer's `forward`
    TextReadings        as its batch                             which pixels read the text with whose LoRAs

There are several UNets where ComfyUI's MultiGPU CFG Split samples with a copy on each card, each in its own thread.

The steps of one forward:

    Batch.prepared                  puts hooks into the layers' `forward` (layer_hooks.py)
    options_with_attention          begins the Forward of this thread, by which hooks find their batch
      each linear layer, each convolution:
        LayerHook.forward           -> output_with_additions of the batch -> of each node:
          PeopleLayer.hidden        down x                              (B, pixels, ranks)
          _times_pixel_weights      times the weight of each rank's owner in each pixel
          with_product              up of that, added to what the layer gives
      each cross-attention:
        _remember_text              the text that keys and values are made of, once others have changed it
        attention_output            one attention per TextReading, each with the keys and values of its people
    call_network                    ends the Forward (forward.py)
    Batch.prepared closes           takes the hooks out

Weights of pixels are shares of people (`shares_at`), one for each rank (`_make_weights`), kept by grid (`_weights_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...core.attention.cross_attention import Block, on_grid
from ...core.checks.errors import TokensMoved
from ..host.unet import (
    Grid,
    Options,
    Replacement,
    block_of,
    first_convolution_of,
    grid_of,
    grids,
    tokens_moved,
    transformers,
    with_patch,
)
from ..networks.file_attention import attend_whole_with, attend_with, tell_of_file_attention
from ..networks.layers import (
    PIXELS,
    CrossAttentionBatch,
    CrossAttentionRun,
    QueryShape,
    can_read_some_pixels,
    patches_dropped,
    query_shape_of,
)
from ..networks.model_family import network_of
from ..networks.row_tracking import of_source_rows, repeat_rows
from ..sampling.calls import Site, part_around
from ..sampling.forward import ForwardShape
from ..sampling.made_rows import made_rows_error
from ..sampling.model_conds import PerChunk
from .layer_hooks import Forward, LayerHook, LayerHooks, begin_additions, current_additions
from .loras_run import LorasRun
from .people_layers import PeopleLayer, PersonLoras, with_product, with_product_of_pixels
from .text_readings import PersonShare, TextReading, add_reading, make_readings, shares_of_node

_TEXT = "likeness_text"
"""The key of a `LayerText` in the extra_options of a layer, which the host gives to attn2 patches and to attention."""


class LoraTokensMoved(TokensMoved):
    """Another node has split or merged the tokens of the picture, where LoRAs are meant for regions of it."""


def _tokens_moved(token_count: int, grid: Grid) -> LoraTokensMoved:
    return LoraTokensMoved(
        f"{tokens_moved(token_count, grid)}. Which of them belong to whose LoRA is unknown.",
        "Take that node out, or use one person without regions.",
    )


# A run


class TextLayers(NamedTuple):
    """Names of the modules that make keys and values of the text for one cross-attention layer."""

    keys: str
    values: str


def _text_layers_of(modules: Mapping[str, nn.Module]) -> list[TextLayers]:
    """Of every cross-attention layer, in the order of unet.transformers. modules: of the UNet, by name."""
    names = {module: name for name, module in modules.items()}
    attentions = [transformer.module.attn2 for transformer in transformers(modules[""])]
    return [TextLayers(names[attention.to_k], names[attention.to_v]) for attention in attentions]


class UNetLorasRun(LorasRun, CrossAttentionRun[PersonLoras]):
    """One sampling run of a UNet with people's LoRAs."""

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        # LoRAs without regions divide no attention, so only nodes with regions get the note.
        by_region = [carried for carried in self.everything if carried.acting_regions is not None]
        tell_of_file_attention(self._model, by_region, "attn2")
        self._text_layers: dict[nn.Module, list[TextLayers]] = {}  # by UNet

    def new_batch(self, acting: tuple[PerChunk[PersonLoras], ...], forward_shape: ForwardShape) -> UNetLorasBatch:
        """A new batch for the forwards in which these nodes act."""
        unet = network_of(forward_shape.model)
        hooks = self.hooks_in(unet)
        if unet not in self._text_layers:
            self._text_layers[unet] = _text_layers_of(hooks.modules)
        query_shape = query_shape_of(self.layers, forward_shape)
        block_grids = grids(unet, *forward_shape.latent[-2:])
        nodes: list[UNetNodeLoras] = []
        for of_node in acting:
            layers_of_node = self.layers_of(of_node[0], unet, forward_shape)  # the same for all chunks
            nodes.append(UNetNodeLoras(of_node, layers_of_node, query_shape, block_grids))
        return UNetLorasBatch(self.layers, hooks, self._text_layers[unet], query_shape, nodes)


# What the forwards read


class UNetNodeLoras:
    """What one node's LoRAs add to the layers of one UNet in the forwards of a batch.

    layers: by name.
    """

    def __init__(
        self,
        loras: PerChunk[PersonLoras],
        layers: Mapping[str, PeopleLayer],
        query_shape: QueryShape,
        block_grids: Mapping[tuple[str, int], Grid],
    ) -> None:
        """loras: of the node. block_grids: (height, width) by block."""
        self.layers = layers
        self._query_shape = query_shape
        # All chunks have the same regions, but rows of people have each a person of their own.
        different = loras if loras[0].by_row else loras[:1]
        self._shares = [lora.shares for lora in different if lora.shares is not None]
        """Of these chunks, see PersonLoras.shares; empty for one person everywhere."""
        self._grids = _grids_of_layers(layers, block_grids)
        self._weights: dict[tuple[Grid, tuple[int, ...]], Tensor | None] = {}
        """What `_make_weights` has given, by the grid and the person of each rank."""
        self._make_all_weights(set(block_grids.values()))

    def _make_all_weights(self, every_grid: set[Grid]) -> None:
        """Make the weights for every grid of the UNet and the ranks of every layer, before the first forward.

        A layer's ranks are told by the number of the person whose LoRA each is of, such as (0, 0, 1). No weights are
        made when a layer first asks for them, because torch.compile compiles the forward, which should only read what
        lies ready.
        """
        every_ranks = {layer.person_of_rank for layer in self.layers.values()}
        for layer in self.layers.values():
            # GLoRA also adds to the layer's input, with one factor per pixel for all of its channels: the weight of a
            # single rank of its person.
            every_ranks.update((front.person,) for front in layer.in_front)
        for grid in every_grid:
            for person_of_rank in every_ranks:
                self._weights[grid, person_of_rank] = self._make_weights(grid, person_of_rank)

    def shares_at(self, grid: Grid) -> Tensor | None:
        """How much of each person's LoRAs every pixel of a grid has, on the CPU: (rows or 1, pixels, people).

        None for one person everywhere.
        """
        if not self._shares:
            return None
        rows: list[Tensor] = []
        for shares in self._shares:
            of_people = on_grid(shares, *grid)  # (people, pixels, 1)
            rows.append(of_people[..., 0].T)  # (pixels, people)
        by_row = torch.stack(rows)  # (rows of self._shares, pixels, people)
        if len(by_row) > 1:  # a single row holds for every row of the forward
            by_row = repeat_rows(by_row, self._query_shape.row_count, dim=0)  # (rows, pixels, people)
        return by_row

    def _make_weights(self, grid: Grid, person_of_rank: tuple[int, ...]) -> Tensor | None:
        """How much of each rank every pixel of a grid has: (rows or 1, pixels, ranks); None for 1 everywhere.

        The weight of a rank is the pixel's share of the person whose LoRA the rank belongs to. person_of_rank: for each
        rank the number of this person.
        """
        shares = self.shares_at(grid)
        if shares is None:
            return None
        return self._query_shape.like_queries(shares[..., list(person_of_rank)])

    def _weights_of(self, grid: Grid, person_of_rank: tuple[int, ...]) -> Tensor | None:
        """The weights that `_make_weights` gives: ready ones for the grids that the UNet has by itself.

        For a grid that another node has changed they are made anew at every call, and not kept.
        """
        if (grid, person_of_rank) in self._weights:
            return self._weights[grid, person_of_rank]
        return self._make_weights(grid, person_of_rank)

    def output_with_additions(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """The sum of `out`, which a layer gives for x, and of what all people add to it, in the shape of `out`.

        x, out: (B, tokens, channels), (B, channels, h, w), or (B, channels) of a layer of the time step. A layer of the
        time step has no pixels: its block adds what it gives to all pixels alike. Where the people have different
        regions, pixels need different sums, so the result is then (B, channels, h, w), which the block adds as well.
        """
        layer = self.layers[hook.name]
        grid = self._grid_of(hook.name, forward, out)
        hidden = self._times_pixel_weights(layer.hidden(x), grid, layer.person_of_rank)  # (B, pixels or 1, ranks)
        up = layer.up.to(x)
        is_of_time_step = out.dim() == 2
        if is_of_time_step or layer.in_front:  # a sum that no single kernel makes
            addition = functional.linear(hidden, up)  # (B, pixels or 1, channels)
            for front in layer.in_front:
                change = front.change(hook.layer, x)
                addition = addition + self._times_pixel_weights(change, grid, (front.person,))
            return _with_addition(out, addition, grid)
        add_product = with_product_of_pixels if out.dim() == 4 else with_product
        return add_product(out, hidden, up, hook.makes_new)

    def _grid_of(self, name: str, forward: Forward, out: Tensor) -> Grid:
        """The grid of the pixels of a layer, which gives `out`; (1, 1) for one that stands in no block."""
        if out.dim() == 4:  # a convolution, whose output is a picture
            return int(out.shape[2]), int(out.shape[3])
        if name in forward.grids:  # what the block has in this forward; another node may have changed it
            return forward.grids[name]
        return self._grids.get(name, (1, 1))  # what the block has by itself

    def _times_pixel_weights(self, x: Tensor, grid: Grid, person_of_rank: tuple[int, ...]) -> Tensor:
        """Tokens times the weights of their pixels: (B, pixels or 1, channels). It may write into x.

        x: of all channels of a layer or of its ranks, in the shapes of `output_with_additions`. Raises LoraTokensMoved
        where x has not a whole number of tokens for each pixel, and ConditioningLost where another pack has made rows.
        """
        tokens = _as_tokens(x)
        weights = self._weights_of(grid, person_of_rank)  # (rows or 1, pixels, channels or 1)
        if weights is None:
            return tokens
        is_of_time_step = tokens.shape[1] == 1  # this token becomes one for each pixel
        if not is_of_time_step:
            weights = _of_all_tokens(weights, tokens.shape[1], grid)
        if len(weights) not in (1, len(tokens)):
            raise made_rows_error(len(tokens), len(weights), function=None)
        weights = weights.to(tokens)
        if is_of_time_step or tokens.requires_grad:
            return tokens * weights
        return tokens.mul_(weights)  # nobody else holds x: `down` or a GLoRA has made it just before


def _of_all_tokens(weights: Tensor, token_count: int, grid: Grid) -> Tensor:
    """Weights of pixels, (rows or 1, pixels, ranks), for so many tokens of a layer: (rows or 1, tokens, ranks).

    Reference-only nodes put keys of other rows of the batch behind a row's own, so there may be several tokens of each
    pixel. grid: of the pixels. Raises LoraTokensMoved where all pixels have not as many.
    """
    copies, rest = divmod(token_count, weights.shape[1])
    if rest:
        raise _tokens_moved(token_count, grid)
    return weights if copies == 1 else weights.repeat(1, copies, 1)


def _grids_of_layers(layers: Iterable[str], block_grids: Mapping[tuple[str, int], Grid]) -> dict[str, Grid]:
    """The grid of the block of each layer, by the layer's name; none for layers that stand in no block."""
    by_layer: dict[str, Grid] = {}
    for name in layers:
        block = block_of(name)
        if block is not None:
            by_layer[name] = block_grids[block]
    return by_layer


def _layers_by_first_convolution(names: Iterable[str], modules: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """By name of the first convolution of a block, the layers of the block: they have as many pixels as it gives."""
    layers: dict[str, list[str]] = {}
    for name in names:
        if block_of(name) is None:
            continue
        convolution = first_convolution_of(name)
        if convolution in modules:
            layers.setdefault(convolution, []).append(name)
    return layers


def _with_addition(out: Tensor, addition: Tensor, grid: Grid) -> Tensor:
    """The sum of what a layer gives, `out`, and an addition to it, (B, pixels or 1, channels).

    It has the shape of `out`; or, where `out` is (B, channels) and the addition differs by pixel, (B, channels, h, w).
    grid: of the pixels.
    """
    if out.dim() == 3:
        return out + addition
    if out.dim() == 2 and addition.shape[1] == 1:  # a layer of the time step, with one sum for all pixels
        return out + addition[:, 0]
    # For a layer of the time step, whose output has no pixels, the addition gives it some.
    pixels = out if out.dim() == 4 else out[..., None, None]  # (B, channels, h or 1, w or 1)
    return pixels + addition.mT.unflatten(2, grid)  # (B, pixels, channels) -> (B, channels, h, w)


def _as_tokens(x: Tensor) -> Tensor:
    """What a layer gives, whatever its shape, as (B, tokens, channels)."""
    if x.dim() == 4:  # a convolution: (B, channels, h, w)
        return x.flatten(2).mT  # (B, h * w, channels)
    if x.dim() == 2:  # of the time step: (B, channels)
        return x[:, None]  # (B, 1, channels)
    return x  # (B, tokens, channels)


class LayerText(NamedTuple):
    """The text, (B, T, width) each, of which a layer makes keys and values. Patches may give it two different ones."""

    for_keys: Tensor
    for_values: Tensor


class Owner(NamedTuple):
    """A person of one node. person_index: among the people of the node, from 0."""

    node: UNetNodeLoras
    person_index: int


PeopleByNode = tuple[tuple[int, ...], ...]
"""For each node, the numbers of some of its people."""


class TextReadings:
    """Which pixels of each cross-attention layer read the text with whose LoRAs, in the forwards of a batch."""

    def __init__(
        self, nodes: Sequence[UNetNodeLoras], text_layers: Sequence[TextLayers], query_shape: QueryShape
    ) -> None:
        self._nodes = nodes
        self._query_shape = query_shape
        self._people_of_layers = [self._people_with_text(text_layer) for text_layer in text_layers]
        # Made here and not in the forward: torch.compile compiles the forward, which should only read what lies ready.
        self._ready: dict[tuple[PeopleByNode, Grid], list[TextReading]] = {}
        for people_by_node in set(self._people_of_layers):
            for grid in query_shape.grids:
                self._ready[people_by_node, grid] = self._make(people_by_node, grid)

    def of_layer(self, layer_index: int, grid: Grid) -> list[TextReading]:
        """The readings of a layer. They are ready for the grids of the UNet itself, and made anew for any other."""
        key = self._people_of_layers[layer_index], grid
        return self._ready[key] if key in self._ready else self._make(*key)

    def _people_with_text(self, text_layer: TextLayers) -> PeopleByNode:
        """The people with LoRAs in the modules that make keys or values of the text in this layer."""
        by_node: list[tuple[int, ...]] = []
        for node in self._nodes:
            people: set[int] = set()
            for name in text_layer:
                if name in node.layers:
                    people.update(node.layers[name].people)
            by_node.append(tuple(sorted(people)))
        return tuple(by_node)

    def _make(self, people_by_node: PeopleByNode, grid: Grid) -> list[TextReading]:
        """New readings for a layer of this grid. people_by_node: those with LoRAs on the text in the layer."""
        by_node: list[list[PersonShare]] = []
        for node, people in zip(self._nodes, people_by_node, strict=True):
            by_node.append(shares_of_node(node.shares_at(grid), people))
        return make_readings(by_node, self._query_shape)


class UNetLorasBatch(CrossAttentionBatch):
    """What is added to the layers of one UNet in the forwards that carry the same. nodes: what each node adds.

    Hooks stand in the layers to which something is added, and in the first convolution of each of their blocks, which
    shows how many pixels the block has.
    """

    def __init__(
        self,
        layers: Sequence[Block],
        hooks: LayerHooks,
        text_layers: Sequence[TextLayers],
        query_shape: QueryShape,
        nodes: Sequence[UNetNodeLoras],
    ) -> None:
        """layers: all cross-attention layers of the UNet. hooks, text_layers: of the UNet."""
        super().__init__(layers, query_shape)
        self.hooks = hooks
        self._text_layers = text_layers
        self._nodes = nodes
        # Names of the layers to which any node adds something, each once and in order.
        self._layer_names = list(dict.fromkeys(name for node in nodes for name in node.layers))
        self._layers_of_convolution = _layers_by_first_convolution(self._layer_names, hooks.modules)
        self._hooked_layers = list(dict.fromkeys([*self._layer_names, *self._layers_of_convolution]))
        self._readings = TextReadings(nodes, text_layers, query_shape)

    def sites(self, modules: Mapping[str, nn.Module]) -> Mapping[Site, nn.Module]:
        """The cross-attentions of the base class, and by name each layer to which something is added, with its part."""
        layers = {name: part_around(modules, name) for name in self._layer_names}
        return {**super().sites(modules), **layers}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self.hooks.standing_in(self._hooked_layers):
            yield

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options with our attention. The Forward of this thread begins here: the UNet is called next."""
        begin_additions(self)
        # As the last patch, after those of other packs and of a UnetWordsBatch: it sees the text as layers read it.
        return with_patch(super().options_with_attention(options), "attn2_patch", _remember_text)

    def changes_layer(self, layer_index: int) -> bool:
        """Whether any node has LoRAs on the keys or values of the text in this layer."""
        return any(name in node.layers for name in self._text_layers[layer_index] for node in self._nodes)

    def output_with_additions(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """The sum of `out`, which a layer gives for x, and of what all nodes add to it, in the shape of `out`.

        Called by the hooks, see layer_hooks.Additions.
        """
        self.calls.count(hook.name)
        if hook.name.endswith(("attn2.to_k", "attn2.to_v")):
            return self._keys_or_values(forward.text_owners, hook, x, out)
        for node in self._nodes:
            if hook.name in node.layers:
                out = node.output_with_additions(forward, hook, x, out)
        for name in self._layers_of_convolution.get(hook.name, ()):
            forward.grids[name] = int(out.shape[2]), int(out.shape[3])
        return out

    @staticmethod
    def _keys_or_values(owners: Sequence[Owner], hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """What a layer that makes keys or values of the text gives: `out`, with the LoRAs of these owners.

        owners: none when the host calls the layer, because `attention_output` adds later what belongs to each reading.
        Some when another pack's attention calls it by itself, see Forward.call_with_text_of.
        """
        for owner in owners:
            layer = owner.node.layers.get(hook.name)
            if layer is not None:
                # 0 for a person without a LoRA in this layer
                out = out + layer.additions_to_text(x, hook.layer).get(owner.person_index, 0)
        return out

    def attention_output(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """Each pixel reads the text with the LoRAs of the people it belongs to, by their weights there: (B, N, C).

        text_readings.py says which pixels read with whose LoRAs. Arguments as in the base class. Raises
        LoraTokensMoved, and ConditioningLost where our patch was not called, or another pack has made rows.
        """
        readings = self._readings_in_layer(layer_index, before, q, extra_options)
        layer_text: LayerText | None = extra_options.get(_TEXT)
        if layer_text is None:
            raise patches_dropped()
        keys_of, values_of = self._text_layers[layer_index]  # names of modules
        # For each node, by person: what is added to keys and to values, (B, T, C) each.
        key_additions = [self._added_to_text(node, keys_of, layer_text.for_keys) for node in self._nodes]
        value_additions = [self._added_to_text(node, values_of, layer_text.for_values) for node in self._nodes]
        out: Tensor | None = None
        for reading in readings:
            keys = _with_additions(k, key_additions, reading)
            values = _with_additions(v, value_additions, reading)
            out_of_reading = self._read_text(reading, before, q, keys, values, extra_options)
            out = add_reading(out, out_of_reading, reading, q.shape[1])
        assert out is not None  # the shares of a pixel are 1 in all, so there is a reading for every pixel
        return out

    def _readings_in_layer(
        self, layer_index: int, before: Replacement | None, q: Tensor, extra_options: Options
    ) -> list[TextReading]:
        """The readings of one layer, for the rows and the attention that it has. Raises as `attention_output`."""
        source_rows = self.source_rows(before, q, extra_options)
        by_pixels = can_read_some_pixels(before)
        grid = grid_of(extra_options)
        readings: list[TextReading] = []
        for reading in self._readings.of_layer(layer_index, grid):
            readings.append(_reading_for_rows(reading, source_rows, by_pixels))
        by_region = any(reading.share is not None or reading.pixels is not None for reading in readings)
        if by_region and q.shape[1] != grid[0] * grid[1]:
            raise _tokens_moved(q.shape[1], grid)
        return readings

    def _read_text(
        self,
        reading: TextReading,
        before: Replacement | None,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        extra_options: Options,
    ) -> Tensor:
        """The attention of the pixels of one reading, (B, n, C), by the host's function or by `before`.

        before: what stands in the place of the host's function, or None. q: of all pixels, (B, N, C). keys, values:
        made with the LoRAs of the reading's people, (B, T, C) each.
        """
        if reading.pixels is not None:
            q = q.index_select(1, reading.pixels)
        if before is None:
            # The file's attention may be one that takes all queries at once only.
            attend = attend_whole_with if reading.pixels is None else attend_with
            return attend(extra_options)(q, keys, values)
        if reading.pixels is not None:
            # `before` is then a batch of ours that reads PIXELS, see can_read_some_pixels.
            extra_options = {**extra_options, PIXELS: reading.pixels}
        person_by_node = zip(self._nodes, reading.people, strict=True)
        owners = tuple(Owner(node, person) for node, person in person_by_node if person is not None)
        attention_of_other_node = partial(before, q, keys, values, extra_options)
        return current_additions().call_with_text_of(owners, attention_of_other_node)

    def _added_to_text(self, node: UNetNodeLoras, name: str, context: Tensor) -> dict[int, Tensor]:
        """What a node adds to keys or values of a text, (B, T, C), by person; {} where it has no LoRA on them.

        name: of the module that makes these keys or values. context: the text, (B, T, width).
        """
        if name not in node.layers:
            return {}
        without_us = self.hooks.by_name[name].layer  # the module itself
        return node.layers[name].additions_to_text(context, without_us)


def _with_additions(x: Tensor, additions: Sequence[Mapping[int, Tensor]], reading: TextReading) -> Tensor:
    """Keys or values of a text, (B, T, C), with what the LoRAs of the people of a reading add to them.

    additions: for each node, by person. A person without LoRAs on the text adds nothing.
    """
    for of_node, person in zip(additions, reading.people, strict=True):
        if person is not None:
            x = x + of_node.get(person, 0)
    return x


def _reading_for_rows(reading: TextReading, source_rows: Tensor | None, by_pixels: bool) -> TextReading:
    """A reading of the batch, fitted to what one layer is called with.

    source_rows: (B,), of which row of the batch each row of the layer was made; None where they are the same.
    by_pixels: whether the attention of the layer can be called for some pixels alone. Where it cannot, the reading has
    all pixels, with shares of 0 for those that are not its own.
    """
    pixels = reading.pixels
    share = reading.share
    if pixels is not None and not by_pixels:
        pixels = None
        share = reading.share_of_all
    # A share of a single row holds for all rows. Otherwise a row of the layer has the share of the row it was made of.
    if share is not None and len(share) > 1:
        share = of_source_rows(share, source_rows, dim=0)
    return TextReading(reading.people, pixels, share, share_of_all=None)


def _remember_text(n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The host's attn2 patch: it changes nothing, and leaves for `attention_output` the text of keys and values."""
    extra_options[_TEXT] = LayerText(context, value)
    return n, context, value
