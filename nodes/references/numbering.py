"""The numbers by which a model knows the references: in captions, in sentences, and for names in braces."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from ...core import taking_part
from ...core.cast import UNNAMED, Cast, RowCast, is_a
from ...core.checks.errors import BadSetup, joined
from ...core.checks.names import People
from ...core.checks.text import MOST_NAME_LETTERS, plain, with_plain_signs
from .parts import OwnedPart, words_of
from .pictures import Reference

BEFORE = "before the prompt"
AFTER = "after the prompt"
NONE = "none"
SENTENCES = (BEFORE, AFTER, NONE)
"""Where the sentences about people stand in the prompt; NONE for no sentences. The options of the input `sentences`."""
_IN_BRACES = re.compile(rf'\{{([^{{}}":\n]{{1,{MOST_NAME_LETTERS}}})\}}')
"""A name or a number. Braces around quotation marks, colons or lines are JSON, in which prompts are written, too."""


@dataclass(frozen=True)
class Captioned:
    """A picture of the contact sheet, (H, W, 3), and the line under it."""

    picture: Tensor
    caption: str


def captioned(sources: Sequence[Reference], word: str) -> list[Captioned]:
    """The pictures of the contact sheet, with a caption each: the picture's number, who it shows and where.

    A picture with rows gives a picture for each row. word: what the model calls a picture, such as "Picture {}".
    """
    captioned_pictures: list[Captioned] = []
    for numbered in _numbered(sources, word):
        for picture, name in zip(numbered.reference.pictures, numbered.names, strict=True):
            for row, caption in zip(picture, numbered.reference.captions, strict=True):
                captioned_pictures.append(Captioned(row, f"{name}: {caption}" if caption else name))
    return captioned_pictures


def with_sentences(prompt: str, sources: Sequence[Reference], word: str, position: str) -> str:
    """The prompt with a line for every reference that has a sentence.

    word: what the model calls a picture, such as "Picture {}". position: where the lines stand, one of SENTENCES.
    """
    numbered = _numbered(sources, word)
    lines = [_sentence(one, numbered) for one in numbered if one.reference.has_sentence]
    if position == BEFORE:
        lines = [*lines, prompt]
    elif position == AFTER:
        lines = [prompt, *lines]
    else:
        lines = [prompt]
    return "\n".join(line for line in lines if line)


@dataclass(frozen=True, eq=False)
class _Numbered:
    """A reference, and what the model calls each of its pictures, such as "Picture 1" and "Picture 2"."""

    reference: Reference
    names: Sequence[str]


def _numbered(sources: Sequence[Reference], word: str) -> list[_Numbered]:
    """The references with the numbers of their pictures, which are counted through all references from 1."""
    numbers = count(1)
    return [_Numbered(source, [word.format(next(numbers)) for _ in source.pictures]) for source in sources]


def _sentence(numbered: _Numbered, everything: Sequence[_Numbered]) -> str:
    """The sentence of a reference, and of the parts of its person among all references.

    Such as: "left: Anna, from Picture 1, wearing the shoes from Picture 2."
    """
    reference = numbered.reference
    names_of_parts: dict[OwnedPart, str] = {}
    for other in everything:
        part = other.reference.part
        if part is not None and part.person == reference.person:
            names_of_parts[part] = other.names[0]  # a part has one picture
    words = words_of(names_of_parts)
    sentence = f"{reference.before_numbers}{joined(numbered.names)}{words}{reference.after_numbers}"
    # One that begins with the word for a picture begins with a capital: FLUX says "image 3".
    return sentence if reference.before_numbers else sentence[0].upper() + sentence[1:]


def with_numbers(prompt: str, field: str, cast: Cast, sources: Sequence[Reference], word: str) -> str:
    """A prompt in which people stand as {Anna} or {2}, with the numbers of their pictures: "the person from Picture 2".

    field: what an error calls the prompt. cast: everybody. sources: the references that are read. word: as in
    with_sentences. People without a picture among them, and people who have a row of the batch each, become their name:
    the text of a batch is the same for all rows. Raises BadSetup for somebody who is not in the cast.
    """
    listed = cast
    if is_a(cast, RowCast) and cast.cut_from:
        listed = cast.cut_from  # the same prompt serves before and behind Crop Faces
    people = People(listed.names_listed)
    numbers = taking_part.present(cast).numbers
    pictures: dict[int, Sequence[str]] = {}  # the number of a person -> what the model calls their portraits
    for numbered in _numbered(sources, word):
        person = numbered.reference.person
        if person is not None and numbered.reference.part is None:
            pictures[numbers[person]] = numbered.names

    def number_of(match: re.Match[str]) -> str:
        written, name = prompt[slice(*match.span())], prompt[slice(*match.span(1))]
        if not plain(name):
            return written
        meant = people.called(name)
        if not meant:
            raise _nobody(field, written, people.names)
        shown = [pictures[index + 1] for index in meant if index + 1 in pictures]
        if shown:
            subject = "the person" if len(shown) == 1 else "the people"
            return f"{subject} from {joined([name for names in shown for name in names])}"
        called = people.names[meant[0]]
        return "the person" if called == UNNAMED else called

    return _with_each(_IN_BRACES.finditer(with_plain_signs(prompt)), prompt, number_of)


def _with_each(matches: Iterable[re.Match[str]], text: str, instead: Callable[[re.Match[str]], str]) -> str:
    """A text with another one in the place of each match, which is of a text as long as this one."""
    said: list[str] = []
    end = 0
    for match in matches:
        said += [text[end : match.start()], instead(match)]
        end = match.end()
    return "".join([*said, text[end:]])


def _nobody(field: str, braces: str, names: Sequence[str]) -> BadSetup:
    """The error for braces in a prompt that mean nobody. braces: with what is in them. names: of the whole cast."""
    there_are = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    return BadSetup(
        f"{field} has {plain(braces, 60)!r}, which is nobody in the cast.",
        f"Between braces write the name or the number of a person: {there_are}. Choices as day|night are not made in "
        "this field.",
    )
