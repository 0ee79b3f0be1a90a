"""Load Adapter: a method's own file, of whichever method. What it is, its contents tell."""

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..bridge import folders, notes
from ..bridge.load import FileLoader
from ..core.errors import ModelMissing
from ..core.methods import methods
from ..core.models.formats import recognised
from ..core.models.manifest import models
from ..core.names import among, same_name
from .categories import IN_FILES
from .sockets import AdapterSocket

LISTED = "https://github.com/likeness-nodes/likeness/blob/main/docs/models.md"
LOADERS: dict[str, FileLoader] = {}
"""By the folders of the methods that have one, in their order; extension.py, which knows these, fills it."""


def files() -> dict[str, tuple[FileLoader, str]]:
    """What a menu shows -> by the folder it lies in what loads it, and its name there.

    A name that an earlier folder has too is shown behind its own folder's.
    """
    found: dict[str, tuple[FileLoader, str]] = {}
    for loader in LOADERS.values():
        key = loader.published.key
        found |= {f"{key}/{name}" if name in found else name: (loader, name) for name in folders.listed(key)}
    return found


def place(file: str) -> tuple[FileLoader, str]:
    """What loads a file that was chosen, and its name there. Raises ModelMissing, UnsafePath."""
    by_key = {loader.published.key: loader for loader in LOADERS.values()}
    there = [key for key in by_key if folders.find_exactly(file, key)]
    # In another spelling, such as that of another system.
    alike = [key for key in by_key if not there and folders.find(file, key)]
    published = [model.key for model in models() if same_name(model.name, file) and model.key in by_key]
    for key in (*there, *alike, *published):
        return by_key[key], file
    known = files()
    entry = among(file, known)
    if entry:
        return known[entry]
    folders.refuse_dead_link(file, *by_key)
    raise ModelMissing("The adapter", [file or "no file"], folders.folders(*by_key), LISTED, "its size is there")


def path_of(file: str) -> str:
    """Full path of a file that was chosen. Raises ModelMissing, UnsafePath."""
    loader, name = place(file)
    return loader.published.path(name)


class LoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadAdapter",
            category=IN_FILES,
            inputs=[
                io.Combo.Input("file", options=sorted(files())),
                *(one for loader in LOADERS.values() for one in loader.inputs),
            ],
            outputs=[AdapterSocket.Output("adapter")],
        )
        schema.search_aliases = [f"load {method.title}" for method in methods() if method.folder in LOADERS]
        return schema

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(path_of, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **further: Any) -> str:
        found = folders.fingerprint(path_of, file)
        return " ".join([found, *map(str, further.values())])

    @classmethod
    def execute(cls, file: str, **further: Any) -> io.NodeOutput:
        node = notes.node_of(cls)
        loader, name = place(file)
        path = loader.published.chosen(name, node)
        if kind := recognised(Path(path))[0]:
            loader = next((one for one in LOADERS.values() if kind.id in one.published.formats), loader)
        return io.NodeOutput(loader.load(path, node, **further))


NODES = [LoadAdapter]
