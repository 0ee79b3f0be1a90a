"""The parts a person is made of: pictures, what counts of them, and how the networks want to see them.

Source: Parts2Whole, parts2whole/pipelines/pipeline_refs2image.py (MIT): preprocess_image, load_mask.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from .. import pictures, previews
from ..errors import LikenessError, gathered, listed
from ..geometry import bounds
from ..inputs import OTHER_WORDS
from ..pictures import as_drawing, as_masks, as_rgb
from ..text import plain
from .bank import token_mask

LABELS = ("upper body clothes", "lower body clothes", "whole body clothes", "hair or headwear", "face", "shoes")
"""What Parts2Whole was trained with, word for word."""

_LONGEST = 1000  # letters of a label: some three prompts of CLIP's 77 tokens
_STRETCHED = 1.25  # a part whose sides change by more than this against each other no longer looks like itself
_INVERTED = 0.9  # a mask that keeps more of a picture than this is more likely a mask of the background


class BadPart(LikenessError):
    """A part that the picture could show nothing of."""

    def __init__(self, label: str, why: str, advice: str) -> None:
        super().__init__(f"The part {label!r} cannot be used: {why}.", advice)


@dataclass(frozen=True, eq=False)
class Part:
    """One part. picture: (H, W, 3) float32 0..1, white where alpha is 0. alpha: (H, W) or None. mask: (h, w), any size,
    or None.

    weight: 1 as published, 0 as if the part were not there. target: (h, w), where in the new picture the part may
    be looked at, or None: everywhere. pieces: of how many masks `mask` was made.
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
        """The picture as a network is shown it that reads no alpha, (H, W, 3)."""
        if self.alpha is None:
            return self.picture
        return as_rgb(torch.cat([self.picture, self.alpha[..., None]], dim=-1))


@dataclass(frozen=True, eq=False)
class Parts:
    """Every part of one person, in order."""

    parts: tuple[Part, ...]

    @property
    def present(self) -> tuple[Part, ...]:
        """Those with a weight."""
        return tuple(part for part in self.parts if part.weight > 0)


def make_part(label: str, image: Tensor, mask: Tensor | None, weight: float, target: Tensor | None) -> Part:
    """A part from an IMAGE (1, H, W, 1|3|4) and MASKs (pieces, h, w), which count together: two shoes are one part.

    An unpainted mask is none. Raises BadPart for several pictures, and for masks that would make a part with a weight
    vanish.
    """
    label = plain(label)
    if len(label) > _LONGEST:
        why = f"its label has {len(label)} letters"
        raise BadPart(plain(label, 60), why, f"Say in a few words what the part is, in {_LONGEST} letters at most.")
    if len(image) > 1:
        why = f"its image is a batch of {len(image)} pictures"
        raise BadPart(label, why, "A part is one picture: make one Part node for each.")
    colors, alpha = _colors_and_alpha(image[0])
    mask = None if mask is None or _unpainted(mask) else mask
    pieces = 1 if mask is None else len(as_masks(mask))
    part = Part(label, colors, alpha, _together(mask), weight, _together(target), pieces)
    for name, kept in (("mask", part.mask), ("alpha channel", alpha), ("target_mask", part.target)):
        if weight > 0 and kept is not None and not kept.any():
            raise BadPart(label, f"its {name} ({_size(kept)}) is empty: every value is 0", _EMPTY)
    return part


def _colors_and_alpha(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """An IMAGE (H, W, 1|3|4) as (H, W, 3), and its alpha (H, W), None where it has none.

    What is half transparent keeps its colour: it is put on white where it is used, once. What is not seen at all is
    white here already, as its colour may be anything.
    """
    if image.shape[-1] != 4:
        return as_rgb(image), None
    image = image.float().cpu()
    alpha = image[..., 3]
    return torch.where(alpha[..., None] > 0, image[..., :3], 1.0), alpha


_PAINT = "right click the node of the picture, Open in Mask Editor, paint over what shall count, Save"
_EMPTY = f"Make one ({_PAINT}), or leave the input unconnected to have all of it count. {OTHER_WORDS}"


def _unpainted(mask: Tensor) -> bool:
    """Whether this is what Load Image gives for a picture without transparency in which nobody has painted."""
    return mask.shape[-2:] == (64, 64) and not mask.any()


def _together(masks: Tensor | None) -> Tensor | None:
    return None if masks is None else as_masks(masks).amax(0)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]} px"


