"""Which face of a photo is meant, as people write it: one word for all photos, or one for each."""

import unicodedata
from dataclasses import dataclass

from ..errors import BadChoice, BadPhoto, counted
from ..text import items_in, plain

ONLY, LARGEST = "only", "largest"
"""The only face of a photo (several are an error), and the largest one."""
OFFERED = (ONLY, LARGEST, "a number from 1", "a number for each photo: 3,1")


@dataclass(frozen=True)
class WhichFace:
    """The words of a text, of which each is ONLY, LARGEST or a number from 1 as a text.

    words: never empty. One word is for all photos; of several, the first is for the first photo, and so on.
    """

    words: tuple[str, ...]

    def word_for_photo(self, photo_number: int) -> str:
        """The word for the photo of this number, from 1; ONLY for photos after the last of several words."""
        if len(self.words) == 1:
            return self.words[0]
        if photo_number > len(self.words):
            return ONLY
        return self.words[photo_number - 1]

    def check_photos(self, photo_count: int) -> None:
        """Raise BadPhoto where there are more words than photos, unless it is one word, which is for all photos."""
        if len(self.words) > 1 and len(self.words) > photo_count:
            text = ",".join(self.words)
            verb = "is" if photo_count == 1 else "are"
            raise BadPhoto(
                f"which_face is {text!r}, which speaks of {len(self.words)} photos, and there {verb} "
                f"{counted(photo_count, 'photo')}.",
                "Write one number for each photo, in their order, with commas between them.",
            )


def which_face(text: str) -> WhichFace:
    """The words of the input which_face: one, or several with commas between them.

    Nothing between two commas, or a 0, is ONLY. Digits and commas may be those of any script.

    Raises BadChoice for another word.
    """
    words: list[str] = []
    for item in items_in(text):
        word = unicodedata.normalize("NFKC", item).lower()
        if word.isdecimal():
            number = int(word)
            word = str(number) if number else ONLY
        if word and not word.isdecimal() and word not in (ONLY, LARGEST):
            raise BadChoice("which_face (Which face)", plain(item, 60), OFFERED)
        words.append(word or ONLY)
    return WhichFace(tuple(words))
