"""Of which row of the batch another pack has made each row of a layer: bridge/networks/row_tracking.py's example."""

import pytest
import torch
from pack.bridge.networks.row_tracking import (
    SOURCE_ROWS,
    LayerInput,
    call_patches,
    check_texts,
    of_source_rows,
    repeat_rows,
)
from pack.bridge.sampling.carried import ConditioningLost

pytestmark = pytest.mark.both_hosts


def layer_input(rows=4, tokens=77):
    generator = torch.Generator().manual_seed(11)
    hidden = torch.randn(rows, 6, 8, generator=generator)
    text = torch.randn(rows, tokens, 8, generator=generator)
    return LayerInput(hidden, text, text)


def regions_of_the_positive(n, context, value, extra_options):
    """As attention couple: the first half of the rows, of the positive prompt, once for each of two regions."""
    half = len(n) // 2
    rows = [*range(half), *range(half), *range(half, len(n))]
    return n[rows], context[rows], value[rows]


def reversed_rows_and_one_more(n, context, value, extra_options):
    rows = [*reversed(range(len(n))), 0]
    return n[rows], context[rows], value[rows]


def shorter_text(n, context, value, extra_options):
    return n, context[:, :5], value[:, :5]


def mean_of_all_rows(n, context, value, extra_options):
    """It makes a row that is none of those before."""
    with_the_mean = torch.cat([n, n.mean(dim=0, keepdim=True)])
    return with_the_mean, context[[*range(len(n)), 0]], value[[*range(len(n)), 0]]


def test_the_drawn_example():
    extra_options = {}
    before = layer_input()
    after = call_patches([regions_of_the_positive], before, extra_options)
    assert extra_options[SOURCE_ROWS].tolist() == [0, 1, 0, 1, 2, 3]
    assert torch.equal(after.hidden, of_source_rows(before.hidden, extra_options[SOURCE_ROWS], dim=0))


def test_rows_of_rows_are_those_of_the_batch():
    extra_options = {}
    before = layer_input()
    after = call_patches([regions_of_the_positive, reversed_rows_and_one_more], before, extra_options)
    assert extra_options[SOURCE_ROWS].tolist() == [3, 2, 1, 0, 1, 0, 0]
    assert torch.equal(after.hidden, of_source_rows(before.hidden, extra_options[SOURCE_ROWS], dim=0))


def longer_text(n, context, value, extra_options):
    return n, torch.cat([context, context], dim=1), torch.cat([value, value], dim=1)


def another_text_for_one_region(n, context, value, extra_options):
    rows, texts, _ = regions_of_the_positive(n, context, value, extra_options)
    texts[0] += 1
    return rows, texts, texts


@pytest.mark.parametrize(
    ("patches", "left"),
    [
        ([shorter_text], 5), ([another_text_for_one_region], 77), ([regions_of_the_positive, longer_text], 154),
        ([longer_text], None), ([regions_of_the_positive], None),
    ],
)  # fmt: skip
def test_texts_of_others_are_refused(patches, left):
    """left: tokens, None where rows read the texts they were made with, or these and more."""
    before = layer_input()
    extra_options = {}
    after = call_patches(patches, before, extra_options)
    if left is None:
        check_texts(patches, before.for_keys, after, extra_options)
        return
    with pytest.raises(
        ConditioningLost, match=rf"test_row_tracking\) .*other texts \({left} tokens\) .*Prompt per Person"
    ):
        check_texts(patches, before.for_keys, after, extra_options)


def test_where_rows_and_texts_stay_nothing_is_left():
    extra_options = {}
    before = layer_input()
    after = call_patches([lambda n, context, value, options: (n, context, value)], before, extra_options)
    assert extra_options == {}
    assert after.hidden is before.hidden


def test_rows_that_are_none_of_the_batch_are_refused():
    with pytest.raises(ConditioningLost, match=r"test_row_tracking\) makes 5 rows of 4 inside attention"):
        call_patches([mean_of_all_rows], layer_input(), {})


def test_what_lies_by_row_is_that_of_the_rows_of_the_layer():
    by_row = torch.arange(4)
    assert of_source_rows(by_row, None, dim=0) is by_row
    assert of_source_rows(by_row, torch.tensor([0, 1, 0, 1, 2, 3]), dim=0).tolist() == [0, 1, 0, 1, 2, 3]
    assert repeat_rows(torch.arange(2), 4, dim=0).tolist() == [0, 0, 1, 1]


def reversed_rows(n, context, value, extra_options):
    return n.flip(0), context.flip(0), value.flip(0)


def reversed_and_larger_where_not_whole(n, context, value, extra_options):
    """It moves the rows and changes what is in them, but not the rows' numbers, which are whole."""
    moved = n.flip(0)
    changed = torch.where(moved == moved.round(), moved, moved * 2)
    return changed, context.flip(0), value.flip(0)


def larger_rows(n, context, value, extra_options):
    return n * 2, context, value


def test_rows_in_another_order_are_found_again():
    extra_options = {}
    before = layer_input()
    after = call_patches([reversed_rows], before, extra_options)
    assert extra_options[SOURCE_ROWS].tolist() == [3, 2, 1, 0]
    assert torch.equal(after.hidden, of_source_rows(before.hidden, extra_options[SOURCE_ROWS], dim=0))


def test_rows_with_the_same_numbers_are_told_apart():
    """Before the first layer that reads a text both sides may have the same, and their texts are moved."""
    same = layer_input()
    same = same._replace(hidden=same.hidden[:1].expand(4, -1, -1))
    extra_options = {}
    call_patches([reversed_rows], same, extra_options)
    assert extra_options[SOURCE_ROWS].tolist() == [3, 2, 1, 0]


def test_rows_that_one_patch_makes_and_another_moves_are_found_again():
    extra_options = {}
    call_patches([regions_of_the_positive, reversed_rows], layer_input(), extra_options)
    assert extra_options[SOURCE_ROWS].tolist() == [3, 2, 1, 0, 1, 0]


def test_rows_that_are_changed_and_stay_where_they_are_leave_nothing():
    extra_options = {}
    call_patches([larger_rows], layer_input(), extra_options)
    assert extra_options == {}


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "DefaultCPUAllocator: can't allocate memory: 4 bytes"])
def test_memory_that_runs_out_is_not_tried_with_the_whole_text(words):
    lengths = []

    def patch(n, context, value, extra_options):
        lengths.append(context.shape[1])
        if context.shape[1] == 1:
            raise RuntimeError(words)
        return regions_of_the_positive(n, context, value, extra_options)

    with pytest.raises(RuntimeError, match=words):
        call_patches([patch], layer_input(), {})
    assert lengths == [77, 1]


def reversed_and_larger(n, context, value, extra_options):
    return n.flip(0) * 2, context.flip(0), value.flip(0)


@pytest.mark.parametrize("patch", [reversed_and_larger_where_not_whole, reversed_and_larger])
def test_rows_that_are_moved_and_changed_are_refused(patch):
    with pytest.raises(ConditioningLost, match=r"test_row_tracking\) makes 4 rows of 4 inside attention"):
        call_patches([patch], layer_input(), {})
