"""What a node shows of parts: their preview, and notes on what may not be meant in parts and pose pictures."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..checks.errors import counted, gathered, listed
from ..pictures.previews import contact_sheet
from ..pictures.tensors import as_drawing, reminder
from .parts import LABELS, PAINT, Part, Parts, is_unpainted, share_of, size_text
from .resizing import resized

_SIDE = 320  # the longer side of each, in pixels, at most
_DIM, _TINT = 0.25, 0.35  # how much is seen of what does not count, and of the magenta over it
_MAGENTA = (1.0, 0.0, 1.0)
_STRETCHED = 1.25  # a part whose sides change by more than this against each other no longer looks like itself
_INVERTED = 0.9  # a mask that keeps more of a picture than this is more likely a mask of the background
_BLUE = 0.25  # an IUV picture has 24 of 255 in blue at most; another picture has more than this in a pixel of a hundred
_BLUE_SHARE = 0.01
_BLACK = 8 / 255  # at most this is what a JPEG makes of black


def notes_on_part(part: Part, mask: Tensor | None = None, target_mask: Tensor | None = None) -> list[str]:
    """Lines about a part, for the note of the node that made it.

    mask, target_mask: (h, w) or (masks, h, w), as they were linked to the inputs of these names; None without a link.
    The part itself has them joined, and no mask where none was painted.
    """
    lines: list[str] = []
    for name, masks in (("mask", mask), ("target_mask", target_mask)):
        if masks is not None and masks.ndim > 2 and len(masks) > 1:
            lines.append(
                f"The {name} of {part.label!r} is a batch of {len(masks)} masks, which count together: "
                f"{share_of(masks):.0%} of the picture."
            )
    if mask is not None and is_unpainted(mask):
        lines.append(f"No mask is painted, so the whole picture counts as {part.label!r}. For a part of it: {PAINT}.")
    lines += reminder([(repr(part.label), part.picture)])
    return lines if part.mask is None else [*lines, *_notes_on_mask(part, part.mask)]


def _notes_on_mask(part: Part, mask: Tensor) -> list[str]:
    """Lines about the mask of a part, (h, w)."""
    lines: list[str] = []
    if mask.shape != part.picture.shape[:2]:
        sizes = f"{size_text(mask)} and its picture {size_text(part.picture)}"
        lines.append(f"The mask of {part.label!r} is {sizes}: the mask is stretched over the picture.")
    share = share_of(mask)
    if share > _INVERTED or _keeps_all_corners(mask):
        lines.append(
            f"The mask of {part.label!r} keeps {share:.0%} of the picture. If that is the background, put Invert Mask "
            "in between: the mask of a loaded picture is white where a picture is transparent."
        )
    return lines


def _keeps_all_corners(mask: Tensor) -> bool:
    """Whether a mask (h, w) keeps the four corners of the picture, as a mask of the background does."""
    rows = [0, 0, -1, -1]
    columns = [0, -1, 0, -1]
    return bool(mask[rows, columns].min() > 0.5)


def pictures_of_garment(parts: Parts) -> list[str]:
    """A line where the last part shows a garment of which another part is a picture already; else []."""
    for *earlier, last in parts.garments:
        if earlier and last is parts.parts[-1]:  # parts.garments has only parts with a weight
            return [
                f"{counted(len(earlier) + 1, 'part')} {last.label!r}: pictures of one garment, such as front and back. "
                "For another garment use other words, or a target_mask of its own."
            ]
    return []


def strange_labels(parts: Iterable[Part]) -> list[str]:
    """One line about the labels that the released weights of a reference network were not trained with, if any.

    Shared attention without such a network takes any words.
    """
    strange = list(dict.fromkeys(repr(part.label) for part in parts if part.label not in LABELS))
    if not strange:
        return []
    verb = "is" if len(strange) == 1 else "are"
    return [f"{listed(strange)} {verb} none of the six labels that the weights were trained with: {listed(LABELS)}."]


def stretched(parts: Parts, width: int, height: int) -> list[str]:
    """A line that names the parts whose pictures are stretched much at the size of the new picture; [] without any."""
    lines: list[str] = []
    for part in parts.present:
        # The ratio of width to height of the part's picture, by that of the new picture; 1 stretches nothing.
        squeeze = part.picture.shape[1] / part.picture.shape[0] * height / width
        if max(squeeze, 1 / squeeze) > _STRETCHED:
            lines.append(f"{part.label!r} from {size_text(part.picture)}")
    return gathered(f"Pictures stretched to {width}x{height} px", lines, "; crop them to that shape")


_RIGHT_KIND = "Draw Skeletons draws the right kind, at body surface."


def pose_hint(image: Tensor) -> str:
    """A line about pose pictures (B, H, W, 1|3|4) that are black or no DensePose IUV; "" where they may be one.

    An IUV picture has 0 to 24 of 255 in blue.
    """
    drawn = as_drawing(image)  # (B, H, W, 3)
    black = int((drawn.flatten(1).amax(1) <= _BLACK).sum())
    if black:
        which = "The pose image is"
        if len(drawn) > 1:
            which = f"{black} of the {len(drawn)} pictures of the pose image {'is' if black == 1 else 'are'}"
        return f"{which} black everywhere and shows no pose to follow. {_RIGHT_KIND}"
    blue = drawn[..., 2]
    if float((blue > _BLUE).float().mean()) < _BLUE_SHARE:
        return ""
    return (
        "The pose image is no DensePose IUV picture (black background, red and green gradients, hardly any blue), so "
        "it may be followed badly. Viridis and Parula pictures are another encoding, OpenPose skeletons another thing. "
        f"{_RIGHT_KIND}"
    )


def sheet(parts: Parts, whose: str = "") -> Tensor:
    """The preview of all parts with their captions, in which `whose` stands first: (1, H, W, 3) float32 0..1."""
    magenta = torch.tensor(_MAGENTA, dtype=torch.float32)
    pictures: list[Tensor] = []
    for part in parts.parts:
        scale = min(1.0, _SIDE / max(part.picture.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in part.picture.shape[:2])
        resized_part = resized(part, width, height)
        tinted = _DIM * resized_part.picture + _TINT * magenta  # (height, width, 3), shown where the mask is 0
        pictures.append(torch.lerp(tinted, resized_part.picture, resized_part.mask[..., None]))
    captions = [caption(number, part) for number, part in enumerate(parts.parts, 1)]
    if whose:
        captions = [f"{whose}: {text}" for text in captions]
    return contact_sheet(pictures, captions, lines=2 if whose else 1)


def caption(number: int, part: Part) -> str:
    """The caption of a part in the sheet, such as "2 shoes 1.5, 2 masks 12%"."""
    text = f"{number} {part.label}"
    if part.weight != 1:
        text += f" {part.weight:g}"
    if part.mask is not None and part.pieces > 1:
        text += f", {part.pieces} masks {share_of(part.mask):.0%}"
    return text
