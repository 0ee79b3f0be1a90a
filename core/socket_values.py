"""Checks of what our own sockets carry: faces, people, layouts and casts, which other packs may have made.

`title` is how a message calls the value. A check returns nothing. What is not whole raises one of Python's own errors,
which `inputs.check_foreign` names.
"""

import math
import operator
from collections.abc import Sequence

from . import identities
from .errors import BadInput, BadLayout, BadSize, counted
from .geometry import FAR, check_size
from .models.tensors import least_and_largest
from .people import Box, CanvasSize, Cast, Faces, Identity, Layout, Person, PlacedCast, Point, RowCast, Slot, is_a
from .value_checks import number

_ROUNDING = 1e-3
"""How far a mask may leave 0 to 1, as resizing does."""
_JOINTS, _KEYPOINTS = 17, 5


def check_layout(title: str, value: Layout) -> None:
    """Raise BadSize for an impossible size of the canvas, BadLayout for a place that cannot be on it."""
    check_size(title, *_size(value))
    for index, slot in enumerate(value.slots, 1):
        _check_slot(f"{title} cannot be used: place {index}", slot, (value.width, value.height))


def check_cast(title: str, value: Cast) -> None:
    """Raise an error unless this cast, of any class, is whole.

    BadInput: a weight is no number from 0 on, or a row of a RowCast shows nobody. BadSize, BadLayout: as
    `check_layout`, for the canvas and the places. ValueError: there are not as many numbers as people, or a person has
    no photo. Further errors are those of `check_identity` for each person.
    """
    is_placed = is_a(value, PlacedCast)
    canvas = _size(value) if is_placed else (0, 0)
    if len(value.numbers) != len(value.people):
        raise ValueError(f"numbers {value.numbers} for {counted(len(value.people), 'person', 'people')}")
    for person in value.people:
        _check_person(title, person, canvas)
    # People with a slot in a cast without a canvas: (0, 0) is no size, so this raises BadSize.
    if is_placed or any(person.slot is not None for person in value.people):
        check_size("The cast's canvas", *canvas)
    if is_a(value, RowCast) and value.listed:
        _check_rows_listed(value)
    # A RowCast has a row for each person, who must have a place in it and a weight; one without people has no rows.
    in_every_row = value.people and all(person.slot and person.weight for person in value.people)
    if value.by_row and not in_every_row:
        raise BadInput(title, "a cast of rows of which one shows no person", "the cast of Crop Faces")


def _check_rows_listed(cast: RowCast) -> None:
    """Raise ValueError unless every row has the number of a person of `cast.listed`, and TypeError for no integer."""
    numbers = [operator.index(number) for number in cast.numbers_listed]
    if len(numbers) != len(cast.people) or not all(0 < number <= len(cast.listed) for number in numbers):
        raise ValueError(f"numbers {numbers} of {len(cast.listed)} listed for {counted(len(cast.people), 'row')}")


def _check_person(title: str, person: Person, canvas: CanvasSize) -> None:
    """Raise what `check_cast` does for one person. canvas: of the cast, (0, 0) without one."""
    name = person.identity.name
    check_identity(f"The identity of {name}", person.identity)
    if not len(person.identity.crops):
        raise ValueError(f"no photo of {name}")
    for whole_number in (person.place, person.number):
        operator.index(whole_number)  # raises TypeError for what is none
    number(f"The weight of {name}", person.weight, 0, math.inf, integer=False)
    if person.slot is not None:
        _check_slot(f"{title} cannot be used: the place of {name}", person.slot, canvas)


def check_identity(title: str, value: Identity) -> None:
    """Raise BadEmbedding for embeddings that cannot be used, and ValueError for tensors of a wrong shape or type.

    title: not used; all checks take one, for `inputs.check_foreign`.
    """
    embeddings = list(value.embeddings.values())
    if value.crops.ndim != 4 or any(rows.ndim != 2 or not rows.is_floating_point() for rows in embeddings):
        shapes = [(tuple(rows.shape), rows.dtype) for rows in embeddings]
        raise ValueError(f"embeddings of {shapes}, crops of shape {tuple(value.crops.shape)}")
    why = identities.why_bad_crops(value.crops)
    if not why and value.portraits:
        why = identities.why_bad_portraits(value.portraits, len(value.crops))
    if why:
        raise ValueError(why)
    identities.check(value)


def check_faces(title: str, value: Faces) -> None:
    """Raise BadLayout for a face with impossible coordinates, BadSize for a picture without pixels."""
    size = _size(value)
    if min(size) < 1:
        raise BadSize(f"The picture of {title}", size, "it has no pixels", "Use Detect Faces.")
    for index, face in enumerate(value.faces, 1):
        _check_points(f"{title} cannot be used: face {index}", face.keypoints, face.box)


def _size(value: Layout | PlacedCast | Faces) -> CanvasSize:
    """Width and height. Raises TypeError unless both are whole numbers."""
    return operator.index(value.width), operator.index(value.height)


def _bad_place(subject: str, problem: str) -> BadLayout:
    return BadLayout(f"{subject} {problem}.", "Make layouts with the Layout nodes, and faces with Detect Faces.")


def _check_slot(subject: str, slot: Slot, canvas: CanvasSize) -> None:
    """Raise BadLayout for a skeleton, a mask or a point that cannot be of a place of this canvas.

    subject: how a sentence calls the place.
    """
    if slot.pose is not None and len(slot.pose) != _JOINTS:
        problem = f"has a skeleton of {counted(len(slot.pose), 'joint')} instead of {_JOINTS}"
        raise _bad_place(subject, problem)
    if slot.mask is not None:
        width, height = canvas
        if slot.mask.shape != (height, width):
            shape = tuple(slot.mask.shape)
            problem = f"has a mask of shape {shape} instead of one of the canvas, {width}x{height} px"
            raise _bad_place(subject, problem)
        low, high = least_and_largest(slot.mask)
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN is neither
            raise _bad_place(subject, f"has a mask from {low:g} to {high:g} instead of 0 to 1")
    joints = [joint[:2] for joint in slot.pose or ()]
    _check_points(subject, slot.keypoints, slot.box, [slot.center, *joints])


def _check_points(
    subject: str, keypoints: Sequence[Point] | None, box: Box | None, points: Sequence[Point] = ()
) -> None:
    """Raise BadLayout for keypoints of another number, a coordinate that is on no canvas and a box of negative size.

    subject: how a sentence calls the place or face. points: further points whose coordinates are checked.
    """
    if keypoints is not None and len(keypoints) != _KEYPOINTS:
        problem = f"has {counted(len(keypoints), 'face keypoint')} instead of {_KEYPOINTS}"
        raise _bad_place(subject, problem)
    coordinates: list[float] = list(box or ())
    for point in (*points, *(keypoints or ())):
        coordinates += point
    for coordinate in coordinates:
        if not abs(coordinate) <= FAR:  # NaN is not within anything
            raise _bad_place(subject, f"has a coordinate that is on no canvas ({coordinate:g})")
    if box is not None and (box[0] > box[2] or box[1] > box[3]):
        sides = ", ".join(f"{side:g}" for side in box)
        raise _bad_place(subject, f"has a face box of negative size ({sides})")
