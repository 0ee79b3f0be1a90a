"""The source --miniature: questions that the toy model answers with cartoons of drawn people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfyui_version
import environment
import torch
from pack.core import previews
from PIL import Image
from torch import Tensor

from . import page, parts, worlds
from .cartoon_methods import CARTOON_METHODS, HALVES, Method, Picture, World, drawn, meaning, of_photos
from .colour_judging import CARTOON_COLUMNS, UNREAD, people_figures
from .columns import COLUMNS, Column, figures
from .curves import association_svg
from .people import COUNTS, MOST, groups
from .rows import Pictured, Row, Shown

PAGE = environment.ROOT / "docs" / "dev" / "miniature_methods.md"
CURVES = PAGE.with_name("likeness_association.svg")


def answer(questions: Sequence[str], quick: bool, out: Path, into_docs: bool) -> None:
    """Answer questions. into_docs: whether the pages in docs/ get the figures."""
    torch.set_num_threads(1)  # its layers are so small that threads would mostly wait for each other
    with worlds.miniature(12) as world:
        for name in questions:
            environment.say(f"{name} ...")
            write(name, QUESTIONS[name](world, quick, out / name), out, into_docs)
    environment.say(f"Done: the sheets, tables and pictures are in {out}")
    if into_docs:
        environment.say(f"The figures are in {PAGE}")


@dataclass(frozen=True)
class Cartoons:
    """All pictures of a row. people: in each, 0 where that is no question. judged: what is measured of them."""

    title: str
    people: int
    shown: list[Shown]
    judged: list[Any]

    def row(self, columns: Sequence[Column]) -> Row:
        return Row(self.title, self.people, self.shown, figures(self.judged, columns))


def write(name: str, answered: Sequence[Cartoons], out: Path, into_docs: bool) -> None:
    """Write the table of a question and its sheet; of a crowd the columns of --people too, with a page."""
    columns = parts.COLUMNS if name == "parts" else CARTOON_COLUMNS
    rows = [of_row.row(columns) for of_row in answered]
    page.write_table(name, rows, columns, out)
    page.write_sheet(name, rows, out)
    environment.say(f"{out / name}.jpg\n{page.as_markdown(rows, columns)}")
    if into_docs:
        into_page(name, page.as_markdown(rows, columns), page.sheet(page.first_pictures(rows)))
    if name == "crowd":
        by_people = [replace(row, figures=people_figures(one.judged)) for row, one in zip(rows, answered, strict=True)]
        about = {
            "drawn by": "a toy model: these figures say nothing of the released weights",
            "ComfyUI": comfyui_version.__version__,
            "torch": torch.__version__,
        }
        page.write_table(f"{name}_columns", by_people, COLUMNS, out)
        page.write("Methods beside each other", {name: by_people}, COLUMNS, about, UNREAD, out)
        environment.say(f"{out / 'index.html'}")
        if into_docs:
            CURVES.write_text(association_svg(by_people), "utf-8")


def into_page(name: str, text: str, sheet: Image.Image) -> None:
    """Put the table of a question between its marks in the page in docs/, with its sheet."""
    file = PAGE.with_name(f"likeness_{name}.jpg")
    sheet.save(file, quality=70)
    begin = f"<!-- {name}: written by scripts/compare.py -->\n"
    end = f"<!-- end of {name} -->"
    before, marked = PAGE.read_text("utf-8").split(begin)
    _, behind = marked.split(end)
    link = f"![{name.capitalize()}, drawn]({file.name})"
    PAGE.write_text(f"{before}{begin}\n{text}\n{link}\n\n{end}{behind}", "utf-8")


# --- The questions


def crowd(world: World, quick: bool, folder: Path) -> list[Cartoons]:
    """Every method, with 1 to 12 people; twelve of the toy model's on a larger canvas."""
    counts = COUNTS[:2] if quick else COUNTS
    columns: dict[str, list[Pictured]] = {}
    for count in counts:
        if count > len(world.people):
            continue
        asked = groups(min(len(world.people), MOST), count)
        columns[f"{count}"] = asked[:1] if quick else asked
    return drawn_in(world, CARTOON_METHODS, columns, folder, apart=True)


def halves(world: World, quick: bool, folder: Path) -> list[Cartoons]:
    """One person a picture, measured by all photos of them."""
    people = range(min(len(world.people), 2 if quick else 12))
    rows: list[Cartoons] = []
    for photos in (1, 2, 4):
        columns = {f"{person + 1}": [Pictured([person], photos, 1)] for person in people}
        several = {f"both, {photos} photos": CARTOON_METHODS["InstantID by region"]}
        rows += drawn_in(world, HALVES if photos == 1 else several, columns, folder, by_all_photos=True)
    return rows


def dressed(world: World, quick: bool, folder: Path) -> list[Cartoons]:
    """Parts2Whole and Share Parts Attention."""
    rows: list[Cartoons] = []
    for name, worn in parts.compared(2 if quick else 40):
        shown: list[Shown] = []
        for number, pixels in enumerate(worn.pixels, 1):
            path = saved(pixels, folder / f"{name}, {number}.png")
            shown.append(Shown(path, f"{name}, {number}", f"{number}"))
        rows.append(Cartoons(name, 0, shown, [worn.figures]))
    return rows


def seeds(world: World, quick: bool, folder: Path) -> list[Cartoons]:
    """The same people by every method, from several seeds."""
    members = list(range(min(2 if quick else 3, len(world.people))))
    columns = {f"seed {seed}": [Pictured(members, 1, seed)] for seed in range(1, 3 if quick else 5)}
    return drawn_in(world, CARTOON_METHODS, columns, folder)


def drawn_in(
    world: World, methods: Mapping[str, Method], columns: Mapping[str, Sequence[Pictured]], folder: Path,
    apart: bool = False, by_all_photos: bool = False,
) -> list[Cartoons]:  # fmt: skip
    """The pictures of columns by each method, in files of a folder. apart: whether each column, of so many people, has
    a row. by_all_photos: whether they are judged by all photos of everybody."""
    rows: list[Cartoons] = []
    for name, method in methods.items():
        by_people: dict[int, Cartoons] = {}
        for column, asked in columns.items():
            people = int(column) if apart else 0
            row = by_people.setdefault(people, Cartoons(name, people, [], []))
            for number, pictured in enumerate(asked, 1):
                picture = _drawn(world, method, pictured, by_all_photos)
                path = saved(picture.pixels, folder / f"{name}, {column}, {number}.png")
                names = ", ".join(person.identity.name for person in picture.cast.people)
                row.shown.append(Shown(path, f"{name}, seed {pictured.seed}: {names}", column, pictured.seed))
                row.judged.append(world.judge(picture))
            environment.say(f"  {name}, {column}")
        rows += by_people.values()
    return rows


def _drawn(world: World, method: Method, pictured: Pictured, by_all_photos: bool) -> Picture:
    people = [world.people[member] for member in pictured.people]
    picture = drawn(world, method, world.cast([of_photos(person, pictured.photos) for person in people]), pictured.seed)
    return meaning(picture, people) if by_all_photos else picture


def saved(pixels: Tensor, path: Path) -> Path:
    """Save a picture (H, W, 3); its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    previews.as_picture(pixels).save(path)
    return path


QUESTIONS: Mapping[str, Callable[[World, bool, Path], list[Cartoons]]] = {
    "crowd": crowd,
    "halves": halves,
    "parts": dressed,
    "seeds": seeds,
}
