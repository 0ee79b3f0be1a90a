"""How the pixels of a UNet read the text with the LoRAs of the people that they belong to.

Keys and values of a text are made once with each person's LoRAs, and once without any. A pixel reads those of the
person in whose region it lies, or those without any. At soft edges it reads several, each with its share, and the
shares of a pixel are 1 in all.

Where several nodes have a person in one pixel, the pixel reads with the LoRAs of all these people. There is a reading
for every choice of one person, or nobody, of each node. The share of a reading in a pixel is the product of the shares
of the people chosen. Most choices have a share of 0 in every pixel, and the others have only a few pixels. So attention
is computed for each reading in its own pixels alone.

    _remember_text              the text that keys and values are made of, once others have changed it
    attention_output            one attention per TextReading, each with the keys and values of its people
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import product
from typing import NamedTuple

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor

from ...core.attention.cross_attention import on_grid
from ...core.attention.spans import Tokens
from ...core.attention.token_groups import Placing
from ..host.unet import Grid, Options, Replacement, grid_of, modules_of_network, transformers, with_patch
from ..networks.file_attention import attend_whole_with, attend_with
from ..networks.layers import (
    PIXELS,
    CrossAttentionBatch,
    QueryShape,
    as_given,
    can_read_some_pixels,
    patches_dropped,
    query_shape_of,
)
from ..networks.row_tracking import of_source_rows
from ..sampling.forward import ForwardShape
from .layer_hooks import LayerHook, LayerHooks, current_additions
from .layer_loras import NodeLoras
from .people_layers import LorasOfText
from .refused import other_pixels

_TEXT = "likeness_text"
"""The key of a `LayerText` in the extra_options of a layer, which the host gives to attn2 patches and to attention."""
_ROUNDING_ERROR = 1e-6
"""A smaller share of a pixel is a rounding error: the shares of a pixel are 1 in all, to float32 precision."""


class TextLayers(NamedTuple):
    """The modules that make keys and values of the text for one cross-attention layer, by their names."""

    keys: str
    values: str


def text_layers_of(unet: UNetModel) -> list[TextLayers]:
    """Of every cross-attention layer, in the order of unet.transformers."""
    names = {module: name for name, module in modules_of_network(unet).items()}
    attentions = [transformer.module.attn2 for transformer in transformers(unet)]
    return [TextLayers(names[attention.to_k], names[attention.to_v]) for attention in attentions]


def shares_on_grid(node: NodeLoras, grid: Grid) -> Tensor | None:
    """How much of each person's LoRAs every pixel of a layer has, on the CPU: (rows, pixels, people).

    Rows or pixels are 1 where they are all alike; None for one person everywhere. grid: of the layer.
    """
    if node.person_of_row is not None:
        return torch.eye(len(node.names), dtype=torch.float32)[list(node.person_of_row)][:, None]
    if node.shares is None:
        return None
    return on_grid(node.shares, *grid)[..., 0].T[None]  # (people, pixels, 1) -> (1, pixels, people)


class LayerText(NamedTuple):
    """The text, (B, T, width) each, of which a layer makes keys and values. Patches may give it two different ones."""

    for_keys: Tensor
    for_values: Tensor


class PersonOfNode(NamedTuple):
    """A person of one node. number: among the people of the node, from 0."""

    node: NodeLoras
    number: int


PeopleByNode = tuple[tuple[int, ...], ...]
"""For each node, the numbers of some of its people."""


class TextWithLoras(CrossAttentionBatch):
    """The part of a UNet's batch that lets each pixel read the text with the LoRAs of whom it belongs to."""

    def __init__(
        self,
        text_layers: Sequence[TextLayers],
        hooks: LayerHooks,
        nodes: Sequence[NodeLoras],
        forward_shape: ForwardShape,
    ) -> None:
        """text_layers: of all cross-attention layers of the UNet. hooks: of the UNet. nodes: what each node adds."""
        super().__init__(query_shape_of(forward_shape))
        self._text_layers = text_layers
        self._hooks = hooks
        self._nodes = nodes
        self._people_of_layers = [self._people_with_text(text_layer) for text_layer in text_layers]
        # Made here and not in the forward: torch.compile compiles the forward, which should only read what lies ready.
        self._ready: dict[tuple[PeopleByNode, Grid], TextReadings] = {}
        for people_by_node in set(self._people_of_layers):
            for grid in self._query_shape.grids:
                self._ready[people_by_node, grid] = self._new_readings(people_by_node, grid)

    def _people_with_text(self, text_layer: TextLayers) -> PeopleByNode:
        """The people with LoRAs in the modules that make keys or values of the text in this layer."""
        by_node: list[tuple[int, ...]] = []
        for node in self._nodes:
            people: set[int] = set()
            for name in (text_layer.keys, text_layer.values):
                if name in node.layers:
                    people.update(node.layers[name].people)
            by_node.append(tuple(sorted(people)))
        return tuple(by_node)

    def _new_readings(self, people_by_node: PeopleByNode, grid: Grid) -> TextReadings:
        """The readings of a layer of this grid: one for every choice of people that any pixel reads.

        people_by_node: those with LoRAs on the text in the layer.
        """
        by_node: list[SharesOfNode] = []
        for node, people in zip(self._nodes, people_by_node, strict=True):
            by_node.append(shares_of_node(shares_on_grid(node, grid), people))
        readings: list[TextReading] = []
        for choice in product(*by_node):  # one person, or nobody, of each node
            shares = [of_node[person] for of_node, person in zip(by_node, choice, strict=True)]
            reading = _reading_of(choice, [share for share in shares if share is not None], self._query_shape)
            if reading is not None:
                readings.append(reading)
        return TextReadings(readings, Gathering.of(readings))

    def changes_layer(self, layer_index: int) -> bool:
        """Whether any node has LoRAs on the keys or values of the text in this layer."""
        return any(self._people_of_layers[layer_index])

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        # As the last patch, after those of other packs and of a UnetWordsBatch: it sees the text as layers read it.
        return with_patch(super().options_for_network(options, tokens), "attn2_patch", _remember_text)

    @staticmethod
    def keys_or_values(people: Sequence[PersonOfNode], hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """What a layer that makes keys or values of the text gives: `out`, with the LoRAs of these people.

        people: none when the host calls the layer, because `attention_output` adds later what belongs to each reading.
        Some when another pack's attention calls it by itself, see Forward.call_with_text_of.
        """
        for node, person in people:
            if hook.name in node.layers:
                out = LorasOfText(node.layers[hook.name], x, hook.layer).added(out, person)
        return out

    def attention_output(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """Each pixel reads the text with the LoRAs of the people it belongs to, by their weights there: (B, N, C).

        Raises TokensMoved, and ConditioningLost where our patch was not called, or another pack has made rows.
        """
        readings = self._readings_in_layer(layer_index, before, q, extra_options)
        layer_text: LayerText | None = extra_options.get(_TEXT)
        if layer_text is None:
            raise patches_dropped()
        names = self._text_layers[layer_index]
        # What is added to keys and to values, for each node.
        of_keys = [self._loras_of_text(node, names.keys, layer_text.for_keys) for node in self._nodes]
        of_values = [self._loras_of_text(node, names.values, layer_text.for_values) for node in self._nodes]

        def read(reading: TextReading, queries: Tensor) -> Tensor:
            keys = _with_loras(k, of_keys, reading)
            values = _with_loras(v, of_values, reading)
            return self._read_text(reading, before, queries, keys, values, extra_options)

        return readings.read(q, read)

    def _readings_in_layer(
        self, layer_index: int, before: Replacement | None, q: Tensor, extra_options: Options
    ) -> TextReadings:
        """The readings of one layer, for the rows and the attention that it has. Raises as `attention_output`."""
        source_rows = self.source_rows(before, q, extra_options)
        by_pixels = can_read_some_pixels(before)
        grid = grid_of(extra_options)
        key = self._people_of_layers[layer_index], grid
        # Ready for the grids of the UNet itself, and made for any other when it comes.
        readings = self._ready[key] if key in self._ready else self._new_readings(*key)
        if not torch.compiler.is_compiling():  # with what is kept, torch.compile would make another graph
            self._ready[key] = readings
        if source_rows is not None or not by_pixels:
            each = [_reading_for_rows(reading, source_rows, by_pixels) for reading in readings.each]
            readings = TextReadings(each, None)
        by_region = any(reading.share is not None or reading.pixels is not None for reading in readings.each)
        if by_region and q.shape[1] != grid[0] * grid[1]:
            raise other_pixels(q.shape[1], grid)
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

        before: what stands in the place of the host's function, or None. q: of these pixels, (B, n, C). keys, values:
        made with the LoRAs of the reading's people, (B, T, C) each.
        """
        if before is None:
            # The file's attention may be one that takes all queries at once only.
            attend = attend_whole_with if reading.pixels is None else attend_with
            return attend(extra_options)(q, keys, values)
        if reading.pixels is not None:
            # `before` is then a batch of ours that reads PIXELS, see can_read_some_pixels.
            extra_options = {**extra_options, PIXELS: reading.pixels}
        person_by_node = zip(self._nodes, reading.people, strict=True)
        people = tuple(PersonOfNode(node, person) for node, person in person_by_node if person is not None)
        attention_of_other_node = partial(before, *as_given(before, q, keys, values), extra_options)
        return current_additions().call_with_text_of(people, attention_of_other_node)

    def _loras_of_text(self, node: NodeLoras, name: str, text: Tensor) -> LorasOfText | None:
        """What a node adds to keys or values of a text, (B, T, width); None where it has no LoRA on them.

        name: of the module that makes these keys or values.
        """
        if name not in node.layers:
            return None
        without_us = self._hooks.by_name[name].layer  # the module itself
        return LorasOfText(node.layers[name], text, without_us)


def _with_loras(x: Tensor, of_nodes: Sequence[LorasOfText | None], reading: TextReading) -> Tensor:
    """Keys or values of a text, (B, T, C), with what the LoRAs of the people of a reading add to them.

    of_nodes: what each node adds.
    """
    for of_node, person in zip(of_nodes, reading.people, strict=True):
        if of_node is not None and person is not None:
            x = of_node.added(x, person)
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


@dataclass(frozen=True, eq=False)
class TextReading:
    """Pixels that read the text with the same LoRAs.

    people: for each node the number of the person, None for nobody. pixels: (n,), their numbers; None for all. share:
    (rows or 1, n, 1), how much of what these pixels read comes from this reading; None for all of it. share_of_all: the
    same for all pixels, (rows or 1, pixels, 1), for an attention that cannot be asked for some of them.
    """

    people: tuple[int | None, ...]
    pixels: Tensor | None
    share: Tensor | None
    share_of_all: Tensor | None


@dataclass(frozen=True, eq=False)
class Gathering:
    """How the queries of all readings of a layer are gathered at once, so that each reading is a slice of them.

    pixels: (n,), those of one reading after the other. counts: of each reading's pixels. share: (rows or 1, n, 1), how
    much of each output counts; None for all of it. placing: of the outputs.
    """

    pixels: Tensor
    counts: list[int]
    share: Tensor | None
    placing: Placing

    @classmethod
    def of(cls, readings: Sequence[TextReading]) -> Gathering | None:
        """None where a reading has all pixels as they stand."""
        pixels = [reading.pixels for reading in readings if reading.pixels is not None]
        if len(pixels) < len(readings):
            return None
        of_all = torch.cat(pixels)
        counts = [len(of_reading) for of_reading in pixels]
        shares = [reading.share for reading in readings]
        return cls(of_all, counts, _joined_shares(shares, counts), Placing.of(of_all.cpu(), of_all.device))


def _joined_shares(shares: Sequence[Tensor | None], counts: Sequence[int]) -> Tensor | None:
    """The shares of all readings side by side, (rows or 1, n, 1); None where each of them is None, which stands for 1.

    shares: (rows or 1, pixels of the reading, 1) each. counts: of the pixels.
    """
    known = [share for share in shares if share is not None]
    if not known:
        return None
    rows = max(map(len, known))
    of_all: list[Tensor] = []
    for share, count in zip(shares, counts, strict=True):
        of_all.append(known[0].new_ones(rows, count, 1) if share is None else share.expand(rows, -1, -1))
    return torch.cat(of_all, dim=1)


@dataclass(frozen=True, eq=False)
class TextReadings:
    """All readings of a layer. The shares of a pixel are 1 in all, so there is one at least for every pixel.

    gathering: None where queries are picked out for each reading by itself.
    """

    each: Sequence[TextReading]
    gathering: Gathering | None

    def read(self, q: Tensor, read: Callable[[TextReading, Tensor], Tensor]) -> Tensor:
        """What all pixels read, (B, N, C).

        q: (B, N, C). read: called with each reading and the queries of its pixels, (B, n, C), it gives what these read.
        """
        gathering = self.gathering
        if gathering is None:
            out: Tensor | None = None
            for reading in self.each:
                queries = q if reading.pixels is None else q.index_select(1, reading.pixels)
                out = add_reading(out, read(reading, queries), reading, q.shape[1])
            assert out is not None
            return out
        of_readings = q.index_select(1, gathering.pixels).split(gathering.counts, dim=1)
        of_all = torch.cat([read(*pair) for pair in zip(self.each, of_readings, strict=True)], dim=1)
        if gathering.share is not None:
            of_all = of_all * gathering.share
        return gathering.placing.placed(of_all, 1)


SharesOfNode = dict[int | None, Tensor | None]
"""By person of a node (None: nobody), how much of what the pixels read comes from them: (rows or 1, pixels or 1), 0..1;
None for 1 everywhere."""


def shares_of_node(shares: Tensor | None, people: Sequence[int]) -> SharesOfNode:
    """The shares of one node's people with LoRAs in a layer, and of nobody.

    shares: of all people of the node, as `shares_on_grid` gives them. None where the node has one person, who is
    everywhere: then all is read with that person's LoRAs.
    people: the numbers of those who have LoRAs in this layer; empty where nobody has, so that all is read without any.
    """
    if shares is None:
        return dict.fromkeys(people or (None,))  # one, without a share for nobody
    of_nobody = 1 - shares[..., list(people)].sum(dim=-1)
    return {**{person: shares[..., person] for person in people}, None: of_nobody}


def _reading_of(
    people: tuple[int | None, ...], shares: Sequence[Tensor], query_shape: QueryShape
) -> TextReading | None:
    """The reading with the LoRAs of these people; None where no pixel has a share of it.

    shares: of the people, whose product is the share of the reading. query_shape: of the layer's queries, on whose
    device the reading is made.
    """
    if not shares:  # 1 everywhere
        return TextReading(people, pixels=None, share=None, share_of_all=None)
    share = reduce(torch.mul, shares)  # (rows or 1, pixels)
    own_pixels = (share > _ROUNDING_ERROR).any(dim=0).nonzero()[:, 0]  # (n,)
    if not len(own_pixels):
        return None
    own_share = share[:, own_pixels]  # (rows or 1, n)
    # None spares work in every layer: nothing is picked out of all pixels, nothing is multiplied by 1.
    has_all_pixels = len(own_pixels) == share.shape[1]
    is_all_of_it = bool((own_share == 1).all())
    return TextReading(
        people,
        pixels=None if has_all_pixels else own_pixels.to(query_shape.device),
        share=None if is_all_of_it else query_shape.like_queries(own_share[..., None]),
        share_of_all=query_shape.like_queries(share[..., None]),
    )


def add_reading(out: Tensor | None, of_reading: Tensor, reading: TextReading, pixel_count: int) -> Tensor:
    """The sum of all readings so far, (B, pixels, C), with one more reading added, times its share.

    out: the sum of the readings before this one, which may be changed in place; None for the first reading. of_reading:
    what the n pixels of this reading have read, (B, n, C). pixel_count: how many pixels the layer has.
    """
    if reading.share is not None:
        of_reading = of_reading * reading.share
    if reading.pixels is None:
        return of_reading if out is None else out + of_reading
    if out is None:
        out = of_reading.new_zeros(len(of_reading), pixel_count, of_reading.shape[-1])
    return out.index_add_(1, reading.pixels, of_reading)
