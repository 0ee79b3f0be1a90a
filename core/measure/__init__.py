"""How alike pictures are to the people they are meant to show, and the best pictures of a batch by that.

Similarities are cosines of embeddings, as the recognisers give them: 1 is the same photo, strangers lie around 0.
"""

# pyright: reportUnusedImport=false

from .annotated_picture import annotate
from .comparison import TRAINED_WITH, judges, people_to_find
from .figures import FIGURES, PARTS, SCORES, Figure, Totals, figure_named, score, totals
from .measuring import NODE, STRANGER_BELOW, measure, report_without_people, with_parts, with_text_alignment
from .report import MeasuredPicture, Report, Sighting
from .report_text import describe, judge_sentence, no_person_found, notes, ranking, ranking_lines, scores
