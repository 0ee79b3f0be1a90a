"""People's words, refined by the network as if each were its only text, where the tokens of a text read each other.

Some networks let them do so before their blocks, in refiners of the text; Z-Image also fills up a text and counts its
positions. None of that reads the picture or the time of the step. So people's words are refined once, and kept for the
next steps. The network is given the common text alone, and the refined words are put behind what it makes of that:

    Krea 2     txtfusion    the common text, refined, and words behind it
    Z-Image    embed_all    the common text, not yet refined, and words behind it
               refiners     each refines the common text; words pass by

What another pack does to the text that a network is given is done to the common text, wherever that pack stands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...host.unet import Options
from ...networks.attention import others_attend
from ...networks.patched_methods import PatchedMethod
from ...sampling.code_of_others import changed_by_others, is_of_others
from ...sampling.current_forward import added_to_layers, called_alone, current
from .forward_texts import ForwardTexts
from .slots import TextSlot


@dataclass(frozen=True)
class Refined:
    """A text as the blocks of a network are given it.

    tokens: (rows, T, C). rotations: of their positions, (1, T, ...); None where the network makes them of all texts.
    """

    tokens: Tensor
    rotations: Tensor | None = None


@dataclass(frozen=True)
class Refiner:
    """How a network refines one text in a forward.

    refine: called with a text, (rows, T, width). like: a tensor on the device and in the dtype of the texts. options:
    the transformer_options with which it attends. end: the position at which every text ends; 0 where all tokens of
    texts have one position.
    """

    refine: Callable[[Tensor], Refined]
    like: Tensor
    options: Options
    end: int = 0


class RefinedWords:
    """People's words behind the common text of a network that refines its texts.

    It lives as long as the forwards of one network, with the same weights, that carry the same words.
    """

    def __init__(self, texts: ForwardTexts) -> None:
        self.texts = texts
        self.network: Any = texts.network
        self.refiners = texts.network.get_submodule(texts.family.refiners)
        self._kept: dict[Hashable, Refined] = {}

    def patched(self) -> list[PatchedMethod]:
        """The functions in the place of the network's methods that refine a text."""
        raise NotImplementedError

    def is_of_host(self) -> bool:
        """Whether the host's code alone refines a text, attention aside."""
        return not changed_by_others(self.refiners.modules())

    def of_everybody(self, refiner: Refiner) -> Refined:
        """Everybody's words, side by side, made once where nothing can make them others in the next step."""
        if torch.compiler.is_compiling():  # with what is kept, torch.compile would make another graph
            return self._new(refiner)
        if others_attend(refiner.options) or not self.is_of_host():  # they may do otherwise in the next step
            return self._new(refiner)
        # LoRAs of people that are on for a part of the schedule have another mark then.
        key = added_to_layers(), refiner.like.dtype, refiner.end
        if key not in self._kept:
            self._kept[key] = self._new(refiner)
        return self._kept[key]

    def _new(self, refiner: Refiner) -> Refined:
        of_slots: list[Refined] = []
        for number, slot in enumerate(self.texts.slots, 1):  # 0 is the common text
            if slot.tokens:
                words = slot.words_on(refiner.like.device).expand(self.texts.row_count, -1, -1).to(refiner.like)
                of_slots.append(self._of_slot(refiner, number, slot, words))
        tokens = torch.cat([refined.tokens for refined in of_slots], dim=1)
        rotations = [refined.rotations for refined in of_slots if refined.rotations is not None]
        return Refined(tokens, torch.cat(rotations, dim=1) if rotations else None)

    def _of_slot(self, refiner: Refiner, number: int, slot: TextSlot, words: Tensor) -> Refined:
        """The words in a slot, with zeros for what fills it up in rows that have fewer, or none.

        Rows with equally many words are refined in one call. number: of the text, as CurrentTexts counts. words: (B,
        tokens of the slot, width).
        """
        if slot.is_full:
            with called_alone(number):
                return refiner.refine(words)
        by_length: dict[int, Refined] = {}
        for length, rows in slot.rows_of_lengths.items():
            with called_alone(number, rows):
                # Here the words stand first in the slot, with zeros behind, see TextSlot.words_on.
                by_length[length] = refiner.refine(words[rows, :length])
        longest = by_length[slot.tokens]
        size = longest.tokens.shape[1]
        tokens = longest.tokens.new_zeros(len(words), size, longest.tokens.shape[2])
        for length, rows in slot.rows_of_lengths.items():
            filler = self.texts.filler(slot, rows[0])  # of all these rows: they have equally many words
            tokens[rows, filler.front : size - filler.behind] = by_length[length].tokens
        # Those of the longest words are those of the whole slot: shorter words end at the same position.
        return Refined(tokens, longest.rotations)


