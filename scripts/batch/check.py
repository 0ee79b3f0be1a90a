"""What a row asks for and this ComfyUI does not have, before the first picture: files of models, words of menus."""

import difflib
from collections.abc import Collection, Iterator
from typing import Any

from environment import SetupError
from shared.workflow import Prompt, is_of_others, specs, title

from core.models import workflow_needs

from .prompts import Job, ObjectInfo

CHECK_MODEL_FILES = "LikenessCheckModelFiles"
SAID = "said by the check"
"""The node that shows the report."""


def model_check(job: Job, object_info: ObjectInfo) -> Prompt:
    """The prompt by which Check Model Files looks for the models of a row, and runs none of its nodes."""
    prompt: Prompt = {}
    for number, node in job.prompt.items():
        # ComfyUI would run it.
        if object_info[node["class_type"]]["output_node"]:
            continue
        inputs: dict[str, Any] = dict(_words(node, job.files, object_info))
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                inputs[name] = ["check", 0]
        prompt[number] = {"class_type": node["class_type"], "inputs": inputs}
    prompt["check"] = {"class_type": CHECK_MODEL_FILES, "inputs": {"workflow": "this workflow"}}
    prompt[SAID] = {"class_type": "PreviewAny", "inputs": {"source": ["check", 1]}}
    return prompt


def require(job: Job, diagnosis: str, object_info: ObjectInfo) -> None:
    """Raises SetupError with everything that is missing. diagnosis: the report of Check Model Files."""
    # What is in place comes last in it, and then what to do.
    missing, _, in_place = diagnosis.partition("In place:\n")
    advice = in_place.partition("To fix it:\n")[2]
    if workflow_needs.chooses_standins(job.prompt):
        # The report asks for the released files, whatever the toy model can do.
        missing = ""
        advice = ""
    lines = missing.strip().splitlines()
    lines += _words_without_menu(job, missing, object_info)
    if advice:
        lines += ["To fix it:", advice]
    if lines:
        head = "No row is begun, because the workflow or its rows need what is not there:"
        raise SetupError("\n".join([head, *lines]))


def _words_without_menu(job: Job, missing: str, object_info: ObjectInfo) -> Iterator[str]:
    """A line for each word that its menu does not have. missing: the files that the report names already."""
    for number, node in job.prompt.items():
        menus = _menus(node["class_type"], object_info)
        for name, word in _words(node, job.files, object_info):
            offered = [str(entry) for entry in menus[name]]
            if word in offered or word in missing:
                continue
            menu = "it is empty"
            if offered:
                near = difflib.get_close_matches(word, offered, cutoff=0) or offered
                menu = f"it has {', '.join(near)}"
            yield f"{title(job.prompt, number)}: {word} is not in the menu {name}; {menu}."


def _words(node: dict[str, Any], files: Collection[str], object_info: ObjectInfo) -> Iterator[tuple[str, str]]:
    """The name of each menu of a node, and the word that is chosen in it. files: which travel with the row."""
    menus = _menus(node["class_type"], object_info)
    for name, value in node["inputs"].items():
        if name in menus and isinstance(value, str) and value not in files:
            yield name, value


def _menus(kind: str, object_info: ObjectInfo) -> dict[str, list[Any]]:
    """What the menus of the host's own nodes and of ours offer.

    Those of other packs may take what they do not offer, and so do menus of files that are sent along.
    """
    if is_of_others(kind, object_info):
        return {}
    menus: dict[str, list[Any]] = {}
    for name, spec in specs(object_info, kind).items():
        if spec.menu is not None and not spec.takes_files:
            menus[name] = spec.menu
    return menus
