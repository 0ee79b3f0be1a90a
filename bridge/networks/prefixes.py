"""Prefixes of people beside the network's own, in families whose text and references are a causal prefix.

Nothing in a prefix reads the picture or the time of the step. So it is computed once, by a call of the network with
hardly any picture, and its keys and values are kept for all steps, or as long as the same LoRAs act. In a step the
picture's tokens, the target, read them beside the network's own prefix, which is left to the host as it is, with the
cache that the host has for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core.attention.spans import Span, TokenKind, Tokens
from ...core.attention.token_groups import AnySplit
from ..host.unet import Options, with_patch
from ..sampling.current_forward import called_for
from ..sampling.forward import ForwardShape, argument
from .attention import Reading, around_attention, with_reading, without_readings
from .model_family import tokens_of
from .split_batch import SplitBatch

_CACHE = "qwen_image21_cache"
"""The host's own option: what its cache of the prefix does."""


class PrefixInput(NamedTuple):
    """What the network is given of a prefix.

    text: (B, T, width). references: a latent each, (B, C, h, w). slots: how many tokens of the text stand in front of
    each of the first references; all others stand behind the text.
    """

    text: Tensor
    references: tuple[Tensor, ...]
    slots: tuple[int, ...]

    def copied(self) -> PrefixInput:
        """A copy, which stays as it is where another pack writes into what the network is given."""
        references = tuple(reference.clone() for reference in self.references)
        return PrefixInput(self.text.clone(), references, self.slots)

    def is_same(self, other: PrefixInput) -> bool:
        return (
            self.all_slots == other.all_slots
            and len(self.references) == len(other.references)
            and all(map(_is_equal, (self.text, *self.references), (other.text, *other.references)))
        )

    @property
    def all_slots(self) -> list[int]:
        """One for each reference."""
        end = self.text.shape[1]
        return [*self.slots, *[end] * len(self.references)][: len(self.references)]

    @property
    def picture_position(self) -> int:
        """The position of the picture on the first axis: behind the text, and behind each reference by its longer
        side."""
        return self.text.shape[1] + sum(max(reference.shape[-2:]) for reference in self.references)

    def without(self, left_out: Iterable[int]) -> PrefixInput:
        """The same without some references. left_out: their numbers."""
        numbers = [number for number in range(len(self.references)) if number not in {*left_out}]
        references = tuple(self.references[number] for number in numbers)
        return PrefixInput(self.text, references, tuple(self.all_slots[number] for number in numbers))


def given_to_network(args: Sequence[Any], kwargs: Mapping[str, Any]) -> PrefixInput:
    """Of what the network makes its own prefix. args, kwargs: its arguments behind the latent."""
    text: Tensor = argument(args, 1, kwargs, "context")
    references = argument(args, 2, kwargs, "ref_latents") or ()
    slots = argument(args, 3, kwargs, "image_slots") or ()
    return PrefixInput(text, tuple(references), tuple(slots))


def without_kept_prefix(options: Options) -> Options:
    """A copy of transformer_options by which the host keeps no prefix of the network's own."""
    return {**options, _CACHE: {"device": "off"}}


def may_be_kept(options: Options) -> bool:
    """Whether a prefix serves later steps too: not beside a function of another pack in front of the blocks or in them,
    which may do otherwise there. The host keeps none either, then. options: transformer_options, without ours."""
    patches = options.get("patches", {})
    in_blocks = any(patches.get(kind) for kind in ("post_input", "single_block", "attn1_patch"))
    return not in_blocks and not options.get("patches_replace", {}).get("dit")


def _is_equal(tensor: Tensor, other: Tensor) -> bool:
    return tensor.shape == other.shape and torch.equal(tensor, other)


