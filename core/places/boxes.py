"""Boxes around people or faces: BOUNDING_BOX of detectors and of ComfyUI's editor, and lines of text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .. import inputs
from ..errors import LikenessError
from ..geometry import FAR
from ..people import Box
from ..previews import color_of
from ..text import COMMAS, NAME, plain

EXAMPLE = "Anna: 60, 80, 300, 500"
"""A line of text: name, x, y, width, height."""
WRITE = f"Write a line per person, a name, a colon, x, y, width and height in pixels: {EXAMPLE}"
_WIDEST = FAR / 10
"""Pixels, as for poses: what is built around a box stays below FAR."""
_COLONS = "[:\uff1a]"


class BadBoxes(LikenessError):
    """Boxes that no layout can be made of."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"The boxes cannot be used: {why}.", f"{advice}.")


@dataclass(frozen=True)
class Marked:
    """A box and what stands beside it. label: what a detector takes it for, in small letters, "" where none says."""

    box: Box
    name: str = ""
    label: str = ""


def read(given: object) -> tuple[Marked, ...]:
    """BOUNDING_BOX of one picture: {x, y, width, height} in pixels, a list of them, or a list of one such list.

    RT-DETR and MediaPipe add a `label`; the editor adds `metadata`, whose desc (else text) is the name.
    Raises BadBoxes for several pictures and for something else, BadInput for what is no number.
    """
    whole: Any = [given] if isinstance(given, Mapping) else given
    whole = _list(whole)
    pictures = [whole] if not whole or isinstance(whole[0], Mapping) else whole
    if len(pictures) > 1:
        raise BadBoxes(
            f"they are of {len(pictures)} pictures, a layout is made of one", "Give the detector one picture"
        )
    boxes = _list(pictures[0])
    if boxes is None or not all(isinstance(one, Mapping) for one in boxes):
        raise BadBoxes(
            f"they are {inputs.named(given)} without x, y, width and height",
            "Connect the bboxes of a detector, or a layout",
        )
    return tuple(_marked(number, one) for number, one in enumerate(boxes, 1))


def _list(given: object) -> Sequence[Any] | None:
    return cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else None


def _marked(number: int, one: Mapping[str, Any]) -> Marked:
    x, y, wide, high = (
        inputs.number(f"The {key} of box {number}", one.get(key), least, _WIDEST, whole=False)
        for key, least in (("x", -_WIDEST), ("y", -_WIDEST), ("width", 0), ("height", 0))
    )
    metadata = one.get("metadata")
    words = cast("Mapping[str, Any]", metadata if isinstance(metadata, Mapping) else {})
    name = _name(words.get("desc") or words.get("text") or "")
    return Marked((x, y, x + wide, y + high), name, plain(one.get("label"), NAME).lower())


def _name(text: object) -> str:
    """Up to the first comma or line break: names are listed with commas."""
    return plain(re.split(f"[{COMMAS}\n]", str(text).strip())[0], NAME)


def written(text: str) -> tuple[Marked, ...]:
    """Lines of "Anna: x, y, width, height" in pixels, the name optional.

    Raises BadBoxes for a line that is none, BadInput for a number out of reach.
    """
    lines = [(number, plain(line)) for number, line in enumerate(text.split("\n"), 1)]
    return tuple(_line(number, line) for number, line in lines if line)


def _line(number: int, line: str) -> Marked:
    *name, numbers = re.split(_COLONS, line)
    try:
        x, y, wide, high = map(float, filter(None, re.split(rf"[{COMMAS}\s]", numbers)))
    except ValueError:
        shown = line if len(line) < 60 else f"{line[:60]}..."
        raise BadBoxes(f"line {number} of the text is {shown!r}, without four numbers at its end", WRITE) from None
    metadata = {"desc": ":".join(name)}
    return _marked(number, {"x": x, "y": y, "width": wide, "height": high, "metadata": metadata})


def for_editor(boxes: Sequence[Marked]) -> list[dict[str, Any]]:
    """As ComfyUI's editor of boxes takes them, in whole pixels, each in the colour of its place."""
    return [
        {
            "x": round(x0), "y": round(y0), "width": round(x1 - x0), "height": round(y1 - y0),
            "metadata": {
                "type": "obj", "text": "", "desc": one.name, "palette": ["#{:02x}{:02x}{:02x}".format(*color_of(n))],
            },
        }
        for n, one in enumerate(boxes)
        for x0, y0, x1, y1 in [one.box]
    ]  # fmt: skip
