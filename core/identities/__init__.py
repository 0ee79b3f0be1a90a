"""Identities, one person each: made of photos, checked, combined, blended, saved, and compared with faces.

One module answers one question:

    checks.py       whether embeddings and pictures can be used
    combining.py    an identity from the faces of photos, and several photos of one person as a method reads them
    blending.py     a person between two people
    lookalikes.py   which people of a cast look like one person
    saving.py       an identity as the tensors of a file, and back
    matching.py     how alike people and faces are, and one face for each person
"""

from .blending import BLENDS, blend
from .checks import check, photos_of, why_bad, why_bad_crops, why_bad_portraits
from .combining import PHOTOS, EmbeddingMissing, PortraitsMissing, combine, embeddings, from_faces, portraits
from .lookalikes import look_alike
from .matching import assigned, in_common, known_by, similarities
from .saving import from_tensors, to_tensors

__all__ = [
    "BLENDS",
    "PHOTOS",
    "EmbeddingMissing",
    "PortraitsMissing",
    "assigned",
    "blend",
    "check",
    "combine",
    "embeddings",
    "from_faces",
    "from_tensors",
    "in_common",
    "known_by",
    "look_alike",
    "photos_of",
    "portraits",
    "similarities",
    "to_tensors",
    "why_bad",
    "why_bad_crops",
    "why_bad_portraits",
]
