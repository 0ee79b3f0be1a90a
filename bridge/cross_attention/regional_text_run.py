"""Tokens of a text that belong to people, while the sampler runs: each pixel reads the common text and its people's.

Nothing is computed twice: the cross-attention of every pixel reads the common text and, of the rest, what belongs to
the people near it, in one softmax. A bias on the logits says which. Where everybody is read everywhere that is plain
cross-attention over all of it.

What keys and values of a layer are, from left to right:

    text of the entry, as often as the host repeats it | appended tokens of all people | padding to a multiple of 16
    inline tokens of people stand in it                | as many in every row          | read by no pixel

Rows that another pack has made in a layer read texts of that pack. These hold no inline tokens of ours, so there the
inline tokens are appended as well: see `RegionalTextBatch.without_inline_tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import comfy.conds
import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from comfy.samplers import CFGGuider
from torch import Tensor

from ...core.attention import EVERYBODY, EXCLUDED, NOBODY, Block, region_bias
from ..carried import CarriedCond, ConditioningLost
from ..conditioning import ID_TOKENS
from ..runs import Given, entries, modules_of
from ..unet import Grid, Options, Replacement, attend_with, check_tokens, grid_of, with_patch
from .layers import CrossAttentionBatch, CrossAttentionRun, QueryPlace
from .other_attention import layers_ignoring_text
from .regional_text import Chunks, RegionalText, has_inline_tokens, id_tokens_read_everywhere, times_repeated
from .row_tracking import SOURCE_ROWS, LayerInput, TextPatch, of_source_rows, repeat_rows

KEYS_AT_ONCE = 16
"""A CPU takes so many keys at a time and what is left one by one, and CUDA copies a mask whose rows are not a multiple
of 8: both cost more than a few keys that nobody reads."""


def _texts_of(entry: dict[str, Any]) -> tuple[RegionalText, ...]:
    """What a conditioning entry carries."""
    return entry["model_conds"][RegionalText.key].cond


class RegionalTextRun(CrossAttentionRun):
    """One sampling run of a MODEL that reads by region."""

    key = RegionalText.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        carrying = entries(guider, self.key)
        some_read_everywhere = False
        for entry in carrying:
            if ID_TOKENS in entry and not has_inline_tokens([_texts_of(entry)]):
                some_read_everywhere = True
        for entry in carrying:
            text: Tensor = entry["cross_attn"]
            texts = tuple(regional.in_entry(text) for regional in _texts_of(entry))
            if some_read_everywhere:
                # ID tokens without regions (Apply ID-Patch without a MODEL, behind Prompt per Person). They have to be
                # known here, because rows of another pack do not have them in their texts. All entries get one text
                # more: the host computes entries in one batch only where they carry equally many.
                tokens = None if has_inline_tokens([texts]) else entry.get(ID_TOKENS)
                texts = (*texts, id_tokens_read_everywhere(tokens, text))
            entry["model_conds"] = {**entry["model_conds"], self.key: CarriedCond(texts)}
        super().__init__(guider, latent)

    def batch(self, chunks: Chunks, given: Given) -> CrossAttentionBatch:
        text_tokens = given.context.shape[1]

        def make(place: QueryPlace) -> RegionalTextBatch:
            ignoring = frozenset[Block]()
            if has_inline_tokens(chunks):
                ignoring = layers_ignoring_text(given)
            return RegionalTextBatch(self.layers, chunks, text_tokens, place, ignoring)

        return self.ready((chunks, text_tokens), given, make)


class RegionalTextBatch(CrossAttentionBatch):
    """Attention to the text and, behind it, to what is appended about people, by region.

    chunks: what each carries. text_tokens: of the text that the host gives, (B, text_tokens, width). ignoring: layers
    in which another pack's attention reads texts of its own. appended_count: tokens behind the text, in every row.
    """

    def __init__(
        self,
        layers: Sequence[Block],
        chunks: Chunks,
        text_tokens: int,
        place: QueryPlace,
        ignoring: frozenset[Block] = frozenset(),
    ) -> None:
        super().__init__(layers, place.rows)
        self._chunks = chunks
        self._text_tokens = text_tokens
        self._place = place
        self._ignoring = ignoring
        self.appended_count = max(_appended_count(texts) for texts in chunks)
        self._appended = place.put(_appended_tokens(chunks, place.rows, self.appended_count))
        self.biases = TextBiases(chunks, text_tokens, self.appended_count, place)
        self._other_rows_key = f"likeness_bias_of_other_rows_{id(self)}"
        """In the extra_options of a layer in which another pack has made rows: what is added to the bias there,
        (rows of the layer, 1, T + appended_count). The host shows a batch the texts before they are projected, and asks
        it for attention afterwards. What it has seen in the texts travels from one call to the other in here, as the
        host's own options do."""

    @cached_property
    def without_inline_tokens(self) -> RegionalTextBatch | None:
        """The batch for rows that read another pack's texts: what stands inside ours is appended there.

        None where nothing stands inside our texts, so that this batch serves all rows.
        """
        if not has_inline_tokens(self._chunks):
            return None
        chunks: list[tuple[RegionalText, ...]] = []
        lengths_left: list[int] = []
        for texts in self._chunks:
            left = texts[0].text_length - sum(text.inline_count for text in texts)
            lengths_left.append(left)
            chunks.append(tuple(text.appended_instead(left) for text in texts))
        # The host repeats texts of different lengths until all have the least common multiple.
        return RegionalTextBatch(self.layers, tuple(chunks), math.lcm(*lengths_left), self._place)

    def around(self, options: Options) -> Options:
        options = super().around(options)
        patches = options.get("patches", {}).get("attn2_patch")
        if not self.appended_count and not patches:
            return options
        # Behind the patches of others, so that our tokens are the last.
        return with_patch(options, "attn2_patch", self.append_tokens)

    def call_patches(
        self, patches: Sequence[TextPatch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> LayerInput:
        if self._others_make_rows(patches, n, context, value, extra_options):
            # They join our text with texts of their own: it has to be without the inline tokens, as theirs are.
            context = self._text_without_inline_tokens(context)
            value = context
        output = super().call_patches(patches, n, context, value, extra_options)
        tokens = context.shape[1]
        tokens_left = output.for_keys.shape[1]
        if self.appended_count and tokens_left < tokens:
            why = f"makes {tokens_left} tokens of the {tokens} of a text, unlike any node for prompts of single people"
            raise ConditioningLost(modules_of(patches), why)
        return output

    def _others_make_rows(
        self, patches: Sequence[TextPatch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> bool:
        """Whether patches of others make rows, in a layer where inline tokens would be lost by that."""
        if not self.without_inline_tokens:
            return False
        asked = dict(extra_options)
        # With two tokens of the text: packs join texts of many lengths by repeating them, which is costly.
        super().call_patches(patches, n, context[:, :2], value[:, :2], asked)
        return SOURCE_ROWS in asked

    def append_tokens(self, n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> LayerInput:
        """The host's attn2 patch: the text with people's tokens appended, (B, T + appended_count, width)."""
        source_rows: Tensor | None = extra_options.get(SOURCE_ROWS)
        if source_rows is not None and self.without_inline_tokens:
            return self.without_inline_tokens.append_tokens(n, context, value, extra_options)
        if not self.appended_count:
            return LayerInput(n, context, value)
        appended = of_source_rows(self._appended.to(context), source_rows, dim=0)  # (B, appended_count, width)
        if source_rows is not None:
            extra_options[self._other_rows_key] = self._bias_of_other_rows(context, appended, source_rows)
        for_keys = torch.cat([context, appended], dim=1)
        # Most often the host gives one tensor for both, and one is enough.
        for_values = for_keys if value is context else torch.cat([value, appended], dim=1)
        return LayerInput(n, for_keys, for_values)

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        source_rows = self.source_rows(before, q, extra_options)
        if source_rows is not None and self.without_inline_tokens:
            return self.without_inline_tokens.attended(layer, before, q, k, v, extra_options)
        grid = grid_of(extra_options)
        check_tokens(q, grid)
        text_tokens = k.shape[1] - self.appended_count
        bias = of_source_rows(self.biases.at(grid, text_tokens, q), source_rows, dim=0)  # (B, N, keys and padding)
        padding = bias.shape[-1] - k.shape[1]
        if source_rows is not None:
            of_other_rows: Tensor = extra_options[self._other_rows_key]  # (B, 1, keys)
            bias = bias + functional.pad(of_other_rows.to(q), (0, padding))
        # On a CPU the host's choices write out all logits.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        padded_keys = functional.pad(k, (0, 0, 0, padding))
        padded_values = functional.pad(v, (0, 0, 0, padding))
        out = attend_with(extra_options, kernel, bias)(q, padded_keys, padded_values)
        if before is None:
            return out
        # What another pack has put here adds to plain attention to the text. So the text is read once by theirs and
        # once by ours, and plain attention to it is taken away again.
        text_keys = k[:, :text_tokens]
        text_values = v[:, :text_tokens]
        mask = None
        if self.layers[layer] in self._ignoring:
            mask = self._mask_of_inline_tokens(text_tokens, q)
        theirs = before(q, text_keys, text_values, extra_options)
        plain = attend_with(extra_options, mask=mask)(q, text_keys, text_values)
        return theirs + out - plain

    def _mask_of_inline_tokens(self, tokens: int, q: Tensor) -> Tensor:
        """Added to the logits of plain attention, so that no pixel reads the inline tokens: (rows, 1, tokens).

        A function of another pack that has texts of its own does not read them either.
        """
        mask = torch.zeros(len(self._chunks), 1, tokens)
        for row, texts in zip(mask, self._chunks, strict=True):
            for text in texts:
                if text.inline_count:
                    row[:, text.inline_positions(self._text_tokens)] = EXCLUDED
        return repeat_rows(mask.to(q), self.rows, dim=0)

    def _text_without_inline_tokens(self, context: Tensor) -> Tensor:
        """The text of every row, once and without the inline tokens; of several chunks joined as the host joins."""
        of_chunks: list[comfy.conds.CONDCrossAttn] = []
        for texts, rows in zip(self._chunks, context.chunk(len(self._chunks)), strict=True):
            length = texts[0].text_length
            stays = torch.ones(length, dtype=torch.bool)
            for text in texts:
                stays[text.start : text.start + text.inline_count] = False
            of_chunks.append(comfy.conds.CONDCrossAttn(rows[:, :length][:, stays]))
        return of_chunks[0].concat(of_chunks[1:])

    def _bias_of_other_rows(self, text: Tensor, appended: Tensor, source_rows: Tensor) -> Tensor:
        """What is added to the bias in rows that another pack has made: (B, 1, T + appended_count).

        text: theirs, (B, T, width). appended: ours, (B, appended_count, width). Two things differ in their texts: they
        may stand there more often than ours, so that appended tokens have to count as often; and they may hold tokens
        of ours, which are then not read twice.
        """
        our_repeats = [texts[0].repeats_in(self._text_tokens) for texts in self._chunks]
        of_rows = repeat_rows(torch.tensor(our_repeats, device=text.device), self.rows, dim=0)[source_rows]
        louder = (times_repeated(text) / of_rows).log()  # (B,)
        of_appended = louder[:, None].expand(-1, self.appended_count)
        were_inline = torch.stack([self._were_inline(texts) for texts in self._chunks])  # (chunks, appended_count)
        were_inline = repeat_rows(were_inline, self.rows, dim=0).to(text.device)[source_rows]  # (B, appended_count)
        # One channel is enough to tell whether two tokens are the same: (B, T, appended_count).
        same = text[:, :, None, 0] == appended[:, None, :, 0]
        read_twice = (same & were_inline[:, None]).any(dim=2)  # (B, T)
        return torch.cat([read_twice * EXCLUDED, of_appended], dim=1)[:, None]

    def _were_inline(self, texts: Sequence[RegionalText]) -> Tensor:
        """Which appended tokens of a chunk have been taken out of its text: (appended_count,)."""
        of_texts = [torch.full((text.appended_count,), text.was_inline) for text in texts]
        were_inline = torch.cat(of_texts)
        return functional.pad(were_inline, (0, self.appended_count - len(were_inline)))


def _appended_count(texts: Sequence[RegionalText]) -> int:
    return sum(text.appended_count for text in texts)


def _appended_tokens(chunks: Chunks, rows: int, count: int) -> Tensor:
    """What is read behind the text of every row: (rows, count, width), zeros where a chunk has fewer tokens."""
    width = 0
    for texts in chunks:
        for text in texts:
            if text.tokens is not None:
                width = max(width, text.tokens.shape[-1])
    rows_of_chunk = rows // len(chunks)
    of_chunks: list[Tensor] = []
    for texts in chunks:
        of_texts = [torch.zeros(rows_of_chunk, 0, width)]
        for text in texts:
            if text.tokens is not None:
                of_texts.append(comfy.utils.repeat_to_batch_size(text.tokens, rows_of_chunk))
        tokens = torch.cat(of_texts, dim=1)  # (rows of a chunk, tokens of its texts, width)
        of_chunks.append(functional.pad(tokens, (0, 0, 0, count - tokens.shape[1])))
    return torch.cat(of_chunks)


class TextBiases:
    """What is added to the logits of the layers, so that each pixel reads the tokens of its own people alone.

    chunks, text_tokens, appended_count: as in RegionalTextBatch. A bias is made once for each grid and length of text.
    """

    def __init__(self, chunks: Chunks, text_tokens: int, appended_count: int, place: QueryPlace) -> None:
        self._chunks = chunks
        self._text_tokens = text_tokens
        self._appended_count = appended_count
        self._place = place
        self._known: dict[tuple[Grid, int], Tensor] = {}
        for grid in place.grids:
            self._known[grid, text_tokens] = self._made(grid, text_tokens)

    def at(self, grid: Grid, tokens: int, q: Tensor) -> Tensor:
        """(rows, N, tokens + appended_count, up to a multiple of 16), for a layer of this grid.

        tokens: of the text that the layer is given, which other packs may have made longer. q: the layer's queries,
        whose device and dtype the bias gets.
        """
        if (grid, tokens) not in self._known:
            self._known[grid, tokens] = self._made(grid, tokens)
        return self._known[grid, tokens].to(q)

    def _made(self, grid: Grid, tokens: int) -> Tensor:
        of_chunks = torch.stack([self._of_chunk(texts, grid, tokens) for texts in self._chunks])
        return repeat_rows(self._place.put(of_chunks), self._place.rows, dim=0)

    def _of_chunk(self, texts: Sequence[RegionalText], grid: Grid, tokens: int) -> Tensor:
        """(N, tokens + appended_count, up to a multiple of 16), for the rows of one chunk."""
        # Whose every token is: the text is everybody's, but for the inline tokens; behind it are the appended ones.
        of_text = torch.full((tokens,), EVERYBODY)
        owners = [of_text]
        people = 0
        for text in texts:
            of_tokens = text.owners(people)
            if text.inline_count:
                positions = text.inline_positions(self._text_tokens)
                of_text[positions] = of_tokens.repeat(len(positions) // len(of_tokens))
            elif text.tokens is not None:
                owners.append(of_tokens)
            people += len(text.counts)
        of_keys = torch.cat(owners)
        keys = KEYS_AT_ONCE * math.ceil((tokens + self._appended_count) / KEYS_AT_ONCE)
        of_keys = functional.pad(of_keys, (0, keys - len(of_keys)), value=NOBODY)
        regions: list[Tensor] = []
        for text in texts:
            regions.append(self._regions_of(text))
        return region_bias(regions, of_keys, grid)

    def _regions_of(self, text: RegionalText) -> Tensor:
        """How strongly each person's tokens are read, (people, H, W).

        Appended tokens count as often as the text in front of them, which the host may have repeated.
        """
        if text.tokens is None:
            return text.regions
        return text.regions * text.repeats_in(self._text_tokens)
