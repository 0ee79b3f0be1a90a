"""Masks: of a half it is another picture than of the other half, of everything it is none, of nothing it is refused."""

from typing import Any

import pytest
import torch
from attack_graphs import ours, value
from figures import relative
from pack.core.errors import LikenessError
from promised import Row, latents, picture
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


def only(row: Row) -> bool:
    return "mask" in row.inputs or row.kind in PARTS


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


def test_of_everything_it_is_none(row: Row) -> None:
    """Of one person, whom nobody else keeps to a region; others always have one."""
    if row.kind not in PARTS and "LIKENESS_IDENTITY" not in row.inputs.get("cast", row.inputs["mask"]).get_io_type():
        return
    alone = {} if row.kind in PARTS else {"cast": value("unplaced(identity('Anna'))"), **ONE.get(row.kind, {})}
    everywhere = shown(row, "None", **alone)
    assert relative(shown(row, "mask(1)", **alone), everywhere) <= 2e-5
    assert not torch.equal(everywhere, picture(row, "plain")), "it does nothing"


def test_people_from_photos_keep_to_their_places_beside_one_by_lora(row: Row) -> None:
    """As if that one had weight 0, in the same masks, and by places they are kept to these."""
    if not row.takes_a_cast or row.method is None or row.kind == "LikenessBindIDTokens":
        return
    beside, left_out, alone = (
        {"cast": value(f"cast(identity('Anna'), {which})")}
        for which in ("by_lora()", "by_lora(), weights=(1.0, 0.0)", "identity('Boris'), weights=(1.0, 0.0)")
    )
    shares = [shown(row, "mask(2)", **cast) for cast in (beside, left_out, alone)]
    assert max(relative(one, shares[-1]) for one in shares) <= 1e-6
    assert relative(shown(row, "None", **beside), shown(row, "None", **alone)) > 1e-6
    bare = {"cast": value("cast(identity('Anna'), by_lora(), places=layout(slot(), Slot((94.0, 40.0))))")}
    kept = shown(row, "None", **bare)
    assert relative(kept, shown(row, "None", **alone)) > 1e-6, "nobody is asked for that one's region"
    assert "acts_in" not in row.inputs or relative(kept, shown(row, "None", **beside)) <= 1e-6


def test_of_nothing_it_is_refused(row: Row) -> None:
    with pytest.raises(LikenessError):
        shown(row, "0 * mask(1)" if row.kind in PARTS else "0 * mask(2)")
