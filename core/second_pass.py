"""The second pass: who needs it, a square around each of these faces, their cast as a batch, and the way back.

Sampled crops go into their pictures in the colours of what lies around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from .errors import BadPhoto, BadSize, counted, gathered
from .geometry import Fit, Rect, longer_side, square_around, upright
from .measure import Report, Sighting
from .people import NOSE, Box, Faces, Keypoints, Person, Point, RowCast, Slot
from .pictures import as_rgb
from .places.layouts import skeleton_around
from .places.regions import box_region, widened
from .previews import Sheet, as_picture, color_of

CHOICES = ("small faces", "unlike faces", "small or unlike faces", "everybody")


@dataclass(frozen=True)
class Candidate:
    """Somebody in a picture, before anybody asks whether they need the second pass.

    picture: which of the batch, from 0. number: of the place, or in the list. box, keypoints: of the face that was
    found, else of the person's place, in pixels of the picture; None where neither is known.
    similarity: of the face to the person's photos; None where no face was found.
    """

    picture: int
    person: Person
    number: int
    box: Box | None
    keypoints: Keypoints | None
    similarity: float | None

    @property
    def name(self) -> str:
        return self.person.identity.name

    @property
    def height(self) -> float:
        """Of the face, in pixels."""
        return self.box[3] - self.box[1] if self.box else 0.0


@dataclass(frozen=True)
class Crop:
    """One person's square of one picture.

    square: in whole pixels of picture number `picture` of the batch, always within it. turns: how many quarter turns
    counter-clockwise stand the face upright. mask: (side, side) float32 0..1, where the square is pasted back, as it
    lies in the picture. face: the longer side of the face, in pixels; where two overlap, the larger lies on top.
    """

    picture: int
    square: Rect
    turns: int
    mask: Tensor
    name: str
    number: int
    face: float


@dataclass(frozen=True)
class Crops:
    """What travels on LIKENESS_CROPS: one crop per row of the batch, of `count` pictures of width x height pixels.

    size: of the squares once they are enlarged, in pixels.
    """

    crops: tuple[Crop, ...]
    count: int
    width: int
    height: int
    size: int


@dataclass(frozen=True)
class Decision:
    """What becomes of somebody in a picture: their crop, or why there is none.

    slot: the person's place in the enlarged crop. covered: whether there is none because others' faces lie over it.
    """

    candidate: Candidate
    why: str
    crop: Crop | None = None
    slot: Slot | None = None
    covered: bool = False


@dataclass(frozen=True)
class Choice:
    """Who needs the second pass, and how the squares are cut.

    which: one of CHOICES. smaller_than: height of a face in pixels. less_than: similarity. use_places: whether who has
    no face in the picture is cut out in their place. margin, mask_margin: around the face box, in face sizes; the
    square's and the mask's. feather: soft edge of the mask, in face sizes. size: of the crops, in pixels.
    """

    which: str
    smaller_than: float
    less_than: float
    use_places: bool
    margin: float
    mask_margin: float
    feather: float
    size: int


def candidates(report: Report, pictures: Sequence[Faces]) -> list[list[Candidate]]:
    """Everybody of the report in each of its pictures, whose faces `pictures` are."""
    return [
        [_candidate(report, number, seen, faces) for seen in one.sightings]
        for number, (one, faces) in enumerate(zip(report.judged, pictures, strict=True))
    ]


def _candidate(report: Report, picture: int, seen: Sighting, faces: Faces) -> Candidate:
    person, number = report.people[seen.person], report.numbers[seen.person]
    if seen.face is not None:
        face = faces.faces[seen.face]
        return Candidate(picture, person, number, face.box, face.keypoints, seen.similarity)
    slot = person.slot
    if slot is None or slot.box is None or slot.keypoints is None:
        return Candidate(picture, person, number, None, None, None)
    onto = Fit(faces.width / report.width, faces.height / report.height, 0, 0)
    return Candidate(picture, person, number, onto.box(slot.box), tuple(map(onto.point, slot.keypoints)), None)


def decide(people: Sequence[Candidate], faces: Faces, choice: Choice) -> list[Decision]:
    """What becomes of everybody in one picture, in their order.

    faces: all of the picture. Those of people who are not chosen, and of strangers, are cut out of the masks.
    """
    reasons = [_reason(one, faces, choice) for one in people]
    chosen = {found[0] for found, _ in reasons if found}
    kept = [face.box for face in faces.faces if face.box not in chosen]
    return [
        _cut_out(one, found, why, faces, kept, choice) if found else Decision(one, why)
        for one, (found, why) in zip(people, reasons, strict=True)
    ]


def _reason(one: Candidate, faces: Faces, choice: Choice) -> tuple[tuple[Box, Keypoints] | None, str]:
    """The face that is to be cut out of somebody who needs the second pass, and why or why not."""
    if one.box is None or one.keypoints is None:
        return None, "no face found and no place with a face to go by, left as it is"
    x, y = one.keypoints[NOSE]
    if not (0 <= x < faces.width and 0 <= y < faces.height):
        return None, "the face is outside of the picture, left as it is"
    found = one.box, one.keypoints
    if one.similarity is None:
        told = "no face found"
        return (found, f"{told}, cut out in their place") if choice.use_places else (None, f"{told}, left as it is")
    small, unlike = one.height < choice.smaller_than, one.similarity < choice.less_than
    needed = {"small faces": small, "unlike faces": unlike, "everybody": True}.get(choice.which, small or unlike)
    told = f"face {one.height:.0f} px high, similarity {one.similarity:.2f}"
    return (found, f"{told}, second pass") if needed else (None, f"{told}, left as it is")


def _cut_out(
    one: Candidate, found: tuple[Box, Keypoints], why: str, faces: Faces, kept: Sequence[Box], choice: Choice
) -> Decision:
    box, keypoints = found
    square = square_around(box, choice.margin, faces.width, faces.height)
    mask = paste_mask(box, square, faces, kept, choice.mask_margin, choice.feather * longer_side(box))
    if not mask.any():
        return Decision(one, "covered by faces that are left as they are, left as it is", covered=True)
    crop = Crop(one.picture, square, upright(keypoints), mask, one.name, one.number, longer_side(box))
    return Decision(one, why, crop, _slot(box, keypoints, crop, choice.size))


def paste_mask(
    box: Box, square: Rect, picture: Faces, kept: Sequence[Box], mask_margin: float, feather: float
) -> Tensor:
    """(side, side) float32: 1 on the face and around it, falling to 0 over `feather` px of the picture.

    0 at the edges of the square, but where the picture ends there too; 0 on the faces in `kept`.
    """
    length = square[2] - square[0]
    mask = box_region(_moved(widened(box, mask_margin), square), length, length, feather)
    at, soft = torch.arange(length) + 0.5, max(feather, 1e-6)
    sides = ((at[None, :], square[0], square[2], picture.width), (at[:, None], square[1], square[3], picture.height))
    for along, start, end, limit in sides:
        if start > 0:
            mask = torch.minimum(mask, along / soft)
        if end < limit:
            mask = torch.minimum(mask, (length - along) / soft)
    for other in kept:
        mask = torch.minimum(mask, 1 - box_region(_moved(other, square), length, length, feather))
    return mask


def _moved(box: Box, square: Rect) -> Box:
    return box[0] - square[0], box[1] - square[1], box[2] - square[0], box[3] - square[1]


def into_crop(point: Point, square: Rect, turns: int, size: int) -> Point:
    """A point of the picture in pixels of the enlarged and turned crop."""
    scale = size / (square[2] - square[0])
    x, y = (point[0] - square[0]) * scale, (point[1] - square[1]) * scale
    for _ in range(turns):
        x, y = y, size - x
    return x, y


def _slot(box: Box, keypoints: Keypoints, crop: Crop, size: int) -> Slot:
    points = tuple(into_crop(point, crop.square, crop.turns, size) for point in keypoints)
    corners = [into_crop(corner, crop.square, crop.turns, size) for corner in (box[:2], box[2:])]
    xs, ys = zip(*corners, strict=True)
    found = (min(xs), min(ys), max(xs), max(ys))
    return Slot(points[NOSE], found, points, skeleton_around(points, "half", (size, size)))


def cast_of(decisions: Sequence[Decision], size: int) -> RowCast:
    """Those who have a crop, a row of the batch each."""
    people = [replace(one.candidate.person, slot=one.slot, place=one.candidate.number) for one in decisions if one.crop]
    return RowCast(tuple(people), size, size)


def cut(image: Tensor, crop: Crop, size: int) -> Tensor:
    """(size, size, 3) float32: the crop of its picture (H, W, 3), upright and enlarged."""
    x0, y0, x1, y1 = crop.square
    return resized(torch.rot90(image[y0:y1, x0:x1], crop.turns), size).clamp(0, 1)


def cut_mask(crop: Crop, size: int) -> Tensor:
    """(size, size) float32 0..1: the crop's mask as the crop is enlarged and turned."""
    return resized(torch.rot90(crop.mask, crop.turns)[..., None], size)[..., 0].clamp(0, 1)


