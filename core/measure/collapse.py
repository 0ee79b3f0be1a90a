"""Subject Collapse Rate: how many people of a picture are not the ones of their photos, by DINOv2.

From "When Identities Collapse" (arXiv 2603.26078): a subject has collapsed where the cosine of the DINOv2 embeddings of
the generated picture and of its reference photo is below a threshold. The paper takes 0.4, 0.5 and 0.6 and draws its
curves at 0.4.
"""

from collections.abc import Sequence

COLLAPSED_BELOW = 0.4
"""Cosine. The lowest threshold of the paper, that of its figures."""


def collapse_rate(similarities: Sequence[float | None], below: float = COLLAPSED_BELOW) -> float | None:
    """The share of people whose similarity is below a threshold.

    similarities: one cosine per person; None for a person who is missing, and has collapsed for certain.
    Returns None for no people.
    """
    if not similarities:
        return None
    collapsed = 0
    for similarity in similarities:
        if similarity is None or similarity < below:
            collapsed += 1
    return collapsed / len(similarities)
