"""Text that is read in parts of the picture only: words about one person, or the ID tokens of ID-Patch.

Nothing is computed twice: every pixel's cross-attention reads the common text and, of the rest, what belongs to the
people near it, in one softmax. Where everybody is read everywhere that is plain cross-attention over all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import comfy.conds
import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from comfy.samplers import CFGGuider
from torch import Tensor

from ..core.attention import EVERYBODY, EXCLUDED, NOBODY, Block, region_bias
from .carried import Carried, CarriedCond, ConditioningLost, put
from .conditioning import ID_TOKENS, Canvas, Conditioning, Entry, IDTokens
from .cross_attention import WHOSE, CrossAttentionBatch, CrossAttentionRun, Patch, Place, as_many, deaf_layers, rows_of
from .runs import Given, entries, modules_of
from .schedule import WHOLE_SCHEDULE
from .unet import Grid, Options, Replacement, attend_with, check_tokens, grid_of, with_patch

_AT_ONCE = 16
"""Keys. A CPU takes so many at a time and what is left one by one, and CUDA copies a mask whose rows are not a multiple
of 8: both cost more than a few keys that nobody reads."""


@dataclass(frozen=True, eq=False)
class RegionalText(Carried):
    """What one node adds to, or says of, one side of the conditioning.

    regions: (people, H, W) of the whole picture; how strongly each person's text is read there: 0 not at all, 1 as
    the text that everybody reads, 2 as if it were there twice.
    counts: tokens per person. canvas: what the regions are parts of, or None for the whole picture.
    tokens: (B, sum of counts, width) float32 CPU, read by the UNet behind the text; or None where they stand in it.
    start: where they stand. length: of the text of their entry, and inside: the tokens that stand in it, (B, sum of
    counts, width), both once a run has begun.
    """

    key = "likeness_regional_text"
    regions: Tensor
    counts: tuple[int, ...]
    canvas: Canvas | None
    tokens: Tensor | None = None
    start: int = 0
    length: int = 0
    inside: Tensor | None = None

    @property
    def active(self) -> bool:
        return bool(self.counts)

    @property
    def added(self) -> int:
        """Tokens behind the text."""
        return 0 if self.tokens is None else self.tokens.shape[1]

    def alike(self, other: Any) -> bool:
        return True  # what one row has too few is filled with tokens that nobody reads

    def known(self, text: Tensor) -> RegionalText:
        """In an entry with this text, (B, T, width)."""
        return replace(self, length=text.shape[1], inside=text[:, self.start : self.start + self.standing])

    def repeats(self, text: int) -> int:
        """How often an entry's text stands in one of this many tokens: the host repeats texts until all of a batch are
        equally long."""
        return text // self.length

    @property
    def standing(self) -> int:
        """Tokens in the text."""
        return sum(self.counts) if self.tokens is None else 0

    def among(self, text: int) -> Tensor:
        """Which tokens of a text of this many are its own, in order."""
        own = torch.arange(self.start, self.start + self.standing)
        return torch.cat([own + repeat * self.length for repeat in range(self.repeats(text))])

    def taken_out(self, length: int) -> RegionalText:
        """With its tokens behind the text of its entry, of which this many tokens are left."""
        tokens = self.inside if self.tokens is None else self.tokens
        return self.piece(("taken out", length), lambda: replace(self, tokens=tokens, length=length))

    def owners(self, first: int) -> Tensor:
        """(sum of counts,): per token the person's number from `first` on."""
        counts = torch.tensor(self.counts, dtype=torch.long)
        return torch.arange(first, first + len(counts)).repeat_interleave(counts)


def spoken(tokens: Sequence[Tensor], regions: Tensor, canvas: Canvas | None) -> RegionalText:
    """One text per person, (1, T, width) each, read behind the common one."""
    counts = tuple(one.shape[1] for one in tokens)
    return RegionalText(object(), WHOLE_SCHEDULE, regions, counts, canvas, torch.cat(tuple(tokens), dim=1))


