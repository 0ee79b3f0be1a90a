"""Faces of photos sorted into people, named and corrected."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..cast import Face
from .clusters import allowed_pairs, clusters, means_to_others, similarities
from .corrections import apply_corrections
from .naming import names_of_faces
from .photo_faces import LEFT_OUT, PhotoFace


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
