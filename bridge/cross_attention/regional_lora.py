"""LoRAs of single people, each added to what the layers give where that person is: y = W x + sum of m_i up_i down_i x.

No weight is changed. While a forward runs, a `Reader` stands in the layers concerned and adds to what they give. m_i is
the weight of person i in a pixel; `lora_layers` makes one product of all people. Keys and values of the text are made
with each person's LoRAs, and read by that person's pixels alone.

What lives how long, from the longest to the shortest:

    RegionalLora        in the conditioning, from the node on    what one node adds; immutable, on the CPU
    RegionalLoraRun     one sampling
    LoraNetwork         one sampling, for each UNet in it        PeopleLayer of every node; the Readers of this UNet
    RegionalLoraBatch   the forwards of one UNet that carry the same people in the same rows
    NodeLoras           as its batch                             what one node adds, with weights of every pixel
    Forward             one forward in one thread                the grids of the blocks, as the forward shows them
    Reader              one forward, or several that overlap     stands in a layer's `forward`
    TextReading         one layer in one forward                 a share of the pixels, and how it reads the text

There are several UNets where ComfyUI's MultiGPU CFG Split samples with a copy on each card, each in its own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...core.attention import on_grid, region_weights
from ...core.errors import TokensMoved
from ..carried import Carried
from ..runs import Given, rows_made
from ..unet import Grid, Options, Replacement, attend_with, grid_of, grids, modules_of_unet, transformers, with_patch
from .layers import CrossAttentionBatch, CrossAttentionRun, QueryPlace
from .lora_layers import LayerLora, PeopleLayer, block_of, first_convolution_of
from .lora_readers import Forward, Reader, Readers, begin_forward, current_forward, end_forward
from .row_tracking import of_source_rows, repeat_rows

_TEXT = "likeness_text"
"""In the extra_options of a layer, which the host gives to its attn2 patches and then to attention: a `LayerText`."""


class LoraTokensMoved(TokensMoved):
    """Another node has split or merged the tokens of the picture, where LoRAs are meant for regions of it."""


# What the conditioning carries


@dataclass(frozen=True, eq=False)
class RegionalLora(Carried):
    """What one node adds, alike on both sides of the conditioning.

    people: how many the node has. layers: by name of a module of the UNet. regions: (people, H, W), 0..1, or None: one
    person everywhere, or everybody in their own row. by_row: whether each person has rows of the batch instead of a
    region. row: the person of this row, where it is known.
    """

    key = "likeness_loras"
    people: int
    layers: Mapping[str, Sequence[LayerLora]]
    regions: Tensor | None
    by_row: bool = False
    row: int | None = None

    @property
    def active(self) -> bool:
        return bool(self.layers)

    def of(self, picture: int) -> RegionalLora:
        """For one picture of the batch: where everybody has rows, that of the person in this row."""
        if not self.by_row:
            return self
        person = picture % self.people
        return self.piece(person, lambda: replace(self, row=person))

    @property
    def shares(self) -> list[Tensor]:
        """How much of everybody's LoRAs each pixel has, (people, H, W) each, at most 1 in all.

        One for all rows of the batch, or one per row where everybody has rows; none where one person is everywhere.
        """
        if self.by_row:
            rows = torch.eye(self.people)[:, :, None, None]  # (people, people, 1, 1): row n is person n's alone
            if self.row is None:
                return list(rows)
            return [rows[self.row]]
        if self.regions is None:
            return []
        return [region_weights(self.regions)]


# What a run has of each UNet


class TextLayers(NamedTuple):
    """Names of the modules that make keys and values of the text for one cross-attention layer."""

    keys: str
    values: str


class LoraNetwork:
    """One UNet that a run samples with.

    modules: by name. readers: which stand in its layers. texts: of every cross-attention layer, in the order of
    unet.transformers.
    """

    def __init__(self, unet: nn.Module) -> None:
        self.modules = modules_of_unet(unet)
        self.readers = Readers(self.modules)
        names = {module: name for name, module in self.modules.items()}
        self.texts: list[TextLayers] = []
        for *_, block in transformers(unet):
            attention = block.attn2
            self.texts.append(TextLayers(names[attention.to_k], names[attention.to_v]))
        self._layers: dict[object, dict[str, PeopleLayer]] = {}

    def layers(self, lora: RegionalLora, place: QueryPlace) -> dict[str, PeopleLayer]:
        """What one node adds, by name of the layer: on the device once in a run."""
        if lora.source not in self._layers:
            layers: dict[str, PeopleLayer] = {}
            for name, layer_loras in lora.layers.items():
                layers[name] = PeopleLayer(layer_loras, self.modules[name], place)
            self._layers[lora.source] = layers
        return self._layers[lora.source]


class RegionalLoraRun(CrossAttentionRun):
    """One sampling run. networks: what belongs to each UNet that it samples with."""

    key = RegionalLora.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self.networks: dict[nn.Module, LoraNetwork] = {}
        self._making_network = threading.Lock()

    def batch(self, chunks: tuple[tuple[RegionalLora, ...], ...], given: Given) -> CrossAttentionBatch | None:
        acting = self.acting(chunks, given)
        if not acting:
            return None
        unet = given.model.diffusion_model
        network = self._network(unet)

        def make(place: QueryPlace) -> RegionalLoraBatch:
            block_grids = grids(unet, *given.x.shape[-2:])
            nodes: list[NodeLoras] = []
            for loras_of_node in acting:
                layers = network.layers(loras_of_node[0], place)
                nodes.append(NodeLoras(loras_of_node, layers, place, block_grids))
            return RegionalLoraBatch(self, network, place.rows, nodes)

        return self.ready(acting, given, make)

    def _network(self, unet: Any) -> LoraNetwork:
        # torch.compile puts a module around the UNet, whose layers are the same.
        module = getattr(unet, "_orig_mod", unet)
        # MultiGPU CFG Split asks from several threads at once.
        with self._making_network:
            if module not in self.networks:
                self.networks[module] = LoraNetwork(module)
            return self.networks[module]

    def ended(self) -> None:
        for network in self.networks.values():
            network.readers.clear()


# What the forwards read


class NodeLoras:
    """What one node's LoRAs add to the layers of one UNet in the forwards of a batch.

    layers: by name. people: how many the node has. all_pixels_owned: whether every pixel is wholly somebody's, so that
    no pixel reads the text without a LoRA.
    """

    def __init__(
        self,
        loras: Sequence[RegionalLora],
        layers: Mapping[str, PeopleLayer],
        place: QueryPlace,
        block_grids: Mapping[tuple[str, int], Grid],
    ) -> None:
        """loras: one per chunk of the batch, all of the same node. block_grids: (height, width) by block."""
        self.layers = layers
        self.people = loras[0].people
        self._place = place
        self._grids: dict[str, Grid] = {}
        for name in layers:
            block = block_of(name)
            if block is not None:
                self._grids[name] = block_grids[block]
        self._shares = _shares_of(loras)
        self.all_pixels_owned = all(bool((shares.sum(dim=0) == 1).all()) for shares in self._shares)
        # Weights of every grid are made here, once: torch.compile sees a forward, and no dictionary that it fills.
        every_owners: set[tuple[int, ...]] = {(person,) for person in range(self.people)}
        every_owners.update(layer.owners for layer in layers.values())
        self._weights: dict[tuple[Grid, tuple[int, ...]], Tensor | None] = {}
        for grid, owners in product({*block_grids.values()}, every_owners):
            self._weights[grid, owners] = self._weights_at(grid, owners)

    def weights(self, grid: Grid, owners: tuple[int, ...]) -> Tensor | None:
        """How much each pixel of a grid has of each rank: (rows or 1, pixels, ranks); None for 1 everywhere.

        owners: per rank, the number of the person whose it is.
        """
        if (grid, owners) in self._weights:
            return self._weights[grid, owners]
        return self._weights_at(grid, owners)

    def _weights_at(self, grid: Grid, owners: tuple[int, ...]) -> Tensor | None:
        if not self._shares:
            return None
        rows: list[Tensor] = []
        for shares in self._shares:
            of_ranks = on_grid(shares[list(owners)], *grid)  # (ranks, pixels, 1)
            rows.append(of_ranks[..., 0].T)  # (pixels, ranks)
        weights = torch.stack(rows)  # (chunks or 1, pixels, ranks)
        if len(weights) > 1:
            weights = repeat_rows(weights, self._place.rows, dim=0)  # (rows, pixels, ranks)
        return self._place.put(weights)

    def added(self, forward: Forward, reader: Reader, x: Tensor, out: Tensor) -> Tensor:
        """What a layer gives of x, `out`, and what all people add to it, in the shape of `out`.

        x, out: (B, tokens, channels), (B, channels, h, w) or, of the time step, (B, channels). Such a layer has no
        pixels, and the block adds what it gives to all of them: where people differ it gets some, (B, channels, h, w).
        """
        layer = self.layers[reader.name]
        grid = forward.grids.get(reader.name) or self._grids.get(reader.name, (1, 1))
        if out.dim() == 4:
            grid = int(out.shape[2]), int(out.shape[3])
        hidden = self._weighted(layer.hidden(x), grid, layer.owners)  # (B, pixels or 1, ranks)
        addition = functional.linear(hidden, layer.up.to(x))  # (B, pixels or 1, channels)
        for front in layer.in_front:
            change = front.change(reader.layer, x)
            addition = addition + self._weighted(change, grid, (front.person,))
        if out.dim() == 3:
            return out + addition
        if out.dim() == 2 and addition.shape[1] == 1:
            return out + addition[:, 0]
        pixels = out if out.dim() == 4 else out[..., None, None]  # (B, channels, h or 1, w or 1)
        return pixels + addition.mT.unflatten(2, grid)  # (B, pixels, channels) -> (B, channels, h, w)

    def _weighted(self, x: Tensor, grid: Grid, owners: tuple[int, ...]) -> Tensor:
        """Tokens times the weights of their pixels: (B, pixels or 1, channels).

        x: as in `added`, of a layer or of its ranks. Raises LoraTokensMoved, and ConditioningLost where another
        pack has made rows.
        """
        tokens = _as_tokens(x)
        weights = self.weights(grid, owners)
        if weights is None:
            return tokens
        if tokens.shape[1] not in (1, weights.shape[1]):
            height, width = grid
            raise LoraTokensMoved(
                f"Another MODEL node (HyperTile and TomePatchModel do so) has made {tokens.shape[1]} tokens of the "
                f"{width}x{height} of a layer. Which of them belong to whose LoRA is unknown.",
                "Take that node out, or use one person without regions.",
            )
        if len(weights) not in (1, len(tokens)):
            raise rows_made(len(tokens), len(weights), None)
        return tokens * weights.to(tokens)


def _shares_of(loras: Sequence[RegionalLora]) -> list[Tensor]:
    """How much of everybody's LoRAs each pixel has, (people, H, W) each: one for all chunks, or one per row."""
    first = loras[0]
    # Chunks with the same regions have the same shares; a prompt with an area of its own sees a part of them.
    same_regions = all(lora.regions is first.regions for lora in loras)
    if same_regions and not first.by_row:
        return first.shares
    shares: list[Tensor] = []
    for lora in loras:
        shares.extend(lora.shares)
    return shares


