"""What becomes of each person in the second pass, in lines of text."""

from collections.abc import Sequence

from .cutting import Decision


def describe(decisions: Sequence[Decision], picture_count: int) -> str:
    """A line per person and picture. picture_count: how many pictures the batch has; a single one is not numbered."""
    lines: list[str] = []
    for decision in decisions:
        candidate = decision.candidate
        line = f"{candidate.name}: {decision.reason}."
        if candidate.person.slot:
            line = f"{candidate.name} (place {candidate.number}): {decision.reason}."
        if picture_count > 1:
            line = f"Picture {candidate.picture_index + 1}: {line}"
        lines.append(line)
    return "\n".join(lines)
