"""What every error of the pack is: what is wrong with both values, then what to do.

Raise a LikenessError where the fact is known, and write its sentences there. A class of its own is for what somebody
tells apart: who catches it, a test, or a user who reads `likeness.FaceNotFound` above the message. It stands in the
file that raises it; here are the base, the kinds that several files raise or catch, and the words they share. Nothing
else may leave a node: an error of another kind is caught where it can be explained, and named as the cause.
"""

import os
from collections.abc import Sequence

from .text import plain, writable

_LONGEST = 4000
"""Letters of each half of a message: lists of people and folders fit, a book pasted into a name does not."""


def listed(items: Sequence[object], nothing: str = "none") -> str:
    """Names with commas between them: "Anna, Ben". nothing: the text for no names."""
    return ", ".join(str(item) for item in items) or nothing


def joined(items: Sequence[str], word: str = "and") -> str:
    """Names as they stand in a sentence: "Anna, Ben and Christa"; "" for no names. word: before the last of them."""
    if len(items) < 2:
        return "".join(items)
    return f"{listed(items[:-1])} {word} {items[-1]}"


def counted(count: int, singular: str, plural: str = "") -> str:
    """A number and what it counts: 1 place, 2 places. plural: where it is not the singular and an s."""
    if count == 1:
        return f"{count} {singular}"
    return f"{count} {plural or singular + 's'}"


def gathered(title: str, items: Sequence[object], after: str = "") -> list[str]:
    """One line that warns of several people or files: "Faces small: Anna 72, Ben 72 px"; no line without items.

    after: the end of the line, such as " px".
    """
    if not items:
        return []
    return [f"{title}: {listed(items)}{after}"]


def first_few(items: Sequence[str], most_items: int = 8) -> list[str]:
    """The first items, as many as a note has room for; then, where some are left out, "3 more" as the last item."""
    first_items = list(items[:most_items])
    if len(items) > most_items:
        first_items.append(f"{len(items) - most_items} more")
    return first_items


class LikenessError(Exception):
    """Base of the family. `problem` says what is wrong and where, `advice` what to do about it."""

    # The host puts it before every message; else that would be the path of this file.
    __module__ = "likeness"

    def __init_subclass__(cls) -> None:
        cls.__module__ = LikenessError.__module__

    def __init__(self, problem: str, advice: str) -> None:
        self.problem = plain(problem, _LONGEST)
        self.advice = plain(advice, _LONGEST)

    def __str__(self) -> str:
        return writable(f"{self.problem} {self.advice}")


class ModelMissing(LikenessError):
    """A model file is in none of the folders searched.

    title: of the model. files: their names. url, size: of the download. field: the input in which another is chosen.
    """

    def __init__(
        self,
        title: str,
        files: Sequence[str],
        folders: Sequence[str],
        url: str,
        size: str,
        field: str,
    ) -> None:
        verb = "is" if len(files) == 1 else "are"
        if len(folders) > 1:
            place = f"in none of the folders searched ({listed(folders)})"
            target = "into one of these folders"
        else:
            place = f"not in {listed(folders)}"
            target = "there"
        problem = f"{title} was not found: {listed(files)} {verb} {place}."
        advice = (
            f"Download it from {url} ({size}), put it {target} and press R in ComfyUI to refresh; or choose another in "
            f"{field}."
        )
        super().__init__(problem, advice)


class RecogniserMissing(ModelMissing):
    """A face recogniser is in none of the folders searched."""


class UnsupportedCheckpoint(LikenessError):
    """A file that is not what the loader needs, named for what it is.

    path: of the file. actual, expected: what it is and what is needed, as parts of a sentence.
    """

    def __init__(self, path: str, actual: str, expected: str, advice: str) -> None:
        name = os.path.basename(path) or path
        # The folders last: a path may be longer than what people see of the message.
        super().__init__(f"{name} is {actual}; this node needs {expected}.", f"{advice} The file: {path}")


