"""What the rows ask for and this ComfyUI has not, before the first picture: files of models, words of menus."""

from __future__ import annotations

import difflib
import graphlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from environment import SetupError
from rig.workflow import Prompt, title

from core.errors import listed
from core.models.manifest import STANDIN

from .inputs import Job, takes_files
from .people import Known, as_link

_NEAREST = 3

Choice = tuple[str, tuple[tuple[str, str], ...], frozenset[str]]
"""A class of nodes, what is chosen in its menus, and which of its inputs are linked."""


def require_whole(prompt: Prompt, known: Known) -> None:
    """Raises SetupError for nodes that this ComfyUI has not, for links to nowhere or in a circle, and where nothing is
    saved."""
    if lost := sorted({node["class_type"] for node in prompt.values()} - known.keys()):
        raise SetupError(f"This ComfyUI has no {listed(lost)}: install the pack that they are of, or take them out.")
    before = {
        number: [link[0] for link in map(as_link, node["inputs"].values()) if link] for number, node in prompt.items()
    }
    for number, sources in before.items():
        if away := set(sources) - prompt.keys():
            raise SetupError(
                f"{title(prompt, number)} is linked to node {min(away)}, which is not in the workflow: link it in the "
                "editor and save the workflow again."
            )
    try:
        graphlib.TopologicalSorter(before).prepare()
    except graphlib.CycleError as cause:
        circle = " <- ".join(title(prompt, number) for number in cause.args[1])
        raise SetupError(f"The workflow has a circle, {circle}: take one of these links out.") from cause
    last = [node["class_type"] for node in prompt.values() if known[node["class_type"]]["output_node"]]
    if all(kind.startswith("Preview") for kind in last):
        raise SetupError(
            f"This workflow saves nothing; it ends in {listed(sorted(set(last))) or 'no output'}: add Save Image."
        )


def choices(jobs: Iterable[Job], known: Known, found: dict[Choice, str]) -> Iterator[Job]:
    """The jobs, as they are asked for. found: gets every choice in them, and the title of its first node."""
    menus_of = cache(lambda kind: _menus(kind, known))  # the same nodes in every row
    for job in jobs:
        for number, node in job.prompt.items():
            menus, given = menus_of(node["class_type"]), node["inputs"].items()
            chosen = ((name, value) for name, value in given if name in menus and isinstance(value, str))
            own = tuple((name, value) for name, value in chosen if value not in job.photos)
            linked = frozenset(name for name, value in node["inputs"].items() if as_link(value))
            found.setdefault((node["class_type"], own, linked), title(job.prompt, number))
        yield job


def doctor(found: Iterable[Choice], known: Known) -> Prompt:
    """The prompt by which Likeness Doctor looks for the models of all of these, and runs none of them."""
    unrun = enumerate(choice for choice in found if not known[choice[0]]["output_node"])
    nodes = {
        str(number): {"class_type": kind, "inputs": {**dict(chosen), **{name: ["doctor", 0] for name in linked}}}
        for number, (kind, chosen, linked) in unrun
    }
    nodes["doctor"] = {"class_type": "LikenessDoctor", "inputs": {"workflow": "this workflow"}}
    return {**nodes, "as file": {"class_type": "LikenessDiagnosisAsFile", "inputs": {"report": ["doctor", 1]}}}


def require(found: Mapping[Choice, str], known: Known, diagnosis: str) -> None:
    """Raises SetupError with everything that is missing. diagnosis: what the doctor says, what is in place last."""
    bad, _, rest = diagnosis.partition("In place:\n")
    mend = rest.partition("To fix it:\n")[2]
    if any(value.startswith(STANDIN) for _, chosen, _ in found for _, value in chosen):
        bad = mend = ""  # the doctor asks for the real files whatever the miniature can do
    lines = [*bad.strip().splitlines(), *_not_offered(found, known, bad), *(["To fix it:", mend] if mend else [])]
    if lines:
        head = "No row is begun, because the workflow or its rows need what is not there:"
        raise SetupError("\n".join([head, *lines]))


def _not_offered(found: Mapping[Choice, str], known: Known, told: str) -> Iterator[str]:
    """A line for each word that no menu has and that is not among what is `told`."""
    for (kind, chosen, _), node in found.items():
        for name, value in chosen:
            offered = [str(one) for one in _menus(kind, known)[name]]
            if value not in offered and value not in told:
                near = difflib.get_close_matches(value, offered, _NEAREST, cutoff=0) or offered
                there = f"it has {', '.join(near)}" if near else "it is empty"
                yield f"{node}: {value} is not in the menu {name}; {there}."


def _menus(kind: str, known: Known) -> dict[str, list[Any]]:
    """What the menus of the host's own nodes and of ours offer. Those of other packs may take what they do not offer,
    and so do menus of files that are sent along."""
    definition = known[kind]
    if not definition["python_module"].startswith(("nodes", "comfy_extras")) and not kind.startswith("Likeness"):
        return {}
    found: dict[str, list[Any]] = {}
    for section in ("required", "optional"):
        for name, (menu, *rest) in definition["input"].get(section, {}).items():
            settings = rest[0] if rest else {}
            words = menu if isinstance(menu, list) else settings.get("options") if menu == "COMBO" else None
            if words is not None and not takes_files(settings):
                found[name] = words
    return found
