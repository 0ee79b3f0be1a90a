"""Words behind the common text in networks that refine a text before they read it: they come to the refiners, too.

    Krea 2     txtfusion    refines all texts
    Z-Image    embed_all    fills a text up and gives it positions: the common text, and then each person's words
               refiners     refine all texts

In a refiner words read themselves alone, as if they were the only text (reading.py). What another pack does to the text
that a network is given is done to the common text, wherever that pack stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....core.attention.spans import NO_TOKENS, Tokens
from ...host.unet import Options
from ...networks.forward_tokens import TOKENS
from ...networks.patched_methods import REFINER, PatchedMethod, WithOption
from ...sampling.current_forward import called_for, layers_are_given
from .forward_texts import ForwardTexts
from .slots import TextSlot


def patched_refiners(texts: ForwardTexts) -> list[PatchedMethod]:
    """What stands in a network that refines texts, and puts everybody's words behind the common one; [] in others."""
    if not texts.family.refiners:
        return []
    blocks = texts.network.get_submodule(texts.family.refiners).children()
    refiners = [PatchedMethod(block, "forward", WithOption(REFINER, True).call_module) for block in blocks]
    return [_words_in_front_of(texts), *refiners]


def _words_in_front_of(texts: ForwardTexts) -> PatchedMethod:
    """What puts words behind the common text before these come to the refiners."""
    if texts.family.own_captions:
        return PatchedMethod(texts.network, "embed_all", WordsAsCaptions(texts).embed_all)
    module, _, _ = texts.family.refiners.rpartition(".")
    return PatchedMethod(texts.network.get_submodule(module), "forward", WordsBehindText(texts).refine)


class WordsBehindText:
    """Words in a network with one module that is given the text, and in which the refiners stand: Krea 2."""

    def __init__(self, texts: ForwardTexts) -> None:
        self._texts = texts

    def refine(self, module: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the module gives of the common text and everybody's words. x: the common text, (B, T, ...)."""
        of_slots = [slot.words_on(x.device).expand(len(x), -1, -1) for slot in self._texts.slots]
        words = torch.cat(of_slots, dim=1).to(x)
        return module(torch.cat([x, words.unflatten(-1, x.shape[2:])], dim=1), *args, **kwargs)


class _Caption(NamedTuple):
    """A text as embed_cap gives it. tokens: (rows, T, C). rotations: of their positions, (1, T, ...)."""

    tokens: Tensor
    rotations: Tensor


class WordsAsCaptions:
    """Words in Z-Image, whose method embed_cap brings a text to the network's width, fills it up, and gives it
    positions."""

    def __init__(self, texts: ForwardTexts) -> None:
        self._texts = texts

    def embed_all(
        self,
        embed: Callable[..., Any],
        x: Tensor,
        cap_feats: Tensor,
        *args: Any,
        offset: int = 0,
        **kwargs: Any,
    ) -> Any:
        """What embed_all gives, with everybody's words behind the common text.

        embed: the network's embed_all. x: the picture's latent. cap_feats: the common text, (B, T, text width). offset:
        the position in front of it.
        """
        common = cap_feats.shape[1]
        self._texts.common = common  # a wrapper of another pack, inside of ours, may have changed it
        options: Options = kwargs.get("transformer_options", {})
        tokens: Tokens = options.get(TOKENS, NO_TOKENS)
        with called_for(tokens.with_text_alone(common)):
            embeds, rotations, next_position = embed(x, cap_feats, *args, offset=offset, **kwargs)
        # Everybody's words end where the common text ends, because the picture's positions begin there.
        end = offset + self._texts.padded(self._texts.common)
        captions = [self._of_slot(slot, end, cap_feats) for slot in self._texts.slots if slot.tokens]
        # embeds, rotations: a tuple each of what is made of the text and of the picture.
        all_texts = torch.cat([embeds[0], *(caption.tokens for caption in captions)], dim=1)
        all_rotations = torch.cat([rotations[0], *(caption.rotations for caption in captions)], dim=1)
        # From now on layers and attentions are given so many tokens of all texts.
        options[TOKENS] = tokens.in_blocks(all_texts.shape[1], tokens.picture_count)
        layers_are_given(options[TOKENS])
        return (all_texts, *embeds[1:]), (all_rotations, *rotations[1:]), next_position

    def _of_slot(self, slot: TextSlot, end: int, like: Tensor) -> _Caption:
        """The words in a slot, with zeros in front of those of rows that have fewer, or none.

        Rows with equally many words are embedded in one call. end: the position at which every text ends. like: a text
        of the forward.
        """
        words = slot.words_on(like.device).expand(len(like), -1, -1).to(like)
        if slot.is_full:
            return self._embedded(slot, words, end)
        by_length = {
            # Here the words stand first in the slot, with zeros behind, see TextSlot.words_on.
            length: self._embedded(slot, words[rows, :length], end, rows)
            for length, rows in slot.rows_of_lengths.items()
        }
        longest = by_length[slot.tokens]
        tokens = longest.tokens.new_zeros(len(words), *longest.tokens.shape[1:])
        for length, rows in slot.rows_of_lengths.items():
            tokens[rows, self._texts.filler(slot, rows[0]).front :] = by_length[length].tokens
        # Those of the longest words are those of the whole slot: shorter words end at the same position.
        return _Caption(tokens, longest.rotations)

    def _embedded(self, slot: TextSlot, words: Tensor, end: int, rows: Sequence[int] | None = None) -> _Caption:
        """One text by embed_cap. words: (rows, T, text width). rows: of the batch; None for all. See `_of_slot`."""
        start = end - self._texts.padded(words.shape[1])
        with called_for(Tokens.of_one(words.shape[1], slot.owner, rows)):
            embedded = self._texts.network.embed_cap(words, offset=start, bsz=1, device=words.device, dtype=words.dtype)
        # A tuple with the tokens, one with their rotations, and the number of tokens before filling up.
        (tokens, *_), (rotations, *_), _ = embedded
        return _Caption(tokens, rotations)