def resized(picture: Tensor, size: int) -> Tensor:
    """(H, H, C) -> (size, size, C), bicubic, as it is where it has that size already."""
    if len(picture) == size:
        return picture.clone()
    planes = picture.movedim(-1, 0)[None]
    return interpolate(planes, (size, size), mode="bicubic", antialias=True)[0].movedim(0, -1)


# --- In words


def describe(decisions: Sequence[Decision], pictures: int) -> str:
    """Everybody in every picture, a line each."""
    return "\n".join(_line(one, pictures) for one in decisions)


def _line(one: Decision, pictures: int) -> str:
    where = f"Picture {one.candidate.picture + 1}: " if pictures > 1 else ""
    placed = f" (place {one.candidate.number})" if one.candidate.person.slot else ""
    return f"{where}{one.candidate.name}{placed}: {one.why}."


def troubles(decisions: Sequence[Decision], pictures: int) -> list[str]:
    """Who could not be found, of whom little is pasted, who lies on top of whom, and that nobody is chosen, a line for
    each kind."""
    lost: dict[str, list[str]] = {}
    for one in decisions:
        if one.candidate.similarity is None or one.covered:
            lost.setdefault(one.why, []).append(_in_picture(one.candidate.name, one.candidate.picture, pictures))
    lines = [line for why, names in lost.items() for line in gathered(why[0].upper() + why[1:], names)]
    chosen = [one.crop for one in decisions if one.crop]
    nobody = [] if chosen else [NOBODY]
    return [*lines, *_faint(chosen, pictures), *overlaps(chosen, pictures), *nobody]


