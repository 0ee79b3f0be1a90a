"""Every picture of the repository has one row in the table of commands that make pictures again."""

from __future__ import annotations

import importlib
import io
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment import ROOT
from paintings import sources
from paintings.icons import table
from paintings.sources import SOURCES, Source
from PIL import Image

SCRIPT: Any = importlib.import_module("pictures")
"""By its name: for a type checker it is the folder pictures/."""
HELPED = "python scripts/pictures.py help"
TEMPLATES = sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))
ROUNDING = 0.1
"""Mean difference of pixels, of 255, that two builds of a JPEG library may have."""
EXCEPTED = [
    "The pack's logo.",
    "Painted once, over a picture of the painter's; what was painted over it was not kept.",
    "A window of ComfyUI's editor, photographed by hand.",
    "What the authors' own pipeline gave: it never changes.",
]
"""All reasons for a picture that no command makes."""


def tracked() -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files"]
    paths = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in paths if sources.is_picture(path)]


def test_each_picture_has_one_row() -> None:
    pictures = tracked()
    assert len(pictures) > 100
    rows = {path: len(sources.sources_of(path)) for path in pictures}
    assert {path: count for path, count in rows.items() if count != 1} == {}


@pytest.mark.parametrize("source", SOURCES, ids=[source.files[0] for source in SOURCES])
def test_each_row_has_pictures(source: Source) -> None:
    pictures = tracked()
    for pattern in source.files:
        assert any(fnmatchcase(path, pattern) for path in pictures), pattern


def test_what_no_command_makes_says_why() -> None:
    assert [source.reason for source in SOURCES if not source.command] == EXCEPTED


@pytest.mark.parametrize("source", [source for source in SOURCES if source.command], ids=lambda source: source.command)
def test_each_command_is_a_script(source: Source) -> None:
    python, script, *_ = source.command.split()
    assert python == "python"
    assert (ROOT / script).is_file()


def test_the_painter_makes_all_that_its_row_names() -> None:
    """And nothing else; the help pictures, previews and sheets in the same way."""
    from miniature.training.sheets import SHEETS
    from paintings import album, help_pages, previews

    painted = {f"pictures/likeness_{name}.png" for name in album.examples()}
    painted |= {f"pictures/people/{name}.jpg" for name in album.photos()}
    assert painted == of_command("python scripts/pictures.py people")
    assert {f"web/docs/img/{name}" for name in help_pages.PICTURES} == of_command(HELPED)
    assert {f"workflows/{name}.jpg" for name in table.ICONS} == of_command("python scripts/pictures.py icons")
    assert {f"web/docs/img/{name}" for name in previews.PREVIEWS} == of_command("python scripts/pictures.py previews")
    assert {f"docs/dev/{name}.jpg" for name in SHEETS} == of_command("python scripts/pictures.py sheets")


def of_command(command: str) -> set[str]:
    paths: set[str] = set()
    for path in tracked():
        (source,) = sources.sources_of(path)
        if source.command == command:
            paths.add(path)
    return paths


def test_a_painted_picture_is_the_same_file() -> None:
    """Hair, cloth, shadow and the mark by which the nodes know it again, to the last byte."""
    from paintings import album

    paints = album.examples()
    for name in ("trousers", "hat"):
        tracked_file = Path(ROOT / "pictures" / f"likeness_{name}.png")
        assert album.example_file(name, paints[name]()) == tracked_file.read_bytes(), name


def test_the_chart_shows_the_table() -> None:
    from paintings.speed_chart import curves

    costs = {curve.label: curve.costs for curve in curves(ROOT / "docs" / "dev" / "bench.md")}
    assert set(costs["ID-Patch"]) == {1, 2, 4, 8, 12}
    assert costs["InstantIDs chained"][12] > 4 * costs["ID-Patch"][1]


@pytest.mark.parametrize(
    "name",
    [
        "group_layout.png",
        "layout_from_masks.png",
        "layout_from_poses.png",
        "cast.jpg",
        "person_region.png",
        "body_surface.png",
        "body_surface_mask.png",
        "references_by_region.png",
    ],
)
def test_a_help_picture_is_what_its_command_draws(name: str) -> None:
    (picture,) = SCRIPT.help_pages(f"web/docs/img/{name}")
    assert not SCRIPT.compared(picture).startswith("looks different")
    wrong_picture = picture._replace(path="web/docs/img/place_cast.png")
    assert SCRIPT.compared(wrong_picture).startswith("looks different"), "another picture is no longer told from it"


def test_every_template_has_an_icon_and_every_icon_a_template() -> None:
    assert len(TEMPLATES) > 30
    assert sorted(table.ICONS) == TEMPLATES


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_icon_is_what_its_command_draws(name: str) -> None:
    """Up to the rounding of JPEG: a badge with another number would differ by more."""
    (picture,) = [picture for picture in SCRIPT.icons(name) if picture.path == f"workflows/{name}.jpg"]
    assert picture.data == table.icon_file(name), "drawn again, it is another file"
    assert difference(picture.data, (ROOT / picture.path).read_bytes()) < ROUNDING


def test_another_number_on_an_icon_is_seen() -> None:
    """The smallest change that would make an icon wrong is above what rounding may change."""
    from paintings.icons import pen, things

    numbered: list[bytes] = []
    for number in (1, 2):
        sheet = pen.Pen("#1d1e23")
        things.badge(sheet, pen.Spot(100, 100), number)
        file = io.BytesIO()
        sheet.finished().save(file, "JPEG", quality=table.QUALITY)
        numbered.append(file.getvalue())
    first, second = numbered
    assert difference(first, second) > ROUNDING


def difference(first: bytes, second: bytes) -> float:
    """The mean difference of the pixels of two pictures of a size, of 255."""
    pixels: list[np.ndarray] = []
    for data in (first, second):
        with Image.open(io.BytesIO(data)) as opened:
            pixels.append(np.asarray(opened.convert("RGB")).astype(int))
    return float(np.abs(pixels[0] - pixels[1]).mean())


def test_a_small_change_of_an_icon_is_seen_and_that_of_a_photo_is_not() -> None:
    """One number of a badge changes fewer pixels than an encoder of photos does."""
    path = "workflows/start_two_people.jpg"
    with Image.open(ROOT / path) as opened:
        pixels = np.asarray(opened.convert("RGB")).copy()
    pixels[100:140, 100:140] = 255 - pixels[100:140, 100:140]
    changed = SCRIPT.png(Image.fromarray(pixels))
    assert 0.1 < difference(changed, (ROOT / path).read_bytes()) < SCRIPT.VISIBLE
    assert SCRIPT.compared(SCRIPT.Picture(path, changed, SCRIPT.VISIBLE_IN_DRAWINGS)).startswith("looks different")
    assert SCRIPT.compared(SCRIPT.Picture(path, changed)).startswith("looks the same")
