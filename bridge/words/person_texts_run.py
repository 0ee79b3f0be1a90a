"""Words of single people in a transformer, while the sampler runs: where they stand in the network, and who reads them.

person_texts.py says what conditioning carries, text_places.py where words stand behind the common text, and
core.person_texts who reads whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from torch import Tensor

from ...core.errors import BadSetup
from ...core.person_texts import Filler, OwnedTokens, TextLayout, split_by_words
from ...core.token_groups import AnySplit, RowSplit, Split
from ...core.token_layout import Span, TokenKind, TokenLayout, placed_spans
from ..host.shared_network import model_of
from ..host.unet import Options, with_patch
from ..networks.attention import BlockCalls, with_reading
from ..networks.families import TransformerFamily
from ..networks.model_family import cells_per_token, network_of, tokens_of, transformer_family
from ..networks.token_layouts import (
    LAYERS,
    REFINER,
    EmbeddedPieces,
    StandIn,
    key_of_forward,
    layout_of,
    reads_looks,
    refiner_stand_ins,
)
from ..sampling.canvas_check import check_canvases
from ..sampling.current_forward import CurrentTexts, called_alone, current
from ..sampling.model_conds import ConditioningLost, rows_of_nodes
from ..sampling.runs import Batch, ForwardInput, Run, entries_with
from .person_texts import PersonTexts
from .text_places import TextPlace, filled_up, left_padded, places_of


class PersonTextsRun(Run):
    """One sampling run of a transformer that reads words by region."""

    key = PersonTexts.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        check_canvases(self.everything(guider), latent, self.cell)
        self._batches: dict[Any, PersonTextsBatch] = {}
        self._texts_of_entries: list[tuple[PersonTexts, ...]] = []
        for entry in entries_with(guider, self.key):
            self._texts_of_entries.append(entry["model_conds"][self.key].cond)

    def shape_for_memory(self, model: ModelPatcher, noise_shape: Sequence[int]) -> Sequence[int]:
        """The shape of a higher latent, which has as many more tokens as there are tokens of words.

        The host estimates by this shape how much memory a forward takes.
        """
        base_model: Any = model_of(model)
        family = transformer_family(base_model)
        if family is None or len(noise_shape) < 4:
            return noise_shape
        network = network_of(base_model)
        most_tokens = 0  # that any entry adds to a row
        for texts_of_entry in self._texts_of_entries:
            tokens = sum(_tokens_added(texts, family, network) for texts in texts_of_entry)
            most_tokens = max(most_tokens, tokens)
        *others, height, width = noise_shape  # (B, C, h, w) or (B, C, frames, h, w)
        frames = others[2] if len(others) > 2 else 1
        cells = most_tokens * cells_per_token(base_model) ** 2
        more_rows_of_cells = -(-cells // (width * frames))  # rounded up
        return [*others, height + more_rows_of_cells, width]

    def batch_for_forward(
        self, chunks: tuple[tuple[PersonTexts, ...], ...], forward_input: ForwardInput
    ) -> PersonTextsBatch:
        """The batch of one forward. chunks: what each carries, by node."""
        mixed = "joins rows in which different words are read"
        nodes = rows_of_nodes(chunks, len(forward_input.x), True, self._code_around_model, mixed)
        nodes = [of_node for of_node in nodes if any(texts.active for texts in of_node)]
        key = tuple(nodes), key_of_forward(forward_input)
        if key not in self._batches:
            is_first = not self._batches
            self._batches[key] = PersonTextsBatch(nodes, forward_input, is_first)
        return self._batches[key]


def _tokens_added(texts: PersonTexts, family: TransformerFamily, network: Any) -> int:
    """How many tokens of words one node adds to every row of the batch."""
    lengths: list[int] = [0]
    for text in texts.texts:
        length = left_padded(text, family).shape[1] if text.shape[1] else 0
        lengths.append(filled_up(length, family, network))
    return max(lengths) if texts.by_row else sum(lengths)


_TOKENS = "likeness_tokens"
"""The key of a `_BlockTokens` among the transformer_options inside of a forward."""


@dataclass(frozen=True)
class _BlockTokens:
    """How many tokens the blocks of a forward are given.

    text: of all texts, with whatever stands in front of them. picture: of the picture and its references.
    """

    text: int
    picture: int


@dataclass(frozen=True)
class _BlockCall:
    """A call of a block over all texts, from which calls for one text each are made.

    x: (B, T, C). args, kwargs: what else the block is given, among it the positions, (B or 1, T, ...).
    """

    block: Callable[..., Tensor]
    x: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of_text(self, number: int, tokens: slice, rows: list[int] | None = None) -> Tensor:
        """What the block gives when it is called with the tokens of one text alone: (rows, tokens, C).

        number: of the text, as CurrentTexts counts. tokens: which of the block's tokens are the text's. rows: of the
        batch, for which it is called; None for all of them.
        """
        own_args = [self._part(argument, tokens, rows) for argument in self.args]
        own_kwargs = {name: self._part(argument, tokens, rows) for name, argument in self.kwargs.items()}
        with called_alone(number, rows):
            return self.block(self._part(self.x, tokens, rows), *own_args, **own_kwargs)

    def _part(self, argument: Any, tokens: slice, rows: list[int] | None) -> Any:
        """The part of an argument for these tokens, and for some rows if `rows` are given.

        An argument without a token dimension, (B or 1, T, ...), is returned as it is.
        """
        is_by_token = isinstance(argument, Tensor) and argument.dim() > 1 and argument.shape[1] == self.x.shape[1]
        if not is_by_token:
            return argument
        part = argument[:, tokens]
        if rows is not None and len(part) > 1:
            part = part[rows]
        return part


@dataclass(frozen=True)
class _Caption:
    """A text as embed_cap of Z-Image gives it to the blocks: tokens (B or 1, T, C), and their rotations (1, T, ...)."""

    tokens: Tensor
    rotations: Tensor


@dataclass(frozen=True)
class _CaptionCall:
    """embed_cap of Z-Image, which brings the tokens of a text to the network's width and gives them positions.

    embed: the method of the network, without the text and the offset.
    end: the position at which every text ends, because the picture's positions begin there.
    position_count: how many positions embed_cap counts for a text of so many tokens.
    """

    embed: Callable[..., Any]
    end: int
    position_count: Callable[[int], int]

    def of_text(self, number: int, text: Tensor, rows: list[int] | None = None) -> _Caption:
        """The caption that embed_cap makes of one text by itself.

        number: of the text, as CurrentTexts counts. text: (rows, T, text width). rows: of the batch, which the text is
        of; None for all of them. The tokens of the caption are filled up to the network's multiple, so that they may be
        more than T.
        """
        # Positions are counted from the offset on, so a shorter text begins later, and all texts end at `end`.
        offset = self.end - self.position_count(text.shape[1])
        with called_alone(number, rows):
            # It gives a tuple with the tokens, one with their rotations, and the number of tokens before filling up.
            (tokens, *_), (rotations, *_), _ = self.embed(text, offset=offset)
        return _Caption(tokens, rotations)


class PersonTextsBatch(Batch):
    """Attention in which words are read by region, and what has to stand in the network for it.

    nodes: of each node what all rows have, or what each row has. check_calls: whether every block has to ask for its
    attention. In later steps a node that saves time may leave blocks out.
    """

    def __init__(self, nodes: Sequence[Sequence[PersonTexts]], forward_input: ForwardInput, check_calls: bool) -> None:
        family = transformer_family(forward_input.model)
        assert family is not None  # of a MODEL that the node has taken
        self.row_count = len(forward_input.x)
        self._family = family
        self._network = network_of(forward_input.model)
        self._places: list[TextPlace] = []
        for node in nodes:
            self._places += places_of(node, forward_input, family)
        words = [place.words.expand(self.row_count, -1, -1) for place in self._places]
        self._words = torch.cat(words, dim=1).to(forward_input.x.device)  # (rows, tokens of all places, width)
        self._sizes = tuple(place.tokens for place in self._places)
        self._common = forward_input.context.shape[1]
        self._picture = tokens_of(forward_input.model, forward_input.x)
        self._layout = layout_of(forward_input)
        self._is_omni = reads_looks(forward_input)
        self._pieces = EmbeddedPieces(self._network, len(forward_input.references))
        self._stand_ins = self._new_stand_ins()
        self._splits: dict[Any, AnySplit] = {}
        blocks = sum(len(self._network.get_submodule(path)) for path in family.blocks)
        self._calls = BlockCalls(blocks, check_calls)
        self._check_rows()
        self._get_ready(forward_input)

    def _check_rows(self) -> None:
        """Raise BadSetup for rows whose words end at other positions: Z-Image Omni with reference pictures counts a
        text without the tokens that fill it up."""
        if self._is_omni and any(len(place.rows_of_lengths) > 1 for place in self._places):
            raise BadSetup(
                f"{self._family.name} Omni with reference pictures does not know rows with words of different lengths.",
                "Give each person a prompt of the same length, or take the reference pictures out of the conditioning.",
            )

    def _get_ready(self, forward_input: ForwardInput) -> None:
        """Make the splits of this forward's attentions now, before anything that torch.compile sees."""
        text = self._text_tokens()
        total = self._token_layout(text).total
        self._split_for(LAYERS, text, total, total).on(forward_input.x.device)
        if self._layout.reference_texts:
            self._split_for(self._family.refiners, text, text, text).on(forward_input.x.device)

    def _token_layout(self, text: int) -> TokenLayout:
        """Where all tokens stand in a forward that has this many tokens of text.

        text: tokens of all texts. Those that we know nothing of stand in front: other packs have put them there.
        """
        common, *words = self._text_lengths()
        layout = replace(self._layout, common=common, words=tuple(words))
        return replace(layout, front=text - layout.text)

    def _text_tokens(self) -> int:
        """The number of tokens of all texts, without what other packs put in front."""
        return sum(self._text_lengths()) + sum(self._layout.reference_texts) + self._layout.later

    def _padded(self, tokens: int) -> int:
        """How many tokens the blocks are given for a text of so many tokens, see text_places.filled_up."""
        return filled_up(tokens, self._family, self._network)

    def _position_count(self, tokens: int) -> int:
        """The number of positions that Z-Image counts for a text of so many tokens."""
        return tokens if self._is_omni else self._padded(tokens)

    def _text_lengths(self) -> list[int]:
        """How many tokens the blocks are given: of the common text, and then of each place of words."""
        return [self._padded(size) for size in (self._common, *self._sizes)]

    # What the network is given

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The network's arguments with everybody's words behind the common text."""
        named = dict(kwargs)
        places = list(args)  # the arguments by position: the timestep, the text and so on
        if self._family.joint_mask and named.get("attention_mask") is not None:
            why = "A node in front (Apply Style Model at another strength than 1) has put an attention mask into the"
            raise BadSetup(
                f"{why} conditioning, which knows nothing of the words of single people.",
                "Set strength_type of that node to multiply and strength to 1, or take it out.",
            )
        text: Tensor = places[1] if len(places) > 1 else named["context"]
        self._common = text.shape[1]
        longer = torch.cat([text, self._words.to(text)], dim=1)
        if len(places) > 1:
            places[1] = longer
        else:
            named["context"] = longer
        self._count_tokens(places, named)
        mask_place = self._family.mask_place
        if mask_place is not None:
            if len(places) > mask_place:
                places[mask_place] = self._lengthened(places[mask_place])
            elif "attention_mask" in named:
                named["attention_mask"] = self._lengthened(named["attention_mask"])
        return tuple(places), named

    def _count_tokens(self, places: list[Any], named: dict[str, Any]) -> None:
        """Add the tokens of everybody's words to the text's number of tokens, where the network takes that number."""
        number_place = self._family.number_place
        if number_place is None:
            return
        if "num_tokens" in named:
            named["num_tokens"] = named["num_tokens"] + sum(self._sizes)
        elif len(places) > number_place:
            places[number_place] = places[number_place] + sum(self._sizes)

    def _lengthened(self, mask: Tensor | None) -> Tensor | None:
        """The network's mask of the text, (B, T), with everybody's words behind it, which are read: (B, T + words).

        A mask of whole numbers has 1 where the text is read. One of floats is added to the logits, so it has 0 there.
        """
        if mask is None:
            return None
        value = 0.0 if mask.is_floating_point() else 1
        return functional.pad(mask, (0, sum(self._sizes)), value=value)

    # What stands in the network

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While this context is open, our functions stand in the network, see `_new_stand_ins`."""
        with ExitStack() as stack:
            for stand_in in self._stand_ins:
                stack.enter_context(stand_in.standing())
            if self._family.own_captions:
                stack.enter_context(self._pieces.counting())
            yield

    def _new_stand_ins(self) -> list[StandIn]:
        """What stands in the network, so that each text is computed as if it were alone."""
        stand_ins: list[StandIn] = []
        if self._family.refiners:
            for block in self._network.get_submodule(self._family.refiners):
                stand_ins.append(StandIn(block, "forward", self._block_by_text))
        if self._family.own_captions:
            stand_ins += refiner_stand_ins(self._network, self._family)
            stand_ins.append(StandIn(self._network, "embed_all", self._embed_all))
        return stand_ins

    def _block_by_text(self, block: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What a refiner, a block in which the tokens of a text read each other, gives of all texts: (B, T, C).

        It is called for each text alone. x: the tokens of all texts, (B, T, C). Where texts of references stand among
        them, there are more tokens than ours: then it is called once, and its attention is split.
        """
        lengths = self._text_lengths()
        total = sum(lengths)
        if x.shape[1] != total:
            return block(x, *args, **kwargs)
        call = _BlockCall(block, x, args, kwargs)
        parts: list[Tensor] = []
        start = 0
        for number, length in enumerate(lengths):
            text = slice(start, start + length)
            place = self._places[number - 1] if number else None
            if place is not None and not place.is_full:
                parts.append(self._by_length(call, place, number, text))
            elif length:
                parts.append(call.of_text(number, text))
            start += length
        return torch.cat(parts, dim=1)

    def _by_length(self, call: _BlockCall, place: TextPlace, number: int, text: slice) -> Tensor:
        """What a block gives of the words in a place, (B, tokens of the place, C), with zeros for what fills it up."""
        out = torch.zeros_like(call.x[:, text])
        for rows in place.rows_of_lengths.values():
            filler = self._filler(place, rows[0])
            words = slice(text.start + filler.front, text.stop - filler.behind)
            out[rows, filler.front : out.shape[1] - filler.behind] = call.of_text(number, words, rows)
        return out

    def _embed_all(
        self,
        embed: Callable[..., Any],
        x: Tensor,
        cap_feats: Any = None,
        siglip_feats: Any = None,
        offset: int = 0,
        **more: Any,
    ) -> Any:
        """What embed_all of Z-Image gives, with everybody's words behind the common text.

        It is called with the common text alone, and each person's words are embedded by themselves. So they have tokens
        of their own to fill them up, and positions that end where those of the common text end and the picture's begin.
        embed: the network's embed_all. x: the picture's latent. cap_feats: all texts, (B, T, text width). more: other
        arguments of the host.
        """
        sizes = (self._common, *self._sizes)
        if current.embedded is not None or cap_feats is None or cap_feats.shape[1] != sum(sizes):
            return embed(x, cap_feats, siglip_feats, offset=offset, **more)
        common, *texts = cap_feats.split(sizes, dim=1)
        with called_alone(0):
            embedded, rotations, end = embed(x, common, siglip_feats, offset=offset, **more)
        captions = [_Caption(embedded[0], rotations[0])]
        embed_caption = partial(self._network.embed_cap, bsz=1, device=x.device, dtype=x.dtype)
        call = _CaptionCall(embed_caption, offset + self._position_count(self._common), self._position_count)
        for number, text in enumerate(texts, 1):
            place = self._places[number - 1]
            if not place.is_full:
                captions.append(self._caption_of_rows(call, place, number, text))
            elif text.shape[1]:
                captions.append(call.of_text(number, text))
        all_tokens = torch.cat([caption.tokens for caption in captions], dim=1)
        all_rotations = torch.cat([caption.rotations for caption in captions], dim=1)
        return (all_tokens, *embedded[1:]), (all_rotations, *rotations[1:]), end

    def _caption_of_rows(self, call: _CaptionCall, place: TextPlace, number: int, text: Tensor) -> _Caption:
        """The caption of a place in which each row has words of its own. text: (B, tokens of the place, width)."""
        size = self._padded(place.tokens)
        captions: dict[int, _Caption] = {}  # by the number of tokens
        for length, rows in place.rows_of_lengths.items():
            captions[length] = call.of_text(number, text[rows, :length], rows)
        longest = captions[place.tokens]  # its rotations are those of all others
        out = longest.tokens.new_zeros(self.row_count, size, longest.tokens.shape[-1])
        for length, rows in place.rows_of_lengths.items():
            tokens = captions[length].tokens
            # Zeros in front of the words, because the positions of all texts end where the picture's begin.
            out[rows, size - tokens.shape[1] :] = tokens
        return _Caption(out, longest.rotations)

    # Who reads whom

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options in which every attention is split by who reads whose words."""
        self._calls.begin()
        names = tuple(place.name for place in self._places)
        current.texts = CurrentTexts(names, tuple(self._text_lengths()[1:]))
        if not self._family.own_captions:
            options = with_patch(options, "post_input", self.with_positions)
        return with_reading(options, self)

    def with_positions(self, block_inputs: Options) -> Options:
        """The host's post_input patch: what the blocks are given, with new positions for everybody's words.

        They get the positions that they would have as the common text, so that each text counts from its own beginning.
        Raises ConditioningLost where tokens of the picture are missing.
        """
        picture = block_inputs["img"].shape[1]
        if picture < self._picture:
            raise ConditioningLost("unknown", f"leaves {picture} of the picture's {self._picture} tokens")
        text = block_inputs["txt"].shape[1]
        block_inputs["transformer_options"][_TOKENS] = _BlockTokens(text, picture)
        axes = self._family.counted_axes
        if not axes:
            return block_inputs
        positions: Tensor = block_inputs["txt_ids"].clone()  # (B, T, axes)
        start = text - sum(self._sizes)  # of the first words; other packs may have put tokens in front of all texts
        start_of_common = start - self._common
        for size in self._sizes:
            count = torch.arange(size, device=positions.device, dtype=positions.dtype)
            for axis in axes:
                first_position = positions[:, start_of_common : start_of_common + 1, axis]
                positions[:, start : start + size, axis] = first_position + count
            start += size
        return {**block_inputs, "txt_ids": positions}

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        """The split of one attention by who reads whose words, see attention.Reading; None for an attention of others.

        An attention is known by the name of its refiner, or by its number of tokens.
        """
        place = LAYERS
        if self._family.own_captions:
            place = options.get(REFINER, LAYERS)
            text = self._text_tokens()
            total = {LAYERS: self._token_layout(text).total, self._family.refiners: text}.get(place)
            if queries != total or keys != queries:
                return None
        else:
            tokens: _BlockTokens | None = options.get(_TOKENS)
            # A node that keeps the references' keys of an earlier step asks without the references.
            if tokens is None or queries < tokens.text + self._picture or keys < queries:
                return None
            text = tokens.text
        if place == LAYERS:
            self._calls.count()
        return self._split_for(place, text, queries, keys)

    def _split_for(self, place: str, text: int, queries: int, keys: int) -> AnySplit:
        """The split of `make_split`, made once for all layers and steps. Arguments as there."""
        key = place, text, queries, keys, current.references
        if key not in self._splits:
            self._splits[key] = _make_split_untraced(self, place, text, queries, keys)
        return self._splits[key]

    def make_split(self, place: str, text: int, queries: int, keys: int) -> AnySplit:
        """A new split of an attention by who reads whose words, for every row of the batch.

        place: LAYERS for an attention in the blocks, or the path of the refiners of texts. text: tokens of all texts,
        with whatever stands in front of them. queries, keys: how many tokens the attention has.
        """
        tokens = self._token_layout(text)
        layout = TextLayout(
            common_end=tokens.before_common + tokens.common,
            counts=tokens.words,
            picture_start=tokens.picture_start if place == LAYERS else text,
            queries=queries,
            keys=keys,
            # Tokens of other packs, such as USO's, belong to the common text.
            readable_front=sum(tokens.reference_texts),
            owned=self._owned(tokens.spans() if place == LAYERS else tokens.text_spans()),
        )
        splits: list[Split] = []
        split_of: dict[tuple[tuple[int, ...], bytes], Split] = {}
        for row in range(self.row_count):
            lengths = tuple(text_place.lengths[text_place.in_row(row)] for text_place in self._places)
            weights = torch.stack([text_place.weights[text_place.in_row(row)] for text_place in self._places])
            if place != LAYERS:
                weights = weights[:, :0]  # no picture there
            # Rows with words of the same lengths read the same tokens where the weights are the same, too.
            key = lengths, weights.numpy().tobytes()
            if key not in split_of:
                fillers = tuple(self._filler(text_place, row) for text_place in self._places)
                split_of[key] = split_by_words(replace(layout, fillers=fillers), weights)
            splits.append(split_of[key])
        return splits[0] if len(split_of) == 1 else RowSplit(tuple(splits))

    def _owned(self, spans: Sequence[Span]) -> tuple[OwnedTokens, ...]:
        """The tokens of references that are one person's alone, for people who have words. They read these words too.

        spans: what stands in the attention, from its first token on.
        """
        references = current.references
        if references is None:
            return ()
        owned: list[OwnedTokens] = []
        for span in placed_spans(spans):
            if span.span.kind is TokenKind.REFERENCE:
                name = references.names[span.span.number]
                for number, place in enumerate(self._places):  # of every node that has words of this person
                    if place.name == name:
                        owned.append(OwnedTokens(number, span.tokens))
        return tuple(owned)

    def _filler(self, place: TextPlace, row: int) -> Filler:
        """How many tokens in this row fill up a place, in front of the words or behind them."""
        filler = self._padded(place.tokens) - self._padded(place.lengths[place.in_row(row)])
        if self._family.own_captions:
            return Filler(front=filler)
        return Filler(behind=filler)

    def after_forward(self) -> None:
        """Raises ConditioningLost where a copy of the host's forward does not hand on what attention needs to know:
        then everybody would read all words."""
        self._calls.check()


def _new_split(batch: PersonTextsBatch, place: str, text: int, queries: int, keys: int) -> AnySplit:
    """PersonTextsBatch.make_split as a function, which torch.compiler.disable takes."""
    return batch.make_split(place, text, queries, keys)


# Whose references there are is known in a forward only, and torch.compile cannot trace what is then worked out once.
_make_split_untraced: Any = torch.compiler.disable(_new_split)
