"""When each person's references are read, "Anna: 0 - 0.5; Ben: 0.4 - 1", as pieces of the schedule."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...bridge.host import notes
from ...bridge.host.schedule import ScheduleRange
from ...bridge.sampling.conditioning import JUST_BEHIND
from ...core.checks.errors import BadRange, BadSetup
from ...core.checks.prompts import per_member
from ...core.checks.text import COLON, items_in, pieces, plain, with_plain_signs
from ...core.taking_part import TakingPart

INPUT = "reference_ranges"
_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
_TO = r"\s*(?:--?|~|to)\s*"
_RANGE = re.compile(f"({_NUMBER}){_TO}({_NUMBER})", re.IGNORECASE)
"""Two numbers with a dash, a tilde or a "to" between them."""
_DECIMALS = re.compile(rf"\d+(?:{_TO}{_NUMBER})?", re.IGNORECASE)
"""What the comma that many countries have before decimals cuts off from a range: the 5 of 0 - 0,5, and the 5 - 1 of
0,5 - 1."""


def ranges_of_people(text: str, taking: TakingPart, of_others: ScheduleRange) -> list[ScheduleRange]:
    """When the references of each of taking.people are read.

    text: "name: start - end" or "number: start - end" for each, as the items of a list. of_others:
    for people who are not in it. Raises BadPrompts for what is said of nobody, BadRange for what is no range of the
    schedule, and BadSetup where people who have a row of the batch each would be read in different ranges. A note under
    the node names people who are absent though the text is about them.
    """
    ranges: list[ScheduleRange] = []
    said = per_member("\n".join(_items(text)), taking.cast, INPUT)
    notes.tell("\n".join(said.notes))
    for acts, line, member in zip(taking.acts, said.prompts, taking.cast.people, strict=True):
        if acts:
            ranges.append(_range(line, member.name) if line else of_others)
    if taking.cast.by_row and len(set(ranges)) > 1:
        raise BadSetup(
            f"{INPUT} has different ranges, and with the cast of Crop Faces all people are in one batch.",
            "Write the same range for everybody, or set references_start_percent and references_end_percent.",
        )
    return ranges


def _items(text: str) -> list[str]:
    """The items of a text, each with its colon: what has none is decimals, or the beginning of a name with a comma."""
    items: list[list[str]] = []
    is_whole = True
    for item in items_in(text):
        is_more = bool(items) and _DECIMALS.fullmatch(with_plain_signs(item)) is not None
        if is_whole and not is_more:
            items.append([])
        items[-1].append(item)
        is_whole = (is_whole and is_more) or len(pieces(item, COLON)) > 1
    return [", ".join(item) for item in items]


def _range(text: str, name: str) -> ScheduleRange:
    """The range that stands behind the name of a person. Raises BadRange."""
    numbers = _RANGE.fullmatch(with_plain_signs(text).replace(", ", "."))
    schedule = ScheduleRange(*map(float, numbers.groups())) if numbers else None
    if schedule is None or max(schedule.start, schedule.end) > 1:
        why = f"{INPUT} says {plain(text, 40)!r} of {plain(name, 40)}, which is no range of the schedule."
        raise BadRange(why, "Write two numbers from 0 to 1, such as 0 - 0.5.")
    return schedule.checked(f"The reference of {name}")


@dataclass(frozen=True)
class PieceOfSchedule:
    """A piece of the schedule, from `start` to where the next one starts. people: the indices of those who are read."""

    start: float
    people: frozenset[int]


def pieces_of_schedule(ranges: Sequence[ScheduleRange]) -> list[PieceOfSchedule]:
    """The pieces of the schedule in which the same people are read, the first from 0 on.

    ranges: of each person; each includes both of its ends, but for an empty one, in which nobody is read.
    """
    changes = {0.0}
    for schedule in ranges:
        changes |= {schedule.start, _first_after(schedule)}
    pieces: list[PieceOfSchedule] = []
    for change in sorted(changes):
        held = [schedule.start <= change < _first_after(schedule) for schedule in ranges]
        people = frozenset(person for person, is_held in enumerate(held) if is_held)
        # At 1 the schedule is over. A change of nobody begins no piece.
        if change < 1 and (not pieces or pieces[-1].people != people):
            pieces.append(PieceOfSchedule(change, people))
    return pieces


def _first_after(schedule: ScheduleRange) -> float:
    """The first moment behind a range, whose end is a part of it: for an empty one its start, infinity for one that
    holds to the end of the schedule."""
    if schedule.is_empty:
        return schedule.start
    return schedule.end + JUST_BEHIND if schedule.end < 1 else math.inf
