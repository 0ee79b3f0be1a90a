"""How alike people and faces are, by the recognisers that both have, and one face for each person."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cast import Person
from ..checks.errors import listed
from .combining import combine


def in_common(embeddings: Iterable[Mapping[str, Tensor]]) -> list[str]:
    """The recognisers that all people or faces have, by name. embeddings: of each, by recogniser."""
    recognisers = [set(each) for each in embeddings]
    return sorted(set[str].intersection(*recognisers)) if recognisers else []


def known_by(people: Iterable[Person]) -> list[str]:
    """Half a sentence for each person: their name, and which recognisers they have."""
    return [f"{person.name} has {listed(sorted(person.embeddings), 'no embedding')}" for person in people]


def similarities(
    people: Sequence[Person], faces: Sequence[Mapping[str, Tensor]], recogniser: str, node_name: str
) -> Tensor:
    """How alike people and faces are, the mean cosine of each person's photos with each face: (people, faces).

    faces: the embeddings of each, by recogniser. node_name: for messages. Raises what `combine` does.
    """
    if not faces:
        return torch.zeros(len(people), 0, dtype=torch.float32)
    embeddings = torch.stack([face[recogniser].float() for face in faces])
    units = normalize(embeddings, dim=-1)  # (faces, 512)
    photos = [combine(person, recogniser, "sequence", node_name).float() for person in people]  # (photos, 512) each
    # For each person the cosines (photos, faces), whose mean over the photos is a row of the result.
    return torch.stack([(normalize(rows, dim=-1) @ units.T).mean(0) for rows in photos])


def shared_by_nature(people: Sequence[Person], recogniser: str, node_name: str) -> Tensor:
    """How like everybody a perfect picture of each person is, in parts of how like that person it is: (people, people).

    A row is one person's picture, a column whom it is compared with, so the diagonal is 1. The picture is taken to be
    the mean of the photos, each brought to length 1. Of two people with one photo each it is the cosine of the photos.
    Raises what `combine` does.
    """
    photos = [combine(person, recogniser, "sequence", node_name).float() for person in people]  # (photos, 512) each
    means = torch.stack([normalize(rows, dim=-1).mean(0) for rows in photos])  # (people, 512)
    products = means @ means.T
    # The minimum avoids a division by 0: photos that are opposites have a mean of no length.
    return products / products.diagonal()[:, None].clamp(min=1e-6)


def assigned(gain: Tensor) -> list[int | None]:
    """For each row of a table the index of the column that it gets; None for a row without a column.

    It is the assignment with the largest sum of gains (Kuhn 1955). Two rows never get the same column, and as many rows
    as possible get one. gain: (rows, columns), such as (people, faces).
    """
    import scipy.optimize  # pyright: ignore[reportMissingTypeStubs]

    optimize: Any = scipy.optimize
    rows, columns = optimize.linear_sum_assignment(gain.numpy(), maximize=True)
    column_of = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [column_of.get(row) for row in range(len(gain))]
