"""The server's routes: what a workflow lacks, why a file was not loaded, and pictures of translated help pages."""

import asyncio
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from ...core import earlier
from ...core.checks import records
from ...core.checks.errors import LikenessError
from ...core.checks.limits import WORKFLOW_BYTES, TooMuch, too_much
from ...core.checks.text import in_one_line
from ...core.models import file_check, file_findings, manifest, workflow_needs, workflow_nodes
from ...core.models.file_findings import Diagnosis
from ...core.models.model_folders import Folders
from ...core.models.workflow_nodes import Prompt
from . import folders, notes

ROUTE = "/likeness/missing"
UNREADABLE = "/likeness/unreadable"
EARLIER = "/likeness/earlier"
"""Where web/old_files.js asks for the table of what earlier versions had."""
_PACK = Path(__file__).absolute().parents[2]


def examined(prompt: Prompt) -> Diagnosis:
    """The diagnosis of the files that a workflow needs: of none where it chooses the demo's stand-ins."""
    wanted = () if workflow_needs.chooses_standins(prompt) else workflow_needs.wanted(prompt)
    gone = file_check.gone(workflow_needs.gone(prompt))
    return file_check.report("this workflow", wanted, folders.folders_by_key(), gone)


def _families(prompt: Prompt) -> set[str]:
    """Of the models that a workflow needs."""
    return {model.family for model in workflow_needs.wanted(prompt)}


def serve(
    needs_newer_host: Callable[[Collection[str]], str], reduced: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Add the routes to the running server, if any: ROUTE, UNREADABLE, EARLIER, and one for the pictures of translated
    help pages.

    needs_newer_host: says which of some families of models this ComfyUI is too old for, "" where it is for none.
    reduced: takes links out of a prompt whose nodes would be refused, though nobody reads them.
    Translated pages lie one folder deeper than the English ones, and link to their pictures as ../img, so that the
    links work on GitHub. But the host's help panel reads the links of all pages as if they stood in web/docs, so there
    ../img is web/img. The last route leads from there to web/docs/img.
    """
    server = notes.running_server()
    # Where the pack is installed twice, the first copy adds the routes: the server does not start with a route twice.
    if server is None or any(route.path == ROUTE for route in server.routes):
        return
    # Before the host checks a prompt: it refuses words that are in no menu any more.
    server.add_on_prompt_handler(partial(_renewed, reduced))
    server.routes.get(EARLIER)(_earlier)
    server.routes.post(ROUTE)(partial(_missing, needs_newer_host))
    server.routes.post(UNREADABLE)(_unreadable)
    server.routes.static(f"/extensions/{_PACK.name}/img", _PACK / "web" / "docs" / "img")


def _renewed(reduced: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """What is posted to be run, with a prompt of today."""
    prompt = request.get("prompt")
    return {**request, "prompt": reduced(earlier.renewed(prompt))} if isinstance(prompt, dict) else request


async def _earlier(_: Any) -> Any:
    return _json(records.read(earlier.PATH))


async def _missing(needs_newer_host: Callable[[Collection[str]], str], request: Any) -> Any:
    """The answer to web/check_files.js: what is missing for a workflow, which is posted as the editor would send it.

    names: of the files that are missing or not in order; nodes that are gone the host names itself. size: of all
    downloads together, in words; "" where none is known. unsized: how many downloads have no known size. all_missing:
    whether each of the files is missing, and none is there but not in order. report: that of Check Model Files. older:
    a sentence where this ComfyUI is too old for a model of the workflow. A body that is no workflow is answered with an
    error and the status 400.
    """
    try:
        prompt = await _posted(request)
        diagnosis = await asyncio.to_thread(examined, prompt)
        families = await asyncio.to_thread(_families, prompt)
    except (ValueError, LikenessError) as error:
        return _json({"error": in_one_line(error)}, 400)
    files = [finding for finding in diagnosis.to_fix if finding.state != file_findings.GONE]
    sizes = [finding.fetch.size for finding in files if finding.fetch]  # None: unknown
    total_size = sum(size or 0 for size in sizes)
    answer = {
        "names": [finding.name for finding in files],
        "size": manifest.human(total_size) if total_size else "",
        "unsized": sizes.count(None),
        "all_missing": all(finding.state == file_findings.MISSING for finding in files),
        "report": diagnosis.as_json(),
        "older": needs_newer_host(families),
    }
    return _json(answer)


async def _unreadable(request: Any) -> Any:
    """The answer to web/errors.js, which posts the node of a prompt that has failed: for each of its files that tells
    why it was not loaded, {node, input, says}. Errors as of `_missing`."""
    try:
        prompt = await _posted(request)
        found = await asyncio.to_thread(_why_not_loaded, prompt)
    except (ValueError, LikenessError) as error:
        return _json({"error": in_one_line(error)}, 400)
    return _json(found)


def _why_not_loaded(prompt: Prompt) -> list[dict[str, str]]:
    searched = Folders(folders.folders_by_key())
    found: list[dict[str, str]] = []
    for menu in workflow_needs.chosen_in_menus(prompt):
        says = file_check.why_not_loaded(menu.file, searched)
        if says:
            found.append({"node": menu.node, "input": menu.input, "says": says})
    return found


async def _posted(request: Any) -> Prompt:
    """The prompt in the body of a request. Raises ValueError and BadSetup.

    In a thread of its own, as what follows, so that the server goes on meanwhile: a network drive may take its time.
    """
    why = too_much(request.content_length or 0, WORKFLOW_BYTES, "byte")
    if why:
        raise TooMuch(why)
    return await asyncio.to_thread(workflow_nodes.prompt_in, await request.read())


def _json(answer: Any, status: int = 200) -> Any:
    return sys.modules["server"].web.json_response(answer, status=status)
