"""What host tests of words need of a CLIP."""

from __future__ import annotations

import torch


class Clip:
    """77 tokens that depend on the words, for SDXL's width or another."""

    def __init__(self, width: int = 2048) -> None:
        self.width = width

    def tokenize(self, words: str) -> str:
        return words

    def encode_from_tokens(self, words: str, return_pooled: bool) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(sum(map(ord, words)))
        return torch.randn(1, 77, self.width, generator=generator), torch.randn(1, 1280, generator=generator)
