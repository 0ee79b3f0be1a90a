"""What people can be put into a picture by, on each family of models: rows of a table.

From the descriptions of the families and the records of the methods.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from environment import OLDEST

from core.families import FAMILIES
from core.methods import methods
from shared.pack import load_pack

HEAD = ("model", "photos", "a LoRA for each person", "words for each person", "second pass", "ControlNet", "ComfyUI")
"""The head of the table."""
OF_A_PERSON = {"embedding", "portrait", "photo", "keypoints", "body"}
"""What a method reads that puts a person from a photo into the picture, of core.methods.READS."""
APPLY_CONTROL_NET = "Apply ControlNet"
"""ComfyUI's node for a ControlNet of most families."""
YES = "●"


@dataclass(frozen=True)
class Abilities:
    """What one family can do.

    photos: titles of the methods that read photos of people. loras, words: whether LoRA per Person and Prompt per
    Person take it. second_pass: whether Crop Faces and Paste Faces can redraw faces by a method that reads photos.
    control_net: ComfyUI's node for a ControlNet beside these, "" without. host: the ComfyUI from which on.
    """

    family: str
    photos: tuple[str, ...]
    loras: bool
    words: bool
    second_pass: bool
    control_net: str
    host: str


def abilities() -> list[Abilities]:
    """Of every family that a method or a node is for, in the order of core.families."""
    described = {transformer.name: transformer for transformer in _transformers()}
    known: list[Abilities] = []
    for family in FAMILIES:
        photos = tuple(
            record.title for record in methods() if _reads_people_of(record.reads, record.families, family.name)
        )
        transformer = described.get(family.name)
        if transformer is not None:
            known.append(
                Abilities(
                    family.name,
                    photos,
                    loras=bool(transformer.streams),
                    words=True,
                    second_pass=bool(photos),
                    control_net=transformer.control_net,
                    host=transformer.least_host,
                )
            )
        elif photos and family.unet:
            known.append(
                Abilities(
                    family.name,
                    photos,
                    loras=True,
                    words=True,
                    second_pass=True,
                    control_net=APPLY_CONTROL_NET,
                    host=OLDEST,
                )
            )
    return known


def _transformers() -> tuple[Any, ...]:
    """The descriptions of all families of transformers. Needs the pack as a package, but no host."""
    if "pack" not in sys.modules:
        load_pack()
    from pack.bridge.networks.families import DESCRIBED

    return DESCRIBED


def _reads_people_of(reads: Iterable[str], families: Iterable[str], family: str) -> bool:
    return family in families and not OF_A_PERSON.isdisjoint(reads)


def cells(row: Abilities) -> tuple[str, ...]:
    """A row of the table."""
    return (
        row.family,
        ", ".join(row.photos),
        _mark(row.loras),
        _mark(row.words),
        _mark(row.second_pass),
        f"*{row.control_net}*" if row.control_net else "",
        row.host,
    )


def _mark(can: bool) -> str:
    return YES if can else ""
