"""Whose face is still that of the picture before, which a swap or a second pass was to change."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cast import Cast, Faces
from ..checks.errors import joined
from ..grouping.clusters import SAME_PERSON
from ..persons.matching import similarities
from .assignment import faces_in_places, faces_of_people
from .measuring import NODE, places_of

_NOBODY = -1.0
"""Below this no cosine is: no face is a stranger's."""


def note(pictures: Sequence[Faces], before: Sequence[Faces], cast: Cast, judge: str) -> str:
    """The line for the note under the node that names these people; "" where all faces have changed.

    pictures: the faces of each. before: of the picture before each, or of one for all. cast: as `measure` takes it.
    judge: the recogniser that judges.
    """
    if len(before) == 1:
        before = [*before] * len(pictures)
    names: list[str] = []
    for number, (after, faces_before) in enumerate(zip(pictures, before, strict=True), 1):
        in_picture = f" in picture {number}" if len(pictures) > 1 else ""
        names += [f"{name}{in_picture}" for name in _people(after, faces_before, cast, judge)]
    if not names:
        return ""
    return (
        f"The face has not changed: {joined(names)}. It is more like the face before than like its person. "
        "Try another seed, more denoise or a higher strength of the LoRA, with the prompt that the LoRA was made for."
    )


def _people(after: Faces, before: Faces, cast: Cast, judge: str) -> list[str]:
    """The names of the people who have a face in a picture that is still the face before.

    It is if the two are as alike as photos that are sorted as one person's, and more alike than the face is to the
    person whom it was to become. The face before is the one in the person's place; where people have no places, the
    most alike one.
    """
    if not after.faces or not before.faces:
        return []
    places = places_of(cast)
    persons = [member.person for member in cast.people]
    table = similarities(persons, [face.embeddings for face in after.faces], judge, NODE)  # (people, faces)
    cosines = _units(after, judge) @ _units(before, judge).T  # (faces, faces before)
    found = faces_of_people(after, places, table, _NOBODY)
    if all(face is None for face in found):  # then the shape of the picture before is no matter
        return []
    in_places = None if places is None else faces_in_places(before.faces, (before.width, before.height), places)
    names: list[str] = []
    for person, face in enumerate(found):
        if face is None:
            continue
        face_before = int(cosines[face].argmax()) if in_places is None else in_places[person]
        if face_before is None:
            continue
        alike = cosines[face, face_before]
        if alike >= SAME_PERSON and alike > table[person, face]:
            names.append(cast.people[person].name)
    return names


def _units(picture: Faces, judge: str) -> Tensor:
    """The embeddings of the faces of a picture, each of length 1: (faces, 512)."""
    return normalize(torch.stack([face.embeddings[judge].float() for face in picture.faces]), dim=-1)
