"""A common text and the words of two people, read by the rule of Prompt per Person in plain torch: all texts joined,
positions set, and a mask of all tokens by all tokens."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from comfy.model_patcher import ModelPatcher
from families import RECORDS
from families.record import counts
from pack.bridge.networks.attention import OVERRIDE
from tiny import tiny_dits
from torch import Tensor

LENGTHS = {"common": 7, "anna": 11, "ben": 5}
"""Tokens of each text."""
_TOKEN = 16


def text(name: str) -> list[Any]:
    """With one pooled vector for all: FLUX.1 reads one in a whole forward, that of the common text."""
    ((words, options),) = tiny_dits.conditioning(sum(map(ord, name)), tokens=LENGTHS[name])
    return [[words, {**options, "pooled_output": tiny_dits.conditioning(1)[0][1]["pooled_output"]}]]


def joined(family: str) -> Tensor:
    """The three texts as one."""
    return RECORDS[family].one_text([text(name)[0][0] for name in LENGTHS])


class Dense:
    """The rule, to put on a MODEL that is given `joined`.

    Where the picture reads in an attention of its own, it alone reads there, and texts alone are read.

    areas: (2, H, W), hard masks of whole tokens. front: tokens that another pack puts in front of the text. references:
    tokens of reference pictures behind the picture.
    """

    def __init__(self, family: str, model: ModelPatcher, areas: Tensor, front: int = 0, references: int = 0) -> None:
        self.family = family
        self.network: Any = model.model.diffusion_model
        self.record = RECORDS[family]
        self.raw = [self.record.left_padded(count) for count in LENGTHS.values()]
        self.lengths = [self.record.filled_up(count) for count in self.raw]
        self.lengths[0] += front
        self.total = sum(self.lengths)
        starts = [0, self.lengths[0], sum(self.lengths[:2]), self.total]
        words_of_texts = [slice(start, end) for start, end in pairwise(starts)]
        inside = [area[_TOKEN // 2 :: _TOKEN, _TOKEN // 2 :: _TOKEN].flatten() > 0 for area in areas]
        self.without_references = self.total + len(inside[0])
        picture = slice(self.total, self.without_references)
        beside = slice(self.without_references, None)
        tokens = self.without_references + references
        self.texts = torch.block_diag(*[torch.ones(count, count) for count in self.lengths]).bool()
        self.reads = torch.zeros(tokens, tokens, dtype=torch.bool)
        self.reads[: self.total, : self.total] = self.texts
        self.reads[:, beside] = True
        for reader in (words_of_texts[0], picture, beside):
            self.reads[reader, words_of_texts[0]] = True
            self.reads[reader, picture] = True
        for words, is_inside in zip(words_of_texts[1:], inside, strict=True):
            self.reads[words, picture] = is_inside
            self.reads[picture, words] = is_inside[:, None]

    def override(
        self, kernel: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Any = None, **more: Any
    ) -> Tensor:
        token_dim = 2 if more.get("skip_reshape") else 1
        queries, keys = q.shape[token_dim], k.shape[token_dim]
        if self.record.reads_apart:
            if keys != self.total:
                return kernel(q, k, v, heads, mask=mask, **more)
            reads = self.reads[self.total :, :keys]
        elif queries == keys == self.total:
            reads = self.texts
        elif queries >= self.without_references:
            reads = self.reads[:queries, :keys]
        else:
            return kernel(q, k, v, heads, mask=mask, **more)
        mask = torch.zeros(reads.shape).masked_fill(~reads, -1e9)[None].to(q)
        return kernel(q, k, v, heads, mask=mask, **more)

    def positions(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The host's post_input patch: every text counts its positions from its own beginning."""
        ids = arguments["txt_ids"].clone()
        self.record.count_positions(ids, counts(self.raw, ids))
        return {**arguments, "txt_ids": ids}

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """What is changed in the network itself, for as long as the patch."""
        if self.record.several_texts is not None:
            patch.setattr(self.network, *self.record.several_texts(self.network, self.raw))

    def patched(self, model: ModelPatcher) -> ModelPatcher:
        clone = model.clone()
        options = clone.model_options["transformer_options"]
        clone.model_options["transformer_options"] = {**options, OVERRIDE: self.override}
        if self.record.count_positions is not None:
            clone.set_model_patch(self.positions, "post_input")
        return clone
