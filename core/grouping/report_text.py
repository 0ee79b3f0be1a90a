"""Who is on which photo, in lines of text, and what may be wrong with it."""

from ..errors import counted, gathered
from ..faces import analysis
from .sorting import SortedFaces

_ONE_PHOTO = 0.995
"""Cosine of two faces that come from one photo; one half as large has 0.98."""


def remarks(result: SortedFaces) -> list[str]:
    """Lines of the note: faces that are unlike the other faces of their person, and photos that are there twice."""
    unlike: list[str] = []
    for name, members in result.people.items():
        for face_index, mean in zip(members, result.similarity_to_others(members), strict=True):
            if mean is not None and mean < result.same_from:
                unlike.append(f"{result.faces[face_index].label} ({name}, {mean:.2f})")
    after = f"; one person from {result.same_from:g}: look at the preview, and at corrections"
    return [
        *gathered("Hardly like the others of their person", unlike, after),
        *gathered("One photo twice", _photos_twice(result)),
    ]


def _photos_twice(result: SortedFaces) -> list[str]:
    """Each copy of a photo of the same person, with the first photo that it is a copy of.

    The user is warned, because a photo that is there twice counts twice where photos are combined.
    """
    twice: list[str] = []
    for members in result.people.values():
        for index, copy_index in enumerate(members):
            for first_index in members[:index]:
                if result.similarity[copy_index, first_index] >= _ONE_PHOTO:
                    twice.append(f"{result.faces[first_index].label} and {result.faces[copy_index].label}")
                    break
    return twice


def report(result: SortedFaces) -> list[str]:
    """A line per person and, below it, per photo of that person; then the faces that somebody left out by hand."""
    lines: list[str] = []
    for number, (name, members) in enumerate(result.people.items(), 1):
        lines.append(f"{number} {name}: {counted(len(members), 'photo')}")
        for face_index, mean in zip(members, result.similarity_to_others(members), strict=True):
            lines.append(_line_of_face(result, face_index, mean))
    left_out = [f"photo {result.faces[face_index].label}" for face_index in result.left_out]
    return [*lines, *gathered("Left out by hand", left_out)]


def _line_of_face(result: SortedFaces, face_index: int, mean: float | None) -> str:
    """The line of the report about one face of a person.

    mean: the mean similarity to the person's other faces; None where there is no other.
    """
    photo_face = result.faces[face_index]
    line = f"  photo {photo_face.label}: "
    if mean is not None:
        line += f"{mean:.2f} like their others, "
    line += analysis.describe(photo_face.face)
    if result.names_before[face_index] != result.names[face_index]:
        line += f"; corrected, was {result.names_before[face_index]}"
    return line