def standing_at(place: int, count: int, region: Tensor, canvas: Canvas) -> RegionalText:
    """So many tokens of a text from `place` on, read in a region (H, W) only."""
    return RegionalText(object(), WHOLE_SCHEDULE, region[None], (count,), canvas, None, place)


def silent(text: RegionalText) -> RegionalText:
    """For the other side: nothing is said there, but the host may compute both in one batch."""
    tokens = None if text.tokens is None else text.tokens[:, :0]
    return replace(text, regions=text.regions[:0], counts=(), tokens=tokens)


def standing_in(sides: Sequence[Conditioning], regions: Tensor, canvas: Canvas) -> list[Conditioning]:
    """Both sides of Apply ID-Patch, the ID tokens in their texts read in regions only; an entry without stays."""
    source = object()

    def bound(entry: Entry) -> Entry:
        if (named := entry[1].get(ID_TOKENS)) is None:
            return entry
        counts = (named.each,) * named.people
        return put([entry], RegionalText(source, WHOLE_SCHEDULE, regions, counts, canvas, None, named.start))[0]

    return [[bound(entry) for entry in side] for side in sides]


Chunks = tuple[tuple[RegionalText, ...], ...]
"""Of a batch, what each chunk carries."""


def standing_in_text(chunks: Iterable[tuple[RegionalText, ...]]) -> bool:
    """Whether tokens stand inside a text."""
    return any(one.standing for chunk in chunks for one in chunk)


def _texts(entry: dict[str, Any]) -> tuple[RegionalText, ...]:
    return entry["model_conds"][RegionalText.key].cond


def everywhere(inside: IDTokens | None, text: Tensor) -> RegionalText:
    """ID tokens in the text of an entry, (B, T, width), that everybody reads, as if all were one person's whose region
    is the whole picture."""
    tokens = inside.people * inside.each if inside else 0
    there = inside is not None and inside.start + tokens <= text.shape[1]
    counts, start = ((tokens,), inside.start) if inside and there else ((), 0)
    return RegionalText(object(), WHOLE_SCHEDULE, torch.ones(len(counts), 1, 1), counts, None, None, start).known(text)


class RegionalTextRun(CrossAttentionRun):
    """One sampling run of a MODEL that reads by region."""

    key = RegionalText.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        carrying = entries(guider, self.key)
        plain = any(ID_TOKENS in entry and not standing_in_text([_texts(entry)]) for entry in carrying)
        for entry in carrying:
            conds, texts, text = entry["model_conds"], _texts(entry), entry["cross_attn"]
            known = tuple(one.known(text) for one in texts)
            if plain:
                known = *known, everywhere(None if standing_in_text([texts]) else entry.get(ID_TOKENS), text)
            entry["model_conds"] = {**conds, self.key: CarriedCond(known)}
        super().__init__(guider, latent)

    def batch(self, chunks: Chunks, given: Given) -> CrossAttentionBatch:
        what = chunks, given.context.shape[1]

        def make(place: Place) -> RegionalTextBatch:
            deaf = deaf_layers(given) if standing_in_text(chunks) else frozenset[Block]()
            return RegionalTextBatch(self.layers, *what, place, deaf)

        return self.ready(what, given, make)


