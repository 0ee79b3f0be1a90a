"""What another pack's attention is given, and rows that it makes inside a layer.

Without a record of which belong to whom, or with texts of its own, these are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from .carried import ConditioningLost
from .code_of_others import modules_of


def made_rows_error(
    layer_row_count: int, batch_row_count: int, function: Callable[..., object] | None
) -> ConditioningLost:
    """The error where another pack makes rows inside a layer. function: of that pack, None where it is unknown."""
    why = (
        f"makes {layer_row_count} rows of {batch_row_count} inside attention, without a record of which belong to whom"
    )
    functions = [] if function is None else [function]
    return ConditioningLost(modules_of(functions), why)


def texts_of_others_error(
    length: int, length_of_others: int, functions: Iterable[Callable[..., object]]
) -> ConditioningLost:
    """The error where rows of another pack read texts of its own, in which no tokens of people stand.

    length: tokens of the prompt. length_of_others: those that the rows read. functions: of that pack.
    """
    why = (
        f"lets attention read other texts ({length_of_others} tokens) than the prompt's ({length}), without the words "
        "and ID tokens of people; Prompt per Person gives each person a prompt by region"
    )
    return ConditioningLost(modules_of(functions), why)


def copied(*given: Tensor) -> list[Tensor]:
    """What another pack's function is given: copies, into which it may write. The same queries, keys and values may be
    handed to several attentions, and some are kept for the next steps."""
    return [tensor.clone() for tensor in given]
