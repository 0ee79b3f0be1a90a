"""A common text and the words of two people, read by the rule of Prompt per Person in plain torch: all texts joined,
positions set, and a mask of all tokens by all tokens."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from comfy.model_patcher import ModelPatcher
from pack.bridge.networks.attention import OVERRIDE
from tiny import tiny_dits
from tiny.tiny_dits import ANIMA, FLUX_2, IDEOGRAM_4, QWEN, Z_IMAGE
from torch import Tensor

LENGTHS = {"common": 7, "anna": 11, "ben": 5}
"""Tokens of each text."""
_TOKEN = 16
_FILLED_UP = 512
"""Tokens of every text of FLUX.2."""


def text(name: str) -> list[Any]:
    """With one pooled vector for all: FLUX.1 reads one in a whole forward, that of the common text."""
    ((words, options),) = tiny_dits.conditioning(sum(map(ord, name)), tokens=LENGTHS[name])
    return [[words, {**options, "pooled_output": tiny_dits.conditioning(1)[0][1]["pooled_output"]}]]


def joined(family: str) -> Tensor:
    """The three texts as one, of FLUX.2 each filled up."""
    texts = [text(name)[0][0] for name in LENGTHS]
    if family == FLUX_2:
        texts = [functional.pad(words, (0, 0, _FILLED_UP - words.shape[1], 0)) for words in texts]
    return torch.cat(texts, dim=1)


class Dense:
    """The rule, to put on a MODEL that is given `joined`.

    Of Anima the picture alone reads, and texts alone are read, in one attention of two.

    areas: (2, H, W), hard masks of whole tokens. front: tokens that another pack puts in front of the text. references:
    tokens of reference pictures behind the picture.
    """

    def __init__(self, family: str, model: ModelPatcher, areas: Tensor, front: int = 0, references: int = 0) -> None:
        self.family = family
        self.network: Any = model.model.diffusion_model
        multiple = {Z_IMAGE: 8, FLUX_2: _FILLED_UP}.get(family, 1)
        self.raw = [_FILLED_UP if family == FLUX_2 else count for count in LENGTHS.values()]
        self.lengths = [-(-count // multiple) * multiple for count in self.raw]
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
        if self.family == ANIMA:
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
        count = torch.cat([torch.arange(length) for length in self.raw]).to(ids)
        if self.family == FLUX_2:
            ids[:, :, 3] = count
        elif self.family == QWEN:
            ids[:, :, :] = (ids[0, 0, 0] + count)[None, :, None]
        return {**arguments, "txt_ids": ids}

    def backbone(self, backbone: Callable[..., Any]) -> Callable[..., Any]:
        """_backbone of Ideogram 4 with every text counted from its own beginning."""

        def of_texts(text: Any, x: Any, t: Any, ids: Any, *masks: Any, **options: Any) -> Any:
            count = torch.cat([torch.arange(length) for length in self.raw]).to(ids)
            of_picture = ids[:1, len(count) :]
            new_ids = torch.cat([count[None, :, None].expand(1, -1, 3), of_picture], 1)
            return backbone(text, x, t, new_ids, *masks, **options)

        return of_texts

    def captions(self, embed: Callable[..., Any]) -> Callable[..., Any]:
        """embed_cap of Z-Image for each text alone."""

        def embed_cap(cap_feats: Any = None, offset: int = 0, **options: Any) -> Any:
            parts = []
            for words, length in zip(cap_feats.split(self.raw, 1), self.lengths, strict=True):
                parts.append(embed(words, offset=offset + self.total - length, **options))
            tokens = torch.cat([part[0][0] for part in parts], 1)
            rotations = torch.cat([part[1][0] for part in parts], 1)
            return (tokens,), (rotations,), self.total

        return embed_cap

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """What is changed in the network itself, for as long as the patch."""
        if self.family == Z_IMAGE:
            patch.setattr(self.network, "embed_cap", self.captions(self.network.embed_cap))
        elif self.family == IDEOGRAM_4:
            patch.setattr(self.network, "_backbone", self.backbone(self.network._backbone))

    def patched(self, model: ModelPatcher) -> ModelPatcher:
        clone = model.clone()
        options = clone.model_options["transformer_options"]
        clone.model_options["transformer_options"] = {**options, OVERRIDE: self.override}
        if self.family in (FLUX_2, QWEN):
            clone.set_model_patch(self.positions, "post_input")
        return clone
