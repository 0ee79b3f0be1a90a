"""Methods beside each other, drawn and measured: a sheet and a table for every question.

    python scripts/compare.py --people my_people --prompt "photo of people in a park"
    python scripts/compare.py --miniature --quick seeds

--people draws people from photos, one of each or a folder of each, by every method whose files are in the ComfyUI that
is found; for any other the table says which file is missing. Questions: crowd (1 to 12 people), seeds (the same people
by every method and seed), ablations (methods without one of their parts, and with several photos). OUT has index.html,
a page to look at, report.json, and for each question a .md, a .csv, a sheet (.jpg) and a folder with the pictures. Each
picture holds its workflow.

--miniature draws cartoons of drawn people. Questions: crowd, halves (InstantID's, and several photos), parts
(Parts2Whole and Share Parts Attention), seeds. --write puts the figures into docs/likeness.md.
"""

from __future__ import annotations

import argparse
import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import environment
from rig.pack import entered

if TYPE_CHECKING:
    from comparison.methods import Method, World
    from comparison.rows import Pictured, Row
    from comparison.session import Asked, Session
    from torch import Tensor

PAGE = environment.ROOT / "docs" / "likeness.md"
PROMPT = "photo of people side by side on a summer terrace, half-length, smiling at the camera, soft daylight"
Line = dict[str, Any]
"""A row of a table: setting, column, and figures."""
Pictures = dict[tuple[str, str], "Tensor"]
"""By row and column of the sheet, (H, W, 3)."""
Answer = tuple[list[Line], Pictures]
COUNTS = (1, 2, 4, 6, 8, 12)
"""People in a picture of *crowd*."""
FEWEST, MOST = 3, 12
"""Pictures of a row of *crowd*, and people of it."""


class Group(NamedTuple):
    """Who stands in a picture."""

    people: list[int]
    """Their numbers among the people of the world, from 0, in the order of the places."""
    photos: int
    """By how many photos of each they are known."""
    seed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--people", type=Path, help="a folder of photos: one of each person, or a folder of each")
    who.add_argument("--miniature", action="store_true", help="cartoons of drawn people, by the miniature")
    parser.add_argument("--prompt", default=PROMPT, help="with --people")
    parser.add_argument(
        "--size", type=int, nargs=2, help="with --people: width and height; without it those of each method's template"
    )
    parser.add_argument("--steps", type=int, help="with --people: without it those of the templates")
    parser.add_argument("--quick", action="store_true", help="few pictures: whether it runs")
    out = environment.ROOT / "output" / "compare"
    parser.add_argument("--out", type=Path, default=out, help="the folder of the results; default: output/compare")
    parser.add_argument("--write", action="store_true", help="with --miniature: put figures into docs/likeness.md")
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("question", nargs="*", help="one or more of the questions above; all where none is named")
    given = parser.parse_args()
    if given.write and not given.miniature:
        parser.error("--write needs --miniature: the page has its figures alone.")
    if given.people and not given.people.is_dir():
        parser.error(f"{given.people} is no folder.")
    known = MINIATURE if given.miniature else PEOPLE
    unknown = {*given.question} - {*known}
    if unknown:
        parser.error(f"No such question: {', '.join(sorted(unknown))}. There are {', '.join(known)}.")
    questions = given.question or list(known)
    entered("compare.py", given.python)
    if given.miniature:
        by_miniature(questions, given.quick, given.out, given.write)
    else:
        by_people(given, questions)
    return 0


def by_miniature(questions: Sequence[str], quick: bool, out: Path, into: bool) -> None:
    """Answer questions with the miniature. into: whether docs/likeness.md gets the figures. Raises SetupError."""
    import torch
    from comparison import worlds

    torch.set_num_threads(1)  # its layers are so small that threads would mostly wait for each other
    try:
        with worlds.miniature(12) as world:
            for name in questions:
                environment.say(f"{name} ...")
                lines, pictures = MINIATURE[name](world, quick)
                write(name, lines, pictures, out)
                if into:
                    into_page(name, table(lines), sheet(pictures))
    except worlds.REFUSED as problem:
        raise environment.SetupError(str(problem)) from problem
    environment.say(f"Done: the sheets, tables and pictures are in {out}")
    if into:
        environment.say(f"The figures are in {PAGE}")


