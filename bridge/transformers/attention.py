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
        """The split of an attention of so many queries and keys; None where everybody reads everything. options: the
        forward's own."""
        ...


def around_attention(options: Options, function: Callable[..., Tensor]) -> Options:
    """A copy of transformer_options with a function around every attention, and around whoever has replaced it.

    (attend, q, k, v, heads, mask=None, ...) -> attend(q, k, v, heads, mask=mask, ...), changed; q, k, v: as the host
    gives them, after RoPE (B, heads, N, d).
    """
    before = options.get(OVERRIDE)

    def override(kernel: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(partial(before, kernel) if before else kernel, q, k, v, *args, **kwargs)

    return {**options, OVERRIDE: override}


def with_reading(options: Options, reading: Reading) -> Options:
    """A copy of transformer_options in which every attention is split as this and all other readings say."""
    readings: tuple[Reading, ...] = options.get(_READINGS, ())
    more = {**options, _READINGS: (*readings, reading)}
    return more if readings else around_attention(more, _split)


class BlockCalls:
    """Whether every block of a network asks for its attention, so that it is split.

    blocks: how many there are. is_checked: in later steps a node that saves time may leave blocks out.
    """

    def __init__(self, blocks: int, is_checked: bool) -> None:
        self._blocks = blocks
        self._is_checked = is_checked
        self._is_traced = False
        self._is_called = False
        self._calls = 0

    def begin(self) -> None:
        """The network is called."""
        self._is_called = True

    def count(self) -> None:
        """One attention of a block is split."""
        if torch.compiler.is_compiling():
            self._is_traced = True
        else:
            self._calls += 1

    def check(self) -> None:
        """Raise ConditioningLost where a copy of the host's forward does not hand on what attention needs to know."""
        if self._is_checked and self._is_called and not self._is_traced and self._calls < self._blocks:
            why = f"hands on transformer_options to {self._calls} of the {self._blocks} blocks"
            raise ConditioningLost("unknown", why)
        self._is_checked = self._is_checked and not self._is_called


def _split(attend: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """An attention of the host's, split as all readings say. One of which they know nothing passes through."""
    options: Options = kwargs.get("transformer_options", {})
    token_dim = 2 if kwargs.get("skip_reshape") else 1
    split: AnySplit | None = None
    for reading in options.get(_READINGS, ()):
        of_reading: AnySplit | None = reading.split(q.shape[token_dim], k.shape[token_dim], options)
        if of_reading is not None:
            split = of_reading if split is None else _joined(split, of_reading)
    if split is None:
        return attend(q, k, v, *args, **kwargs)
    if isinstance(split, RowSplit):
        return _attended_by_row(split, attend, q, k, v, args, kwargs)
    return _attended(split, attend, q, k, v, args, kwargs)


def _join(split: AnySplit, other: AnySplit) -> AnySplit:
    return joined(split, other)


# Which readings meet is known in a forward only, and torch.compile cannot trace what is then worked out once.
_joined: Any = torch.compiler.disable(_join)


def _attended(
    split: Split,
    attend: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """What comes out of an attention in which all rows of the batch read the same.

    q, k, v: (B, heads, N, d) with skip_reshape, else (B, N, heads * d). args, kwargs: what else the host gives.
    """
    token_dim = 2 if kwargs.get("skip_reshape") else 1
    output_token_dim = 2 if kwargs.get("skip_output_reshape") else 1
    whole = q.shape[token_dim], k.shape[token_dim]

    def ask(group: Group, *qkv: Tensor) -> Tensor:
        group_args, group_kwargs = _masked(group, whole, args, kwargs)
        return attend(*qkv, *group_args, **group_kwargs)

    return split_attention(split.on(q.device), q, k, v, ask, token_dim, output_token_dim)


def _attended_by_row(
    split: RowSplit,
    attend: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """What comes out of an attention in which rows of the batch read differently. Raises ConditioningLost where another
    pack has made other rows."""
    if len(q) != len(split.splits):
        why = f"makes {len(q)} rows of {len(split.splits)} inside attention, without a record of which belong to whom"
        raise ConditioningLost("unknown", why)
    out: Tensor | None = None
    for part in split.on(q.device):
        rows = part.rows  # (n,)
        row_args, row_kwargs = _with_mask_of_rows(rows, len(q), args, kwargs)
        row_out = _attended(part.split, attend, q[rows], k[rows], v[rows], row_args, row_kwargs)  # (n, ...)
        if out is None:
            out = row_out.new_zeros(len(q), *row_out.shape[1:])
        out.index_copy_(0, rows, row_out)
    assert out is not None
    return out


def _with_mask_of_rows(
    rows: Tensor, batch: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with the mask of these rows, where a mask has something for each of `batch` rows."""
    mask = _mask_of(args, kwargs)
    if mask is None or mask.dim() < 3 or len(mask) != batch:
        return args, kwargs
    return _with_mask(mask.index_select(0, rows.to(mask.device)), args, kwargs)


def _mask_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The mask among what an attention is given behind q, k and v: heads, mask and more."""
    return args[1] if len(args) > 1 else kwargs.get("mask")


def _with_mask(mask: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with another mask, where the first one stood."""
    if len(args) > 1:
        return (args[0], mask, *args[2:]), kwargs
    return args, {**kwargs, "mask": mask}


def _masked(
    group: Group, whole: tuple[int, int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What an attention of so many (queries, keys) is given behind q, k and v, with the mask of a group.

    args: heads, mask and more. A mask's last dimensions are queries and keys, or 1 where it is the same for all.
    """
    mask = _mask_of(args, kwargs)
    if mask is None:
        return args, kwargs
    if mask.shape[-2] == whole[0]:
        mask = mask.index_select(-2, group.queries)
    if group.keys is not None and mask.shape[-1] == whole[1]:
        mask = mask.index_select(-1, group.keys)
    return _with_mask(mask, args, kwargs)
