"""Prompts of several lines: a line for each scene, or "Anna: smiling" for each person."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..cast import Cast, RowCast, is_a
from .errors import BadSetup, LikenessError, counted
from .limits import SCENES, TEXT_LETTERS
from .names import People
from .text import BLANKS, COLON, COLONS, pieces, plain


class BadText(LikenessError):
    """A text that is too much for a text encoder."""

    def __init__(self, what: str, why: str, advice: str) -> None:
        super().__init__(f"{what} {why}.", advice)


def check_text(what: str, text: str, most: int = TEXT_LETTERS) -> str:
    """The text itself, where a text encoder can be given it. what: as an error names it, "The text 'a man'".

    most: letters, more for the texts of several people. Raises BadText for more.
    """
    if len(text) > most:
        why = f"has {len(text)} letters, and {most} is the most that a text encoder is given"
        raise BadText(what, why, "Say it in fewer words: text encoders were trained with some 300 letters.")
    return text


class BadPrompts(LikenessError):
    """A line about people that is about nobody of the cast. field: what a node calls the text of these lines."""

    def __init__(self, field: str, number: int, line: str, why: str, names: Sequence[str]) -> None:
        quoted = line if len(line) <= 60 else f"{line[:57]}..."
        people = ", ".join(f"{position} {name}" for position, name in enumerate(names, 1))
        advice = "Connect a cast with people."
        if names:
            advice = (
                f"Write one line per person, a name or number, a colon, and what is said of them. There are: {people}."
            )
        super().__init__(f"Line {number} of {field}: {why}. It is {quoted!r}.", advice)


def per_scene(text: str, always: str) -> list[str]:
    """The prompt of every scene: its line of the text, and after a comma the words that all scenes share.

    text: a scene per line; empty lines are left out. always: the words of all scenes.
    Raises BadSetup where there is no scene, or more than SCENES; BadText as `check_text` does.
    """
    lines = [line for line in text.splitlines() if line.strip(f",{BLANKS}")]
    if not 0 < len(lines) <= SCENES:
        count = counted(len(lines), "scene") if lines else "no scene"
        advice = "Use several runs." if lines else "Write one scene per line, such as: at the beach, in the kitchen."
        raise BadSetup(f"The text has {count}; from 1 to {SCENES} can be made in one run.", advice)
    shared_words = plain(check_text("What is always said", always)).strip(", ")
    scenes: list[str] = []
    for number, line in enumerate(lines, 1):
        words = plain(check_text(f"Scene {number}", line.strip())).rstrip(", ")
        scenes.append(check_text(f"Scene {number}", f"{words}, {shared_words}" if shared_words else words))
    return scenes


def per_person(text: str, names: Sequence[str], field: str) -> list[str]:
    """What a text says of each person, in the order of `names`; "" for people who are not named in it.

    text: lines of "name: words" or "number: words", counted from 1; large and small letters are the same. Several lines
    about one person are joined. field: what a node calls the text, for messages.
    Raises BadPrompts for a line without a colon, about somebody else, or about one of two people of that name.
    """
    check_text(f"The text of {field}", text, TEXT_LETTERS * (len(names) + 1))
    people = People(names)
    lines_of_people: list[list[str]] = [[] for _ in names]
    for number, written_line in enumerate(text.splitlines(), 1):
        line = plain(written_line)
        if line:
            person, words = _read(line, number, people, field)
            lines_of_people[person].append(words)
    return [", ".join(filter(None, lines)) for lines in lines_of_people]


@dataclass(frozen=True)
class SaidOfMembers:
    """What a text says of the people of a cast.

    prompts: of each, in their order, "" for people who are not named. notes: a line that names who is absent though the
    text is about them.
    """

    prompts: list[str]
    notes: list[str]


def prompts_of_members(text: str, cast: Cast) -> SaidOfMembers:
    """The prompt of each person of a cast, as `per_member` reads it. Raises as that does, and BadText as `check_text`
    does."""
    said = per_member(text, cast, "the prompts")
    for member, prompt in zip(cast.people, said.prompts, strict=True):
        check_text(f"What is said of {plain(member.name, 60)}", prompt)
    return said


def per_member(text: str, cast: Cast, field: str) -> SaidOfMembers:
    """What a text says of each person of a cast, as `per_person` reads it for everybody in the list.

    With a cast from Crop Faces, names and numbers of the text mean people of the whole cast that it was given. So the
    same text can be used in the first and in the second pass, whichever people Crop Faces has cut out. Raises as
    `per_person` does.
    """
    if is_a(cast, RowCast) and cast.cut_from:
        of_all = per_member(text, cast.cut_from, field)
        return SaidOfMembers([of_all.prompts[index] for index in cast.indices], of_all.notes)
    prompts = per_person(text, cast.names_listed, field)
    notes = cast.not_read_of_absent([bool(prompt) for prompt in prompts])
    return SaidOfMembers([prompts[number - 1] for number in cast.numbers], notes)


def _read(line: str, number: int, people: People, field: str) -> tuple[int, str]:
    """The index of the person that a line is about, and the words after its colon.

    number: of the line, from 1, for messages, as `field` of per_person. Raises BadPrompts.
    """
    at = line.translate(COLONS).find(":")
    if at < 0:
        raise BadPrompts(field, number, line, "it has no colon", people.names)
    name, words = line[:at].strip(), line[at + 1 :].strip()
    quoted, *behind = map(str.strip, pieces(line, COLON, most_cuts=1))
    # A name in quotation marks may have a colon. Two apostrophes are none: 'Ali: in the girls' room
    if behind and not people.called(name):
        name, words = quoted, behind[0]
    meant = people.called(name)
    if not meant:
        why = f"no person here is called {plain(name, 40)!r}" if people.names else "there are no people"
        raise BadPrompts(field, number, line, why, people.names)
    if len(meant) > 1:
        numbers = " or ".join(str(person + 1) for person in meant)
        why = f"{len(meant)} people are called {name!r}: write their number, {numbers}"
        raise BadPrompts(field, number, line, why, people.names)
    return meant[0], words
