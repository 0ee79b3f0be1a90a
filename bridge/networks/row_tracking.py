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
from ..sampling.made_rows import made_rows_error

SOURCE_ROWS = "likeness_rows"
"""The key of a tensor in a layer's extra_options: of which row of the batch each row of the layer was made, (rows,).

It is there for two reasons. Another pack has made rows, or has put them into another order: then this tensor says which
is which. Or another pack has put a shorter text of its own in the place of ours: then the rows are those of the batch,
0 1 2 ..., and that the tensor is there says that the text is not ours. Where it is missing, the layer has the rows and
the texts of the batch.
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


class _RowOrder(NamedTuple):
    """The order into which a patch of another pack puts the rows of a layer, where it gives as many as there were.

    patch: it is kept here so that no other function can have its id. source_rows: (rows,), the row that each row
    was before; None where the patch leaves the rows where they are.
    """

    patch: TextPatch
    source_rows: Tensor | None


class RowTracker:
    """It calls the attn2 patches of other packs in one layer after the other, and finds out which rows they make."""

    def __init__(self) -> None:
        self._verified: tuple[int, int] | None = None
        """How many rows there were before and after the last patch that `_verify` has found right; None at first."""
        self._orders: dict[tuple[int, int], _RowOrder] = {}
        """The order of rows that a patch makes, by the id of the patch and the number of rows.

        A patch is asked for it once for all layers and steps.
        """

    def call(self, patches: Sequence[TextPatch], layer_input: LayerInput, extra_options: Options) -> LayerInput:
        """What the patches of others make of a layer's input, one after the other.

        It leaves SOURCE_ROWS in the extra_options, where that is needed (see there). Raises ConditioningLost where a
        patch makes or moves rows, and its answer does not say of which row each was made.
        """
        for patch in patches:
            rows_before_patch = extra_options.get(SOURCE_ROWS)
            output = LayerInput(*patch(*layer_input, extra_options))
            # Where several batches of ours are in a layer (Prompt per Person beside InstantID), the first one has put
            # its `call_patches` in the place of the patches of other packs. Here that is the patch, and when it is
            # called, it leaves SOURCE_ROWS by itself.
            left_by_another_batch = extra_options.get(SOURCE_ROWS) is not rows_before_patch
            if not left_by_another_batch:
                self._leave_source_rows(patch, layer_input, output, extra_options)
            layer_input = output
        return layer_input

    def _leave_source_rows(
        self, patch: TextPatch, before: LayerInput, after: LayerInput, extra_options: Options
    ) -> None:
        """Leave SOURCE_ROWS in the extra_options, if this patch has made or moved rows or has taken tokens away.

        before, after: the input of the layer before and after this patch. Raises ConditioningLost, see `call`.
        """
        source_rows = self._source_rows(patch, before, after, extra_options)
        earlier_source_rows: Tensor | None = extra_options.get(SOURCE_ROWS)
        if source_rows is not None:
            # An earlier patch may have made or moved rows too: from its rows back to those of the batch.
            if earlier_source_rows is not None:
                source_rows = earlier_source_rows[source_rows]
            extra_options[SOURCE_ROWS] = source_rows
        elif after.for_keys.shape[1] < before.for_keys.shape[1] and earlier_source_rows is None:
            # The rows are the batch's, but they read a shorter text that is not ours. That SOURCE_ROWS is there at all
            # says so; its numbers change nothing.
            extra_options[SOURCE_ROWS] = torch.arange(len(before.hidden), device=before.hidden.device)

    def _source_rows(
        self, patch: TextPatch, before: LayerInput, after: LayerInput, extra_options: Options
    ) -> Tensor | None:
        """Of which row before a patch each row after it was made, (rows after,); None where they are as they were."""
        if len(after.hidden) == len(before.hidden):  # as many rows, perhaps in another order
            return self._order(patch, before, after, extra_options)
        # In float32 the numbers of all rows are exact. In bfloat16, which a layer may compute in, 257 would be 256.
        source_rows = self._numbers_from(patch, before, extra_options, torch.float32).long()
        self._verify(patch, before.hidden, after.hidden, source_rows)
        return source_rows

    def _order(self, patch: TextPatch, before: LayerInput, after: LayerInput, extra_options: Options) -> Tensor | None:
        """The order in which a patch has put the rows of a layer, (rows,); None where they are as they were.

        It is found once for each patch and number of rows, by a trial call. Raises ConditioningLost where a patch moves
        rows and changes what is in them.
        """
        if after.hidden is before.hidden:  # the patch has not touched them
            return None
        key = id(patch), len(before.hidden)
        if key not in self._orders:
            self._orders[key] = _RowOrder(patch, self._new_order(patch, before, after, extra_options))
        return self._orders[key].source_rows

    def _new_order(
        self, patch: TextPatch, before: LayerInput, after: LayerInput, extra_options: Options
    ) -> Tensor | None:
        """The order of `_order`, by a trial call of the patch."""
        rows = len(before.hidden)
        # In the dtype of the layer: a patch that gives as many rows may multiply them by weights of its own, which
        # have that dtype.
        answer = self._numbers_from(patch, before, extra_options, before.hidden.dtype)
        in_order = torch.arange(rows, device=answer.device, dtype=answer.dtype)
        is_permutation = torch.equal(answer.sort().values, in_order)  # if not, it has calculated with the numbers
        if not is_permutation or torch.equal(answer, in_order):
            return None
        source_rows = answer.long()
        if not torch.equal(before.hidden[source_rows], after.hidden):
            raise made_rows_error(rows, rows, patch)
        return source_rows

    def _numbers_from(self, patch: TextPatch, before: LayerInput, extra_options: Options, dtype: torch.dtype) -> Tensor:
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

    def _verify(self, patch: TextPatch, before: Tensor, after: Tensor, source_rows: Tensor) -> None:
        """Raise ConditioningLost unless row n after a patch is row source_rows[n] before it.

        before, after: (rows, pixels, channels) each. The same two numbers of rows are not compared again in the layers
        and steps that follow: to compare on a GPU makes the CPU wait for it.
        """
        if (len(before), len(after)) == self._verified:
            return
        # A patch may have calculated with the numbers, so they may be those of no row.
        in_range = source_rows.clamp(0, len(before) - 1)
        if not torch.equal(before[in_range], after):
            raise made_rows_error(len(after), len(before), patch)
        self._verified = len(before), len(after)


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
