"""What is drawn by hand on the picture of a look: what belongs to the look, and what does not.

It is a text of JSON, [["+", x, y, x, y, ...], ["-", ...]], in percent of the picture's width and height: one outline
after the other says of what lies in it that it is what the label says, or that it is not worn. An empty text changes
nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..cast import Outline
from ..checks.errors import LikenessError
from ..parts.parts import Part
from ..places import hand_texts, shapes

_PERCENT = 100.0


class BadDrawn(LikenessError):
    """What was drawn on the picture of a look cannot be read, or leaves nothing."""


def read(text: str) -> tuple[Outline, ...]:
    """The outlines of a text, in percent. Raises BadDrawn for anything else than what the top of this file says."""
    if not text.strip():
        return ()
    try:
        return hand_texts.outlines(hand_texts.value_in(text), "the text")
    except hand_texts.Unreadable as why:
        advice = "Empty it, or write JSON in percent of the picture, as " + '[["+", 20, 30, 80, 30, 80, 90]].'
        raise BadDrawn(f"Drawn by hand (drawn) cannot be read: {why}.", advice) from why


def with_drawn(parts: Sequence[Part], outlines: Sequence[Outline]) -> Sequence[Part]:
    """The parts that one picture shows, the first of them with what was drawn; the same ones where nothing was.

    What is drawn is the first part's or nobody's, so the others lose it; one that keeps nothing goes. Where the whole
    picture counts and the first outline adds, nothing but what is added does. outlines: in percent. Raises BadDrawn
    where nothing is left of the first part.
    """
    if not outlines:
        return parts
    height, width = parts[0].picture.shape[:2]
    in_px = [_in_px(outline, width, height) for outline in outlines]
    not_theirs = [outline._replace(adds=False) for outline in in_px]
    drawn: list[Tensor] = []
    for place, part in enumerate(parts):
        whole = torch.full((height, width), 0.0 if in_px[0].adds else 1.0)
        mask = whole if part.mask is None else _stretched(part.mask, width, height)
        drawn.append(shapes.with_drawn(mask, not_theirs if place else in_px))
    if not drawn[0].any():
        raise BadDrawn(
            f"What was drawn by hand leaves nothing of {parts[0].label!r}.",
            "Take back what was drawn in Drawn by hand (drawn), or draw around what is worn.",
        )
    return [replace(part, mask=mask) for part, mask in zip(parts, drawn, strict=True) if mask.any()]


def taken(parts: Sequence[Part]) -> Tensor | None:
    """What is taken of the picture of these parts, (h, w) 0..1, stretched over it; None for all of it."""
    masks = [part.mask for part in parts if part.mask is not None]
    if len(masks) < len(parts):
        return None
    height, width = masks[0].shape
    return torch.stack([_stretched(mask, width, height) for mask in masks]).amax(0)


def _in_px(outline: Outline, width: int, height: int) -> Outline:
    points = tuple((x / _PERCENT * width, y / _PERCENT * height) for x, y in outline.points)
    return outline._replace(points=points)


def _stretched(mask: Tensor, width: int, height: int) -> Tensor:
    """A mask (h, w) in the size of its picture; the same one where it has that."""
    if mask.shape == (height, width):
        return mask
    return functional.interpolate(mask[None, None], size=(height, width), mode="bilinear")[0, 0]
