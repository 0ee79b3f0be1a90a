"""Check Model Files: whether the models that a workflow needs are there, before it is run."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io, ui

from ..bridge.host import folders
from ..core.checks.names import among
from ..core.checks.text import MOST_NAME_LETTERS, plain
from ..core.models import file_check, file_findings, manifest, template_needs, workflow_needs
from ..core.models.file_findings import OK, Diagnosis, Finding
from ..core.pictures.previews import TableRow, table
from .categories import IN_FILES

THIS = "this workflow"
STARTS = "start templates"
ALL = "all templates"
_TITLES = Path(__file__).absolute().parents[1] / "locales" / "en" / "main.json"


def choices() -> list[str]:
    """The entries of the node's menu: the workflow that is running, sets of templates, and each template."""
    return [THIS, STARTS, ALL, *_templates()]


def _gallery() -> dict[str, str]:
    """The English title of each template by the name of its file, in the order of the gallery."""
    texts = json.loads(_TITLES.read_text("utf-8"))
    return texts["templateWorkflows"]["template"]["likeness"]


def _templates() -> list[str]:
    """The names of the templates' files, in the order of the gallery.

    A template without a title in the gallery comes last.
    """
    files = sorted(template_needs.templates())
    in_gallery = [name for name in _gallery() if name in files]
    return [*in_gallery, *(name for name in files if name not in in_gallery)]


def report(choice: str, prompt: Mapping[str, Any]) -> Diagnosis:
    """Which of the models that a workflow needs are there, and what to do about the others.

    choice: one of choices(), which workflow or workflows. prompt: the graph that is running, in the API's form. Raises
    what the host raises when its user interrupts.
    """
    if choice == THIS:
        models = list(workflow_needs.wanted(prompt))
        users = template_needs.users([THIS], workflow_needs.methods_in(prompt))
    else:
        names = _templates_of(choice)
        needs = [template_needs.templates()[name] for name in names]
        models = [model for template in needs for model in template.models]
        users = template_needs.users(names, {method for template in needs for method in template.methods})
    findings_on_host = _findings_on_host()
    if choice == THIS:
        findings_on_host += _respelled_files(prompt)
    # The subject of the sentence "Everything that the start templates need". A template has its title there; THIS and
    # ALL have no title and are words already.
    subject = "the start templates" if choice == STARTS else _gallery().get(choice, choice)
    # Called before each model, it raises where the user has interrupted: a network drive may take its time.
    interrupt = comfy.model_management.throw_exception_if_processing_interrupted
    return file_check.report(subject, models, folders.folders_by_key(), findings_on_host, interrupt, users)


def _templates_of(choice: str) -> list[str]:
    """The names of the templates that an entry of the menu stands for."""
    if choice == ALL:
        return _templates()
    if choice == STARTS:
        return [name for name in _templates() if name.startswith("start_")]
    return [choice]


def _respelled_files(prompt: Mapping[str, Any]) -> list[Finding]:
    """A finding for each file that ComfyUI's own loaders refuse although it is there, because of its spelling.

    The prompt then has the name as another system spells it. This happens to prompts that another program posts: in the
    editor, web/names.js puts names into the spelling of the menus. Our own loaders take every spelling.
    """
    respelled: list[Finding] = []
    for file in workflow_needs.chosen_in_host_menus(prompt):
        menu = folders.host_menu(file.key)
        entry = among(file.name, menu)
        # None: the file is missing, which other findings say. The same name: the spelling is right.
        if entry not in (None, file.name):
            advice = f"ComfyUI lists it as {entry} and takes no other spelling: write that into the prompt."
            details = ("The file is there.", advice)
            respelled.append(Finding(plain(file.name, MOST_NAME_LETTERS), file_findings.RESPELLED, details))
    return respelled


def _findings_on_host() -> list[Finding]:
    """A finding on ComfyUI, and one on torch and its device."""
    import comfyui_version  # here, because it is needed for the report alone

    device = comfy.model_management.get_torch_device()
    device_name = comfy.model_management.get_torch_device_name(device)
    free_bytes = comfy.model_management.get_free_memory(device)
    memory = ""
    if free_bytes:
        memory = f", {manifest.human(int(free_bytes))} of its memory free"
    host = file_check.host(f"ComfyUI {comfyui_version.__version__}")
    torch_finding = Finding("torch", OK, (f"{torch.__version__} on {device_name}{memory}",))
    return [host, torch_finding]


SHOWN = "likeness_doctor"
"""Key in the node's ui output under which web/check_files.js finds the report, beside the picture."""


class CheckModelFiles(io.ComfyNode):
    """A report on the model files that a workflow needs, as a picture and as text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessCheckModelFiles",
            category=IN_FILES,
            inputs=[io.Combo.Input("workflow", options=choices(), default=THIS, optional=True)],
            outputs=[io.Image.Output("table"), io.String.Output("report")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, workflow: str | None = None) -> bool | str:
        # workflow is None where the input is linked, or missing in the prompt.
        if workflow is None or workflow in choices():
            return True
        return f"workflow: {workflow!r} is no template of this version. Choose another one."

    @classmethod
    def fingerprint_inputs(cls, workflow: str | None = None) -> int:
        return time.monotonic_ns()  # another value every time, so the node always runs: files come and go

    @classmethod
    def execute(cls, workflow: str | None = None) -> io.NodeOutput:
        prompt: Mapping[str, Any] = {}
        if cls.hidden and cls.hidden.prompt:
            prompt = cls.hidden.prompt
        diagnosis = report(workflow or THIS, prompt)
        rows: list[TableRow] = []
        for finding in diagnosis.findings:
            rows.append(TableRow(finding.what, finding.state, finding.detail, finding.is_good))
        picture = table(diagnosis.summary, rows)
        ui_output = ui.PreviewImage(picture, cls=cls).as_dict()
        ui_output[SHOWN] = [json.dumps(diagnosis.as_json())]
        return io.NodeOutput(picture, diagnosis.text(), ui=ui_output)


NODES = [CheckModelFiles]
