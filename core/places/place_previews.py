"""Places on their canvas, and the regions in which people are read."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..attention.cross_attention import region_weights
from ..cast import Box, Layout, Member, Slot
from ..pictures.geometry import bounds, patch_rect
from ..pictures.previews import BACKGROUND, Color, Sheet, as_picture, color_of
from .bodies import SEEN, openpose, seen_limbs

MOST_LINES = 3
"""The most lines of text in a preview, so that the people stay in sight. The note under the node has them all."""
_FITTED = {"crop": ImageOps.fit, "pad": ImageOps.pad, "stretch": Image.Image.resize}


def numbered_layout(
    layout: Layout,
    captions: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    faces: Sequence[Tensor | None] = (),
    background: Tensor | None = None,
    fit: str = "crop",
    boxes: Sequence[Box] = (),
    numbers: Sequence[int] = (),
) -> Tensor:
    """A picture of the places on their canvas: number, face box, keypoints, body and region.

    captions: a name per place, "" for none. notes: lines at the lower edge.
    faces: a picture (H, W, 1|3|4) per place, of the person who stands there, shown in the face box; None for nobody.
    background: a picture (H, W, 1|3|4) on which all this is drawn. fit: how the background is fitted to the canvas, one
    of geometry.FITS.
    boxes: one per place, drawn in thin lines. numbers: of people, one per place, in the place of those of the places,
    which count from 1. A colour belongs to a number. Returns (height, width, 3) float32 0..1.
    """
    canvas = (layout.width, layout.height)
    if background is None:
        sheet = Sheet(Image.new("RGB", canvas, BACKGROUND))
    else:
        sheet = Sheet(_FITTED[fit](as_picture(background), canvas))
    shown = numbers or range(1, len(layout.slots) + 1)
    colors = [color_of(number - 1) for number in shown]
    for index, box in enumerate(boxes):
        sheet.frame(box, color_of(index), line=1)
    face_boxes = [slot.box or patch_rect(slot.center) for slot in layout.slots]
    from_back = sorted(range(len(layout.slots)), key=lambda index: layout.slots[index].depth)
    for index in from_back if faces else ():
        face = faces[index]
        if face is not None:
            sheet.fill(face_boxes[index], face)
    for index in from_back:
        _draw_slot(sheet, layout.slots[index], colors[index])
    for index, box in enumerate(face_boxes):
        name = captions[index] if captions else ""
        sheet.label(str(shown[index]), name, box[:2], colors[index], sheet.room(box, face_boxes))
    sheet.footer(notes)
    return sheet.tensor()


def read_regions(regions: Tensor, people: Sequence[Member]) -> Tensor:
    """A picture of the regions in which people's faces are read: their colours, face boxes, keypoints and names.

    A person's number and colour are those of their place; without a place they follow the order of the people. The
    colour of a pixel is as strong as the person's share of the pixel.
    regions: (people, H, W) float 0..1, none of them empty. Returns (H, W, 3) float32 0..1.
    """
    numbers = [member.place or number for number, member in enumerate(people, 1)]
    colors = [color_of(number - 1) for number in numbers]
    sheet = Sheet(as_picture(_in_colors(region_weights(regions), colors)))
    for index, member in enumerate(people):
        slot = member.slot
        if slot and slot.box:
            box = slot.box
            sheet.frame(box, colors[index])
        else:  # around the pixels of the region, the last column and row included
            left, top, right, below = bounds(regions[index])
            box = (float(left), float(top), float(right - 1), float(below - 1))
        for point in (slot and slot.keypoints) or ():
            sheet.dot(point, colors[index])
        width = 2.4 * (box[2] - box[0])
        sheet.label(str(numbers[index]), member.person.name, box[:2], colors[index], width)
    return sheet.tensor()


def _in_colors(shares: Tensor, colors: Sequence[Color]) -> Tensor:
    """Shares (people, H, W) as a picture (H, W, 3), 0..1, in a colour for each person.

    A pixel that is one person's alone is half way from the background to the colour.
    """
    background = torch.tensor(BACKGROUND, dtype=torch.float32)
    picture = background.expand(*shares.shape[1:], 3) / 255
    for share, color in zip(shares, colors, strict=True):
        to_color = torch.tensor(color, dtype=torch.float32) - background  # 0..255
        picture = picture + share[..., None] * to_color / (2 * 255)
    return picture


def acting(shares: Tensor | None, people: Sequence[Member], by_row: bool) -> Tensor | None:
    """Pictures of the regions in which people's faces act, (pictures, H, W, 3); None where they act everywhere.

    shares: (people, H, W), 0..1. by_row: a picture for each person instead of one for all.
    """
    if shares is None:
        return None
    if not by_row:
        return read_regions(shares, people)[None]
    pictures: list[Tensor] = []
    for index in range(len(people)):
        this_person = slice(index, index + 1)
        pictures.append(read_regions(shares[this_person], people[this_person]))
    return torch.stack(pictures)


def _draw_slot(sheet: Sheet, slot: Slot, color: Color) -> None:
    """Draw all that one place has: mask, what was drawn by hand, skeleton, hands, face box and points in a colour, and
    the nose in white. What is taken away by hand has a thin line.
    """
    for outline in slot.drawn:
        ends = (*outline.points, outline.points[0])
        sheet.pen.line(ends, fill=color, width=sheet.line if outline.adds else 1)
    if slot.mask is not None:
        _draw_mask(sheet, slot.mask, color)
    if slot.pose is not None:
        joints = openpose(slot.pose)
        for limb in seen_limbs(joints):
            ends = (*joints[limb.start][:2], *joints[limb.end][:2])
            sheet.pen.line(ends, fill=color, width=sheet.line)
    for points in (slot.left_hand, slot.right_hand, slot.face_points):
        for x, y, confidence in points or ():
            if confidence > SEEN:
                sheet.pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=color)
    if slot.box is not None:
        sheet.frame(slot.box, color)
    for point in slot.keypoints or ():
        sheet.dot(point, color)
    sheet.dot(slot.center, (255, 255, 255))


_EDGE_ALPHA = 255
_CORE_ALPHA = 70
"""How much of the colour lies over a mask, of 255: at its edge, and inside."""


def _draw_mask(sheet: Sheet, mask: Tensor, color: Color) -> None:
    """Draw a mask (H, W), pale inside and with an edge as wide as the sheet's lines."""
    inside = mask.float() > 0.5
    outside = (~inside).float()[None]  # (1, H, W)
    # Whether some pixel of the square around each is outside. The largest value of columns, and of these that of rows,
    # takes less time than that of squares.
    side = 2 * sheet.line + 1
    in_column = max_pool2d(outside, (side, 1), stride=1, padding=(sheet.line, 0))
    is_near_outside = max_pool2d(in_column, (1, side), stride=1, padding=(0, sheet.line))[0] > 0
    alpha = torch.zeros(mask.shape, dtype=torch.uint8)
    alpha[inside] = _CORE_ALPHA
    alpha[inside & is_near_outside] = _EDGE_ALPHA
    sheet.picture.paste(color, (0, 0), Image.fromarray(alpha.numpy()))
