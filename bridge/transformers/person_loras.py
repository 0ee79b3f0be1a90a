"""LoRAs of single people in a transformer, each added to what the layers give where that person is.

y = W x + U (w * (D x)): D and U hold the ranks of all people, and w says for every token whose ranks count. A token of
the picture belongs to people by their regions; a token of somebody's own words is wholly theirs; the common text and
reference pictures are nobody's. Where people have a row of the batch each, everything in a row is its person's. No
weight is changed: a `Reader` stands in each layer while a forward runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.samplers import CFGGuider
from torch import Tensor, nn
from typing_extensions import Self

from ...core.attention import region_weights
from ...core.errors import BadSetup
from ...core.low_rank import LoraKind
from ...core.person_texts import on_tokens
from ..canvas import check_canvases
from ..carried import Carried, ConditioningLost, one_for_each_row
from ..cross_attention.lora_layers import shape_of
from ..cross_attention.lora_readers import Forward, Reader, Readers, begin_forward, end_forward
from ..runs import Batch, Given, Run
from ..unet import Options, dtype_of, modules_of_unet, pixels_of, with_patch
from .current_texts import CurrentTexts, current_texts
from .families import LayerStream, Stream, TransformerFamily
from .networks import cells_per_token, described, network_of, tokens_of


@dataclass(frozen=True)
class LayerPart:
    """One LoRA of one person in one layer.

    person: the number of the person among those of the node. strength: what the LoRA is multiplied by. rows: which of
    the layer's outputs it changes, where a file has a LoRA for each of several layers that are one here; None for all.
    """

    person: int
    strength: float
    lora: LoraKind
    rows: slice | None


@dataclass(frozen=True, eq=False)
class PersonLoras(Carried):
    """What one node adds, alike on both sides of the conditioning.

    names: of the people. layers: by name of a module of the network. regions: (people, H, W), 0..1, or None: one person
    everywhere, or everybody in their own row. by_row: whether each person has rows of the batch instead of a region.
    row: the person of this row, where it is known.
    """

    key = "likeness_person_loras"
    names: tuple[str, ...]
    layers: Mapping[str, Sequence[LayerPart]]
    regions: Tensor | None
    by_row: bool = False
    row: int | None = None

    @property
    def active(self) -> bool:
        return bool(self.layers)

    def of(self, picture: int) -> Self:
        """For one picture of the batch: where everybody has rows, that of the person in this row."""
        if not self.by_row or self.row is not None:
            return self
        person = picture % len(self.names)
        return self.piece(person, lambda: replace(self, row=person))


def stream_of(family: TransformerFamily, layer: str) -> LayerStream | None:
    """Which tokens a layer is given; None for a layer without a place in text or picture, as those of the time."""
    for stream in family.streams:
        if stream.has(layer):
            return stream
    return None


class _Layer:
    """All people's LoRAs in one layer, ready on a device.

    owners: (ranks,), per rank the number of the person. down: (ranks, in). up: (out, ranks), with strength.
    """

    def __init__(self, parts: Sequence[LayerPart], module: nn.Module, like: Tensor) -> None:
        downs = list[Tensor]()
        ups = list[Tensor]()
        owners = list[int]()
        out_width, in_width = shape_of(module) or (0, 0)
        for part in parts:
            rows = part.rows or slice(0, out_width)
            # In float32, whatever a file has: the host makes its differences so, too.
            low_rank = part.lora.to(like.device, torch.float32).low_rank((rows.stop - rows.start, in_width))
            above, below = rows.start, out_width - rows.stop
            downs.append(low_rank.down)
            ups.append(functional.pad(low_rank.up * part.strength, (0, 0, above, below)))  # (out, rank)
            owners += [part.person] * len(low_rank.down)
        self.owners = tuple(owners)
        self.down = torch.cat(downs).to(like)
        self.up = torch.cat(ups, dim=1).to(like)


class PersonLorasRun(Run):
    """One sampling run of a transformer with people's LoRAs."""

    key = PersonLoras.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        check_canvases(self.everything(guider), latent)
        self._readers: dict[nn.Module, Readers] = {}
        self._layers: dict[Any, dict[str, _Layer]] = {}
        self._batches: dict[Any, PersonLorasBatch] = {}
        self._making = threading.Lock()

    def batch(self, chunks: tuple[tuple[PersonLoras, ...], ...], given: Given) -> PersonLorasBatch | None:
        acting: list[tuple[PersonLoras, ...]] = []
        for by_chunk in zip(*chunks, strict=True):
            of_node = self._of_node(by_chunk, len(given.x))
            if of_node[0].active and self.is_on(of_node[0], given.sigmas):
                acting.append(of_node)
        if not acting:
            return None
        network = network_of(given.model)
        key = tuple(acting), given.x.shape, given.x.device, given.context.shape[1], given.model
        # MultiGPU CFG Split asks from several threads at once.
        with self._making:
            if network not in self._readers:
                self._readers[network] = Readers(modules_of_unet(network))
            if key not in self._batches:
                nodes = [_Node(of_node, self._layers_of(of_node[0], network, given), given) for of_node in acting]
                self._batches[key] = PersonLorasBatch(self._readers[network], nodes, given)
            return self._batches[key]

    def _of_node(self, by_chunk: Sequence[PersonLoras], rows: int) -> tuple[PersonLoras, ...]:
        """What one node has put into a batch: one for all rows, or one for each where people have rows.

        Raises ConditioningLost where another pack joins rows of different nodes.
        """
        first = by_chunk[0]
        if first.by_row and all(loras.source is first.source for loras in by_chunk):
            return tuple(one_for_each_row(by_chunk, rows))
        if any(loras is not first for loras in by_chunk):
            raise ConditioningLost(self._around, "joins rows of people with different LoRAs")
        return (first,)

    def _layers_of(self, loras: PersonLoras, network: nn.Module, given: Given) -> dict[str, _Layer]:
        """On the device once in a run, whatever part of the picture the regions are cut to."""
        key = loras.source, network
        if key not in self._layers:
            modules = self._readers[network].modules
            like = given.like()
            made = {name: _Layer(parts, modules[name], like) for name, parts in loras.layers.items()}
            self._layers[key] = made
        return self._layers[key]

    def ended(self) -> None:
        for readers in self._readers.values():
            readers.clear()


