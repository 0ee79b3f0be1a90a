"""A way around every attention of a transformer, and one split of it for all of ours that say who reads whom.

The host has one slot for a function around attention. Two functions that split one inside the other do not compose: the
inner one is asked with a part of the tokens, knows none of them, and does nothing. So there is one function, and each
of ours puts a `Reading` beside it; their splits are joined. A patch of the host's that returns a mask (attn1_patch)
would not do: Qwen-Image passes over that mask without an error (ComfyUI 0.33).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...core.attention.token_groups import AnySplit, Group, RowSplit, Split, joined, split_attention
from ..host.unet import Options
from ..sampling.carried import ConditioningLost
from ..sampling.rows_of_others import copied
from ..sampling.watch import DueCalls
from .file_attention import OVERRIDE, Attention, attention_of_file, for_some_tokens
from .transformer_families import TransformerFamily

_OWN = "likeness_override"
"""The key, inside of a forward, of the last function around attention that is of ours."""
_READINGS = "likeness_readings"
"""The key of the Readings among the transformer_options inside of a forward."""


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
    attention that it stands around, of the host, of the model's file or of another pack, called as attend(q, k, v,
    heads, mask=None, ...). q, k, v: as the host gives them, after RoPE (B, heads, N, d).
    """
    override_before = options.get(OVERRIDE)  # the function that another pack has put there, or of ours
    is_of_others = override_before is not options.get(_OWN)

    def override(kernel: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if override_before:
            attend = partial(override_before, kernel)  # kernel: the host's attention, which the host gives it, too
            if is_of_others:
                attend = partial(_with_copies, attend)
        else:
            attend = attention_of_file(kwargs.get("transformer_options", {})) or kernel
        return function(attend, q, k, v, *args, **kwargs)

    return {**options, OVERRIDE: override, _OWN: override}


def _with_copies(attend: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What another pack's function gives of copies, see `copied`. Arguments as in `around_attention`."""
    q, k, v = copied(q, k, v)
    if len(args) > 1 and args[1] is not None:  # heads, mask, ...
        args = (args[0], args[1].clone(), *args[2:])
    elif kwargs.get("mask") is not None:
        kwargs = {**kwargs, "mask": kwargs["mask"].clone()}
    return attend(q, k, v, *args, **kwargs)


def with_reading(options: Options, reading: Reading) -> Options:
    """A copy of transformer_options with one more Reading. Every attention is split as all its Readings say."""
    with_all_readings = {**options, _READINGS: (*options.get(_READINGS, ()), reading)}
    if _READINGS in options:
        return with_all_readings  # the first Reading has put the function around attention
    return around_attention(with_all_readings, _attention_by_readings)


def without_readings(options: Options) -> Options:
    """A copy of transformer_options without Readings, to which others can be added."""
    return {**options, _READINGS: ()} if _READINGS in options else options


def attending_parts(modules: Mapping[str, nn.Module], family: TransformerFamily) -> DueCalls:
    """The parts of a network whose attention is split by readings: its blocks, or the text_reader in each.

    modules: of the network, by name. Each part is its own key: an attention does not know in which it is, see DueCalls.
    """
    parts: list[nn.Module] = []
    for name, block in modules.items():
        path, _, number = name.rpartition(".")
        if path in family.blocks and number.isdigit():
            parts.append(block.get_submodule(family.text_reader))  # of "": the block itself
    return {part: part for part in parts}


def _attention_by_readings(attend: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What an attention of the host's gives when it is split as all Readings of the forward say.

    Where no Reading splits this attention, it is called as it is. Arguments as in `around_attention`.
    """
    options: Options = kwargs.get("transformer_options", {})
    token_dim = 2 if kwargs.get("skip_reshape") else 1  # (B, heads, N, d), else (B, N, heads * d)
    split: AnySplit | None = None
    for reading in options.get(_READINGS, ()):
        split_of_reading: AnySplit | None = reading.split(q.shape[token_dim], k.shape[token_dim], options)
        if split_of_reading is not None:
            split = split_of_reading if split is None else joined(split, split_of_reading)
    if split is None:  # no Reading splits this attention
        return attend(q, k, v, *args, **kwargs)
    call = _Call(for_some_tokens(attend, options), q, k, v, args, kwargs)
    return call.by_rows(split) if isinstance(split, RowSplit) else call.by_groups(split)


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of an attention that is split.

    attend: the attention. q, k, v: (B, heads, N, d) with skip_reshape among the arguments, else (B, N, heads * d).
    args, kwargs: the other arguments of the host: heads, mask and more, which follow q, k and v.
    """

    attend: Attention
    q: Tensor
    k: Tensor
    v: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def by_groups(self, split: Split) -> Tensor:
        """What the attention gives where all rows of the batch read the same, in the shape of the undivided attention.

        Each group of queries reads its own keys.
        """
        token_dim = 2 if self.kwargs.get("skip_reshape") else 1
        output_token_dim = 2 if self.kwargs.get("skip_output_reshape") else 1
        token_counts = self.q.shape[token_dim], self.k.shape[token_dim]

        def attend_group(group: Group, *group_qkv: Tensor) -> Tensor:
            args, kwargs = self._with_mask(self._mask_of_group(group, token_counts))
            return self.attend(*group_qkv, *args, **kwargs)

        asking = split.on(self.q.device)
        return split_attention(asking, self.q, self.k, self.v, attend_group, token_dim, output_token_dim)

    def by_rows(self, split: RowSplit) -> Tensor:
        """What the attention gives where rows of the batch read differently. Rows that read the same are computed
        together. Raises ConditioningLost where another pack has made more or fewer rows."""
        row_count = len(self.q)
        if row_count != len(split.splits):
            made = f"makes {row_count} rows of {len(split.splits)} inside attention"
            raise ConditioningLost("", f"{made}, without a record of which belong to whom")
        asked = split.on(self.q.device)
        outputs: list[Tensor] = []
        for part in asked.parts:
            args, kwargs = self._with_mask(self._mask_of_rows(part.rows))
            call = _Call(self.attend, self.q[part.rows], self.k[part.rows], self.v[part.rows], args, kwargs)
            outputs.append(call.by_groups(part.split))  # (rows of the part, ...)
        out = torch.cat(outputs)
        return out if asked.places is None else out.index_select(0, asked.places)

    @property
    def _mask(self) -> Tensor | None:
        """The mask of the call, by position behind the heads or by name; None where it has none."""
        return self.args[1] if len(self.args) > 1 else self.kwargs.get("mask")

    def _mask_of_rows(self, rows: Tensor | slice) -> Tensor | None:
        """The mask of some rows alone. rows: as of RowsAlike. A mask that all rows share stays as it is."""
        mask = self._mask
        # With 2 dimensions it is (queries, keys), for all rows.
        is_by_row = mask is not None and mask.dim() >= 3 and len(mask) == len(self.q)
        if mask is None or not is_by_row:
            return mask
        return mask[rows] if isinstance(rows, slice) else mask.index_select(0, rows.to(mask.device))

    def _mask_of_group(self, group: Group, token_counts: tuple[int, int]) -> Tensor | None:
        """The part of the mask that belongs to the queries and keys of a group, with what the group adds to logits.

        token_counts: how many queries and keys the whole attention has. The last two dimensions of a mask are queries
        and keys, or 1 where it is the same for all.
        """
        query_count, key_count = token_counts
        mask = self._mask
        # A dimension of 1 is not cut: it holds for every group.
        if mask is not None and mask.shape[-2] == query_count:
            mask = mask.index_select(-2, group.queries)
        if mask is not None and mask.shape[-1] == key_count and group.keys is not None:  # None: it reads all keys
            mask = mask.index_select(-1, group.keys)
        bias = group.bias_of_keys
        if bias is None:
            return mask
        bias = bias.to(self.q).expand(1, 1, len(group.queries), -1)  # one row in memory
        if mask is None:
            return bias
        # A bool mask has True where a key is read; any other is added to the logits.
        return torch.where(mask, bias, -torch.inf) if mask.dtype == torch.bool else mask + bias

    def _with_mask(self, mask: Tensor | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """args and kwargs of the call with this mask in the place of its own.

        It is given by position where the call's own was, and else by name. mask: None where the call has none of its
        own and needs none.
        """
        if mask is None:
            return self.args, self.kwargs
        if len(self.args) > 1:  # heads, mask, ...
            return (self.args[0], mask, *self.args[2:]), self.kwargs
        return self.args, {**self.kwargs, "mask": mask}
