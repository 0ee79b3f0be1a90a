"""What a release of the pack has published, kept in tests/releases, and what later versions are asked of it.

A folder of tests/releases is named after a release and holds

    nodes.json            every node: its inputs with types, defaults and choices, and its outputs
    workflows, subgraphs  the templates and the blueprints as they were published
    people                two people as Save Person has written them, packed with xz
    runs.json             by workflow: what is set so that it runs on the stand-ins within seconds
    pictures.safetensors  what the pictures looked like: the mean colours of their parts, and their sizes

`python tests/releases/take.py` writes it on the day of the release. Nothing in it changes afterwards, with one
exception: new stand-ins (tests/support/standins_made.py, small_networks.py, real photos of the environment) or a new
torch draw other pictures. `python tests/releases/take.py --pictures 0.1.0` makes pictures.safetensors of that release
anew, from its own workflows. This is allowed in a commit which changes the stand-ins alone, and whose parent passes the
test with the old ones. It is never allowed for a changed node: there the picture of a user has changed.
"""

from __future__ import annotations

import copy
import json
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rig import photos, workflow
from rig.host_server import HostServer, Prompt
from safetensors import safe_open
from safetensors.torch import save_file
from standin_server import write_lora
from standins_made import Standins
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

FOLDER = Path(__file__).resolve().parents[1] / "releases"
GRID = 8
"""A picture is kept as the mean colours of GRID x GRID parts."""
TOLERANCE = 0.0015
"""How far a mean colour, 0 to 1, may be from the kept one. CPUs and numbers of threads add numbers up in another order,
so that the last bits differ. Measured: two threads in the place of one at most 0.0009, and kernels without AVX at most
0.0007; with most workflows 0.0003, which is the rounding of what is kept. What has to be noticed in the template of two
people with ID-Patch: people exchanged 0.0047; a strength of 0.7 in the place of 0.8, another word, another seed more
than 0.008."""
GROUP = "released_group.png"
"""The name under which the photo of six people is uploaded. It stands where faces are looked for in a drawn picture."""
LORA = "released_lora.safetensors"
PEOPLE = ("anna", "ben")
"""Who is saved, by the names of the files."""
SAVES = ("SaveImage", "PreviewImage")
_OF_FILES = ("file", "folder", "pack", "recognisers")
"""Menus of the files of a machine: their choices are not the pack's."""


@dataclass(frozen=True)
class Picture:
    """A picture as it is kept. colours: (GRID, GRID, 3), the mean colours of its parts, 0 to 1."""

    width: int
    height: int
    colours: Tensor

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


Pictures = Mapping[str, Picture]
"""By "<workflow>/<node that saves it>/<number>"."""


@dataclass(frozen=True)
class Settings:
    """What is set in a workflow so that it runs on the stand-ins within seconds.

    values: by node and input, in the place of what it opens with. added: nodes beside its own, by their ids.
    """

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    added: Prompt = field(default_factory=dict)

    def applied(self, opened: Prompt) -> Prompt:
        """The workflow with it. opened: the workflow as a prompt."""
        prompt = copy.deepcopy(opened)
        for number, inputs in self.values.items():
            prompt[number]["inputs"].update(copy.deepcopy(dict(inputs)))
        prompt.update(copy.deepcopy(self.added))
        return prompt


def settings_between(opened: Prompt, prompt: Prompt) -> Settings:
    """What makes `prompt` of `opened`, which has no node and no input that `prompt` has not."""
    values: dict[str, dict[str, Any]] = {}
    for number, node in opened.items():
        changed = prompt[number]["inputs"]
        lacking = node["inputs"].keys() - changed.keys()
        if lacking or node["class_type"] != prompt[number]["class_type"]:
            raise ValueError(f"Node {number} is another one, or lacks {sorted(lacking)}.")
        inputs = {name: value for name, value in changed.items() if node["inputs"].get(name) != value}
        if inputs:
            values[number] = inputs
    added = {number: node for number, node in prompt.items() if number not in opened}
    return Settings(values, added)


