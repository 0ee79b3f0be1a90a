"""Prompts of several lines: a scene each, or what is said of one person: "Anna: smiling". Who is meant by names."""

import re
from collections.abc import Sequence

from .errors import BadCast, BadSetup, LikenessError, counted, listed
from .names import folded
from .people import RowCast
from .text import NAME, names_in, plain

MOST_SCENES = 100
"""In one run: each is a whole picture."""


MOST_LETTERS = 10_000
"""Of one text for a text encoder: some thirty prompts of CLIP's 77 tokens, which take seconds. 200,000 words take a
minute, and then all memory."""
DEEPEST = 100
"""Round brackets within each other: the host reads them by calling itself, which Python ends at a thousand."""
_BRACKET = re.compile(r"\\[()]|[()]")


class BadText(LikenessError):
    """A text that is too much for a text encoder."""

    def __init__(self, what: str, why: str, advice: str) -> None:
        super().__init__(f"{what} {why}.", advice)


def check_text(what: str, text: str) -> str:
    """The text itself, where a text encoder can be given it. what: as an error names it, "The text 'a man'".

    Raises BadText for more than MOST_LETTERS letters, and for brackets within brackets deeper than DEEPEST.
    """
    if len(text) > MOST_LETTERS:
        why = f"has {len(text)} letters, and {MOST_LETTERS} is the most that a text encoder is given"
        raise BadText(what, why, "Say it in fewer words: text encoders were trained with some 300 letters.")
    depth = deepest = 0
    for found in _BRACKET.finditer(text):
        bracket = found.group()
        if bracket == "(":
            depth += 1
        elif bracket == ")":
            depth = max(0, depth - 1)
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        why = f"has {deepest} round brackets within each other, and {DEEPEST} is the most that can be read"
        raise BadText(what, why, "Write the weight once, as in (smiling:1.3), or \\( for a bracket that is no weight.")
    return text


class BadPrompts(LikenessError):
    """A line of Prompt per Person that is about nobody of the cast."""

    def __init__(self, number: int, line: str, why: str, names: Sequence[str]) -> None:
        shown = line if len(line) <= 60 else f"{line[:57]}..."
        numbered = ", ".join(f"{place} {name}" for place, name in enumerate(names, 1))
        advice = "Write one line per person, a name or number, a colon, and what is said of them."
        super().__init__(f"Line {number} of the prompts: {why}. It is {shown!r}.", f"{advice} There are: {numbered}.")


def per_scene(text: str, always: str = "") -> list[str]:
    """The prompt of every scene: its line, and after a comma what all of them share. Empty lines are left out.

    Raises BadSetup where there is none, or more than MOST_SCENES, and BadText.
    """
    lines = [plain(line).rstrip(", ") for line in text.splitlines()]
    shared = plain(always).strip(", ")
    scenes = [", ".join(filter(None, (line, shared))) for line in lines if line]
    if not 0 < len(scenes) <= MOST_SCENES:
        found = counted(len(scenes), "scene") if scenes else "no scene"
        advice = "Use several runs." if scenes else "Write one scene per line, such as: at the beach, in the kitchen."
        raise BadSetup(f"The text has {found}; from 1 to {MOST_SCENES} can be made in one run.", advice)
    return [check_text(f"Scene {number}", scene) for number, scene in enumerate(scenes, 1)]


def per_person(text: str, names: Sequence[str]) -> list[str]:
    """What is said of each of `names`, in their order, "" of those who are not named.

    A line is "name: words" or "number: words", counted from 1; large and small letters are the same. Several lines
    about one person are joined. Raises BadPrompts for a line about somebody else, or about one of two of that name, and
    BadText.
    """
    said: list[list[str]] = [[] for _ in names]
    for number, line in enumerate(text.splitlines(), 1):
        if line := plain(line):
            who, words = _read(line, number, names)
            said[who].append(words)
    texts = [", ".join(filter(None, lines)) for lines in said]
    for name, words in zip(names, texts, strict=True):
        check_text(f"What is said of {plain(name, 60)}", words)
    return texts


def per_row(text: str, cast: RowCast) -> list[str]:
    """What is said of the person of every row, by the names and numbers of the cast that Crop Faces was given.

    So a text serves both passes, whoever is cut out. Raises as per_person.
    """
    if not cast.listed:
        return per_person(text, [person.identity.name for person in cast.people])
    texts = per_person(text, cast.listed)
    return [texts[number - 1] for number in cast.numbers_listed]


def _read(line: str, number: int, names: Sequence[str]) -> tuple[int, str]:
    """The person's index, and what is said."""
    halves = re.split("[:\uff1a]", line, maxsplit=1)
    if len(halves) < 2:
        raise BadPrompts(number, line, "it has no colon", names)
    who, words = (half.strip() for half in halves)
    found = _called(who, names)
    if not found:
        raise BadPrompts(number, line, f"no person here is called {plain(who, 40)!r}", names)
    if len(found) > 1:
        numbers = " or ".join(str(n + 1) for n in found)
        raise BadPrompts(number, line, f"{len(found)} people are called {who!r}: write their number, {numbers}", names)
    return found[0], words


def named(who: str, names: Sequence[str], node: str) -> list[int]:
    """The indices of those who are meant by names or numbers with commas between them; all where nobody is named.
    Raises BadCast for somebody else, or one of two of that name. node: its name."""
    found = {one: _called(one, names) for one in names_in(who) if one}
    for one, indices in found.items():
        if len(indices) != 1:
            count = f"{len(indices)} people of the cast are" if indices else "no person of the cast is"
            there = listed([f"{number} {name}" for number, name in enumerate(names, 1)], "no people")
            advice = f"Write names or numbers with commas between them; with a place there are: {there}."
            raise BadCast(f"{node}: {count} called {plain(one, 40)!r}.", advice)
    return sorted({n for (n,) in found.values()}) if found else list(range(len(names)))


def _called(who: str, names: Sequence[str]) -> list[int]:
    """The indices of those of this name, else of this number, counted from 1; large and small letters are the same."""
    found = [n for n, name in enumerate(names) if folded(plain(name, NAME)) == folded(who)]
    if not found and re.fullmatch("[0-9]{1,4}", who) and 0 < int(who) <= len(names):
        return [int(who) - 1]
    return found
