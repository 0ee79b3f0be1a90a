"""The face of each person in a picture: by the places of a cast, or by how alike faces and people are."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..cast import NOSE, CanvasSize, Face, Faces, PlacedCast, Slot
from ..checks.errors import BadSize
from ..persons.matching import assigned
from ..pictures.geometry import longer_side

REACH = 1.0
"""The largest distance between the nose of a face and a place for the face to stand in that place. It is measured in
the longer side of the larger of two face boxes: that of the face and that of the place."""
LARGEST_ASPECT = 0.02
"""How far the logarithms of width / height of a picture and of its canvas may differ: 0.02 is about 2 %. Scaling to
multiples of 8 or 64 changes the shape that much."""


def faces_of_people(picture: Faces, cast: PlacedCast | None, table: Tensor, stranger_below: float) -> list[int | None]:
    """The index of the face of each person in a picture, None for a missing person.

    cast: the people and their places, or None for people without places. With places, a person has the face that stands
    in the place. Without, faces are given to people so that the sum of similarities is the largest. In both cases a
    face that is less like all people than `stranger_below` is a stranger's, and the person counts as missing.
    table: (people, faces) similarities, by the recogniser that judges.
    Raises BadSize as `faces_in_places` does.
    """
    faces = faces_in_places(picture.faces, (picture.width, picture.height), cast) if cast else assigned(table)
    are_strangers = (table < stranger_below).all(dim=0)  # (faces,)
    return [None if face is None or are_strangers[face] else face for face in faces]


def faces_in_places(faces: Sequence[Face], size: CanvasSize, cast: PlacedCast) -> list[int | None]:
    """The index of the face that stands in each person's place, None where no face does.

    faces: of one picture. size: of that picture; one of another size than the canvas is scaled. As many places as
    possible get a face, and then the faces are as near as possible. Raises BadSize where the picture has another shape
    than the canvas.
    """
    width, height = size
    scale_x = width / cast.width
    scale_y = height / cast.height
    # scale_x / scale_y is width / height of the picture by width / height of the canvas.
    if abs(math.log(scale_x / scale_y)) > LARGEST_ASPECT:
        raise BadSize(
            "The picture",
            size,
            f"the places of the cast are on a canvas of {cast.width}x{cast.height} px, which has another shape",
            "Use it before it is cropped, or connect the cast that comes before Place Cast.",
        )
    distances = torch.zeros(len(cast.slots), len(faces), dtype=torch.float32)
    for person, slot in enumerate(cast.slots):
        for number, face in enumerate(faces):
            distances[person, number] = _distance(face, slot, scale_x, scale_y)
    is_near = distances <= REACH
    # `assigned` takes the pairs with the largest sum, here the smallest sum of distances. A face out of reach counts as
    # further than everybody's reach together, so no person loses a face within reach for the sake of the sum.
    beyond_all = torch.tensor(REACH * (len(cast.people) + 1), dtype=torch.float32)
    face_of_person = assigned(-distances.where(is_near, beyond_all))
    return [face if face is not None and is_near[person, face] else None for person, face in enumerate(face_of_person)]


def _distance(face: Face, slot: Slot, scale_x: float, scale_y: float) -> float:
    """The distance from the nose of a face to a place, in longer sides of the larger face of the two.

    scale_x, scale_y: from the canvas of the places onto the picture of the face.
    """
    x, y = face.keypoints[NOSE]
    place_x, place_y = slot.center
    distance = math.hypot(x - place_x * scale_x, y - place_y * scale_y)
    side_of_face = longer_side(face.box)
    side_of_place = longer_side(slot.box) * scale_x if slot.box else 0.0
    # At least a pixel: a damaged box of no size would divide by 0.
    return distance / max(side_of_face, side_of_place, 1.0)
