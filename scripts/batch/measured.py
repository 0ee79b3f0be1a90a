"""People and garments measured beside each picture, in the worker's ComfyUI."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from environment import SetupError, script_command
from shared.links import Link, as_link, up_to
from shared.workflow import Prompt, specs, title

from core.cast import CROP, Member, Person, Slot
from core.checks.errors import counted, listed
from core.checks.names import among
from core.measure import measuring
from core.measure.report import MeasuredPicture, Report, Sighting
from core.methods import methods
from core.models import workflow_needs
from core.models.manifest import STANDIN
from core.models.packs import NONE_FOUND
from core.persons.looks import NO_LOOK

from .prompts import ObjectInfo
from .saved_people import LOOKS, MEASURE, wearing_nodes
from .worker import Outcome

_TEXT_OUTPUT = 2
"""Of Measure Likeness."""
_WHO = {"LIKENESS_CAST": "cast", "LIKENESS_PERSON": "person"}
"""Who is meant, by socket, and the input of Measure Likeness for it. A cast comes first: it has places, if any."""
_PARTS = "LIKENESS_PARTS"


def with_measure(prompt: Prompt, object_info: ObjectInfo, vision: str = "") -> Prompt:
    """The prompt that also measures what it saves.

    vision: the file by which garments are compared, if they are. Raises SetupError where nobody and nothing is meant to
    be in the pictures, and where what measures them is not there.
    """
    savers = _savers(prompt, object_info)
    if not savers:
        raise SetupError(
            "--measure looks at the pictures that are saved, and this workflow saves none: add Save Image."
        )
    measured = dict(prompt)
    for number in savers:
        images = prompt[number]["inputs"]["images"]
        before = up_to(prompt, [images[0]])
        inputs = _meant(before, prompt, object_info, title(prompt, number), vision)
        if vision:
            measured[vision] = {
                "class_type": "CLIPVisionLoader",
                "inputs": {"clip_name": _offered(vision, object_info)},
            }
        inputs["images"] = images
        inputs["made_with"] = _method(before)
        inputs["stranger_below"] = measuring.STRANGER_BELOW
        inputs["min_size"] = 0
        measured[_measured(number)] = {"class_type": MEASURE, "inputs": inputs}
        # It runs for a node that shows something.
        shown = {"source": [_measured(number), _TEXT_OUTPUT]}
        measured[f"{number} shown"] = {"class_type": "PreviewAny", "inputs": shown}
    return measured


def _measured(saver: str) -> str:
    """The node that measures what a node saves."""
    return f"{saver} measured"


def _savers(prompt: Prompt, object_info: ObjectInfo) -> list[str]:
    """The nodes that save pictures."""
    savers: list[str] = []
    for number, node in prompt.items():
        saves = object_info[node["class_type"]]["output_node"] and not node["class_type"].startswith("Preview")
        if saves and as_link(node["inputs"].get("images")) is not None:
            savers.append(number)
    return savers


def _meant(before: Prompt, prompt: Prompt, object_info: ObjectInfo, saver: str, vision: str) -> dict[str, Any]:
    """The inputs of Measure Likeness that say who and what should be in a picture.

    before: the nodes that the picture is made by. saver: the title of the node that saves it. Raises SetupError.
    """
    inputs = _who(before, object_info, saver)
    if inputs:
        _require_faces(prompt, object_info)
    if not vision:
        if not inputs:
            raise SetupError(_nobody(saver))
        return inputs
    parts = _final_output(before, object_info, _PARTS, saver)
    wearing = wearing_nodes(before, object_info)
    if parts is None and not wearing:
        raise SetupError(
            f"{saver} is made without a Part and without looks, so --clip-vision has nothing to measure: leave it out, "
            "or choose a workflow with garments."
        )
    if parts is not None:
        inputs["parts"] = parts
    inputs["clip_vision"] = [vision, 0]
    if LOOKS in specs(object_info, MEASURE):
        inputs[LOOKS] = _worn(before, wearing)
    return inputs


def _worn(before: Prompt, wearing: Sequence[str]) -> Any:
    """Which looks a picture shows, as the nodes have it that draw them. Raises SetupError where they differ."""
    if not wearing:
        return NO_LOOK
    first, *others = (before[number]["inputs"].get(LOOKS, "") for number in wearing)
    if any(other != first for other in others):
        nodes = ", ".join(title(before, number) for number in wearing)
        raise SetupError(f"--clip-vision cannot tell which looks are worn: {nodes} say different ones (looks).")
    return first


def _nobody(saver: str) -> str:
    return (
        f"{saver} is made without a cast and without a person: leave --measure and --keep out, choose a "
        "workflow with people, or measure garments with --clip-vision FILE."
    )


def _require_faces(prompt: Prompt, object_info: ObjectInfo) -> None:
    """Raises SetupError where no face can be found in the pictures."""
    if workflow_needs.chooses_standins(prompt):
        raise SetupError(
            "--measure, --keep and --clip-vision look for the people of a workflow, and this one draws cartoons, with "
            f"the toy model ({STANDIN}): no face is found in most of them. Leave these out, or choose the released "
            "weights."
        )
    packs = specs(object_info, "LikenessLoadFaceEmbedder")["pack"].menu or [""]
    if packs[0] == NONE_FOUND:
        raise SetupError(
            "People are measured with a face pack, and there is none in models/insightface. Fetch one with: "
            f"{script_command('models.py')} download antelopev2"
        )


def _offered(vision: str, object_info: ObjectInfo) -> str:
    """The file as ComfyUI calls it. Raises SetupError where it has no such file."""
    offered = specs(object_info, "CLIPVisionLoader")["clip_name"].menu or []
    name = among(vision, offered)
    if name is None:
        raise SetupError(
            f"--clip-vision: {vision} is not in models/clip_vision, which has {listed(offered, 'no file')}. Fetch one "
            f"with: {script_command('models.py')} download clip-vit-h"
        )
    return name


def _who(prompt: Prompt, object_info: ObjectInfo, saver: str) -> dict[str, Any]:
    """The input of Measure Likeness, and the link to it, for who is meant: the last cast on the way to the picture,
    which is placed if any is, or else the last person. Empty where nobody is meant."""
    for socket, input_name in _WHO.items():
        link = _final_output(prompt, object_info, socket, saver)
        if link is not None:
            return {input_name: link}
    return {}


def _final_output(prompt: Prompt, object_info: ObjectInfo, socket: str, saver: str) -> list[Any] | None:
    """The output of a kind of socket that feeds no other such output, on the way to a picture; None without any. Raises
    SetupError where there are several."""
    outputs: list[Link] = []
    for number, node in prompt.items():
        sockets = object_info[node["class_type"]]["output"]
        # The people of Crop Faces are the same as before it, a picture each.
        if socket in sockets and node["class_type"] != "LikenessCropFaces":
            outputs.append(Link(number, sockets.index(socket)))
    earlier: set[str] = set()
    for link in outputs:
        earlier |= up_to(prompt, [link.node]).keys() - {link.node}
    last = [link for link in outputs if link.node not in earlier]
    if not last:
        return None
    if len(last) > 1:
        several = ", ".join(title(prompt, link.node) for link in last)
        raise SetupError(
            f"--measure cannot tell who or what should be in the pictures of {saver}: it is made of {several}. Link "
            "one Cast, or one chain of Part, to all that needs it."
        )
    return list(last[0])


def _method(prompt: Prompt) -> str:
    """The method that a picture is made with, as Measure Likeness calls it; "unknown" for none or several."""
    kinds = {node["class_type"] for node in prompt.values()}
    names = {method.measured_as for method in methods() if method.measured_as and method.used_by(kinds)}
    return names.pop() if len(names) == 1 else "unknown"


# --- What a worker has measured


def reports_of(outcome: Outcome) -> list[Report]:
    """What was measured of each picture of a prompt of `with_measure`."""
    reports: list[Report] = []
    for saver in dict.fromkeys(file.node for file in outcome.files):
        if _measured(saver) in outcome.texts:
            reports += _report_of_each_picture(report_of(outcome.texts[_measured(saver)]))
    return reports


def problem_of(outcome: Outcome, reports: Sequence[Report]) -> str:
    """Why it is not known which report is of which file, or nothing."""
    if len(reports) == len(outcome.files):
        return ""
    if not reports:
        return "This ComfyUI's Likeness is too old to be measured by. Update it."
    saved, seen = counted(len(outcome.files), "file"), counted(len(reports), "picture")
    return f"{saved} saved and {seen} measured: save each picture once."


def _report_of_each_picture(report: Report) -> list[Report]:
    """A report of several pictures as reports of one."""
    reports: list[Report] = []
    for number in range(len(report.judged_pictures)):
        pictures = {recogniser: (of_recogniser[number],) for recogniser, of_recogniser in report.pictures.items()}
        reports.append(replace(report, pictures=pictures))
    return reports


def report_of(data: str) -> Report:
    """The figures that Measure Likeness shows, as a report without anybody's photos."""
    content = json.loads(data)
    has_places = bool(content["places"])
    places = content["places"] or [0] * len(content["names"])
    no_photo = torch.zeros(0, CROP, CROP, 3)
    people: list[Member] = []
    for name, place in zip(content["names"], places, strict=True):
        slot = Slot((0.0, 0.0)) if has_places else None
        people.append(Member(Person(name, {}, no_photo), 1.0, slot, place))
    pictures = {recogniser: tuple(map(_picture_of, of_it)) for recogniser, of_it in content["pictures"].items()}
    labels = tuple(content["labels"])
    of_looks = content.get("of_looks", 0)  # an older server has none
    return Report(tuple(people), tuple(pictures), pictures, content["method"], labels=labels, of_looks=of_looks)


def _picture_of(content: Mapping[str, Any]) -> MeasuredPicture:
    sightings: list[Sighting] = []
    for sighting in content["sightings"]:
        values = dict(sighting)
        values["similarities"] = tuple(sighting["similarities"])
        values["shared"] = tuple(sighting["shared"])
        sightings.append(Sighting(**values))
    boxes = tuple(tuple(box) for box in content["boxes"])
    return MeasuredPicture(boxes, tuple(sightings), tuple(content["part_similarities"]))
