"""The second pass: faces that need it are cut out, sampled again in large, and pasted back into their pictures.

One module answers one question:

    selection.py     who needs the second pass, and why or why not
    cutting.py       the square and the mask around each of these faces, and their cast, a row of the batch each
    pasting.py       sampled crops back into their pictures, in the colours of what lies around them
    crop_notes.py    what becomes of each person, in lines of text and in notes
    crops_preview.py  a picture with the squares and masks of its crops
"""

from .crop_notes import describe, notes
from .crops_preview import draw_crops
from .cutting import Crop, Crops, Decision, cast_by_row, cut, decide, turned_upright
from .pasting import MATCHES, paste
from .selection import CHOICES, Choice, candidates, candidates_by_place, has_photos, people_to_cut

__all__ = [
    "CHOICES",
    "MATCHES",
    "Choice",
    "Crop",
    "Crops",
    "Decision",
    "candidates",
    "candidates_by_place",
    "cast_by_row",
    "cut",
    "decide",
    "describe",
    "draw_crops",
    "has_photos",
    "notes",
    "paste",
    "people_to_cut",
    "turned_upright",
]
