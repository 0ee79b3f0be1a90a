"""The pictures of whole people that CLIP is shown: cut out of photos, as the released code cuts them.

Source: the released ip_adapter/ip_adapter_faceid.py and its demo, which uses OpenCV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from ...core.errors import BadCast, counted
from ...core.geometry import bounds
from ...core.parts.parts import BadPart, Part, Parts, make_part
from ...core.people import Person
from ...core.pictures import as_masks
from ...core.previews import as_picture, as_tensor

SIDE = 224
"""The side of the picture that CLIP is shown of a body, in pixels."""
_BLUR = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""OpenCV's Gaussian of 5 pixels."""


class BodiesMissing(BadCast):
    """Another number of pictures of bodies than there are people."""

    def __init__(self, people_count: int, counted_pictures: str) -> None:
        """people_count: how many there are. counted_pictures: what came for them, in words: "3 pictures"."""
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
    uncut: whether no mask has cut it, as the authors take pictures of clothes.
    """

    picture: Tensor
    weight: float
    uncut: bool = False


def cut_out(people: Sequence[Person], bodies: Tensor | Parts | None, masks: Tensor | None) -> list[Body]:
    """The body of each person of weight above 0.

    bodies: a part per person, or an IMAGE batch with a picture each, or one photo of all with a mask each, or None:
    no bodies. masks: a MASK batch for pictures. Of a single person all masks count together.
    Raises BodiesMissing where the numbers differ; BadPart for a mask of which nothing is left.
    """
    parts: Sequence[Part | None] = [None] * len(people)
    if bodies is not None:
        parts = _parts(people, bodies, masks)
    cut_bodies: list[Body] = []
    for person, part in zip(people, parts, strict=True):
        if person.weight > 0:
            cut_bodies.append(_body(part))
    return cut_bodies


def _parts(people: Sequence[Person], bodies: Tensor | Parts, masks: Tensor | None) -> Sequence[Part]:
    """A part for each person, that is what shows the person's body. Raises BodiesMissing."""
    count = len(people)
    if not isinstance(bodies, Tensor):
        if len(bodies.parts) != count:
            raise BodiesMissing(count, counted(len(bodies.parts), "part"))
        return bodies.parts
    masks_of_people = _masks_of_people(count, masks)
    pictures = bodies  # (B, H, W, 3)
    if masks is not None and len(pictures) == 1:
        pictures = pictures.expand(count, -1, -1, -1)  # one photo of all of them
    if len(pictures) != count:
        raise BodiesMissing(count, counted(len(pictures), "picture"))
    parts: list[Part] = []
    for person, picture, mask in zip(people, pictures, masks_of_people, strict=True):
        weight = 1.0 if person.weight > 0 else 0.0
        parts.append(make_part(person.identity.name, picture[None], mask, weight, None))
    return parts


def _masks_of_people(count: int, masks: Tensor | None) -> Sequence[Tensor | None]:
    """The masks of each person, (1 or masks, H, W), or None for each where no masks came. Raises BodiesMissing."""
    if masks is None:
        return [None] * count
    if count == 1:
        return [as_masks(masks)]
    masks_of_people = list(as_masks(masks)[:, None])
    if len(masks_of_people) != count:
        raise BodiesMissing(count, counted(len(masks_of_people), "mask"))
    return masks_of_people


def _body(part: Part | None) -> Body:
    """The body that a part shows: its picture squashed to a square.

    It is cut out by the mask of the part. A part without one, whose picture has an alpha channel, is cut out by that;
    alpha is 1 where the picture is opaque, as a mask is where the person is. Without a part, or at weight 0, the body
    is white and does not count.
    """
    if part is None or part.weight <= 0:
        return Body(torch.ones(SIDE, SIDE, 3), weight=0.0)
    if part.mask is not None:
        # The picture on white: what the alpha channel hides is not drawn inside of the mask.
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

    The edge of the mask is softened within the bounds. The arithmetic is in whole numbers 0..255, as OpenCV's is.
    label: of the part, for the error. picture: (H, W, 3) 0..1. mask: (h, w), brought to the picture's size.
    Raises BadPart where nothing is left of the mask.
    """
    fitted = functional.interpolate(mask[None, None].float(), size=picture.shape[:2], mode="nearest")
    mask_255 = (fitted * 255).round()  # (1, 1, H, W)
    if not mask_255.any():
        raise BadPart(label, "nothing is left of its mask", "Mask more of the person.")
    left, top, right, bottom = bounds(mask_255[0, 0])
    mask_255 = mask_255[..., top:bottom, left:right]
    border = (2, 2, 2, 2)  # of a blur of 5 pixels: left, right, top, bottom
    # OpenCV reflects at the border, for which torch needs three pixels.
    padding = "reflect" if min(mask_255.shape[2:]) > 2 else "replicate"
    padded = functional.pad(mask_255, border, padding)
    blur = _BLUR[:, None] * _BLUR  # (5, 5)
    blurred = functional.conv2d(padded, blur[None, None])  # (1, 1, height, width)
    rounded = blurred.add(0.5).floor()
    soft = rounded[0, 0, :, :, None] / 255  # (height, width, 1), 0..1
    within_bounds = picture[top:bottom, left:right].clamp(0, 1)
    pixels = (within_bounds * 255).round()  # (height, width, 3), 0..255
    return (255 * (1 - soft) + soft * pixels).floor() / 255
