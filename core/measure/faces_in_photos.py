"""Whose the faces of photos are, where nothing is known of a face but where it is."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..errors import BadPhoto, counted
from ..faces import landmarks
from ..faces.landmarks import Mesh
from ..people import NOSE, Cast, PlacedCast, is_a, places_of
from .assignment import faces_in_places

FaceOfMesh = Mapping[str, Any]
"""A face of FACE_LANDMARKS."""
ItemT = TypeVar("ItemT")
_DETECT = "Detect Face Landmarks (MediaPipe)"


def faces_of_people(photos: Sequence[Mapping[str, Any]], cast: Cast, node_name: str) -> list[FaceOfMesh | None]:
    """The face of each person of a cast, None for a person without one.

    photos: FACE_LANDMARKS, each of one picture or several. Several pictures are one of each person, in the order of the
    list of people. In a single one the people have the faces in their places, or without places those from left to
    right in the order of the list. node_name: for messages.

    Raises BadPhoto where pictures or faces do not fit the people and where nobody has a face, BadSize for a picture of
    another shape than the canvas of the places, BadCast and NotPlaced.
    """
    pictures: list[Mesh] = []
    for photo in photos:
        pictures += photo["frames"]
    if not any(pictures):
        raise BadPhoto(
            f"face_landmarks has no face in {counted(len(pictures), 'photo')}.",
            f"Set detector_variant of {_DETECT} to both, or crop the photo to the people.",
        )
    if len(pictures) > 1:
        return _faces_of_photos(pictures, cast)
    if is_a(cast, PlacedCast):
        return _faces_in_places(photos, cast, node_name)
    return _faces_from_left_to_right(pictures[0], cast)


def _faces_of_photos(pictures: Sequence[Mesh], cast: Cast) -> list[FaceOfMesh | None]:
    """The face of each person in a picture of their own. Raises BadPhoto."""
    meshes = _in_order_of_list(pictures, cast)
    if meshes is None:
        problem = f"face_landmarks has {len(pictures)} photos, and the cast has {_people(cast)}."
        raise BadPhoto(problem, "Give a photo of each person, in the order of the cast, or one photo of all.")
    faces: list[FaceOfMesh | None] = []
    for person, mesh in zip(cast.people, meshes, strict=True):
        if len(mesh) > 1:
            problem = f"The photo of {person.identity.name} shows {len(mesh)} faces, and each photo is of one person."
            raise BadPhoto(problem, f"Set num_faces of {_DETECT} to 1, or crop the photo to {person.identity.name}.")
        faces.append(mesh[0] if mesh else None)
    return faces


def _faces_in_places(photos: Sequence[Mapping[str, Any]], cast: PlacedCast, node_name: str) -> list[FaceOfMesh | None]:
    """The face in the place of each person. photos: of which one has the picture.

    Raises BadPhoto, BadSize, BadCast, NotPlaced.
    """
    places_of(cast, None, node_name)  # raises for people without places
    (photo,) = [photo for photo in photos if photo["frames"]]
    (mesh,) = photo["frames"]
    height, width = photo["image_size"]
    detections = [landmarks.detection(face) for face in mesh]
    indices = faces_in_places(detections, (int(width), int(height)), cast)
    if all(index is None for index in indices):
        problem = f"No face of face_landmarks lies in a place of the cast; it has {counted(len(mesh), 'face')}."
        advice = (
            "Link the cast that comes before Place Cast: then the faces from left to right are its people. Or give "
            "Place Cast a layout of this photo."
        )
        raise BadPhoto(problem, advice)
    return [None if index is None else mesh[index] for index in indices]


def _faces_from_left_to_right(mesh: Mesh, cast: Cast) -> list[FaceOfMesh | None]:
    """The faces of a picture as those of people without places. Raises BadPhoto."""
    faces = _in_order_of_list(sorted(mesh, key=lambda face: landmarks.detection(face).keypoints[NOSE]), cast)
    if faces is None:
        advice = (
            f"Set num_faces of {_DETECT} to the number of people (0 means all), or crop the photo to them. Or link the "
            "cast of a Place Cast whose layout is made of this photo."
        )
        raise BadPhoto(f"face_landmarks has {counted(len(mesh), 'face')}, and the cast has {_people(cast)}.", advice)
    return list(faces)


def _in_order_of_list(items: Sequence[ItemT], cast: Cast) -> list[ItemT] | None:
    """The item of each person of a cast, of as many items as there are people; None for another number of items.

    There may also be one for everybody in the list, with those who are absent.
    """
    if len(items) == len(cast.people):
        return list(items)
    if len(items) == len(cast.people) + len(cast.absent):
        return [items[number - 1] for number in cast.numbers]
    return None


def _people(cast: Cast) -> str:
    return counted(len(cast.people), "person", "people")
