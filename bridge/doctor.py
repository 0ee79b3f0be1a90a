"""What the doctor has to know of the host: its folders, version, device and memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.model_management
import torch

from ..core.models import doctor, needs, uses
from ..core.models.findings import Diagnosis, Finding
from ..core.models.manifest import Model
from ..core.models.packages import packages
from ..core.thirdparty import installed
from . import folders

THIS, STARTS, ALL = "this workflow", "start templates", "all templates"
_PACK = Path(__file__).absolute().parents[1]
_TEMPLATES = _PACK / "workflows"


def choices() -> list[str]:
    return [THIS, STARTS, ALL, *_templates()]


def replaced() -> dict[str, str]:
    """Names of earlier templates -> which one has taken over: saved workflows still choose them."""
    return json.loads((_PACK / "web" / "replaced_templates.json").read_text("utf-8"))


def _templates() -> list[str]:
    """Those to start with first."""
    return sorted((path.stem for path in _TEMPLATES.glob("*.json")), key=lambda name: (not _is_start(name), name))


def _is_start(name: str) -> bool:
    return name.startswith("start_")


def report(choice: str, prompt: Mapping[str, Any]) -> Diagnosis:
    """What is there of the models that one of `choices` needs; prompt: the graph that is running."""
    stop = comfy.model_management.throw_exception_if_processing_interrupted
    graphs = _graphs(choice, prompt)
    wanted = [model for graph in graphs.values() for model in needs.wanted(graph)]
    users = uses.users(graphs, _template)
    return doctor.report(choice, wanted, folders.of_models(), _around(), stop, users)


def _graphs(choice: str, prompt: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if choice == THIS:
        return {THIS: prompt}
    several = {ALL: _templates(), STARTS: [name for name in _templates() if _is_start(name)]}
    return {name: _template(name) for name in several.get(choice, [choice])}


def _template(name: str) -> dict[str, Any]:
    return json.loads((_TEMPLATES / f"{replaced().get(name, name)}.json").read_text("utf-8"))


def missing(graph: Mapping[str, Any]) -> list[Model]:
    """The published models that a workflow needs and that are not there; none where the demo's stand-ins are chosen."""
    if needs.chooses_standins(graph):
        return []
    return doctor.absent((model for model in needs.wanted(graph) if model.page), folders.of_models())


def _around() -> tuple[Finding, ...]:
    import comfyui_version

    device = comfy.model_management.get_torch_device()
    name, free = comfy.model_management.get_torch_device_name(device), comfy.model_management.get_free_memory(device)
    machine = doctor.machine(torch.__version__, name, int(free))
    return (doctor.host(f"ComfyUI {comfyui_version.__version__}"), machine, *packages(installed()))
