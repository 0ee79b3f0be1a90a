"""Masks: of a half it is another picture than of the other half, of everything it is none, of nothing it is refused."""

from typing import Any

import pytest
import torch
from attack_graphs import ours, value
from figures import relative
from pack.core.errors import LikenessError
from promised import Condition, Row, applies_to, latents, picture
from torch import Tensor

PARTS = {
    "LikenessApplyParts": lambda part: {"features": ours("LikenessEncodeParts", parts=part)},
    "LikenessSharePartsAttention": lambda part: {"parts": part},
}
"""Whose masks stand at the parts."""
ONE: dict[str, dict[str, Any]] = {
    "LikenessApplyPhotoMaker": {"text": "a woman img"},
    "LikenessApplyStoryMaker": {"bodies": value("image()"), "body_masks": value("mask()")},
}
"""With one person where the defaults are for two."""


CONDITIONS = (Condition(lambda row: "mask" in row.inputs or row.kind in PARTS, "The node has no mask."),)


def takes_one_person(row: Row) -> bool:
    """Whether somebody without a place may be in all of the picture, or the masks are those of parts."""
    if row.kind in PARTS:
        return True
    who = row.inputs.get("cast", row.inputs["mask"])
    return "LIKENESS_IDENTITY" in who.get_io_type()


def is_kept_beside_a_lora(row: Row) -> bool:
    return row.takes_a_cast and row.method is not None and row.kind != "LikenessBindIDTokens"


BESIDE_A_LORA = (is_kept_beside_a_lora, "The node itself puts nobody in by photos.")


def shown(row: Row, masks: str, **changed: Any) -> Tensor:
    if row.kind in PARTS:
        applied = row.node(**PARTS[row.kind](ours("LikenessPart", target_mask=value(masks))), **changed)
    else:
        changed |= {"acts_in": "regions"} if "acts_in" in row.inputs else {}
        if row.kind == "LikenessBindIDTokens":
            before = ours("LikenessApplyIDPatch", id_start_percent=0.0)
            changed |= {"positive": before, "negative": before[1]}
        applied = row.node(mask=value(masks), **changed)
    return latents(row.sampled(applied))


def test_of_a_half_it_is_another_picture_than_of_the_other(row: Row) -> None:
    alone = row.kind in PARTS or row.kind == "LikenessApplyStyle"
    halves = ("mask(2)[:1]", "mask(2)[1:]") if alone else ("mask(2)", "mask(2).flip(0)")
    one, other = (shown(row, masks) for masks in halves)
    assert one.isfinite().all() and relative(one, other) > 1e-6


@applies_to(takes_one_person, "It takes people with places alone, who always have a region.")
def test_of_everything_it_is_none(row: Row) -> None:
    """Of one person, whom nobody else keeps to a region; others always have one."""
    alone = {} if row.kind in PARTS else {"cast": value("unplaced(identity('Anna'))"), **ONE.get(row.kind, {})}
    everywhere = shown(row, "None", **alone)
    assert relative(shown(row, "mask(1)", **alone), everywhere) <= 2e-5
    assert not torch.equal(everywhere, picture(row, "plain")), "it does nothing"


@applies_to(*BESIDE_A_LORA)
def test_people_from_photos_keep_to_their_places_beside_one_by_lora(row: Row) -> None:
    """As if that one had weight 0, in the same masks, and by places they are kept to these."""
    beside, left_out, alone = (
        {"cast": value(f"cast(identity('Anna'), {which})")}
        for which in ("by_lora()", "by_lora(), weights=(1.0, 0.0)", "identity('Boris'), weights=(1.0, 0.0)")
    )
    shares = [shown(row, "mask(2)", **cast) for cast in (beside, left_out, alone)]
    assert max(relative(one, shares[-1]) for one in shares) <= 1e-6
    assert relative(shown(row, "None", **beside), shown(row, "None", **alone)) > 1e-6
    kept = shown(row, "None", cast=value(BESIDE_A_BARE_PLACE))
    assert relative(kept, shown(row, "None", **alone)) > 1e-6, "nobody is asked for that one's region"


BESIDE_A_BARE_PLACE = "cast(identity('Anna'), by_lora(), places=layout(slot(), Slot((94.0, 40.0))))"
"""The place of the person by LoRA has neither a face box nor keypoints."""


@applies_to(*BESIDE_A_LORA)
@applies_to(lambda row: "acts_in" in row.inputs, "Its regions are bodies, which a bare place has none of.")
def test_a_bare_place_of_one_by_lora_takes_nothing_away(row: Row) -> None:
    beside = value("cast(identity('Anna'), by_lora())")
    kept = shown(row, "None", cast=value(BESIDE_A_BARE_PLACE))
    assert relative(kept, shown(row, "None", cast=beside)) <= 1e-6


def test_of_nothing_it_is_refused(row: Row) -> None:
    with pytest.raises(LikenessError):
        shown(row, "0 * mask(1)" if row.kind in PARTS else "0 * mask(2)")
