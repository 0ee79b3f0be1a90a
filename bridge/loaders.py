"""The node that loads a method's own file: what all of them share beside their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from comfy_api.latest import io

from . import dit, folders, notes
from .load import Published
from .schema import described


class FileLoader:
    """Beside io.ComfyNode, whose `define_schema` gives its literal Schema to `loading`.

    published: the files. made: (path, **further inputs) -> what travels on. licence: said under the node where the
    weights may not be used freely. newer: the node's name, where older hosts than ComfyUI 0.33 cannot.
    """

    published: ClassVar[Published]
    made: ClassVar[Callable[..., Any]]
    licence: ClassVar[str] = ""
    newer: ClassVar[str] = ""

    @classmethod
    def loading(cls, schema: io.Schema, socket: type[io.ComfyTypeIO], output: str, *words: str) -> io.Schema:
        """The schema with the menu of files, before its own inputs, and the output; words: to search for."""
        menu = io.Combo.Input("file", options=folders.listed(cls.published.key))
        schema.inputs = [menu, *(schema.inputs or ())]  # None in 0.3.64
        schema.outputs = [socket.Output(output, display_name=output)]
        schema.hidden = [io.Hidden.unique_id]
        return described(schema, *words)

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(cls.published.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **further: Any) -> str:
        return " ".join([folders.fingerprint(cls.published.path, file), *map(str, further.values())])

    @classmethod
    def execute(cls, file: str, **further: Any) -> io.NodeOutput:
        if cls.newer:
            dit.require_dits(cls.newer)
        node = notes.node_of(cls)
        loaded = cls.made(cls.published.chosen(file, node), **further)
        if cls.licence:
            notes.tell(node, cls.licence, "licence")
        return io.NodeOutput(loaded)
