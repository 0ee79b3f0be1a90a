"""MultiID-Bench: pictures of 1 to 4 people that should be like a photo (WithAnyone, arXiv 2510.14975).

Its folder is what `hf2bench.py` of the authors writes of the data set: `p1.json`, `p2.json` and `p3.json`, and for each
a folder with the photos that should be matched, the reference photos, and the boxes of the faces.

The definitions are those of the code that the authors have released: the mean of a picture's people, pictures of all
recognisers together, and of these the mean without outliers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from environment import SetupError
from pack.core.measure.figures import mean
from pack.core.people import Box
from shared.given_files import Unreadable, bytes_of

from .benchmarks import (
    MOST_BYTES,
    Benchmark,
    Case,
    Entry,
    FolderError,
    Published,
    Size,
    entries_of,
)
from .columns import CLIP, Column
from .formulas import SMALLEST_ANGLE, angle
from .judged import Compared, Judged, Table, pairs
from .photos import size_of
from .prompts import Places
from .rows import Unread

TITLE = "MultiID-Bench"
_ADVICE = (
    "Load the data set with the authors' script: python hf2bench.py --dataset WithAnyone/MultiID-Bench --from_hub "
    "--output_dir FOLDER, and name that folder."
)
_OUTSIDE = 1.5
"""In interquartile ranges: how far beyond the quartiles an outlier begins."""
_NO_FILE_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
"""Letters that Windows takes in no file's name, and bytes that are no letters."""


@dataclass(frozen=True)
class _Part:
    """A part of the benchmark. index: its list of pictures. root: the folder below which that list names files."""

    index: str
    root: str


_PARTS = (_Part("p1.json", "p1/untar"), _Part("p2.json", "p2/untar"), _Part("p3.json", "p3"))
GROUPS = ("1", "2", "3-4")


def read(folder: Path, given_places: bool) -> list[Case]:
    """The pictures of a folder. given_places: by the boxes of the folder. Raises FolderError."""
    there = [part for part in _PARTS if (folder / part.index).is_file()]
    if not there:
        names = ", ".join(part.index for part in _PARTS)
        raise FolderError(TITLE, folder, f"there is none of {names} in it.", _ADVICE)
    cases: list[Case] = []
    for part in there:
        cases += [_case(part, entry, given_places) for entry in entries_of(TITLE, folder, part.index, 1, _ADVICE)]
    return cases


def _case(part: _Part, entry: Entry, given_places: bool) -> Case:
    """A picture of an index. Raises FolderError."""
    root = entry.folder / part.root
    photos = entry.photos("image_paths", root, 1, 4)
    truth = entry.file(entry.text("ori_img_path"), root)
    if not truth.is_relative_to(root):
        raise entry.refused(f"names a photo outside of {part.root}.")
    group = GROUPS[min(len(photos), 3) - 1]
    try:
        shape = size_of(truth)
    except SetupError as cause:
        raise entry.refused(f"names a photo that cannot be read: {cause}") from cause
    boxes = _boxes(truth, len(photos), shape) if given_places else None
    # Two parts have pictures of one name, so a picture is called by its part too.
    name = f"{part.root.partition('/')[0]}_{truth.relative_to(root).with_suffix('').as_posix()}"
    name = _NO_FILE_NAME.sub("_", name)
    return Case(
        name, entry.text("prompt"), photos, (group,), truth, shape, partial(places, boxes, shape) if boxes else None
    )


