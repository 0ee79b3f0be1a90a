"""Progress bar and cancel button for loops of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import comfy.model_management
import comfy.utils

T = TypeVar("T")


def stepwise(items: Sequence[T]) -> Iterator[T]:
    """Yield the items, moving the node's progress bar after each one and stopping where the user cancels."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)
