"""The pictures of whole people that CLIP is shown: cut out of photos, as the released code cuts them.

Source: the released ip_adapter/ip_adapter_faceid.py and its demo, which uses OpenCV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from ...core.cast import Member
from ...core.checks.errors import BadCast, counted
from ...core.parts.parts import BadPart, Part, Parts, make_part
from ...core.pictures.geometry import bounds
from ...core.pictures.previews import as_picture, as_tensor
from ...core.pictures.tensors import as_masks

SIDE = 224
"""The side in pixels of the square picture of a body that CLIP is shown."""
_BLUR = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float32) / 16
"""The weights of OpenCV's Gaussian blur of 5 pixels, in one direction: (5,)."""


class BodiesMissing(BadCast):
    """Another number of pictures of bodies than there are people."""

    def __init__(self, people_count: int, counted_pictures: str) -> None:
        """people_count: how many people there are. counted_pictures: what is connected for them: "3 pictures"."""
        super().__init__(
            f"{counted_pictures} came for {counted(people_count, 'person', 'people')}: each person needs one, in the "
            "cast's order.",
            "Chain one Part node per person and connect it to bodies; or give one photo of all of them, and a mask of "
            "each in body_masks.",
        )


@dataclass(frozen=True, eq=False)
class Body:
    """A picture of a whole person, or of clothes, as CLIP is shown it.

    picture: (224, 224, 3) float32 0..1. weight: how much it counts, 0 where the person has no picture of a body.
    uncut: whether the whole picture is shown, because there is neither a mask nor an alpha channel. The authors show
    pictures of clothes so.
    """

    picture: Tensor
    weight: float
    uncut: bool = False


def cut_out(people: Sequence[Member], bodies: Tensor | Parts | None, masks: Tensor | None) -> list[Body]:
    """The body of each person of weight above 0.

    people: everybody in the cast, also people of weight 0. bodies and masks have one for each of them, in their order.
    bodies: Parts with one part for each person; or an IMAGE batch with a picture for each person; or one photo of all
    people, with a mask for each person in `masks`; or None where no bodies are connected.
    masks: a MASK batch for pictures, ignored for Parts. Where there is one person, all masks count together.
    Raises BodiesMissing where the number of parts, pictures or masks is not that of the people; BadPart for a mask of
    which nothing is left.
    """
    parts: Sequence[Part | None] = [None] * len(people)
    if bodies is not None:
        parts = _parts(people, bodies, masks)
    return [_body(part) for member, part in zip(people, parts, strict=True) if member.is_present]


def _parts(people: Sequence[Member], bodies: Tensor | Parts, masks: Tensor | None) -> Sequence[Part]:
    """A part for each person, which shows the person's body. The arguments and errors are those of cut_out()."""
    count = len(people)
    if not isinstance(bodies, Tensor):
        if len(bodies.parts) != count:
            raise BodiesMissing(count, counted(len(bodies.parts), "part"))
        return bodies.parts
    masks_of_people = _masks_of_people(count, masks)
    pictures = bodies  # (B, H, W, 3)
    if masks is not None and len(pictures) == 1:
        pictures = pictures.expand(count, -1, -1, -1)  # one photo of all people, of which masks tell them apart
    if len(pictures) != count:
        raise BodiesMissing(count, counted(len(pictures), "picture"))
    parts: list[Part] = []
    for member, picture, mask in zip(people, pictures, masks_of_people, strict=True):
        # A part of weight 0 may have an empty mask: nobody looks at it.
        weight = 1.0 if member.is_present else 0.0
        parts.append(make_part(member.person.name, picture[None], mask, weight, target=None))
    return parts


def _masks_of_people(count: int, masks: Tensor | None) -> Sequence[Tensor | None]:
    """For each person the mask of their body, (1, H, W); None for each where no masks are connected.

    The only person of a cast gets all masks, (masks, H, W). Raises BodiesMissing where several people have another
    number of masks. count: how many people there are.
    """
    if masks is None:
        return [None] * count
    if count == 1:
        return [as_masks(masks)]
    masks_of_people = list(as_masks(masks)[:, None])  # (masks, H, W) -> (1, H, W) each
    if len(masks_of_people) != count:
        raise BodiesMissing(count, counted(len(masks_of_people), "mask"))
    return masks_of_people


def _body(part: Part | None) -> Body:
    """The body that a part shows: its picture, cut out and squashed to a square.

    The picture is cut out by the mask of the part, or without a mask by the picture's alpha channel, if it has one.
    Alpha is 1 where the picture is opaque, as a mask is 1 where the person is. Without a part, or for a part of weight
    0, the body is white and has weight 0.
    """
    if part is None or part.weight <= 0:
        return Body(torch.ones(SIDE, SIDE, 3, dtype=torch.float32), weight=0.0)
    if part.mask is not None:
        # on_white: what the alpha channel hides stays hidden where the mask shows it.
        picture = _cut_by_mask(part.label, part.on_white, part.mask)
    elif part.alpha is not None:
        picture = _cut_by_mask(part.label, part.picture, part.alpha)
    else:
        picture = part.picture  # (H, W, 3)
    squashed = as_picture(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    has_no_mask = part.mask is None and part.alpha is None
    return Body(as_tensor(squashed), part.weight, uncut=has_no_mask)


def _cut_by_mask(label: str, picture: Tensor, mask: Tensor) -> Tensor:
    """The picture within the bounds of a mask, on white: (height, width, 3) of the bounds, 0..1.

    The edge of the mask is softened within the bounds. All values are rounded to whole numbers 0..255, as OpenCV has
    them, so that the result is that of the released code.
    label: of the part, for the error. picture: (H, W, 3) 0..1. mask: (h, w), brought to the picture's size.
    Raises BadPart where nothing is left of the mask.
    """
    fitted = functional.interpolate(mask[None, None].float(), size=picture.shape[:2], mode="nearest")
    mask_255 = (fitted[0, 0] * 255).round()  # (H, W)
    if not mask_255.any():
        raise BadPart(label, "nothing is left of its mask", "Mask more of the person.")
    left, top, right, bottom = bounds(mask_255)
    soft = _blurred(mask_255[top:bottom, left:right])[..., None] / 255  # (height, width, 1), 0..1
    pixels = (picture[top:bottom, left:right].clamp(0, 1) * 255).round()  # (height, width, 3), 0..255
    # White (255) shows where the mask is 0. The released code casts the mix to uint8, which cuts the fraction off.
    return (255 * (1 - soft) + soft * pixels).floor() / 255


def _blurred(mask: Tensor) -> Tensor:
    """A mask (height, width), 0..255, blurred over 5 pixels as OpenCV does it."""
    # OpenCV reflects the picture at the border. torch can reflect 2 pixels only where a side has at least 3.
    padding = "reflect" if min(mask.shape) > 2 else "replicate"
    padded = functional.pad(mask[None, None], (2, 2, 2, 2), padding)  # left, right, top, bottom
    blur = _BLUR[:, None] * _BLUR  # (5, 5): in both directions
    blurred = functional.conv2d(padded, blur[None, None])[0, 0]
    return blurred.add(0.5).floor()  # OpenCV rounds halves up