class _Node:
    """What one node adds in the forwards of a batch.

    on_picture: (people, tokens of the picture), how much of each person's LoRAs a token has, at most 1 in all; None for
    one person everywhere, and for rows. person_of_row: of which person each row of the batch is; None where all rows
    are everybody's.
    """

    def __init__(self, of_node: Sequence[PersonLoras], layers: dict[str, _Layer], given: Given) -> None:
        """of_node: what all rows of the batch have, or what each row has."""
        loras = of_node[0]
        self.names = loras.names
        self.layers = layers
        self.on_picture: Tensor | None = None
        self.person_of_row: tuple[int, ...] | None = None
        if loras.by_row:
            self.person_of_row = tuple(of_row.row for of_row in of_node if of_row.row is not None)
        if loras.regions is not None:
            cells = cells_per_token(given.model)
            pixels = pixels_of(given.model)
            height, width = given.x.shape[-2:]
            shares = region_weights(loras.regions.float())
            on_frame = on_tokens(shares, height * pixels, width * pixels, cells * pixels)
            self.on_picture = on_frame.repeat(1, tokens_of(given.model, given.x) // on_frame.shape[1])


class PersonLorasBatch(Batch):
    """What is added to the layers of one network in the forwards that carry the same."""

    def __init__(self, readers: Readers, nodes: Sequence[_Node], given: Given) -> None:
        family = described(given.model)
        assert family is not None  # of a MODEL that the node has taken
        self.rows = len(given.x)
        self.readers = readers
        self._family = family
        self._network = network_of(given.model)
        self._nodes = nodes
        self._common = given.context.shape[1]
        self._like = torch.empty(0, device=given.x.device, dtype=dtype_of(given.model))
        self._names = list(dict.fromkeys(name for node in nodes for name in node.layers))
        self._streams = {name: stream_of(family, name) for name in self._names}
        self._text = 0
        self._picture = 0
        self._own_picture = tokens_of(given.model, given.x)
        self._weights: dict[Any, Tensor] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self.readers.standing_in(self._names):
            yield

    def around(self, options: Options) -> Options:
        begin_forward(self)
        if self._family.own_captions:
            return options
        return with_patch(options, "post_input", self.seen)

    def passed(self) -> None:
        end_forward()

    def seen(self, given: Options) -> Options:
        """The host's post_input patch: how many tokens the blocks are given."""
        self._text, self._picture = given["txt"].shape[1], given["img"].shape[1]
        return given

    def added(self, forward: Forward, reader: Reader, x: Tensor, out: Tensor) -> Tensor:
        """What a layer gives of x, `out`, and what is added to it.

        x: (B, tokens, C). Of a layer that modulates (B, 1, C): it then gives something for every token.
        """
        for node in self._nodes:
            layer = node.layers.get(reader.name)
            if layer is None:
                continue
            hidden = functional.linear(x, layer.down.to(x))  # (..., ranks)
            if node.on_picture is not None:
                weights = self._weights_of(node, layer.owners, reader.name, x)
                hidden = hidden * weights.to(hidden)
            elif node.person_of_row is not None:
                weights = self._weights_of_rows(node.person_of_row, layer.owners, reader.name, x)
                hidden = hidden * weights.to(hidden)
            out = out + functional.linear(hidden, layer.up.to(x))
        return out

    def _weights_of(self, node: _Node, owners: tuple[int, ...], name: str, x: Tensor) -> Tensor:
        """Whose ranks count in every token of x: (1, tokens, ranks), or what multiplies that shape."""
        stream = self._streams[name]
        assert stream is not None  # such a layer is refused by the node
        texts = current_texts()
        alone = None if texts is None else texts.alone
        tokens = x.shape[1]
        if stream.stream is Stream.TEXT_AS_ROWS:
            tokens = x.shape[1] if x.dim() == 4 else len(x) // self.rows
        elif stream.modulates:
            _check_modulation(x)
            tokens = self._length_of(stream.stream)
        elif stream.stream is Stream.BOTH and tokens != self._length_of(stream.stream):
            raise ConditioningLost(
                "unknown", f"makes {tokens} tokens of the {self._length_of(stream.stream)} of a layer"
            )
        key = id(node), owners, stream.stream, tokens, self._text_tokens(), texts
        if key not in self._weights:
            if texts is not None and alone is not None:
                found = self._of_text_alone(node, texts, alone, tokens)
            else:
                found = self._on_tokens(node, stream.stream, tokens)
            self._weights[key] = found[list(owners)].T[None].to(self._like)  # (1, tokens, ranks)
        weights = self._weights[key]
        if stream.stream is not Stream.TEXT_AS_ROWS:
            return weights
        if x.dim() == 4:  # (B, T, C, layers of the text encoder)
            return weights[:, :, None]
        return weights[0][:, None].repeat(self.rows, 1, 1)  # (B * T, 1, ranks)

    def _weights_of_rows(self, person_of_row: tuple[int, ...], owners: tuple[int, ...], name: str, x: Tensor) -> Tensor:
        """Whose ranks count in every row of x, (rows of x, ..., C): (rows of x, 1, ..., ranks).

        Raises ConditioningLost where another pack has made other rows.
        """
        texts = current_texts()
        row = None if texts is None else texts.row
        if row is not None:
            person_of_row = person_of_row[row : row + 1]  # x is of this row alone
        stream = self._streams[name]
        times, rest = divmod(len(x), len(person_of_row))
        if rest:
            raise ConditioningLost("unknown", f"makes {len(x)} rows of {len(person_of_row)} in a layer")
        is_by_token = stream is not None and stream.stream is Stream.TEXT_AS_ROWS
        key = person_of_row, owners, times, is_by_token, x.dim()
        if key not in self._weights:
            own = torch.tensor(person_of_row)[:, None] == torch.tensor(owners)  # (rows, ranks)
            # Of a text each token may be a row: all of one row of the batch, then all of the next. Of the time there
            # may be rows at 0 for reference pictures, behind those of the batch.
            own = own.repeat_interleave(times, dim=0) if is_by_token else own.repeat(times, 1)
            for _ in range(x.dim() - 2):
                own = own[:, None]  # (rows of x, 1, ..., ranks)
            self._weights[key] = own.to(self._like)
        return self._weights[key]

    def _text_tokens(self) -> int:
        """Of all texts in the blocks."""
        if not self._family.own_captions:
            return self._text
        texts = current_texts()
        words = 0 if texts is None else sum(texts.lengths)
        return self._padded(self._common) + words

    def _padded(self, tokens: int) -> int:
        multiple: int = self._network.pad_tokens_multiple
        return -(-tokens // multiple) * multiple

    def _length_of(self, stream: Stream) -> int:
        """How many tokens a stream has in the blocks."""
        if stream is Stream.TEXT:
            return self._text_tokens()
        picture = self._padded(self._own_picture) if self._family.own_captions else self._picture
        return picture if stream is Stream.PICTURE else self._text_tokens() + picture

    @staticmethod
    def _of_text_alone(node: _Node, texts: CurrentTexts, alone: int, tokens: int) -> Tensor:
        """How much of each person's LoRAs the tokens of one text have: (people, tokens)."""
        found = torch.zeros(len(node.names), tokens)
        if alone > 0 and texts.names[alone - 1] in node.names:
            found[node.names.index(texts.names[alone - 1])] = 1
        return found

    def _on_tokens(self, node: _Node, stream: Stream, tokens: int) -> Tensor:
        """How much of each person's LoRAs every token has: (people, tokens)."""
        assert node.on_picture is not None
        found = torch.zeros(len(node.names), tokens)
        picture = node.on_picture
        if stream is Stream.PICTURE:
            found[:, : picture.shape[1]] = picture
            return found
        text = self._text_tokens() if stream is Stream.BOTH else tokens
        texts = current_texts()
        if texts is not None:
            start = text - sum(texts.lengths)
            for name, length in zip(texts.names, texts.lengths, strict=True):
                if name in node.names:
                    found[node.names.index(name), start : start + length] = 1
                start += length
        if stream is Stream.BOTH:
            found[:, text : text + picture.shape[1]] = picture
        return found


def _check_modulation(x: Tensor) -> None:
    """Raise BadSetup where a layer that modulates has more rows than one for all tokens."""
    if x.dim() != 3 or x.shape[1] != 1:
        raise BadSetup(
            "Reference pictures with the method index_timestep_zero are modulated in another way than the picture, and "
            "LoRAs of single people that change this are not known there.",
            "Set FluxKontextMultiReferenceLatentMethod to another method, or use LoRAs without modulation layers.",
        )
