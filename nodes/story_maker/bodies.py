"""What CLIP is shown of whole people: cut out of their pictures, as the released code cuts them.

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
"""Of a body's picture in pixels, as CLIP sees it."""
_BLUR = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""OpenCV's Gaussian of 5 pixels."""


class BodiesMissing(BadCast):
    """Another number of pictures of bodies than there are people."""

    def __init__(self, people: int, what: str) -> None:
        super().__init__(
            f"{what} came for {counted(people, 'person', 'people')}: each person needs one, in the cast's order.",
            "Chain one Part node per person and connect it to bodies; or give one photo of all of them, and a mask of "
            "each in body_masks.",
        )


@dataclass(frozen=True, eq=False)
class Body:
    """What CLIP is shown of a whole person: (224, 224, 3) float32 0..1.

    weight: how much it counts, 0 where nothing was given. whole: without a mask, as the authors take clothes.
    """

    picture: Tensor
    weight: float
    whole: bool = False


def cut_out(people: Sequence[Person], given: Tensor | Parts | None, masks: Tensor | None) -> list[Body]:
    """Of those of weight above 0.

    given: a part per person, or an IMAGE batch with a picture each, or one photo of all with a mask each; masks: a MASK
    batch for pictures. Of a single person all masks count together.
    Raises BodiesMissing where the numbers differ; BadPart for a mask of which nothing is left.
    """
    parts = [None] * len(people) if given is None else _parts(people, given, masks)
    return [_body(part) for person, part in zip(people, parts, strict=True) if person.weight > 0]


def _parts(people: Sequence[Person], given: Tensor | Parts, masks: Tensor | None) -> Sequence[Part]:
    count = len(people)
    if not isinstance(given, Tensor):
        if len(given.parts) != count:
            raise BodiesMissing(count, counted(len(given.parts), "part"))
        return given.parts
    each = [None] * count
    if masks is not None:
        each = [as_masks(masks)] if count == 1 else list(as_masks(masks)[:, None])
        if len(each) != count:
            raise BodiesMissing(count, counted(len(each), "mask"))
    pictures = given.expand(count, -1, -1, -1) if len(given) == 1 and masks is not None else given
    if len(pictures) != count:
        raise BodiesMissing(count, counted(len(pictures), "picture"))
    return [
        make_part(person.identity.name, picture[None], mask, float(person.weight > 0), None)
        for person, picture, mask in zip(people, pictures, each, strict=True)
    ]


def _body(part: Part | None) -> Body:
    if part is None or part.weight <= 0:
        return Body(torch.ones(SIDE, SIDE, 3), 0.0)
    mask = part.alpha if part.mask is None else part.mask
    cut = part.picture if mask is None else _on_white(part, mask)
    squashed = as_picture(cut).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Body(as_tensor(squashed), part.weight, mask is None)


def _on_white(part: Part, mask: Tensor) -> Tensor:
    """What lies in the bounds of the mask, whose edge is softened within these; in 8 bits, as OpenCV computes."""
    fitted = functional.interpolate(mask[None, None].float(), size=part.picture.shape[:2], mode="nearest")
    inside = (fitted * 255).round()
    if not inside.any():
        raise BadPart(part.label, "nothing is left of its mask", "Mask more of the person.")
    left, top, right, below_it = bounds(inside[0, 0])
    inside = inside[..., top:below_it, left:right]
    reach = (2, 2, 2, 2)
    padded = functional.pad(inside, reach, "reflect" if min(inside.shape[2:]) > 2 else "replicate")
    soft = functional.conv2d(padded, (_BLUR[:, None] * _BLUR)[None, None]).add(0.5).floor()[0, 0, :, :, None] / 255
    picture = part.picture if mask is part.alpha else part.on_white
    pixels = (picture[top:below_it, left:right].clamp(0, 1) * 255).round()
    return (255 * (1 - soft) + soft * pixels).floor() / 255