def _in_picture(what: str, picture: int, pictures: int) -> str:
    return f"{what} in picture {picture + 1}" if pictures > 1 else what


NOBODY = "No face needs the second pass: Paste Faces gives the picture back as it is, and nothing is sampled."


_WHOLE = 0.9
"""Of the second pass, in the middle of a face. Less is another picture than the one that was sampled."""


def _faint(crops: Sequence[Crop], pictures: int) -> list[str]:
    """Whose square is too small for the soft edge, in one line."""
    most = [(crop, float(crop.mask.max())) for crop in crops]
    faint = [_in_picture(f"{crop.name} {share:.0%}", crop.picture, pictures) for crop, share in most if share < _WHOLE]
    advice = " pasted at most; lower feather or raise margin"
    return gathered("The soft edge leaves no room for the face", faint, advice)


def overlaps(crops: Sequence[Crop], pictures: int) -> list[str]:
    """Whose faces are pasted over each other, and who lies on top, in one line."""
    pairs: list[str] = []
    for n, one in enumerate(crops):
        for other in crops[:n]:
            if one.picture == other.picture and _meet(one, other):
                above, below = (one, other) if on_top(one, other) else (other, one)
                pairs.append(_in_picture(f"{above.name} over {below.name}", one.picture, pictures))
    return gathered("Faces overlap, the larger on top", pairs)


def on_top(one: Crop, other: Crop) -> bool:
    """Whether the first of two, listed later, is pasted over the second."""
    return one.face >= other.face


def _meet(one: Crop, other: Crop) -> bool:
    x0, y0 = max(one.square[0], other.square[0]), max(one.square[1], other.square[1])
    x1, y1 = min(one.square[2], other.square[2]), min(one.square[3], other.square[3])
    if x0 >= x1 or y0 >= y1:
        return False
    seen = [
        crop.mask[y0 - crop.square[1] : y1 - crop.square[1], x0 - crop.square[0] : x1 - crop.square[0]]
        for crop in (one, other)
    ]
    return bool(((seen[0] > 0) & (seen[1] > 0)).any())


def who_is_cut_out(image: Tensor, decisions: Sequence[Decision]) -> Tensor:
    """Who of a picture is cut out: their squares and masks in their colours, with number and name; others' faces in
    thin lines.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    for one in decisions:
        color, crop = color_of(one.candidate.number - 1), one.crop
        if crop:
            sheet.picture.paste(color, crop.square[:2], Image.fromarray((crop.mask * 90).byte().numpy()))
            sheet.frame(crop.square, color)
        if one.candidate.box:
            sheet.frame(one.candidate.box, color, None if crop else 1)
    for one in decisions:
        box = one.crop.square if one.crop else one.candidate.box
        if box:
            name = one.candidate.name if one.crop else ""
            corner = (float(box[0]), float(box[1]))
            sheet.label(str(one.candidate.number), name, corner, color_of(one.candidate.number - 1), box[2] - box[0])
    left = sum(one.crop is None for one in decisions)
    sheet.footer([f"{counted(len(decisions) - left, 'face')} cut out, {left} left as they are"])
    return sheet.tensor()


MATCHES = ("around the face", "face", "none")
_FEW = 16.0
"""Pixels. Fewer say nothing about colours."""
_MOST = 2.0
"""How many times a colour's contrast may be raised or lowered."""


