"""What the rows ask for and this ComfyUI does not have, before the first picture: files of models, words of menus."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from environment import SetupError
from rig.links import as_link
from rig.workflow import Prompt, specs, title

from core.models import needs

from .prompts import Job, ObjectInfo

_NEAREST = 3


@dataclass(frozen=True)
class Choice:
    """What a node chooses in its menus.

    kind: the class of the node. words: the name of each menu and the word that is chosen. linked: the names of the
    inputs that are linked.
    """

    kind: str
    words: tuple[tuple[str, str], ...]
    linked: frozenset[str]


class Needed:
    """Everything that the jobs of a run choose."""

    def __init__(self, object_info: ObjectInfo) -> None:
        self._object_info = object_info
        self._menus_of_kind: dict[str, dict[str, list[Any]]] = {}
        self._titles: dict[Choice, str] = {}
        """Every choice, and the title of the first node that has it."""

    @property
    def is_empty(self) -> bool:
        return not self._titles

    def add(self, job: Job) -> None:
        for number, node in job.prompt.items():
            words: list[tuple[str, str]] = []
            linked: list[str] = []
            menus = self._menus(node["class_type"])
            for name, value in node["inputs"].items():
                if as_link(value) is not None:
                    linked.append(name)
                elif name in menus and isinstance(value, str) and value not in job.files:
                    words.append((name, value))
            choice = Choice(node["class_type"], tuple(words), frozenset(linked))
            self._titles.setdefault(choice, title(job.prompt, number))

    def doctor(self) -> Prompt:
        """The prompt by which Check Model Files looks for the models of all choices, and runs none of their nodes."""
        prompt: Prompt = {}
        for number, choice in enumerate(self._titles):
            if self._object_info[choice.kind]["output_node"]:
                # ComfyUI would run it.
                continue
            inputs: dict[str, Any] = dict(choice.words)
            for name in choice.linked:
                inputs[name] = ["doctor", 0]
            prompt[str(number)] = {"class_type": choice.kind, "inputs": inputs}
        prompt["doctor"] = {"class_type": "LikenessCheckModelFiles", "inputs": {"workflow": "this workflow"}}
        prompt["as file"] = {"class_type": "LikenessAsFile", "inputs": {"content": ["doctor", 1]}}
        return prompt

    def require(self, diagnosis: str) -> None:
        """Raises SetupError with everything that is missing. diagnosis: the report of Check Model Files."""
        # What is in place comes last in it, and then what to do.
        missing, _, in_place = diagnosis.partition("In place:\n")
        advice = in_place.partition("To fix it:\n")[2]
        if needs.chooses_standins(self.doctor()):
            # The report asks for the released files, whatever the miniature can do.
            missing = ""
            advice = ""
        lines = missing.strip().splitlines()
        lines += self._words_without_menu(missing)
        if advice:
            lines += ["To fix it:", advice]
        if lines:
            head = "No row is begun, because the workflow or its rows need what is not there:"
            raise SetupError("\n".join([head, *lines]))

    def _words_without_menu(self, missing: str) -> Iterator[str]:
        """A line for each word that its menu does not have. missing: the files that the report names already."""
        for choice, node in self._titles.items():
            menus = self._menus(choice.kind)
            for name, word in choice.words:
                offered = [str(entry) for entry in menus[name]]
                if word in offered or word in missing:
                    continue
                menu = "it is empty"
                if offered:
                    near = difflib.get_close_matches(word, offered, _NEAREST, cutoff=0) or offered
                    menu = f"it has {', '.join(near)}"
                yield f"{node}: {word} is not in the menu {name}; {menu}."

    def _menus(self, kind: str) -> dict[str, list[Any]]:
        """What the menus of a class of nodes offer, by their names. Many rows have the same nodes."""
        if kind not in self._menus_of_kind:
            self._menus_of_kind[kind] = _menus(kind, self._object_info)
        return self._menus_of_kind[kind]


def _menus(kind: str, object_info: ObjectInfo) -> dict[str, list[Any]]:
    """What the menus of the host's own nodes and of ours offer.

    Those of other packs may take what they do not offer, and so do menus of files that are sent along.
    """
    is_of_host = object_info[kind]["python_module"].startswith(("nodes", "comfy_extras"))
    if not is_of_host and not kind.startswith("Likeness"):
        return {}
    menus: dict[str, list[Any]] = {}
    for name, spec in specs(object_info, kind).items():
        if spec.menu is not None and not spec.takes_files:
            menus[name] = spec.menu
    return menus
