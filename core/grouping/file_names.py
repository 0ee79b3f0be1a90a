"""The people that the folder and the file of a photo are named after, if they are named after any."""

import os
import re
import unicodedata

from ..checks.text import MOST_NAME_LETTERS, plain

# What cameras and programs call their files, and words that say what is in them instead of who. In small letters.
_NO_NAMES = frozenset(
    (
        "img", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "dji", "image", "images", "photo", "photos", "picture",
        "pictures", "pic", "foto", "portrait", "face", "faces", "person", "people", "scan", "screenshot", "frame",
        "untitled", "unnamed", "download", "group", "example", "comfyui", "mmexport", "received", "crop", "copy",
        "照片", "图片", "图像", "微信图片",
    )
)  # fmt: skip
_SEPARATORS = re.compile(r"[_\-+.,]+")
_NUMBER_BEHIND = re.compile(r"[\s\d()]+$")


def names_of(file: str) -> list[str]:
    """The people whom a photo may show: by its folder, then by its own name. anna/me_1.jpg -> Anna, Me; 1.jpg -> none.

    file: its name, with "/" behind that of its folder.
    """
    folder, _, own = file.rpartition("/")
    return [name for name in (_name_in(folder), _name_in(os.path.splitext(own)[0])) if name]


def name_of(file: str) -> str:
    """The first of `names_of`, "" for none."""
    return next(iter(names_of(file)), "")


def _name_in(stem: str) -> str:
    """The person that a file without its ending, or a folder, is named after: anna_1 -> Anna.

    "" where the name is a number, a single ASCII letter, has a digit in it, or is what cameras and programs write.
    """
    # A Mac writes an accent as a letter of its own, and title() takes the letter after it for the beginning of a word.
    stem = unicodedata.normalize("NFC", stem)
    # anna_smith_1 -> "anna smith 1" -> "anna smith"
    name = _NUMBER_BEHIND.sub("", plain(_SEPARATORS.sub(" ", stem)))
    words = name.casefold().split()
    is_a_letter = len(name) == 1 and name.isascii()
    if not words or is_a_letter or re.search(r"\d", name) or _NO_NAMES & set(words):
        return ""
    if name.islower():
        name = name.title()
    return plain(name, MOST_NAME_LETTERS)
