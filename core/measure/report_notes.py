"""What the numbers of a report do not say, as notes to the user."""

from collections.abc import Set

from .figures import PARTS, TEXT_ALIGNMENT
from .measuring import NODE
from .report import Report
from .report_text import judge_sentence


def notes(report: Report, installed: Set[str]) -> list[str]:
    """Lines of the note under Measure Likeness: a biased recogniser, people who are kin, and pictures without a
    face. [] for a report without people.

    installed: ids of all recognisers that could be loaded. The bias is noted only if another recogniser is installed:
    otherwise the user cannot change it, and the report alone says it.
    """
    if not report.people:
        return []
    lines: list[str] = []
    if report.judge_is_biased and installed - {report.judge}:
        lines.append(judge_sentence(report))
    lines += report.kin_lines
    faceless = [str(number) for number, picture in enumerate(report.judged_pictures, 1) if not picture.boxes]
    if faceless and len(report.judged_pictures) == 1:
        lines.append("No face found in the picture.")
    elif faceless:
        lines.append(f"No face found in picture {', '.join(faceless)}.")
    return lines


def no_person_found(report: Report, score: str) -> str:
    """The note under Pick Best Likeness where all people are missing in all pictures, "" in any other case.

    Of a single picture nothing is said: there is nothing to choose.
    score: by which pictures are chosen; parts and text alignment need no people.
    """
    if score in (PARTS, TEXT_ALIGNMENT) or len(report.judged_pictures) == 1:
        return ""
    if any(picture.present for picture in report.judged_pictures):
        return ""
    return (
        f"No person of the cast was found in any of the {len(report.judged_pictures)} pictures, so none is better than "
        f"another. Look at the pictures of {NODE}: where your people are shown as strangers, lower its Stranger below "
        "(stranger_below)."
    )
