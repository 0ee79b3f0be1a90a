"""The text of Layout for a Group about its people: how old or tall each is, and what each does."""

import re
import unicodedata
from dataclasses import dataclass

from ..checks.errors import BadLayout, listed
from ..checks.text import COLON, items_in, number_in, pieces, plain
from . import builds
from .actions import ACTIONS
from .builds import ADULT, Build

EXAMPLE = "adult, girl 6 waving, 140 cm"
_OLDEST = 120
_TEENAGER = 13
"""Years from which somebody of whom only a height or an age is written is called a teenager."""


@dataclass(frozen=True)
class _Noun:
    """years: where no age is written. youngest, oldest: who is called so."""

    years: float
    sex: str = ""
    youngest: float = builds.YOUNGEST
    oldest: float = _OLDEST


_NOUNS = {
    "adult": _Noun(30, youngest=builds.GROWN_UP), "woman": _Noun(30, "f", builds.GROWN_UP),
    "man": _Noun(30, "m", builds.GROWN_UP), "teenager": _Noun(15, youngest=10, oldest=19),
    "child": _Noun(6, oldest=builds.GROWN_UP - 1), "girl": _Noun(6, "f"), "boy": _Noun(6, "m"),
}  # fmt: skip
_PERSON = re.compile(
    f"(?P<noun>{'|'.join(_NOUNS)})?"
    r"\s*(?:of\s+)?(?:(?P<years>\d{1,3})(?!\d|\s*cm))?\s*(?:(?P<height>\d{1,3})\s*cm)?\s*"
    f"(?P<action>{'|'.join(ACTIONS)})?"
)


@dataclass(frozen=True)
class Described:
    """What a text says of a person. action: one of ACTIONS, "" for what everybody does. words: for a prompt."""

    build: Build = ADULT
    action: str = ""
    words: str = ""


def read(text: str, count: int) -> tuple[Described, ...]:
    """What a text says of each of `count` people, in the order of their places.

    text: people with commas or ends of lines between them, each "noun age height action" of which anything may be left
    out. A number and a colon before a person name the place, and the next people follow it.
    Raises BadLayout for anything else.
    """
    people: dict[int, Described] = {}
    place = 0
    for item in items_in(text) if text.strip() else ():
        place += 1  # unless the item has a number of its own, it is about the next place
        if not item:  # nothing is said of this place
            continue
        *before_colon, person = pieces(item, COLON, most_cuts=1)
        if before_colon:
            numbered = number_in(plain(before_colon[0]))
            if numbered is None:
                raise _bad(item, "before the colon stands no number of a place")
            place = numbered
        if not 1 <= place <= count:
            raise _bad(item, f"it is about place {place}, and there are places 1 to {count}")
        if place in people:
            raise _bad(item, f"place {place} is described already")
        people[place] = _read_person(item, person)
    return tuple(people.get(place, Described()) for place in range(1, count + 1))


def prompts(people: tuple[Described, ...]) -> str:
    """The lines for Prompt per Person: "2: a girl of 6, waving"; none for a person of whom nothing was said."""
    return "\n".join(f"{place}: {person.words}" for place, person in enumerate(people, 1) if person.words)


def _read_person(item: str, text: str) -> Described:
    """What is said of one person. item: the whole item, for messages. text: the item without the number of the place.

    Years that are not written are those of the noun, else of the height. With neither, only the action is known.
    Raises BadLayout for words that are not understood, and for a height or an age out of its limits.
    """
    # Full-width letters become plain ones.
    match = _PERSON.fullmatch(plain(unicodedata.normalize("NFKC", text)).lower())
    if match is None:
        raise _bad(item, "it is not understood")
    said = match.groupdict(default="")  # texts: noun, years, height and action
    action = said["action"]
    noun = _NOUNS.get(said["noun"])
    height = float(said["height"] or 0)  # cm, 0 where none is written
    if said["height"] and not builds.SHORTEST <= height <= builds.TALLEST:
        raise _bad(item, f"heights are from {builds.SHORTEST} to {builds.TALLEST} cm")
    if said["years"]:
        years = told_years = float(said["years"])
        youngest, oldest = (noun.youngest, noun.oldest) if noun else (builds.YOUNGEST, _OLDEST)
        if not youngest <= years <= oldest:
            raise _bad(item, f"the age of {said['noun'] or 'people'} is from {youngest} to {oldest} years")
    elif noun:
        years = told_years = noun.years
    elif height:
        years = builds.usual_age(height)
        told_years = round(years)  # an age by the height has decimals, and the prompt is to have whole years
    else:
        return Described(action=action, words=action)
    build = builds.build(years, noun.sex if noun else "", height)
    return Described(build, action, _words(said["noun"], told_years, bool(said["years"]), action))


def _words(noun: str, years: float, is_age_written: bool, action: str) -> str:
    """What a prompt says of a person: "a girl of 6, waving". noun, action: as the text has them, "" for none.

    Without a noun one is chosen by the years. The years themselves are said where they are written, and of children.
    """
    if not noun and years < _TEENAGER:
        noun = "child"
    elif not noun:
        noun = "teenager" if years < builds.GROWN_UP else "adult"
    article = "an" if noun == "adult" else "a"
    person = f"{article} {noun}"
    if is_age_written or noun in ("child", "girl", "boy"):
        person += f" of {years:g}"
    return ", ".join(filter(None, (person, action)))


def _bad(item: str, why: str) -> BadLayout:
    """The error for what a text says of one person. item: the whole item. why: the end of a sentence about it."""
    return BadLayout(
        f"People (people): {plain(item, 60)!r} cannot be used: {why}.",
        f"Write a person per place, as {EXAMPLE}, or 3: girl 6 for place 3; ages in years, heights in cm. People: "
        f"{listed(tuple(_NOUNS))}. Actions: {listed(tuple(ACTIONS))}.",
    )
