"""The text of Layout for a Group about its people: how old or tall each is, and what each does."""

import re
import unicodedata
from dataclasses import dataclass

from ..checks.errors import BadLayout, joined, listed
from ..checks.text import COLON, COMMA, number_in, pieces, plain, unquoted
from . import builds
from .actions import ACTIONS
from .builds import ADULT, Build

EXAMPLE = "adult, girl 6 waving, woman 150 cm"
_OLDEST = 120
_TODDLERS_END = 3
_YOUNGEST_ALONE = 2
"""The youngest of whom a number alone may be the age: 1,65 is a height in metres, and not the ages 1 and 65."""
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
    "toddler": _Noun(1.5, oldest=_TODDLERS_END),
}  # fmt: skip
_CHINESE = {
    "成人": "adult", "女人": "woman", "男人": "man", "少年": "teenager", "孩子": "child", "女孩": "girl", "男孩": "boy",
    "小孩": "child", "幼儿": "toddler", "岁": " ", "歲": " ", "的": " ", "小": " ", "厘米": "cm", "公分": "cm",
    "搭肩": "arms around shoulders", "牵手": "holding hands", "举手": "hands up", "挥手": "waving",
    "抱臂": "arms crossed", "走路": "walking", "坐着": "sitting", "跪着": "kneeling", "拥抱": "hug",
    "手放肩上": "hand on shoulder", "站着": "standing",
}  # fmt: skip
"""The same words as a Chinese editor has them."""
_CHINESE_WORD = re.compile("|".join(_CHINESE))
_CHILDREN = ("child", "girl", "boy")
"""Of whom a prompt says the years, also where they are not written."""
_PERSON = re.compile(
    f"(?P<noun>{'|'.join(_NOUNS)})?"
    r"\s*(?:of\s+)?(?:(?P<years>(?!0\d)\d{1,3})(?!\d|\s*cm))?\s*(?:(?P<height>\d{1,3})\s*cm)?\s*"
    f"(?P<action>{'|'.join(ACTIONS)})?"
)
"""No age begins with 0: the 05 of 2,05 is of a height in metres."""
_AGE_FIRST = re.compile(rf"(\d{{1,3}}) ({'|'.join(_NOUNS)})\b")
"""As one says it in Chinese: 6 岁女孩."""
_TWICE = {"noun": "two words for one", "years": "two ages", "height": "two heights", "action": "two actions"}
"""What is wrong with a person of whom something is said twice, by the groups of _PERSON."""


@dataclass(frozen=True)
class Described:
    """What a text says of a person. action: one of ACTIONS, "" for what everybody does. words: for a prompt."""

    build: Build = ADULT
    action: str = ""
    words: str = ""


@dataclass(frozen=True)
class _Entry:
    """What a text says of one person. item: the words, for messages.

    place: its number, 0 for the place behind that of the entry before. said: the words by the groups of _PERSON.
    """

    item: str
    place: int
    said: dict[str, str]


def read(text: str, count: int) -> tuple[Described, ...]:
    """What a text says of each of `count` people, in the order of their numbers: those of places, or of a list.

    text: a person per line, each "noun age height action" of which anything may be left out; commas may stand between
    these. In a text of one line commas separate people, and an item without a noun belongs to the one before that has
    one: "woman 35, 150 cm" is one person, "35, 40" are two. A number and a colon before a person name the place, and
    the next people follow it. Raises BadLayout for anything else.
    """
    people: dict[int, Described] = {}
    place = 0
    for entry in _entries(text):
        place = entry.place or place + 1
        if not entry.item:  # nothing is said of this place
            continue
        if place > count:
            raise _bad(entry.item, f"it is about place {place}, and there are places 1 to {count}")
        if place in people:
            raise _bad(entry.item, f"place {place} is described already")
        people[place] = _described(entry)
    return tuple(people.get(place, Described()) for place in range(1, count + 1))


def _entries(text: str) -> list[_Entry]:
    """An entry for each person of a text, see `read`. Raises BadLayout for words that are not understood."""
    lines = [plain(line) for line in text.splitlines() if plain(line)]
    has_lines = len(lines) > 1
    entries: list[_Entry] = []
    for line in lines:
        items = [unquoted(item) for item in pieces(line, COMMA)]
        if has_lines:
            items = [item for item in items if item] or [""]
        for number, item in enumerate(items):
            place, said = _read_item(item)
            is_of_one_before = number > 0 and not place
            if is_of_one_before and not has_lines:
                is_of_one_before = bool(item and entries[-1].said["noun"] and not said["noun"])
            if is_of_one_before:
                entries[-1] = _with_more(entries[-1], item, said)
            else:
                entries.append(_Entry(item, place, said))
    return entries


