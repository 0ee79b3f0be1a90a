"""The questions of compare.py, which photos of people and the user's own files answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import environment

from . import page
from .columns import COLUMNS
from .rows import Pictured, Row

if TYPE_CHECKING:
    from .session import Session

COUNTS = (1, 2, 4, 6, 8, 12)
"""People in a picture of *crowd*."""
FEWEST, MOST = 3, 12
"""Pictures of a row of *crowd*, and people of it."""


def answer(questions: Sequence[str], session: Session) -> None:
    """Answer questions one after the other, and write all that is answered after each."""
    answers: dict[str, list[Row]] = {}
    for name in questions:
        environment.say(f"{name} ...")
        answers[name] = QUESTIONS[name](session)
        write(answers, session)


def crowd(session: Session) -> list[Row]:
    """Every method, with 1 to 12 people; all of them stand equally often in pictures of each number."""
    everybody = min(len(session.people), MOST)
    counts = counts_up_to(everybody)
    quick = session.settings.quick
    columns: dict[str, list[Pictured]] = {}
    for count in counts[:2] if quick else counts:
        drawn = groups(everybody, count)
        columns[f"{count}"] = drawn[:1] if quick else drawn
    rows: list[Row] = []
    for method in session.settings.methods:
        rows += session.rows("crowd", method, columns)
    return rows


def counts_up_to(everybody: int) -> list[int]:
    """How many people stand in pictures of a folder of so many people: those of COUNTS, and everybody."""
    counts = [count for count in COUNTS if count < everybody]
    counts.append(everybody)
    return counts


def groups(people: int, count: int) -> list[Pictured]:
    """Groups of `count` in which all of so many people stand equally often, so that figures of different counts are of
    the same people; FEWEST pictures or more. In each round everybody moves on by one, beside others."""
    rounds = math.lcm(people, count) // count  # pictures until everybody has been in equally many
    group_list: list[Pictured] = []
    while len(group_list) < FEWEST:
        moved = len(group_list) // rounds
        for number in range(rounds):
            members = [(number * count + place + moved) % people for place in range(count)]
            group_list.append(Pictured(members, 1, len(group_list) + 1))
    return group_list


def seeds(session: Session) -> list[Row]:
    """The same people by every method, from several seeds."""
    columns = _by_seed(session)
    rows: list[Row] = []
    for method in session.settings.methods:
        rows += session.rows("seeds", method, columns)
    return rows


def ablations(session: Session) -> list[Row]:
    """Methods without one of their parts and with several photos, each behind the whole method."""
    rows: list[Row] = []
    for method in session.settings.methods:
        if not method.ablations:
            continue
        rows += session.rows("ablations", method, _by_seed(session))
        for name, ablation in method.ablations.items():
            rows += session.rows("ablations", method, _by_seed(session, ablation.photos), name)
    return rows


def _by_seed(session: Session, photos: int = 1) -> dict[str, list[Pictured]]:
    """The first people of the folder, three or fewer, from several seeds. photos: by how many each is known."""
    quick = session.settings.quick
    people = session.first_people(2 if quick else 3)
    last_seed = 1 if quick else 4
    return {f"seed {seed}": [Pictured(people, photos, seed)] for seed in range(1, last_seed + 1)}


QUESTIONS: Mapping[str, Callable[[Session], list[Row]]] = {"crowd": crowd, "seeds": seeds, "ablations": ablations}


def write(answers: Mapping[str, Sequence[Row]], session: Session) -> None:
    """Write the tables of the questions that are answered, their sheets, and the page and the report of all."""
    about = {
        **session.about(),
        "prompt": session.settings.prompt,
        "people": len(session.people),
        "photos of each": [len(person.photos) for person in session.people],
    }
    out = session.settings.out
    for name, rows in answers.items():
        page.write_table(name, rows, COLUMNS, out)
        page.write_sheet(name, rows, out)
    title = "Methods beside each other"
    page.write(page.Answer(title, answers, COLUMNS, about, session.unread(COLUMNS)), out)
