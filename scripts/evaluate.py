"""Measures how much pictures of any model show the people they should show: a page to look at, and two tables.

    python scripts/evaluate.py my_pictures --models ../../models --made-with InstantID

The folder holds people/<name>/ with one or more photos each, and pictures/ with the pictures to measure. Those of
different models or settings are in folders of their own. Beside a picture may lie a .json of its name that says who is
meant and where; docs/dev/measuring.md describes it and what is measured. The result is put into measured/ there:
index.html, which opens in any browser, the pictures with names that it shows, likeness.csv and sets.csv.
Garments are measured where the workflow says which picture and mask each has: by batch.py --clip-vision FILE,
or by Measure Likeness in a graph. Run it with the Python that runs ComfyUI.

Exit status: 0 when everything is measured, 1 where something has to be mended first, 2 for wrong options, 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

# Not in front: batch.py takes this into a process whose first folder may be a host's, with a `nodes` of its own.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

try:
    import numpy as np
    import torch
    from PIL import Image
except ImportError as error:
    sys.exit(f"This needs {error.name}: run it with the Python that runs ComfyUI.")

from core import identities, measure
from core.consoles import accept_any_text, written_out
from core.errors import BadPhoto, LikenessError, counted, listed
from core.faces import analysis, model
from core.faces.model import FaceModel
from core.geometry import FAR, area, longer_side
from core.models import packs
from core.models.files import WEIGHTS, by_name
from core.models.onnx_file import Kind, inspect
from core.models.tensors import read
from core.names import among
from core.people import Cast, Face, Identity, Person, PlacedCast, Slot
from core.picture_files import ENDINGS, read_picture
from core.text import plain_lines

WIDTH = 768
"""Pixels of the longer side of the pictures with names."""
PART = "part"
"""The state in the line of a part."""
COLUMNS = (
    "set", "picture", "person", "place", "state", "looks_like", "face_px", "recogniser", "similarity", "leakage",
    "margin", "copy_paste",
)  # fmt: skip
_KEYS = ("insightface", "facexlib")
"""Model keys of face packs and of other recognisers."""
_STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""


class Unusable(Exception):
    """Something the user has to fix; the text says what and how."""


@dataclass(frozen=True)
class Result:
    """One picture: its set, its name, and what was measured. The set is the folder below pictures/."""

    group: str
    name: str
    report: measure.Report


def main() -> int:
    options = arguments()
    face_model = load(face_folders(options.models))
    people: dict[str, Identity] = {}
    for folder in folders_in(options.folder / "people"):
        people[folder.name] = person(folder, face_model)
        print(f"{folder.name}: {counted(len(people[folder.name].crops), 'photo')}", file=sys.stderr)
    root = options.folder / "pictures"
    paths = sorted(pictures_below(root))
    if not paths:
        raise Unusable(f"There is no picture below {root}.")
    print(f"Reading {counted(len(paths), 'picture')} below {root}", file=sys.stderr)
    # What cannot be used is said before hours are spent on the others.
    casts = {path: cast_of(path, people, size_of(path)) for path in paths}
    output = options.folder / "measured"
    results: list[Result] = []
    for number, path in enumerate(paths, 1):
        result = evaluated(path, root, casts[path], face_model, options.made_with, output)
        results.append(result)
        summary = measure.summary(result.report.judged_pictures[0])
        print(f"{number} of {len(paths)}, {result.name}: {summary}", file=sys.stderr)
    write(results, output, options.folder.resolve().name)
    print(measure.judge_sentence(results[0].report))
    print(f"{counted(len(results), 'picture')} measured. To look at: {output / 'index.html'}")
    print("The pictures with names are in pictures beside it, the figures in likeness.csv and sets.csv.")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds people/ and pictures/")
    parser.add_argument("--models", type=Path, help="ComfyUI's models folder; else all of the ComfyUI that is found")
    parser.add_argument(
        "--made-with", choices=list(measure.TRAINED_WITH), default="unknown", help="the pictures' method"
    )
    return parser.parse_args()


def write(results: Sequence[Result], output: Path, title: str) -> None:
    """The tables and the page. title: what the page is called."""
    lines: list[list[Any]] = []
    for result in results:
        for line in lines_of(result):
            lines.append([line.get(column) for column in COLUMNS])
    (output / "likeness.csv").write_bytes(as_csv([COLUMNS, *lines]))
    (output / "sets.csv").write_bytes(as_csv(sets(results)))
    # A file's name may hold bytes that are no letters.
    (output / "index.html").write_bytes(page(results, title).encode(errors="replace"))


# --- Files


def folders_in(folder: Path) -> list[Path]:
    folders = sorted(path for path in folder.glob("*") if path.is_dir() and not is_hidden(path, folder))
    if not folders:
        raise Unusable(
            f"There is nobody in {folder}: put the photos of each person into a folder with their name there."
        )
    return folders


def pictures_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in ENDINGS and not path.is_dir() and not is_hidden(path, folder):
            yield path


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file below `folder`, or a folder around it there, is hidden.

    Beside every anna.jpg that a Mac writes to a stick it puts ._anna.jpg, which is no picture.
    """
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def face_folders(models: Path | None) -> Mapping[str, Sequence[str]]:
    """Model key -> the folders in which face models are looked for: below `models`, else those of the ComfyUI that is
    found. Raises Unusable."""
    try:
        from environment import SetupError
        from rig import host_folders
    except ImportError as error:  # what is published has this script alone
        if models is None:
            raise Unusable("Name ComfyUI's models folder: --models ComfyUI/models") from error
        return {key: (str(models / key),) for key in _KEYS}
    try:
        return host_folders.searched(models, _KEYS)
    except SetupError as error:
        raise Unusable(str(error)) from error


