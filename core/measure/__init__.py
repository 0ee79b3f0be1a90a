"""How much a picture shows the people it is meant to show, and the best pictures of a batch by that.

Similarities are cosines of embeddings, as the recognisers give them: 1 is the same photo, strangers lie around 0.
"""

from .judge import STRANGER, judges, measure, people_of, with_parts
from .paired import Difference, difference
from .ranking import SCORES, nobody_seen, ranked, ranking, scores
from .report import MEANS, METHODS, Measured, Report, Sighting, totals
from .words import describe, summary, troubles

__all__ = [
    "MEANS",
    "METHODS",
    "SCORES",
    "STRANGER",
    "Difference",
    "Measured",
    "Report",
    "Sighting",
    "describe",
    "difference",
    "judges",
    "measure",
    "nobody_seen",
    "people_of",
    "ranked",
    "ranking",
    "scores",
    "summary",
    "totals",
    "troubles",
    "with_parts",
]
