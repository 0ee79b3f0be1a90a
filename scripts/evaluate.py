"""Measures how much pictures of any model show the people they should show: two tables, and the pictures with names.

    python scripts/evaluate.py my_pictures --models ../../models --made-with InstantID

The folder holds people/<name>/ with one or more photos each, and pictures/ with the pictures to measure. Those of
different models or settings are in folders of their own. Beside a picture may lie a .json of its name that says who is
meant and where; docs/dev/measuring.md describes it and what is measured. The result is put into measured/ there.
Garments are measured where the workflow says which picture and mask each has: by batch.py --clip-vision FILE,
or by Measure Likeness in a graph. Run it with the Python that runs ComfyUI.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

# Not in front: batch.py takes this into a process whose first folder may be a host's, with a `nodes` of its own.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

try:
    import numpy as np
    import torch
    from PIL import Image
except ImportError as error:
    sys.exit(f"This needs {error.name}: run it with the Python that runs ComfyUI.")

from core import identities, measure
from core.consoles import accept_any_text
from core.errors import BadPhoto, LikenessError, counted
from core.faces import analysis, model
from core.faces.model import FaceModel
from core.geometry import FAR, area, longer_side
from core.models import packs
from core.models.files import WEIGHTS, by_name
from core.models.onnx_file import Kind, inspect
from core.models.tensors import read
from core.names import among
from core.people import Cast, Face, Identity, Person, PlacedCast, Slot
from core.picture_files import read_picture
from core.text import plain_lines

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""Whatever a file is called, nothing else is opened: Pillow hands some formats to other programs."""
WIDTH = 768
"""Pixels of the longer side of the pictures with names."""
PART = "part"
"""The state in the line of a part."""
COLUMNS = (
    "set", "picture", "person", "place", "state", "looks_like", "face_px", "recogniser", "similarity", "leakage",
    "margin", "copy_paste",
)  # fmt: skip


class Unusable(Exception):
    """Something the user has to fix; the text says what and how."""


@dataclass(frozen=True)
class Result:
    """One picture: its set, its name, and what was measured."""

    group: str
    name: str
    report: measure.Report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds people/ and pictures/")
    parser.add_argument("--models", type=Path, help="ComfyUI's models folder; without it that of COMFYUI_PATH")
    parser.add_argument(
        "--made-with", choices=list(measure.TRAINED_WITH), default="unknown", help="the pictures' method"
    )
    given = parser.parse_args()
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # a picture of more pixels would take all memory
    face_model = load(given.models or Path(os.environ.get("COMFYUI_PATH", "")) / "models")
    people = {folder.name: person(folder, face_model) for folder in folders_in(given.folder / "people")}
    root = given.folder / "pictures"
    pictures = sorted(pictures_below(root))
    if not pictures:
        raise Unusable(f"There is no picture below {root}.")
    # What cannot be used is said before hours are spent on the others.
    casts = {path: cast_of(path, people, size_of(path)) for path in pictures}
    output = given.folder / "measured"
    (output / "pictures").mkdir(parents=True, exist_ok=True)
    results = [evaluated(path, root, casts[path], face_model, given.made_with, output) for path in pictures]
    lines = [[line.get(column) for column in COLUMNS] for result in results for line in lines_of(result)]
    (output / "likeness.csv").write_bytes(as_csv([COLUMNS, *lines]))
    (output / "sets.csv").write_bytes(as_csv(sets(results)))
    print(measure.judge_sentence(results[0].report))
    print(f"Names and similarities are in {output / 'pictures'}, figures in likeness.csv and sets.csv beside it.")
    return 0


# --- Files


def folders_in(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*") if path.is_dir())
    if not found:
        raise Unusable(
            f"There is nobody in {folder}: put the photos of each person into a folder with their name there."
        )
    return found


def pictures_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and not path.is_dir())


