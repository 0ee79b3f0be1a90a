"""Each text of a forward computed as if it were alone, where a network lets the tokens of a text read each other.

Some networks do so before their blocks, in refiners of the text; Z-Image also fills up a text and counts its positions.
None of that reads the picture or the time of the step. So what comes of people's words is kept for the next steps. The
common text is the host's, which refines it in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ...host.unet import Options
from ...networks.attention import others_attend
from ...networks.patched_methods import PatchedMethod
from ...sampling.code_of_others import changed_by_others
from ...sampling.current_forward import added_to_layers, called_alone
from .forward_texts import ForwardTexts
from .slots import TextSlot

T = TypeVar("T")


@dataclass(frozen=True)
class _BlockCall:
    """A call of a block over all texts, from which calls for one text each are made.

    x: (B, T, ...). args, kwargs: what else the block is given, among it the positions, (B or 1, T, ...).
    """

    block: Callable[..., Tensor]
    x: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def options(self) -> Options:
        """The transformer_options of the block."""
        return self.kwargs.get("transformer_options", {})

    def of_all(self) -> Tensor:
        """What the block gives of all tokens at once."""
        return self.block(self.x, *self.args, **self.kwargs)

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
    padded: how many tokens, and so positions, embed_cap makes of so many tokens of a text.
    """

    embed: Callable[..., Any]
    end: int
    padded: Callable[[int], int]

    def of_text(self, number: int, text: Tensor, rows: list[int] | None = None) -> _Caption:
        """The caption that embed_cap makes of one text by itself.

        number: of the text, as CurrentTexts counts. text: (rows, T, text width). rows: of the batch, which the text is
        of; None for all of them. The tokens of the caption are filled up to the network's multiple, so that they may be
        more than T.
        """
        # Positions are counted from the offset on, so a shorter text begins later, and all texts end at `end`.
        offset = self.end - self.padded(text.shape[1])
        with called_alone(number, rows):
            # It gives a tuple with the tokens, one with their rotations, and the number of tokens before filling up.
            (tokens, *_), (rotations, *_), _ = self.embed(text, offset=offset)
        return _Caption(tokens, rotations)


