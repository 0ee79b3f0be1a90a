"""Texts without the inline tokens of people, as other packs read them in rows and attention of their own.

There the inline tokens are appended, as all others are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import comfy.conds
import torch
import torch.nn.functional as functional
from torch import Tensor

from ....core.attention.cross_attention import EXCLUDED
from ...networks.row_tracking import repeat_rows
from .words import UnetWords, WordsByChunk, guessed_repeats


def with_appended_tokens(words_by_chunk: WordsByChunk) -> WordsByChunk:
    """The words of the same chunks with all tokens of people behind their texts, and none inside."""
    appended: list[tuple[UnetWords, ...]] = []
    for words_of_nodes in words_by_chunk:
        length = _length_without_inline(words_of_nodes)
        appended.append(tuple(words.appended_instead(length) for words in words_of_nodes))
    return tuple(appended)


def length_without_inline_tokens(words_by_chunk: WordsByChunk) -> int:
    """How many tokens the texts of a forward have without inline tokens.

    The host repeats texts of different lengths until all have the least common multiple.
    """
    return math.lcm(*(_length_without_inline(words_of_nodes) for words_of_nodes in words_by_chunk))


def _length_without_inline(words_of_nodes: Sequence[UnetWords]) -> int:
    """How many tokens the text of one chunk has without inline tokens."""
    # All nodes of a chunk have the text of one entry, so any of them knows its length.
    return words_of_nodes[0].text_length - sum(words.inline_count for words in words_of_nodes)


def without_inline_tokens(context: Tensor, words_by_chunk: WordsByChunk) -> Tensor:
    """The text of every row without repeats and without the inline tokens: (B, tokens left, width).

    context: the texts (B, T, width), or their keys or values. words_by_chunk: of the batch. The texts of several chunks
    are brought to one length as the host does it, by repeating them.
    """
    texts: list[comfy.conds.CONDCrossAttn] = []  # of the chunks, (rows of the chunk, tokens, width) each
    for words_of_nodes, rows in zip(words_by_chunk, context.chunk(len(words_by_chunk)), strict=True):
        length = words_of_nodes[0].text_length  # the same for all nodes of a chunk
        is_common = torch.ones(length, dtype=torch.bool)  # whether a token belongs to no person
        for words in words_of_nodes:
            end = words.start + words.inline_count
            is_common[words.start : end] = False
        text_once = rows[:, :length]  # the host may have repeated it
        texts.append(comfy.conds.CONDCrossAttn(text_once[:, is_common]))
    return texts[0].concat(texts[1:])


def bias_of_other_rows(
    context: Tensor,
    appended: Tensor,
    source_rows: Tensor,
    *,
    words_by_chunk: WordsByChunk,
    text_length: int,
    row_count: int,
) -> Tensor:
    """What is added to the bias in rows that another pack has made: (B, 1, T + appended_count), B of these rows.

    context: the texts of these rows, (B, T, width). appended: our tokens, (B, appended_count, width). source_rows:
    (B,), of which row of our batch each was made. words_by_chunk: of our batch, which has row_count rows and texts of
    text_length tokens. The texts differ from ours in two ways:
    - They may be repeated more often than ours, so that appended tokens have to count as often as they do. A token
      that stands n times in a softmax counts as much as one whose logit is log n higher.
    - They may hold inline tokens of ours, which we have appended as well (with_appended_tokens). Such a token is
      excluded where it stands in the text, and read among the appended tokens alone.
    """
    appended_count = appended.shape[1]
    repeats_of_chunks = [words_of_nodes[0].repeats_in(text_length) for words_of_nodes in words_by_chunk]
    our_repeats = repeat_rows(torch.tensor(repeats_of_chunks, device=context.device), row_count, dim=0)[source_rows]
    log_of_excess = (guessed_repeats(context) / our_repeats).log()  # (B,)
    bias_of_appended = log_of_excess[:, None].expand(-1, appended_count)

    in_chunks = torch.stack([_were_inline(words_of_nodes, appended_count) for words_of_nodes in words_by_chunk])
    were_inline = repeat_rows(in_chunks, row_count, dim=0).to(context.device)[source_rows]  # (B, appended_count)
    # One channel is enough to tell whether two tokens are the same.
    is_same = context[:, :, 0].unsqueeze(2) == appended[:, :, 0].unsqueeze(1)  # (B, T, appended_count)
    is_read_twice = (is_same & were_inline.unsqueeze(1)).any(dim=2)  # (B, T)
    bias_of_text = is_read_twice * EXCLUDED
    return torch.cat([bias_of_text, bias_of_appended], dim=1).unsqueeze(1)


def _were_inline(words_of_nodes: Sequence[UnetWords], appended_count: int) -> Tensor:
    """Which appended tokens of a chunk have been taken out of its text: (appended_count,) bool.

    False for the padding of a chunk with fewer tokens than appended_count.
    """
    were_inline_in_texts: list[Tensor] = []
    for words in words_of_nodes:
        were_inline_in_texts.append(torch.full((words.appended_count,), words.was_inline))
    were_inline = torch.cat(were_inline_in_texts)
    return functional.pad(were_inline, (0, appended_count - len(were_inline)))
