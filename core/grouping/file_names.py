"""The person that the file of a photo is named after, if it is named after one."""

import os
import re
import unicodedata

from ..text import MOST_NAME_LETTERS, plain

# What cameras and programs call their files, and words that say what is in them instead of who. In small letters.
_NO_NAMES = frozenset(
    (
        "img", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "dji", "image", "photo", "picture", "pic", "foto",
        "portrait", "face", "person", "people", "scan", "screenshot", "frame", "untitled", "unnamed", "download",
        "example", "comfyui", "mmexport", "received", "crop", "copy", "照片", "图片", "图像", "微信图片",
    )
)  # fmt: skip
_SEPARATORS = re.compile(r"[_\-+.,]+")
_NUMBER_BEHIND = re.compile(r"[\s\d()]+$")


def name_of(file: str) -> str:
    """The person a photo shows by the name of its file: anna_1.jpg -> Anna.

    "" where the name is a number, a single ASCII letter, has a digit in it, or is what cameras and programs write.
    """
    # A Mac writes an accent as a letter of its own, and title() takes the letter after it for the beginning of a word.
    stem = unicodedata.normalize("NFC", os.path.splitext(file)[0])
    # anna_smith_1 -> "anna smith 1" -> "anna smith"
    name = _NUMBER_BEHIND.sub("", plain(_SEPARATORS.sub(" ", stem)))
    words = name.casefold().split()
    is_a_letter = len(name) == 1 and name.isascii()
    if not words or is_a_letter or re.search(r"\d", name) or _NO_NAMES & set(words):
        return ""
    if name.islower():
        name = name.title()
    return plain(name, MOST_NAME_LETTERS)
