"""Methods beside each other, drawn and measured: a sheet and a table for every question.

    python scripts/compare.py --people my_people --quick seeds --rehearse
    python scripts/compare.py --people my_people --prompt "photo of people in a park"
    python scripts/compare.py --miniature --quick seeds

--people draws people from photos, one of each or a folder of each, by every method whose files are in the ComfyUI that
is found; for any other the table says which file is missing. Questions: crowd (1 to 12 people), seeds (the same people
by every method and seed), ablations (methods without one of their parts, and with several photos). OUT has index.html,
a page to look at, report.json, and for each question a .md, a .csv, a sheet (.jpg) and a folder with the pictures. Each
picture holds its workflow. --rehearse needs no file of a method: a toy model, the miniature, draws the same by ID-Patch
and InstantID. Its figures say nothing.

--miniature draws cartoons of drawn people. Questions: crowd, halves (InstantID's, and several photos), parts
(Parts2Whole and Share Parts Attention), seeds. index.html has the pictures of crowd, and the columns of --people read
from colours. --write puts the figures into docs/likeness.md and docs/dev/miniature.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import environment
from rig.pack import entered

if TYPE_CHECKING:
    from comparison.methods import Method, Picture, World
    from comparison.rows import Pictured, Row, Shown
    from comparison.session import ComparisonSettings, Session
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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--people", type=Path, metavar="FOLDER", help="a folder of photos: one of each person, or a folder of each"
    )
    source.add_argument("--miniature", action="store_true", help="cartoons of drawn people, by the miniature")
    parser.add_argument("--prompt", default=PROMPT, help="with --people")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="with --people; without it those of each method's template",
    )
    parser.add_argument("--steps", type=int, help="with --people: without it those of the templates")
    parser.add_argument(
        "--methods", nargs="+", metavar="METHOD", default=["all"],
        help='with --people: only these, by the names of docs/likeness.md, such as "ID-Patch" "IP-Adapter"',
    )  # fmt: skip
    parser.add_argument("--rehearse", action="store_true", help="with --people: the miniature draws, no file is needed")
    parser.add_argument(
        "--quick", action="store_true", help="few pictures, with two people at most in seeds: whether it runs"
    )
    out = environment.ROOT / "output" / "compare"
    parser.add_argument("--out", type=Path, default=out, help="the folder of the results; default: output/compare")
    parser.add_argument("--write", action="store_true", help="with --miniature: put figures into docs/")
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("question", nargs="*", help="one or more of the questions above; all where none is named")
    options = parser.parse_args()
    if options.write and not options.miniature:
        parser.error("--write needs --miniature: the pages have its figures alone.")
    if options.people and not options.people.is_dir():
        parser.error(f"{options.people} is no folder.")
    if options.rehearse and not options.people:
        parser.error("--rehearse needs --people: with --miniature the miniature draws anyway.")
    if options.methods != ["all"] and not options.people:
        parser.error("--methods needs --people.")
    known_questions = MINIATURE if options.miniature else PEOPLE
    unknown = {*options.question} - {*known_questions}
    if unknown:
        parser.error(f"No such question: {', '.join(sorted(unknown))}. There are {', '.join(known_questions)}.")
    questions = options.question or list(known_questions)
    entered("compare.py", options.python)
    if options.miniature:
        by_miniature(questions, options.quick, options.out, options.write)
    else:
        by_people(options, questions)
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


def by_people(options: argparse.Namespace, questions: Sequence[str]) -> None:
    """Answer questions with photos and the user's own files. options: the command line. Raises SetupError."""
    from comparison import photos, records, rehearsal, worlds
    from comparison.session import ComparisonSettings, Session

    settings = ComparisonSettings(
        folder=options.people.resolve(),
        out=options.out.resolve(),
        prompt=options.prompt,
        size=tuple(options.size) if options.size else None,
        steps=options.steps,
        methods=tuple(records.methods_named(options.methods)),
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        people = photos.people_in(settings.folder)
        with ExitStack() as stack:
            if options.rehearse:
                folder = stack.enter_context(TemporaryDirectory())
                stack.enter_context(rehearsal.miniature_in(Path(folder)))
                settings = rehearsed(settings)
            session = Session(settings, people)
            answer_people(questions, session, options.quick)
    except worlds.REFUSED as problem:
        raise environment.SetupError(str(problem)) from problem
    environment.say(f"{session.counts()} Done: look at {settings.out / 'index.html'}")


def rehearsed(settings: ComparisonSettings) -> ComparisonSettings:
    """The same for the miniature: its own size and steps where none are asked for, and what its figures are worth."""
    from comparison import rehearsal

    environment.say(f"A rehearsal: {rehearsal.SAYS_NOTHING}.")
    return dataclasses.replace(
        settings,
        size=settings.size or rehearsal.SIZE,
        steps=settings.steps or rehearsal.STEPS,
        remark=rehearsal.SAYS_NOTHING,
    )


def answer_people(questions: Sequence[str], session: Session, quick: bool) -> None:
    """Answer questions one after the other, and write all that is answered after each.

    Raises KeyboardInterrupt where the run is stopped, after it has said how it goes on.
    """
    answers: dict[str, list[Row]] = {}
    try:
        for name in questions:
            environment.say(f"{name} ...")
            answers[name] = PEOPLE[name](session, quick)
            write_people(answers, session)
    except KeyboardInterrupt:
        advice = "Run the same command again to go on."
        if session.settings.remark:  # the miniature's files are made anew for each run
            advice = "A rehearsal begins anew each time."
        environment.say(f"Stopped. {session.counts()} {advice}")
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
    group_list: list[Group] = []
    while len(group_list) < FEWEST:
        moved = len(group_list) // rounds
        for number in range(rounds):
            members = [(number * count + place + moved) % people for place in range(count)]
            group_list.append(Group(members, 1, len(group_list) + 1))
    return group_list


def halves(world: World, quick: bool, out: Path) -> Answer:
    """One person a picture, measured by all photos of them."""
    from comparison.methods import HALVES, METHODS

    people = range(min(len(world.people), 2 if quick else 12))
    columns = {f"{person + 1}": [Group([person], 1, 1)] for person in people}
    answer = drawn_in(world, HALVES, columns, False, by_all_photos=True)
    lines = answer.lines
    pictures = answer.pictures
    for photos in (2, 4):
        method = {f"both, {photos} photos": METHODS["InstantID by region"]}
        columns = {f"{person + 1}": [Group([person], photos, 1)] for person in people}
        answer = drawn_in(world, method, columns, False, by_all_photos=True)
        lines = lines + answer.lines
        pictures = pictures | answer.pictures
    return Answer(lines, pictures)


def parts(world: World, quick: bool, out: Path) -> Answer:
    from comparison import parts

    lines: list[Line] = []
    pictures: Pictures = {}
    for name, dressed in parts.compared(2 if quick else 40):
        lines.append({"": name, "pictures": len(dressed.pixels), **dressed.figures})
        for number, pixels in enumerate(dressed.pixels, 1):
            pictures[name, f"{number}"] = pixels
    return Answer(lines, pictures)


def seeds(world: World, quick: bool, out: Path) -> Answer:
    """The same people by every method, from several seeds."""
    from comparison.methods import METHODS

    members = list(range(min(2 if quick else 3, len(world.people))))
    columns = {f"seed {seed}": [Group(members, 1, seed)] for seed in range(1, 3 if quick else 5)}
    return drawn_in(world, METHODS, columns, False)


def drawn_in(
    world: World, methods: Mapping[str, Method], columns: Mapping[str, Sequence[Group]],
    apart: bool, by_all_photos: bool = False, pages: Path | None = None,
) -> Answer:  # fmt: skip
    """apart: whether each column, of so many people, has a row of the table. by_all_photos: whether all photos judge.
    pages: the folder of all pictures, for rows with the columns of --people; None for an answer without."""
    from comparison.rows import Row

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
    world: World, name: str, method: Method, columns: Mapping[str, Sequence[Group]], by_all_photos: bool
) -> dict[str, list[Picture]]:
    """The pictures of each column by one method. by_all_photos: whether they are judged by all photos of everybody."""
    from comparison.methods import drawn, meaning, of_photos

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
    folder: Path, name: str, column: str, column_groups: Sequence[Group], pictures: Sequence[Picture]
) -> list[Shown]:
    """Save all pictures of a column, and say for the page what each is of."""
    from comparison.rows import Shown

    from core import previews

    folder.mkdir(parents=True, exist_ok=True)
    files: list[Shown] = []
    for number, (group, picture) in enumerate(zip(column_groups, pictures, strict=True), 1):
        path = folder / f"{name}, {column}, {number}.png"
        previews.as_picture(picture.pixels).save(path)
        names = tuple(person.identity.name for person in picture.cast.people)
        files.append(Shown(column, path, group.seed, names))
    return files


