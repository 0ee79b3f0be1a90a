"""Sizes that no layer divides: 136x104 px, a latent of 17x13."""

from __future__ import annotations

from typing import Any

from attack_graphs import ours, value
from figures import relative
from promised import Row, latents

WIDTH, HEIGHT = 136, 104


def test_a_picture_of_an_odd_size(row: Row) -> None:
    latent = value(f"latent({WIDTH}, {HEIGHT})")
    cast = f"cast(places=layout(slot(), slot(94.0), width={WIDTH}, height={HEIGHT}))"
    changed: dict[str, Any] = {"cast": value(cast)} if "cast" in row.inputs else {}
    if row.kind == "LikenessApplyIDPatch":
        changed["image"] = ours("LikenessIDPatchConditionImage", cast=value(cast))
    if row.kind == "LikenessApplyInstantID":
        changed["image"] = ours("LikenessDrawSkeletons", draw="face keypoints", cast=value(cast))
    if row.kind == "LikenessPeopleAsReferences" and "mask" in row.inputs:
        changed["mask"] = value(f"mask(2, {WIDTH}, {HEIGHT})")
    size = {"width": WIDTH, "height": HEIGHT}
    changed |= size if "width" in row.inputs else {}
    if "features" in row.inputs:
        changed |= {"features": ours("LikenessEncodeParts", **size), "pose": value(f"image({WIDTH}, {HEIGHT})")}
    found = latents(row.sampled(row.node(**changed), latent, steps=1))
    assert found.isfinite().all() and relative(found, latents(row.plain(latent=latent, steps=1))) > 1e-4
