"""The source --miniature: questions that the miniature answers with cartoons of drawn people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import environment
import torch
from pack.core import previews

from . import cartoon_tables, parts, worlds
from .cartoon_tables import Answer, Line, Pictures
from .methods import HALVES, METHODS, Method, Picture, World, drawn, meaning, of_photos
from .people import COUNTS, MOST, groups
from .rows import Pictured, Row, Shown


def answer(questions: Sequence[str], quick: bool, out: Path, into_pages: bool) -> None:
    """Answer questions. into_pages: whether the pages in docs/ get the figures."""
    torch.set_num_threads(1)  # its layers are so small that threads would mostly wait for each other
    with worlds.miniature(12) as world:
        for name in questions:
            environment.say(f"{name} ...")
            answered = QUESTIONS[name](world, quick, out)
            cartoon_tables.write(name, answered, out)
            if into_pages:
                cartoon_tables.into_docs(name, answered)
    environment.say(f"Done: the sheets, tables and pictures are in {out}")
    if into_pages:
        environment.say(f"The figures are in {cartoon_tables.PAGE}")


# --- The questions


def crowd(world: World, quick: bool, out: Path) -> Answer:
    """Every method, with 1 to 12 people; twelve of the miniature's on a larger canvas."""
    counts = COUNTS[:2] if quick else COUNTS
    columns: dict[str, list[Pictured]] = {}
    for count in counts:
        if count > len(world.people):
            continue
        drawn = groups(min(len(world.people), MOST), count)
        if quick:
            drawn = drawn[:1]
        columns[f"{count}"] = drawn
    return drawn_in(world, METHODS, columns, apart=True, pages=out / "crowd")


def halves(world: World, quick: bool, out: Path) -> Answer:
    """One person a picture, measured by all photos of them."""
    people = range(min(len(world.people), 2 if quick else 12))
    columns = {f"{person + 1}": [Pictured([person], 1, 1)] for person in people}
    answer = drawn_in(world, HALVES, columns, False, by_all_photos=True)
    lines = answer.lines
    pictures = answer.pictures
    for photos in (2, 4):
        method = {f"both, {photos} photos": METHODS["InstantID by region"]}
        columns = {f"{person + 1}": [Pictured([person], photos, 1)] for person in people}
        answer = drawn_in(world, method, columns, False, by_all_photos=True)
        lines = lines + answer.lines
        pictures = pictures | answer.pictures
    return Answer(lines, pictures)


def dressed(world: World, quick: bool, out: Path) -> Answer:
    lines: list[Line] = []
    pictures: Pictures = {}
    for name, worn in parts.compared(2 if quick else 40):
        lines.append({"": name, "pictures": len(worn.pixels), **worn.figures})
        for number, pixels in enumerate(worn.pixels, 1):
            pictures[name, f"{number}"] = pixels
    return Answer(lines, pictures)


def seeds(world: World, quick: bool, out: Path) -> Answer:
    """The same people by every method, from several seeds."""
    members = list(range(min(2 if quick else 3, len(world.people))))
    columns = {f"seed {seed}": [Pictured(members, 1, seed)] for seed in range(1, 3 if quick else 5)}
    return drawn_in(world, METHODS, columns, False)


def drawn_in(
    world: World, methods: Mapping[str, Method], columns: Mapping[str, Sequence[Pictured]],
    apart: bool, by_all_photos: bool = False, pages: Path | None = None,
) -> Answer:  # fmt: skip
    """apart: whether each column, of so many people, has a row of the table. by_all_photos: whether all photos judge.
    pages: the folder of all pictures, for rows with the columns of --people; None for an answer without."""
    lines: list[Line] = []
    sheet_pictures: Pictures = {}
    rows: list[Row] = []
    for name, method in methods.items():
        by_column = pictures_by(world, name, method, columns, by_all_photos)
        for column, pictures in by_column.items():
            sheet_pictures[name, column] = pictures[0].pixels
        by_line = by_column if apart else {"": together(by_column)}
        for column, pictures in by_line.items():
            line: Line = {"": name}
            if apart:
                line["people"] = int(column)
            line["pictures"] = len(pictures)
            line |= world.judge(pictures)
            if apart:
                line["cost"] = method.cost(int(column))
            lines.append(line)
        if pages:
            for column, pictures in by_column.items():
                files = shown_in(pages, name, column, columns[column], pictures)
                rows.append(Row(name, int(column), files, world.columns(pictures)))
    return Answer(lines, sheet_pictures, rows)


def together(by_column: Mapping[str, Sequence[Picture]]) -> list[Picture]:
    """The pictures of all columns."""
    pictures: list[Picture] = []
    for column_pictures in by_column.values():
        pictures += column_pictures
    return pictures


def pictures_by(
    world: World, name: str, method: Method, columns: Mapping[str, Sequence[Pictured]], by_all_photos: bool
) -> dict[str, list[Picture]]:
    """The pictures of each column by one method. by_all_photos: whether they are judged by all photos of everybody."""
    by_column: dict[str, list[Picture]] = {}
    for column, column_groups in columns.items():
        for members, photos, seed in column_groups:
            people = [world.people[member] for member in members]
            cast = world.cast([of_photos(person, photos) for person in people])
            picture = drawn(world, method, cast, seed)
            if by_all_photos:
                picture = meaning(picture, people)
            by_column.setdefault(column, []).append(picture)
        environment.say(f"  {name}, {column}")
    return by_column


def shown_in(
    folder: Path, name: str, column: str, column_groups: Sequence[Pictured], pictures: Sequence[Picture]
) -> list[Shown]:
    """Save all pictures of a column, and say for the page what each is of."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Shown] = []
    for number, (group, picture) in enumerate(zip(column_groups, pictures, strict=True), 1):
        path = folder / f"{name}, {column}, {number}.png"
        previews.as_picture(picture.pixels).save(path)
        names = ", ".join(person.identity.name for person in picture.cast.people)
        files.append(Shown(path, f"{name}, seed {group.seed}: {names}", column, group.seed))
    return files


QUESTIONS: Mapping[str, Callable[[World, bool, Path], Answer]] = {
    "crowd": crowd,
    "halves": halves,
    "parts": dressed,
    "seeds": seeds,
}
