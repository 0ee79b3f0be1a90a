"""Who is on which photo, in lines of text, and what may be wrong with it."""

from ..errors import counted, gathered
from ..faces import analysis
from .sorting import SortedFaces


def remarks(result: SortedFaces) -> list[str]:
    """A line of the note: the faces that are unlike the other faces of their person."""
    unlike: list[str] = []
    for name, members in result.people.items():
        for face, mean in zip(members, result.similarity_to_others(members), strict=True):
            if mean is not None and mean < result.same_from:
                unlike.append(f"{result.faces[face].label} ({name}, {mean:.2f})")
    after = f"; one person from {result.same_from:g}: look at the preview, and at corrections"
    return gathered("Hardly like the others of their person", unlike, after)


def report(result: SortedFaces) -> list[str]:
    """A line per person and, below it, per photo of that person; then the faces that somebody left out by hand."""
    lines: list[str] = []
    for number, (name, members) in enumerate(result.people.items(), 1):
        lines.append(f"{number} {name}: {counted(len(members), 'photo')}")
        for face, mean in zip(members, result.similarity_to_others(members), strict=True):
            lines.append(_line_of_face(result, face, mean))
    left_out = [f"photo {result.faces[face].label}" for face in result.left_out]
    return [*lines, *gathered("Left out by hand", left_out)]


def _line_of_face(result: SortedFaces, face: int, mean: float | None) -> str:
    """mean: similarity to the person's other faces, None without any."""
    photo_face = result.faces[face]
    line = f"  photo {photo_face.label}: "
    if mean is not None:
        line += f"{mean:.2f} like their others, "
    line += analysis.describe(photo_face.face)
    if result.names_before[face] != result.names[face]:
        line += f"; corrected, was {result.names_before[face]}"
    return line
