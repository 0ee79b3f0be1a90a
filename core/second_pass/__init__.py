"""The second pass: faces that need it are cut out, sampled again in large, and pasted back into their pictures."""

# pyright: reportUnusedImport=false

from .crop_report import describe, draw_crops, notes
from .cutting import Crop, Crops, Decision, cast_by_row, cut, decide, turned_upright
from .pasting import MATCHES, paste
from .selection import CHOICES, Choice, candidates, candidates_by_place, has_photos, people_to_cut
