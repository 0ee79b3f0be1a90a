"""A cast as reference pictures of models that take several: their order and sizes, and a sentence per person.

Whoever has a place is described by it as a viewer sees it: "left: Anna, from Picture 1."
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ...core.errors import gathered, listed
from ...core.identities import portraits
from ...core.people import Cast, Person, Slot, places_of
from ...core.pictures import as_rgb
from ...core.places import control_images, layouts
from ...core.places.layouts import head_of
from ...core.places.regions import left_out

BEFORE = "before the prompt"
AFTER = "after the prompt"
NONE = "none"
SENTENCES = (BEFORE, AFTER, NONE)
"""Where the sentences of people stand."""
LARGEST = 1024 * 1024
"""The most pixels of a picture that shows no person and no poses. The host's nodes bring pictures to this size."""
ENCODER_PIXELS = 384 * 384
"""Pixels of a picture that is shown to a text encoder."""
_NAMELESS = "person"
"""The name of a person without a name."""
_NEXT_ROW = 0.8
"""Heads between two rows: a face so much higher in the picture stands in the row behind."""
_NTH = ("second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, eq=False)
class Reference:
    """One or several pictures, one after the other, that are a reference for the same thing. Immutable.

    pictures: (1 or rows, H, W, 3) each, float32 0..1; with rows there is one for each row of the batch. area: the
    number of pixels that each of them is brought to. person: the index of the person they show, or None where they
    belong to no person. captions: for each row who is in it, and where. before_numbers, after_numbers: the sentence of
    the prompt around the pictures' numbers; both are empty where there is no sentence.
    """

    pictures: Sequence[Tensor]
    area: int
    person: int | None = None
    captions: tuple[str, ...] = ("",)
    before_numbers: str = ""
    after_numbers: str = ""


def references(
    cast: Cast,
    photos: int,
    size: int,
    pictures: Tensor | None,
    pose: bool,
    node: str,
) -> list[Reference]:
    """The reference pictures of a model, in this order: everybody's portraits, `pictures`, the poses.

    cast: those of weight above 0. photos: the most of each. size: side of a portrait, px. pictures: (B, H, W, 1|3|4)
    0..1. pose: whether their skeletons are drawn, in a picture as large as the canvas. node: its name.
    Raises BadCast; with `pose` NotPlaced and BadLayout.
    """
    if cast.by_row:
        sources = _references_by_row(cast, photos, size, node)
    else:
        sources = _references_of_people(cast, photos, size, node)
    if pictures is not None:
        for picture in as_rgb(pictures)[:, None]:  # (1, H, W, 3) each
            area = picture.shape[1] * picture.shape[2]
            sources.append(Reference([picture], min(LARGEST, area)))
    if pose:
        sources.append(_reference_of_poses(cast, node))
    return sources


def _references_of_people(cast: Cast, photos: int, size: int, node: str) -> list[Reference]:
    """A reference for each person, with the person's photos. The arguments are those of references()."""
    sources: list[Reference] = []
    places = _place_names(cast.people)
    for number, (person, place) in enumerate(zip(cast.people, places, strict=True)):
        name = person.identity.name
        subject = f"a {name}" if name == _NAMELESS else name
        caption = name
        if place:
            subject = f"{place}: {subject}"
            caption = f"{name}, {place}"
        sources.append(
            Reference(
                _portraits(person, photos, node),
                area=size * size,
                person=number,
                captions=(caption,),
                before_numbers=f"{subject}, from ",
                after_numbers=".",
            )
        )
    return sources


def _references_by_row(cast: Cast, photos: int, size: int, node: str) -> list[Reference]:
    """One reference for all people, who have a row of the batch each. The arguments are those of references().

    It has as many pictures as the person with the fewest photos.
    """
    portraits_of_people = [_portraits(person, photos, node) for person in cast.people]
    pictures: list[Tensor] = []
    # The first portraits of all people are one picture with rows, the second ones another. zip ends with the person
    # who has the fewest.
    for rows in zip(*portraits_of_people, strict=False):
        pictures.append(torch.cat(rows))  # (people, H, W, 3)
    return [
        Reference(
            pictures,
            area=size * size,
            captions=tuple(person.identity.name for person in cast.people),
            before_numbers="the person from ",
            after_numbers=".",
        )
    ]


def _reference_of_poses(cast: Cast, node: str) -> Reference:
    """Everybody's skeletons in one picture, or with a row each. Raises NotPlaced and BadLayout."""
    layout = layouts.require_skeletons(places_of(cast, None, node))
    drawn = control_images.skeletons(layout, by_row=cast.by_row)  # (1 or rows, H, W, 3)
    return Reference(
        [drawn],
        area=layout.width * layout.height,
        captions=("poses",) * len(drawn),
        after_numbers=" shows the poses.",
    )


def _portraits(person: Person, photos: int, node: str) -> list[Tensor]:
    """The first photos of a person: (1, H, W, 3) each, 0..1."""
    return list(portraits(person.identity, node).loose[:photos, None].float() / 255)


@dataclass(frozen=True)
class Captioned:
    """A picture of the contact sheet, (H, W, 3), and the line under it."""

    picture: Tensor
    caption: str


def captioned(sources: Sequence[Reference], word: str) -> list[Captioned]:
    """The pictures of the contact sheet: every row of every picture with its number, who it shows and where.

    word: as the model calls a picture.
    """
    rows: list[Captioned] = []
    for reference, numbers in zip(sources, _numbers(sources, word), strict=True):
        for picture, number in zip(reference.pictures, numbers, strict=True):
            for row, caption in zip(picture, reference.captions, strict=True):
                rows.append(Captioned(row, f"{number}: {caption}" if caption else number))
    return rows


def with_sentences(prompt: str, sources: Sequence[Reference], word: str, position: str) -> str:
    """The prompt with a line for every reference that has a sentence.

    word: as the model calls a picture. position: of the lines, one of SENTENCES.
    """
    lines: list[str] = []
    for reference, numbers in zip(sources, _numbers(sources, word), strict=True):
        if not reference.before_numbers and not reference.after_numbers:
            continue
        sentence = f"{reference.before_numbers}{_joined(numbers)}{reference.after_numbers}"
        if not reference.before_numbers:
            # A sentence that begins with the word for a picture begins with a capital: FLUX says "image 3".
            sentence = sentence[0].upper() + sentence[1:]
        lines.append(sentence)
    if position == BEFORE:
        lines = [*lines, prompt]
    elif position == AFTER:
        lines = [prompt, *lines]
    else:
        lines = [prompt]
    return "\n".join(line for line in lines if line)


def _joined(numbers: Sequence[str]) -> str:
    """Several numbers in a sentence: "Picture 1, Picture 2 and Picture 3"."""
    if len(numbers) == 1:
        return numbers[0]
    return f"{listed(numbers[:-1], '')} and {numbers[-1]}"


def _numbers(sources: Sequence[Reference], word: str) -> list[list[str]]:
    """For each reference what the model calls its pictures, counted through all of them: "Picture 1", ..."""
    next_number = 1
    of_references: list[list[str]] = []
    for reference in sources:
        numbers: list[str] = []
        for _ in reference.pictures:
            numbers.append(f"{word} {next_number}")
            next_number += 1
        of_references.append(numbers)
    return of_references


def resized(width: int, height: int, area: int, step: int) -> tuple[int, int]:
    """The size in steps of so many pixels that a picture of `width` x `height` has when it is brought to this area."""
    scale = math.sqrt(area / (width * height))
    steps_across = round(width * scale / step)
    steps_down = round(height * scale / step)
    return max(step, steps_across * step), max(step, steps_down * step)


def _place_names(people: Sequence[Person]) -> list[str]:
    """Where every person stands in words, as a viewer sees them: "back row, left".

    It is "" for people without a place, and for a person who is the only one with a place.
    """
    # The places, and the number of the person who stands in each.
    slots: list[Slot] = []
    people_numbers: list[int] = []
    for number, person in enumerate(people):
        if person.slot:
            slots.append(person.slot)
            people_numbers.append(number)
    names = [""] * len(people)
    rows = _rows(slots)  # of indices in `slots`
    names_of_rows = _names_in_line(len(rows), ("back", "front"), "middle", " row")
    for row, name_of_row in zip(rows, names_of_rows, strict=True):
        from_the_left = sorted(row, key=lambda index: slots[index].center)
        names_across = _names_in_line(len(row), ("left", "right"), "center", "")
        for index, name_across in zip(from_the_left, names_across, strict=True):
            words = [word for word in (name_of_row, name_across) if word]
            names[people_numbers[index]] = ", ".join(words)
    return names


def _rows(slots: Sequence[Slot]) -> list[list[int]]:
    """Indices of places, in rows from the back of the group to the front. The back is higher in the picture.

    A face begins a new row where it is lower than the face above it by _NEXT_ROW of the larger head. Rows are told
    apart only where people stand behind others, that is where two neighbouring rows overlap from left to right. People
    who stand one beside the other, each a little lower than the next, are one row.
    """
    if not slots:
        return []
    rows: list[list[int]] = []
    above: Slot | None = None
    for index in sorted(range(len(slots)), key=lambda index: slots[index].center[1]):
        slot = slots[index]
        if above is None or _is_in_front(slot, above):
            rows.append([])
        rows[-1].append(index)
        above = slot
    for row, next_row in pairwise(rows):
        ends = _ends([slots[index] for index in row])
        next_ends = _ends([slots[index] for index in next_row])
        if ends.left < next_ends.right and next_ends.left < ends.right:
            return rows
    return [list(range(len(slots)))]


def _is_in_front(slot: Slot, above: Slot) -> bool:
    """Whether a place is so much lower than the next one above it that it belongs to the next row."""
    larger_head = max(head_of(slot), head_of(above), 1.0)
    distance = slot.center[1] - above.center[1]
    return distance > _NEXT_ROW * larger_head


@dataclass(frozen=True)
class _Ends:
    """The left and the right end of a row of people, in pixels of the canvas."""

    left: float
    right: float


def _ends(row: Sequence[Slot]) -> _Ends:
    """The ends of a row, half a head beyond the outermost noses."""
    return _Ends(
        left=min(slot.center[0] - 0.5 * head_of(slot) for slot in row),
        right=max(slot.center[0] + 0.5 * head_of(slot) for slot in row),
    )


def _names_in_line(count: int, ends: tuple[str, str], middle: str, noun: str) -> list[str]:
    """What the members of a line are called, from its first end to its last: "left", "second from the left", "center".

    ends: the names of both ends. middle: of the one in the middle. noun: what stands behind a name, such as " row".
    A line of one member needs no name: "".
    """
    if count == 1:
        return [""]
    names: list[str] = []
    for index in range(count):
        from_first = index + 1  # 1 is the end itself
        from_last = count - index
        if 2 * index == count - 1:
            names.append(f"{middle}{noun}")
        elif from_first <= from_last:
            names.append(_name_from_end(from_first, ends[0], noun))
        else:
            names.append(_name_from_end(from_last, ends[1], noun))
    return names


def _name_from_end(distance: int, end: str, noun: str) -> str:
    """The name of a member of a line, such as "second row from the front". distance: from that end, 1 for the end."""
    if distance == 1:
        return f"{end}{noun}"
    nth = f"number {distance}"
    if distance < len(_NTH) + 2:
        nth = _NTH[distance - 2]
    return f"{nth}{noun} from the {end}"


def remarks(cast: Cast) -> list[str]:
    """The note under the node on a cast: who is left out, and weights that change nothing. cast: everybody."""
    without_effect: list[str] = []
    for person in cast.people:
        if person.weight not in (0, 1):
            without_effect.append(person.identity.name)
    return [*left_out(cast), *gathered("Weights other than 0 change nothing here", without_effect)]
