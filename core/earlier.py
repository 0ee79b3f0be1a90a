"""What nodes of earlier versions had that they have no longer, and what takes its place: the table earlier.json.

web/old_files.js asks for it, for files that are opened. Of an id that is gone itself nothing
stands in it: any id of ours that is unknown is one. Standard library only: scripts use this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from .checks import records

PATH = Path(__file__).with_name("earlier.json")
NO_SUCH_NODE = "This version of Likeness has no such node: CHANGELOG.md says why."


@dataclass(frozen=True)
class Earlier:
    """What a node had once.

    inputs: id -> the input that takes its value where nothing else is linked to it; None where the value is not used
    any more; the id itself where the node still reads it in the prompt. words: id of a menu -> its former words, each
    -> the word that means the same today.
    """

    inputs: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    @property
    def unused(self) -> list[str]:
        """The inputs whose values are not used any more."""
        return [name for name, today in self.inputs.items() if today is None]

    def renewed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a node in a prompt, with today's ids and words."""
        now = {name: value for name, value in inputs.items() if self.inputs.get(name, name) in (name, None)}
        for name, today in self.inputs.items():
            if today is not None and name in inputs:
                now.setdefault(today, inputs[name])
        for name, words in self.words.items():
            word = now.get(name)
            if isinstance(word, str):
                now[name] = words.get(word, word)
        return now


@cache
def table() -> Mapping[str, Earlier]:
    """By the id of a node. Raises BadRecord."""
    entries: Any = records.read(PATH)
    with records.made_of(PATH):
        return {kind: Earlier(**fields) for kind, fields in entries.items()}


def renewed(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt of the API, perhaps of an earlier version or damaged, with today's ids of inputs and words of menus."""
    now: dict[str, Any] = {}
    for number, entry in prompt.items():
        now[number] = entry
        if not isinstance(entry, dict):
            continue
        node = cast("dict[str, Any]", entry)
        earlier = table().get(str(node.get("class_type")))
        inputs = node.get("inputs")
        if earlier and isinstance(inputs, dict):
            now[number] = {**node, "inputs": earlier.renewed(cast("dict[str, Any]", inputs))}
    return now