def check(images: Tensor, crops: Crops, sampled: Tensor) -> None:
    """Raise BadPhoto or BadSize unless `sampled` (N, s, s, C) are all crops of `images` (B, H, W, C)."""
    size = (images.shape[2], images.shape[1])
    if len(images) != crops.count:
        raise BadPhoto(
            f"Paste Faces got {counted(len(images), 'picture')}, and the crops were cut out of {crops.count}.",
            "Connect the pictures that Crop Faces was given.",
        )
    if size != (crops.width, crops.height):
        raise BadSize(
            "The image given to Paste Faces",
            size,
            f"the crops were cut out of {crops.width}x{crops.height} px",
            "Connect the picture that Crop Faces was given; resize it after Paste Faces.",
        )
    if len(sampled) != len(crops.crops):
        raise BadPhoto(
            f"Paste Faces got {counted(len(sampled), 'sampled crop')}, and Crop Faces cut out {len(crops.crops)}.",
            "Connect all rows of the batch, in their order, decoded from one sampler. With Qwen-Image, sample the "
            "latents of Crop Faces: its VAE takes a batch in VAE Encode for one film.",
        )
    if sampled.shape[1] != sampled.shape[2]:
        found = (sampled.shape[2], sampled.shape[1])
        advice = "Put no node between that crops or stretches them."
        raise BadSize("The sampled crop given to Paste Faces", found, "the crops are squares", advice)


def paste(images: Tensor, crops: Crops, sampled: Tensor, match: str) -> tuple[Tensor, Tensor]:
    """The pictures with the crops in them, of their own type; and where, (B, H, W) float32 0..1.

    The larger face lies on top. Where the mask is 0 the pictures stay bit for bit; so does their alpha.
    match: one of MATCHES. Raises what `check` does.
    """
    check(images, crops, sampled)
    pasted, masks = images.clone(), torch.zeros(images.shape[:3])
    for n in order(crops):
        crop, new = crops.crops[n], as_rgb(sampled[n])
        x0, y0, x1, y1 = crop.square
        new = resized(torch.rot90(new, -crop.turns), x1 - x0).clamp(0, 1)
        new = matched(new, as_rgb(images[crop.picture, y0:y1, x0:x1]), crop.mask, match)
        _blend(pasted[crop.picture, y0:y1, x0:x1], new, crop.mask[..., None])
        part = masks[crop.picture, y0:y1, x0:x1]
        part.copy_(torch.maximum(part, crop.mask))
    return pasted, masks


def order(crops: Crops) -> list[int]:
    """Rows from the smallest face to the largest."""
    return sorted(range(len(crops.crops)), key=lambda n: crops.crops[n].face)


def _blend(under: Tensor, new: Tensor, mask: Tensor) -> None:
    """Put `new` (s, s, 3) into `under` (s, s, C), a part of a picture; mask (s, s, 1)."""
    channels = min(under.shape[-1], 3)
    colors = under[..., :channels]
    new = new.mean(-1, keepdim=True) if channels == 1 else new
    mixed = torch.lerp(colors.float().cpu(), new, mask).to(colors)
    colors.copy_(torch.where(mask.to(under.device) > 0, mixed, colors))


def matched(new: Tensor, old: Tensor, mask: Tensor, match: str) -> Tensor:
    """`new` (s, s, 3) with the mean and the contrast of `old`, channel by channel (Reinhard et al. 2001, in RGB).

    Both are measured around the mask or on it; mask: (s, s).
    """
    weight = {"around the face": 1 - mask, "face": mask}.get(match)
    if weight is None or weight.sum() < _FEW:
        return new
    (mean, spread), (wanted, wide) = _statistics(new, weight), _statistics(old, weight)
    gain = torch.where(spread > 1e-3, wide / spread.clamp(min=1e-3), torch.ones(3)).clamp(1 / _MOST, _MOST)
    return ((new - mean) * gain + wanted).clamp(0, 1)


def _statistics(picture: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, (3,) each."""
    share = (weight / weight.sum())[..., None]
    mean = (picture * share).sum((0, 1))
    return mean, ((picture - mean) ** 2 * share).sum((0, 1)).sqrt()
