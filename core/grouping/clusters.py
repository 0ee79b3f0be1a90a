"""Which faces are one person, by what they look like: average linkage of their similarities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cast import Face
from ..checks.errors import BadCast
from ..checks.names import folded
from .file_names import name_of
from .photo_faces import PhotoFace

SAME_PERSON = 0.4
"""Mean cosine from which two groups of faces are one person. On photos of known people everything from 0.35 to 0.45
sorted all of them right (docs/dev/measuring.md)."""
_NEVER = 1e9
"""Distance of two faces that are never one person. A single such pair keeps the mean distance of two groups above 1,
even among millions of pairs, and groups are joined below 1 only."""


def similarities(faces: Sequence[Face]) -> Tensor:
    """How alike all faces are: (faces, faces) float64, the mean of their recognisers' cosines.

    The mean, because each recogniser makes mistakes of its own. Raises BadCast where the faces were made without a
    recogniser.
    """
    recognisers = list(faces[0].embeddings)
    if not recognisers:
        raise BadCast(
            "Photos cannot be sorted into people: the face model has no recogniser, which tells who is alike.",
            "Choose one in Load Face Embedder, or use Person for each person, then Cast.",
        )
    tables: list[Tensor] = []
    for recogniser in recognisers:
        embeddings = torch.stack([face.embeddings[recogniser] for face in faces]).double()
        units = normalize(embeddings, dim=-1)  # (faces, 512)
        tables.append(units @ units.T)
    return torch.stack(tables).mean(0)


def means_to_others(similarity: Tensor) -> list[float | None]:
    """The mean similarity of each face of a person to the person's other faces; None for the only face.

    similarity: (faces, faces), of these faces.
    """
    others = len(similarity) - 1
    if not others:
        return [None]
    sums = similarity.sum(1) - similarity.diagonal()  # without that of a face to itself
    return [float(mean) for mean in sums / others]


def allowed_pairs(faces: Sequence[PhotoFace], by_face: bool) -> Tensor:
    """Which pairs of faces may be one person: (faces, faces) bool.

    Two faces of one photo never may. by_face: True allows all other pairs. False allows only those of two photos whose
    files are named after the same person. With False a face is a person of its own where its file is named after
    nobody, and where several faces of its photo are used.
    """
    photos = torch.tensor([face.photo_number for face in faces])
    of_two_photos = photos[:, None] != photos
    if by_face:
        return of_two_photos
    # A photo with several faces, which have numbers from 1, is not one person's, whatever its name.
    names = np.array(["" if face.number_in_photo else folded(name_of(face.file)) for face in faces])
    same_name = (names[:, None] == names) & (names != "")
    return of_two_photos & torch.as_tensor(same_name)


def clusters(similarity: Tensor, allowed: Tensor, same_from: float) -> list[list[int]]:
    """Indices of faces, per person, in the order of first appearance: average linkage (Sokal and Michener 1958).

    At first each face is a group. The two groups with the highest mean similarity are joined, again and again, until no
    two groups have a mean of at least `same_from`. Faces that are not `allowed` to be one person never meet in a group.
    The order of the faces decides nothing but the order of the groups.
    similarity: (faces, faces). allowed: (faces, faces) bool.
    """
    count = len(similarity)
    if count < 2:
        return [[face] for face in range(count)]
    import scipy.cluster.hierarchy  # pyright: ignore[reportMissingTypeStubs]

    hierarchy: Any = scipy.cluster.hierarchy
    # Copies of a photo may have a similarity a rounding error above 1, and no distance may be below 0.
    distances = (1 - similarity).clamp(min=0).masked_fill(~allowed, _NEVER)
    above_diagonal = tuple(torch.triu_indices(count, count, 1))
    condensed = distances[above_diagonal]  # (pairs,), each pair once, as scipy reads them
    linkage = hierarchy.linkage(condensed.numpy(), "average")
    # Groups are joined while the mean distance of two is at most 1 - same_from.
    group_of_face = hierarchy.fcluster(linkage, 1 - same_from, "distance")  # (faces,), numbers of groups
    groups: dict[int, list[int]] = {}
    for face, number in enumerate(group_of_face):
        groups.setdefault(int(number), []).append(face)
    return list(groups.values())
