"""The source --pictures: a folder of pictures by any model, and photos of the people whom they should show.

The folder holds people/NAME/ with one or more photos each, and pictures/. Those of different models or settings are in
folders of their own, each a set. Beside a picture may lie a .json of its name that says who is meant, and where.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from environment import SetupError, say
from pack.core import measure, persons
from pack.core.cast import Cast, Member, Person, PlacedCast, Slot
from pack.core.checks.errors import counted
from pack.core.checks.names import among
from pack.core.faces import model as faces
from pack.core.faces.model import FaceModel
from pack.core.pictures.geometry import FAR
from shared import tables
from shared.photos import pixels as pixels_of

from . import page
from .columns import OF_A_SET, figures
from .formulas import between_people
from .judged import Judged
from .photos import is_hidden, largest_face, pictures_below, size_of, write_jpeg
from .rows import Line, Row, Shown

NO_SET = "pictures in no folder"
"""What the page calls the pictures that lie in pictures/ itself."""
_MOST_LETTERS = 10**6
"""Of a file beside a picture."""
_FORM = '{"people": ["Anna"], "places": [[300, 260]], "size": [1024, 768]}'
_MOST_STRANGERS = 3
"""Whose faces' sizes the page shows for a picture."""


@dataclass(frozen=True)
class Result:
    """One picture: its set, which is the folder below pictures/, its name, and what was measured."""

    group: str
    name: str
    report: measure.Report


def measured(folder: Path, out: Path, face_model: FaceModel, method: str) -> None:
    """Measure all pictures of a folder, and write the tables, the pictures with names and the page.

    method: one of measure.TRAINED_WITH. Raises SetupError for what has to be mended, before anything is measured.
    """
    people: dict[str, Person] = {}
    for path in folders_in(folder / "people"):
        people[path.name] = person(path, face_model)
        say(f"{path.name}: {counted(len(people[path.name].crops), 'photo')}")
    root = folder / "pictures"
    paths = sorted(pictures_below(root))
    if not paths:
        raise SetupError(f"There is no picture below {root}.")
    say(f"Reading {counted(len(paths), 'picture')} below {root}")
    # What cannot be used is said before hours are spent on the others.
    casts = {path: cast_of(path, people, size_of(path)) for path in paths}
    results: list[Result] = []
    for number, path in enumerate(paths, 1):
        results.append(measured_picture(path, root, casts[path], face_model, method, out))
        summary = measure.summary(results[-1].report.judged_pictures[0])
        say(f"{number} of {len(paths)}, {results[-1].name}: {summary}")
    write(results, out, folder.resolve().name)
    say(measure.judge_sentence(results[0].report))
    say(f"{counted(len(results), 'picture')} measured. To look at: {out / 'index.html'}")


def folders_in(folder: Path) -> list[Path]:
    folders = sorted(path for path in folder.glob("*") if path.is_dir() and not is_hidden(path, folder))
    if not folders:
        raise SetupError(
            f"There is nobody in {folder}: put the photos of each person into a folder with their name there."
        )
    return folders


def person(folder: Path, face_model: FaceModel) -> Person:
    """Somebody, by the largest face on each of their photos. Raises SetupError."""
    largest = [largest_face(path, face_model) for path in sorted(pictures_below(folder))]
    if not largest:
        raise SetupError(f"There is no photo in {folder}.")
    return persons.from_faces(folder.name, largest, face_model.ids)


# --- Who is meant


@dataclass(frozen=True)
class Meant:
    """What the file beside a picture says. names: who is meant; None for everybody. places: the nose of each, (x, y).
    size: of the canvas that the places are on, (width, height); None for the picture's own."""

    names: list[str] | None = None
    places: tuple[tuple[float, float], ...] = ()
    size: tuple[float, float] | None = None


def cast_of(path: Path, people: Mapping[str, Person], size: tuple[int, int]) -> Cast:
    """Who is meant in a picture: those whom the file beside it names, in their places, else everybody.

    size: of the picture. Raises SetupError.
    """
    beside = path.with_suffix(".json")
    meant = meant_in(beside) if beside.is_file() else Meant()
    names = list(people) if meant.names is None else meant.names
    if not names:
        raise SetupError(f"{beside} names nobody: write who is meant, or leave people out for everybody.")
    # A Mac writes the names of folders in another spelling than keyboards do.
    folder_names = {name: among(name, people) for name in names}
    unknown = [name for name in names if folder_names[name] is None]
    if unknown:
        raise SetupError(f"{beside} names {', '.join(unknown)}; there are photos of {', '.join(people)}.")
    if meant.places and len(meant.places) != len(names):
        raise SetupError(
            f"{beside} has {counted(len(meant.places), 'place')} for {len(names)} people: write one [x, y] each."
        )
    persons: list[Member] = []
    for number, name in enumerate(names, 1):
        slot = Slot(meant.places[number - 1]) if meant.places else None
        persons.append(Member(people[folder_names[name] or name], 1.0, slot, number))
    if not meant.places:
        return Cast(tuple(persons))
    width, height = meant.size or size
    return PlacedCast(tuple(persons), cast("int", width), cast("int", height))


