"""People and garments measured beside each picture, told of all, and the best of several pictures kept."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import evaluate
import torch
from environment import SetupError
from rig import whole
from rig.workflow import Prompt, specs, title

from core import measure
from core.errors import listed
from core.measure import MeasuredPicture, Report, Sighting
from core.methods import methods
from core.models import needs
from core.models.manifest import STANDIN
from core.names import among
from core.people import CROP, Identity, Person, Slot

from .output import lines_of, writing
from .prompts import Job, Known, as_link, up_to
from .worker import Made

COLUMNS = (*evaluate.COLUMNS, "seed", "kept")
REPORT = ".report"
"""How the file of a measurement ends."""
SCORE = next(iter(measure.SCORES))
"""By which Pick Best Likeness chooses where nothing else is set; where nobody is meant it is the parts."""
_KINDS = {"LIKENESS_CAST": "cast", "LIKENESS_PERSON": "person"}
_SEEDS = ("seed", "noise_seed")


def with_measure(prompt: Prompt, known: Known, vision: str = "") -> Prompt:
    """The prompt that also measures what it saves, a file behind the pictures for each node that saves some.

    vision: the file by which garments are compared, if they are. Raises SetupError where nobody and nothing is meant to
    be in the pictures, and where what measures them is not there.
    """
    found = [
        number
        for number, node in prompt.items()
        if known[node["class_type"]]["output_node"] and not node["class_type"].startswith("Preview")
        if as_link(node["inputs"].get("images"))
    ]
    if not found:
        raise SetupError(
            "--measure looks at the pictures that are saved, and this workflow saves none: add Save Image."
        )
    added = dict[str, dict[str, Any]]()
    for number in found:
        saver, images = title(prompt, number), prompt[number]["inputs"]["images"]
        before = up_to(prompt, [images[0]])
        inputs: dict[str, Any] = _who(before, known, saver)
        if inputs:
            _require_faces(prompt, known)
        parts = _last(before, known, "LIKENESS_PARTS", saver) if vision else None
        if vision and not parts:
            raise SetupError(
                f"{saver} is made without a Part, so --clip-vision has nothing to measure: leave it out, or choose a "
                "workflow with garments."
            )
        if not inputs and not parts:
            raise SetupError(
                f"{saver} is made without a cast and without a person: leave --measure and --keep out, choose a "
                "workflow with people, or measure garments with --clip-vision FILE."
            )
        if parts:
            added[vision] = {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": _offered(vision, known)}}
            inputs |= {"parts": parts, "clip_vision": [vision, 0]}
        inputs |= {
            "images": images,
            "made_with": _method(before),
            "stranger_below": measure.STRANGER_BELOW,
            "min_size": 0,
        }
        added[f"{number} measured"] = {"class_type": "LikenessMeasureLikeness", "inputs": inputs}
        told = {"report": [f"{number} measured", 0]}
        added[f"{number} report"] = {"class_type": "LikenessAsFile", "inputs": told}
    return {**prompt, **added}


def _require_faces(prompt: Prompt, known: Known) -> None:
    """Raises SetupError."""
    if needs.chooses_standins(prompt):
        raise SetupError(
            "--measure, --keep and --clip-vision look for the people of a workflow, and this one draws cartoons, with "
            f"the miniature ({STANDIN}): no face is found in most of them. Leave these out, or choose the released "
            "weights."
        )
    if (specs(known, "LikenessLoadFaceEmbedder")["pack"].menu or [""])[0] == "none found":
        raise SetupError(
            "People are measured with a face pack, and there is none in models/insightface. Fetch one with: "
            "python scripts/models.py download antelopev2"
        )


def _offered(vision: str, known: Known) -> str:
    """The file. Raises SetupError where ComfyUI has no such one."""
    offered = specs(known, "CLIPVisionLoader")["clip_name"].menu or []
    name = among(vision, offered)
    if name is None:
        raise SetupError(
            f"--clip-vision: {vision} is not in models/clip_vision, which has {listed(offered, 'no file')}. Fetch one "
            "with: python scripts/models.py download clip-vit-h"
        )
    return name


def _who(prompt: Prompt, known: Known, saver: str) -> dict[str, list[Any]]:
    """The input of Measure Likeness, and what is linked to it: the last cast on the way to the picture, which is placed
    if any is, or else the last person."""
    found = ((name, _last(prompt, known, kind, saver)) for kind, name in _KINDS.items())
    return next(({name: link} for name, link in found if link), {})


def _last(prompt: Prompt, known: Known, kind: str, saver: str) -> list[Any] | None:
    """The last output of this kind on the way to the picture. Raises SetupError where several are."""
    found = [
        (number, known[node["class_type"]]["output"].index(kind))
        for number, node in prompt.items()
        # Those of Crop Faces are the same people, a picture each.
        if kind in known[node["class_type"]]["output"] and node["class_type"] != "LikenessCropFaces"
    ]
    before = {number for last, _ in found for number in up_to(prompt, [last]) if number != last}
    last = [link for link in found if link[0] not in before]
    if len(last) > 1:
        several = ", ".join(title(prompt, number) for number, _ in last)
        raise SetupError(
            f"--measure cannot tell who or what should be in the pictures of {saver}: it is made of {several}. Link "
            "one Cast, or one chain of Part, to all that needs it."
        )
    return list(last[0]) if last else None


def _method(prompt: Prompt) -> str:
    kinds = {node["class_type"] for node in prompt.values()}
    faces = {method.measured_as for method in methods() if method.measured_as and method.used_by(kinds)}
    return faces.pop() if len(faces) == 1 else "unknown"


def report_of(told: bytes) -> Report:
    """What the node beside the pack writes, as a report without anybody's photos."""
    numbers = json.loads(told)
    slot = Slot((0.0, 0.0)) if numbers["places"] else None
    places = numbers["places"] or [0] * len(numbers["names"])
    no_photo = torch.zeros(0, CROP, CROP, 3)
    named = zip(numbers["names"], places, strict=True)
    people = [Person(Identity(name, {}, no_photo), 1.0, slot, place) for name, place in named]
    pictures = {name: tuple(map(_measured, ones)) for name, ones in numbers["pictures"].items()}
    return Report(tuple(people), tuple(pictures), pictures, numbers["method"], labels=tuple(numbers["labels"]))