def spans_of(prefix: PrefixInput, left_out: Sequence[int] = ()) -> list[Span]:
    """The tokens of a prefix without some of its references, in their order, with the numbers of all references."""
    spans: list[Span] = []
    length = 0  # of the piece of text that is still to be put in
    bounds = [0, *prefix.all_slots, prefix.text.shape[1]]
    for number, (start, end) in enumerate(pairwise(bounds)):
        length += end - start
        is_read = number < len(prefix.references) and number not in left_out
        is_last = number == len(prefix.references)
        if length and (is_read or is_last):
            spans.append(Span(TokenKind.TEXT, length))
            length = 0
        if is_read:
            spans.append(Span(TokenKind.REFERENCE, math.prod(prefix.references[number].shape[-2:]), number=number))
    return spans


def positions_of(prefix: PrefixInput, target: torch.Size, left_out: Sequence[int] = ()) -> Tensor:
    """The positions of a prefix without some of its references, and of one token behind it: (tokens + 1, 3).

    They are as the network has them with all references, which stand around the middle of the target. target: the shape
    of its latent, (B, C, h, w).
    """
    positions: list[Tensor] = []
    position = 0
    bounds = [0, *prefix.all_slots, prefix.text.shape[1]]
    for number, (start, end) in enumerate(pairwise(bounds)):
        count = torch.arange(position, position + end - start, dtype=torch.float32)
        positions.append(count[:, None].expand(-1, 3))
        position += end - start
        if number == len(prefix.references):
            break
        height, width = prefix.references[number].shape[-2:]
        if number not in left_out:
            rows = _around_middle(height, target[-2])[:, None].expand(height, width)
            columns = _around_middle(width, target[-1])[None].expand(height, width)
            depth = torch.full((height, width), position, dtype=torch.float32)
            positions.append(torch.stack([depth, rows, columns], dim=-1).flatten(0, 1))
        position += max(height, width)
    positions.append(torch.full((1, 3), position, dtype=torch.float32))
    return torch.cat(positions)