def load(folders: Mapping[str, Sequence[str]]) -> FaceModel:
    """The largest detector and every recogniser of the folders of face models, opened as Load Face Embedder does.

    Raises Unusable where there is none.
    """
    packs_folders, others_folders = (folders[key] for key in _KEYS)
    files = model.Files(by_name(packs_folders, (".onnx",)), by_name([*others_folders, *packs_folders], WEIGHTS))
    detectors: dict[str, str] = {}
    for name, path in files.onnx.items():
        if inspect(path).kind is Kind.DETECTOR:
            detectors[path] = name
    url = packs.published(packs.ANTELOPE).url
    if not detectors:
        advice = f"unpack {packs.ANTELOPE} ({url}) there, or name ComfyUI's models folder with --models."
        raise Unusable(f"No face detector below {listed(packs_folders)}: {advice}")
    largest = max(detectors, key=os.path.getsize)
    recognisers: list[analysis.Recogniser] = []
    for name, path in files.recognisers(packs.pack_of(detectors[largest])).items():
        opened = recogniser(name, path)
        if opened is not None:
            recognisers.append(opened)
    if not recognisers:
        raise Unusable(f"No face recogniser below {listed([*packs_folders, *others_folders])}; it is in {url}.")
    return FaceModel(model.open_detector(largest, model.on_cpu), tuple(recognisers))


def recogniser(name: str, path: str) -> analysis.Recogniser | None:
    """The recogniser in a file; None for a file that is something else."""
    if name == packs.IR_SE50:
        return model.IRSE50Recogniser(read(Path(path)), path, model.on_cpu)
    if inspect(path).kind is not Kind.RECOGNISER:
        return None
    return model.open_recogniser(name, path, model.on_cpu)


def image(path: Path) -> torch.Tensor:
    """(H, W, 3) float 0..1, turned as the camera says. Raises Unusable for what is no picture, or too large."""
    try:
        picture = read_picture(str(path))
    except BadPhoto as error:
        advice = "Save it again as PNG or JPEG, or take it out."
        raise Unusable(f"{path} cannot be read as a picture: {error.problem} {advice}") from error
    return torch.from_numpy(np.array(picture)).float() / 255


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a picture. Raises Unusable."""
    pixels = image(path)
    return pixels.shape[1], pixels.shape[0]


# --- People and pictures


def person(folder: Path, face_model: FaceModel) -> Identity:
    """Somebody, by the largest face on each of their photos."""
    faces = [largest_face(path, image(path), face_model) for path in sorted(pictures_below(folder))]
    if not faces:
        raise Unusable(f"There is no photo in {folder}.")
    return identities.from_faces(folder.name, faces, face_model.ids)


def largest_face(path: Path, photo: torch.Tensor, face_model: FaceModel) -> Face:
    """The person's face. path: of the photo, for messages. photo: (H, W, 3). Raises Unusable where there is none."""
    faces = model.faces_in(face_model, photo).faces
    if not faces:
        raise Unusable(f"No face found in {path}: use a photo with a larger and sharper face, or take it out.")
    return max(faces, key=lambda face: area(face.box))


