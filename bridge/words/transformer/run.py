"""Words of single people in a transformer, while the sampler runs: the run, and what it does in each forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ....core.attention.spans import Tokens
from ....core.checks.errors import BadSetup
from ...host.unet import Options
from ...networks.attention import with_reading
from ...networks.model_family import network_of, taken_family, tokens_of
from ...networks.patched_methods import patched_inputs, patched_text_readers, with_input_patch
from ...networks.split_batch import SplitBatch
from ...sampling.carried import ConditioningLost, PerChunk, rows_of_nodes
from ...sampling.forward import Batch, ForwardShape, argument
from ...sampling.runs import Kind, Run, when_acting
from ...sampling.watch import DueCalls
from .forward_texts import ForwardTexts
from .prefix import PrefixWordsBatch
from .reading import WordsReading
from .refined import patched_refiners
from .slots import slots_of
from .words import TransformerWords


def _new_batch(run: Run, acting: tuple[PerChunk[TransformerWords], ...], forward_shape: ForwardShape) -> Batch:
    """The batch of a forward. Raises ConditioningLost where other packs have joined rows of different nodes' words."""
    mixed = ConditioningLost("", "joins rows in which different words are read")
    by_node = rows_of_nodes(acting, forward_shape.row_count, mixed, may_differ=True)
    # Rows that share a TransformerWords share what is made of it.
    as_read = {words: _as_read(words, forward_shape) for of_rows in by_node for words in of_rows}
    family = taken_family(forward_shape.model)
    if family.prefix:
        of_nodes = [slots_of([as_read[words] for words in of_rows], forward_shape, family) for of_rows in by_node]
        return PrefixWordsBatch([slot for slots in of_nodes for slot in slots], forward_shape)
    return TransformerWordsBatch([[as_read[words] for words in of_rows] for of_rows in by_node], forward_shape)


TRANSFORMER_WORDS = Kind(TransformerWords.key, when_acting(_new_batch))
"""Words of people that a transformer reads by region."""


def _as_read(words: TransformerWords, forward_shape: ForwardShape) -> TransformerWords:
    """The words as the blocks read them, without T5Tokens.

    Where a text has T5Tokens, the network makes one text of both, as it does of a prompt. Words without any stay as
    they are.
    """
    if not words.t5:
        return words
    network = network_of(forward_shape.model)
    like = forward_shape.empty_like_network()
    texts = list(words.texts)
    for number, t5 in enumerate(words.t5):
        if t5 is not None:
            t5_numbers, weights = t5.numbers.to(like.device), t5.weights.to(like)
            texts[number] = network.preprocess_text_embeds(texts[number].to(like), t5_numbers, weights)
    return replace(words, texts=tuple(texts), t5=())


_TEXT_PLACE = 1
"""The place of the text among the arguments by position, behind the timestep."""


@dataclass
class _Arguments:
    """The arguments of a network, of which other packs give some by position and some by name."""

    by_position: list[Any]
    by_name: dict[str, Any]

    def change(self, place: int | None, name: str, changed: Callable[[Any], Any]) -> None:
        """Put what `changed` makes of an argument in its place. Nothing happens where the call does not have it.

        place: by position; None where the network takes no such argument. name: by which it may be given instead.
        """
        if place is None:
            return
        if place < len(self.by_position):
            self.by_position[place] = changed(self.by_position[place])
        elif name in self.by_name:
            self.by_name[name] = changed(self.by_name[name])


class TransformerWordsBatch(SplitBatch):
    """Attention in which words are read by region, and what has to stand in the network for it.

    nodes: for each node one TransformerWords, which all rows have, or one for each row.
    """

    def __init__(self, nodes: Sequence[Sequence[TransformerWords]], forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape)
        family = self.family
        slots = [slot for node in nodes for slot in slots_of(node, forward_shape, family)]
        # How long all texts are, and which of the tokens are whose.
        self._texts = ForwardTexts(slots, forward_shape)
        device = self._device = forward_shape.device
        # Words come behind the common text in a network that refines texts; in others with the text that it is given.
        self._patched_refiners = patched_refiners(self._texts)
        self._words: Tensor | None = None
        if not self._patched_refiners:
            words = [slot.words_on(device).expand(self.row_count, -1, -1) for slot in slots]
            self._words = torch.cat(words, dim=1)  # (rows, tokens of all slots, width)
        # Who reads which words.
        self._reading = WordsReading(self._texts, tokens_of(forward_shape.model, forward_shape.latent), self.calls)
        # What else stands in the network.
        self._patched = [
            *patched_inputs(self.network, family, self._reading.with_positions),
            *patched_text_readers(self.network, family),
        ]

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """The parts that attend to words, and the methods that refine texts."""
        refiners = {patched: patched.module for patched in self._patched_refiners}
        return {**super().due_calls(modules), **refiners}

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """args and kwargs of the network with everybody's words behind the text, but for words that it refines.

        The text's mask is made to fit. It sets `_texts.common` to the length of this text.
        Raises BadSetup for a mask of text and picture together.
        """
        # By name alone: networks with such a mask take it among their **kwargs, so it has no place.
        if self.family.joint_mask and kwargs.get("attention_mask") is not None:
            raise BadSetup(
                "A node in front (Apply Style Model at another strength than 1) has put an attention mask into the "
                "conditioning, which knows nothing of the words of single people.",
                "Set strength_type of that node to multiply and strength to 1, or take it out.",
            )
        text: Tensor = argument(args, _TEXT_PLACE, kwargs, "context")
        self._texts.common = text.shape[1]  # a wrapper of another pack may have changed the text
        if self._words is None:
            return args, kwargs
        with_words = torch.cat([text, self._words.to(text)], dim=1)
        arguments = _Arguments(list(args), dict(kwargs))
        arguments.change(_TEXT_PLACE, "context", lambda _: with_words)
        arguments.change(self.family.mask_place, "attention_mask", self._lengthened)
        return tuple(arguments.by_position), arguments.by_name

    def _lengthened(self, mask: Tensor | None) -> Tensor | None:
        """The network's mask of the text, (B, T), with everybody's words behind it, which are read: (B, T + words).

        A mask of whole numbers has 1 where the text is read. One of floats is added to the logits, so it has 0 there.
        """
        if mask is None:
            return None
        value = 0.0 if mask.is_floating_point() else 1
        return functional.pad(mask, (0, sum(self._texts.sizes)), value=value)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While this context is open, all that the words need stands in the network.

        Calls of what refines texts are counted in `calls`, so that one which another pack passes over is told of.
        """
        with ExitStack() as stack:
            for patched in self._patched_refiners:
                stack.enter_context(patched.in_place(self.calls))
            stack.enter_context(super().prepared())
            for patched in self._patched:
                stack.enter_context(patched.in_place())
            yield

    def in_tokens(self, before: Tokens) -> Tokens:
        return super().in_tokens(before).with_words(self._texts.spans())

    def get_ready(self, tokens: Tokens) -> None:
        self._reading.get_ready(tokens, self._device)

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with the split attention and the positions of words."""
        options = super().options_for_network(options, tokens)
        options = with_input_patch(options, self.family, self._reading.with_positions)
        return with_reading(options, self._reading)
