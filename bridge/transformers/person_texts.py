"""Words about single people in a transformer, each read in that person's part of the picture only.

Everybody's words are a text of their own behind the common one, with the positions that they would have alone. One
forward computes all of them; `core.person_texts` says who reads whom.

Where people have a row of the batch each, as after Crop Faces, the rows share one place behind the common text. In
every row the words of its person stand there, filled up to the longest with tokens that nobody reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from comfy.sd import CLIP
from torch import Tensor, nn
from typing_extensions import Self

from ...core.errors import BadSetup
from ...core.inputs import unusable_text
from ...core.person_texts import Filler, TextLayout, on_tokens, split_by_words
from ...core.prompts import check_text
from ...core.text import plain
from ...core.token_groups import AnySplit, RowSplit, Split
from ..canvas import Canvas, check_canvases
from ..carried import Carried, ConditioningLost, one_for_each_row
from ..encode import TEXT_WIDTH, check_family
from ..runs import Batch, Given, Run, entries
from ..schedule import WHOLE_SCHEDULE
from ..unet import Options, pixels_of, with_patch
from .attention import with_reading
from .families import TransformerFamily
from .networks import cells_per_token, described, network_of, tokens_of

# The forward that is on


@dataclass(frozen=True)
class CurrentTexts:
    """The words of people in the forward that is on in this thread, for what stands in a layer and is given x alone.

    names: of the people, in the order of their words; "" where each row has the words of another person. lengths:
    tokens of each. alone: where the network is called for one text alone, its number: 0 for the common one, n + 1 for
    the words of person n. row: where it is called for one row of the batch alone, its number.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    alone: int | None = None
    row: int | None = None


class _Thread(threading.local):
    """One for each thread, as lora_readers has it: the host's MultiGPU CFG Split calls several networks at a time."""

    def __init__(self) -> None:
        self.texts: CurrentTexts | None = None


_thread = _Thread()


def current_texts() -> CurrentTexts | None:
    """None where nobody has words in this forward."""
    return _thread.texts


@contextmanager
def _called_alone(text: int, row: int | None = None) -> Iterator[None]:
    """While the network is called for the text of this number alone, and for one row or for all of them."""
    before = _thread.texts
    assert before is not None
    _thread.texts = replace(before, alone=text, row=row)
    try:
        yield
    finally:
        _thread.texts = before


# What the conditioning carries


@dataclass(frozen=True, eq=False)
class PersonTexts(Carried):
    """What one node adds to one side of the conditioning.

    regions: (people, H, W), from 0, of the whole picture: where each person's words are read, and how often. With
    by_row (people, 1, 1). texts: (1, T, width) each, float32 on the CPU; T is 0 for a row without words. canvas: what
    the regions are parts of, or None for the whole picture. names: of the people. by_row: whether each person has a row
    of the batch instead of a region. row: the person of this row, where it is known.
    """

    key = "likeness_person_texts"
    regions: Tensor
    texts: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    by_row: bool = False
    row: int | None = None

    @property
    def active(self) -> bool:
        return bool(self.texts)

    @property
    def acts(self) -> Tensor | None:
        return None if self.by_row else self.regions

    def alike(self, other: Any) -> bool:
        return self is other

    def of(self, picture: int) -> Self:
        """For one picture of the batch: where everybody has rows, that of the person in this row."""
        if not self.by_row or self.row is not None or not self.texts:
            return self
        person = picture % len(self.texts)
        return self.piece(person, lambda: replace(self, row=person))


def appended_texts(
    texts: Sequence[Tensor], regions: Tensor, canvas: Canvas | None, names: Sequence[str]
) -> PersonTexts:
    """Words about each person, (1, T, width) per person, read in the person's region (people, H, W)."""
    return PersonTexts(object(), WHOLE_SCHEDULE, regions, tuple(texts), tuple(names), canvas=canvas)


def texts_by_row(texts: Sequence[Tensor], strength: float, canvas: Canvas, names: Sequence[str]) -> PersonTexts:
    """Words of the person of every row of the batch, (1, T, width) per row, read in all of the row's picture."""
    everywhere = torch.full((len(texts), 1, 1), strength)
    return PersonTexts(object(), WHOLE_SCHEDULE, everywhere, tuple(texts), tuple(names), canvas=canvas, by_row=True)


def without_people(texts: PersonTexts) -> PersonTexts:
    """For the other side of the conditioning: it adds nothing there, but the host may compute both in one batch."""
    return PersonTexts(texts.source, WHOLE_SCHEDULE, texts.regions[:0], (), canvas=texts.canvas, by_row=texts.by_row)


