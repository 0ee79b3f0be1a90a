"""What becomes of each person in the second pass: lines of text, notes under Crop Faces, and the picture of it."""

from collections.abc import Sequence
from itertools import combinations

from PIL import Image
from torch import Tensor

from ..checks.errors import counted, gathered
from ..pictures.geometry import Rect, in_common
from ..pictures.previews import Sheet, as_picture, color_of
from .cutting import COVERED, Crop, Decision

NO_FACE_CHOSEN = "No face needs the second pass: Paste Faces gives the picture back as it is, and nothing is sampled."
_LEAST_OPACITY = 0.9
"""The highest value of a crop's mask must be at least this. Below it, even the middle of the face is a mixture of the
sampled crop and the first picture, so the user does not see the face that was sampled."""


def describe(decisions: Sequence[Decision], picture_count: int) -> str:
    """A line per person and picture. picture_count: how many pictures the batch has; a single one is not numbered."""
    lines: list[str] = []
    for decision in decisions:
        candidate = decision.candidate
        picture = f"Picture {candidate.picture_index + 1}: " if picture_count > 1 else ""
        place = f" (place {candidate.number})" if candidate.member.slot else ""
        lines.append(f"{picture}{candidate.name}{place}: {decision.reason}.")
    return "\n".join(lines)


def notes(decisions: Sequence[Decision], picture_count: int) -> list[str]:
    """A line for each kind of trouble: people who could not be found, faces that are pasted weakly, faces that are
    pasted over each other, and no chosen face at all.

    picture_count: how many pictures the batch has; a single picture is not numbered.
    """
    lines: list[str] = []
    for reason, people in _people_without_face(decisions, picture_count).items():
        lines += gathered(reason[0].upper() + reason[1:], people)
    crops = [decision.crop for decision in decisions if decision.crop]
    weakly_pasted = _weakly_pasted(crops, picture_count)
    advice = " pasted at most; lower Feather (feather) or raise Margin (margin)"
    lines += gathered("The soft edge leaves no room for the face", weakly_pasted, advice)
    lines += gathered("Faces overlap, the larger on top", _overlapping(crops, picture_count))
    return lines if crops else [*lines, NO_FACE_CHOSEN]


def _people_without_face(decisions: Sequence[Decision], picture_count: int) -> dict[str, list[str]]:
    """Reason -> the people who have no face in the picture, or whose face is covered."""
    people: dict[str, list[str]] = {}
    for decision in decisions:
        if not decision.candidate.has_face or decision.reason == COVERED:
            who = _in_picture(decision.candidate.name, decision.candidate.picture_index, picture_count)
            people.setdefault(decision.reason, []).append(who)
    return people


def _weakly_pasted(crops: Sequence[Crop], picture_count: int) -> list[str]:
    """Each crop that is pasted too weakly everywhere: the name of its person and the highest value of its mask."""
    weakly_pasted: list[str] = []
    for crop in crops:
        opacity = float(crop.mask.max())
        if opacity < _LEAST_OPACITY:
            weakly_pasted.append(_in_picture(f"{crop.name} {opacity:.0%}", crop.picture_index, picture_count))
    return weakly_pasted


def _overlapping(crops: Sequence[Crop], picture_count: int) -> list[str]:
    """Each pair of people of whom one is pasted over the other, as "Anna over Ben"."""
    as_pasted = sorted(crops, key=lambda crop: crop.face_side)  # of two the later one lies on top
    overlapping: list[str] = []
    for below, above in combinations(as_pasted, 2):
        if _overlap(below, above):
            overlapping.append(_in_picture(f"{above.name} over {below.name}", above.picture_index, picture_count))
    return overlapping


def _overlap(crop: Crop, other: Crop) -> bool:
    """Whether both crops are pasted onto some pixel of one picture."""
    left, top, right, bottom = in_common(crop.square, other.square)
    if crop.picture_index != other.picture_index or left >= right or top >= bottom:
        return False
    are_pasted = [_mask_in(one, (left, top, right, bottom)) > 0 for one in (crop, other)]
    return bool((are_pasted[0] & are_pasted[1]).any())


def _mask_in(crop: Crop, rect: Rect) -> Tensor:
    """The piece of a crop's mask that lies in a rectangle within its square, (h, w)."""
    x, y, _, _ = crop.square
    left, top, right, bottom = rect
    return crop.mask[top - y : bottom - y, left - x : right - x]


def _in_picture(text: str, picture_index: int, picture_count: int) -> str:
    """The text, with the number of the picture where the batch has several. picture_index: from 0."""
    return f"{text} in picture {picture_index + 1}" if picture_count > 1 else text


_VEIL = 90
"""How much of a mask's colour lies on the picture, of 255."""


def draw_crops(image: Tensor, decisions: Sequence[Decision]) -> Tensor:
    """Each square and mask in the colour of its person, with number and name; faces that are not cut out in thin lines.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    for decision in decisions:
        _draw_frames(sheet, decision)
    # All labels after all frames, so that they lie on top: no frame crosses a name.
    for decision in decisions:
        _draw_label(sheet, decision)
    cut_out = sum(decision.crop is not None for decision in decisions)
    left = len(decisions) - cut_out
    sheet.footer([f"{counted(cut_out, 'face')} cut out, {left} left as {'it is' if left == 1 else 'they are'}"])
    return sheet.tensor()


def _draw_frames(sheet: Sheet, decision: Decision) -> None:
    """Draw a frame around the square of a crop, its mask, and a frame around the face."""
    color = color_of(decision.candidate.number - 1)
    crop = decision.crop
    if crop:
        veil = Image.fromarray((crop.mask * _VEIL).byte().numpy())
        sheet.picture.paste(color, crop.square[:2], veil)
        sheet.frame(crop.square, color)
    if decision.candidate.box:
        sheet.frame(decision.candidate.box, color, line=None if crop else 1)


def _draw_label(sheet: Sheet, decision: Decision) -> None:
    """Number and name at the square, the number alone at a face that is not cut out."""
    candidate = decision.candidate
    box = decision.crop.square if decision.crop else candidate.box
    if not box:
        return
    left, top, right, _ = box
    name = candidate.name if decision.crop else ""
    sheet.label(str(candidate.number), name, (left, top), color_of(candidate.number - 1), width=right - left)