def by_people(given: argparse.Namespace, questions: Sequence[str]) -> None:
    """Answer questions with photos and the user's own files. given: the command line. Raises SetupError."""
    from comparison import photos, worlds
    from comparison.session import Asked, Session

    asked = Asked(
        folder=given.people.resolve(),
        out=given.out.resolve(),
        prompt=given.prompt,
        size=tuple(given.size) if given.size else None,
        steps=given.steps,
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    try:
        session = Session(asked, photos.people_in(asked.folder))
        answers: dict[str, list[Row]] = {}
        for name in questions:
            environment.say(f"{name} ...")
            answers[name] = PEOPLE[name](session, given.quick)
            write_people(answers, session, asked)
    except worlds.REFUSED as problem:
        raise environment.SetupError(str(problem)) from problem
    environment.say(f"Done: look at {asked.out / 'index.html'}")


# --- The questions


def crowd(world: World, quick: bool) -> Answer:
    """Every method, with 1 to 12 people; 8 and 12 of the miniature's on a larger canvas."""
    from comparison.methods import METHODS

    counts = COUNTS[:2] if quick else COUNTS
    columns: dict[str, list[Group]] = {}
    for count in counts:
        if count > len(world.people):
            continue
        drawn = groups(min(len(world.people), MOST), count)
        if quick:
            drawn = drawn[:1]
        columns[f"{count}"] = drawn
    return drawn_in(world, METHODS, columns, apart=True)


def groups(people: int, count: int) -> list[Group]:
    """Groups of `count` in which all of so many people stand equally often, so that figures of different counts are of
    the same people; FEWEST pictures or more. In each round everybody moves on by one, beside others."""
    rounds = math.lcm(people, count) // count  # pictures until everybody has been in equally many
    found: list[Group] = []
    while len(found) < FEWEST:
        moved = len(found) // rounds
        for number in range(rounds):
            who = [(number * count + place + moved) % people for place in range(count)]
            found.append(Group(who, 1, len(found) + 1))
    return found


def halves(world: World, quick: bool) -> Answer:
    """One person a picture, measured by all photos of them."""
    from comparison.methods import HALVES, METHODS

    people = range(min(len(world.people), 2 if quick else 12))
    columns = {f"{who + 1}": [Group([who], 1, 1)] for who in people}
    told, shown = drawn_in(world, HALVES, columns, False, whole=True)
    for photos in (2, 4):
        method = {f"both, {photos} photos": METHODS["InstantID by region"]}
        columns = {f"{who + 1}": [Group([who], photos, 1)] for who in people}
        more, drawn = drawn_in(world, method, columns, False, whole=True)
        told, shown = told + more, shown | drawn
    return told, shown


def parts(_: World, quick: bool) -> Answer:
    from comparison import parts

    told, shown = list[Line](), Pictures()
    for name, dressed in parts.compared(2 if quick else 40):
        told.append({"": name, "pictures": len(dressed.pixels), **dressed.figures})
        shown |= {(name, f"{column + 1}"): one for column, one in enumerate(dressed.pixels)}
    return told, shown


def seeds(world: World, quick: bool) -> Answer:
    """The same people by every method, from several seeds."""
    from comparison.methods import METHODS

    who = list(range(min(2 if quick else 3, len(world.people))))
    columns = {f"seed {seed}": [Group(who, 1, seed)] for seed in range(1, 3 if quick else 5)}
    return drawn_in(world, METHODS, columns, False)


def drawn_in(
    world: World, methods: Mapping[str, Method], columns: Mapping[str, Sequence[Group]],
    apart: bool, whole: bool = False,
) -> Answer:  # fmt: skip
    """apart: whether each column, of so many people, has a row of the table. whole: whether all photos judge."""
    from comparison.methods import drawn, meaning, of_photos

    told, shown = list[Line](), Pictures()
    for name, method in methods.items():
        found: dict[str, list[Any]] = {}
        for column, groups in columns.items():
            for who, photos, seed in groups:
                people = [world.people[one] for one in who]
                picture = drawn(world, method, world.cast([of_photos(one, photos) for one in people]), seed)
                found.setdefault(column, []).append(meaning(picture, people) if whole else picture)
            shown[name, column] = found[column][0].pixels
            environment.say(f"  {name}, {column}")
        together = found if apart else {"": [one for each in found.values() for one in each]}
        for column, pictures in together.items():
            line = {"": name, **({"people": int(column)} if apart else {}), "pictures": len(pictures)}
            counted = {"cost": method.cost(int(column))} if apart else {}
            told.append({**line, **world.judge(pictures), **counted})
    return told, shown


# --- The questions, with photos


def crowd_of_people(session: Session, quick: bool) -> list[Row]:
    """Every method, with 1 to 12 people; all of them stand equally often in pictures of each number."""
    from comparison.records import METHODS
    from comparison.rows import Pictured

    everybody = min(len(session.people), MOST)
    counts = counts_up_to(everybody)
    if quick:
        counts = counts[:2]
    columns: dict[str, list[Pictured]] = {}
    for count in counts:
        drawn = groups(everybody, count)
        if quick:
            drawn = drawn[:1]
        columns[f"{count}"] = [Pictured(group.people, group.photos, group.seed) for group in drawn]
    rows: list[Row] = []
    for method in METHODS:
        rows += session.rows("crowd", method, columns)
    return rows


def counts_up_to(everybody: int) -> list[int]:
    """How many people stand in pictures of a folder of so many people: those of COUNTS, and everybody."""
    counts = [count for count in COUNTS if count < everybody]
    counts.append(everybody)
    return counts


def seeds_of_people(session: Session, quick: bool) -> list[Row]:
    """The same people by every method, from several seeds."""
    from comparison.records import METHODS

    rows: list[Row] = []
    for method in METHODS:
        rows += session.rows("seeds", method, _by_seed(session, quick))
    return rows


def ablations_of_people(session: Session, quick: bool) -> list[Row]:
    """Methods without one of their parts and with several photos, each behind the whole method."""
    from comparison.records import METHODS

    rows: list[Row] = []
    for method in METHODS:
        if not method.ablations:
            continue
        rows += session.rows("ablations", method, _by_seed(session, quick))
        for name, ablation in method.ablations.items():
            columns = _by_seed(session, quick, ablation.photos)
            rows += session.rows("ablations", method, columns, name)
    return rows


def _by_seed(session: Session, quick: bool, photos: int = 1) -> dict[str, list[Pictured]]:
    """The first people of the folder, three or fewer, from several seeds. photos: by how many each is known."""
    from comparison.rows import Pictured

    people = list(range(min(2 if quick else 3, len(session.people))))
    last_seed = 1 if quick else 4
    return {f"seed {seed}": [Pictured(people, photos, seed)] for seed in range(1, last_seed + 1)}


MINIATURE: Mapping[str, Callable[[World, bool], Answer]] = {
    "crowd": crowd,
    "halves": halves,
    "parts": parts,
    "seeds": seeds,
}
"""The questions of --miniature."""
PEOPLE: Mapping[str, Callable[[Session, bool], list[Row]]] = {
    "crowd": crowd_of_people,
    "seeds": seeds_of_people,
    "ablations": ablations_of_people,
}
"""The questions of --people."""


# --- What is written


def write(name: str, lines: Sequence[Line], pictures: Pictures, out: Path) -> None:
    import evaluate

    from core import previews

    (out / name).mkdir(parents=True, exist_ok=True)
    for names, pixels in pictures.items():
        previews.as_picture(pixels).save(out / name / f"{', '.join(names)}.png")
    (out / f"{name}.md").write_text(table(lines), "utf-8")
    columns = list(dict.fromkeys(column for line in lines for column in line))
    told = [[line.get(column, "") for column in columns] for line in lines]
    (out / f"{name}.csv").write_bytes(evaluate.as_csv([columns, *told]))
    sheet(pictures).save(out / f"{name}.jpg", quality=80)
    environment.say(f"{out / name}.jpg\n{table(lines)}")


def write_people(answers: Mapping[str, Sequence[Row]], session: Session, asked: Asked) -> None:
    """Write the tables of the questions that are answered, their sheets, and the page and the report of all."""
    from comparison import page

    about = session.about()
    for name, rows in answers.items():
        (asked.out / f"{name}.md").write_text(page.as_markdown(rows), "utf-8")
        (asked.out / f"{name}.csv").write_bytes(page.as_csv(rows))
        pictures = page.first_pictures(rows)
        if pictures:
            sheet(pictures).save(asked.out / f"{name}.jpg", quality=80)
    (asked.out / "report.json").write_text(page.report(answers, about, session.unread), "utf-8")
    (asked.out / "index.html").write_text(page.as_html(answers, about, session.unread, asked.out), "utf-8")


def table(lines: Sequence[Line]) -> str:
    """Without columns of which nothing is known."""
    every = dict.fromkeys(column for line in lines for column in line)
    columns = [column for column in every if any(_cell(line.get(column)) != "-" for line in lines)]
    rows = [columns, ["---"] * len(columns), *([_cell(line.get(name)) for name in columns] for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value + 0.0:.2f}" if isinstance(value, float) else str(value)


def sheet(pictures: Pictures, side: int = 220) -> Any:
    """Rows of methods and the first six columns, with their names, to be read on a page 850 px wide."""
    from PIL import Image, ImageDraw

    from core import previews

    rows, columns = (list(dict.fromkeys(names)) for names in zip(*pictures, strict=True))
    columns = columns[:6]
    side = min(side, *(one.shape[1] for one in pictures.values()))
    high = max(math.ceil(side * len(one) / one.shape[1]) for one in pictures.values())
    letters = max(14, side // 9)
    made = Image.new("RGB", (side * (len(columns) + 1), high * len(rows) + 2 * letters), "white")
    draw = ImageDraw.Draw(made)
    for number, column in enumerate(columns, 1):
        draw.text((side * number + 6, letters // 2), column, "black", font_size=letters)
    for row, name in enumerate(rows):
        draw.text((6, high * row + 2 * letters), textwrap.fill(name, 16), "black", font_size=letters)
        for number, column in enumerate(columns, 1):
            if (name, column) not in pictures:  # a method that draws no such picture has a gap
                continue
            small = previews.as_picture(pictures[name, column])
            small.thumbnail((side - 4, high - 4))
            made.paste(small, (side * number, high * row + 2 * letters))
    return made


def into_page(name: str, text: str, shown: Any) -> None:
    """Between the page's marks of this question, with its sheet."""
    marks = f"<!-- {name}: written by scripts/compare.py -->\n", f"<!-- end of {name} -->"
    shown.save(PAGE.with_name(f"likeness_{name}.jpg"), quality=70)
    before, rest = PAGE.read_text("utf-8").split(marks[0])
    picture = f"![{name.capitalize()}, drawn](likeness_{name}.jpg)"
    PAGE.write_text(f"{before}{marks[0]}\n{text}\n{picture}\n\n{marks[1]}{rest.split(marks[1])[1]}", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
