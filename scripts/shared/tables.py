"""Tables for spreadsheets, and the lines of likeness.csv: what was measured of every person in a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.measure.report import MeasuredPicture, Report, Sighting

PART = "part"
"""The state in the line of a part."""
COLUMNS = (
    "set", "picture", "person", "place", "state", "looks_like", "face_px", "recogniser", "similarity", "leakage",
    "margin", "copy_paste",
)  # fmt: skip
"""Of likeness.csv."""


def lines_of(group: str, name: str, report: Report) -> Iterator[dict[str, Any]]:
    """One line per person and recogniser, one per stranger and one per part. group: the set of the picture `name`."""
    columns = {"set": group, "picture": name}
    for recogniser in report.recognisers:
        picture = report.pictures[recogniser][0]
        for sighting in picture.sightings:
            yield {**columns, **_person_columns(report, picture, sighting), "recogniser": recogniser}
    picture = report.judged_pictures[0]
    for face in picture.stranger_faces:
        yield {**columns, "state": "extra", "face_px": _side(picture, face)}
    for label, similarity in zip(report.labels, picture.part_similarities, strict=True):
        yield {**columns, "person": label, "state": PART, "similarity": similarity}


def _person_columns(report: Report, picture: MeasuredPicture, sighting: Sighting) -> dict[str, Any]:
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


def _side(picture: MeasuredPicture, face: int) -> int:
    from core.pictures.geometry import longer_side

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