class WordsBehindModule(RefinedWords):
    """Words in a network with one module that refines a text, which gives each of its tokens in its place: Krea 2."""

    def patched(self) -> list[PatchedMethod]:
        return [PatchedMethod(self.refiners, "forward", self._refine)]

    def _refine(self, module: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the module gives of the common text, (B, T, C), with everybody's words behind it.

        module: its own forward. x: the common text, (B, T, ...).
        """
        with called_alone(0):
            common = module(x, *args, **kwargs)

        def refine(text: Tensor) -> Refined:
            return Refined(module(text.unflatten(-1, x.shape[2:]), *args, **kwargs))

        refiner = Refiner(refine, x, kwargs.get("transformer_options", {}))
        return torch.cat([common, self.of_everybody(refiner).tokens], dim=1)


class WordsBehindCaption(RefinedWords):
    """Words in Z-Image, whose method embed_cap brings a text to the network's width, fills it up, and gives it
    positions."""

    def patched(self) -> list[PatchedMethod]:
        blocks = [PatchedMethod(block, "forward", self._refine) for block in self.refiners]
        return [PatchedMethod(self.network, "embed_all", self._embed_all), *blocks]

    def is_of_host(self) -> bool:
        called = self.network.embed_cap, self.network.rope_embedder.forward
        of_others = any(map(is_of_others, called)) or changed_by_others(self.network.cap_embedder.modules())
        return super().is_of_host() and not of_others

    def _embed_all(
        self,
        embed: Callable[..., Any],
        x: Tensor,
        cap_feats: Tensor,
        *args: Any,
        offset: int = 0,
        **kwargs: Any,
    ) -> Any:
        """What embed_all gives, with everybody's words, refined, behind the common text.

        embed: the network's embed_all. x: the picture's latent. cap_feats: the common text, (B, T, text width). offset:
        the position in front of it.
        """
        self.texts.common = cap_feats.shape[1]  # a wrapper of another pack, inside of ours, may have changed it
        with called_alone(0):
            tokens, rotations, next_position = embed(x, cap_feats, *args, offset=offset, **kwargs)
        # Everybody's words end where the common text ends, because the picture's positions begin there.
        end = offset + self.texts.padded(self.texts.common)
        options: Options = kwargs.get("transformer_options", {})

        def refine(text: Tensor) -> Refined:
            start = end - self.texts.padded(text.shape[1])
            caption = self.network.embed_cap(text, offset=start, bsz=1, device=x.device, dtype=x.dtype)
            # A tuple with the tokens, one with their rotations, and the number of tokens before filling up.
            (refined, *_), (own_rotations, *_), _ = caption
            for block in self.refiners:
                refined = block(refined, None, own_rotations, transformer_options=options)
            return Refined(refined, own_rotations)

        words = self.of_everybody(Refiner(refine, cap_feats, options, end))
        assert words.rotations is not None
        # tokens, rotations: a tuple each of what is made of the text and of the picture.
        all_tokens = torch.cat([tokens[0], words.tokens], dim=1)
        all_rotations = torch.cat([rotations[0], words.rotations], dim=1)
        return (all_tokens, *tokens[1:]), (all_rotations, *rotations[1:]), next_position

    def _refine(
        self, block: Callable[..., Tensor], x: Tensor, mask: None, rotations: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """What a refiner gives of the common text, with everybody's words, which are refined already, behind it.

        block: its own forward. x: (B, T, C); or one person's words alone, while these are refined. rotations: (1, T,
        ...).
        """
        assert current.texts is not None
        if current.texts.alone is not None:
            return block(x, mask, rotations, *args, **kwargs)
        end = x.shape[1] - sum(map(self.texts.padded, self.texts.sizes))  # of the common text
        with called_alone(0):
            common = block(x[:, :end], mask, rotations[:, :end], *args, **kwargs)
        return torch.cat([common, x[:, end:]], dim=1)
