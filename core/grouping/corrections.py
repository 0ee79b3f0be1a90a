"""What somebody wrote by hand to change who is on which photo: "5: Ben", "5.2: Ben", "anna_3.jpg: Ben", "7, 9: -".

The left side is a photo by its number or file, one of its faces, or all faces of a name; the right side is the name
that they get, or - to leave them out. Commas, semicolons or line breaks stand between corrections.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..checks.errors import BadCast, counted, listed
from ..checks.names import folded, grouped, of_person, spelled
from ..checks.text import COLON, MOST_NAME_LETTERS, items_in, number_in, pieces, plain, unquoted, with_plain_signs
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
    people = list(map(of_person, names))  # the form of each name in which people are compared
    photos = _Photos(faces, files)
    for correction in _parsed(text):
        person = of_person(correction.name)
        for key in correction.keys:
            named = of_person(key)
            of_name = [face for face, form in enumerate(people) if form == named and corrected[face] != LEFT_OUT]
            for face in of_name or photos.faces_meant(key, correction.name):
                corrected[face] = correction.name
                people[face] = person
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


class _Photos:
    """The faces and photos that left sides of corrections may mean. Their names are written alike once, for all
    corrections of a text."""

    def __init__(self, faces: Sequence[PhotoFace], files: Sequence[str]) -> None:
        """files: of all photos."""
        self._faces = faces
        self._by_number = grouped(range(len(faces)), lambda index: _numbers_in(faces[index].number))
        # Without a file the name would be ".2", which no key may mean.
        with_file = [index for index, face in enumerate(faces) if face.file]
        self._by_file = grouped(with_file, lambda index: spelled(f"{faces[index].file}.{faces[index].number_in_photo}"))
        self._files = [folded(file) for file in files]
        # anna.jpg and anna.png are two photos: anna alone names neither.
        self._stems = grouped(range(len(files)), lambda index: os.path.splitext(self._files[index])[0])

    def faces_meant(self, key: str, name: str) -> list[int]:
        """The indices of the faces that the left side of a correction means, where it is no name of a person.

        key: the left side. It is read as the number of a face, else as a photo. A photo of several faces can be given
        only to leave all of them out. name: the right side. Raises BadCast where the left side is none of these, and,
        unless the right side is LEFT_OUT, where it is a photo without a face or with several.
        """
        meant = {*self._by_number.get(_numbers_in(key), []), *self._by_file.get(spelled(key), [])}
        if meant:
            return sorted(meant)
        photo = self._photo_number(key)
        if photo is None:
            raise _useless(
                f"{key}: {name}",
                f"speaks of {plain(key, MOST_NAME_LETTERS)}, but of {counted(len(self._files), 'photo')} none has that "
                "number or name, and no person",
                f"Write a number from 1 to {len(self._files)}, the name of a file, or a person's name as the preview "
                "shows it.",
            )
        in_photo = [index for index, face in enumerate(self._faces) if face.photo_number == photo]
        if name == LEFT_OUT:
            return in_photo
        if not in_photo:
            why = f"speaks of photo {photo}, in which no face was found"
            raise _useless(f"{key}: {name}", why, "Take that line out.")
        if len(in_photo) > 1:
            written = listed([self._faces[index].number for index in in_photo])
            raise _useless(f"{key}: {name}", f"speaks of photo {photo} with {len(in_photo)} faces", f"Write {written}.")
        return in_photo

    def _photo_number(self, key: str) -> int | None:
        """The number, from 1, of the photo that a left side means; None for none.

        It is read as a number, else as a file's name, else as a file's name without its ending, if only one file has
        it.
        """
        number = number_in(key)
        if number is not None and 1 <= number <= len(self._files):
            return number
        folded_key = folded(key)
        if folded_key in self._files:
            return self._files.index(folded_key) + 1
        photos = self._stems.get(folded_key, [])
        return photos[0] + 1 if len(photos) == 1 else None


def _numbers_in(key: str) -> tuple[int | None, ...]:
    """The numbers of "5" or of "5.2", in any script; a None for each part that is no number."""
    return tuple(number_in(part) for part in with_plain_signs(key).split("."))


def _useless(text: str, why: str, advice: str) -> BadCast:
    """The error for a correction that cannot be followed. text: the correction. why: the end of a sentence about it."""
    return BadCast(f"The correction {plain(text, 100)!r} {why}.", advice)
