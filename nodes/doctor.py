"""What is there of the models a workflow needs, before it is run; and what our web scripts and help pages ask for."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import torch
from comfy_api.latest import io, ui

from ..bridge import copies, folders, notes
from ..core.models import doctor, findings, manifest, needs
from ..core.models.findings import MISPLACED, OK, Diagnosis, Finding
from ..core.names import among
from ..core.previews import table
from ..core.text import NAME, in_one_line, plain
from .categories import IN_FILES

THIS, STARTS, ALL = "this workflow", "start templates", "all templates"
MISSING = "/likeness/missing"
_PACK = Path(__file__).absolute().parents[1]
_TEMPLATES = _PACK / "workflows"
_TITLES = _PACK / "locales" / "en" / "main.json"


def choices() -> list[str]:
    return [THIS, STARTS, ALL, *_templates()]


def _templates() -> list[str]:
    """The names of the templates' files, in the order of the gallery; one that is not in its table comes last."""
    texts = json.loads(_TITLES.read_text("utf-8"))
    order = list(texts["templateWorkflows"]["template"]["likeness"])
    names = sorted(path.stem for path in _TEMPLATES.glob("*.json"))
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def report(choice: str, prompt: Mapping[str, Any]) -> Diagnosis:
    """What is there of the models that one of `choices` needs; prompt: the graph that is running."""
    stop = comfy.model_management.throw_exception_if_processing_interrupted
    several = {ALL: _templates(), STARTS: [name for name in _templates() if name.startswith("start_")]}
    names = several.get(choice, [choice])
    graphs = {THIS: prompt} if choice == THIS else {name: _template(name) for name in names}
    wanted = [model for graph in graphs.values() for model in needs.wanted(graph)]
    around = [*_around()]
    if choice == THIS:
        around += _refused(prompt)
    # In a sentence: "Everything that the start templates need".
    subject = "the start templates" if choice == STARTS else choice
    return doctor.report(subject, wanted, folders.of_models(), around, stop, needs.users(graphs, _template))


def _refused(prompt: Mapping[str, Any]) -> Iterator[Finding]:
    """Files that ComfyUI's own loaders refuse although they are there: the prompt spells them as another system does.

    In the editor web/names.js has put them into the spelling of the menus; what another program posts comes as it is.
    Our own loaders take every spelling.
    """
    for file in needs.chosen_in_host_menus(prompt):
        menu = folder_paths.get_filename_list(file.key)
        offered = among(file.name, menu)
        if offered not in (None, file.name):
            respell = f"ComfyUI lists it as {offered} and takes no other spelling: write that into the prompt."
            yield Finding(plain(file.name, NAME), findings.RESPELLED, ("The file is there.", respell))


def _template(name: str) -> dict[str, Any]:
    return json.loads((_TEMPLATES / f"{name}.json").read_text("utf-8"))


def missing(graph: Mapping[str, Any]) -> list[Finding]:
    """What a workflow needs and is not there or not in order; nothing where the demo's stand-ins are chosen."""
    if needs.chooses_standins(graph):
        return []
    return doctor.to_fix(needs.wanted(graph), folders.of_models())


def _around() -> tuple[Finding, ...]:
    import comfyui_version

    device = comfy.model_management.get_torch_device()
    name, free = comfy.model_management.get_torch_device_name(device), comfy.model_management.get_free_memory(device)
    memory = f", {manifest.human(int(free))} of its memory free" if free else ""
    machine = Finding("torch", OK, (f"{torch.__version__} on {name}{memory}",))
    installed = [Finding("Likeness", MISPLACED, (text,)) for text in copies.faults()]
    return (doctor.host(f"ComfyUI {comfyui_version.__version__}"), machine, *installed)


def serve() -> None:
    """Add the routes to the running server, if any.

    Pictures of translated help pages: these lie one folder deeper than the English ones and link to ../img, as GitHub
    reads them. The host's help panel reads all links from web/docs, so there they lead to web/img.
    """
    server = notes.running_server()
    # Of two copies of the pack the first answers: the server does not start with a route twice.
    if server is None or any(route.path == MISSING for route in server.routes):
        return
    server.routes.post(MISSING)(_missing)
    server.routes.static(f"/extensions/{_PACK.name}/img", _PACK / "web" / "docs" / "img")


async def _missing(request: Any) -> Any:
    """A workflow is posted as it is saved; the answer names the files that are missing or not in order, and says how
    large the downloads are together, of how many of them nobody says it, and whether all are simply missing. It reads
    the disk beside the server's loop: a network drive may take its time."""
    try:
        body = await request.read()  # not text(), which fails with an encoding that a sender makes up
        found = await asyncio.to_thread(lambda: missing(needs.workflow(body.decode())))
    except (ValueError, sys.modules["server"].web.RequestPayloadError) as error:  # the latter: not packed as it says
        return _json({"error": in_one_line(error)}, 400)
    sizes = [finding.fetch.size for finding in found if finding.fetch]
    known = sum(size for size in sizes if size is not None)
    answer = {
        "names": [finding.name for finding in found],
        "size": manifest.human(known) if known else "",
        "unsized": sizes.count(None),
        "absent": all(finding.state == findings.MISSING for finding in found),
    }
    return _json(answer)


def _json(answer: Any, status: int = 200) -> Any:
    return sys.modules["server"].web.json_response(answer, status=status)


SHOWN = "likeness_doctor"
"""Under which our script in the editor finds the report, beside the picture; web/doctor.js knows the name, too."""


class CheckModelFiles(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessCheckModelFiles",
            category=IN_FILES,
            inputs=[io.Combo.Input("workflow", options=choices(), default=THIS, optional=True)],
            outputs=[io.Image.Output("table"), io.String.Output("report")],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, workflow: str | None = None) -> bool | str:
        known = workflow is None or workflow in choices()
        return known or f"workflow: {workflow!r} is no template of this version. Choose another one."

    @classmethod
    def fingerprint_inputs(cls, workflow: str | None = None) -> int:
        return time.monotonic_ns()  # files come and go

    @classmethod
    def execute(cls, workflow: str | None = None) -> io.NodeOutput:
        found = report(workflow or THIS, (cls.hidden and cls.hidden.prompt) or {})
        notes.tell(notes.node_of(cls), "" if found.good else found.summary)
        rows = [(finding.what, finding.state, finding.detail) for finding in found.findings]
        picture = table(found.summary, rows, [finding.is_good for finding in found.findings])
        shown = {**ui.PreviewImage(picture, cls=cls).as_dict(), SHOWN: [json.dumps(found.shown())]}
        return io.NodeOutput(picture, found.text(), ui=shown)


NODES = [CheckModelFiles]
