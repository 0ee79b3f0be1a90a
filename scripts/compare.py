"""Methods beside each other, drawn and measured: a sheet and a table for every question.

    python scripts/compare.py --people my_people --prompt "photo of people in a park"
    python scripts/compare.py --miniature --quick seeds

--people draws people from photos, one of each or a folder of each, by every method whose files are in the ComfyUI that
is found; for any other the table says which file is missing. Questions: crowd (1 to 12 people), seeds (the same people
by every method and seed), ablations (methods without one of their parts, and with several photos). OUT has index.html,
a page to look at, report.json, and for each question a .md, a .csv, a sheet (.jpg) and a folder with the pictures. Each
picture holds its workflow.

--miniature draws cartoons of drawn people. Questions: crowd, halves (InstantID's, and several photos), parts
(Parts2Whole and Share Parts Attention), seeds. index.html has the pictures of crowd, and the columns of --people read
from colours. --write puts the figures into docs/likeness.md and docs/dev/miniature.md.
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
    from comparison.methods import Method, Picture, World
    from comparison.rows import Pictured, Row, Shown
    from comparison.session import Asked, Session
    from torch import Tensor

PAGE = environment.ROOT / "docs" / "likeness.md"
MINIATURE_PAGE = environment.ROOT / "docs" / "dev" / "miniature.md"
CURVES = environment.ROOT / "docs" / "dev" / "miniature_association.svg"
PROMPT = "photo of people side by side on a summer terrace, half-length, smiling at the camera, soft daylight"
Line = dict[str, Any]
"""A row of a table: setting, column, and figures."""
Pictures = dict[tuple[str, str], "Tensor"]
"""By row and column of the sheet, (H, W, 3)."""
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


class Answer(NamedTuple):
    """What the miniature answers to a question."""

    lines: list[Line]
    pictures: Pictures
    rows: Sequence[Row] = ()
    """The same with the columns of --people, and all pictures in files; empty where the question has none."""


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
    parser.add_argument("--write", action="store_true", help="with --miniature: put figures into docs/")
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("question", nargs="*", help="one or more of the questions above; all where none is named")
    given = parser.parse_args()
    if given.write and not given.miniature:
        parser.error("--write needs --miniature: the pages have its figures alone.")
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
    """Answer questions with the miniature. into: whether the pages in docs/ get the figures. Raises SetupError."""
    import torch
    from comparison import worlds

    torch.set_num_threads(1)  # its layers are so small that threads would mostly wait for each other
    try:
        with worlds.miniature(12) as world:
            for name in questions:
                environment.say(f"{name} ...")
                answer = MINIATURE[name](world, quick, out)
                write(name, answer, out)
                if into:
                    into_page(name, table(answer.lines), sheet(answer.pictures))
                if into and answer.rows:
                    columns_into_page(answer.rows)
    except worlds.REFUSED as problem:
        raise environment.SetupError(str(problem)) from problem
    environment.say(f"Done: the sheets, tables and pictures are in {out}")
    if into:
        environment.say(f"The figures are in {PAGE} and {MINIATURE_PAGE}")


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
        answer_people(questions, session, given.quick)
    except worlds.REFUSED as problem:
        raise environment.SetupError(str(problem)) from problem
    environment.say(f"{session.counts()} Done: look at {asked.out / 'index.html'}")


def answer_people(questions: Sequence[str], session: Session, quick: bool) -> None:
    """Answer questions one after the other, and write all that is answered after each.

    Raises KeyboardInterrupt where the run is stopped, after it has said how it goes on.
    """
    answers: dict[str, list[Row]] = {}
    try:
        for name in questions:
            environment.say(f"{name} ...")
            answers[name] = PEOPLE[name](session, quick)
            write_people(answers, session, session.asked)
    except KeyboardInterrupt:
        environment.say(f"Stopped. {session.counts()} Run the same command again to go on.")
        raise


# --- The questions


def crowd(world: World, quick: bool, out: Path) -> Answer:
    """Every method, with 1 to 12 people; twelve of the miniature's on a larger canvas."""
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
    return drawn_in(world, METHODS, columns, apart=True, pages=out / "crowd")


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


def halves(world: World, quick: bool, out: Path) -> Answer:
    """One person a picture, measured by all photos of them."""
    from comparison.methods import HALVES, METHODS

    people = range(min(len(world.people), 2 if quick else 12))
    columns = {f"{who + 1}": [Group([who], 1, 1)] for who in people}
    answer = drawn_in(world, HALVES, columns, False, whole=True)
    told, shown = answer.lines, answer.pictures
    for photos in (2, 4):
        method = {f"both, {photos} photos": METHODS["InstantID by region"]}
        columns = {f"{who + 1}": [Group([who], photos, 1)] for who in people}
        more = drawn_in(world, method, columns, False, whole=True)
        told, shown = told + more.lines, shown | more.pictures
    return Answer(told, shown)


def parts(world: World, quick: bool, out: Path) -> Answer:
    from comparison import parts

    told, shown = list[Line](), Pictures()
    for name, dressed in parts.compared(2 if quick else 40):
        told.append({"": name, "pictures": len(dressed.pixels), **dressed.figures})
        shown |= {(name, f"{column + 1}"): one for column, one in enumerate(dressed.pixels)}
    return Answer(told, shown)


def seeds(world: World, quick: bool, out: Path) -> Answer:
    """The same people by every method, from several seeds."""
    from comparison.methods import METHODS

    who = list(range(min(2 if quick else 3, len(world.people))))
    columns = {f"seed {seed}": [Group(who, 1, seed)] for seed in range(1, 3 if quick else 5)}
    return drawn_in(world, METHODS, columns, False)