@dataclass(frozen=True)
class Meant:
    """What the file beside a picture says. names: who is meant; None for everybody. places: the nose of each, (x, y).
    size: of the canvas that the places are on, (width, height); None for the picture's own."""

    names: list[str] | None = None
    places: tuple[tuple[float, float], ...] = ()
    size: tuple[float, float] | None = None


def cast_of(path: Path, people: Mapping[str, Identity], size: tuple[int, int]) -> Cast:
    """Who is meant in a picture: those whom the file beside it names, in their places, else everybody.

    size: of the picture. Raises Unusable.
    """
    beside = path.with_suffix(".json")
    meant = meant_in(beside) if beside.is_file() else Meant()
    names = list(people) if meant.names is None else meant.names
    if not names:
        raise Unusable(f"{beside} names nobody: write who is meant, or leave people out for everybody.")
    # A Mac writes the names of folders in another spelling than keyboards do.
    folder_names = {name: among(name, people) for name in names}
    unknown = [name for name in names if folder_names[name] is None]
    if unknown:
        raise Unusable(f"{beside} names {', '.join(unknown)}; there are photos of {', '.join(people)}.")
    if meant.places and len(meant.places) != len(names):
        raise Unusable(
            f"{beside} has {counted(len(meant.places), 'place')} for {len(names)} people: write one [x, y] each."
        )
    persons: list[Person] = []
    for number, name in enumerate(names, 1):
        slot = Slot(meant.places[number - 1]) if meant.places else None
        persons.append(Person(people[folder_names[name] or name], 1.0, slot, number))
    if not meant.places:
        return Cast(tuple(persons))
    width, height = meant.size or size
    return PlacedCast(tuple(persons), cast("int", width), cast("int", height))


_MOST_LETTERS = 10**6
"""Of a file beside a picture."""
_FORM = '{"people": ["Anna"], "places": [[300, 260]], "size": [1024, 768]}'


def meant_in(beside: Path) -> Meant:
    """What the file beside a picture says.

    Raises Unusable for anything but {"people": [names], "places": [[x, y], ...], "size": [width, height]}.
    """
    try:
        with beside.open(encoding="utf-8-sig") as file:
            return _meant(json.loads(file.read(_MOST_LETTERS)))
    except (AttributeError, RecursionError, TypeError, ValueError) as cause:
        raise Unusable(f"{beside} cannot be read: write it as {_FORM}; each of the three may be left out.") from cause


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


def evaluated(path: Path, root: Path, cast: Cast, face_model: FaceModel, method: str, output: Path) -> Result:
    """Measure a picture, and put it with names into output/pictures. root: the folder of all pictures."""
    pixels = image(path)
    names = measure.judges(face_model.ids, cast.people, method)
    report = measure.measure([model.faces_in(face_model, pixels)], cast, names, method)
    name = path.relative_to(root).as_posix()
    drawn = Image.fromarray((measure.annotate(pixels, report, 0) * 255).byte().numpy())
    drawn.thumbnail((WIDTH, WIDTH))
    annotated = output / annotated_name(name)
    annotated.parent.mkdir(parents=True, exist_ok=True)
    drawn.save(annotated, quality=88)
    group = path.parent.relative_to(root).as_posix()
    if group == ".":
        group = ""
    return Result(group, name, report)


def annotated_name(name: str) -> str:
    """Where a picture with names is, below the output folder. name: of the picture."""
    return f"pictures/{name}.jpg"


# --- What is written


def lines_of(result: Result) -> Iterator[dict[str, Any]]:
    """One line per person and recogniser, one per stranger and one per part."""
    report = result.report
    columns = {"set": result.group, "picture": result.name}
    for recogniser in report.recognisers:
        picture = report.pictures[recogniser][0]
        for sighting in picture.sightings:
            yield {**columns, **_person_columns(report, picture, sighting), "recogniser": recogniser}
    picture = report.judged_pictures[0]
    for face in picture.stranger_faces:
        yield {**columns, "state": "extra", "face_px": _side(picture, face)}
    for label, similarity in zip(report.labels, picture.part_similarities, strict=True):
        yield {**columns, "person": label, "state": PART, "similarity": similarity}