def hints(part: Part, **masks: Tensor | None) -> list[str]:
    """What works, but may not be meant. masks: as they were given, by the names of their inputs."""
    found = [
        f"The {name} of {part.label!r} is a batch of {len(mask)} masks, which count together: {_share(mask):.0%} of "
        "the picture."
        for name, mask in masks.items()
        if mask is not None and mask.ndim > 2 and len(mask) > 1
    ]
    given = masks.get("mask")
    if given is not None and _unpainted(given):
        found.append(f"No mask is painted, so the whole picture counts as {part.label!r}. For a part of it: {_PAINT}.")
    found += pictures.reminder([(repr(part.label), part.picture)])
    if part.mask is None:
        return found
    if part.mask.shape != part.picture.shape[:2]:
        sizes = f"{_size(part.mask)} and its picture {_size(part.picture)}"
        found.append(f"The mask of {part.label!r} is {sizes}: the mask is stretched over the picture.")
    share = _share(part.mask)
    if share > _INVERTED or part.mask[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 0.5:  # or all four corners
        found.append(
            f"The mask of {part.label!r} keeps {share:.0%} of the picture. If that is the background, put Invert Mask "
            "in between: the mask of a loaded picture is white where a picture is transparent."
        )
    return found


def strange_labels(parts: Iterable[Part]) -> list[str]:
    """One line about the labels that the released weights of a reference network were not trained with, if any. Shared
    attention without such a network takes any words."""
    strange = list(dict.fromkeys(repr(part.label) for part in parts if part.label not in LABELS))
    if not strange:
        return []
    verb = "is" if len(strange) == 1 else "are"
    return [f"{listed(strange)} {verb} none of the six labels that the weights were trained with: {listed(LABELS)}."]


def _share(masks: Tensor) -> float:
    """How much of the picture masks keep together, 0..1."""
    return float((as_masks(masks).amax(0) > 0.5).float().mean())


def caption(number: int, part: Part) -> str:
    """What stands under the part in a sheet: 2 shoes 1.5, 2 masks 12%."""
    weight = f" {part.weight:g}" * (part.weight != 1)
    found = f", {part.pieces} masks {_share(part.mask):.0%}" if part.mask is not None and part.pieces > 1 else ""
    return f"{number} {part.label}{weight}{found}"


def stretched(parts: Parts, width: int, height: int) -> list[str]:
    """What to say of parts that change their shape much at the size of the new picture, in one line."""
    found: list[str] = []
    for part in parts.present:
        squeeze = part.picture.shape[1] / part.picture.shape[0] * height / width
        if max(squeeze, 1 / squeeze) > _STRETCHED:
            found.append(f"{part.label!r} from {_size(part.picture)}")
    return gathered(f"Pictures stretched to {width}x{height} px", found, "; crop them to that shape")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A part at the size of the new picture. picture: (height, width, 3), on white. mask: (height, width), 0..1."""

    picture: Tensor
    mask: Tensor


def prepared(part: Part, width: int, height: int) -> Prepared:
    """The part as Parts2Whole reads it. Raises BadPart where too little of the mask is left at this size."""
    ready = resized(part, width, height)
    if not token_mask(ready.mask, (height // 8) * (width // 8)).any():
        why = f"its mask is empty at {width}x{height} px"
        raise BadPart(part.label, why, "Mask a larger area, or crop the picture closer to the part.")
    return ready


def resized(part: Part, width: int, height: int) -> Prepared:
    """Picture and alpha together with Pillow's bicubic, on white; the mask, where there is one, by itself."""
    alpha = torch.ones(part.picture.shape[:2]) if part.alpha is None else part.alpha
    rgba = _resized(torch.cat([part.picture, alpha[..., None]], dim=-1), width, height)
    picture, alpha = rgba[..., :3], rgba[..., 3]
    mask = alpha if part.mask is None else _resized(part.mask, width, height)
    return Prepared(picture * alpha[..., None] + (1 - alpha[..., None]), mask)


def _resized(picture: Tensor, width: int, height: int, by: Image.Resampling = Image.Resampling.BICUBIC) -> Tensor:
    """(H, W) or (H, W, 3|4), 0..1, as Pillow resizes it in eight bits."""
    shown = Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy())
    return previews.as_tensor(shown.resize((width, height), by))


