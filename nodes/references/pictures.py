"""A cast as reference pictures of models that take several: their order and sizes, and a sentence per person.

Whoever has a place is described by it as a viewer sees it: "left: Anna, from Picture 1."
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import torch
from torch import Tensor

from ...core.errors import gathered, listed
from ...core.identities import portraits
from ...core.people import Cast, Person, Slot, places_of
from ...core.pictures import as_rgb
from ...core.places import control_images, layouts
from ...core.places.layouts import head_of
from ...core.places.regions import left_out

BEFORE, AFTER, NONE = SENTENCES = ("before the prompt", "after the prompt", "none")
"""Where the sentences go."""
LARGEST = 1024 * 1024
"""Pixels that no picture beside portraits and poses has more of: what the host's nodes bring pictures to."""
SEEN = 384 * 384
"""Pixels of what is shown to a text encoder that looks at pictures."""
_NAMELESS = "person"
"""Somebody who was given no name."""
_NEXT_ROW = 0.8
"""Heads that a face is above those of the row in front."""
_NTH = ("second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, eq=False)
class Reference:
    """What one or several pictures, one after the other, are given for. Immutable.

    pictures: each (1 or rows, H, W, 3) float32 0..1, with rows one for each of the batch. area: pixels that each of
    them is brought to. person: index of the person they show, or None: open to all. captions: per row who that is, and
    where. sentence: what stands before the pictures' numbers, and behind them; nothing is said where both are empty.
    """

    pictures: Sequence[Tensor]
    area: int
    person: int | None = None
    captions: tuple[str, ...] = ("",)
    sentence: tuple[str, str] = ("", "")


def references(cast: Cast, photos: int, size: int, pictures: Tensor | None, pose: bool, node: str) -> list[Reference]:
    """What a model is given, in this order: everybody's portraits, `pictures`, the poses.

    cast: those of weight above 0. photos: the most of each. size: side of a portrait, px. pictures: (B, H, W, 1|3|4)
    0..1. pose: whether their skeletons are drawn, in a picture as large as the canvas. node: its name.
    Raises BadCast; with `pose` NotPlaced and BadLayout.
    """
    found = (_by_row if cast.by_row else _of_people)(cast, photos, size, node)
    given = [] if pictures is None else list(as_rgb(pictures)[:, None])
    found += [Reference([one], min(LARGEST, one.shape[1] * one.shape[2])) for one in given]
    if pose:
        layout = layouts.require_skeletons(places_of(cast, None, node))
        drawn = control_images.skeletons(layout, by_row=cast.by_row)
        captions, sentence = ("poses",) * len(drawn), ("", " shows the poses.")
        found.append(Reference([drawn], layout.width * layout.height, None, captions, sentence))
    return found


def _of_people(cast: Cast, photos: int, size: int, node: str) -> list[Reference]:
    found: list[Reference] = []
    for number, (person, where) in enumerate(zip(cast.people, _places(cast.people), strict=True)):
        name = person.identity.name
        said = f"{where}: " * bool(where) + (name if name != _NAMELESS else f"a {name}")
        caption = ", ".join(filter(None, (name, where)))
        pictures = _portraits(person, photos, node)
        found.append(Reference(pictures, size * size, number, (caption,), (f"{said}, from ", ".")))
    return found


def _by_row(cast: Cast, photos: int, size: int, node: str) -> list[Reference]:
    """Everybody in the row that is theirs, with as many pictures as all of them have."""
    each = zip(*(_portraits(person, photos, node) for person in cast.people), strict=False)
    names = tuple(person.identity.name for person in cast.people)
    return [Reference([torch.cat(row) for row in each], size * size, None, names, ("the person from ", "."))]


def _portraits(person: Person, photos: int, node: str) -> list[Tensor]:
    return list(portraits(person.identity, node).loose[:photos, None].float() / 255)


def captioned(found: Sequence[Reference], word: str) -> list[tuple[Tensor, str]]:
    """Every row of every picture, (H, W, 3), with its number, who it shows and where. word: as the model calls it."""
    return [
        (row, f"{number}: {caption}" if caption else number)
        for one, own in _numbered(found, word)
        for picture, number in zip(one.pictures, own, strict=True)
        for row, caption in zip(picture, one.captions, strict=True)
    ]


def with_sentences(prompt: str, found: Sequence[Reference], word: str, where: str) -> str:
    """The prompt and a line for everybody, `where` as in SENTENCES."""
    lines: list[str] = []
    for one, own in _numbered(found, word):
        before, after = one.sentence
        numbers = " and ".join(filter(None, (listed(own[:-1], ""), own[-1])))
        said = f"{before}{numbers}{after}"
        lines += [said if before else said[0].upper() + said[1:]] if before or after else []
    order = {BEFORE: [*lines, prompt], AFTER: [prompt, *lines], NONE: [prompt]}
    return "\n".join(filter(None, order[where]))


def _numbered(found: Sequence[Reference], word: str) -> list[tuple[Reference, list[str]]]:
    """With what each of its pictures is called."""
    numbers = count(1)
    return [(one, [f"{word} {next(numbers)}" for _ in one.pictures]) for one in found]


def resized(width: int, height: int, area: int, step: int) -> tuple[int, int]:
    """The size in steps of so many pixels that a picture of `width` x `height` has when it is brought to this area."""
    scale = math.sqrt(area / (width * height))
    return max(step, round(width * scale / step) * step), max(step, round(height * scale / step) * step)


def _places(people: Sequence[Person]) -> list[str]:
    """In words, "" for those without a place, and for somebody alone."""
    standing = [(n, person.slot) for n, person in enumerate(people) if person.slot]
    words = [""] * len(people)
    rows = _rows([slot for _, slot in standing])
    for row, behind in zip(rows, _along(len(rows), ("back", "front"), "middle", " row"), strict=True):
        across = sorted(row, key=lambda n: standing[n][1].center)
        for n, beside in zip(across, _along(len(row), ("left", "right"), "center"), strict=True):
            words[standing[n][0]] = ", ".join(filter(None, (behind, beside)))
    return words


def _rows(slots: Sequence[Slot]) -> list[list[int]]:
    """Numbers of places, from the back row to the front; one row where nobody stands behind or in front of others."""
    rows: list[list[int]] = []
    for n in sorted(range(len(slots)), key=lambda n: slots[n].center[1]):
        above = rows[-1][-1] if rows else n
        step = slots[n].center[1] - slots[above].center[1]
        if not rows or step > _NEXT_ROW * max(head_of(slots[n]), head_of(slots[above]), 1.0):
            rows.append([])
        rows[-1].append(n)
    ends = [[slots[n].center[0] + side * head_of(slots[n]) for n in row for side in (-0.5, 0.5)] for row in rows]
    behind = any(min(a) < max(b) and min(b) < max(a) for a, b in pairwise(ends))
    return rows if behind else [list(range(len(slots)))] if slots else []


def _along(many: int, ends: tuple[str, str], middle: str, what: str = "") -> list[str]:
    """What each of so many is called, from one end to the other; one alone needs no words."""

    def called(n: int) -> str:
        near, end = min((n + 1, ends[0]), (many - n, ends[1]), key=lambda far: far[0])
        if near == 1:
            return f"{end}{what}"
        nth = _NTH[near - 2] if near < len(_NTH) + 2 else f"number {near}"
        return f"{middle}{what}" if 2 * n == many - 1 else f"{nth}{what} from the {end}"

    return [called(n) for n in range(many)] if many > 1 else [""] * many


def remarks(cast: Cast) -> list[str]:
    """What works, but may not be meant. cast: everybody."""
    quiet = [person.identity.name for person in cast.people if person.weight not in (0, 1)]
    return [*left_out(cast), *gathered("Weights other than 0 change nothing here", quiet)]