@dataclass(frozen=True)
class Release:
    """A folder of tests/releases."""

    folder: Path

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def nodes(self) -> dict[str, Any]:
        """As `described` gives them."""
        return json.loads((self.folder / "nodes.json").read_text("utf-8"))

    @property
    def workflows(self) -> list[Path]:
        """Templates and blueprints."""
        return sorted((self.folder / "workflows").glob("*.json")) + sorted((self.folder / "subgraphs").glob("*.json"))

    @property
    def runs(self) -> dict[str, Settings]:
        """By the name of a workflow. Those without a picture are not in it."""
        saved = json.loads((self.folder / "runs.json").read_text("utf-8"))
        return {name: Settings(**settings) for name, settings in saved.items()}

    def workflow(self, name: str) -> Path:
        (file,) = (path for path in self.workflows if path.stem == name)
        return file

    def packed_person(self, name: str) -> Path:
        """The file with one of PEOPLE."""
        return self.folder / "people" / f"{name}.safetensors.xz"

    def person_file(self, name: str) -> str:
        """Under which name a host has one of PEOPLE."""
        return f"release-{self.version}-{name}.safetensors"

    def prompt(self, name: str, object_info: workflow.Json) -> Prompt:
        """A workflow as the editor opens it, with the settings of `runs`. Raises WorkflowError."""
        return self.runs[name].applied(workflow.to_prompt(workflow.load(self.workflow(name)), object_info))

    def save_runs(self, runs: Mapping[str, Settings]) -> None:
        saved = {name: {"values": run.values, "added": run.added} for name, run in runs.items()}
        write_json(self.folder / "runs.json", saved)

    def save_pictures(self, pictures: Pictures) -> None:
        colours = {name: picture.colours.half().contiguous() for name, picture in pictures.items()}
        sizes = {name: picture.size for name, picture in pictures.items()}
        save_file(colours, self.folder / "pictures.safetensors", sizes)

    def pictures(self) -> Pictures:
        pictures_by_name: dict[str, Picture] = {}
        with safe_open(self.folder / "pictures.safetensors", "pt") as file:
            for name, size in file.metadata().items():
                width, height = size.split("x")
                pictures_by_name[name] = Picture(int(width), int(height), file.get_tensor(name).float())
        return pictures_by_name


def releases() -> list[Release]:
    return [Release(path.parent) for path in sorted(FOLDER.glob("*/nodes.json"))]


def write_json(file: Path, content: Any) -> None:
    """Without spaces: nobody edits it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")


# --- Pictures


def install(server: HostServer, release: Release, models: Standins) -> None:
    """Give a host the files that the workflows of a release load, beside the stand-ins."""
    server.upload_image(photos.group(), GROUP)
    write_lora(server.base / "models" / "loras" / LORA, models.checkpoint)
    faces = server.base / "models" / "likeness_faces"
    faces.mkdir(exist_ok=True)
    for name in PEOPLE:
        content = lzma.decompress(release.packed_person(name).read_bytes())
        (faces / release.person_file(name)).write_bytes(content)


def pictures_of(server: HostServer, name: str, prompt: Prompt) -> Pictures:
    """What a workflow saves and shows by the host's own nodes. Raises HostError."""
    run = server.run(prompt)
    pictures: dict[str, Picture] = {}
    for number in workflow.nodes_of(prompt, *SAVES):
        for place, image in enumerate(run.outputs[number]["images"]):
            pictures[f"{name}/{number}/{place}"] = kept(server.file(image))
    return pictures


def kept(file: Path) -> Picture:
    """A picture file as a release keeps it."""
    with Image.open(file) as picture:
        # (height, width, 3)
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).float() / 255
    # (3, GRID, GRID)
    colours = adaptive_avg_pool2d(pixels.permute(2, 0, 1), GRID)
    return Picture(pixels.shape[1], pixels.shape[0], colours.permute(1, 2, 0))


def distance(before: Picture, now: Picture) -> float:
    """The largest difference of a mean colour, 0 to 1; 1 for pictures of different sizes."""
    if before.size != now.size:
        return 1.0
    return float((before.colours - now.colours).abs().max())


def distances(before: Pictures, now: Pictures) -> dict[str, float]:
    """By name; 1 for a picture that only one of them has."""
    distance_by_name: dict[str, float] = {}
    for name in sorted({*before, *now}):
        distance_by_name[name] = distance(before[name], now[name]) if name in before and name in now else 1.0
    return distance_by_name


