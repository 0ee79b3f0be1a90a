"""It finds the row of the batch from which another pack has made each row of a layer, so that rows keep their people.

A batch of ours holds what each row of the UNet's batch reads: row 0 reads Anna, say, and row 1 reads nobody. A layer
usually has the same rows. But the host lets other packs change what a cross-attention layer is given, by functions
called attn2 patches, and packs for prompts by region (attention couple) make a row for each region there. For them the
layer has more rows than the batch, and each must read what the row reads of which it was made.

An example: two entries (positive and negative), two pictures, and a pack that gives the positive a row for each of its
two regions:

    batch: row  entry     picture        the layer: row  text of     made of row
             0  positive  first                       0  region 1    0
             1  positive  second                      1  region 1    1
             2  negative  first                       2  region 2    0
             3  negative  second                      3  region 2    1
                                                      4  negative    2
                                                      5  negative    3

    extra_options[SOURCE_ROWS] = tensor([0, 1, 0, 1, 2, 3])

No host and no pack says of which row a new row was made. So the patch is called a second time, with a number in the
place of each row, and gives the numbers in the order of its rows. A patch that gives as many rows as there were is
asked too, because it may have put them into another order:

    the patch is given      [h0 h0 ..]  [h1 h1 ..]  [h2 h2 ..]  [h3 h3 ..]       (rows, pixels, channels)
    then it is given        [ 0  0 ..]  [ 1  1 ..]  [ 2  2 ..]  [ 3  3 ..]
    and gives               [ 0  0 ..]  [ 1  1 ..]  [ 0  0 ..]  [ 1  1 ..]  [ 2  2 ..]  [ 3  3 ..]

With that, whatever a batch holds by row becomes what the layer needs: `of_source_rows(keys, source_rows, dim)`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core.checks.memory import is_out_of_memory
from ..host.unet import Options
from ..sampling.rows_of_others import made_rows_error, texts_of_others_error

SOURCE_ROWS = "likeness_rows"
"""The key of a tensor in a layer's extra_options: of which row of the batch each row of the layer was made, (rows,).

