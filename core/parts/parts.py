"""The parts a person is made of: their pictures, and what counts of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..checks.errors import LikenessError
from ..checks.text import plain
from ..checks.value_checks import TRY_OTHER_WORDS
from ..pictures.tensors import as_masks, as_rgb, joined_masks

LABELS = ("upper body clothes", "lower body clothes", "whole body clothes", "hair or headwear", "face", "shoes")
"""What Parts2Whole was trained with, word for word."""
MOST_LETTERS = 1000
"""The most letters of a label: some three prompts of CLIP's 77 tokens."""
MOST_WEIGHT = 4.0
"""The largest weight of a part."""
PAINT = "right click the node of the picture, Open in Mask Editor, paint over what shall count, Save"
"""How to make a mask."""

_EMPTY = f"Make one ({PAINT}), or leave the input unconnected to have all of it count. {TRY_OTHER_WORDS}"
_EMPTY_TARGET = (
    f"Paint on the photo where the part goes ({PAINT}), or leave the input unconnected to have the part go anywhere."
)
_UNPAINTED = (64, 64)
"""Size of the empty mask that Load Image gives for a picture without transparency in which nobody has painted."""


class BadPart(LikenessError):
    """A part that the picture could show nothing of."""

    def __init__(self, label: str, why: str, advice: str) -> None:
        super().__init__(f"The part {label!r} cannot be used: {why}.", advice)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a person.

    picture: (H, W, 3) float32 0..1, white where alpha is 0. alpha: (H, W) 0..1, or None where all is opaque.
    mask: (h, w) 0..1, of any size, stretched over the picture: the pixels that belong to the part; None for all pixels.
    weight: 1 as published, 0 as if the part were not there. target: (h, w), where in the new picture the part may be
    looked at; None for everywhere. pieces: the number of masks that were put together into `mask`.
    """

    label: str
    picture: Tensor
    alpha: Tensor | None = None
    mask: Tensor | None = None
    weight: float = 1.0
    target: Tensor | None = None
    pieces: int = 1

    @property
    def on_white(self) -> Tensor:
        """The picture for a network that reads no alpha, (H, W, 3)."""
        if self.alpha is None:
            return self.picture
        return as_rgb(torch.cat([self.picture, self.alpha[..., None]], dim=-1))  # (H, W, 4) -> (H, W, 3)


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of one person or of several, in order."""

    parts: tuple[Part, ...]

    @property
    def present(self) -> tuple[Part, ...]:
        """The parts with a weight above 0."""
        return tuple(part for part in self.parts if part.weight > 0)

    @property
    def garments(self) -> tuple[tuple[Part, ...], ...]:
        """The parts present, a tuple for each garment, in the order of their first pictures.

        Pictures of one garment, such as its front and its back, have one label and one target.
        """
        garments: list[list[Part]] = []
        for part in self.present:
            same = next((garment for garment in garments if _is_one_garment(garment[0], part)), None)
            if same is None:
                garments.append([part])
            else:
                same.append(part)
        return tuple(tuple(garment) for garment in garments)

    @property
    def weights(self) -> list[float]:
        """How much is read of each part present, in the order of `present`.

        The pictures of a garment share the weight of the heaviest of them, each in proportion to its own weight. So the
        same picture given twice counts as much as given once.
        """
        weights: dict[Part, float] = {}  # parts are equal only to themselves
        for garment in self.garments:
            of_pictures = [part.weight for part in garment]
            factor = max(of_pictures) / sum(of_pictures)
            for part in garment:
                weights[part] = part.weight * factor
        return [weights[part] for part in self.present]


def _is_one_garment(part: Part, other: Part) -> bool:
    """Whether two parts are pictures of one garment: they have one label, and one target or both none."""
    if part.label != other.label:
        return False
    if part.target is None or other.target is None:
        return part.target is other.target
    return torch.equal(part.target, other.target)


def make_part(label: str, image: Tensor, mask: Tensor | None, weight: float, target: Tensor | None) -> Part:
    """A part from the inputs of a Part node.

    image: (1, H, W, 1|3|4). mask: (h, w) or (pieces, h, w), joined into one mask, because two shoes are one part; None,
    or a mask in which nobody has painted, for the whole picture. target: as mask, None for everywhere.
    Raises BadPart for a label that is too long, for several pictures, and where a part with a weight has a mask, an
    alpha channel or a target that is 0 everywhere.
    """
    label = plain(label)
    if len(label) > MOST_LETTERS:
        why = f"its label has {len(label)} letters"
        raise BadPart(plain(label, 60), why, f"Say in a few words what the part is, in {MOST_LETTERS} letters at most.")
    if len(image) > 1:
        why = f"its image is a batch of {len(image)} pictures"
        raise BadPart(label, why, "A part is one picture: make one Part node for each.")
    picture, alpha = _colors_and_alpha(image[0])
    painted = None if mask is None or is_unpainted(mask) else as_masks(mask)  # (pieces, h, w)
    pieces = 1 if painted is None else len(painted)
    part = Part(label, picture, alpha, _together(painted), weight, _together(target), pieces)
    if weight > 0:
        _require_some("mask", part.mask, label, _EMPTY)
        _require_some("alpha channel", alpha, label, _EMPTY)
        _require_some("target_mask", part.target, label, _EMPTY_TARGET)
        _require_opaque(part)
    return part


def _require_some(name: str, mask: Tensor | None, label: str, advice: str) -> None:
    """Raise BadPart for a mask that is 0 everywhere. name: of the mask. label: of the part."""
    if mask is not None and not mask.any():
        raise BadPart(label, f"its {name} ({size_text(mask)}) is empty: every value is 0", advice)


def _require_opaque(part: Part) -> None:
    """Raise BadPart where all that the mask of a part keeps is transparent, as with the mask of the background."""
    if part.mask is None or part.alpha is None:
        return
    mask = functional.interpolate(part.mask[None, None], size=part.alpha.shape, mode="area")[0, 0]  # (H, W)
    if not torch.minimum(mask, part.alpha).any():
        why = "its mask keeps what is transparent alone"
        raise BadPart(part.label, why, "Put Invert Mask before it, or connect the picture without transparency.")


def _colors_and_alpha(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """An IMAGE (H, W, 1|3|4) as (H, W, 3), and its alpha (H, W), None where it has none.

    Pixels that are partly transparent keep their colour; `Part.on_white` and `resized` mix it with white. Pixels that
    are fully transparent become white here, because their colour may be anything and resizing would spread it.
    """
    if image.shape[-1] != 4:
        return as_rgb(image), None
    image = image.float().cpu()
    alpha = image[..., 3]
    return torch.where(alpha[..., None] > 0, image[..., :3], 1.0), alpha


def _together(masks: Tensor | None) -> Tensor | None:
    """Masks that count together as one mask: (pieces, h, w) or (h, w) -> (h, w)."""
    return None if masks is None else joined_masks(as_masks(masks))


def is_unpainted(mask: Tensor) -> bool:
    """Whether a mask, (h, w) or (masks, h, w), is what Load Image gives for a picture without transparency in which
    nobody has painted."""
    return mask.shape[-2:] == _UNPAINTED and not mask.any()


def share_of(masks: Tensor) -> float:
    """The share of the picture that masks (h, w) or (pieces, h, w) keep together, 0..1."""
    return float((joined_masks(as_masks(masks)) > 0.5).float().mean())


def size_text(picture: Tensor) -> str:
    """Width and height of a picture (H, W, ...) for a message."""
    return f"{picture.shape[1]}x{picture.shape[0]} px"