def _boxes(truth: Path, people: int, shape: Size) -> list[Box] | None:
    """The boxes of the faces of a photo, in its pixels; None where there are not as many as people, each with an area
    in the photo. shape: (width, height) of the photo.

    They are in the file beside it. Where the photo is a part of another one, "crop" says which, and the boxes are those
    of the whole.
    """
    try:
        content = json.loads(bytes_of(truth.with_suffix(".json"), MOST_BYTES))
        left, top = (content.get("crop") or (0, 0))[:2]
        boxes: list[Box] = []
        for x0, y0, x1, y1 in content["bboxes"]:
            boxes.append((float(x0) - left, float(y0) - top, float(x1) - left, float(y1) - top))
    except (Unreadable, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    finite = all(math.isfinite(side) for box in boxes for side in box)
    return boxes if finite and len(boxes) == people and all(_is_in(shape, box) for box in boxes) else None


def _is_in(shape: Size, box: Box) -> bool:
    """Whether a box has an area in a photo of (width, height)."""
    x0, y0, x1, y1 = box
    return max(0.0, x0) < min(float(shape[0]), x1) and max(0.0, y0) < min(float(shape[1]), y1)


def places(boxes: Sequence[Box], shape: Size, canvas: Size) -> Places:
    """A face in each box: the first person in the first one, as the authors' own method takes them.

    shape: (width, height) of the photo of the boxes. canvas: of the picture.
    """
    across, down = canvas[0] / shape[0], canvas[1] / shape[1]
    lines: list[str] = []
    for x0, y0, x1, y1 in boxes:
        left, top = max(0.0, x0 * across), max(0.0, y0 * down)
        right, bottom = min(float(canvas[0]), x1 * across), min(float(canvas[1]), y1 * down)
        lines.append(f"{left:.1f}, {top:.1f}, {right - left:.1f}, {bottom - top:.1f}")
    inputs = {"text": "\n".join(lines), "boxes_from": "text", "boxes_show": "face", "body": "half"}
    return Places("LikenessLayoutFromBoxes", inputs, "as listed")


# --- Columns


def _pictures(judged: Sequence[Judged], value: Callable[[Compared], float | None]) -> list[float]:
    """The value of each picture by each recogniser, without those that have none."""
    values: list[float] = []
    for picture in judged:
        for compared in picture.compared.values():
            of_picture = value(compared)
            if of_picture is not None:
                values.append(of_picture)
    return values


def without_outliers(values: Sequence[float]) -> float | None:
    """The mean of the values that are at most _OUTSIDE interquartile ranges beyond the quartiles.

    Where more than half of them are further out, the median of all. None of nothing.
    """
    if not values:
        return None
    array = np.asarray(values)
    lower, upper = np.percentile(array, (25, 75))
    beyond = _OUTSIDE * (upper - lower)
    kept = array[(array >= lower - beyond) & (array <= upper + beyond)]
    if len(kept) < len(array) / 2:
        return float(np.median(array))
    return float(kept.mean())


def similarity_to_truth(judged: Sequence[Judged]) -> float | None:
    """Sim(GT): the mean cosine of faces and the faces of the photo that they are assigned to."""
    return without_outliers(_pictures(judged, lambda compared: _assigned(compared.truth)))


def similarity_to_references(judged: Sequence[Judged]) -> float | None:
    """Sim(Ref): the mean cosine of faces and the reference photos that they are assigned to."""
    return without_outliers(_pictures(judged, lambda compared: _assigned(compared.references)))


def _assigned(table: Table) -> float | None:
    return mean([pair.cosine for pair in pairs(table)])


def blending(judged: Sequence[Judged]) -> float | None:
    """The mean cosine of faces and all faces of the photo that they are not assigned to; nothing of one person."""
    several = [picture for picture in judged if picture.people > 1]
    return without_outliers(_pictures(several, lambda compared: _not_assigned(compared.truth)))


def _not_assigned(table: Table) -> float | None:
    own = {(pair.row, pair.column) for pair in pairs(table)}
    others: list[float] = []
    for row, cosines in enumerate(table):
        for column, cosine in enumerate(cosines):
            if (row, column) not in own:
                others.append(cosine)
    return mean(others)


def copy_paste(judged: Sequence[Judged]) -> float | None:
    """The mean over faces of (angle to the photo - angle to the reference) / angle between the two, of pictures that
    have as many faces as the photo and as there are people."""
    counted = [picture for picture in judged if picture.faces == picture.truth_faces == picture.people]
    return without_outliers(_pictures(counted, _copied))


def _copied(compared: Compared) -> float | None:
    """Of one picture by one recogniser: each face with the face of the photo and the reference it is assigned to."""
    reference_of_face = {pair.row: pair for pair in pairs(compared.references)}
    values: list[float] = []
    for to_truth in pairs(compared.truth):
        to_reference = reference_of_face[to_truth.row]
        between = angle(compared.between[to_truth.column][to_reference.column])
        if between < SMALLEST_ANGLE:
            values.append(0.0)
        else:
            values.append((angle(to_truth.cosine) - angle(to_reference.cosine)) / between)
    return mean(values)


def text_alignment(judged: Sequence[Judged]) -> float | None:
    """The mean cosine of CLIP's embeddings of the picture and the prompt, without outliers."""
    return without_outliers([picture.text_alignment for picture in judged if picture.text_alignment is not None])


_CODE = "MultiID-Bench, arXiv 2510.14975, by its released code"
_JUDGES = "of ArcFace, AdaFace and FaceNet there, of the recognisers that are found here"
COLUMNS = (
    Column(
        "Sim(GT)",
        "The mean cosine of the faces of a picture and the faces of the photo that they are assigned to (Hungarian "
        "method).",
        f"{_CODE}; {_JUDGES}", "1", similarity_to_truth, digits=3,
    ),
    Column(
        "Sim(Ref)",
        "The mean cosine of the faces of a picture and the reference photos that they are assigned to.",
        f"{_CODE}; {_JUDGES}", "", similarity_to_references, digits=3,
    ),
    Column(
        "copy-paste",
        "The angle of a face to its face in the photo less that to its reference, in angles between these two: 1 is a "
        "copy of the reference, -1 of the photo.",
        f"{_CODE}; pictures with another number of faces are left out", "0", copy_paste, digits=3,
    ),
    Column(
        "blending",
        "The mean cosine of the faces of a picture and all faces of the photo that they are not assigned to.",
        f"{_CODE}; {_JUDGES}", "0", blending, digits=3,
    ),
    Column(
        "CLIP-T", "The cosine of CLIP's embeddings of the picture and the prompt.",
        f"{_CODE}; ViT-B/16 there, SDXL's CLIP-G with ViT-bigG here: the two do not compare", "",
        text_alignment, digits=3, judge=CLIP,
    ),
)  # fmt: skip


def _similarities(*values: float) -> Mapping[tuple[str, str], float]:
    return {(group, "Sim(GT)"): value for group, value in zip(GROUPS, values, strict=True)}


PUBLISHED = (
    Published("WithAnyone", _similarities(0.460, 0.405, 0.414), "arXiv 2510.14975"),
    Published("ID-Patch", _similarities(0.426, 0.350, 0.379), "arXiv 2510.14975"),
    Published("AnyPhoto", _similarities(0.448, 0.401, 0.424), "arXiv 2603.14770"),
)
BENCHMARK = Benchmark(
    key="multi-id",
    title=TITLE,
    source="WithAnyone, arXiv 2510.14975",
    data="https://huggingface.co/datasets/WithAnyone/MultiID-Bench",
    read=read,
    groups=GROUPS,
    columns=COLUMNS,
    published=PUBLISHED,
    unread=(
        Unread("CLIP-I", "it needs CLIP ViT-B/16, which no template here has."),
        Unread("aesthetics", "it needs the aesthetic predictor v2.5."),
        Unread("FID", "it needs the Inception network, and says little of 400 pictures."),
    ),
    seed=1234,
)
