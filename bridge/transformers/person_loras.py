"""LoRAs of single people in a transformer, each added to what the layers give where that person is.

y = W x + U (w * (D x)): D and U hold the ranks of all people, and w says for every token whose ranks count. A token of
the picture belongs to people by their regions; a token of somebody's own words, or of a reference picture that is read
in their region alone, is wholly theirs; the common text and all other reference pictures are nobody's. No weight is
changed: a `Reader` stands in each layer while a forward runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...core.attention import region_weights
from ...core.errors import BadSetup
from ...core.low_rank import LoraKind
from ...core.person_texts import on_tokens
from ...core.token_layout import Kind, Span, TokenLayout, placed
from ..canvas import check_canvases
from ..carried import Carried, ConditioningLost
from ..cross_attention.lora_layers import shape_of
from ..cross_attention.lora_readers import Forward, Reader, Readers, begin_forward, end_forward
from ..runs import Batch, Given, Run
from ..unet import Options, dtype_of, modules_of_unet, pixels_of, with_patch
from .families import LayerStream, Stream, TransformerFamily
from .layouts import EmbeddedPieces, current_references, layout_of, reference_embedded
from .networks import cells_per_token, described, network_of, tokens_of
from .person_texts import CurrentTexts, current_texts


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
    everywhere.
    """

    key = "likeness_person_loras"
    names: tuple[str, ...]
    layers: Mapping[str, Sequence[LayerPart]]
    regions: Tensor | None

    @property
    def active(self) -> bool:
        return bool(self.layers)


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
        first, *more = chunks
        for chunk in more:
            if any(own is not other for own, other in zip(first, chunk, strict=True)):
                raise ConditioningLost(self._around, "joins rows of people with different LoRAs")
        acting = tuple(loras for loras in first if loras.active and self.is_on(loras, given.sigmas))
        if not acting:
            return None
        network = network_of(given.model)
        key = acting, given.x.shape, given.x.device, given.context.shape[1], given.model
        # MultiGPU CFG Split asks from several threads at once.
        with self._making:
            if network not in self._readers:
                self._readers[network] = Readers(modules_of_unet(network))
            if key not in self._batches:
                nodes = [_Node(loras, self._layers_of(loras, network, given), given) for loras in acting]
                self._batches[key] = PersonLorasBatch(self._readers[network], nodes, given)
            return self._batches[key]

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
    one person everywhere.
    """

    def __init__(self, loras: PersonLoras, layers: dict[str, _Layer], given: Given) -> None:
        self.names = loras.names
        self.layers = layers
        self.on_picture: Tensor | None = None
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
        self._layout = layout_of(given)
        self._pieces = EmbeddedPieces(self._network, len(given.references))
        self._weights: dict[Any, Tensor] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.readers.standing_in(self._names))
            if self._family.own_captions:
                stack.enter_context(self._pieces.told())
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
        reference = reference_embedded()
        key = id(node), owners, stream.stream, tokens, self._text_tokens(), texts, current_references(), reference
        if key not in self._weights:
            if reference is not None:
                found = self._of_reference(node, reference, tokens)
            elif texts is not None and alone is not None and stream.stream is not Stream.PICTURE:
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

    def _text_tokens(self) -> int:
        """Of all texts in the blocks."""
        if not self._family.own_captions:
            return self._text
        return replace(self._layout, words=_lengths_of_words()).text

    def _tokens(self, text: int) -> TokenLayout:
        """Where all tokens stand. text: tokens of all texts; what is more than is known stands in front."""
        layout = replace(self._layout, words=_lengths_of_words())
        return replace(layout, front=text - layout.text)

    def _length_of(self, stream: Stream) -> int:
        """How many tokens a stream has in the blocks."""
        if stream is Stream.TEXT:
            return self._text_tokens()
        if self._family.own_captions:
            layout = self._tokens(self._text_tokens())
            return layout.pictures if stream is Stream.PICTURE else layout.total
        return self._picture if stream is Stream.PICTURE else self._text_tokens() + self._picture

    @staticmethod
    def _of_text_alone(node: _Node, texts: CurrentTexts, alone: int, tokens: int) -> Tensor:
        """How much of each person's LoRAs the tokens of one text have: (people, tokens)."""
        found = torch.zeros(len(node.names), tokens)
        if alone > 0 and texts.names[alone - 1] in node.names:
            found[node.names.index(texts.names[alone - 1])] = 1
        return found

    @staticmethod
    def _of_reference(node: _Node, reference: int, tokens: int) -> Tensor:
        """How much of each person's LoRAs the tokens of one reference have: (people, tokens)."""
        found = torch.zeros(len(node.names), tokens)
        name = _owner_of(reference)
        if name in node.names:
            found[node.names.index(name)] = 1
        return found

    def _on_tokens(self, node: _Node, stream: Stream, tokens: int) -> Tensor:
        """How much of each person's LoRAs every token has: (people, tokens)."""
        assert node.on_picture is not None
        found = torch.zeros(len(node.names), tokens)
        texts = current_texts()
        for place in placed(self._spans(stream, tokens)):
            name = None
            if place.span.kind is Kind.PICTURE:
                # Behind it stand tokens that fill it up.
                start = place.tokens.start
                found[:, start : start + node.on_picture.shape[1]] = node.on_picture
            elif place.span.kind is Kind.WORDS and texts is not None:
                name = texts.names[place.span.number]
            elif place.span.kind is Kind.REFERENCE:
                name = _owner_of(place.span.number)
            if name in node.names:
                found[node.names.index(name), place.tokens] = 1
        return found

    def _spans(self, stream: Stream, tokens: int) -> Sequence[Span]:
        """What stands in a stream, of which a layer is given so many tokens."""
        if stream is Stream.BOTH:
            return self._tokens(self._text_tokens()).spans()
        if stream is Stream.PICTURE:
            spans = self._tokens(0).picture_spans()
            # Z-Image embeds the picture alone.
            is_alone = self._family.own_captions and tokens != self._layout.pictures
            return [Span(Kind.PICTURE, tokens)] if is_alone else spans
        if self._family.own_captions and tokens != self._text_tokens():
            return [Span(Kind.TEXT, tokens)]  # a text behind the prompt, embedded alone
        return self._tokens(tokens).text_spans()


def _lengths_of_words() -> tuple[int, ...]:
    """Tokens of the words about each person in this forward."""
    texts = current_texts()
    return () if texts is None else texts.lengths


def _owner_of(reference: int) -> str | None:
    """The person whose a reference of this forward is, by its number."""
    references = current_references()
    return None if references is None else references.names[reference]


def _check_modulation(x: Tensor) -> None:
    """Raise BadSetup where a layer that modulates has more rows than one for all tokens."""
    if x.dim() != 3 or x.shape[1] != 1:
        raise BadSetup(
            "Reference pictures with the method index_timestep_zero are modulated in another way than the picture, and "
            "LoRAs of single people that change this are not known there.",
            "Set FluxKontextMultiReferenceLatentMethod to another method, or use LoRAs without modulation layers.",
        )
