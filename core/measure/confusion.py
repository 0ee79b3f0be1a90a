"""Two ways in which people of a picture are confused: one of them appears several times, or a face is of two people.

The names are those of MultiBind (arXiv 2603.21937), which reads both from a matrix of similarities between generated
subjects and real ones, less how alike the real ones are to each other. Its thresholds are not in the public text that
we could read, so those here are our own.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

from ..identities import combine
from ..people import Identity
from .measuring import NODE, STRANGER_BELOW
from .report import MeasuredPicture

CLEAR = 0.1
"""Cosine. A face shows the more similar one of two people clearly where it is at least this much more like them."""


def between_people(people: Sequence[Identity], recogniser: str) -> list[list[float]]:
    """How alike people are in their photos: one cosine for each pair, of the mean embeddings of their photos.

    Returns one row per person, in their order. Raises BadEmbedding for embeddings that cannot be compared.
    """
    directions: list[Tensor] = []
    for person in people:
        embedding = combine(person, recogniser, "mean", NODE).float()  # (1, 512)
        directions.append(normalize(embedding, dim=-1)[0])  # (512,)
    table: list[list[float]] = []
    for first in directions:
        row: list[float] = []
        for second in directions:
            row.append(float(first @ second))
        table.append(row)
    return table


def dominance(picture: MeasuredPicture) -> float | None:
    """The share of faces that repeat a person whom another face of the picture already looks most like.

    0 where every face looks like another person, exchanged people too. (N - 1) / N where N faces look like one person.
    None without two people who have a face.
    """
    if len(picture.present) < 2:
        return None
    people_seen = {sighting.looks_like for sighting in picture.present}
    return (len(picture.present) - len(people_seen)) / len(picture.present)


def blending(picture: MeasuredPicture, alike_in_photos: Sequence[Sequence[float]]) -> float | None:
    """The share of faces that are near to two people and clearly to none.

    A face is one where the two highest similarities both reach STRANGER_BELOW, are less than CLEAR apart, and the
    second is more than CLEAR above how alike the photos of these two people are: look-alikes are not blended.
    alike_in_photos: from `between_people`. None without two people who have a face.
    """
    if len(picture.present) < 2:
        return None
    blended = 0
    for sighting in picture.present:
        if _is_blended(sighting.similarities, alike_in_photos):
            blended += 1
    return blended / len(picture.present)


def _is_blended(similarities: Sequence[float], alike_in_photos: Sequence[Sequence[float]]) -> bool:
    """Whether a face with these similarities, one per person, is near to two people and clearly to none."""
    by_similarity = sorted(range(len(similarities)), key=lambda person: -similarities[person])
    first, second = by_similarity[:2]
    if similarities[second] < STRANGER_BELOW:
        return False
    if similarities[first] - similarities[second] >= CLEAR:
        return False
    return similarities[second] - alike_in_photos[first][second] > CLEAR