class RegionalTextBatch(CrossAttentionBatch):
    """Attention to the text and, behind it, to what is said of single people, by region.

    chunks: what each carries; context: tokens of their text. deaf: layers in which what others have put in place of
    attention reads texts of its own.
    """

    def __init__(
        self, layers: Sequence[Block], chunks: Chunks, context: int, place: Place, deaf: frozenset[Block] = frozenset()
    ) -> None:
        self.layers, self.rows = layers, place.rows
        self._chunks, self._context, self._place, self._deaf = chunks, context, place, deaf
        self.added = max(sum(text.added for text in chunk) for chunk in chunks)
        width = max((text.tokens.shape[-1] for chunk in chunks for text in chunk if text.tokens is not None), default=0)
        self._key = f"likeness_louder_{id(self)}"
        self._tokens = place.put(torch.cat([self._behind(chunk, width) for chunk in chunks]))
        self._biases = {(grid, context): self._bias(grid, context) for grid in place.grids}

    @cached_property
    def apart(self) -> RegionalTextBatch | None:
        """The same with nothing inside the text, if something is: rows that others have made have their own texts."""
        if not standing_in_text(self._chunks):
            return None
        left = [chunk[0].length - sum(one.standing for one in chunk) for chunk in self._chunks]
        taken = zip(self._chunks, left, strict=True)
        chunks = tuple(tuple(one.taken_out(length) for one in chunk) for chunk, length in taken)
        return RegionalTextBatch(self.layers, chunks, math.lcm(*left), self._place)

    def around(self, options: Options) -> Options:
        # Behind the patches of others: our tokens are the last.
        ours = super().around(options)
        others = ours.get("patches", {}).get("attn2_patch")
        return with_patch(ours, "attn2_patch", self.lengthened) if self.added or others else ours

    def behind(
        self, others: Sequence[Patch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> tuple[Tensor, Tensor, Tensor]:
        alone = False
        if self.apart:
            said = dict(extra_options)
            # Asked with two tokens: texts of many lengths are costly to join.
            super().behind(others, n, context[:, :2], value[:, :2], said)
            alone = WHOSE in said
        text = self._text_alone(context) if alone else context
        made = super().behind(others, n, text, text if alone else value, extra_options)
        if self.added and made[1].shape[1] < text.shape[1]:
            left, of = made[1].shape[1], text.shape[1]
            why = f"makes {left} tokens of the {of} of a text, unlike any node for prompts of single people"
            raise ConditioningLost(modules_of(others), why)
        return made

    def lengthened(
        self, n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The host's attn2 patch: the text and what is said of single people, not projected yet."""
        whose = extra_options.get(WHOSE)
        if whose is not None and self.apart:
            return self.apart.lengthened(n, context, value, extra_options)
        if not self.added:
            return n, context, value
        tokens = rows_of(self._tokens.to(context), whose, dim=0)
        if whose is not None:
            extra_options[self._key] = self._louder(context, tokens, whose)
        longer = torch.cat([context, tokens], dim=1)
        return n, longer, longer if value is context else torch.cat([value, tokens], dim=1)

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        whose = self.whose(before, q, extra_options)
        if whose is not None and self.apart:
            return self.apart.attended(layer, before, q, k, v, extra_options)
        grid = grid_of(extra_options)
        check_tokens(q, grid)
        text = k.shape[1] - self.added
        bias = rows_of(self.bias(grid, text, q), whose, dim=0)
        more = bias.shape[-1] - k.shape[1]
        if whose is not None:
            bias = bias + functional.pad(extra_options[self._key].to(q), (0, more))
        # On a CPU the host's choices write out all logits.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        found = attend_with(extra_options, kernel, bias)(q, *(functional.pad(x, (0, 0, 0, more)) for x in (k, v)))
        if before is None:
            return found
        # Theirs adds to plain attention to the text, which is taken out of it again.
        plain = k[:, :text], v[:, :text]
        hidden = self._hidden(text, q) if self.layers[layer] in self._deaf else None
        return before(q, *plain, extra_options) + found - attend_with(extra_options, mask=hidden)(q, *plain)

    def _hidden(self, text: int, q: Tensor) -> Tensor:
        """(rows, 1, text), the tokens inside the text: a replacement that has texts of its own does not read them."""
        hidden = torch.zeros(len(self._chunks), 1, text)
        for row, chunk in zip(hidden, self._chunks, strict=True):
            for one in chunk:
                row[:, one.among(self._context)] = EXCLUDED if one.standing else 0
        return as_many(hidden.to(q), self.rows, dim=0)

    def _text_alone(self, context: Tensor) -> Tensor:
        """Without the tokens that stand in it; of several chunks as the host joins texts."""
        each = list[comfy.conds.CONDCrossAttn]()
        for chunk, rows in zip(self._chunks, context.chunk(len(self._chunks)), strict=True):
            left = torch.ones(chunk[0].length, dtype=torch.bool)
            for one in chunk:
                left[one.start : one.start + one.standing] = False
            each.append(comfy.conds.CONDCrossAttn(rows[:, : len(left)][:, left]))
        return each[0].concat(each[1:])

    def _louder(self, text: Tensor, tokens: Tensor, whose: Tensor) -> Tensor:
        """(B, 1, T + added), added to the bias in rows of others, where their texts, (B, T, width), may stand more
        often, or hold our tokens already."""
        ours = [chunk[0].repeats(self._context) for chunk in self._chunks]
        known = as_many(torch.tensor(ours, device=text.device), self.rows, dim=0)[whose]
        louder = (repeats(text) / known).log()[:, None].expand(-1, self.added)
        taken = as_many(torch.stack([self._taken(chunk) for chunk in self._chunks]), self.rows, dim=0).to(text.device)
        twice = ((text[:, :, None, 0] == tokens[:, None, :, 0]) & taken[whose][:, None]).any(dim=2)
        return torch.cat([twice * EXCLUDED, louder], dim=1)[:, None]

    def _taken(self, chunk: tuple[RegionalText, ...]) -> Tensor:
        """(added,), which tokens have been taken out of the text."""
        each = [torch.full((one.added,), one.tokens is one.inside) for one in chunk]
        return functional.pad(torch.cat(each), (0, self.added - sum(one.added for one in chunk)))

    def _behind(self, chunk: tuple[RegionalText, ...], width: int) -> Tensor:
        """(rows of a chunk, added, width), read behind its text."""
        rows = self.rows // len(self._chunks)
        found = [comfy.utils.repeat_to_batch_size(text.tokens, rows) for text in chunk if text.tokens is not None]
        said = torch.cat([torch.zeros(rows, 0, width), *found], dim=1)
        return functional.pad(said, (0, 0, 0, self.added - said.shape[1]))

    def bias(self, grid: Grid, text: int, q: Tensor) -> Tensor:
        """(rows, N, text + added and up to a multiple of 16), added to the logits of a layer of this grid that is given
        so many tokens of text."""
        if (grid, text) not in self._biases:
            self._biases[grid, text] = self._bias(grid, text)
        return self._biases[grid, text].to(q)

    def _bias(self, grid: Grid, text: int) -> Tensor:
        each = torch.stack([self._of(chunk, grid, text) for chunk in self._chunks])
        return as_many(self._place.put(each), self.rows, dim=0)

    def _of(self, chunk: tuple[RegionalText, ...], grid: Grid, text: int) -> Tensor:
        owners, behind, people = torch.full((text,), EVERYBODY), list[Tensor](), 0
        for one in chunk:
            whose = one.owners(people)
            if one.standing:
                own = one.among(self._context)
                owners[own] = whose.repeat(len(own) // len(whose))
            elif one.tokens is not None:
                behind.append(whose)
            people += len(one.counts)
        owners = torch.cat([owners, *behind])
        tokens = _AT_ONCE * math.ceil((text + self.added) / _AT_ONCE)
        owners = functional.pad(owners, (0, tokens - len(owners)), value=NOBODY)
        # Words behind a text that stands there twice are as loud as it when they count twice.
        regions = [x.regions if x.tokens is None else x.regions * x.repeats(self._context) for x in chunk]
        return region_bias(regions, owners, grid)


def repeats(text: Tensor) -> Tensor:
    """(B,): how often the text of a row, (B, T, width), stands there one after the other."""
    first = text[..., 0]
    found, several = torch.ones(len(text), device=text.device), (first != first[:, :1]).any(dim=1)
    for length in range(text.shape[1] // 2, 1, -1):
        if text.shape[1] % length == 0:
            again = (first[:, length:] == first[:, :-length]).all(dim=1) & several
            found = torch.where(again, text.shape[1] // length, found)
    return found