def _person_columns(
    report: measure.Report, picture: measure.MeasuredPicture, sighting: measure.Sighting
) -> dict[str, Any]:
    """The columns of a person in a picture by one recogniser. Without a face there are no figures."""
    columns: dict[str, Any] = {"person": report.names[sighting.person], "place": "", "state": "right"}
    if report.has_places:
        columns["place"] = report.numbers[sighting.person]
    if sighting.face is None or sighting.looks_like is None:
        columns["state"] = "missing"
        return columns
    if sighting.swapped:
        columns["state"] = "swapped"
    figures = {"similarity": sighting.similarity, "leakage": sighting.leakage, "margin": sighting.margin}
    columns["looks_like"] = report.names[sighting.looks_like]
    columns["face_px"] = _side(picture, sighting.face)
    columns["copy_paste"] = sighting.copy_paste
    return {**columns, **figures}


def _side(picture: measure.MeasuredPicture, face: int) -> int:
    return round(longer_side(picture.boxes[face]))


def as_csv(lines: Iterable[Iterable[Any]]) -> bytes:
    """Lines of ours, which spreadsheets may open. A file's name may hold what is no letter."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for line in lines:
        writer.writerow([as_cell(value) for value in line])
    return text.getvalue().encode(errors="replace")


def as_cell(value: Any) -> Any:
    """No text is a formula, as which a spreadsheet would take it, and none is more than a line."""
    if isinstance(value, str):
        value = " ".join(value.splitlines())
        if value.startswith(("=", "+", "-", "@", "\t", "\r")):
            return f"'{value}"
        return value
    if isinstance(value, float):
        return f"{value:.4f}"
    return value


def sets(results: Sequence[Result]) -> Iterator[Sequence[Any]]:
    """A line for each set and recogniser; the one that judges is the first. people: who should be there, in all
    pictures, which is what missing and swapped are out of. Means are those of pictures, but for face_px, which is that
    of all people who are there."""
    yield (
        "set",
        "recogniser",
        "pictures",
        *measure.MEANS,
        "missing",
        "extra",
        "swapped",
        "copy_paste",
        "face_px",
        "people",
    )
    for group in sorted({result.group for result in results}):
        reports = [result.report for result in results if result.group == group]
        recognisers = dict.fromkeys(name for report in reports for name in report.recognisers)
        for name in recognisers:
            pictures = [report.pictures[name][0] for report in reports if name in report.pictures]
            people = 0
            copy_pastes: list[float] = []
            sizes: list[float] = []
            for picture in pictures:
                people += len(picture.sightings)
                copy_paste = measure.score(picture, "copy-paste")
                if copy_paste is not None:
                    copy_pastes.append(copy_paste)
                for sighting in picture.present:
                    assert sighting.face is not None
                    sizes.append(longer_side(picture.boxes[sighting.face]))
            totals: list[float | None] = [*measure.totals(pictures)]
            if not sizes:
                # Nobody is there, so it is unknown and not 0.
                totals[measure.MEANS.index("leakage")] = None
            yield group, name, len(pictures), *totals, mean(copy_pastes), mean(sizes), people


def mean(values: Sequence[float]) -> float | None:
    """None where there are no values: a mean of nothing is unknown and not 0."""
    if not values:
        return None
    return sum(values) / len(values)


# --- The page to look at

NO_SET = "pictures in no folder"
"""What the page calls the pictures that lie in pictures/ itself."""
_STATES = {"right": "", "swapped": "swapped", "missing": "missing", PART: ""}
"""What the page says of a state beside the figures."""
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #8889; --bad: #c62828; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #a5d6a7; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem 2rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .75rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: normal; }
th:first-child, td:first-child { text-align: left; }
td:first-child { min-width: 5rem; overflow-wrap: anywhere; }
thead th { color: GrayText; white-space: nowrap; }
.wide th:nth-child(2), .wide td:nth-child(2) { text-align: left; }
.wide { overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1.25rem; }
figure { margin: 0; padding: .75rem; border: 1px solid var(--line); border-radius: .5rem; }
figure img { display: block; width: 100%; height: 18rem; object-fit: contain; background: var(--line); }
figcaption { margin: .6rem 0 .4rem; font-weight: 600; overflow-wrap: anywhere; }
figure table { width: 100%; font-size: 13px; }
figure th, figure td { padding: .15rem .4rem; }
figure th:last-child, figure td:last-child { text-align: left; }
.bad { color: var(--bad); }
.good { color: var(--good); }
"""


