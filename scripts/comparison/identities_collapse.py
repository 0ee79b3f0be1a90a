"""When Identities Collapse: 75 prompts of 2 to 10 people, and how many of them are nobody (arXiv 2603.26078).

The authors have published no folder: neither their prompts nor their reference photos. So this reads a folder that
somebody makes as the paper describes it, `prompts.json` and the photos that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pack.core.measure.figures import mean
from pack.core.text import plain

from .benchmarks import Benchmark, Case, Entry, entries_of
from .columns import CLIP, DINO, Column, text_alignment
from .formulas import collapse_rate
from .judged import Judged
from .rows import Unread

TITLE = "When Identities Collapse"
PROMPTS = "prompts.json"
SCENES = ("neutral", "occlusion", "interaction")
FEWEST, MOST = 2, 10
_ADVICE = (
    f"Make {PROMPTS}, a list of "
    '{"prompt": "...", "scene": "neutral", "subjects": ["photos/a.jpg", "photos/b.jpg"]} '
    f"with {FEWEST} to {MOST} photos each and a scene of {', '.join(SCENES)}."
)
THRESHOLDS = (0.4, 0.5, 0.6)


def _group(people: int) -> str:
    return f"{people} people"


GROUPS = (*(_group(people) for people in range(FEWEST, MOST + 1)), *SCENES)


def read(folder: Path, given_places: bool) -> list[Case]:
    """The pictures of a folder. given_places: says nothing here, as the paper gives none. Raises FolderError."""
    return [_case(entry) for entry in entries_of(TITLE, folder, PROMPTS, 1, _ADVICE)]


def _case(entry: Entry) -> Case:
    """A picture. Raises FolderError."""
    photos = entry.photos("subjects", entry.folder, FEWEST, MOST)
    scene = entry.text("scene")
    if scene not in SCENES:
        raise entry.refused(f"has the scene {plain(scene, 100)!r}.")
    return Case(f"{entry.number:03}", entry.text("prompt"), photos, (_group(len(photos)), scene))


# --- Columns


def collapse(below: float, judged: Sequence[Judged]) -> float | None:
    """The Subject Collapse Rate: the share of people whose photo has a cosine below a threshold to the picture, in
    percent."""
    value = mean(collapse_rate(picture.whole, below) for picture in judged)
    return None if value is None else 100 * value


def similarity(judged: Sequence[Judged]) -> float | None:
    """The mean over pictures of the mean cosine of DINOv2's embeddings of the picture and each reference photo."""
    return mean(mean(picture.whole) for picture in judged)


_PAPER = "When Identities Collapse, arXiv 2603.26078"


def _rate(below: float) -> Column:
    of: Callable[[Sequence[Judged]], float | None] = partial(collapse, below)
    return Column(
        f"SCR@{below}",
        f"The share of people whose photo has a DINOv2 cosine below {below} to the whole picture, in percent.",
        f"{_PAPER}; it names no size of DINOv2, the large or giant one is taken here", "0", of, digits=1,
        judge=DINO,
    )  # fmt: skip


COLUMNS = (
    *(_rate(below) for below in THRESHOLDS),
    Column(
        "DINOv2", "The mean cosine of DINOv2's embeddings of the whole picture and of each reference photo.", _PAPER,
        "1", similarity, digits=3, judge=DINO,
    ),
    Column(
        "CLIP-T", "The cosine of CLIP's embeddings of the picture and the prompt.",
        f"{_PAPER}; which CLIP it takes is not known, SDXL's CLIP-G with ViT-bigG here", "",
        text_alignment, digits=3, judge=CLIP,
    ),
)  # fmt: skip


BENCHMARK = Benchmark(
    key="identities-collapse",
    title=TITLE,
    source=_PAPER,
    data="none published",
    read=read,
    groups=GROUPS,
    columns=COLUMNS,
    unread=(Unread("CLIP-I", "the paper shows that it does not tell people apart."),),
    seed=1,
)
