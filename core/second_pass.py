"""The second pass: who needs it, a square around each of these faces, their cast as a batch, and the way back.

Sampled crops go into their pictures in the colours of what lies around them.
"""

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

    slot: the person's place in the enlarged crop.
    """

    candidate: Candidate
    why: str
    crop: Crop | None = None
    slot: Slot | None = None


@dataclass(frozen=True)
class Choice:
    """Who needs the second pass, and how the squares are cut.

    who: one of CHOICES. smaller_than: height of a face in pixels. less_than: similarity. use_places: whether who has
    no face in the picture is cut out in their place. margin, mask_margin: around the face box, in face sizes; the
    square's and the mask's. feather: soft edge of the mask, in face sizes. size: of the crops, in pixels.
    """

    who: str
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
        for number, (one, faces) in enumerate(zip(report.judged_pictures, pictures, strict=True))
    ]


def _candidate(report: Report, picture: int, seen: Sighting, faces: Faces) -> Candidate:
    person, number = report.people[seen.person], report.numbers[seen.person]
    box, keypoints, similarity = None, None, None
    if seen.face is not None:
        face = faces.faces[seen.face]
        box, keypoints, similarity = face.box, face.keypoints, seen.similarity
    elif person.slot and person.slot.box and person.slot.keypoints:
        onto = report.canvas_onto(faces.width, faces.height)
        box, keypoints = onto.box(person.slot.box), tuple(map(onto.point, person.slot.keypoints))
    return Candidate(picture, person, number, box, keypoints, similarity)


def decide(people: Sequence[Candidate], faces: Faces, choice: Choice) -> list[Decision]:
    """What becomes of everybody in one picture, in their order.

    faces: all of the picture. Those of people who are not chosen, and of strangers, are cut out of the masks.
    """
    reasons = [(one, *_reason(one, faces, choice)) for one in people]
    chosen = {one.box for one, needed, _ in reasons if needed}
    kept = [face.box for face in faces.faces if face.box not in chosen]
    return [_cut_out(one, why, faces, kept, choice) if needed else Decision(one, why) for one, needed, why in reasons]


def _reason(one: Candidate, faces: Faces, choice: Choice) -> tuple[bool, str]:
    """Whether somebody needs the second pass, and why or why not."""
    if one.box is None or one.keypoints is None:
        return False, "no face found and no place with a face to go by, left as it is"
    x, y = one.keypoints[NOSE]
    if not (0 <= x < faces.width and 0 <= y < faces.height):
        return False, "the face is outside of the picture, left as it is"
    if one.similarity is None:
        return choice.use_places, f"no face found, {'cut out in their place' if choice.use_places else 'left as it is'}"
    height = one.box[3] - one.box[1]
    small, unlike = height < choice.smaller_than, one.similarity < choice.less_than
    needed = {"small faces": small, "unlike faces": unlike, "everybody": True}.get(choice.who, small or unlike)
    face = f"face {height:.0f} px high, similarity {one.similarity:.2f}"
    return needed, f"{face}, {'second pass' if needed else 'left as it is'}"


_COVERED = "covered by faces that are left as they are, left as it is"


def _cut_out(one: Candidate, why: str, faces: Faces, kept: Sequence[Box], choice: Choice) -> Decision:
    if one.box is None or one.keypoints is None:
        return Decision(one, why)
    square, longer = square_around(one.box, choice.margin, faces.width, faces.height), longer_side(one.box)
    mask = paste_mask(one.box, square, faces, kept, choice.mask_margin, choice.feather * longer)
    if not mask.any():
        return Decision(one, _COVERED)
    crop = Crop(one.picture, square, upright(one.keypoints), mask, one.name, longer)
    corners = one.box[:2], one.box[2:]
    left, right, *points = (into_crop(point, square, crop.turns, choice.size) for point in (*corners, *one.keypoints))
    (xs, ys), keypoints = zip(left, right, strict=True), tuple(points)
    body = skeleton_around(keypoints, "half", (choice.size, choice.size))
    slot = Slot(keypoints[NOSE], (min(xs), min(ys), max(xs), max(ys)), keypoints, body)
    return Decision(one, why, crop, slot)


def paste_mask(box: Box, square: Rect, faces: Faces, kept: Sequence[Box], mask_margin: float, feather: float) -> Tensor:
    """(side, side) float32: 1 on the face and around it, falling to 0 over `feather` px of the picture.

    0 at the edges of the square, but where the picture ends there too; 0 on the faces in `kept`.
    """
    length = square[2] - square[0]
    within = Fit(1, 1, -square[0], -square[1])
    mask = box_region(within.box(widened(box, mask_margin)), length, length, feather)
    at, soft = torch.arange(length) + 0.5, max(feather, 1e-6)
    sides = ((at[None, :], square[0], square[2], faces.width), (at[:, None], square[1], square[3], faces.height))
    for along, start, end, limit in sides:
        if start > 0:
            mask = torch.minimum(mask, along / soft)
        if end < limit:
            mask = torch.minimum(mask, (length - along) / soft)
    for other in kept:
        mask = torch.minimum(mask, 1 - box_region(within.box(other), length, length, feather))
    return mask


def into_crop(point: Point, square: Rect, turns: int, size: int) -> Point:
    """A point of the picture in pixels of the enlarged and turned crop."""
    scale = size / (square[2] - square[0])
    x, y = (point[0] - square[0]) * scale, (point[1] - square[1]) * scale
    for _ in range(turns):
        x, y = y, size - x
    return x, y


def cast_of(decisions: Sequence[Decision], size: int) -> RowCast:
    """Those who have a crop, a row of the batch each."""
    people = [replace(one.candidate.person, slot=one.slot, place=one.candidate.number) for one in decisions if one.crop]
    return RowCast(tuple(people), size, size)


def cut(image: Tensor, crop: Crop, size: int) -> Tensor:
    """(size, size, 3) float32: the crop of its picture (H, W, 3), upright and enlarged."""
    x0, y0, x1, y1 = crop.square
    return turned(image[y0:y1, x0:x1], crop.turns, size)


def turned(picture: Tensor, turns: int, size: int) -> Tensor:
    """(H, H, C) 0..1 -> (size, size, C), by quarter turns counter-clockwise; bicubic unless it has that size."""
    picture = torch.rot90(picture, turns)
    if len(picture) != size:
        planes = picture.movedim(-1, 0)[None]
        picture = interpolate(planes, (size, size), mode="bicubic", antialias=True)[0].movedim(0, -1)
    return picture.clamp(0, 1)


# --- In words


def describe(decisions: Sequence[Decision], pictures: int) -> str:
    """Everybody in every picture, a line each."""
    lines: list[str] = []
    for who, why in ((one.candidate, one.why) for one in decisions):
        where = f"Picture {who.picture + 1}: " if pictures > 1 else ""
        lines.append(f"{where}{who.name}{f' (place {who.number})' if who.person.slot else ''}: {why}.")
    return "\n".join(lines)


NOBODY = "No face needs the second pass: Paste Faces gives the picture back as it is, and nothing is sampled."
_WHOLE = 0.9  # of the second pass, in the middle of a face. Less is another picture than the one that was sampled.


def troubles(decisions: Sequence[Decision], pictures: int) -> list[str]:
    """Who could not be found, of whom little is pasted, and that nobody is chosen, a line for each kind."""

    def where(what: str, picture: int) -> str:
        return f"{what} in picture {picture + 1}" if pictures > 1 else what

    lost: dict[str, list[str]] = {}
    for one in decisions:
        if one.candidate.similarity is None or one.why == _COVERED:
            lost.setdefault(one.why, []).append(where(one.candidate.name, one.candidate.picture))
    chosen = [one.crop for one in decisions if one.crop]
    most = [(crop, float(crop.mask.max())) for crop in chosen]
    faint = [where(f"{crop.name} {share:.0%}", crop.picture) for crop, share in most if share < _WHOLE]
    return [
        *(line for why, names in lost.items() for line in gathered(why[0].upper() + why[1:], names)),
        *gathered("The soft edge leaves no room for the face", faint, " pasted at most; lower feather or raise margin"),
        *([] if chosen else [NOBODY]),
    ]


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
            sheet.label(str(one.candidate.number), name, box[:2], color_of(one.candidate.number - 1), box[2] - box[0])
    left = sum(one.crop is None for one in decisions)
    sheet.footer([f"{counted(len(decisions) - left, 'face')} cut out, {left} left as they are"])
    return sheet.tensor()


MATCHES = ("around the face", "face", "none")
_FEW = 16.0  # pixels. Fewer say nothing about colours.
_MOST = 2.0  # how many times a colour's contrast may be raised or lowered


def check(images: Tensor, crops: Crops, sampled: Tensor) -> None:
    """Raise BadPhoto or BadSize unless `sampled` (N, s, s, C) are all crops of `images` (B, H, W, C)."""
    size = (images.shape[2], images.shape[1])
    if len(images) != crops.count:
        why = f"Paste Faces got {counted(len(images), 'picture')}, and the crops were cut out of {crops.count}."
        raise BadPhoto(why, "Connect the pictures that Crop Faces was given.")
    if size != (crops.width, crops.height):
        expected = f"the crops were cut out of {crops.width}x{crops.height} px"
        advice = "Connect the picture that Crop Faces was given; resize it after Paste Faces."
        raise BadSize("The image given to Paste Faces", size, expected, advice)
    if len(sampled) != len(crops.crops):
        why = f"Paste Faces got {counted(len(sampled), 'sampled crop')}, and Crop Faces cut out {len(crops.crops)}."
        film = "With Qwen-Image, sample the latents of Crop Faces: its VAE takes a batch in VAE Encode for one film."
        raise BadPhoto(why, f"Connect all rows of the batch, decoded from one sampler. {film}")
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
    for crop, new in sorted(zip(crops.crops, sampled, strict=True), key=lambda pair: pair[0].face):
        x0, y0, x1, y1 = crop.square
        under, part = (whole[crop.picture, y0:y1, x0:x1] for whole in (pasted, masks))
        new = turned(as_rgb(new), -crop.turns, x1 - x0)
        new = matched(new, as_rgb(images[crop.picture, y0:y1, x0:x1]), crop.mask, match)
        colors = under[..., : min(under.shape[-1], 3)]
        new = new.mean(-1, keepdim=True) if colors.shape[-1] == 1 else new
        mixed = torch.lerp(colors.float().cpu(), new, crop.mask[..., None]).to(colors)
        colors.copy_(torch.where(crop.mask[..., None].to(colors.device) > 0, mixed, colors))
        part.copy_(torch.maximum(part, crop.mask))
    return pasted, masks


def matched(new: Tensor, old: Tensor, mask: Tensor, match: str) -> Tensor:
    """`new` (s, s, 3) with the mean and the contrast of `old`, channel by channel (Reinhard et al. 2001, in RGB).
    Both are measured around the mask or on it; mask: (s, s)."""
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
