"""Tokens of a text that belong to people, while the sampler runs: each pixel reads the common text and its people's.

Nothing is computed twice: the cross-attention of every pixel reads the common text and, of the rest, what belongs to
the people near it, in one softmax. A bias on the logits says which tokens these are. Where all people are read in the
whole picture, this is plain cross-attention to the text and all tokens of people.

What keys and values of a layer are, from left to right:

    text of the entry, as often as the host repeats it | appended tokens of all people | padding to a multiple of 16
    inline tokens of people stand in it                | as many in every row          | read by no pixel

The steps of one layer, in the order in which the host calls them:

    attn2 patches       call_patches        the patches of other packs, as one; it records of which rows they have made
                                            theirs (SOURCE_ROWS, row_tracking.py), and refuses texts of their own
                        append_tokens       our own patch, the last: it appends our tokens to the text
    projection          the host makes q, k and v
    attn2_replace       attention_output    attention with the bias, beside what another pack has put in its place
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from ....core.attention.cross_attention import OWNED_BY_ALL, OWNED_BY_NOBODY, region_bias
from ....core.attention.spans import Tokens
from ...host.unet import Grid, Options, Replacement, check_tokens, grid_of, with_patch
from ...networks.file_attention import attend_with
from ...networks.layers import (
    PIXELS,
    CrossAttentionBatch,
    QueryShape,
    attention_of_other_pack,
    patches_dropped,
    query_shape_of,
)
from ...networks.row_tracking import SOURCE_ROWS, LayerInput, TextPatch, check_texts, of_source_rows, repeat_rows
from ...sampling.carried import PerChunk
from ...sampling.forward import ForwardShape
from ...sampling.runs import Kind, Run, when_acting
from .words import UnetWords, WordsByChunk

KEYS_AT_ONCE = 16
"""A CPU takes so many keys at a time and what is left one by one, and CUDA copies a mask whose rows are not a multiple
of 8: both cost more than a few keys that no pixel reads."""
_APPENDED = "likeness_appended"
"""A key in the extra_options of a layer whose text has been given to `append_tokens`."""


def _new_batch(run: Run, acting: tuple[PerChunk[UnetWords], ...], forward_shape: ForwardShape) -> UnetWordsBatch:
    words_by_chunk = tuple(zip(*acting, strict=True))  # for each chunk a tuple, of each node
    return UnetWordsBatch(words_by_chunk, forward_shape.text_length, query_shape_of(forward_shape))


UNET_WORDS = Kind(UnetWords.key, when_acting(_new_batch))
"""Tokens of people in the texts of a UNet, which are read by region."""


class UnetWordsBatch(CrossAttentionBatch):
    """The attention of all layers in one forward: to the text, and to the tokens of people appended to it, by region.

    words_by_chunk: what each chunk carries, a UnetWords for each node. text_length: how many tokens the text has that
    the host gives, repeats included: (B, text_length, width). trial: of other packs' attention; None where the text has
    no inline tokens, which it could ignore. appended_count: how many tokens are appended to the text of every row.
    """

    reads_some_pixels = True

    def __init__(self, words_by_chunk: WordsByChunk, text_length: int, query_shape: QueryShape) -> None:
        super().__init__(query_shape)
        self.appended_count = max(_appended_count(words_of_nodes) for words_of_nodes in words_by_chunk)
        # (rows of the batch, appended_count, width), on the device and in the dtype of the queries.
        self._appended = query_shape.like_queries(
            _appended_tokens(words_by_chunk, query_shape.row_count, self.appended_count)
        )
        self.biases = TextBiases(words_by_chunk, text_length, self.appended_count, query_shape)

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options as in the base class, with `append_tokens` as the last attn2 patch.

        It is left out where there is nothing to append.
        """
        options = super().options_for_network(options, tokens)
        if not self.appended_count:
            return options
        # After the patches of others, so that our tokens are the last.
        return with_patch(options, "attn2_patch", self.append_tokens)

    def call_patches(
        self, patches: Sequence[TextPatch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> LayerInput:
        """What the attn2 patches of other packs make of a layer's input.

        Raises ConditioningLost where they let rows read texts of their own. Arguments as in the base class.
        """
        output = super().call_patches(patches, n, context, value, extra_options)
        # Words are put behind any text that a patch has made longer, but not behind texts of rows of its own.
        if SOURCE_ROWS in extra_options or output.for_keys.shape[1] < context.shape[1]:
            check_texts(patches, context, output, extra_options)
        return output

    def append_tokens(self, n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> LayerInput:
        """Our own attn2 patch, which the host calls last: it appends the tokens of people to a layer's text.

        n: the layer's input, (B, N, C), which stays as it is. context, value: the text for keys and for values,
        (B, T, width) each; they become (B, T + appended_count, width).
        """
        extra_options[_APPENDED] = True
        source_rows: Tensor | None = extra_options.get(SOURCE_ROWS)
        appended = of_source_rows(self._appended.to(context), source_rows, dim=0)  # (B, appended_count, width)
        for_keys = torch.cat([context, appended], dim=1)
        # Most often the host gives one tensor for both, and one is enough.
        for_values = for_keys if value is context else torch.cat([value, appended], dim=1)
        return LayerInput(n, for_keys, for_values)

    def attention_output(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """The attention of a layer, (B, N, C), in which each pixel reads the text and the tokens of its own people.

        What another pack has put in its place, `before`, is computed too, and added. Arguments as in the base class.
        Raises ConditioningLost and TokensMoved where another pack has changed rows, patches or tokens.
        """
        source_rows = self.source_rows(before, q, extra_options)
        if self.appended_count and _APPENDED not in extra_options:
            raise patches_dropped()
        bias = self._bias(q, k, source_rows, extra_options)  # (B, N, keys and padding)
        padding = bias.shape[-1] - k.shape[1]
        # On a CPU the host's choices would keep all logits in memory.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        padded_keys = functional.pad(k, (0, 0, 0, padding))
        padded_values = functional.pad(v, (0, 0, 0, padding))
        out = attend_with(extra_options, kernel, bias)(q, padded_keys, padded_values)
        if before is None:
            return out
        # The other pack's function in place of attention gives plain attention to the text and something more (an
        # IP-Adapter: its image tokens). Our attention has read the text, too. So the sum of both has the text twice,
        # and plain attention to the text is subtracted once:
        #     other pack's (text + more)  +  ours (text and people in one softmax)  -  plain (text)
        # Row n of all three belongs to query row n; attention_of_other_pack checks it for the other pack's. That
        # function is called with the text alone: our appended tokens, which are the last keys, are not meant for it.
        text_length = k.shape[1] - self.appended_count
        text_keys = k[:, :text_length]
        text_values = v[:, :text_length]
        out_of_other_pack = attention_of_other_pack(before, q, text_keys, text_values, extra_options)
        plain_out = attend_with(extra_options)(q, text_keys, text_values)
        return out_of_other_pack + out - plain_out

    def _bias(self, q: Tensor, k: Tensor, source_rows: Tensor | None, extra_options: Options) -> Tensor:
        """What is added to the logits in this call of a layer: (B, N, keys and padding).

        q: (B, N, C). k: (B, keys, C). source_rows: see the method of that name. Raises TokensMoved where another pack
        has made other tokens of the pixels.
        """
        grid = grid_of(extra_options)
        text_length = k.shape[1] - self.appended_count  # of another pack's text, where that is longer than the host's
        pixels: Tensor | None = extra_options.get(PIXELS)
        if pixels is None:
            advice = "Take that node out, or use one person without regions."
            check_tokens(q, grid, "read whose words", advice)
            bias = self.biases.for_grid(grid, text_length, q)
        else:
            bias = self.biases.of_pixels(pixels, grid, text_length, q)
        return of_source_rows(bias, source_rows, dim=0)  # of (rows of the batch, pixels, keys and padding)


def _appended_count(words_of_nodes: Sequence[UnetWords]) -> int:
    return sum(words.appended_count for words in words_of_nodes)


def _appended_tokens(words_by_chunk: WordsByChunk, row_count: int, appended_count: int) -> Tensor:
    """The tokens that are appended to the text of every row: (row_count, appended_count, width).

    A chunk with fewer tokens than others is filled up with zeros, which no pixel reads.
    """
    rows_per_chunk = row_count // len(words_by_chunk)
    of_chunks: list[list[Tensor]] = []  # for each chunk everybody's tokens, (rows, tokens, width)
    for words_of_nodes in words_by_chunk:
        appended = [text for words in words_of_nodes for text in words.texts]
        of_chunks.append([comfy.utils.repeat_to_batch_size(text, rows_per_chunk) for text in appended])
    width = max((text.shape[-1] for of_chunk in of_chunks for text in of_chunk), default=0)
    no_tokens = torch.zeros(rows_per_chunk, 0, width, dtype=torch.float32)  # for a chunk in which nobody has any
    filled_up: list[Tensor] = []
    for of_chunk in of_chunks:
        tokens = torch.cat([no_tokens, *of_chunk], dim=1)
        filled_up.append(functional.pad(tokens, (0, 0, 0, appended_count - tokens.shape[1])))
    return torch.cat(filled_up)


class TextBiases:
    """What is added to the logits of the layers, so that each pixel reads the tokens of its own people alone.

    words_by_chunk: what each chunk of the batch carries. text_length: tokens of the host's text. appended_count: tokens
    that are appended to it. A bias is made once for each grid and length of text.
    """

    def __init__(
        self, words_by_chunk: WordsByChunk, text_length: int, appended_count: int, query_shape: QueryShape
    ) -> None:
        self._words_by_chunk = words_by_chunk
        self._text_length = text_length
        self._appended_count = appended_count
        self._query_shape = query_shape
        self._biases: dict[tuple[Grid, int], Tensor] = {}
        self._of_some: dict[tuple[Tensor, Grid, int], Tensor] = {}
        for grid in query_shape.grids:
            self._biases[grid, text_length] = self._make_bias(grid, text_length)

    def for_grid(self, grid: Grid, text_length: int, q: Tensor) -> Tensor:
        """The bias of a layer of this grid, (rows of the batch, N, keys).

        It has text_length + appended_count keys, rounded up to a multiple of KEYS_AT_ONCE. It is made
        once and kept. text_length: of the text that the layer is given, which other packs may have made longer. q: the
        layer's queries, whose device and dtype the bias gets.
        """
        if (grid, text_length) not in self._biases:
            self._biases[grid, text_length] = self._make_bias(grid, text_length)
        return self._biases[grid, text_length].to(q)

    def of_pixels(self, pixels: Tensor, grid: Grid, text_length: int, q: Tensor) -> Tensor:
        """The same for some pixels alone, (rows of the batch, n, keys).

        pixels: (n,), a tensor that comes again in the next step, and holds the same then.
        """
        if torch.compiler.is_compiling():  # with what is kept, torch.compile would make another graph
            return self.for_grid(grid, text_length, q).index_select(1, pixels)
        key = pixels, grid, text_length
        if key not in self._of_some:
            self._of_some[key] = self.for_grid(grid, text_length, q).index_select(1, pixels)
        return self._of_some[key].to(q)

    def _make_bias(self, grid: Grid, text_length: int) -> Tensor:
        """A new bias of all rows, see `for_grid`, on the device and in the dtype of the queries."""
        bias_of_chunks: list[Tensor] = []
        for words_of_nodes in self._words_by_chunk:
            bias_of_chunks.append(self._make_bias_of_chunk(words_of_nodes, grid, text_length))
        return repeat_rows(
            self._query_shape.like_queries(torch.stack(bias_of_chunks)), self._query_shape.row_count, dim=0
        )

    def _make_bias_of_chunk(self, words_of_nodes: Sequence[UnetWords], grid: Grid, text_length: int) -> Tensor:
        """The bias of the rows of one chunk: (N, keys), with as many keys as in `for_grid`."""
        # The owner of every token: inline and appended tokens are of a person, all others of the text are everybody's.
        of_text = torch.full((text_length,), OWNED_BY_ALL)
        of_appended: list[Tensor] = []
        regions: list[Tensor] = []
        people_count = 0  # of the nodes so far: people are numbered through all nodes
        for words in words_of_nodes:
            owners = words.owners(people_count)
            if words.inline_count:
                of_text[words.inline_positions(self._text_length)] = owners.repeat(words.repeats_in(self._text_length))
            else:
                of_appended.append(owners)
            regions.append(self._regions_of(words))
            people_count += words.people_count
        of_keys = torch.cat([of_text, *of_appended])
        key_count = KEYS_AT_ONCE * math.ceil((text_length + self._appended_count) / KEYS_AT_ONCE)
        of_keys = functional.pad(of_keys, (0, key_count - len(of_keys)), value=OWNED_BY_NOBODY)
        return region_bias(regions, of_keys, grid)

    def _regions_of(self, words: UnetWords) -> Tensor:
        """How strongly each person's tokens are read, (people, H, W).

        Appended tokens count as often as the text in front of them, which the host may have repeated.
        """
        if words.inline_counts:
            return words.regions
        return words.regions * words.repeats_in(self._text_length)