SAME_FAMILY = "Use a checkpoint, text encoder and ControlNet of the same family (SDXL) on every input."


class WrongBaseModel(LikenessError):
    """Something made for one model family was given to another.

    what: how the message calls it. actual, expected: names of model families.
    """

    def __init__(self, what: str, actual: str, expected: str, advice: str | None = None) -> None:
        super().__init__(f"{what} is made for {actual}, but {expected} is needed.", advice or SAME_FAMILY)


class FaceNotFound(LikenessError):
    """The face detector has found no face in a picture.

    where: how the message calls the picture. width, height: of the picture, px. boxable: whether a box for it can be
    written into Person.
    """

    def __init__(self, where: str, width: int, height: int, boxable: bool) -> None:
        box_advice = "; for a drawn face write a box around it into Face boxes as text (face_boxes) of Person"
        super().__init__(
            f"No face found in {where} ({width}x{height} px).",
            f"Use a photo in which the face is larger, sharper and not covered{box_advice if boxable else ''}.",
        )


class BadChoice(LikenessError):
    """A word that a combo does not offer, as API calls may send."""

    def __init__(self, name: str, word: str, offered: Sequence[str]) -> None:
        super().__init__(f"{name} is {word!r}, which this node does not know.", f"Choose one of: {listed(offered)}.")


class BadInput(LikenessError):
    """Something else than an input takes: a number out of its limits, nothing, an object of another kind."""

    def __init__(self, what: str, actual: str, expected: str) -> None:
        advice = "Look at the node that is linked to it: it may be bypassed, have failed or be the wrong one."
        super().__init__(f"{what} is {actual}; {expected} is needed.", advice)


class FileOfOtherMethod(LikenessError):
    """A file of another method than an input takes, from Load Adapter. actual, expected: titles of methods."""

    def __init__(self, what: str, actual: str, expected: str) -> None:
        problem = f"{what} is a file of {actual}; a file of {expected} is needed."
        advice = f"Choose a file of {expected} in File (file) of the Load Adapter that is linked to it."
        super().__init__(problem, advice)


class BadSize(LikenessError):
    """A width and height that cannot be used here. Sizes are (width, height) in pixels."""

    def __init__(self, what: str, actual: tuple[int, int], expected: str, advice: str) -> None:
        width, height = actual
        super().__init__(f"{what} is {width}x{height} px; {expected}.", advice)


class BadEmbedding(LikenessError):
    """NaN, infinity, zeros or a wrong length where a face embedding should be.

    person: the name. recogniser: its id. why: the end of a sentence.
    """

    def __init__(self, person: str, recogniser: str, why: str, advice: str | None = None) -> None:
        usual = "Make the person again from its photos; if it came from a file, that file is damaged."
        super().__init__(f"The {recogniser} embedding of {person} cannot be used: {why}.", advice or usual)


class BadLayout(LikenessError):
    """Places that cannot be made or used: no room, nobody there, no skeleton, off every canvas."""


class BadCast(LikenessError):
    """People who do not fit the places or the method, or who are not there."""


class BadSetup(LikenessError):
    """Nodes or settings that do not work together: a missing link, a host that is too old. Some cases have a class of
    their own below."""


class BadRange(BadSetup):
    """A range of the schedule that ends before it starts."""


class ModelNotPatched(BadSetup):
    """A sampler whose MODEL does not come from the node that has put people or parts into its conditioning."""


class TokensMoved(BadSetup):
    """Another node has split or merged the picture's tokens, so that the tokens of a region are not known."""


class BadParts(LikenessError):
    """Too few or too many parts, the same part twice, or a part of which nothing is visible."""


class BadPhoto(LikenessError):
    """A photo in which nobody can say who is meant."""


class CannotSave(LikenessError):
    """A person who cannot be saved, or is not among the saved; nothing is left of the attempt."""