def pose_picture(image: Tensor, width: int, height: int) -> Tensor:
    """Pose pictures (B, H, W, 1|3|4) as the pose guider reads them, (B, 3, height, width), with Pillow's Lanczos."""
    rgb = as_drawing(image)
    if rgb.shape[1:3] != (height, width):
        rgb = torch.stack([_resized(picture, width, height, Image.Resampling.LANCZOS) for picture in rgb])
    return rgb.movedim(-1, 1)


def pose_hint(image: Tensor) -> str:
    """What to say of pose pictures (B, H, W, 1|3|4) that are no DensePose IUV: those have 0 to 24 of 255 in blue."""
    if float((as_drawing(image)[..., 2] > 0.25).float().mean()) < 0.01:
        return ""
    return (
        "The pose image is no DensePose IUV picture (black background, red and green gradients, hardly any blue), so "
        "it may be followed badly. Viridis and Parula pictures are another encoding, OpenPose skeletons another thing. "
        "Detect Body Surface draws the right one of a photo."
    )


def targets(parts: tuple[Part, ...], width: int, height: int) -> Tensor | None:
    """Where in the picture each part may be looked at, (parts, height, width), or None: all of them everywhere."""
    if all(part.target is None for part in parts):
        return None
    given = [torch.ones(1, 1) if part.target is None else part.target for part in parts]
    return torch.cat([functional.interpolate(one[None, None], (height, width), mode="area")[0] for one in given])


def worn(part: Part) -> Tensor:
    """The part itself, as `cut` leaves it."""
    high, wide = part.picture.shape[:2]
    ready = resized(part, wide, high)
    return cut(ready.picture, ready.mask)


def region(part: Part, picture: Tensor) -> Tensor:
    """The part's place in a picture (H, W, 3) by its target, the whole of it without one, as `cut` leaves it."""
    high, wide = picture.shape[:2]
    target = targets((part,), wide, high)
    return cut(picture, torch.ones(high, wide) if target is None else target[0])


def cut(picture: Tensor, mask: Tensor) -> Tensor:
    """What a mask (H, W) keeps of a picture (H, W, 3): no larger than it needs to be, square, everything else white."""
    if not (mask > 0).any():  # so faint that eight bits have lost it
        mask = torch.ones_like(mask)
    inside = mask > 0.5 if (mask > 0.5).any() else mask > 0
    left, top, right, below = bounds(inside)
    window = slice(top, below), slice(left, right)
    kept, share = picture[window], mask[window][..., None]
    kept = kept * share + (1 - share)
    high, wide = kept.shape[:2]
    side = max(high, wide)
    top, left = (side - high) // 2, (side - wide) // 2
    return functional.pad(kept, (0, 0, left, side - wide - left, top, side - high - top), value=1.0)


_SIDE = 320  # the longer side of each, in pixels, at most


def sheet(shown: Parts) -> Tensor:
    """(1, H, W, 3): the parts in their own shape, with what does not count in dim magenta."""
    pictures = list[Tensor]()
    for part in shown.parts:
        scale = min(1.0, _SIDE / max(part.picture.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in part.picture.shape[:2])
        ready = resized(part, width, height)
        outside = 0.25 * ready.picture + 0.35 * torch.tensor([1.0, 0.0, 1.0])
        pictures.append(torch.lerp(outside, ready.picture, ready.mask[..., None]))
    return previews.contact_sheet(pictures, [caption(n, part) for n, part in enumerate(shown.parts, 1)])
