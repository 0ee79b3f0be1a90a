"""Words about single people in a transformer, each read in that person's part of the picture only.

Everybody's words are a text of their own behind the common one, with the positions that they would have alone. One
forward computes all of them; `core.person_texts` says who reads whom.
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
from comfy.samplers import CFGGuider
from comfy.sd import CLIP
from torch import Tensor, nn

from ...core.errors import BadSetup
from ...core.inputs import unusable_text
from ...core.person_texts import TextLayout, on_tokens, split_by_words
from ...core.prompts import check_text
from ...core.text import plain
from ...core.token_groups import Split
from ..canvas import Canvas, check_canvases
from ..carried import Carried, ConditioningLost
from ..encode import TEXT_WIDTH, check_family
from ..runs import Batch, ForwardInput, Run
from ..schedule import WHOLE_SCHEDULE
from ..unet import Options, pixels_of, with_patch
from .attention import with_reading
from .families import TransformerFamily
from .networks import cells_per_token, described, network_of, tokens_of


@dataclass(frozen=True)
class CurrentTexts:
    """The words of people in the forward that is on in this thread, for what stands in a layer and is given x alone.

    names: of the people, in the order of their words. lengths: tokens of each. alone: where the network is called for
    one text alone, its number: 0 for the common one, n + 1 for the words of person n.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    alone: int | None = None


class _Thread(threading.local):
    """One for each thread, as lora_readers has it: the host's MultiGPU CFG Split calls several networks at a time."""

    def __init__(self) -> None:
        self.texts: CurrentTexts | None = None


_thread = _Thread()


def current_texts() -> CurrentTexts | None:
    """None where nobody has words in this forward."""
    return _thread.texts


_SEEN = "likeness_tokens"
"""Of transformer_options inside of a forward: a `_Tokens`."""


@dataclass(frozen=True)
class _Tokens:
    """What the blocks of a forward are given: tokens of all texts, with whatever stands in front of them, and of the
    picture with its references."""

    text: int
    picture: int


@dataclass(frozen=True, eq=False)
class PersonTexts(Carried):
    """What one node adds to one side of the conditioning.

    regions: (people, H, W), 0..1, of the whole picture: where each person's words are read. texts: (1, T, width) each,
    float32 on the CPU. canvas: what the regions are parts of, or None for the whole picture. names: of the people.
    """

    key = "likeness_person_texts"
    regions: Tensor
    texts: tuple[Tensor, ...]
    names: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return bool(self.texts)

    def can_join_batch(self, other: Any) -> bool:
        return self is other


def appended_texts(
    texts: Sequence[Tensor], regions: Tensor, canvas: Canvas | None, names: Sequence[str]
) -> PersonTexts:
    """Words about each person, (1, T, width) per person, read in the person's region (people, H, W)."""
    return PersonTexts(object(), WHOLE_SCHEDULE, regions, tuple(texts), tuple(names), canvas=canvas)


def without_people(texts: PersonTexts) -> PersonTexts:
    """For the other side of the conditioning: it adds nothing there, but the host may compute both in one batch."""
    return PersonTexts(texts.source, WHOLE_SCHEDULE, texts.regions[:0], (), canvas=texts.canvas)


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


class PersonTextsRun(Run):
    """One sampling run of a transformer that reads words by region."""

    key = PersonTexts.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        check_canvases(self.everything(guider), latent)
        self._batches: dict[Any, PersonTextsBatch] = {}

    def batch_for_forward(
        self, chunks: tuple[tuple[PersonTexts, ...], ...], forward_input: ForwardInput
    ) -> PersonTextsBatch:
        first, *more = chunks
        for chunk in more:
            if any(own is not other for own, other in zip(first, chunk, strict=True)):
                raise ConditioningLost(self._code_around_model, "joins rows in which different words are read")
        key = first, forward_input.x.shape, forward_input.x.device, forward_input.context.shape[1], forward_input.model
        if key not in self._batches:
            is_first = not self._batches
            self._batches[key] = PersonTextsBatch([piece for piece in first if piece.active], forward_input, is_first)
        return self._batches[key]


