"""What the user should know of the second pass, as notes under Crop Faces."""

from collections.abc import Sequence

from ..errors import gathered
from .cutting import COVERED, Decision

NO_FACE_CHOSEN = "No face needs the second pass: Paste Faces gives the picture back as it is, and nothing is sampled."
_WHOLE = 0.9
"""Share of the second pass in the middle of a face. Less is another picture than the one that was sampled."""


def troubles(decisions: Sequence[Decision], pictures: int) -> list[str]:
    """A line for each kind: people who could not be found, faces of which little is pasted, and that no face is chosen.

    pictures: how many there are; one alone is not numbered.
    """
    lines: list[str] = []
    for reason, people in _people_without_face(decisions, pictures).items():
        lines += gathered(reason[0].upper() + reason[1:], people)
    lines += gathered(
        "The soft edge leaves no room for the face",
        _faint_crops(decisions, pictures),
        " pasted at most; lower feather or raise margin",
    )
    if not any(decision.crop for decision in decisions):
        lines.append(NO_FACE_CHOSEN)
    return lines


def _people_without_face(decisions: Sequence[Decision], pictures: int) -> dict[str, list[str]]:
    """Reason -> the people who have no face in the picture, or whose face is covered."""
    people: dict[str, list[str]] = {}
    for decision in decisions:
        if decision.candidate.similarity is None or decision.reason == COVERED:
            who = _in_picture(decision.candidate.name, decision.candidate.picture, pictures)
            people.setdefault(decision.reason, []).append(who)
    return people


def _faint_crops(decisions: Sequence[Decision], pictures: int) -> list[str]:
    """Name and highest share of the mask for each crop of which little is pasted."""
    faint: list[str] = []
    for decision in decisions:
        if decision.crop is None:
            continue
        share = float(decision.crop.mask.max())
        if share < _WHOLE:
            faint.append(_in_picture(f"{decision.crop.name} {share:.0%}", decision.crop.picture, pictures))
    return faint


def _in_picture(text: str, picture: int, pictures: int) -> str:
    """The text, with the number of the picture where there are several. picture: index from 0."""
    return f"{text} in picture {picture + 1}" if pictures > 1 else text