def _measured(one: dict[str, Any]) -> MeasuredPicture:
    sightings = (Sighting(**{**seen, "similarities": tuple(seen["similarities"])}) for seen in one["sightings"])
    return MeasuredPicture(tuple(map(tuple, one["boxes"])), tuple(sightings), tuple(one["part_similarities"]))


# --- The best of several


def tries(job: Job, count: int) -> Iterator[Job]:
    """The job with as many seeds, one after the other."""
    return (replace(job, prompt=seeded(job.prompt, number), number=number, of=job) for number in range(count))


def seeded(prompt: Prompt, by: int) -> Prompt:
    """The prompt with all its seeds moved `by`. Raises SetupError where it has none."""
    if not by:
        return prompt
    changed = copy.deepcopy(prompt)
    seeds = list(_seeds(changed))
    if not seeds:
        raise SetupError("--keep makes several pictures of a row by their seeds, and this workflow has no seed.")
    for inputs, name, seed in seeds:
        inputs[name] = (seed + by) % 2**64
    return changed


def _seeds(prompt: Prompt) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Inputs of a node, the name of its seed, and the seed, also where another node holds the number."""
    for node in prompt.values():
        for name in _SEEDS:
            value = node["inputs"].get(name)
            if (link := as_link(value)) and list(prompt[link[0]]["inputs"]) == ["value"]:
                value = prompt[link[0]]["inputs"]["value"]
            if isinstance(value, int):
                yield node["inputs"], name, value


def split(made: Made) -> tuple[Made, list[Report]]:
    """Without the files of measurements, and what is in them, a report for each picture."""
    pictures = [file for file in made.files if file[0] != REPORT]
    told = [report_of(data) for ending, data in made.files if ending == REPORT]
    reports = [
        replace(report, pictures={name: (ones[number],) for name, ones in report.pictures.items()})
        for report in told
        for number in range(len(report.judged_pictures))
    ]
    error = made.error
    if not error and told and len(reports) != len(pictures):
        error = f"{len(pictures)} files were saved and {len(reports)} pictures measured: save each picture once."
    return replace(made, files=pictures, error=error), reports


def best(each: Sequence[Sequence[Report]]) -> int:
    """Which try Pick Best Likeness would keep, by the worst of its pictures where it has several: those of people by
    these, those without by their parts."""
    worst = [0] * len(each)
    for people in (True, False):
        shown = [(n, one) for n, reports in enumerate(each) for one in reports if bool(one.people) is people]
        report = Report((), ("",), {"": tuple(one.judged_pictures[0] for _, one in shown)})
        for place, one in enumerate(measure.ranking(report, SCORE if people else measure.PARTS)):
            worst[shown[one][0]] = max(worst[shown[one][0]], place)
    return worst.index(min(worst))


# --- likeness.csv


class Scores:
    """What was measured of every row: the lines of evaluate.py, behind them the seed and whether that picture was kept.
    A row's are the last written under its name. vision: the file by which garments are compared, if they are."""

    def __init__(self, folder: Path, vision: str = "") -> None:
        self._path, self.vision = folder / "likeness.csv", vision
        self._lines: dict[str, list[dict[str, Any]]] = {}
        for line in lines_of(self._path, COLUMNS):
            self._lines.setdefault(line["set"], []).append(line)
        if self._lines and not self._path.read_bytes().endswith(b"\n"):
            self._lines.popitem()  # cut off
        self._write()

    def has(self, job: Job, count: int) -> bool:
        """Whether it was measured with at least so many tries, its garments by the same file."""
        lines = self._lines.get(job.row.name, ())
        by_it = not self.vision or any(line.get("recogniser") == self.vision for line in lines)
        return len({line["seed"] for line in lines}) >= count and by_it

    def keep(self, job: Job, files: Sequence[str], made: Sequence[tuple[Job, Sequence[Report]]], kept: int) -> None:
        """files: the pictures that were kept, those of try `kept`."""
        found: list[dict[str, Any]] = []
        for one, reports in made:
            seed = next((seed for *_, seed in _seeds(one.prompt)), "")
            told = {"seed": seed, "kept": "yes" if one.number == kept else "no"}
            for file, report in zip(files, reports, strict=True):
                for line in evaluate.lines_of(evaluate.Result(job.row.name, file, report)):
                    by = {"recogniser": self.vision} if line["state"] == evaluate.PART else {}
                    found.append({**line, **by, **told})
        again, self._lines[job.row.name] = job.row.name in self._lines, found
        if again:
            self._write()
        else:
            with writing(self._path.parent), self._path.open("ab") as file:
                file.write(evaluate.as_csv(_cells(found)))

    def _write(self) -> None:
        with writing(self._path.parent):
            every = (line for lines in self._lines.values() for line in lines)
            whole.write(self._path, evaluate.as_csv([COLUMNS, *_cells(every)]))


def _cells(lines: Iterable[Mapping[str, Any]]) -> Iterator[list[Any]]:
    return ([line.get(column, "") for column in COLUMNS] for line in lines)