class PersonTextsBatch(Batch):
    """Attention in which words are read by region, and what has to stand in the network for it.

    check_calls: whether every block has to ask for its attention. In later steps a node that saves time may leave
    blocks out.
    """

    def __init__(self, pieces: Sequence[PersonTexts], forward_input: ForwardInput, check_calls: bool) -> None:
        family = described(forward_input.model)
        assert family is not None  # of a MODEL that the node has taken
        self.row_count = len(forward_input.x)
        self._family = family
        self._network = network_of(forward_input.model)
        if family.picture_last and forward_input.references:
            why = f"Words of single people and reference pictures together are not known for {family.name}."
            raise BadSetup(why, "Take the reference pictures out of the conditioning, or Prompt per Person.")
        least = family.left_padded_to
        texts = [functional.pad(text, (0, 0, max(0, least - text.shape[1]), 0)) for p in pieces for text in p.texts]
        self._words = torch.cat(texts, dim=1).to(forward_input.x.device)  # (1, tokens of all, width)
        self._lengths = tuple(text.shape[1] for text in texts)
        self._names = tuple(name for p in pieces for name in p.names)
        self._common = forward_input.context.shape[1]
        cells = cells_per_token(forward_input.model)
        height, width = forward_input.x.shape[-2:]
        pixels = pixels_of(forward_input.model)
        weights = [on_tokens(p.regions, height * pixels, width * pixels, cells * pixels) for p in pieces]
        self._picture = tokens_of(forward_input.model, forward_input.x)
        on_picture = torch.cat(weights)  # (people, tokens of a frame)
        self._weights = on_picture.repeat(1, self._picture // on_picture.shape[1])
        self._splits: dict[tuple[int, int, int], Split] = {}
        self._check_calls = check_calls
        self._calls = 0
        self._is_traced = False
        self._get_ready(forward_input)

    def _get_ready(self, forward_input: ForwardInput) -> None:
        """Make what the attentions of this forward are split by, before anything that torch.compile sees."""
        text = sum(self._in_attention())
        picture = self._padded(self._picture) if self._family.own_captions else self._picture
        for reference in forward_input.references:
            picture += tokens_of(forward_input.model, reference)
        self._split_for(text, text + picture, text + picture).on(forward_input.x.device)

    def _padded(self, tokens: int) -> int:
        """With the tokens that a network with own_captions fills up a text or picture with."""
        if not self._family.own_captions:
            return tokens
        multiple: int = self._network.pad_tokens_multiple
        return -(-tokens // multiple) * multiple

    def _in_attention(self) -> list[int]:
        """Tokens of the common text and of everybody's, as the blocks are given them."""
        return [self._padded(length) for length in (self._common, *self._lengths)]

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
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
        longer = torch.cat([text, self._words.to(text).expand(len(text), -1, -1)], dim=1)
        if len(places) > 1:
            places[1] = longer
        else:
            named["context"] = longer
        place = self._family.mask_place
        if place is not None:
            if len(places) > place:
                places[place] = self._lengthened(places[place])
            elif "attention_mask" in named:
                named["attention_mask"] = self._lengthened(named["attention_mask"])
        return tuple(places), named

    def _lengthened(self, mask: Tensor | None) -> Tensor | None:
        """A mask of a text, (B, T): 1 where it is read, or 0 where it is added to the logits."""
        if mask is None:
            return None
        value = 0.0 if mask.is_floating_point() else 1
        return functional.pad(mask, (0, sum(self._lengths)), value=value)

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
        parts = list[Tensor]()
        start = 0
        for number, length in enumerate(lengths):
            own = slice(start, start + length)
            # Besides x the positions, (B or 1, T, ...).
            some = [_of_text(arg, own, total) for arg in args]
            named = {name: _of_text(arg, own, total) for name, arg in kwargs.items()}
            with self._alone(number):
                parts.append(block(x[:, own], *some, **named))
            start += length
        return torch.cat(parts, dim=1)

    def _captions(self, embed: Callable[..., Any], cap_feats: Any = None, offset: int = 0, **given: Any) -> Any:
        """embed_cap of Z-Image, called for each text alone: its own tokens to fill it up, and positions that end at
        the picture's, as those of a single text do."""
        lengths = (self._common, *self._lengths)
        if cap_feats is None or cap_feats.shape[1] != sum(lengths):
            return embed(cap_feats, offset=offset, **given)
        padded = self._in_attention()
        embedded = list[Tensor]()
        positions = list[Tensor]()
        for number, text in enumerate(cap_feats.split(lengths, dim=1)):
            length = padded[number]
            with self._alone(number):
                (tokens, *_), (rotations, *_), _ = embed(text, offset=offset + sum(padded) - length, **given)
            embedded.append(tokens)
            positions.append(rotations)
        return (torch.cat(embedded, dim=1),), (torch.cat(positions, dim=1),), sum(padded)

    @contextmanager
    def _alone(self, number: int) -> Iterator[None]:
        """While the network is called for the text of this number alone."""
        before = _thread.texts
        assert before is not None
        _thread.texts = replace(before, alone=number)
        try:
            yield
        finally:
            _thread.texts = before

    def after_network_call(self) -> None:
        _thread.texts = None

    def options_with_attention(self, options: Options) -> Options:
        _thread.texts = CurrentTexts(self._names, tuple(self._in_attention()[1:]))
        if not self._family.own_captions:
            options = with_patch(options, "post_input", self.seen)
        return with_reading(options, self)

    def seen(self, given: Options) -> Options:
        """The host's post_input patch, behind those of others: what the blocks are given."""
        found = given["img"].shape[1]
        if found < self._picture:
            raise ConditioningLost("unknown", f"leaves {found} of the picture's {self._picture} tokens")
        text = given["txt"].shape[1]
        given["transformer_options"][_SEEN] = _Tokens(text, found)
        axes = self._family.counted_axes
        if not axes:
            return given
        positions: Tensor = given["txt_ids"].clone()  # (B, T, axes)
        start = text - sum(self._lengths)
        begin = start - self._common  # other packs may put tokens in front of a text
        for length in self._lengths:
            count = torch.arange(length, device=positions.device, dtype=positions.dtype)
            for axis in axes:
                positions[:, start : start + length, axis] = positions[:, begin : begin + 1, axis] + count
            start += length
        return {**given, "txt_ids": positions}

    def split(self, queries: int, keys: int, options: Options) -> Split | None:
        if self._family.own_captions:
            text = sum(self._in_attention())
            if queries != text + self._padded(self._picture) or keys != queries:
                return None
        else:
            seen: _Tokens | None = options.get(_SEEN)
            # A node that keeps the references' keys of an earlier step asks without the references.
            if seen is None or queries < seen.text + self._picture or keys < queries:
                return None
            text = seen.text
        if torch.compiler.is_compiling():
            self._is_traced = True
        else:
            self._calls += 1
        return self._split_for(text, queries, keys)

    def _split_for(self, text: int, queries: int, keys: int) -> Split:
        key = text, queries, keys
        if key not in self._splits:
            counts = tuple(self._in_attention()[1:])
            layout = TextLayout(text - sum(counts), counts, text, queries, keys)
            self._splits[key] = split_by_words(layout, self._weights)
        return self._splits[key]

    def after_forward(self) -> None:
        """Raises ConditioningLost where a copy of the host's forward does not hand on what attention needs to know:
        then everybody would read all words."""
        expected = sum(len(self._network.get_submodule(blocks)) for blocks in self._family.blocks)
        if self._check_calls and not self._is_traced and self._calls < expected:
            why = f"hands on transformer_options to {self._calls} of the {expected} blocks"
            raise ConditioningLost("unknown", why)
        self._check_calls = False


def _of_text(argument: Any, own: slice, total: int) -> Any:
    """Of an argument that has something for each token, (B or 1, T, ...), what belongs to one text."""
    if isinstance(argument, Tensor) and argument.dim() > 1 and argument.shape[1] == total:
        return argument[:, own]
    return argument


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