def load(models: Path) -> FaceModel:
    """The largest detector and every recogniser of a models folder, opened as Load Face Embedder does."""
    packed, others = str(models / "insightface"), str(models / "facexlib")
    files = model.Files(by_name([packed], (".onnx",)), by_name([others, packed], WEIGHTS))
    detectors = {path: name for name, path in files.onnx.items() if inspect(path).kind is Kind.DETECTOR}
    url = packs.published(packs.ANTELOPE).url
    if not detectors:
        advice = f"unpack {packs.ANTELOPE} ({url}) there, or name ComfyUI's models folder with --models."
        raise Unusable(f"No face detector below {packed}: {advice}")
    largest = max(detectors, key=os.path.getsize)
    found = files.recognisers(packs.pack_of(detectors[largest]))
    recognisers = [one for name, path in found.items() if (one := recogniser(name, path))]
    if not recognisers:
        raise Unusable(f"No face recogniser below {models}; {packs.ANTELOPE} is at {url}.")
    return FaceModel(model.open_detector(largest, model.on_cpu), tuple(recognisers))


def recogniser(name: str, path: str) -> analysis.Recogniser | None:
    """None for a file that is something else."""
    if name == packs.IR_SE50:
        return model.IRSE50Recogniser(read(Path(path)), path, model.on_cpu)
    return model.open_recogniser(name, path, model.on_cpu) if inspect(path).kind is Kind.RECOGNISER else None


def image(path: Path) -> torch.Tensor:
    """(H, W, 3) float 0..1, turned as the camera says. Raises Unusable for what is no picture, or too large."""
    if not path.is_file():
        raise Unusable(f"{path} cannot be read as a picture: there is no such file.")
    try:
        picture = read_picture(str(path), FORMATS)
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
    """Everybody's largest face on each of their photos."""
    faces = [largest_face(path, image(path), face_model) for path in sorted(pictures_below(folder))]
    if not faces:
        raise Unusable(f"There is no photo in {folder}.")
    return identities.from_faces(folder.name, faces, face_model.ids)


def largest_face(path: Path, photo: torch.Tensor, face_model: FaceModel) -> Face:
    faces = model.faces_in(face_model, photo).faces
    if not faces:
        raise Unusable(f"No face found in {path}: use a photo with a larger and sharper face, or take it out.")
    return max(faces, key=lambda face: area(face.box))


def cast_of(path: Path, people: Mapping[str, Identity], size: tuple[int, int]) -> Cast:
    """Who is meant in a picture: those whom the file beside it names, in their places, else everybody."""
    beside = path.with_suffix(".json")
    said = said_in(beside) if beside.is_file() else {}
    names = said.get("people", list(people))
    if not names:
        raise Unusable(f"{beside} names nobody: write who is meant, or leave people out for everybody.")
    # A Mac writes the names of folders in another spelling than keyboards do.
    known = {name: among(name, people) for name in names}
    if unknown := [name for name in names if known[name] is None]:
        raise Unusable(f"{beside} names {', '.join(unknown)}; there are photos of {', '.join(people)}.")
    places = said.get("places", [])
    if places and len(places) != len(names):
        raise Unusable(f"{beside} has {counted(len(places), 'place')} for {len(names)} people: write one [x, y] each.")
    slots = [Slot((float(x), float(y))) for x, y in places] or [None] * len(names)
    persons: list[Person] = []
    for number, (name, slot) in enumerate(zip(names, slots, strict=True), 1):
        persons.append(Person(people[known[name] or name], 1.0, slot, number))
    return PlacedCast(tuple(persons), *said.get("size", size)) if places else Cast(tuple(persons))


_LONGEST = 10**6
"""Letters of a file beside a picture."""


def said_in(beside: Path) -> dict[str, Any]:
    """Raises Unusable for anything but {"people": [names], "places": [[x, y], ...], "size": [width, height]}."""
    try:
        with beside.open(encoding="utf-8-sig") as file:
            said: Any = json.loads(file.read(_LONGEST))
        names, (width, height) = said.get("people", []), said.get("size", (1, 1))
        whole = isinstance(names, list) and all(isinstance(name, str) for name in cast("list[Any]", names))
        whole = whole and said.keys() <= {"people", "places", "size"}  # a slip of the pen is not left out in silence
        whole = whole and 0 < width <= FAR and 0 < height <= FAR  # NaN is not
        whole = whole and all(abs(axis) <= FAR for x, y in said.get("places", []) for axis in (x, y))
    except (AttributeError, RecursionError, TypeError, ValueError):
        whole, said = False, None
    if not whole:
        form = '{"people": ["Anna"], "places": [[300, 260]], "size": [1024, 768]}'
        raise Unusable(f"{beside} cannot be read: write it as {form}; each of the three may be left out.")
    return cast("dict[str, Any]", said)