# --- The questions, with photos


def crowd_of_people(session: Session, quick: bool) -> list[Row]:
    """Every method, with 1 to 12 people; all of them stand equally often in pictures of each number."""
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
    for method in session.settings.methods:
        rows += session.rows("crowd", method, columns)
    return rows


def counts_up_to(everybody: int) -> list[int]:
    """How many people stand in pictures of a folder of so many people: those of COUNTS, and everybody."""
    counts = [count for count in COUNTS if count < everybody]
    counts.append(everybody)
    return counts


def seeds_of_people(session: Session, quick: bool) -> list[Row]:
    """The same people by every method, from several seeds."""
    columns = _by_seed(_first_people(session, quick), quick)
    rows: list[Row] = []
    for method in session.settings.methods:
        rows += session.rows("seeds", method, columns)
    return rows


def ablations_of_people(session: Session, quick: bool) -> list[Row]:
    """Methods without one of their parts and with several photos, each behind the whole method."""
    people = _first_people(session, quick)
    rows: list[Row] = []
    for method in session.settings.methods:
        if not method.ablations:
            continue
        rows += session.rows("ablations", method, _by_seed(people, quick))
        for name, ablation in method.ablations.items():
            columns = _by_seed(people, quick, ablation.photos)
            rows += session.rows("ablations", method, columns, name)
    return rows


