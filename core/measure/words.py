"""What was measured, in plain lines."""

from __future__ import annotations

from ..geometry import longer_side
from .report import METHODS, Measured, Report, Sighting

ANOTHER = "Load another recogniser in Load Face Model, for the identities as well, and it will judge."


def describe(report: Report) -> str:
    """Everything in plain lines: by whom it was measured, then each picture and everybody in it."""
    lines = [_judge(report)]
    for number, one in enumerate(report.judged, 1):
        lines.append(f"Picture {number}: {summary(one)}")
        lines += [f"  {line}" for line in (_line(report, one, seen) for seen in one.sightings)]
        lines += [f"  {label}: {alike:.2f}" for label, alike in zip(report.labels, one.parts, strict=True)]
        if one.extra:
            sizes = ", ".join(f"{longer_side(one.boxes[face]):.0f} px" for face in one.extra)
            lines.append(f"  no cast member: {len(one.extra)} of {len(one.boxes)} faces ({sizes})")
    for name in report.recognisers[1:]:
        lines += [f"By {name}, picture {n}: {summary(one)}" for n, one in enumerate(report.pictures[name], 1)]
    return "\n".join(lines)


def troubles(report: Report) -> list[str]:
    """What the numbers alone do not say, a line each."""
    empty = [str(number) for number, one in enumerate(report.judged, 1) if not one.boxes]
    return [
        *([_judge(report)] if report.flattered else []),
        *([f"No face found in picture {', '.join(empty)}."] if empty else []),
    ]


def summary(one: Measured) -> str:
    copied = "" if one.copy_paste is None else f", copy-paste {one.copy_paste:+.2f}"
    copied += "" if one.part_similarity is None else f", parts {one.part_similarity:.2f}"
    right = sum(seen.right for seen in one.sightings)
    return (
        f"resemblance {one.resemblance:.2f}, association {right}/{len(one.sightings)}, "
        f"leakage {one.leakage:.2f}, margin {one.margin:.2f}{copied}"
    )


def _judge(report: Report) -> str:
    judge, own = report.recognisers[0], METHODS[report.method]
    if report.flattered:
        return f"Measured by {judge}, with which {report.method} was trained: it is biased. {ANOTHER}"
    if own:
        return f"Measured by {judge}, which {report.method} was not trained with."
    return f"Measured by {judge}. If the pictures were made with it, it is biased: set made_with."


def _line(report: Report, one: Measured, seen: Sighting) -> str:
    name, number = report.names[seen.person], report.numbers[seen.person]
    who = f"{name} (place {number})" if report.placed else name
    if seen.face is None:
        return f"{who}: missing"
    size, line = longer_side(one.boxes[seen.face]), f"{who}: {seen.similarity:.2f}"
    if seen.swapped and seen.looks_like is not None:
        line += f", looks like {report.names[seen.looks_like]} ({seen.leakage:.2f})"
    elif len(report.people) > 1:
        line += f", others {seen.leakage:.2f}"
    copied = "" if seen.copied is None else f", copy-paste {seen.copied:+.2f}"
    return f"{line}{copied}, face {size:.0f} px"