def words_of(clip: CLIP, words: str, width: int, family: TransformerFamily) -> Tensor:
    """Words as a prompt of their own, in the template of the text encoder: (1, T, width), float32 on the CPU.

    Raises WrongBaseModel for the text encoder of another family, and BadText for what is too much for it.
    """
    label = f"The text {plain(words, 60)!r}"
    check_text(label, words)
    text, _ = clip.encode_from_tokens(clip.tokenize(words), return_pooled=True)
    check_family("The clip input", TEXT_WIDTH, text.shape[-1], width, f"Use the text encoder of {family.name}.")
    text = text.float().cpu()
    if not text.isfinite().all():
        raise unusable_text(label)
    return text


# Where words stand


@dataclass(frozen=True, eq=False)
class TextPlace:
    """Tokens behind the common text that hold the words of one person, or in each row those of another person.

    name: of the person; "" where rows differ. texts: (1, T, width) each, one for all rows or one for each. weights:
    (1 or rows, picture tokens), how often the words are read there.
    """

    name: str
    texts: tuple[Tensor, ...]
    weights: Tensor

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of the words: of all rows, or of each."""
        return tuple(text.shape[1] for text in self.texts)

    @property
    def tokens(self) -> int:
        """Of the place."""
        return max(self.lengths)

    @property
    def words(self) -> Tensor:
        """(1 or rows, tokens, width), zeros behind the words of a row that has fewer."""
        rows: list[Tensor] = []
        for text in self.texts:
            rows.append(functional.pad(text, (0, 0, 0, self.tokens - text.shape[1])))
        return torch.cat(rows)

    @property
    def is_full(self) -> bool:
        """Whether the words of every row fill the place."""
        return len(set(self.lengths)) == 1

    def in_row(self, row: int) -> int:
        """The index into texts and weights of a row of the batch."""
        return row if len(self.texts) > 1 else 0


def _places_of(node: Sequence[PersonTexts], given: Given, family: TransformerFamily) -> list[TextPlace]:
    """Of what one node has put into a batch. node: one for all rows, or one for each row."""
    first = node[0]
    if first.by_row:
        return [_place_by_row(node, given, family)]
    pixels = pixels_of(given.model)
    side = cells_per_token(given.model) * pixels
    height, width = given.x.shape[-2:]
    of_frame = on_tokens(first.regions, height * pixels, width * pixels, side)  # (people, tokens of a frame)
    frames = tokens_of(given.model, given.x) // of_frame.shape[1]
    places: list[TextPlace] = []
    for name, text, weights in zip(first.names, first.texts, of_frame.repeat(1, frames), strict=True):
        places.append(TextPlace(name, (_left_padded(text, family),), weights[None]))
    return places


def _place_by_row(node: Sequence[PersonTexts], given: Given, family: TransformerFamily) -> TextPlace:
    """node: what each row of the batch has."""
    texts: list[Tensor] = []
    weights = torch.zeros(len(node), tokens_of(given.model, given.x))
    for number, of_row in enumerate(node):
        text = torch.zeros(1, 0, given.context.shape[-1])
        if of_row.row is not None and of_row.texts[of_row.row].shape[1]:
            person = of_row.row
            text = _left_padded(of_row.texts[person], family)
            weights[number] = on_tokens(of_row.regions[person : person + 1], 1, 1, 1)
        texts.append(text)
    return TextPlace("", tuple(texts), weights)


def _left_padded(text: Tensor, family: TransformerFamily) -> Tensor:
    """(1, T, width) as the family pads each text itself: zeros in front, up to its least length."""
    return functional.pad(text, (0, 0, max(0, family.left_padded_to - text.shape[1]), 0))


def _padded(tokens: int, family: TransformerFamily, network: Any) -> int:
    """How many tokens a text or picture has with those that a network with own_captions fills it up with."""
    if not family.own_captions:
        return tokens
    multiple: int = network.pad_tokens_multiple
    return -(-tokens // multiple) * multiple


# While the sampler runs


class PersonTextsRun(Run):
    """One sampling run of a transformer that reads words by region."""

    key = PersonTexts.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        check_canvases(self.everything(guider), latent)
        self._batches: dict[Any, PersonTextsBatch] = {}
        self._texts_of_entries: list[tuple[PersonTexts, ...]] = []
        for entry in entries(guider, self.key):
            self._texts_of_entries.append(entry["model_conds"][self.key].cond)

    def shape_for_memory(self, model: ModelPatcher, noise_shape: Sequence[int]) -> Sequence[int]:
        """With rows of the latent more, as many tokens as the words are."""
        base_model: Any = model.model
        family = described(base_model)
        if family is None or len(noise_shape) < 4:
            return noise_shape
        network = network_of(base_model)
        most = 0
        for texts_of_entry in self._texts_of_entries:
            tokens = sum(_tokens_added(texts, family, network) for texts in texts_of_entry)
            most = max(most, tokens)
        *others, height, width = noise_shape
        frames = others[2] if len(others) > 2 else 1
        cells = most * cells_per_token(base_model) ** 2
        return [*others, height + -(-cells // (width * frames)), width]

    def batch(self, chunks: tuple[tuple[PersonTexts, ...], ...], given: Given) -> PersonTextsBatch:
        nodes: list[tuple[PersonTexts, ...]] = []
        for by_chunk in zip(*chunks, strict=True):
            of_node = self._of_node(by_chunk, len(given.x))
            if any(texts.active for texts in of_node):
                nodes.append(of_node)
        key = tuple(nodes), given.x.shape, given.x.device, given.context.shape[1], given.model
        if key not in self._batches:
            is_first = not self._batches
            self._batches[key] = PersonTextsBatch(nodes, given, is_first)
        return self._batches[key]

    def _of_node(self, by_chunk: Sequence[PersonTexts], rows: int) -> tuple[PersonTexts, ...]:
        """What one node has put into a batch: one for all rows, or one for each where people have rows.

        Raises ConditioningLost where another pack joins rows of different nodes, or with and without words.
        """
        first = by_chunk[0]
        if first.by_row and all(texts.source is first.source for texts in by_chunk):
            return tuple(one_for_each_row(by_chunk, rows))
        if any(texts is not first for texts in by_chunk):
            raise ConditioningLost(self._around, "joins rows in which different words are read")
        return (first,)


def _tokens_added(texts: PersonTexts, family: TransformerFamily, network: Any) -> int:
    """How many tokens one node adds to every row of the batch."""
    lengths: list[int] = [0]
    for text in texts.texts:
        length = _left_padded(text, family).shape[1] if text.shape[1] else 0
        lengths.append(_padded(length, family, network))
    return max(lengths) if texts.by_row else sum(lengths)


_TOKENS = "likeness_tokens"
"""Of transformer_options inside of a forward: a `_BlockTokens`."""


@dataclass(frozen=True)
class _BlockTokens:
    """What the blocks of a forward are given: tokens of all texts, with whatever stands in front of them, and of the
    picture with its references."""

    text: int
    picture: int


class PersonTextsBatch(Batch):
    """Attention in which words are read by region, and what has to stand in the network for it.

    nodes: of each node what all rows have, or what each row has. check_calls: whether every block has to ask for its
    attention. In later steps a node that saves time may leave blocks out.
    """

    def __init__(self, nodes: Sequence[Sequence[PersonTexts]], given: Given, check_calls: bool) -> None:
        family = described(given.model)
        assert family is not None  # of a MODEL that the node has taken
        self.rows = len(given.x)
        self._family = family
        self._network = network_of(given.model)
        if family.picture_last and given.references:
            why = f"Words of single people and reference pictures together are not known for {family.name}."
            raise BadSetup(why, "Take the reference pictures out of the conditioning, or Prompt per Person.")
        self._places: list[TextPlace] = []
        for node in nodes:
            self._places += _places_of(node, given, family)
        words = [place.words.expand(self.rows, -1, -1) for place in self._places]
        self._words = torch.cat(words, dim=1).to(given.x.device)  # (rows, tokens of all places, width)
        self._sizes = tuple(place.tokens for place in self._places)
        self._common = given.context.shape[1]
        self._picture = tokens_of(given.model, given.x)
        self._splits: dict[tuple[int, int, int], AnySplit] = {}
        self._check_calls = check_calls
        self._calls = 0
        self._is_traced = False
        self._get_ready(given)

    def _get_ready(self, given: Given) -> None:
        """Make what the attentions of this forward are split by, before anything that torch.compile sees."""
        text = sum(self._in_attention())
        tokens = text + self._padded(self._picture)
        for reference in given.references:
            tokens += tokens_of(given.model, reference)
        self._split_for(text, tokens, tokens).on(given.x.device)

    def _padded(self, tokens: int) -> int:
        return _padded(tokens, self._family, self._network)

    def _in_attention(self) -> list[int]:
        """Tokens of the common text and of the place of everybody's, as the blocks are given them."""
        return [self._padded(size) for size in (self._common, *self._sizes)]

    # What the network is given

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The network's arguments with everybody's words behind the common text."""
        named = dict(kwargs)
        places = list(args)
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
        """The number of tokens of the text, where the network is told it, with those of everybody's words."""
        number_place = self._family.number_place
        if number_place is None:
            return
        if "num_tokens" in named:
            named["num_tokens"] = named["num_tokens"] + sum(self._sizes)
        elif len(places) > number_place:
            places[number_place] = places[number_place] + sum(self._sizes)

    def _lengthened(self, mask: Tensor | None) -> Tensor | None:
        """A mask of a text, (B, T): 1 where it is read, or 0 where it is added to the logits."""
        if mask is None:
            return None
        value = 0.0 if mask.is_floating_point() else 1
        return functional.pad(mask, (0, sum(self._sizes)), value=value)

    # What stands in the network

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._family.refiners:
                for block in self._network.get_submodule(self._family.refiners):
                    stack.enter_context(_standing_in(block, "forward", self._by_text))
            if self._family.own_captions:
                stack.enter_context(_standing_in(self._network, "embed_cap", self._captions))
            yield

    def _by_text(self, block: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """A block in which the tokens of a text read each other, x: (B, T, C), called for each text alone."""
        lengths = self._in_attention()
        total = sum(lengths)
        if x.shape[1] != total:
            return block(x, *args, **kwargs)

        def call(text: int, tokens: slice, row: int | None) -> Tensor:
            # Besides x the positions, (B or 1, T, ...).
            own_args = [_part_of(arg, tokens, total, row) for arg in args]
            own_kwargs = {name: _part_of(arg, tokens, total, row) for name, arg in kwargs.items()}
            with _called_alone(text, row):
                return block(_part_of(x, tokens, total, row), *own_args, **own_kwargs)

        parts: list[Tensor] = []
        start = 0
        for number, length in enumerate(lengths):
            end = start + length
            place = self._places[number - 1] if number else None
            if place is None or place.is_full:
                if length:
                    parts.append(call(number, slice(start, end), None))
            else:
                part = torch.zeros_like(x[:, start:end])
                for row in range(self.rows):
                    filler = self._filler(place, row)
                    words = slice(start + filler.front, end - filler.behind)
                    if words.start < words.stop:
                        part[row : row + 1, filler.front : length - filler.behind] = call(number, words, row)
                parts.append(part)
            start = end
        return torch.cat(parts, dim=1)

    def _captions(self, embed: Callable[..., Any], cap_feats: Any = None, offset: int = 0, **more: Any) -> Any:
        """embed_cap of Z-Image, called for each text alone: its own tokens to fill it up, and positions that end at
        the picture's, as those of a single text do.

        cap_feats: (B, T, width) of all texts. more: what else the host gives.
        """
        sizes = (self._common, *self._sizes)
        if cap_feats is None or cap_feats.shape[1] != sum(sizes):
            return embed(cap_feats, offset=offset, **more)
        padded = self._in_attention()
        end = offset + sum(padded)
        embedded: list[Tensor] = []
        positions: list[Tensor] = []

        def call(text: Tensor, number: int, row: int | None) -> tuple[Tensor, Tensor]:
            """Tokens (B or 1, T, C) of a text, filled up by the host, and their rotations (1, T, ...)."""
            with _called_alone(number, row):
                (tokens, *_), (rotations, *_), _ = embed(text, offset=end - self._padded(text.shape[1]), **more)
            return tokens, rotations

        for number, text in enumerate(cap_feats.split(sizes, dim=1)):
            place = self._places[number - 1] if number else None
            if place is None or place.is_full:
                if padded[number]:
                    tokens, rotations = call(text, number, None)
                    embedded.append(tokens)
                    positions.append(rotations)
                continue
            rows: list[Tensor] = []
            longest: Tensor | None = None
            for row in range(self.rows):
                length = place.lengths[row]
                # Of no words the row's first token: all that comes out is cut off.
                tokens, rotations = call(text[row : row + 1, : max(1, length)], number, row)
                if not length:
                    tokens = tokens[:, :0]
                elif longest is None or rotations.shape[1] > longest.shape[1]:
                    longest = rotations
                # In front of the words, because positions of all texts end at the picture's.
                rows.append(functional.pad(tokens, (0, 0, padded[number] - tokens.shape[1], 0)))
            assert longest is not None  # a place without any words is full
            embedded.append(torch.cat(rows))
            positions.append(longest)
        return _joined_rows(embedded), (torch.cat(positions, dim=1),), sum(padded)

    def passed(self) -> None:
        _thread.texts = None

    # Who reads whom

    def around(self, options: Options) -> Options:
        names = tuple(place.name for place in self._places)
        _thread.texts = CurrentTexts(names, tuple(self._in_attention()[1:]))
        if not self._family.own_captions:
            options = with_patch(options, "post_input", self.with_positions)
        return with_reading(options, self)

    def with_positions(self, block_inputs: Options) -> Options:
        """The host's post_input patch, behind those of others: what the blocks are given, with the positions of every
        text counted from its own beginning. Raises ConditioningLost where tokens of the picture are missing."""
        picture = block_inputs["img"].shape[1]
        if picture < self._picture:
            raise ConditioningLost("unknown", f"leaves {picture} of the picture's {self._picture} tokens")
        text = block_inputs["txt"].shape[1]
        block_inputs["transformer_options"][_TOKENS] = _BlockTokens(text, picture)
        axes = self._family.counted_axes
        if not axes:
            return block_inputs
        positions: Tensor = block_inputs["txt_ids"].clone()  # (B, T, axes)
        start = text - sum(self._sizes)
        begin = start - self._common  # other packs may put tokens in front of a text
        for size in self._sizes:
            count = torch.arange(size, device=positions.device, dtype=positions.dtype)
            for axis in axes:
                positions[:, start : start + size, axis] = positions[:, begin : begin + 1, axis] + count
            start += size
        return {**block_inputs, "txt_ids": positions}

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        if self._family.own_captions:
            text = sum(self._in_attention())
            if queries != text + self._padded(self._picture) or keys != queries:
                return None
        else:
            tokens: _BlockTokens | None = options.get(_TOKENS)
            # A node that keeps the references' keys of an earlier step asks without the references.
            if tokens is None or queries < tokens.text + self._picture or keys < queries:
                return None
            text = tokens.text
        if torch.compiler.is_compiling():
            self._is_traced = True
        else:
            self._calls += 1
        return self._split_for(text, queries, keys)

    def _split_for(self, text: int, queries: int, keys: int) -> AnySplit:
        key = text, queries, keys
        if key not in self._splits:
            self._splits[key] = self._made_split(text, queries, keys)
        return self._splits[key]

    def _made_split(self, text: int, queries: int, keys: int) -> AnySplit:
        """text: tokens of all texts, with whatever stands in front of them."""
        counts = tuple(self._in_attention()[1:])
        splits: list[Split] = []
        split_of: dict[tuple[int, ...], Split] = {}
        for row in range(self.rows):
            # Rows with words of the same lengths read the same tokens.
            lengths = tuple(place.lengths[place.in_row(row)] for place in self._places)
            if lengths not in split_of:
                fillers = tuple(self._filler(place, row) for place in self._places)
                layout = TextLayout(text - sum(counts), counts, text, queries, keys, fillers)
                weights = torch.stack([place.weights[place.in_row(row)] for place in self._places])
                split_of[lengths] = split_by_words(layout, weights)
            splits.append(split_of[lengths])
        return splits[0] if len(split_of) == 1 else RowSplit(tuple(splits))

    def _filler(self, place: TextPlace, row: int) -> Filler:
        """What of a place is no words in this row, in the tokens that the blocks are given."""
        filler = self._padded(place.tokens) - self._padded(place.lengths[place.in_row(row)])
        if self._family.own_captions:
            return Filler(front=filler)
        return Filler(behind=filler)

    def done(self) -> None:
        """Raises ConditioningLost where a copy of the host's forward does not hand on what attention needs to know:
        then everybody would read all words."""
        expected = sum(len(self._network.get_submodule(blocks)) for blocks in self._family.blocks)
        if self._check_calls and not self._is_traced and self._calls < expected:
            why = f"hands on transformer_options to {self._calls} of the {expected} blocks"
            raise ConditioningLost("unknown", why)
        self._check_calls = False


def _joined_rows(embedded: Sequence[Tensor]) -> tuple[Tensor]:
    """Tokens of all texts, (B, T, C) each, one behind the other."""
    return (torch.cat(list(embedded), dim=1),)


def _part_of(argument: Any, tokens: slice, total: int, row: int | None) -> Any:
    """Of an argument that has something for each token, (B or 1, total, ...), what belongs to these tokens, and to one
    row where `row` is not None."""
    if not isinstance(argument, Tensor) or argument.dim() < 2 or argument.shape[1] != total:
        return argument
    part = argument[:, tokens]
    if row is not None and len(part) > 1:
        part = part[row : row + 1]
    return part


@contextmanager
def _standing_in(module: nn.Module, method: str, function: Callable[..., Any]) -> Iterator[None]:
    """With function(what stands there, ...) in the place of a module's method, for this object alone."""
    before = vars(module).get(method)
    vars(module)[method] = partial(function, getattr(module, method))
    try:
        yield
    finally:
        if before is None:
            vars(module).pop(method, None)
        else:
            vars(module)[method] = before
