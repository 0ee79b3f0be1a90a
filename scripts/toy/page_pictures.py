"""Pictures of docs/troubleshooting.md, drawn by the toy model: what looks wrong, and the same without the fault.

python -m toy.page_pictures ../docs/img
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from batch.folders import Folder
from batch.page import NAME, Again, Failure, as_html
from PIL import Image
from playwright.sync_api import sync_playwright
from shared import photos
from shared.whole import written
from torch import Tensor

from core.cast import Cast, Layout, Member, Slot
from core.models.packs import IR_SE50
from core.pictures.previews import as_picture
from core.places import control_images, group, placing

from . import alone, net, places, stored, story
from .net import Settings, ToyModel

SIDES = (320, 240)
WINDOW = (1200, 900)
STORY_WIDTH = 1280
PLACES = ("First", "Second", "Third")
TWO, THREE = ("anna", "ben"), ("anna", "ben", "carla")
Order = Sequence[int]


class Studio:
    """Draws people of pictures/ by the small networks."""

    def __init__(self) -> None:
        self._model: ToyModel = stored.load()
        faces = alone.face_model()
        self._people: dict[str, Member] = {}
        for name, photo in zip(THREE, photos.drawn(*THREE), strict=True):
            self._people[name] = Member(alone.a_person(faces, name, photos.pixels(photo)))

    @torch.inference_mode()
    def picture(
        self, names: Sequence[str], layout: Layout, order: Order = (), settings: Settings | None = None
    ) -> Tensor:
        """(H, W, 3), 0..1. order: the index of the person in each place, from left to right without one."""
        cast = Cast(tuple(self._people[name] for name in names))
        left_to_right = placing.assign(cast, layout, "left to right", "")
        placed = placing.place(cast, layout, tuple(order) or left_to_right)
        embeddings = torch.cat([member.person.embeddings[IR_SE50] for member in placed.people])
        (skeleton,) = control_images.skeletons(layout, by_row=False)
        hint = net.hint(skeleton, self._model.patches(embeddings), [slot.center for slot in placed.slots])
        tokens = self._model.tokens(embeddings)
        latents = net.sample(self._model, hint, [tokens], settings or Settings())
        return self._model.decoder(latents)[0].movedim(0, -1).clamp(0, 1)

    def told(self) -> Image.Image:
        """Four scenes in a row."""
        pictures = alone.told(self._model, Cast(tuple(self._people[name] for name in TWO)))
        return story.sheet(pictures, story.SCENES, columns=len(pictures))


def faults(studio: Studio) -> Mapping[str, Tensor]:
    """By the names of their files. The first is right, the last what `small` should be."""
    beside = group.layout(2, "bust", 0, *places.LARGE)
    first, second = beside.slots
    gap = second.center[0] - first.center[0]
    over = replace(beside, slots=(_moved(first, 0.42 * gap), _moved(second, -0.42 * gap)))
    return {
        "right": studio.picture(TWO, beside),
        "swapped": studio.picture(TWO, beside, order=(1, 0)),
        "mixed": studio.picture(TWO, over),
        "weak": studio.picture(TWO, beside, settings=Settings(strength=0.15)),
        "burnt": studio.picture(TWO, beside, settings=Settings(steps=4, cfg=6.0, id_start=0.0)),
        "small": studio.picture(THREE, group.layout(3, "full", 0, *places.LARGE)),
        "large": studio.picture(THREE, group.layout(3, "bust", 0, *places.THREE)),
    }


def _moved(slot: Slot, across: float) -> Slot:
    """A place so many pixels further to the right."""
    assert slot.pose and slot.box
    left, top, right, below = slot.box
    pose = tuple((x + across, y, seen) for x, y, seen in slot.pose)
    return Slot((slot.center[0] + across, slot.center[1]), box=(left + across, top, right + across, below), pose=pose)


ROWS = {
    "bench": ("right", "two people on a bench in a park"),
    "beach": ("large", "three people on a beach, at dawn"),
    "hall": ("swapped", "two people in a large hall"),
}
"""Of the page: the picture of each row, and its prompt."""


def write_page(folder: Path, pictures: Mapping[str, Tensor]) -> Path:
    """The page of a run of which one row failed, with its pictures beside it."""
    entries: list[dict[str, Any]] = []
    for line, (name, (drawn, prompt)) in enumerate(ROWS.items(), 1):
        as_picture(pictures[drawn]).save(folder / f"{name}.png")
        people = THREE if drawn == "large" else TWO
        for person in people:
            shutil.copy(photos.drawn(person)[0], folder / f"{person}.png")
        columns = [f"{place} person" for place in PLACES[: len(people)]]
        beside = [[f"{column}: {person}.png", f"{person}.png"] for column, person in zip(columns, people, strict=True)]
        cells = {column: f"people/{person}.png" for column, person in zip(columns, people, strict=True)}
        cells |= {"Prompt": prompt, "Seed": str(line)}
        entries.append(
            {"line": line, "name": name, "files": [f"{name}.png"], "beside": beside, "cells": cells, "tries": 1}
        )
    failed = Failure(len(ROWS) + 1, "museum", "First person is people/davd.png, which is not there.")
    again = Again("python scripts/batch.py jobs.csv --workflow start_two_people", has_seeds=True)
    file = folder / NAME
    file.write_bytes(as_html(Folder(str(folder)), entries, [failed], again))
    return file


def shot(page: Path) -> Image.Image:
    """What a browser shows of a page at first."""
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        seen = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
        seen.goto(page.as_uri(), wait_until="networkidle")
        return Image.open(BytesIO(seen.screenshot()))


def main(folder: Path) -> None:
    studio = Studio()
    scenes = studio.told()
    sides = (STORY_WIDTH, scenes.height * STORY_WIDTH // scenes.width)
    _save(scenes.resize(sides, Image.Resampling.LANCZOS), folder / "story.webp")
    pictures = faults(studio)
    for name, pixels in pictures.items():
        _save(as_picture(pixels).resize(SIDES, Image.Resampling.LANCZOS), folder / f"{name}.webp")
    with TemporaryDirectory() as around:
        jobs = Path(around, "jobs")
        jobs.mkdir()
        _save(shot(write_page(jobs, pictures)), folder / "many_pictures.webp")


def _save(picture: Image.Image, file: Path) -> None:
    written(file, partial(picture.save, format="WEBP", quality=80, method=6))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