def _around_middle(side: int, of_target: int) -> Tensor:
    """The positions of the rows or columns of a reference, (side,), where the target has so many."""
    # Half a token where one of both has an odd side and the other has not.
    return torch.arange(side, dtype=torch.float32) - (side - side // 2) + 0.5 * (side % 2 - of_target % 2)


BlockKeys = tuple[Tensor, Tensor]
"""Keys and values of a prefix in one block, (B, tokens, heads * d) each."""
Segments = Mapping[tuple[int, int], AnySplit]
"""How the attentions of a prefix are split, by the number of queries and of keys."""


@dataclass(frozen=True, eq=False)
class _SegmentReading:
    """The Reading of a prefix while it is computed."""

    segments: Segments

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        return self.segments.get((queries, keys))


@dataclass(eq=False)
class _Recorder:
    """Takes the keys and values of a prefix of so many tokens out of the attentions of a forward, block by block."""

    tokens: int
    blocks: list[BlockKeys] = field(default_factory=list[BlockKeys])

    def attend(self, attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, *args: Any, **more: Any) -> Tensor:
        if k.shape[1] > self.tokens:  # the attention of the target, which reads all of the prefix
            self.blocks.append((k[:, : self.tokens].contiguous(), v[:, : self.tokens].contiguous()))
        return attend(q, k, v, *args, **more)


def computed(
    network: Any,
    prefix: PrefixInput,
    positions: Tensor,
    segments: Segments,
    channels: int,
    options: Options,
    owner: str | None,
    rows: Sequence[int] | None = None,
) -> list[BlockKeys]:
    """The keys and values of a prefix in every block.

    positions: as positions_of gives them. channels: of the target's latent. options: the transformer_options of the
    forward that reads the prefix; what other packs have put into layers acts in it, too. owner: the name of the person
    whose LoRAs act in all of it; None for nobody's. rows: of the batch, whose prefix it is; None for all.
    """
    recorder = _Recorder(len(positions) - 1)

    def with_positions(inputs: Options) -> Options:
        """A post_input patch. While there is one the host keeps no prefix."""
        rotations = network.pe_embedder(positions.to(inputs["img"].device)[None])
        return {**inputs, "pe": rotations.transpose(1, 2).contiguous()}

    own = without_kept_prefix(without_readings(options))
    own.pop(_PREFIXES, None)
    own = with_patch(own, "post_input", with_positions)
    if segments:
        own = with_reading(own, _SegmentReading(segments))
    own = around_attention(own, recorder.attend)
    text = prefix.text
    pixel = text.new_zeros(len(text), channels, 1, 1)  # a target of one token
    time = text.new_zeros(len(text))  # any: the prefix has that of 0
    with called_for(Tokens.of_one(recorder.tokens, owner, rows)):
        network._forward(pixel, time, text, list(prefix.references), list(prefix.slots), own)
    return recorder.blocks


@dataclass(frozen=True, eq=False)
class ReadPrefix:
    """A prefix that the target reads beside the network's own. blocks: its keys and values. tokens: how many it has."""

    blocks: Sequence[BlockKeys]
    tokens: int


_PREFIXES = "likeness_prefixes"
"""Key of transformer_options inside of a forward: its TargetKeys."""


@dataclass(frozen=True, eq=False)
class TargetKeys:
    """What the target reads in a forward. own: tokens of the network's own prefix. target: of the target. prefixes: all
    others, in their order behind the target."""

    own: int
    target: int
    prefixes: tuple[ReadPrefix, ...] = ()

    @property
    def total(self) -> int:
        return self.own + self.target + sum(prefix.tokens for prefix in self.prefixes)

    def start_of(self, prefix: ReadPrefix) -> int:
        """The number of the first key of a prefix."""
        before = self.prefixes[: self.prefixes.index(prefix)]
        return self.own + self.target + sum(one.tokens for one in before)

    def is_target(self, queries: int, keys: int) -> bool:
        """Whether an attention of so many queries and keys, without other prefixes, is the target's."""
        return queries == self.target and keys == self.own + self.target


def read_by_target(options: Options, queries: int, keys: int) -> TargetKeys | None:
    """What the target reads, if an attention of so many queries and keys is the target's with all prefixes; else
    None."""
    of_target: TargetKeys | None = options.get(_PREFIXES)
    is_targets = of_target is not None and (queries, keys) == (of_target.target, of_target.total)
    return of_target if is_targets else None


class PrefixBatch(SplitBatch):
    """A batch by which the target reads prefixes beside the network's own.

    latent: the shape of the target's, (B, C, h, w). given: of what the network makes its own prefix in this forward.
    """

    # The host looks for room for its cache, at which torch.compile breaks the graph and compiles the blocks one by one.
    # They would find the keys of the block for which they were compiled: the host lets torch.compile forget what they
    # have read of transformer_options.
    may_be_compiled = False
    given: PrefixInput

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape)
        self.latent = forward_shape.latent
        self._target = tokens_of(forward_shape.model, forward_shape.latent)

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """args and kwargs as they are: `given` is what they bring."""
        self.given = given_to_network(args, kwargs)
        return args, kwargs

    def with_read(self, options: Options, prefixes: Sequence[ReadPrefix], reading: Reading) -> Options:
        """A copy of transformer_options in which the target reads these prefixes, too.

        reading: which tokens read which of them.
        """
        own = sum(span.count for span in spans_of(self.given))
        before: TargetKeys = options.get(_PREFIXES) or TargetKeys(own, self._target)
        with_keys = {**options, _PREFIXES: TargetKeys(own, self._target, (*before.prefixes, *prefixes))}
        # What divides attention is called with the keys of all prefixes, so their function stands around it.
        with_keys = with_reading(with_keys, reading)
        return with_keys if _PREFIXES in options else around_attention(with_keys, _attend_with_prefixes)


def _attend_with_prefixes(
    attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """What an attention gives with the keys of all prefixes, if it is the target's; as in around_attention."""
    options: Options = kwargs["transformer_options"]
    keys: TargetKeys | None = options.get(_PREFIXES)
    if keys is not None and keys.is_target(q.shape[1], k.shape[1]):
        blocks = [prefix.blocks[options["block_index"]] for prefix in keys.prefixes]
        k = torch.cat([k, *(keys_of_one for keys_of_one, _ in blocks)], dim=1)
        v = torch.cat([v, *(values_of_one for _, values_of_one in blocks)], dim=1)
    return attend(q, k, v, *args, **kwargs)
