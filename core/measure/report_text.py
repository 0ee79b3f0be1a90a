"""A report in lines of text: by which recogniser it was measured, the figures of each picture, and each person."""

from ..pictures.geometry import longer_side
from .comparison import TRAINED_WITH
from .figures import FIGURES, leakage, margin, mean, resemblance
from .report import MeasuredPicture, Report, Sighting


def describe(report: Report) -> str:
    """The text of Measure Likeness: the recogniser, then each picture and the people, parts and strangers in it."""
    lines: list[str] = []
    if report.people:
        lines.append(judge_sentence(report))
        lines += report.kin_lines
    for number, picture in enumerate(report.judged_pictures, 1):
        lines.append(f"Picture {number}: {summary(picture)}")
        lines += [f"  {line}" for line in _lines_of_picture(report, picture)]
    for recogniser in report.recognisers[1:]:
        for number, picture in enumerate(report.pictures[recogniser], 1):
            lines.append(f"By {recogniser}, picture {number}: {summary(picture)}")
    text_alignment = mean(picture.text_alignment for picture in report.judged_pictures)
    if text_alignment is not None:
        lines.append(f"Text alignment of all pictures: {text_alignment:.3f}")
    return "\n".join(lines)


def judge_sentence(report: Report) -> str:
    """Which recogniser has judged, and whether it is biased."""
    if report.judge_is_biased:
        return (
            f"Measured by {report.judge}, with which {report.method} was trained: it is biased. "
            "Load another recogniser in Load Face Embedder, for the people as well, and it will judge."
        )
    if TRAINED_WITH[report.method]:
        return f"Measured by {report.judge}, which {report.method} was not trained with."
    return f"Measured by {report.judge}. If the pictures were made with it, it is biased: set made_with."


def summary(picture: MeasuredPicture) -> str:
    """The figures of a picture in one line. Figures that the picture does not have are left out."""
    figures: list[str] = []
    if picture.sightings:  # with people none of these figures is None
        right = sum(sighting.right for sighting in picture.sightings)
        figures = [
            f"resemblance {resemblance(picture):.2f}",
            f"association {right}/{len(picture.sightings)}",
            f"leakage {leakage(picture):.2f}",
            f"margin {margin(picture):.2f}",
        ]
    for figure in FIGURES:
        value = figure.of_picture(picture)
        if figure.summary_format and value is not None:
            figures.append(f"{figure.name} {value:{figure.summary_format}}")
    return ", ".join(figures)


def _lines_of_picture(report: Report, picture: MeasuredPicture) -> list[str]:
    """A line per person and per part, and one for all strangers."""
    lines = [_line_of_person(report, picture, sighting) for sighting in picture.sightings]
    for label, similarity in zip(report.labels, picture.part_similarities, strict=True):
        lines.append(f"{label}: {similarity:.2f}")
    strangers = picture.stranger_faces
    if strangers:
        sizes = ", ".join(f"{longer_side(picture.boxes[face]):.0f} px" for face in strangers)
        lines.append(f"no cast member: {len(strangers)} of {len(picture.boxes)} faces ({sizes})")
    return lines


def _line_of_person(report: Report, picture: MeasuredPicture, sighting: Sighting) -> str:
    """Name, place, how alike the face is to this person and to another, and its size; "missing" where there is none."""
    line = report.names[sighting.person]
    if report.has_places:
        line += f" (place {report.numbers[sighting.person]})"
    if sighting.face is None:
        return f"{line}: missing"
    line += f": {sighting.similarity:.2f}"
    if sighting.swapped and sighting.looks_like is not None:  # who is swapped looks like somebody: for the type alone
        line += f", looks like {report.names[sighting.looks_like]} ({sighting.nearest_other:.2f})"
    elif len(report.people) > 1:
        line += f", others {sighting.leakage:.2f}"
    if sighting.copy_paste is not None:
        line += f", copy-paste {sighting.copy_paste:+.2f}"
    return f"{line}, face {longer_side(picture.boxes[sighting.face]):.0f} px"