def prompts(people: tuple[Described, ...]) -> str:
    """The lines for Prompt per Person: "2: a girl of 6, waving"; none for a person of whom nothing was said.

    people: in the order of the list.
    """
    return "\n".join(f"{number}: {person.words}" for number, person in enumerate(people, 1) if person.words)


def _read_item(item: str) -> tuple[int, dict[str, str]]:
    """The number of the place, 0 for none, and what is said of the person, by the groups of _PERSON, "" for nothing.

    Raises BadLayout for words that are not understood.
    """
    *before_colon, person = pieces(item, COLON, most_cuts=1)
    place = 0
    if before_colon:
        number = number_in(plain(before_colon[0]))
        if number is None:
            raise _bad(item, "before the colon stands no number of a place")
        if not number:
            raise _bad(item, "it is about place 0, and places are counted from 1")
        place = number
    # Full-width letters become plain ones.
    words = unicodedata.normalize("NFKC", person).lower()
    words = _CHINESE_WORD.sub(lambda word: f" {_CHINESE[word[0]]} ", words)
    words = " ".join(plain(words).split())
    age_first = _AGE_FIRST.match(words)
    if age_first is not None:
        years, noun = age_first.groups()
        words = f"{noun} {years}{words[age_first.end() :]}"
    match = _PERSON.fullmatch(words)
    if match is None:
        raise _bad(item, "it is not understood")
    return place, match.groupdict(default="")


def _with_more(entry: _Entry, item: str, said: dict[str, str]) -> _Entry:
    """The entry of a person with what a further item says. Raises BadLayout where both say the same thing."""
    both = f"{entry.item}, {item}"
    twice = [_TWICE[what] for what in said if said[what] and entry.said[what]]
    if twice:
        raise _bad(both, f"it is one person, with {joined(twice)}")
    return _Entry(both, entry.place, {what: entry.said[what] or said[what] for what in said})


def _described(entry: _Entry) -> Described:
    """What is said of one person.

    Years that are not written are those of the noun, else of the height. With neither, only the action is known.
    Raises BadLayout for a height or an age out of its limits.
    """
    said = entry.said
    action = said["action"]
    noun = _NOUNS.get(said["noun"])
    height = float(said["height"] or 0)  # cm, 0 where none is written
    if said["height"] and not builds.SHORTEST <= height <= builds.TALLEST:
        raise _bad(entry.item, f"heights are from {builds.SHORTEST} to {builds.TALLEST} cm")
    if said["years"]:
        years = told_years = float(said["years"])
        youngest, oldest = (noun.youngest, noun.oldest) if noun else (_YOUNGEST_ALONE, _OLDEST)
        if not youngest <= years <= oldest:
            raise _bad(entry.item, f"the age of {said['noun'] or 'people'} is from {youngest} to {oldest} years")
    elif noun:
        years = told_years = noun.years
    elif height:
        years = builds.usual_age(height)
        told_years = round(years)  # an age by the height has decimals, and the prompt is to have whole years
    else:
        return Described(action=action, words=action)
    sex = noun.sex if noun else ""
    person = _person(said["noun"] or _noun_by(told_years), builds.stature(years, sex, height))
    if said["years"] or said["noun"] in _CHILDREN or (not noun and told_years < _TEENAGER):
        person += f" of {told_years:g}"
    return Described(builds.build(years, sex, height), action, ", ".join(filter(None, (person, action))))


def _noun_by(years: float) -> str:
    """What somebody is called of whom only a height or an age is written."""
    if years < 2:
        return "toddler"
    if years < _TEENAGER:
        return "child"
    return "teenager" if years < builds.GROWN_UP else "adult"


def _person(noun: str, stature: str) -> str:
    """What a prompt calls a person: "a very tall man". stature: as builds.stature gives it."""
    words = f"{stature} {noun}".strip()
    return f"{'an' if words.startswith('adult') else 'a'} {words}"


def _bad(item: str, why: str) -> BadLayout:
    """The error for what a text says of one person. item: the whole item. why: the end of a sentence about it."""
    return BadLayout(
        f"People (people): {plain(item, 60)!r} cannot be used: {why}.",
        f"Write a line per person, as girl 6 waving, or 3: girl 6 for place 3; whole years, and heights in whole cm. "
        f"People: {listed(tuple(_NOUNS))}. Actions: {listed(tuple(ACTIONS))}.",
    )