def _first_people(session: Session, quick: bool) -> list[int]:
    """The indexes of the first people of the folder: three or fewer, two where it is to be quick."""
    return session.first_people(2 if quick else 3)


def _by_seed(people: list[int], quick: bool, photos: int = 1) -> dict[str, list[Pictured]]:
    """These people, from several seeds. photos: by how many each is known."""
    from comparison.rows import Pictured

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
    columns = columns_of(lines)
    cells = [[line.get(column, "") for column in columns] for line in lines]
    (out / f"{name}.csv").write_bytes(evaluate.as_csv([columns, *cells]))
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


def write_people(answers: Mapping[str, Sequence[Row]], session: Session) -> None:
    """Write the tables of the questions that are answered, their sheets, and the page and the report of all."""
    from comparison import page

    about = session.about()
    out = session.settings.out
    for name, rows in answers.items():
        (out / f"{name}.md").write_text(page.as_markdown(rows), "utf-8")
        (out / f"{name}.csv").write_bytes(page.as_csv(rows))
        pictures = page.first_pictures(rows)
        if pictures:
            sheet(pictures).save(out / f"{name}.jpg", quality=80)
    (out / "report.json").write_text(page.report(answers, about, session.unread), "utf-8")
    (out / "index.html").write_text(page.as_html(answers, about, session.unread, out), "utf-8")


def table(lines: Sequence[Line]) -> str:
    """Without columns of which nothing is known."""
    columns: list[str] = []
    for column in columns_of(lines):
        if any(_cell(line.get(column)) != "-" for line in lines):
            columns.append(column)
    rows = [columns, ["---"] * len(columns)]
    for line in lines:
        rows.append([_cell(line.get(column)) for column in columns])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def columns_of(lines: Sequence[Line]) -> list[str]:
    """The columns of all lines of a table, in their order."""
    columns: dict[str, None] = {}
    for line in lines:
        columns |= dict.fromkeys(line)
    return list(columns)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value + 0.0:.2f}" if isinstance(value, float) else str(value)


def sheet(pictures: Pictures, side: int = 220) -> Any:
    """Rows of methods and the first six columns, with their names, to be read on a page 850 px wide."""
    from PIL import Image, ImageDraw

    from core import previews

    rows = list(dict.fromkeys(row for row, _ in pictures))
    columns = list(dict.fromkeys(column for _, column in pictures))[:6]
    side = min(side, *(pixels.shape[1] for pixels in pictures.values()))
    high = max(math.ceil(side * len(pixels) / pixels.shape[1]) for pixels in pictures.values())
    letters = max(14, side // 9)
    size = (side * (len(columns) + 1), high * len(rows) + 2 * letters)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for number, column in enumerate(columns, 1):
        draw.text((side * number + 6, letters // 2), column, "black", font_size=letters)
    for row, name in enumerate(rows):
        draw.text((6, high * row + 2 * letters), textwrap.fill(name, 16), "black", font_size=letters)
        for number, column in enumerate(columns, 1):
            if (name, column) not in pictures:  # a method that draws no such picture has a gap
                continue
            small = previews.as_picture(pictures[name, column])
            small.thumbnail((side - 4, high - 4))
            canvas.paste(small, (side * number, high * row + 2 * letters))
    return canvas


def into_page(name: str, text: str, picture: Any) -> None:
    """Between the page's marks of this question, with its sheet."""
    file = PAGE.with_name(f"likeness_{name}.jpg")
    picture.save(file, quality=70)
    link = f"![{name.capitalize()}, drawn]({file.name})"
    between_marks(PAGE, name, f"{text}\n{link}\n")


def between_marks(page: Path, name: str, content: str) -> None:
    """Put lines between the marks of this name in a page."""
    begin = f"<!-- {name}: written by scripts/compare.py -->\n"
    end = f"<!-- end of {name} -->"
    before, marked = page.read_text("utf-8").split(begin)
    _, behind = marked.split(end)
    page.write_text(f"{before}{begin}\n{content}\n{end}{behind}", "utf-8")


def columns_into_page(rows: Sequence[Row]) -> None:
    """The columns of --people and the curve of association, between their marks in the page of the miniature.

    Seconds are left out: those of a network this small say nothing of the method.
    """
    from comparison import page
    from comparison.curves import association_svg

    timed = ("seconds", "per step")
    text = page.as_markdown(rows, [column for column in page.known_columns(rows) if column.name not in timed])
    CURVES.write_text(association_svg(rows), "utf-8")
    link = f"![Association against the number of people, a curve for each method]({CURVES.name})"
    between_marks(MINIATURE_PAGE, "columns", f"{text}\n{link}\n")


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