class TextsAlone:
    """What stands in a network while a forward runs, so that each of its texts is computed as if it were alone.

    It lives as long as the forwards of one network, with the same weights, that carry the same words.
    """

    def __init__(self, texts: ForwardTexts) -> None:
        self._texts = texts
        self._kept: dict[Hashable, Any] = {}
        # Of the forward that is on: what the network is given, until the first method here is called. That finds by the
        # memory of its tokens whether they are these, and not what another pack has made of them. And whether the
        # host's code alone has made all that came of them so far, so that it is as in other forwards.
        self._given: Tensor | None = None
        self._is_as_before = False

    def begin(self, given: Tensor) -> None:
        """A forward begins. given: all texts, (B, T, width), as the network is given them."""
        self._given = None if torch.compiler.is_compiling() else given
        self._is_as_before = False

    def patched(self) -> list[PatchedMethod]:
        """The functions in the place of the network's methods that read several texts."""
        patched: list[PatchedMethod] = []
        if self._texts.family.refiners:
            refiners = self._texts.network.get_submodule(self._texts.family.refiners)
            for block in refiners if isinstance(refiners, nn.ModuleList) else [refiners]:
                patched.append(PatchedMethod(block, "forward", _Refiner(self, block).call_by_text))
        if self._texts.family.own_captions:
            patched.append(PatchedMethod(self._texts.network, "embed_all", self._embed_all))
        return patched

    def refined(self, call: _BlockCall, modules: Sequence[nn.Module]) -> Tensor:
        """What a refiner gives of all texts, (B, T, C), when it is called for each text alone.

        modules: the refiner and those within. Where another pack has changed how many tokens the texts have, it is
        called once.
        """
        if call.x.shape[1] != sum(self._texts.lengths()):
            return call.of_all()
        common, *of_words = self._texts.tokens_of_texts()
        parts: list[Tensor] = []
        if common.stop > common.start:  # of a text without tokens nothing is computed
            parts.append(call.of_text(0, common))
        if of_words[-1].stop > common.stop:
            make = partial(self._refined_words, call, of_words)
            parts.append(self._kept_or_made(modules[0], make, call.x, modules, call.options))
        return torch.cat(parts, dim=1)

    def _kept_or_made(
        self, key: Hashable, make: Callable[[], T], x: Tensor, modules: Iterable[nn.Module], options: Options
    ) -> T:
        """What `make` gives of everybody's words, made once where nothing can make it another in the next step.

        key: what it is. x: all texts, as they come to the method that makes it. modules: those that make it.
        options: transformer_options, with which they attend. Code of other packs in any of them may do otherwise in the
        next step.
        """
        if torch.compiler.is_compiling():  # with what is kept, torch.compile would make another graph
            return make()
        if self._given is not None:
            self._is_as_before = x.untyped_storage() is self._given.untyped_storage()
            self._given = None
        is_of_host = not others_attend(options) and not changed_by_others(modules)
        self._is_as_before = self._is_as_before and is_of_host
        if not self._is_as_before:
            return make()
        # LoRAs of people that are on for a part of the schedule have another mark then.
        key = key, added_to_layers(), self._texts.common, x.dtype
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _refined_words(self, call: _BlockCall, of_words: Sequence[slice]) -> Tensor:
        """What a refiner gives of everybody's words, (B, tokens of all slots, C). of_words: where each slot stands."""
        parts: list[Tensor] = []
        pairs = zip(self._texts.slots, of_words, strict=True)
        for number, (slot, tokens) in enumerate(pairs, 1):  # 0 is the common text
            if not slot.is_full:
                parts.append(self._of_rows_by_length(call, slot, number, tokens))
            elif tokens.stop > tokens.start:
                parts.append(call.of_text(number, tokens))
        return torch.cat(parts, dim=1)

    def _of_rows_by_length(self, call: _BlockCall, slot: TextSlot, number: int, tokens: slice) -> Tensor:
        """What a block gives of the words in a slot, (B, tokens of the slot, C), with zeros for what fills it up.

        Rows with equally many words are computed in one call. number: of the text. tokens: of the slot, among all.
        """
        size = tokens.stop - tokens.start
        out: Tensor | None = None
        for rows in slot.rows_of_lengths.values():
            filler = self._texts.filler(slot, rows[0])  # of all these rows: they have equally many words
            words = slice(tokens.start + filler.front, tokens.stop - filler.behind)
            of_rows = call.of_text(number, words, rows)
            if out is None:
                out = of_rows.new_zeros(len(call.x), size, of_rows.shape[-1])
            out[rows, filler.front : size - filler.behind] = of_rows
        assert out is not None  # somebody has words in a slot
        return out

    def _embed_all(
        self,
        embed: Callable[..., Any],
        x: Tensor,
        cap_feats: Tensor,
        *args: Any,
        offset: int = 0,
        **more: Any,
    ) -> Any:
        """What embed_all of Z-Image gives, with everybody's words behind the common text.

        It is called with the common text alone, and each person's words are embedded by themselves. So they have tokens
        of their own to fill them up, and positions that end where those of the common text end and the picture's begin.
        embed: the network's embed_all. x: the picture's latent. cap_feats: all texts, (B, T, text width). args, more:
        other arguments of the host.
        """
        sizes = (self._texts.common, *self._texts.sizes)
        if cap_feats.shape[1] != sum(sizes):  # of another pack
            return embed(x, cap_feats, *args, offset=offset, **more)
        common, *texts = cap_feats.split(sizes, dim=1)
        with called_alone(0):  # 0: the common text
            tokens, rotations, next_position = embed(x, common, *args, offset=offset, **more)
        # tokens, rotations: a tuple each of what is made of the text and of the picture. Words are put behind the text.
        embed_caption = partial(self._texts.network.embed_cap, bsz=1, device=x.device, dtype=x.dtype)
        # Everybody's words end where the common text ends.
        end_of_common = offset + self._texts.padded(self._texts.common)
        call = _CaptionCall(embed_caption, end=end_of_common, padded=self._texts.padded)
        make = partial(self._caption_of_words, call, texts)
        words = self._kept_or_made("captions", make, cap_feats, self._texts.network.cap_embedder.modules(), {})
        all_tokens = torch.cat([tokens[0], words.tokens], dim=1)
        all_rotations = torch.cat([rotations[0], words.rotations], dim=1)
        return (all_tokens, *tokens[1:]), (all_rotations, *rotations[1:]), next_position

    def _caption_of_words(self, call: _CaptionCall, texts: Sequence[Tensor]) -> _Caption:
        """The captions of everybody's words, each embedded by itself, side by side.

        texts: (B, T, text width) of each slot.
        """
        captions: list[_Caption] = []
        pairs = zip(self._texts.slots, texts, strict=True)
        for number, (slot, text) in enumerate(pairs, 1):  # 0 is the common text
            if not slot.is_full:
                captions.append(self._caption_of_rows(call, slot, number, text))
            elif text.shape[1]:
                captions.append(call.of_text(number, text))
        tokens = torch.cat([caption.tokens for caption in captions], dim=1)
        return _Caption(tokens, torch.cat([caption.rotations for caption in captions], dim=1))

    def _caption_of_rows(self, call: _CaptionCall, slot: TextSlot, number: int, text: Tensor) -> _Caption:
        """The caption of a slot in which rows have words of different lengths, or none; zeros fill the slot up.

        Rows with equally many words are embedded in one call. number: of the text. text: (B, tokens of the slot,
        width).
        """
        size = self._texts.padded(slot.tokens)  # tokens of the slot, as the blocks are given it
        captions: dict[int, _Caption] = {}  # by the number of tokens of the words
        for length, rows in slot.rows_of_lengths.items():
            # Here the words stand first in the slot, with zeros behind, see TextSlot.words_on.
            captions[length] = call.of_text(number, text[rows, :length], rows)
        # The rotations of the longest words are those of the whole slot: shorter words end at the same position.
        longest = captions[slot.tokens]
        out = longest.tokens.new_zeros(self._texts.row_count, size, longest.tokens.shape[-1])
        for length, rows in slot.rows_of_lengths.items():
            tokens = captions[length].tokens
            # Zeros in front of the words, because the positions of all texts end where the picture's begin.
            out[rows, size - tokens.shape[1] :] = tokens
        return _Caption(out, longest.rotations)


class _Refiner:
    """A refiner of a network, in which all tokens of a text read each other."""

    def __init__(self, texts_alone: TextsAlone, block: nn.Module) -> None:
        self._texts_alone = texts_alone
        self._modules = [*block.modules()]

    def call_by_text(self, block: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the refiner gives of all texts, (B, T, C). block: its own forward. x: all texts, (B, T, ...)."""
        return self._texts_alone.refined(_BlockCall(block, x, args, kwargs), self._modules)
