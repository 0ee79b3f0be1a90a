"""What the nodes say of a report: its text, the order of its pictures, and notes on what its numbers do not say."""

import math
from collections.abc import Sequence, Set

from ..checks.errors import joined
from ..pictures.geometry import longer_side
from .comparison import TRAINED_WITH
from .figures import (
    FIGURES,
    PARTS,
    TEXT_ALIGNMENT,
    Figure,
    association,
    figure_named,
    leakage,
    margin,
    mean,
    resemblance,
    score,
)
from .measuring import NODE
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


def scores(report: Report, name: str) -> list[float | None]:
    """The figure `name` of every picture, by the recogniser that judges; None where a picture has none."""
    return [score(picture, name) for picture in report.judged_pictures]


def ranking(report: Report, name: str) -> list[int]:
    """Indices of the pictures, from best to worst by the figure `name`.

    Pictures of the same value are ordered by: more people who are most like themselves, fewer faces of strangers, a
    higher resemblance, and then the order in which the pictures were made. Pictures without the figure come last.
    For figures where less is better, such as leakage, the number of missing people is compared before the value: a
    missing person has no leakage, and a picture must not win by that.
    """
    return ranking_by(report, figure_named(name))


def ranking_by(report: Report, figure: Figure) -> list[int]:
    """As `ranking`, by a figure that need not be one of FIGURES."""
    less_is_better = figure.less_is_better
    values = [figure.of_picture(picture) for picture in report.judged_pictures]

    def sort_key(number: int) -> tuple[float, ...]:
        """Smaller is better, and the first number that differs decides."""
        picture = report.judged_pictures[number]
        value = values[number]
        if value is None:
            value = math.inf  # comes last
        elif not less_is_better:
            value = -value
        return (
            picture.missing if less_is_better else 0,
            value,
            -(association(picture) or 0.0),
            len(picture.stranger_faces),
            -(resemblance(picture) or 0.0),
            number,
        )

    return sorted(range(len(report.judged_pictures)), key=sort_key)


def ranking_lines(report: Report, name: str) -> list[str]:
    """A line per picture, from best to worst by the figure `name`."""
    values = scores(report, name)
    lines: list[str] = []
    for number in ranking(report, name):
        value = values[number]
        figure = "none" if value is None else f"{value:.3f}"
        lines.append(f"picture {number + 1}: {name} {figure} ({summary(report.judged_pictures[number])})")
    return lines


def notes(report: Report, installed: Set[str]) -> list[str]:
    """Lines of the note under Measure Likeness, the gravest first, as a small node shows no more: pictures without a
    face, people who are kin, a biased recogniser. [] for a report without people.

    installed: ids of all recognisers that could be loaded. The bias is noted only if another recogniser is installed:
    otherwise the user cannot change it, and the report alone says it.
    """
    if not report.people:
        return []
    lines: list[str] = []
    faceless = [str(number) for number, picture in enumerate(report.judged_pictures, 1) if not picture.boxes]
    if faceless and len(report.judged_pictures) == 1:
        lines.append("No face found in the picture.")
    elif faceless:
        lines.append(f"No face found in picture {', '.join(faceless)}.")
    lines += report.kin_lines
    if report.judge_is_biased and installed - {report.judge}:
        lines.append(judge_sentence(report))
    return lines


def people_not_found(report: Report, score: str) -> str:
    """The note under Pick Best Likeness of people who are missing in all pictures, "" where nobody is.

    Of a single picture nothing is said: there is nothing to choose.
    score: by which pictures are chosen; parts and text alignment need no people.
    """
    count = len(report.judged_pictures)
    if score in (PARTS, TEXT_ALIGNMENT) or count == 1:
        return ""
    found = {sighting.person for picture in report.judged_pictures for sighting in picture.present}
    missing = [name for person, name in enumerate(report.names) if person not in found]
    if not found:
        what = f"No person of the cast was found in any of the {count} pictures, so none is better than another"
    elif missing:
        was = "was" if len(missing) == 1 else "were"
        what = f"{joined(missing)} {was} not found in any of the {count} pictures. Try another seed"
    else:
        return ""
    return (
        f"{what}. Look at the pictures of {NODE}: where your people are shown as strangers, lower its Stranger below "
        "(stranger_below)."
    )


def choice(report: Report, score: str, keep: int) -> str:
    """The note under Pick Best Likeness of what was kept and by how much, "" where all are.

    keep: how many pictures are kept, the best by `score`.
    """
    order = ranking(report, score)
    if keep >= len(order):
        return ""
    values = scores(report, score)
    kept, others = order[:keep], order[keep:]
    pictures = "picture" if keep == 1 else "pictures"
    numbers = ", ".join(str(number + 1) for number in kept)
    value, rest = _span(values, kept), _span(values, others)
    return f"Kept {pictures} {numbers} of {len(order)}: {score} {value}, of the others {rest}."


def _span(values: Sequence[float | None], numbers: Sequence[int]) -> str:
    """From the least to the largest value of some pictures, each with two digits; "none" where none has one."""
    known = sorted(value for number in numbers if (value := values[number]) is not None)
    ends = [f"{value:.2f}" for value in known[:: max(len(known) - 1, 1)]]
    return " to ".join(dict.fromkeys(ends)) or "none"
