"""Who draws the pictures of a benchmark: the host in this process, or workers on this machine or on Ray.

What decides whether a picture is drawn again is known before any worker answers, so it is read on this machine: its
photos, its model files, and the versions of its ComfyUI, its torch and its Likeness.

- Workers of this machine have the same files and the same ComfyUI. Their pictures are taken for those of this process,
  and the other way round.
- Workers of a cluster of Ray may be on other machines. Their files are not looked at: they have to be the same as here.
  A worker with another version of ComfyUI is named when it starts. What computes there is not known, so the pictures
  count as drawn on "Ray", and none is taken for one of this machine's own device.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import comfy.utils
from batch.one_worker import Workers
from batch.prompts import Job
from batch.rows import Row as BatchRow
from batch.run import Asking
from PIL import Image

from .benchmarks import Case
from .graphs import Graph
from .host import DrawingError, Host
from .picture_cache import Note, save

_HASH_LETTERS = 16


@dataclass(frozen=True)
class Task:
    """A picture that is to be drawn. path: where it is put. fingerprint: what it is made of, see picture_cache.py."""

    case: Case
    graph: Graph
    path: Path
    fingerprint: str


@dataclass(frozen=True)
class Finished:
    """What became of a task. error: why there is no picture, "" where there is one. public_error: the same without
    paths and names."""

    task: Task
    error: str = ""
    public_error: str = ""


Draw = Callable[[Iterable[Task]], Iterator[Finished]]
"""What becomes of each task, in the order in which they end."""


def drawn_by_host(host: Host, tasks: Iterable[Task]) -> Iterator[Finished]:
    """By the host in this process, one picture after the other."""
    # A bar for the steps of each picture would break the bar of the pictures.
    comfy.utils.set_progress_bar_enabled(False)
    for task in tasks:
        try:
            host.draw(task.graph, task.path, task.fingerprint)
        except DrawingError as error:
            yield Finished(task, error=str(error), public_error=f"{error.node} ended with an error.")
            continue
        yield Finished(task)


def drawn_by_workers(workers: Workers, folder: Path, tasks: Iterable[Task]) -> Iterator[Finished]:
    """By workers, each with a ComfyUI. folder: where the photos are that prompts name."""
    by_line: dict[int, Task] = {}

    def jobs() -> Iterator[Job]:
        for line, task in enumerate(tasks, 1):
            by_line[line] = task
            yield job_of(task, line, folder)

    for finished in workers.results(Asking(), jobs()):
        task = by_line.pop(finished.task.row.line)
        outcome = finished.made
        error = finished.error or outcome.error
        if error:
            # The text begins with the title of the node, and goes on with what may hold a path.
            node, _, _ = error.partition(":")
            yield Finished(task, error=error, public_error=f"{node} ended with an error.")
            continue
        with Image.open(io.BytesIO(outcome.files[0].data)) as opened:
            picture = opened.convert("RGB")
        # With its own prompt: that of the worker names photos by what is in them.
        save(picture, task.path, task.graph, Note(task.fingerprint, outcome.seconds, None))
        yield Finished(task)


def made_by_workers(host: Host, on_ray: bool) -> Mapping[str, str]:
    """What pictures by workers depend on beside their prompts and files, as far as it is known here.

    host: of this process. on_ray: whether Ray chooses their machines; see the head of this file.
    """
    if on_ray:
        return {**host.made_with, "device": "Ray"}
    return host.made_with


def job_of(task: Task, line: int, folder: Path) -> Job:
    """A task with the photos that its prompt reads, by names that follow from what is in them."""
    prompt = copy.deepcopy(task.graph.prompt)
    files: dict[str, bytes] = {}
    for node in prompt.values():
        if node["class_type"] != "LoadImage":
            continue
        path = folder / node["inputs"]["image"]
        data = path.read_bytes()
        name = f"{hashlib.sha256(data).hexdigest()[:_HASH_LETTERS]}{path.suffix.lower()}"
        node["inputs"]["image"] = name
        files[name] = data
    cells: Mapping[str, str] = {}
    return Job(BatchRow(line, task.case.name, cells), prompt, files)
