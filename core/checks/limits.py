"""How much of what files, requests, texts and links bring is taken: it is counted before the work on it begins.

Limits of what is drawn or opened, such as places and photos, stand where that is done. Standard library only: scripts
use this module where there is no torch yet.
"""

import json
from typing import Any

WORKFLOW_BYTES = 20_000_000
"""Of a workflow as text: one of 10,000 nodes has some 10 MB. To read more holds a server for seconds."""
WORKFLOW_BRACKETS = 1_000_000
"""In it: a node has some fifty."""
NODES = 10_000
"""Nodes of a workflow that are gone through, those of each box counted for each time that it stands there: a small file
of a stranger may hold boxes in boxes without number."""
MODEL_FILES = 500
"""Model files of a workflow that are looked for: each is a look into several folders."""
PERSON_LETTERS = 2**23
"""Of what the file of a person says of looks, and of LoRAs: 20 looks of 60 pictures with labels of 1,000 letters."""
PERSON_TENSORS = 5_000
"""In the file of a person: 20 looks of 80 pictures."""
LOOKS = 20
"""Of one person: each has whole pictures, of some megabytes."""
LORAS = 100
"""Of one person: each is a file of a hundred megabytes or more."""
ARRANGED_LETTERS = 200_000
"""Of places arranged by hand."""
SCENES = 100
"""In one run: each is a whole picture."""
TEXT_LETTERS = 10_000
"""Of one text for a text encoder: some thirty prompts of CLIP's 77 tokens, which take seconds. 200,000 words take a
minute, and then all memory."""
MASK_PIXELS = 2**26
"""Of one mask: to shift and smooth it takes ten times as much memory as it has itself."""
ENTRIES = 100_000
"""Of a file of tensors: in a pickle of a kilobyte a dictionary can hold another one many times, which holds a third
many times, and so on."""
DICTIONARIES = 50
"""In such a pickle, each in the next."""
TOO_DEEP = "its brackets go deeper than those of any such file"


def too_much(count: int, most: int, singular: str, plural: str = "") -> str:
    """The end of a sentence on what is more than may be taken, such as "it has 21 looks, and 20 is the most"; "" for
    what may. plural: where it is not the singular and an s."""
    if count <= most:
        return ""
    return f"it has {count:,} {plural or singular + 's'}, and {most:,} is the most"


class TooMuch(ValueError):
    """A text that is not read. Its own text is the end of a sentence."""


def json_in(text: str | bytes, most: int, most_brackets: int = 0) -> Any:
    """The value in a text of JSON. most: letters or bytes. most_brackets: where it is not 0, so many may begin.

    Raises TooMuch for more than that and for brackets that go too deep, and ValueError for what is no JSON.
    """
    why = too_much(len(text), most, "byte" if isinstance(text, bytes) else "letter")
    if most_brackets and not why:
        begun = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
        why = too_much(begun, most_brackets, "bracket")
    if why:
        raise TooMuch(why)
    try:
        return json.loads(text)
    except RecursionError:
        raise TooMuch(TOO_DEEP) from None
