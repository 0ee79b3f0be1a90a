"""Which face of a photo is meant, as people write it: one word for all photos, or one for each."""

import unicodedata
from collections.abc import Container
from dataclasses import dataclass

from ..checks.errors import BadChoice, BadPhoto, counted
from ..checks.text import items_in, number_in, plain, unquoted

ONLY, LARGEST = "only", "largest"
"""The only face of a photo (several are an error), and the largest one."""
OFFERED = (ONLY, LARGEST, "a number from 1", "a number for each photo: 3,1")


@dataclass(frozen=True)
class WhichFace:
    """The words of a text, of which each is ONLY, LARGEST or a number from 1 as a text, or "" where it says nothing.

    words: never empty. One word is for all photos; of several, the first is for the first photo, and so on.
    """

    words: tuple[str, ...]

    def word_for_photo(self, photo_number: int) -> str:
        """The word for the photo of this number, from 1; ONLY for photos of which the text says nothing."""
        if len(self.words) == 1:
            return self.words[0] or ONLY
        if photo_number > len(self.words):
            return ONLY
        return self.words[photo_number - 1] or ONLY

    def without_photo(self, photo_numbers: Container[int]) -> list[str]:
        """The words for photos that are not there: "face 2 of photo 3". photo_numbers: of the photos that are there."""
        if len(self.words) == 1:  # it is for all photos
            return []
        return [
            f"{f'face {word}' if word.isdecimal() else f'the {word} face'} of photo {number}"
            for number, word in enumerate(self.words, 1)
            if word and number not in photo_numbers
        ]

    def check_photos(self, photo_count: int) -> None:
        """Raise BadPhoto where words are for more photos than there are.

        For photos in a row alone: if one is missing, all words behind it are for the wrong photos. Where each photo
        has an input of its own, a note of `without_photo` is enough.
        """
        if self.without_photo(range(1, photo_count + 1)):
            text = ",".join(self.words)
            verb = "is" if photo_count == 1 else "are"
            raise BadPhoto(
                f"Which face (which_face) is {text!r}, which speaks of {len(self.words)} photos, and there {verb} "
                f"{counted(photo_count, 'photo')}.",
                "Write one number for each photo, in their order, with commas between them.",
            )


def which_face(text: str) -> WhichFace:
    """The words of the input which_face: one, or several with commas or spaces between them.

    Nothing between two commas, or a 0, says nothing. Digits and commas may be those of any script.

    Raises BadChoice for another word.
    """
    words: list[str] = []
    for item in items_in(text):
        for written in map(unquoted, item.split() or [""]):  # [""]: an empty item is a word that says nothing
            number = number_in(written)
            if number is not None:
                words.append(str(number or ""))  # "" for 0
                continue
            word = unicodedata.normalize("NFKC", written).lower()
            if word and word not in (ONLY, LARGEST):
                raise BadChoice("Which face (which_face)", plain(item, 60), OFFERED)
            words.append(word)
    return WhichFace(tuple(words))
