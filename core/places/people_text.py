"""The text of Layout for a Group about its people: how old or tall each is, and what each does."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..cast import UNNAMED, Cast
from ..checks.errors import BadLayout, counted
from ..checks.names import People
from ..checks.text import COLON, number_in, pieces, plain, unquoted
from . import builds
from .builds import ADULT, Build
from .people_words import CM, METRE_OR_FOOT, NOUNS, OLDEST, AskedBack, Said, one_of, plain_letters, scan, side_in

EXAMPLE = "adult, girl 6 waving, woman 150 cm"
_YOUNGEST_ALONE = 2
"""The youngest of whom a number alone may be the age."""
_TEENAGER = 13
"""Years from which somebody of whom only a height or an age is written is called a teenager."""
_CHILDREN = ("child", "girl", "boy")
"""Of whom a prompt says the years, also where they are not written."""
_DIFFERENCE = 8.0
"""cm by which somebody is taller or shorter who is told to be so, where it is not written."""
_BETWEEN_PEOPLE = r",\s*and\b|,|\band\b|[和与](?!.{1,60}一样高)"
"""What stands between people: as COMMA, and the word for it."""
_DECIMAL_COMMA = re.compile(
    rf"(?<![\d.,])(?:(\d),(?=\d{{1,2}}\s*{METRE_OR_FOOT})|(\d{{3}}),(?=\d\s*{CM}))", re.IGNORECASE
)
"""The comma of 1,80 m and of 162,5 cm; that of 6,80 cm stands between an age and a height."""
_MAY_BE_METRES = re.compile(
    rf"(?<![\d.,])(?:[01][.,]\d{{1,2}}|2[.,][0-3]\d)(?![\d.,]|\s*(?:{METRE_OR_FOOT}|{CM}))", re.IGNORECASE
)
_NUMBERED = re.compile(r"(?:person|place|number|人物|位置)\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Described:
    """What a text says of a person. action: one of ACTIONS, "" for what everybody does. words: for a prompt.

    side: left, middle or right of a single row, where the text says it instead of a number.
    """

    build: Build = ADULT
    action: str = ""
    words: str = ""
    side: str = ""


@dataclass(frozen=True)
class _Entry:
    """What a text says of one person. item: the words, for messages.

    place: its number, 0 for the place behind that of the entry before. or_place: of whom a name among the words may
    mean, 0 for nobody. is_named: whether a name or a side stands before a colon.
    """

    item: str
    place: int
    said: Said
    or_place: int = 0
    is_named: bool = False


@dataclass(frozen=True)
class _List:
    """The people whom a text is about. people: all whose numbers count. present: the numbers of those who are there."""

    people: People
    present: Sequence[int]
    has_cast: bool

    @property
    def count(self) -> int:
        return len(self.people.names)

    def number_of_side(self, side: str) -> int:
        """The number of who stands at a side of a single row. Raises AskedBack where nobody is in the middle."""
        if side == "middle" and len(self.present) % 2 == 0:
            raise AskedBack(f"{len(self.present)} people have nobody in the middle")
        index = {"left": 0, "middle": len(self.present) // 2, "right": -1}[side]
        return self.present[index]


def read(text: str, count: int, cast: Cast | None = None) -> tuple[Described, ...]:
    """What a text says of each of `count` people, in the order of their numbers: those of places, or of a list.

    text: a person per line, of whom anything may be said in any order, see people_words.py; commas may stand between.
    In a text of one line commas separate people, and an item without a noun belongs to the one before that has one,
    or a name: "woman 35, 150 cm" is one person, "35, 40" are two. A number, a name, left, middle or right before a
    colon, or a name before the words, is the place, and the next people follow it.
    cast: whose names may stand there; its list is counted then.
    Raises BadLayout for anything else, and for what may mean two things.
    """
    if cast:
        who = _List(People([plain_letters(name) for name in cast.names_listed]), cast.numbers, True)
    else:
        who = _List(People([UNNAMED] * count), range(1, count + 1), False)
    said_of: dict[int, _Entry] = {}
    place = 0
    entries = _entries(text, who)
    for entry in entries:
        place = entry.place or place + 1
        if not entry.item:  # nothing is said of this place
            continue
        if place > who.count:
            raise _too_many(entry, place, entries, who)
        if entry.or_place not in (0, place):
            asked = _two_things(entry.or_place, who)
            raise _bad(entry.item, asked.why, asked.advice)
        if place in said_of:
            raise _bad(entry.item, f"place {place} is described already")
        said_of[place] = entry
    heights = _Heights(said_of)
    return tuple(
        _described(said_of[number], heights.told(number)) if number in said_of else Described()
        for number in range(1, who.count + 1)
    )


def _too_many(entry: _Entry, place: int, entries: Sequence[_Entry], who: _List) -> BadLayout:
    if any(each.place or not each.item for each in entries):
        return _bad(entry.item, f"it is about place {place}, and there are places 1 to {who.count}")
    lines = counted(len(entries), "person", "people")
    if who.has_cast:
        there = counted(who.count, "person", "people")
        return BadLayout(
            f"People (people) describes {lines}, and the cast has {there}.",
            "Connect a photo for each, or take out who is too many.",
        )
    return BadLayout(
        f"People (people) describes {lines}, and How many (count) is {who.count}.",
        "Set How many (count) higher, or take out who is too many.",
    )


def _entries(text: str, who: _List) -> list[_Entry]:
    """An entry for each person of a text, see `read`. Raises BadLayout for words that are not understood."""
    lines = [
        _DECIMAL_COMMA.sub(lambda comma: f"{comma[0][:-1]}.", plain(line))
        for line in plain_letters(text).splitlines()
        if plain(line)
    ]
    has_lines = len(lines) > 1
    entries: list[_Entry] = []
    for line in lines:
        bare = _MAY_BE_METRES.search(line)
        if bare:
            raise _bad(
                line, f"{bare[0]!r} may be a height or ages", "Write 1.65 m or 165 cm, and a blank between ages."
            )
        items = [unquoted(item) for item in pieces(line, _BETWEEN_PEOPLE)]
        if has_lines:
            items = [item for item in items if item] or [""]
        for number, item in enumerate(items):
            try:
                entry = _read_item(item, who)
                is_of_one_before = number > 0 and not entry.place and not entry.is_named
                if is_of_one_before and not has_lines:
                    has_noun = entries[-1].said.noun or entries[-1].is_named
                    is_of_one_before = bool(item and has_noun and not entry.said.noun)
                if is_of_one_before:
                    item = f"{entries[-1].item}, {item}"
                    entries[-1] = replace(entries[-1], item=item, said=entries[-1].said.with_more(entry.said))
                else:
                    entries.append(entry)
            except AskedBack as asked:
                raise _bad(item, asked.why, asked.advice) from None
    return [_at_side(entry, who) for entry in entries]


def _at_side(entry: _Entry, who: _List) -> _Entry:
    """The entry with the place of the side that is said of the person. Raises BadLayout."""
    if not entry.said.side:
        return entry
    try:
        place = who.number_of_side(entry.said.side)
    except AskedBack as asked:
        raise _bad(entry.item, asked.why, asked.advice) from None
    if entry.place not in (0, place):
        raise _bad(entry.item, f"it is about place {entry.place}, and {entry.said.side} is place {place}")
    return replace(entry, place=place)


def prompts(people: tuple[Described, ...]) -> str:
    """The lines for Prompt per Person: "2: a girl of 6, waving"; none for a person of whom nothing was said.

    people: in the order of the list.
    """
    return "\n".join(f"{number}: {person.words}" for number, person in enumerate(people, 1) if person.words)


def _read_item(item: str, who: _List) -> _Entry:
    """What is said of the person of an item, whose place may stand before it. Raises AskedBack."""
    *before_colon, words = pieces(item, COLON, most_cuts=1)
    if before_colon:
        place, side = _place(before_colon[0], who)
        said = scan(words, who.people)
        is_named = number_in(unquoted(before_colon[0])) is None
        return _Entry(item, place, said.with_more(Said(side=side)) if side else said, is_named=is_named)
    named = _named(item, who)
    try:
        said = scan(item, who.people)
    except AskedBack:
        if named:
            return named
        raise
    if not named:
        return _Entry(item, 0, said)
    if said.age and not said.noun:  # nobody is old here, and somebody is called Old
        return named
    is_only_name = named.said == Said()
    if not (is_only_name or named.said == said):
        raise _two_things(named.place, who)
    return _Entry(item, 0, said, or_place=named.place)


def _two_things(place: int, who: _List) -> AskedBack:
    """The question where words of a text are a name as well."""
    name = who.people.names[place - 1]
    return AskedBack(f"{name!r} is a name and a word", f"Write {place}: for {name}, or the number of another place.")


def _named(item: str, who: _List) -> _Entry | None:
    """What is said of a person whose name begins an item without a colon; None where none does, or the rest is not
    understood."""
    numbered = _NUMBERED.match(item)
    starts = sorted({*who.people.names} - {UNNAMED, ""}, key=len, reverse=True)
    for name in [*starts, numbered[0]] if numbered and numbered.end() < len(item) else starts:
        start, rest = item[: len(name)], item[len(name) :]
        is_whole_word = not rest or not (rest[0].isascii() and rest[0].isalnum() and name[-1].isascii())
        if start.casefold() == name.casefold() and is_whole_word:
            with suppress(AskedBack):
                said = scan(rest, who.people)
                return _Entry(item, _place(name, who)[0], said)
    return None


def _place(before: str, who: _List) -> tuple[int, str]:
    """The number of the place that is written before a colon, or 0 and the side. Raises AskedBack."""
    text = unquoted(before)
    numbered = _NUMBERED.fullmatch(text)
    number = number_in(numbered[1] if numbered else text)
    if number == 0:
        raise AskedBack("it is about place 0, and places are counted from 1")
    side = side_in(text)
    meant = who.people.called(text)
    is_name = bool(meant) and (number is None or meant != [number - 1])
    if is_name and (number or (side and meant != [who.number_of_side(side) - 1])):
        raise AskedBack(f"{text!r} is a name and a place", f"Write the number: {meant[0] + 1} is {text}.")
    if number:
        return number, ""
    if side and not is_name:
        return 0, side
    return one_of(text, who.people), ""


class _Heights:
    """How tall people are of whom a text says so beside others."""

    def __init__(self, said_of: dict[int, _Entry]) -> None:
        self._said_of = said_of

    def told(self, number: int, asked: tuple[int, ...] = ()) -> float:
        """cm, 0 where nothing is said. asked: who waits for this height. Raises BadLayout."""
        entry = self._said_of.get(number)
        if entry is None:
            return 0.0
        said = entry.said
        if said.compared is None:
            return said.height or 0.0
        if said.compared.other in (number, *asked):
            raise _bad(entry.item, "it compares people in a circle", "Write a height for one of them.")
        other = self.told(said.compared.other, (*asked, number)) or self._usual(said.compared.other)
        usual = said.height or self._usual(number)
        by = said.compared.cm or _DIFFERENCE
        is_so = (usual - other) * said.compared.sign >= by if said.compared.sign else False
        if said.height:
            is_so = (usual - other) * said.compared.sign > 0 if said.compared.sign else usual == other
            if not is_so:
                raise _bad(entry.item, f"it is {usual:g} cm, and the other has {other:g} cm")
        if is_so and not said.compared.cm:
            return said.height or 0.0
        return round(other + said.compared.sign * by, 1)

    def _usual(self, number: int) -> float:
        entry = self._said_of.get(number)
        noun = NOUNS[(entry.said.noun if entry else "") or "adult"]
        years = entry.said.years if entry else None
        return builds.usual_height(noun.years if years is None else years, noun.sex)


def _described(entry: _Entry, height: float) -> Described:
    """What is said of one person. height: cm, 0 where none is said.

    Years that are not written are those of the noun, else of the height. With neither, only the action is known.
    Raises BadLayout for a height or an age out of its limits.
    """
    said = entry.said
    noun = NOUNS.get(said.noun)
    if height and not builds.SHORTEST <= height <= builds.TALLEST:
        raise _bad(entry.item, f"heights are from {builds.SHORTEST} to {builds.TALLEST} cm")
    if said.age and not noun:
        raise _bad(entry.item, f"{said.age!r} is said of nobody", "Write old man, young woman, or the age.")
    if said.age == "old" and noun and noun.child:
        raise _bad(entry.item, "'old' is said of a child", "Write the age, as girl 6.")
    if said.years is not None:
        years = told_years = float(said.years)
        youngest, oldest = (noun.youngest, noun.oldest) if noun else (_YOUNGEST_ALONE, OLDEST)
        if not youngest <= years <= oldest:
            raise _bad(entry.item, f"the age of {said.noun or 'people'} is from {youngest} to {oldest} years")
    elif height and (not noun or said.noun in ("son", "daughter")):
        years = builds.usual_age(height)
        told_years = round(years)  # an age by the height has decimals, and the prompt is to have whole years
    elif noun:
        years = told_years = noun.years
    else:
        return Described(action=said.action, words=said.action, side=said.side)
    sex = noun.sex if noun else ""
    called = _called(said.noun, told_years)
    words = " ".join(filter(None, (builds.stature(years, sex, height), said.age, called)))
    person = f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    if said.years is not None or called in _CHILDREN or (not noun and told_years < _TEENAGER):
        person += f" of {told_years:g}"
    words = ", ".join(filter(None, (person, said.action)))
    return Described(builds.build(years, sex, height), said.action, words, said.side)


def _called(noun: str, years: float) -> str:
    """What a prompt calls somebody of these years. noun: of NOUNS, "" for none."""
    if noun in ("son", "daughter"):
        child, grown_up = {"son": ("boy", "man"), "daughter": ("girl", "woman")}[noun]
        return grown_up if years >= builds.GROWN_UP else child
    return noun or _noun_by(years)


def _noun_by(years: float) -> str:
    """What somebody is called of whom only a height or an age is written."""
    if years < 2:
        return "toddler"
    if years < _TEENAGER:
        return "child"
    return "teenager" if years < builds.GROWN_UP else "adult"


def _bad(item: str, why: str, advice: str = "") -> BadLayout:
    """The error for what a text says of one person. item: the whole item. why: the end of a sentence about it."""
    usual = "Write a line per person, as girl 6 waving, or 3: girl 6 for place 3."
    return BadLayout(f"People (people): {plain(item, 60)!r} cannot be used: {why}.", advice or usual)