def evaluated(path: Path, root: Path, cast: Cast, face_model: FaceModel, method: str, output: Path) -> Result:
    pixels = image(path)
    names = measure.judges(face_model.ids, cast.people, method)
    report = measure.measure([model.faces_in(face_model, pixels)], cast, names, method)
    name = path.relative_to(root).as_posix()
    drawn = Image.fromarray((measure.annotate(pixels, report, 0) * 255).byte().numpy())
    drawn.thumbnail((WIDTH, WIDTH))
    annotated = output / "pictures" / f"{name}.jpg"
    annotated.parent.mkdir(parents=True, exist_ok=True)
    drawn.save(annotated, quality=88)
    print(f"{name}: {measure.summary(report.judged_pictures[0])}", file=sys.stderr)
    group = path.parent.relative_to(root).as_posix()
    return Result("" if group == "." else group, name, report)


# --- What is written


def lines_of(result: Result) -> Iterator[dict[str, Any]]:
    """One line per person and recogniser, one per stranger and one per part."""
    report, where = result.report, {"set": result.group, "picture": result.name}
    for recogniser in report.recognisers:
        one = report.pictures[recogniser][0]
        for seen in one.sightings:
            state = "missing" if seen.face is None else "swapped" if seen.swapped else "right"
            place = report.numbers[seen.person] if report.has_places else ""
            line: dict[str, Any] = {**where, "person": report.names[seen.person], "place": place, "state": state}
            line["recogniser"] = recogniser
            if seen.face is not None and seen.looks_like is not None:
                line |= {"looks_like": report.names[seen.looks_like], "face_px": _side(one, seen.face)}
                line |= {"similarity": seen.similarity, "leakage": seen.leakage, "margin": seen.margin}
                line["copy_paste"] = seen.copy_paste
            yield line
    one = report.judged_pictures[0]
    for face in one.stranger_faces:
        yield {**where, "state": "extra", "face_px": _side(one, face)}
    for label, alike in zip(report.labels, one.part_similarities, strict=True):
        yield {**where, "person": label, "state": PART, "similarity": alike}


def _side(one: measure.MeasuredPicture, face: int) -> int:
    return round(longer_side(one.boxes[face]))


def as_csv(lines: Iterable[Iterable[Any]]) -> bytes:
    """Lines of ours, which spreadsheets may open. A file's name may hold what is no letter."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(as_cell, line) for line in lines)
    return text.getvalue().encode(errors="replace")


def as_cell(value: Any) -> Any:
    """No text is a formula, as which a spreadsheet would take it, and none is more than a line."""
    if isinstance(value, str):
        value = " ".join(value.splitlines())
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return f"{value:.4f}" if isinstance(value, float) else value


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
            copied: list[float] = []
            sizes: list[float] = []
            for picture in pictures:
                people += len(picture.sightings)
                if (alike := measure.score(picture, "copy-paste")) is not None:
                    copied.append(alike)
                for seen in picture.present:
                    assert seen.face is not None
                    sizes.append(longer_side(picture.boxes[seen.face]))
            totals: list[float | None] = [*measure.totals(pictures)]
            if not sizes:  # of nobody
                totals[measure.MEANS.index("leakage")] = None
            yield group, name, len(pictures), *totals, mean(copied), mean(sizes), people


def mean(values: Sequence[float]) -> float | None:
    """None where there are no values: a mean of nothing is unknown and not 0."""
    if not values:
        return None
    return sum(values) / len(values)


if __name__ == "__main__":
    accept_any_text()
    try:
        sys.exit(main())
    except (Unusable, LikenessError, OSError, ValueError) as problem:
        sys.exit(plain_lines(str(problem)))
