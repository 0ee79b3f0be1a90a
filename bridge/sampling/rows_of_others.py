"""Rows that another pack makes inside a layer: without a record of which belong to whom, or with texts of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

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


def attention_of_other_pack(
    replacement: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, extra_options: Mapping[str, Any]
) -> Tensor:
    """What another pack's function in place of attention gives: (B, N, C), a row for each row of the queries.

    q: (B, N, C). k, v: (B, T, C) each. The result is added to or put beside attention of ours, row by row, so row n of
    both must be one picture. Raises ConditioningLost, which names the pack, where the result has another number of
    rows. Two kinds of packs make other rows: one gives two results for each row and takes their mean in a patch after
    the layer, the other doubles the rows in a patch before attention and takes the mean in this function.
    """
    out = replacement(q, k, v, extra_options)
    if len(out) != len(q):
        raise made_rows_error(len(out), len(q), replacement)
    return out
