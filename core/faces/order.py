"""The one order of faces, places and people, so that number 2 is the same person everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from ..people import Point

ORDERS = ("left to right", "top to bottom", "largest", "score")


def ordered(by: str, anchors: Sequence[Point], areas: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices in the order `by` (one of ORDERS).

    anchors: the noses, x to the right and y down, in pixels; it is the noses that ID-Patch sorts by.
    areas: of the boxes, in square pixels. scores: 0..1. Equal ones go left to right, then top to bottom.
    """

    def key(index: int) -> tuple[float, float, float]:
        x, y = anchors[index]
        first = {"left to right": x, "top to bottom": y, "largest": -areas[index], "score": -scores[index]}[by]
        return first, x, y

    return sorted(range(len(anchors)), key=key)