It is there where another pack has made rows, or has put them into another order. Where it is missing, the layer has the
rows of the batch.
"""

TextPatch = Callable[[Tensor, Tensor, Tensor, Options], tuple[Tensor, Tensor, Tensor]]
"""The host's attn2 patch, with the arguments and the result of a LayerInput, and the layer's extra_options last."""


class LayerInput(NamedTuple):
    """What a cross-attention layer is given, before q, k and v are projected from it.

    hidden: (rows, pixels, channels). for_keys, for_values: the text, (rows, tokens, width) each.
    """

    hidden: Tensor
    for_keys: Tensor
    for_values: Tensor


def call_patches(patches: Sequence[TextPatch], layer_input: LayerInput, extra_options: Options) -> LayerInput:
    """What the attn2 patches of other packs make of a layer's input, one after the other.

    It leaves SOURCE_ROWS in the extra_options, where that is needed (see there). Which rows a patch makes is asked in
    every call of every layer: the same patch may leave them at one step and move them at the next. Raises
    ConditioningLost where a patch makes or moves rows, and its answer does not say of which row each was made.
    """
    for patch in patches:
        rows_before_patch = extra_options.get(SOURCE_ROWS)
        output = LayerInput(*patch(*layer_input, extra_options))
        # Where several batches of ours are in a layer (Prompt per Person beside InstantID), the first one has put its
        # `call_patches` in the place of the patches of other packs. Here that is the patch, and when it is called, it
        # leaves SOURCE_ROWS by itself.
        left_by_another_batch = extra_options.get(SOURCE_ROWS) is not rows_before_patch
        if not left_by_another_batch:
            _leave_source_rows(patch, layer_input, output, extra_options)
        layer_input = output
    return layer_input


def _leave_source_rows(patch: TextPatch, before: LayerInput, after: LayerInput, extra_options: Options) -> None:
    """Leave SOURCE_ROWS in the extra_options, if this patch has made or moved rows.

    before, after: the input of the layer before and after this patch. Raises ConditioningLost, see `call_patches`.
    """
    source_rows = _source_rows(patch, before, after, extra_options)
    if source_rows is None:
        return
    # An earlier patch may have made or moved rows too: from its rows back to those of the batch.
    earlier_source_rows: Tensor | None = extra_options.get(SOURCE_ROWS)
    extra_options[SOURCE_ROWS] = source_rows if earlier_source_rows is None else earlier_source_rows[source_rows]


def _source_rows(patch: TextPatch, before: LayerInput, after: LayerInput, extra_options: Options) -> Tensor | None:
    """Of which row before a patch each row after it was made, (rows after,); None where they are as they were.

    Raises ConditioningLost where row n after the patch is not the row before it that the patch's answer names.
    """
    rows = len(before.hidden)
    # Not by their numbers: in the first layer both sides may have the same ones, and their texts differ.
    if after.hidden is before.hidden:  # most patches touch the text alone
        return None
    has_as_many_rows = len(after.hidden) == rows
    # In float32 the numbers of all rows are exact. In bfloat16, which a layer may compute in, 257 would be 256. But a
    # patch that gives as many rows may multiply them by weights of its own, which have the dtype of the layer.
    answer = _numbers_from(patch, before, extra_options, before.hidden.dtype if has_as_many_rows else torch.float32)
    if has_as_many_rows:
        is_in_order = bool((answer.diff() > 0).all())
        # It leaves the rows where they are, or gives some the same number, so that no number says which row it was.
        if is_in_order or len(answer.unique()) < rows:
            return None
    source_rows = answer.long()
    # A patch may have calculated with the numbers, so they may be those of no row.
    in_range = source_rows.clamp(0, rows - 1)
    if not torch.equal(before.hidden[in_range], after.hidden):
        raise made_rows_error(len(after.hidden), rows, patch)
    return source_rows


def _numbers_from(patch: TextPatch, before: LayerInput, extra_options: Options, dtype: torch.dtype) -> Tensor:
    """What a patch makes of the rows' numbers: (rows after,), of this dtype.

    The patch is called on trial, with the number of each row in the place of its hidden values.
    """
    hidden = before.hidden
    numbers = torch.arange(len(hidden), device=hidden.device, dtype=dtype)
    as_hidden = numbers[:, None, None].expand(hidden.shape)  # (rows, pixels, channels)
    try:
        # One token is enough: what becomes of the text is not looked at.
        answer = patch(as_hidden, before.for_keys[:, :1], before.for_values[:, :1], dict(extra_options))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise  # the whole text would need more still
        # The patch puts texts of its own beside ours, so ours has to be whole.
        answer = patch(as_hidden, before.for_keys, before.for_values, dict(extra_options))
    return answer[0][:, 0, 0]  # of `hidden`, (rows after, pixels, channels): all numbers of a row are the same


def check_texts(patches: Sequence[TextPatch], context: Tensor, after: LayerInput, extra_options: Options) -> None:
    """Raise ConditioningLost unless each row of a layer reads the text of the row that it was made of.

    Where no rows were made or moved, a patch may put more behind the text.

    patches: of other packs, which have been called by `call_patches`. context: the text before that, (B, T, width).
    after: what the patches have made. extra_options: of the layer.
    """
    if after.for_keys is context:
        return
    length = context.shape[1]
    source_rows: Tensor | None = extra_options.get(SOURCE_ROWS)
    read = after.for_keys[:, :length] if source_rows is None else after.for_keys
    if not torch.equal(read, of_source_rows(context, source_rows, dim=0)):
        raise texts_of_others_error(length, after.for_keys.shape[1], patches)


def of_source_rows(x: Tensor, source_rows: Tensor | None, dim: int) -> Tensor:
    """The rows of x that the rows of a layer were made of, in the order of the layer.

    x: with the rows of the batch in dimension `dim`. source_rows: (rows of the layer,), for each row of the layer the
    row of the batch it was made of; None where the rows are the same.
    """
    if source_rows is None:
        return x
    return x.index_select(dim, source_rows)


def repeat_rows(x: Tensor, row_count: int, dim: int) -> Tensor:
    """x with each row repeated next to itself (0 0 1 1), so that dimension `dim` has row_count rows.

    row_count: a multiple of the rows of x.
    """
    if x.shape[dim] == row_count:
        return x
    return x.repeat_interleave(row_count // x.shape[dim], dim=dim)