def drawn_in(
    world: World, methods: Mapping[str, Method], columns: Mapping[str, Sequence[Group]],
    apart: bool, whole: bool = False, pages: Path | None = None,
) -> Answer:  # fmt: skip
    """apart: whether each column, of so many people, has a row of the table. whole: whether all photos judge. pages:
    the folder of all pictures, for rows with the columns of --people; None for an answer without."""
    from comparison.rows import Row

    told, shown = list[Line](), Pictures()
    rows: list[Row] = []
    for name, method in methods.items():
        found = pictures_by(world, name, method, columns, whole)
        for column, pictures in found.items():
            shown[name, column] = pictures[0].pixels
        together = found if apart else {"": [one for each in found.values() for one in each]}
        for column, pictures in together.items():
            line = {"": name, **({"people": int(column)} if apart else {}), "pictures": len(pictures)}
            counted = {"cost": method.cost(int(column))} if apart else {}
            told.append({**line, **world.judge(pictures), **counted})
        if pages:
            for column, pictures in found.items():
                files = shown_in(pages, name, column, columns[column], pictures)
                rows.append(Row(name, int(column), files, world.columns(pictures)))
    return Answer(told, shown, rows)


def pictures_by(
    world: World, name: str, method: Method, columns: Mapping[str, Sequence[Group]], whole: bool
) -> dict[str, list[Picture]]:
    """The pictures of each column by one method. whole: whether they are judged by all photos of everybody."""
    from comparison.methods import drawn, meaning, of_photos

    found: dict[str, list[Picture]] = {}
    for column, groups in columns.items():
        for who, photos, seed in groups:
            people = [world.people[one] for one in who]
            picture = drawn(world, method, world.cast([of_photos(one, photos) for one in people]), seed)
            found.setdefault(column, []).append(meaning(picture, people) if whole else picture)
        environment.say(f"  {name}, {column}")
    return found


def shown_in(folder: Path, name: str, column: str, groups: Sequence[Group], pictures: Sequence[Picture]) -> list[Shown]:
    """Save all pictures of a column, and say for the page what each is of."""
    from comparison.rows import Shown

    from core import previews

    folder.mkdir(parents=True, exist_ok=True)
    shown: list[Shown] = []
    for number, (group, picture) in enumerate(zip(groups, pictures, strict=True), 1):
        path = folder / f"{name}, {column}, {number}.png"
        previews.as_picture(picture.pixels).save(path)
        names = tuple(person.identity.name for person in picture.cast.people)
        shown.append(Shown(column, path, group.seed, names))
    return shown


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


MINIATURE: Mapping[str, Callable[[World, bool, Path], Answer]] = {
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


def write(name: str, answer: Answer, out: Path) -> None:
    """Write the table of a question, its sheet and its pictures, and the page where there are rows for one."""
    import evaluate

    from core import previews

    lines, pictures, rows = answer
    (out / name).mkdir(parents=True, exist_ok=True)
    if rows:
        write_columns(name, rows, out)
    else:
        for names, pixels in pictures.items():
            previews.as_picture(pixels).save(out / name / f"{', '.join(names)}.png")
    (out / f"{name}.md").write_text(table(lines), "utf-8")
    columns = list(dict.fromkeys(column for line in lines for column in line))
    told = [[line.get(column, "") for column in columns] for line in lines]
    (out / f"{name}.csv").write_bytes(evaluate.as_csv([columns, *told]))
    sheet(pictures).save(out / f"{name}.jpg", quality=80)
    environment.say(f"{out / name}.jpg\n{table(lines)}")


def write_columns(name: str, rows: Sequence[Row], out: Path) -> None:
    """Write the columns of --people of a question of the miniature: a table, and a page with all pictures."""
    import comfyui_version
    import torch
    from comparison import page
    from comparison.colour_judging import UNREAD

    about = {
        "drawn by": "the miniature, a toy model: these figures say nothing of the released weights",
        "ComfyUI": comfyui_version.__version__,
        "torch": torch.__version__,
    }
    (out / f"{name}_columns.md").write_text(page.as_markdown(rows), "utf-8")
    (out / f"{name}_columns.csv").write_bytes(page.as_csv(rows))
    (out / "report.json").write_text(page.report({name: rows}, about, UNREAD), "utf-8")
    (out / "index.html").write_text(page.as_html({name: rows}, about, UNREAD, out), "utf-8")
    environment.say(f"{out / 'index.html'}")


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


def columns_into_page(rows: Sequence[Row]) -> None:
    """The columns of --people and the curve of association, between their marks in the page of the miniature.

    Seconds are left out: those of a network this small say nothing of the method.
    """
    from comparison import page
    from comparison.curves import association_svg

    timed = ("seconds", "per step")
    text = page.as_markdown(rows, [column for column in page.known_columns(rows) if column.name not in timed])
    CURVES.write_text(association_svg(rows), "utf-8")
    marks = "<!-- columns: written by scripts/compare.py -->\n", "<!-- end of columns -->"
    before, rest = MINIATURE_PAGE.read_text("utf-8").split(marks[0])
    picture = f"![Association against the number of people, a curve for each method]({CURVES.name})"
    MINIATURE_PAGE.write_text(f"{before}{marks[0]}\n{text}\n{picture}\n\n{marks[1]}{rest.split(marks[1])[1]}", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
