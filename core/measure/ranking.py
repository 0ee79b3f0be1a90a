"""The pictures of a report from best to worst, by one of their figures."""

import math

from .figures import association, figure_named, resemblance, score
from .report import Report
from .report_text import summary


def scores(report: Report, name: str) -> list[float | None]:
    """The figure `name` of every picture, by the recogniser that judges; None where a picture has none."""
    return [score(picture, name) for picture in report.judged_pictures]


def ranking(report: Report, name: str) -> list[int]:
    """Indices of the pictures, from best to worst by the figure `name`.

    Pictures of the same value are ordered by: more people who are most like themselves, fewer faces of strangers, a
    higher resemblance, and then the order in which the pictures were made. Pictures without the figure come last.
    For figures where less is better, such as leakage, the number of missing people is compared before the value: a
    missing person has no leakage, and a picture must not win by that.
    """
    less_is_better = figure_named(name).less_is_better
    values = scores(report, name)

    def sort_key(number: int) -> tuple[float, ...]:
        """Smaller is better, and the first number that differs decides."""
        picture = report.judged_pictures[number]
        value = values[number]
        if value is None:
            value = math.inf  # comes last
        elif not less_is_better:
            value = -value
        return (
            picture.missing if less_is_better else 0,
            value,
            -(association(picture) or 0.0),
            len(picture.stranger_faces),
            -(resemblance(picture) or 0.0),
            number,
        )

    return sorted(range(len(report.judged_pictures)), key=sort_key)


def ranking_lines(report: Report, name: str) -> list[str]:
    """A line per picture, from best to worst by the figure `name`."""
    values = scores(report, name)
    lines: list[str] = []
    for number in ranking(report, name):
        value = values[number]
        figure = "none" if value is None else f"{value:.3f}"
        lines.append(f"picture {number + 1}: {name} {figure} ({summary(report.judged_pictures[number])})")
    return lines