def _as_tokens(x: Tensor) -> Tensor:
    """Rows of tokens, whatever a layer gives."""
    if x.dim() == 4:  # a convolution: (B, channels, h, w)
        return x.flatten(2).mT  # (B, h * w, channels)
    if x.dim() == 2:  # of the time step: (B, channels)
        return x[:, None]  # (B, 1, channels)
    return x  # (B, tokens, channels)


class LayerText(NamedTuple):
    """What keys and values of one layer are made of, (B, T, width) each."""

    for_keys: Tensor
    for_values: Tensor


class Owner(NamedTuple):
    """A person of one node."""

    node: NodeLoras
    person: int


class TextReading(NamedTuple):
    """How a share of the pixels reads the text in one layer.

    share: of each pixel, (rows or 1, N, 1), or 1: all of all. keys, values: of the text, or what is added to them, (B,
    T, C), or 0. owners: with whose LoRAs they are made.
    """

    share: Any
    keys: Any
    values: Any
    owners: tuple[Owner, ...]

    def joined(self, other: TextReading) -> TextReading:
        """By the pixels of both, with the LoRAs of both."""
        share = self.share * other.share
        keys = self.keys + other.keys
        values = self.values + other.values
        return TextReading(share, keys, values, self.owners + other.owners)


class RegionalLoraBatch(CrossAttentionBatch):
    """What is added to the layers of one UNet in the forwards that carry the same. nodes: what each node adds.

    Readers stand in the layers to which something is added, and in the first convolution of each of their blocks, which
    shows how many pixels the block has.
    """

    def __init__(self, run: RegionalLoraRun, network: LoraNetwork, rows: int, nodes: Sequence[NodeLoras]) -> None:
        super().__init__(run.layers, rows)
        self.readers = network.readers
        self._texts = network.texts
        self._nodes = nodes
        names: dict[str, None] = {}
        for node in nodes:
            names.update(dict.fromkeys(node.layers))
        # By name of a convolution, the layers whose blocks have the pixels that it gives.
        self._measured: dict[str, list[str]] = {}
        for name in names:
            if block_of(name) is None:
                continue
            convolution = first_convolution_of(name)
            if convolution in network.modules:
                self._measured.setdefault(convolution, []).append(name)
        self._read_layers = list(dict.fromkeys([*names, *self._measured]))

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self.readers.standing_in(self._read_layers):
            yield

    def around(self, options: Options) -> Options:
        begin_forward(self)
        # Behind the patches of others, and regional text: what they make of a text is what layers read.
        return with_patch(super().around(options), "attn2_patch", _remember_text)

    def passed(self) -> None:
        end_forward()

    def acts(self, layer: int) -> bool:
        return any(name in node.layers for name in self._texts[layer] for node in self._nodes)

    def added(self, forward: Forward, reader: Reader, x: Tensor, out: Tensor) -> Tensor:
        """What a layer gives of x, `out`, and what is added to it, in the shape of `out`.

        Called by the Readers, see lora_readers.Additions. To keys and values of the text something is added only where
        another pack's attention makes its own: `attended` gives their additions to all others.
        """
        if reader.name.endswith(("attn2.to_k", "attn2.to_v")):
            owners: tuple[Owner, ...] = forward.text_owners
            for owner in owners:
                layer = owner.node.layers.get(reader.name)
                if layer is not None:
                    out = out + layer.of_text(x, reader.layer).get(owner.person, 0)
            return out
        for node in self._nodes:
            if reader.name in node.layers:
                out = node.added(forward, reader, x, out)
        for name in self._measured.get(reader.name, ()):
            forward.grids[name] = int(out.shape[2]), int(out.shape[3])
        return out

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """Each pixel reads the text with the LoRAs of whom it belongs to, by their weights there: (B, N, C).

        Where several nodes have somebody in a pixel, it reads with the LoRAs of all of them: for every choice of one
        person, or nobody, per node there is one attention, and its share of a pixel is the product of theirs. That
        is one attention per person, and one without LoRAs, for one node; for two nodes it is the product of both.
        """
        grid = grid_of(extra_options)
        source_rows = self.source_rows(before, q, extra_options)
        text: LayerText = extra_options[_TEXT]
        by_node = [self._readings(node, layer, text, grid, source_rows, q) for node in self._nodes]
        without_loras = TextReading(share=1, keys=k, values=v, owners=())
        out: Any = 0
        for choice in product(*by_node):
            reading = without_loras
            for reading_of_node in choice:
                reading = reading.joined(reading_of_node)
            if before is None:
                attention = attend_with(extra_options)(q, reading.keys, reading.values)
            else:
                theirs = partial(before, q, reading.keys, reading.values, extra_options)
                attention = current_forward().call_with_text_of(reading.owners, theirs)
            out = out + reading.share * attention
        return out

    def _readings(
        self, node: NodeLoras, layer: int, text: LayerText, grid: Grid, source_rows: Tensor | None, q: Tensor
    ) -> list[TextReading]:
        """Of everybody of one node, and of the pixels that are nobody's. Their shares of a pixel are 1 in all.

        source_rows: (B,), of which row of the batch each row of the layer was made; None where they are the same.
        """
        keys_by_person = self._added_to_text(node, self._texts[layer].keys, text.for_keys)
        values_by_person = self._added_to_text(node, self._texts[layer].values, text.for_values)
        unowned_share: Any = 1
        readings: list[TextReading] = []
        for person in sorted({*keys_by_person, *values_by_person}):
            weights = node.weights(grid, (person,))
            share: Any = 1
            if weights is not None:
                # Weights of one row are those of all rows; else a row of the layer has those of the row it is made of.
                rows = None if len(weights) == 1 else source_rows
                share = of_source_rows(weights.to(q), rows, dim=0)
            keys = keys_by_person.get(person, 0)
            values = values_by_person.get(person, 0)
            readings.append(TextReading(share, keys, values, (Owner(node, person),)))
            unowned_share = unowned_share - share
        if not (node.all_pixels_owned and len(readings) == node.people):
            readings.append(TextReading(unowned_share, 0, 0, ()))
        return readings

    def _added_to_text(self, node: NodeLoras, name: str, text: Tensor) -> dict[int, Tensor]:
        """By person, what a node adds to keys or values that the module of this name makes of a text: (B, T, C)."""
        if name not in node.layers:
            return {}
        return node.layers[name].of_text(text, self.readers.by_name[name].layer)


def _remember_text(n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The host's attn2 patch: it changes nothing, and leaves for `attended` what keys and values are made of."""
    extra_options[_TEXT] = LayerText(context, value)
    return n, context, value
