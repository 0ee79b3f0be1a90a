"""Words about people for a transformer, as Prompt per Person puts them into the conditioning."""

from collections.abc import Sequence
from typing import Any

from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.words.transformer.words import TransformerWords
from torch import Tensor


def carried_words(texts: Sequence[Tensor], regions: Tensor, names: Sequence[str], **changed: Any) -> TransformerWords:
    """texts: (1, T, width) of each person. regions: (people, H, W), how strongly they are read where."""
    return TransformerWords(object(), WHOLE_SCHEDULE, regions, tuple(texts), tuple(names), **changed)


def encoded(clip: Any, words: str) -> Any:
    """As CLIP Text Encode gives it."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(words))
