"""A way around every attention of a transformer, and one split of it for all of ours that say who reads whom.

The host has one slot for a function around attention. Two functions that split one inside the other do not compose: the
inner one is asked with a part of the tokens, knows none of them, and does nothing. So there is one function, and each
of ours puts a `Reading` beside it; their splits are joined.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ...core.token_groups import AnySplit, Group, RowSplit, Split, joined, split_attention
from ..carried import ConditioningLost
from ..unet import Options

OVERRIDE = "optimized_attention_override"
COUNTS = "reference_image_num_tokens"
"""The key, among transformer_options inside of a forward, of the number of tokens of each reference latent. They are
the last of the picture's."""
_READINGS = "likeness_readings"
"""The key of the Readings among the transformer_options inside of a forward."""
Attention = Callable[..., Tensor]
"""(q, k, v, heads, mask=None, ...) -> what comes out, as the host's optimized_attention."""


class Reading(Protocol):
    """Who reads whom in the attentions of a forward, as one of ours sees it."""

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        """The split of an attention of so many queries and keys; None where every query reads every key.

        options: the transformer_options of the attention.
        """
        ...


def around_attention(options: Options, function: Callable[..., Tensor]) -> Options:
    """A copy of transformer_options in which a function is called instead of every attention.

    function: called as function(attend, q, k, v, heads, mask=None, ...). It gives what the attention gives. attend: the
    attention that it stands around, of the host or of another pack, called as attend(q, k, v, heads, mask=None, ...).
    q, k, v: as the host gives them, after RoPE (B, heads, N, d).
    """
    before = options.get(OVERRIDE)  # the function that another pack has put there

    def override(kernel: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the host calls instead of an attention. kernel: the attention that the host would call."""
        return function(partial(before, kernel) if before else kernel, q, k, v, *args, **kwargs)

    return {**options, OVERRIDE: override}


def with_reading(options: Options, reading: Reading) -> Options:
    """A copy of transformer_options with one more Reading. Every attention is split as all its Readings say."""
    readings: tuple[Reading, ...] = options.get(_READINGS, ())
    with_all_readings = {**options, _READINGS: (*readings, reading)}
    if readings:
        return with_all_readings  # the first of them has put the function around attention
    return around_attention(with_all_readings, _attention_by_readings)


class BlockCalls:
    """It counts the blocks of a network whose attention is split in one forward, to see whether none is missing.

    blocks: how many blocks the network has. is_checked: whether the next forward is checked. Only the first one of a
    run is, because in later steps a node that saves time may leave blocks out.
    """

    def __init__(self, blocks: int, is_checked: bool) -> None:
        self._blocks = blocks
        self._is_checked = is_checked
        self._is_traced = False
        self._is_called = False
        self._calls = 0

    def begin(self) -> None:
        """Called when a forward of the network begins."""
        self._is_called = True

    def count(self) -> None:
        """Called for each attention of a block that is split."""
        if torch.compiler.is_compiling():
            self._is_traced = True
        else:
            self._calls += 1

    def check(self) -> None:
        """Called when a forward has ended. Raises ConditioningLost where the attention of some blocks was not split.

        Then another pack's copy of the host's forward does not hand on transformer_options to them.
        """
        if self._is_checked and self._is_called and not self._is_traced and self._calls < self._blocks:
            why = f"hands on transformer_options to {self._calls} of the {self._blocks} blocks"
            raise ConditioningLost("unknown", why)
        self._is_checked = self._is_checked and not self._is_called


def _attention_by_readings(attend: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What an attention of the host's gives when it is split as all Readings of the forward say.

    Where no Reading splits this attention, it is called as it is. Arguments as in `around_attention`.
    """
    options: Options = kwargs.get("transformer_options", {})
    token_dim = 2 if kwargs.get("skip_reshape") else 1
    split: AnySplit | None = None
    for reading in options.get(_READINGS, ()):
        split_of_reading: AnySplit | None = reading.split(q.shape[token_dim], k.shape[token_dim], options)
        if split_of_reading is not None:
            split = split_of_reading if split is None else _joined(split, split_of_reading)
    if split is None:
        return attend(q, k, v, *args, **kwargs)
    if isinstance(split, RowSplit):
        return _attention_by_rows(split, attend, q, k, v, args, kwargs)
    return _attention_by_groups(split, attend, q, k, v, args, kwargs)


def _join(split: AnySplit, other: AnySplit) -> AnySplit:
    """The split in which every query reads only what it reads in both."""
    return joined(split, other)


# Which readings meet is known in a forward only, and torch.compile cannot trace what is then worked out once.
_joined: Any = torch.compiler.disable(_join)


def _attention_by_groups(
    split: Split,
    attend: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """What an attention gives in which all rows of the batch read the same: each group of queries its own keys.

    q, k, v: (B, heads, N, d) with skip_reshape, else (B, N, heads * d). args, kwargs: the other arguments of the host.
    """
    token_dim = 2 if kwargs.get("skip_reshape") else 1
    output_token_dim = 2 if kwargs.get("skip_output_reshape") else 1
    token_counts = q.shape[token_dim], k.shape[token_dim]

    def attend_group(group: Group, *group_qkv: Tensor) -> Tensor:
        """The attention of one group of queries. group_qkv: their q, and k and v of the keys that they read."""
        group_args, group_kwargs = _with_mask_of_group(group, token_counts, args, kwargs)
        return attend(*group_qkv, *group_args, **group_kwargs)

    return split_attention(split.on(q.device), q, k, v, attend_group, token_dim, output_token_dim)


def _attention_by_rows(
    split: RowSplit,
    attend: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """What an attention gives in which rows of the batch read differently. Arguments as in `_attention_by_groups`.

    Rows that read the same are computed together. Raises ConditioningLost where another pack has made other rows.
    """
    if len(q) != len(split.splits):
        why = f"makes {len(q)} rows of {len(split.splits)} inside attention, without a record of which belong to whom"
        raise ConditioningLost("unknown", why)
    out: Tensor | None = None
    for part in split.on(q.device):
        rows = part.rows  # (n,)
        row_args, row_kwargs = _with_mask_of_rows(rows, len(q), args, kwargs)
        row_out = _attention_by_groups(part.split, attend, q[rows], k[rows], v[rows], row_args, row_kwargs)  # (n, ...)
        if out is None:
            out = row_out.new_zeros(len(q), *row_out.shape[1:])
        out.index_copy_(0, rows, row_out)
    assert out is not None
    return out


def _with_mask_of_rows(
    rows: Tensor, row_count: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention with these rows of the mask alone, where the mask has a row for each of the batch.

    rows: (n,), their numbers. row_count: rows of the batch. A mask that all rows share stays as it is.
    """
    mask = _mask_of(args, kwargs)
    if mask is None or mask.dim() < 3 or len(mask) != row_count:
        return args, kwargs
    return _with_mask(mask.index_select(0, rows.to(mask.device)), args, kwargs)


def _mask_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The mask among the arguments of an attention, or None. args: heads, mask and more, which follow q, k and v."""
    return args[1] if len(args) > 1 else kwargs.get("mask")


def _with_mask(mask: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention with another mask, which is given as the old one was: by position, or by name."""
    if len(args) > 1:
        return (args[0], mask, *args[2:]), kwargs
    return args, {**kwargs, "mask": mask}


def _with_mask_of_group(
    group: Group, token_counts: tuple[int, int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention with the part of the mask that belongs to the queries and keys of a group.

    token_counts: how many queries and keys the whole attention has. args: as in `_mask_of`. The last two dimensions of
    a mask are queries and keys, or 1 where it is the same for all.
    """
    mask = _mask_of(args, kwargs)
    if mask is None:
        return args, kwargs
    if mask.shape[-2] == token_counts[0]:
        mask = mask.index_select(-2, group.queries)
    if group.keys is not None and mask.shape[-1] == token_counts[1]:
        mask = mask.index_select(-1, group.keys)
    return _with_mask(mask, args, kwargs)
