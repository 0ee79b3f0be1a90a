"""How alike pictures are to the people they are meant to show, and the best pictures of a batch by that.

One module answers one question:

    comparison.py    who is looked for, and which recognisers can compare them
    assignment.py    the face of each person in a picture
    measuring.py     from faces and people to a report
    report.py        what is measured: Sighting, MeasuredPicture, Report
    figures.py       the figures of a picture (resemblance, leakage ...), and those of a batch
    ranking.py       pictures from best to worst by a figure
    report_text.py   a report in lines of text
    report_notes.py  what the numbers alone do not say, as notes to the user
    annotated_picture.py   a picture with the name of a person at each face

A new figure is a function in figures.py and a row in its table FIGURES: the menu of Pick Best Likeness, the ranking and
the line of a picture follow that table.

Similarities are cosines of embeddings, as the recognisers give them: 1 is the same photo, strangers lie around 0.
"""

from .annotated_picture import annotate
from .comparison import TRAINED_WITH, judges, people_to_find
from .figures import FIGURES, PARTS, SCORES, Figure, Totals, figure_named, score, totals
from .measuring import NODE, STRANGER_BELOW, measure, report_without_people, with_parts, with_text_alignment
from .ranking import ranking, ranking_lines, scores
from .report import MeasuredPicture, Report, Sighting
from .report_notes import no_person_found, notes
from .report_text import describe, judge_sentence, summary

__all__ = [
    "FIGURES",
    "NODE",
    "PARTS",
    "SCORES",
    "STRANGER_BELOW",
    "TRAINED_WITH",
    "Figure",
    "MeasuredPicture",
    "Report",
    "Sighting",
    "Totals",
    "annotate",
    "describe",
    "figure_named",
    "judge_sentence",
    "judges",
    "measure",
    "no_person_found",
    "notes",
    "people_to_find",
    "ranking",
    "ranking_lines",
    "report_without_people",
    "score",
    "scores",
    "summary",
    "totals",
    "with_parts",
    "with_text_alignment",
]
