"""What somebody wrote by hand to change who is on which photo: "5: Ben", "5.2: Ben", "anna_3.jpg: Ben", "7, 9: -".

The left side is a photo by its number or file, one of its faces, or all faces of a name; the right side is the name
that they get, or - to leave them out. Commas, semicolons or line breaks stand between corrections.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..checks.errors import BadCast, counted, listed
from ..checks.names import folded, of_person, same_name
from ..checks.text import AS_NUMBER, COLON, MOST_NAME_LETTERS, items_in, number_in, pieces, plain, unquoted
from .naming import one_spelling
from .photo_faces import LEFT_OUT, PhotoFace


@dataclass(frozen=True)
class Correction:
    """One correction of a text, such as "5, person 3: Anna".

    keys: the faces that it is about, as they were written: "5", "5.2", "anna_3.jpg", "person 3". name: the person that
    they become.
    """

    keys: tuple[str, ...]
    name: str


def apply_corrections(faces: Sequence[PhotoFace], names: Sequence[str], files: Sequence[str], text: str) -> list[str]:
    """The name of every face's person after the corrections in `text`, each applied to the result of those before it.

    names: of each face's person, before the corrections. files: of all photos, also of those without a face; "" for
    pictures without a file.
    Raises BadCast for a correction that means no face or photo, and for one without a name or a left side.
    """
    corrected = list(names)
    for correction in _parsed(text):
        for key in correction.keys:
            for face in _faces_meant(key, correction.name, faces, corrected, files):
                corrected[face] = correction.name
    return one_spelling(corrected, known=names)


def _parsed(text: str) -> Iterator[Correction]:
    """The corrections of a text, in order. A generator: it raises BadCast where it comes to one that cannot be read."""
    for line in text.splitlines():
        keys: list[str] = []  # left sides of which the name has not come yet
        for item in filter(None, items_in(line)):
            *left_side, right_side = pieces(item, COLON)
            if not left_side:  # the 7 of "7, 9: -", whose name follows after others
                keys.append(item)
                continue
            keys.append(unquoted(":".join(left_side)))  # the name of a file may have colons
            yield Correction(tuple(keys), _checked_name(item, keys[-1], unquoted(right_side)))
            keys = []
        if keys:
            raise _useless(listed(keys), "does not say who that is", "Write a name behind it: 5: Anna, or 5: -.")


def _checked_name(item: str, key: str, name: str) -> str:
    """The name of a correction.

    item: the whole correction, for messages. key: its left side. name: its right side, as it was written. Raises
    BadCast for a correction without a left side, without a name, and with a number for a name.
    """
    if not key:
        raise _useless(item, "does not say which photo that is", "Write its number before the colon: 5: Anna.")
    name = plain(name, MOST_NAME_LETTERS)
    if not name or name.isdecimal():
        raise _useless(item, "gives no name", "Write the person's name as the preview shows it: 5: Anna.")
    return name


def _faces_meant(
    key: str, name: str, faces: Sequence[PhotoFace], names: Sequence[str], files: Sequence[str]
) -> list[int]:
    """The indices of the faces that the left side of a correction means.

    key: the left side. It is read as the name of a person, who may have several faces, else as the number of a face,
    else as a photo. A photo of several faces can be given only to leave all of them out.
    name: the right side. names: for each face the name of its person, as corrected so far. files: of all photos.
    Raises BadCast where the left side is none of these, and, unless the right side is LEFT_OUT, where it is a photo
    without a face or with several.
    """
    meant = _faces_of_person(key, names) or _faces_of_number(key, faces)
    if meant:
        return meant
    photo = _photo_number(key, files)
    if photo is None:
        raise _useless(
            f"{key}: {name}",
            f"speaks of {plain(key, MOST_NAME_LETTERS)}, but of {counted(len(files), 'photo')} none has that number or "
            "name, and no person",
            f"Write a number from 1 to {len(files)}, the name of a file, or a person's name as the preview shows it.",
        )
    in_photo = [index for index, face in enumerate(faces) if face.photo_number == photo]
    if name == LEFT_OUT:
        return in_photo
    if not in_photo:
        raise _useless(f"{key}: {name}", f"speaks of photo {photo}, in which no face was found", "Take that line out.")
    if len(in_photo) > 1:
        written = listed([faces[index].number for index in in_photo])
        raise _useless(f"{key}: {name}", f"speaks of photo {photo} with {len(in_photo)} faces", f"Write {written}.")
    return in_photo


def _faces_of_person(key: str, names: Sequence[str]) -> list[int]:
    """The indices of the faces of a person of this name. names: as of `_faces_meant`."""
    person = of_person(key)
    return [face for face, name in enumerate(names) if name != LEFT_OUT and of_person(name) == person]


def _faces_of_number(key: str, faces: Sequence[PhotoFace]) -> list[int]:
    """The indices of the faces of this number, 5.2, or of this file and number, anna.jpg.2."""
    numbers = _numbers_in(key)  # with a None in it they equal those of no face
    meant: list[int] = []
    for index, face in enumerate(faces):
        has_number = numbers == _numbers_in(face.number)
        # Without a file the name would be ".2", which no key may mean.
        has_file = face.file and same_name(key, f"{face.file}.{face.number_in_photo}")
        if has_number or has_file:
            meant.append(index)
    return meant


def _numbers_in(key: str) -> list[int | None]:
    """The numbers of "5" or of "5.2", in any script; a None for each part that is no number."""
    return [number_in(part) for part in key.translate(AS_NUMBER).split(".")]


def _photo_number(key: str, files: Sequence[str]) -> int | None:
    """The number, from 1, of the photo that a left side means; None for none.

    It is read as a number, else as a file's name, else as a file's name without its ending, if only one file has it.
    """
    number = number_in(key)
    if number is not None and 1 <= number <= len(files):
        return number
    names = [folded(file) for file in files]
    folded_key = folded(key)
    if folded_key in names:
        return names.index(folded_key) + 1
    stems = [os.path.splitext(name)[0] for name in names]
    # anna.jpg and anna.png are two photos: anna alone names neither.
    if stems.count(folded_key) == 1:
        return stems.index(folded_key) + 1
    return None


def _useless(text: str, why: str, advice: str) -> BadCast:
    """The error for a correction that cannot be followed. text: the correction. why: the end of a sentence about it."""
    return BadCast(f"The correction {plain(text, 100)!r} {why}.", advice)