# --- Nodes


def described(object_info: workflow.Json) -> dict[str, Any]:
    """Every node of ours, from the host's answer to /object_info, as nodes.json has it."""
    return {kind: _described(entry) for kind, entry in sorted(object_info.items()) if kind.startswith("Likeness")}


def _described(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A node: its inputs in the order of a saved workflow, and the types of its outputs."""
    inputs: dict[str, Any] = {}
    for section in ("required", "optional"):
        for name, (kind, *further) in entry["input"].get(section, {}).items():
            options = further[0] if further else {}
            row: dict[str, Any] = {"type": "COMBO" if isinstance(kind, list) else kind}
            row["required"] = section == "required"
            for key in ("default", "min", "max"):
                if key in options:
                    row[key] = options[key]
            choices = kind if isinstance(kind, list) else options.get("options")
            if choices is not None and name not in _OF_FILES:
                row["choices"] = choices
            row["widget"] = workflow.Spec(kind, options).is_widget
            inputs[name] = row
    return {"inputs": inputs, "outputs": list(entry["output"])}


def losses(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a workflow that was saved with the nodes of `before` misses in those of `now`, as sentences. Both are as
    `described` gives them."""
    sentences: list[str] = []
    for kind, node in before.items():
        if kind in now:
            sentences += [f"{kind}{loss}" for loss in _losses(node, now[kind])]
        else:
            sentences.append(f"{kind} is not there.")
    return sentences


def _losses(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, row in before["inputs"].items():
        if name in now["inputs"]:
            yield from (f".{name}{loss}" for loss in _losses_of_input(row, now["inputs"][name]))
        else:
            yield f".{name} is not there."
    for name, row in now["inputs"].items():
        if name not in before["inputs"] and row["required"]:
            yield f".{name} is new and required. A saved prompt has no value for it."
    # The values of a saved workflow have no names, so their order counts.
    widgets = [name for name, row in before["inputs"].items() if row["widget"] and name in now["inputs"]]
    widgets_now = [name for name, row in now["inputs"].items() if row["widget"] and name in before["inputs"]]
    new_ones_last = [name for name, row in now["inputs"].items() if row["widget"]][: len(widgets_now)]
    if widgets != widgets_now or widgets_now != new_ones_last:
        yield f" has its widgets in another order, or a new one between them: {widgets}."
    outputs = now["outputs"][: len(before["outputs"])]
    if outputs != before["outputs"]:
        yield f" has the outputs {outputs} in the place of {before['outputs']}."


def _losses_of_input(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    types, types_now = set(before["type"].split(",")), set(now["type"].split(","))
    if "*" not in types_now and not types <= types_now:
        yield f" takes {now['type']} and no longer {before['type']}."
    if now["required"] and not before["required"]:
        yield " has become required."
    if before.get("default") != now.get("default"):
        yield f" has the default {now.get('default')!r} in the place of {before.get('default')!r}."
    if "min" in before and now.get("min", before["min"]) > before["min"]:
        yield f" begins at {now['min']}, no longer at {before['min']}."
    if "max" in before and now.get("max", before["max"]) < before["max"]:
        yield f" ends at {now['max']}, no longer at {before['max']}."
    for choice in before.get("choices", ()):
        if choice not in now.get("choices", ()):
            yield f" has no longer the choice {choice!r}."


def unknown_slots(graph: workflow.Json, object_info: workflow.Json) -> list[str]:
    """Inputs and outputs of our nodes in a saved workflow that the nodes do not have today, as sentences."""
    sentences: list[str] = []
    for node in workflow.nodes_in(graph):
        kind = node["type"]
        if not kind.startswith("Likeness"):
            continue
        inputs_of_today = workflow.specs(object_info, kind)
        for slot in node.get("inputs") or []:
            if slot["name"] not in inputs_of_today and slot["name"].partition(".")[0] not in inputs_of_today:
                sentences.append(f"{kind} has no input {slot['name']}.")
        outputs = object_info.get(kind, {}).get("output", [])
        for place, slot in enumerate(node.get("outputs") or []):
            if place >= len(outputs) or slot["type"] != outputs[place]:
                sentences.append(f"{kind} has no output {place} of the type {slot['type']}.")
    return sentences
