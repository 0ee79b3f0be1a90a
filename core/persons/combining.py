"""A person from the faces of photos, and several photos of one person as a method reads them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..cast import CROP, EMBEDDING, Face, Member, Person, Portraits
from ..checks.errors import BadCast, BadEmbedding, listed
from ..methods import Method
from ..models.packs import where
from .checks import lengths

PHOTOS = ("mean", "normalised mean", "sequence", "weighted mean")
"""The ways to use several photos of one person, see `combine`."""
_OPPOSITE = 1e-3
"""A mean of embeddings that is shorter than this, in parts of their mean length, is left of embeddings that cancel each
other, and mostly rounding."""
_LEAST_AGREEMENT = 0.02
"""The least agreement of a photo with the others: a photo of another person, whose cosines are about 0 or below, still
counts a little, and never with a weight below 0."""


class EmbeddingMissing(BadCast):
    """A person, or two sides that are compared, without the recogniser that is needed."""


class PortraitsMissing(BadCast):
    """A person without pictures of the face, where a method looks at them."""


def from_faces(name: str, faces: Sequence[Face], recognisers: Sequence[str]) -> Person:
    """One person from one face of each photo; no faces make a person without photos.

    recognisers: those of the face model that found the faces. The person has portraits if every face has one.
    Raises BadEmbedding.
    """
    if not faces:
        no_photos = {recogniser: torch.zeros(0, EMBEDDING, dtype=torch.float32) for recogniser in recognisers}
        return Person(name, no_photos, torch.zeros(0, CROP, CROP, 3, dtype=torch.float32))
    by_recogniser: dict[str, Tensor] = {}  # (faces, EMBEDDING) each
    for recogniser in recognisers:
        by_recogniser[recogniser] = torch.stack([face.embeddings[recogniser] for face in faces])
    crops = torch.stack([face.crop for face in faces])
    one_person_from: dict[str, float] = {}  # recogniser -> limit; of several faces the last one's counts
    for face in faces:
        one_person_from.update(face.one_person_from)
    return Person(name, by_recogniser, crops, _portraits_of_all(faces), one_person_from=one_person_from)


def _portraits_of_all(faces: Sequence[Face]) -> Portraits | None:
    """The portraits of all faces, one after the other; None where a face has none."""
    of_faces = [face.portrait for face in faces if face.portrait]
    if len(of_faces) < len(faces):
        return None
    return Portraits(
        torch.cat([portrait.aligned for portrait in of_faces]),
        torch.cat([portrait.loose for portrait in of_faces]),
        torch.cat([portrait.ffhq for portrait in of_faces]),
    )


def portraits(person: Person, method: str) -> Portraits:
    """The portraits of one person, one of each kind per photo.

    method: its title, for messages. Raises PortraitsMissing, and BadCast for a person without a photo.
    """
    _check_has_photo(person, method)
    if person.portraits is None:
        raise PortraitsMissing(
            f"{method} looks at pictures of the face, and this person ({person.name}) has none: its file holds "
            "embeddings alone.",
            "Make the person again from the photos, and save it again.",
        )
    return person.portraits


def _check_has_photo(person: Person, method: str) -> None:
    """Raise BadCast for a person without a photo."""
    if person.has_no_photo:
        raise BadCast(
            f"{person.name} has no photo, and {method} reads photos.",
            "Connect a Cast of people with photos to Place Cast, or give them weight 0 in the Cast for this node; LoRA "
            "per Person and Prompt per Person draw them.",
        )


def combine(person: Person, recogniser: str, photos: str, method: str) -> Tensor:
    """The photos of one person as a method reads them, float32.

    photos: one of PHOTOS.
        "mean" -> (1, 512).
        "normalised mean" -> (1, 512), the mean direction at the mean length, so that photos with a strong embedding do
        not outweigh the others.
        "weighted mean" -> (1, 512), photos that agree with the others count more, see `_agreement`.
        "sequence" -> (photos, 512), the embeddings as they are.
    method: its title, for messages.
    Raises EmbeddingMissing, BadCast for a person without a photo, BadEmbedding where no photo shows a face or photos
    are opposites.
    """
    rows = _usable_embeddings(person, recogniser, method)  # (photos, 512)
    if photos == "sequence":
        return rows
    lengths_of_rows = lengths(rows)  # (photos, 1)
    if photos == "normalised mean":
        direction = (rows / lengths_of_rows).mean(dim=0, keepdim=True)  # (1, 512)
        unit_length = 1.0  # of the directions, whose mean this is
        _check_not_opposite(direction, unit_length, person.name, recogniser)
        return direction / lengths(direction) * lengths_of_rows.mean()
    if photos == "weighted mean":
        weights = _agreement(rows) ** 2  # (photos, 1)
        mean = (rows * weights).sum(dim=0, keepdim=True) / weights.sum()
    else:
        mean = rows.mean(dim=0, keepdim=True)
    _check_not_opposite(mean, lengths_of_rows.mean(), person.name, recogniser)
    return mean


def _usable_embeddings(person: Person, recogniser: str, method: str) -> Tensor:
    """The embeddings of a person by one recogniser, as it gave them: (photos, 512), one photo at least.

    Raises EmbeddingMissing, BadCast for a person without a photo, and BadEmbedding where no photo shows a face.
    """
    _check_has_photo(person, method)
    rows = person.embeddings.get(recogniser)
    if rows is None:
        known_recognisers = listed(sorted(person.embeddings), "no embedding")
        raise EmbeddingMissing(
            f"{method} needs {recogniser}, this person ({person.name}) has {known_recognisers}.",
            f"Choose {recogniser} in Load Face Embedder and make the person again from the photos. "
            f"Its file: {where(recogniser)}.",
        )
    if not len(rows):
        raise BadEmbedding(person.name, recogniser, "no photo of this person shows a face")
    return rows


def _check_not_opposite(mean: Tensor, length: Tensor | float, name: str, recogniser: str) -> None:
    """Raise BadEmbedding where the embeddings of the photos have cancelled each other in their mean.

    mean: (1, 512). length: the mean length of the embeddings. name: of the person.
    """
    if lengths(mean) < _OPPOSITE * length:
        raise BadEmbedding(
            name,
            recogniser,
            "its photos are opposites, so nothing is left of their mean",
            "Leave out a photo, or use a sequence.",
        )


def _agreement(rows: Tensor) -> Tensor:
    """How much each photo agrees with the others, (photos, 1): its mean cosine with them, _LEAST_AGREEMENT at least.

    With one or two photos it is 1 for each.
    `combine` weighs a photo by the square of its agreement. Embeddings are not brought to one length there, so a longer
    one counts more: recognisers give longer embeddings to photos that they recognise well. Weights by how sharp a photo
    is and how far the head is turned were tried and gave worse results; both already change the length
    (docs/dev/measuring.md).
    """
    if len(rows) < 3:
        return torch.ones(len(rows), 1, dtype=torch.float32)
    units = rows / lengths(rows)
    # Each row's sum holds the cosine with itself, which is 1.
    sums = (units @ units.T).sum(dim=1, keepdim=True) - 1
    return (sums / (len(rows) - 1)).clamp(min=_LEAST_AGREEMENT)


def embeddings(member: Member, method: Method, photos: str) -> Tensor:
    """The embeddings of a person that a method reads, by the recogniser that it was trained with: (n, 512).

    photos: how several photos are joined, see `combine`, which also says what is raised.
    """
    return combine(member.person, method.recogniser, photos, method.title)
