"""A cast as reference pictures of models that take several: their order and sizes, and a sentence per person.

Whoever has a place is described by it as a viewer sees it: "left: Anna, from Picture 1."
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ...core.cast import UNNAMED, CanvasSize, Cast, Member, RowCast, Slot, in_order_of_places, is_a, places_of
from ...core.checks.errors import BadSetup, counted, gathered
from ...core.parts.cut_outs import piece_of_part
from ...core.persons.combining import portraits
from ...core.pictures.tensors import as_masks, as_rgb
from ...core.places import control_images, layouts
from ...core.places.layouts import head_of
from ...core.taking_part import TakingPart, names
from . import NAME
from .parts import OwnedPart

AS_TRAINED = "as trained"
PEOPLE_FIRST = "people first"
PICTURES_FIRST = "pictures first"
ORDERS = (AS_TRAINED, PEOPLE_FIRST, PICTURES_FIRST)
"""Whether people or `pictures` come first; AS_TRAINED for the family's own order. The options of the input `order`."""
LARGEST = 1024 * 1024
"""The most pixels of a picture that shows no person and no poses. The host's nodes bring pictures to this size."""
_TOKEN = 16
"""The side of a token, in pixels."""
_NEARLY = 0.92
"""How much of a canvas's sides a picture covers whose proportions are nearly those of the canvas."""
_NEXT_ROW = 0.8
"""Where a face is this many heads higher in the picture than another, it stands in a row behind that face."""
_NTH = ("second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, eq=False)
class Reference:
    """One or several pictures that show the same thing, such as all photos of one person. Immutable.

    pictures: (1, H, W, 3) each, float32 0..1; or (rows, H, W, 3), a picture for each row of the batch. area: the number
    of pixels that each picture is brought to. person: the index of the person whom they show, or None where they belong
    to no person. captions: for each row who is in it, and where. before_numbers, after_numbers: the two ends of the
    sentence in the prompt, between which the numbers of the pictures stand: "left: Anna, from " Picture 1 ".". Both are
    empty where there is no sentence. of_rows: whether each row of the pictures shows the person of that row of the
    batch. strengths: how strongly each picture is read, () for 1; they are the shares of a blended person. kept: (1 or
    rows, h, w), 0..1, which of the pictures is read; None for all. part: what of the person they show, where it is no
    photo; the sentence of the person in front names it. region: the number of the region in which the picture reads it;
    None for one that all of it reads.
    """

    pictures: Sequence[Tensor]
    area: int
    person: int | None = None
    captions: tuple[str, ...] = ("",)
    before_numbers: str = ""
    after_numbers: str = ""
    of_rows: bool = False
    strengths: tuple[float, ...] = ()
    kept: Tensor | None = None
    part: OwnedPart | None = None
    region: int | None = None

    @property
    def target(self) -> Tensor | None:
        """Where in the new picture a part may be read, (h, w); None for the region of its person."""
        return None if self.part is None else self.part.part.target

    @property
    def of_people(self) -> bool:
        """Whether the pictures show people of the cast."""
        return self.of_rows or self.person is not None

    @property
    def has_sentence(self) -> bool:
        return bool(self.before_numbers or self.after_numbers)

    def is_read_with(self, people: Collection[int]) -> bool:
        """Whether it is read where these people are: it is of one of them, or shows nobody of the cast.

        people: their indices; where each has a row of the batch, all of them or nobody.
        """
        if self.of_rows:
            return bool(people)
        return self.person is None or self.person in people


def references(
    cast: Cast,
    *,
    photos: int,
    size: int,
    pictures: Tensor | None = None,
    pose: bool = False,
    parts: Sequence[OwnedPart] = (),
    pictures_first: bool = False,
) -> list[Reference]:
    """The references of a model: for each person the portraits and then the parts, then `pictures`, then the poses.

    With pictures_first `pictures` are in front of the people.
    cast: the people of weight above 0. photos: at most so many photos of each person are taken. size: the side of a
    portrait in pixels. pictures: further pictures that show no person of the cast, (B, H, W, 1|3|4), 0..1, or None; a
    picture for each row of the batch, where people have rows and there are as many. pose: whether there is a picture of
    the people's skeletons, as large as the canvas. parts: of people who are in one picture. Raises BadCast; with `pose`
    NotPlaced and BadLayout.
    """
    if cast.by_row:
        sources = _references_by_row(cast, photos, size)
    else:
        sources = _references_of_people(cast, photos, size, parts)
    if pictures is not None:
        rgb = as_rgb(pictures)  # (B, H, W, 3)
        # Where people have a row each and there are as many pictures, such as the crops with their places, these are
        # one reference with a picture for each row. Otherwise each is a reference of its own.
        is_by_row = cast.by_row and len(rgb) == len(cast.people)
        pictures_of_others = [rgb] if is_by_row else rgb.split(1)  # (1 or rows, H, W, 3) each
        others = [_reference_of_nobody(picture) for picture in pictures_of_others]
        sources = [*others, *sources] if pictures_first else [*sources, *others]
    if pose:
        sources.append(_reference_of_poses(cast))
    return _with_regions(sources, len(cast.people))


def _with_regions(sources: Sequence[Reference], people_count: int) -> list[Reference]:
    """The references with the number of their region.

    The regions of all people come first. Behind them come those of the parts that have a target, in the order of the
    references.
    """
    numbered: list[Reference] = []
    next_number = people_count
    for source in sources:
        if source.target is None:
            numbered.append(replace(source, region=source.person))
        else:
            numbered.append(replace(source, region=next_number))
            next_number += 1
    return numbered


def with_portrait_masks(sources: Sequence[Reference], masks: Tensor, taking: TakingPart) -> list[Reference]:
    """The references, in which those with portraits of people have a mask (`kept`). Only what lies in it is read.

    masks: (1 or people, H, W), over a portrait each: one for all, or one for everybody in the cast, in their order.
    Raises BadSetup for another number, and for an empty mask.
    """
    masks_of_people = _masks_of_people(as_masks(masks), taking)
    masked: list[Reference] = []
    for source in sources:
        if not source.of_people or source.part is not None:  # no portrait
            masked.append(source)
        elif source.person is None or len(masks_of_people) == 1:
            masked.append(replace(source, kept=masks_of_people))  # without a person it has a portrait in each row
        else:
            masked.append(replace(source, kept=masks_of_people[[source.person]]))
    return masked


def _masks_of_people(masks: Tensor, taking: TakingPart) -> Tensor:
    """The masks of the people who take part, (1 or people, H, W). Arguments and errors as in with_portrait_masks."""
    cast = taking.cast
    # A cast of Crop Faces has a person in each row. The masks are for the people of the cast that Crop Faces was given.
    cut_from = cast.cut_from if is_a(cast, RowCast) else None
    people_count = len((cut_from or cast).people)
    if len(masks) not in (1, people_count):
        of = f"{counted(len(masks), 'mask')} for {counted(people_count, 'person', 'people')}"
        raise BadSetup(f"portrait_masks has {of}.", "Connect one for all, or one for each.")
    if (masks.flatten(1).amax(dim=1) <= 0).any():
        raise BadSetup("A mask of portrait_masks is empty.", "Paint what is read of the portrait.")
    if len(masks) == 1:
        return masks
    if is_a(cast, RowCast) and cut_from:
        masks = masks[list(cast.indices)]  # (rows, H, W): of the person in each row
    return masks[list(taking.acts)]


def _references_of_people(cast: Cast, photos: int, size: int, parts: Sequence[OwnedPart]) -> list[Reference]:
    """A reference for each person, with the person's photos, and one for each of their parts.

    The arguments are those of references().
    """
    sources: list[Reference] = []
    places = _place_names(cast.people)  # "left" and so on, "" without a place
    for number, (member, place) in enumerate(zip(cast.people, places, strict=True)):
        name = member.person.name
        subject = f"a {name}" if name == UNNAMED else name  # "a person", or "Anna"
        caption = member.name
        if place:
            subject = f"{place}: {subject}"
            caption = f"{member.name}, {place}"
        of_person = Reference(
            _portraits(member, photos),
            area=size * size,
            person=number,
            captions=(caption,),
            before_numbers=f"{subject}, from ",
            after_numbers=".",
        )
        if member.person.blended_of:  # a mixture of pixels would be a double exposure
            blended_of = member.person.blended_of
            pictures = [one.loose[None].float() / 255 for one in blended_of]  # (1, H, W, 3) each
            of_person = replace(of_person, pictures=pictures, strengths=tuple(one.share for one in blended_of))
        sources.append(of_person)
        sources += [_reference_of_part(part, member.name, size) for part in parts if part.person == number]
    return sources


def _reference_of_nobody(picture: Tensor) -> Reference:
    """The reference for a picture that shows no person of the cast, (1 or rows, H, W, 3); it is not enlarged."""
    area = min(LARGEST, picture.shape[1] * picture.shape[2])
    return Reference([picture], area, captions=("",) * len(picture))


def _reference_of_part(part: OwnedPart, name: str, size: int) -> Reference:
    """The reference for a part of the person called `name`; it is not enlarged. size: as in references()."""
    picture = piece_of_part(part.part)[None]  # (1, h, w, 3)
    area = min(size * size, picture.shape[1] * picture.shape[2])
    return Reference([picture], area, part.person, captions=(f"{part.part.label} of {name}",), part=part)


def _references_by_row(cast: Cast, photos: int, size: int) -> list[Reference]:
    """One reference for all people, who have a row of the batch each. The arguments are those of references().

    It has as many pictures as the person with the fewest photos.
    """
    portraits_of_people = [_portraits_of_row(member, photos) for member in cast.people]
    # The first portraits of all people are one picture with rows, (people, H, W, 3), the second ones another. zip ends
    # with the person who has the fewest.
    pictures = [torch.cat(rows) for rows in zip(*portraits_of_people, strict=False)]
    return [
        Reference(
            pictures,
            area=size * size,
            captions=tuple(names(cast.people)),
            before_numbers="the person from ",
            after_numbers=".",
            of_rows=True,
        )
    ]


def _portraits_of_row(member: Member, photos: int) -> list[Tensor]:
    """The same as _portraits; of a blended person the portrait with the largest share: a row has one strength."""
    if not member.person.blended_of:
        return _portraits(member, photos)
    largest = max(member.person.blended_of, key=lambda one: one.share)
    return [largest.loose[None].float() / 255]


def _reference_of_poses(cast: Cast) -> Reference:
    """The skeletons of all people in one picture, or in a picture for each row. Raises NotPlaced and BadLayout.

    Where any skeleton has hands or points of a face, all are drawn as DWPose does. Otherwise they are drawn as ID-Patch
    does, which draws neither hands nor faces.
    """
    layout = layouts.require_skeletons(places_of(in_order_of_places(cast), NAME))
    if any(map(control_images.has_hands_or_face, layout.slots)):
        drawn = control_images.dwpose(layout, cast.by_row, hands_and_faces=True)  # (1 or rows, H, W, 3)
    else:
        drawn = control_images.skeletons(layout, cast.by_row)
    return Reference(
        [drawn],
        area=layout.width * layout.height,
        captions=("poses",) * len(drawn),
        after_numbers=" shows the poses.",
    )


def _portraits(member: Member, photos: int) -> list[Tensor]:
    """The cuts of head and shoulders from a person's first photos: (1, H, W, 3) each, 0..1. photos: at most so many."""
    loose = portraits(member.person, NAME).loose  # (photos, H, W, 3), 0..255
    first_photos = loose[:photos, None].float() / 255  # (photos, 1, H, W, 3)
    return list(first_photos)


def resized(width: int, height: int, area: int, step: int) -> tuple[int, int]:
    """The size (width, height) of a picture that is brought to an area, keeping its shape as far as steps allow.

    width, height: of the picture, in pixels. area: the number of pixels it shall have, about. step: both sides of the
    result are multiples of so many pixels, and at least one step.
    """
    scale = math.sqrt(area / (width * height))
    steps_across = round(width * scale / step)
    steps_down = round(height * scale / step)
    return max(step, steps_across * step), max(step, steps_down * step)


@dataclass(frozen=True)
class Fit:
    """How a picture is fitted into another one: a part of its middle is scaled. All numbers are pixels.

    cut_width, cut_height: of the part. width, height: to which the part is scaled.
    """

    cut_width: int
    cut_height: int
    width: int
    height: int


def fitted(size: CanvasSize, canvas: CanvasSize) -> Fit:
    """How Identity Edit fits a picture of this size into a canvas, without changing its proportions.

    A picture of nearly the same proportions fills the canvas, and what is too wide or too high of it is cut off. Any
    other one is scaled until it touches two edges, and cut so that both of its sides are whole tokens.
    """
    width, height = size
    canvas_width, canvas_height = canvas
    # The scale at which all of the picture lies within the canvas and touches two of its edges.
    scale = min(canvas_width / width, canvas_height / height)
    is_nearly_as_wide = width * scale >= canvas_width * _NEARLY
    is_nearly_as_high = height * scale >= canvas_height * _NEARLY
    if is_nearly_as_wide and is_nearly_as_high:
        # The scale at which the picture covers all of the canvas.
        scale = max(canvas_width / width, canvas_height / height)
        new_width, new_height = canvas
    else:
        new_width = _whole_tokens(min(int(width * scale), canvas_width))
        new_height = _whole_tokens(min(int(height * scale), canvas_height))
    # The part of the picture that has the new size after scaling.
    cut_width = min(width, max(1, round(new_width / scale)))
    cut_height = min(height, max(1, round(new_height / scale)))
    return Fit(cut_width, cut_height, new_width, new_height)


def _whole_tokens(side: int) -> int:
    """A side in pixels, rounded down to whole tokens, one at least."""
    return max(_TOKEN, side // _TOKEN * _TOKEN)


@dataclass(frozen=True)
class _Standing:
    """Somebody with a place. person: their index among all people."""

    person: int
    slot: Slot


def _place_names(people: Sequence[Member]) -> list[str]:
    """For every person where they stand, in words and as a viewer sees it: "back row, left".

    It is "" for people without a place, and for a person who is the only one with a place.
    """
    place_names = [""] * len(people)
    rows = _rows([_Standing(number, member.slot) for number, member in enumerate(people) if member.slot])
    names_of_rows = _names_in_line(len(rows), ("back", "front"), "middle", " row")
    for row, name_of_row in zip(rows, names_of_rows, strict=True):
        from_the_left = sorted(row, key=lambda standing: standing.slot.center)
        names_across = _names_in_line(len(row), ("left", "right"), "center", "")
        for standing, name_across in zip(from_the_left, names_across, strict=True):
            place_names[standing.person] = ", ".join(filter(None, (name_of_row, name_across)))
    return place_names


def _rows(group: Sequence[_Standing]) -> list[list[_Standing]]:
    """A group of people in rows, from the back to the front. The back is higher in the picture.

    A face begins a new row where it is lower than the face above it by _NEXT_ROW of the larger head. Rows are told
    apart only where people stand behind others, that is where two neighbouring rows overlap from left to right. People
    who stand one beside the other, each a little lower than the next, are one row.
    """
    rows: list[list[_Standing]] = []
    above: Slot | None = None  # the place that is next above the current one in the picture
    for standing in sorted(group, key=lambda standing: standing.slot.center[1]):
        if above is None or _is_in_front(standing.slot, above):
            rows.append([])
        rows[-1].append(standing)
        above = standing.slot
    # One pair of neighbouring rows that overlaps is enough for all rows to count.
    if any(_overlap(row, next_row) for row, next_row in pairwise(rows)):
        return rows
    return [list(group)]


def _is_in_front(slot: Slot, above: Slot) -> bool:
    """Whether a place is lower than the one above it by so much that it is in a row in front, see _NEXT_ROW."""
    larger_head = max(head_of(slot), head_of(above), 1.0)
    distance = slot.center[1] - above.center[1]
    return distance > _NEXT_ROW * larger_head


def _overlap(row: Sequence[_Standing], other: Sequence[_Standing]) -> bool:
    """Whether two rows overlap from left to right. A row ends half a head beyond its outermost noses."""
    left, right = _ends(row)
    other_left, other_right = _ends(other)
    return left < other_right and other_left < right


def _ends(row: Sequence[_Standing]) -> tuple[float, float]:
    """The left and the right end of a row, in pixels of the canvas."""
    slots = [standing.slot for standing in row]
    left = min(slot.center[0] - 0.5 * head_of(slot) for slot in slots)
    right = max(slot.center[0] + 0.5 * head_of(slot) for slot in slots)
    return left, right


def _names_in_line(length: int, ends: tuple[str, str], middle: str, noun: str) -> list[str]:
    """The names of the members of a line, from its first end to its last: "left", "second from the left", "center".

    A line is the people of one row, or the rows of a group. Members are named from the nearer end. length: how many
    members the line has; a line of one member needs no name, so its name is "". ends: the names of both ends. middle:
    the name of the member in the middle, which a line of an odd count has. noun: follows a name, such as " row".
    """
    if length == 1:
        return [""]
    member_names: list[str] = []
    for index in range(length):
        from_first = index + 1  # 1 is the end itself
        from_last = length - index
        if from_first == from_last:
            member_names.append(f"{middle}{noun}")
        elif from_first < from_last:
            member_names.append(_name_from_end(from_first, ends[0], noun))
        else:
            member_names.append(_name_from_end(from_last, ends[1], noun))
    return member_names


def _name_from_end(distance: int, end: str, noun: str) -> str:
    """The name of a member of a line by its distance from an end, such as "second row from the front".

    distance: 1 is the end itself. end: the name of the end. noun: as in _names_in_line.
    """
    if distance == 1:
        return f"{end}{noun}"
    nth = f"number {distance}"
    # _NTH begins with the word for 2.
    if distance < len(_NTH) + 2:
        nth = _NTH[distance - 2]
    return f"{nth}{noun} from the {end}"


def unused_weights(cast: Cast, parts: Sequence[OwnedPart], has_model: bool) -> list[str]:
    """A line for the note under the node that names whose weight has no effect: without a MODEL, any but 0 and 1.

    parts: of people. has_model: whether a MODEL is connected.
    """
    if has_model:
        return []
    weighted = [member for member in cast.people if member.weight not in (0, 1) or len(member.person.blended_of) > 1]
    labels = [part.part.label for part in parts if part.part.weight != 1]
    return gathered("Weights other than 0 and 1 need model, so they change nothing", [*names(weighted), *labels])