def page(results: Sequence[Result], title: str) -> str:
    """A page of all sets and pictures. It asks no network for anything; its pictures lie beside it.

    title: of the page.
    """
    head, *rows = sets(results)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>Likeness: {html.escape(title)}</title>',
        f"<style>{_STYLE}</style>",
        f"<h1>Likeness: {html.escape(title)}</h1>",
        f"<p>{html.escape(measure.judge_sentence(results[0].report))} ",
        'The figures are in <a href="sets.csv">sets.csv</a> and <a href="likeness.csv">likeness.csv</a>.</p>',
        f'<div class="wide">{_table_of_sets(head, rows)}</div>',
    ]
    for group in sorted({result.group for result in results}):
        pictures = [result for result in results if result.group == group]
        parts.append(f"<h2>{html.escape(group or NO_SET)} ({len(pictures)})</h2>")
        parts.append('<div class="grid">')
        parts += [_figure(result) for result in pictures]
        parts.append("</div>")
    return "\n".join(parts) + "\n</html>\n"


def _table_of_sets(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """The means of each set by each recogniser. head: the columns of sets.csv; rows: its lines."""
    titles = [str(column).replace("_", " ") for column in head]
    lines = [_row(titles, "th")]
    lines.append("</thead><tbody>")
    for group, *figures in rows:
        cells = [group or NO_SET]
        for column, value in zip(head[1:], figures, strict=True):
            if column == "face_px" and value is not None:
                value = round(value)
            cells.append(_figure_text(value))
        lines.append(_row(cells, "td"))
    return f"<table><thead>{''.join(lines)}</tbody></table>"


def _figure_text(value: Any) -> str:
    """A figure as the page shows it; a dash for an unknown one."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def _row(cells: Iterable[str], tag: str, style: str = "") -> str:
    """A row of a table. tag: th or td. style: a class of the style sheet for the row."""
    texts = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    if style:
        return f'<tr class="{style}">{texts}</tr>'
    return f"<tr>{texts}</tr>"


def _figure(result: Result) -> str:
    """A picture with names, and a table of the people who are meant in it."""
    # The name of a file may have any letters: quoted, so that a browser finds it, with the bytes that are no letters.
    source = quote(annotated_name(result.name), errors="surrogateescape")
    name = html.escape(result.name)
    return (
        f'<figure><a href="{source}"><img loading="lazy" src="{source}" alt="{name}"></a>'
        f"<figcaption>{name}</figcaption>{_table_of_people(result)}</figure>"
    )


def _table_of_people(result: Result) -> str:
    """A line for each person by the recogniser that judges, and one for all strangers."""
    rows = [_row(["person", "similarity", "to others", "face px", ""], "th"), "</thead><tbody>"]
    stranger_sides: list[str] = []
    for line in lines_of(result):
        if line["state"] == "extra":
            stranger_sides.append(str(line["face_px"]))
        elif line.get("recogniser") in (None, result.report.judge):
            rows.append(_row_of_person(line))
    if stranger_sides:
        text = f"{counted(len(stranger_sides), 'stranger')}"
        rows.append(_row([text, "", "", ", ".join(stranger_sides[:_MOST_STRANGERS]), "extra"], "td", "bad"))
    return f"<table><thead>{''.join(rows)}</tbody></table>"


_MOST_STRANGERS = 3
"""Whose faces' sizes the page shows for a picture."""


def _row_of_person(line: Mapping[str, Any]) -> str:
    """A person or a part of a picture. line: of `lines_of`."""
    name = line["person"]
    if line.get("place"):
        name = f"{line['place']} {name}"
    state = _STATES[line["state"]]
    if line["state"] == "swapped":
        state = f"looks like {line['looks_like']}"
    figures = [line.get("similarity"), line.get("leakage"), line.get("face_px")]
    cells = [name, *[_figure_text(figure) for figure in figures], state]
    return _row(cells, "td", "bad" if state else "good")


if __name__ == "__main__":
    accept_any_text()
    with written_out():
        try:
            sys.exit(main())
        except (Unusable, LikenessError, OSError, ValueError) as problem:
            sys.exit(plain_lines(str(problem)))
        except KeyboardInterrupt:
            print("Stopped before the tables and the page were written: run the same again.", file=sys.stderr)
            sys.exit(_STOPPED)