def meant_in(beside: Path) -> Meant:
    """What the file beside a picture says.

    Raises SetupError for anything but {"people": [names], "places": [[x, y], ...], "size": [width, height]}.
    """
    try:
        with beside.open(encoding="utf-8-sig") as file:
            return _meant(json.loads(file.read(_MOST_LETTERS)))
    except (AttributeError, RecursionError, TypeError, ValueError) as cause:
        raise SetupError(f"{beside} cannot be read: write it as {_FORM}; each of the three may be left out.") from cause


def _meant(content: dict[str, Any]) -> Meant:
    """What the content of such a file says. Raises ValueError, TypeError or AttributeError for any other content."""
    if not content.keys() <= {"people", "places", "size"}:
        # A slip of the pen is not left out in silence.
        raise ValueError
    names: list[str] | None = None
    if "people" in content:
        names = content["people"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in cast("list[Any]", names)):
            raise ValueError
    places: list[tuple[float, float]] = []
    for x, y in content.get("places", []):
        if not (abs(x) <= FAR and abs(y) <= FAR):  # NaN is not
            raise ValueError
        places.append((float(x), float(y)))
    size: tuple[float, float] | None = None
    if "size" in content:
        width, height = content["size"]
        if not (0 < width <= FAR and 0 < height <= FAR):
            raise ValueError
        size = (width, height)
    return Meant(names, tuple(places), size)


# --- What is measured and written


def measured_picture(path: Path, root: Path, cast: Cast, face_model: FaceModel, method: str, out: Path) -> Result:
    """Measure a picture, and put it with names into out/pictures. root: the folder of all pictures."""
    pixels = pixels_of(path)
    names = measure.judges(face_model.ids, cast.people, method)
    report = measure.measure([faces.faces_in(face_model, pixels)], cast, names, method)
    group = path.parent.relative_to(root).as_posix()
    result = Result("" if group == "." else group, path.relative_to(root).as_posix(), report)
    write_jpeg(measure.annotate(pixels, report, 0), out / annotated_name(result.name))
    return result


def annotated_name(name: str) -> str:
    """Where a picture with names is, below the output folder. name: of the picture."""
    return f"pictures/{name}.jpg"


def write(results: Sequence[Result], out: Path, title: str) -> None:
    """The tables and the page. title: what the page is called."""
    lines: list[list[Any]] = []
    for result in results:
        for line in tables.lines_of(result.group, result.name, result.report):
            lines.append([line.get(column) for column in tables.COLUMNS])
    (out / "likeness.csv").write_bytes(tables.as_csv([tables.COLUMNS, *lines]))
    rows = rows_of(results, out)
    (out / "sets.csv").write_bytes(page.as_csv(rows, OF_A_SET, "set"))
    about = {"judged": measure.judge_sentence(results[0].report), "tables": ["sets.csv", "likeness.csv"]}
    named = [replace(row, title=row.title or NO_SET) for row in rows]
    page.write_page(page.Answer(f"Likeness: {title}", {"Sets": named}, OF_A_SET, about), out)


def rows_of(results: Sequence[Result], out: Path) -> list[Row]:
    """A row for each set and recogniser, of which the one that judges is the first and has the pictures."""
    rows: list[Row] = []
    for group in sorted({result.group for result in results}):
        of_set = [result for result in results if result.group == group]
        recognisers = dict.fromkeys(name for result in of_set for name in result.report.recognisers)
        shown = [Shown(out / annotated_name(one.name), one.name, lines=_lines_of_people(one)) for one in of_set]
        for name in recognisers:
            judged: list[Judged] = []
            for result in of_set:
                if name in result.report.pictures:
                    people = [one.person for one in result.report.people]
                    measured, alike = result.report.pictures[name][0], between_people(people, name)
                    judged.append(Judged(len(people), len(measured.boxes), measured=measured, alike_in_photos=alike))
            count = sum(one.people for one in judged)
            values = figures(judged, OF_A_SET)
            rows.append(Row(group, count, shown, values, measured=len(judged), recogniser=name))
            shown = []
    return rows


def _lines_of_people(result: Result) -> list[Line]:
    """A line for each person by the recogniser that judges, and one for all strangers."""
    lines = [Line(("person", "similarity", "to others", "face px", ""))]
    stranger_sides: list[str] = []
    for line in tables.lines_of(result.group, result.name, result.report):
        if line["state"] == "extra":
            stranger_sides.append(str(line["face_px"]))
        elif line.get("recogniser") in (None, result.report.judge):
            lines.append(_line_of_person(line))
    if stranger_sides:
        text = counted(len(stranger_sides), "stranger")
        lines.append(Line((text, "", "", ", ".join(stranger_sides[:_MOST_STRANGERS]), "extra"), "bad"))
    return lines


def _line_of_person(line: Mapping[str, Any]) -> Line:
    """A person or a part of a picture. line: of `tables.lines_of`."""
    name = line["person"]
    if line.get("place"):
        name = f"{line['place']} {name}"
    state = {"swapped": f"looks like {line.get('looks_like')}", "missing": "missing"}.get(line["state"], "")
    similarities = [line.get("similarity"), line.get("leakage")]
    texts = [page.DASH if value is None else f"{value:.3f}" for value in similarities]
    return Line((name, *texts, str(line.get("face_px", page.DASH)), state), "bad" if state else "good")
