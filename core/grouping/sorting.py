"""Faces of photos sorted into people, named and corrected; in lines of text, with what may be wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..cast import Face
from ..checks.errors import counted, first_few, gathered
from ..faces import analysis
from .clusters import SAME_PERSON, allowed_pairs, clusters, means_to_others, similarities
from .corrections import apply_corrections
from .naming import names_of_faces
from .photo_faces import LEFT_OUT, PhotoFace

_ONE_PHOTO = 0.995
"""Cosine of two faces that come from one photo; one half as large has 0.98."""


@dataclass(frozen=True)
class SortedFaces:
    """Faces sorted into people.

    similarity: (faces, faces) float64. names_before, names: per face the name of its person, before and after
    corrections. unused_names: names for more people than were found. same_from: the similarity from which two groups of
    faces are one person.
    """

    faces: Sequence[PhotoFace]
    similarity: Tensor
    names_before: Sequence[str]
    names: Sequence[str]
    unused_names: Sequence[str]
    same_from: float

    @property
    def people(self) -> dict[str, list[int]]:
        """Name -> indices of the faces, in the order of first appearance, without those that are left out."""
        members: dict[str, list[int]] = {}
        for face, name in enumerate(self.names):
            if name != LEFT_OUT:
                members.setdefault(name, []).append(face)
        return members

    @property
    def labelled(self) -> dict[str, list[tuple[str, Face]]]:
        """Name -> a pair for each of that person's photos: what a note calls the photo, and the face in it."""
        pairs = [(face.label, face.face) for face in self.faces]
        return {name: [pairs[member] for member in members] for name, members in self.people.items()}

    @property
    def left_out(self) -> list[int]:
        """Indices of the faces that somebody left out by hand."""
        return [face for face, name in enumerate(self.names) if name == LEFT_OUT]

    def similarity_to_others(self, members: Sequence[int]) -> list[float | None]:
        """See means_to_others. members: indices of the person's faces."""
        return means_to_others(self.similarity[members][:, members])


def sort_faces(
    faces: Sequence[PhotoFace],
    files: Sequence[str],
    by_face: bool,
    same_from: float,
    names: Sequence[str],
    corrections: str,
) -> SortedFaces:
    """Faces sorted into people, then named, then corrected.

    files: of all photos, also of those without a face. by_face: see `allowed_pairs`. same_from: see `clusters`. names:
    see `names_of_faces`. corrections: see `apply_corrections`.
    Raises BadCast for faces without an embedding, and for corrections that cannot be followed.
    """
    similarity = similarities([face.face for face in faces])
    groups = clusters(similarity, allowed_pairs(faces, by_face), same_from)
    names_before = names_of_faces(faces, groups, names)
    return SortedFaces(
        faces=faces,
        similarity=similarity,
        names_before=names_before,
        names=apply_corrections(faces, names_before, files, corrections),
        unused_names=[name for name in names[len(groups) :] if name],  # each group has taken one, in their order
        same_from=same_from,
    )


def notes(
    people: Mapping[str, Sequence[tuple[str, Face]]], same_from: float = SAME_PERSON, look_at: str = "the crops"
) -> list[str]:
    """Lines of a note: one names faces that are unlike the other faces of their person, one names photos that are there
    twice. Such photos count twice where photos are combined. A line is left out where it would name nothing.

    people: name -> pairs of what the note calls a photo and the person's face in it. same_from: the mean similarity
    from which faces are of one person. look_at: where the user sees what is wrong. Faces without an embedding are not
    compared.
    """
    unlike: list[str] = []
    twice: list[str] = []
    for name, members in people.items():
        labels = [label for label, _ in members]
        faces = [face for _, face in members]
        if len(faces) >= 2 and faces[0].embeddings:
            similarity = similarities(faces)
            means = zip(labels, means_to_others(similarity), strict=True)
            unlike += [
                f"{label} ({name}, {mean:.2f})" for label, mean in means if mean is not None and mean < same_from
            ]
            twice += _copies(labels, similarity)
    advice = f"; one person from {same_from:g}: look at {look_at}"
    return [
        *gathered("Hardly like the others of their person", first_few(unlike), advice),
        *gathered("One photo twice", first_few(twice)),
    ]


def _copies(labels: Sequence[str], similarity: Tensor) -> list[str]:
    """Pairs of faces that come from one photo: each that has been there before, with the first one of it.

    labels: of the faces. similarity: (faces, faces).
    """
    is_copy = similarity >= _ONE_PHOTO
    pairs: list[str] = []
    for index, label in enumerate(labels):
        before = [labels[other] for other in range(index) if is_copy[index, other]]
        if before:
            pairs.append(f"{before[0]} and {label}")
    return pairs


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
