"""What the rows ask for and this ComfyUI has not, before the first picture: files of models, words of menus."""

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

from environment import SetupError
from rig.workflow import Prompt, specs, title

from core.models import needs

from .prompts import Job, Known, as_link

_NEAREST = 3

Choice = tuple[str, tuple[tuple[str, str], ...], frozenset[str]]
"""A class of nodes, what is chosen in its menus, and which of its inputs are linked."""


class Needed:
    """found: every choice in the jobs that were added, and the title of its first node."""

    def __init__(self, known: Known) -> None:
        self._known, self.found = known, dict[Choice, str]()
        self._menus = cache(lambda kind: _menus(kind, known))  # the same nodes in every row

    def add(self, job: Job) -> None:
        for number, node in job.prompt.items():
            menus, given = self._menus(node["class_type"]), node["inputs"].items()
            chosen = ((name, value) for name, value in given if name in menus and isinstance(value, str))
            own = tuple((name, value) for name, value in chosen if value not in job.photos)
            linked = frozenset(name for name, value in given if as_link(value))
            self.found.setdefault((node["class_type"], own, linked), title(job.prompt, number))

    def doctor(self) -> Prompt:
        """The prompt by which Check Model Files looks for the models of all of these, and runs none of them."""
        unrun = enumerate(choice for choice in self.found if not self._known[choice[0]]["output_node"])
        nodes = {
            str(number): {"class_type": kind, "inputs": {**dict(chosen), **{name: ["doctor", 0] for name in linked}}}
            for number, (kind, chosen, linked) in unrun
        }
        nodes["doctor"] = {"class_type": "LikenessCheckModelFiles", "inputs": {"workflow": "this workflow"}}
        return {**nodes, "as file": {"class_type": "LikenessAsFile", "inputs": {"report": ["doctor", 1]}}}

    def require(self, diagnosis: str) -> None:
        """Raises SetupError with everything that is missing. diagnosis: what the doctor says, what is in place last."""
        bad, _, rest = diagnosis.partition("In place:\n")
        mend = rest.partition("To fix it:\n")[2]
        if needs.chooses_standins(self.doctor()):
            bad = mend = ""  # the doctor asks for the real files whatever the miniature can do
        lines = [*bad.strip().splitlines(), *self._not_offered(bad), *(["To fix it:", mend] if mend else [])]
        if lines:
            head = "No row is begun, because the workflow or its rows need what is not there:"
            raise SetupError("\n".join([head, *lines]))

    def _not_offered(self, told: str) -> Iterator[str]:
        """A line for each word that no menu has and that is not among what is `told`."""
        for (kind, chosen, _), node in self.found.items():
            for name, value in chosen:
                offered = [str(one) for one in self._menus(kind)[name]]
                if value not in offered and value not in told:
                    near = difflib.get_close_matches(value, offered, _NEAREST, cutoff=0) or offered
                    there = f"it has {', '.join(near)}" if near else "it is empty"
                    yield f"{node}: {value} is not in the menu {name}; {there}."


def _menus(kind: str, known: Known) -> dict[str, list[Any]]:
    """What the menus of the host's own nodes and of ours offer. Those of other packs may take what they do not offer,
    and so do menus of files that are sent along."""
    if not known[kind]["python_module"].startswith(("nodes", "comfy_extras")) and not kind.startswith("Likeness"):
        return {}
    found = specs(known, kind).items()
    return {name: spec.menu for name, spec in found if spec.menu is not None and not spec.takes_files}
