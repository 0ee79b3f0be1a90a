"""Rows of a batch: each is the picture of a run of its own; people of a row each are alone in theirs."""

from dataclasses import replace
from typing import Any

import pytest
from figures import relative
from graphs import UNCONNECTED, node
from method_rows import ALONE, ONE_TEXT_FOR_ALL_ROWS, Row, applies_to, has_rows, latents, rows
from pack.core.checks.errors import LikenessError
from sample_values import by_row, cast, latent, layout, with_loras

OFTEN = ALONE


def alone_in_a_picture(number: int) -> Any:
    """The cast of a person of by_row() in a picture without the others."""
    member = by_row().people[number]
    return cast(with_loras(member.person), weights=[member.weight], places=layout(member.slot, width=128, height=128))


A_ROW_EACH = (has_rows, "People with a row of the batch each are not for this node.")


def latent_of(number: int, width: int = 128, height: int = 96) -> dict[str, Any]:
    """The picture of this number, without the others."""
    return {**latent(width, height), "batch_index": [number]}


def test_a_batch_is_its_pictures(row: Row) -> None:
    batch = latents(row.sampled(row.node(), latent(batch=2), steps=1))
    for number in range(2):
        alone = latents(row.sampled(row.node(), latent_of(number), steps=1))
        assert relative(alone, batch[number : number + 1]) <= 2e-5


@applies_to(*A_ROW_EACH)
def test_people_of_a_row_each_are_alone_in_it(row: Row) -> None:
    by_rows = replace(row, variant="a row each")
    sentences = {"sentences": "none"} if "sentences" in row.inputs else {}
    batch = latents(by_rows.sampled(by_rows.node(**sentences), steps=1))
    assert len(batch) == 2
    for picture, plain in zip(batch, latents(by_rows.plain(steps=1)), strict=True):
        assert relative(picture, plain) > 1e-4, "it does nothing"
    for number in range(2):
        people = alone_in_a_picture(number)
        changed = {}
        if {"control_net", "image"} <= {*row.inputs}:
            keypoints = node("LikenessDrawSkeletons", draw="face keypoints", cast=people)
            changed["image"] = UNCONNECTED if row.kind == "LikenessApplyIDPatch" else keypoints
        applied = row.node(cast=people, **changed, **sentences)
        alone = latents(row.sampled(applied, latent_of(number, 128, 128), steps=1))
        assert relative(alone, batch[number : number + 1]) <= 2e-5


@applies_to(*A_ROW_EACH)
def test_another_number_of_rows_is_refused(row: Row) -> None:
    by_rows = replace(row, variant="a row each")
    with pytest.raises(LikenessError, match="3"):
        latents(by_rows.sampled(by_rows.node(), latent(128, 128, 3), steps=1))


def test_who_cannot_says_so() -> None:
    """Of people with a row each; pictures of a batch are as ever."""
    (row,) = [row for row in rows() if row.kind == ONE_TEXT_FOR_ALL_ROWS]
    with pytest.raises(LikenessError, match="each person has a picture of their own, from Crop Faces"):
        latents(row.sampled(row.node(cast=by_row())))
