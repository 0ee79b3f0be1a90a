"""Sizes that no layer divides: 136x104 px, a latent of 17x13."""

from __future__ import annotations

from typing import Any

from figures import relative
from graphs import ours
from method_rows import Row, latents
from sample_values import cast, image, latent, layout, mask, slot

WIDTH, HEIGHT = 136, 104


def test_a_picture_of_an_odd_size(row: Row) -> None:
    empty = latent(WIDTH, HEIGHT)
    people = cast(places=layout(slot(), slot(94.0), width=WIDTH, height=HEIGHT))
    changed: dict[str, Any] = {"cast": people} if "cast" in row.inputs else {}
    if row.kind == "LikenessApplyIDPatch":
        changed["image"] = ours("LikenessIDPatchConditionImage", cast=people)
    if row.kind == "LikenessApplyInstantID":
        changed["image"] = ours("LikenessDrawSkeletons", draw="face keypoints", cast=people)
    if row.kind == "LikenessPeopleAsReferences" and "mask" in row.inputs:
        changed["mask"] = mask(2, WIDTH, HEIGHT)
    size = {"width": WIDTH, "height": HEIGHT}
    changed |= size if "width" in row.inputs else {}
    if "features" in row.inputs:
        changed |= {"features": ours("LikenessEncodeParts", **size), "pose": image(WIDTH, HEIGHT)}
    picture = latents(row.sampled(row.node(**changed), empty, steps=1))
    assert picture.isfinite().all()
    assert relative(picture, latents(row.plain(latent_image=empty, steps=1))) > 1e-4
