"""Load Adapter: one loader for the files of all methods. The contents of a file tell which method's it is."""

from dataclasses import dataclass
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

MODELS_PAGE = "https://github.com/likeness-nodes/likeness/blob/main/docs/models.md"
LOADERS: dict[str, FileLoader] = {}
"""Folder of a method -> the loader of its file, for the methods that have one, in their order. extension.py, which
imports the methods, fills it."""


@dataclass(frozen=True)
class AdapterFile:
    """A file that can be chosen. loader: of the method in whose model folder it lies. name: relative to that folder."""

    loader: FileLoader
    name: str


def menu() -> dict[str, AdapterFile]:
    """The entries of the node's menu, with the file that each stands for.

    A name that an earlier model folder has too is shown behind the key of its own folder: "ipadapter/name".
    """
    entries: dict[str, AdapterFile] = {}
    for loader in LOADERS.values():
        key = loader.published.key
        of_folder: dict[str, AdapterFile] = {}
        for name in folders.file_names(key):
            entry = f"{key}/{name}" if name in entries else name
            of_folder[entry] = AdapterFile(loader, name)
        entries |= of_folder
    return entries


def chosen_file(file: str) -> AdapterFile:
    """The file that was chosen. file: an entry of the menu, or a name as a workflow has it.

    Raises ModelMissing, UnsafePath.
    """
    loaders = {loader.published.key: loader for loader in LOADERS.values()}
    for key, loader in loaders.items():
        if folders.find_exactly(file, key):
            return AdapterFile(loader, file)
    for key, loader in loaders.items():
        # In another spelling, such as that of another system.
        if folders.find(file, key):
            return AdapterFile(loader, file)
    for model in models():
        # Published.path finds a published file under another name, too.
        if same_name(model.name, file) and model.key in loaders:
            return AdapterFile(loaders[model.key], file)
    entries = menu()
    entry = among(file, entries)
    if entry:
        return entries[entry]
    folders.refuse_dead_link(file, *loaders)
    model_folders = folders.folders(*loaders)
    raise ModelMissing("The adapter", [file or "no file"], model_folders, MODELS_PAGE, "its size is there")


def path_of(file: str) -> str:
    """Full path of a file that was chosen. Raises ModelMissing, UnsafePath."""
    adapter_file = chosen_file(file)
    return adapter_file.loader.published.path(adapter_file.name)


def _loader_of(path: str, folder_loader: FileLoader) -> FileLoader:
    """The loader for a file's contents; that of the folder where the file lies, if the contents are no method's."""
    file_format, *_ = recognised(Path(path))
    if file_format is not None:
        for loader in LOADERS.values():
            if file_format.id in loader.published.formats:
                return loader
    return folder_loader


class LoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[io.Input] = [io.Combo.Input("file", options=sorted(menu()))]
        for loader in LOADERS.values():
            inputs.extend(loader.inputs)
        schema = io.Schema(
            node_id="LikenessLoadAdapter",
            category=IN_FILES,
            inputs=inputs,
            outputs=[AdapterSocket.Output("adapter")],
        )
        schema.search_aliases = [f"load {method.title}" for method in methods() if method.folder in LOADERS]
        return schema

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.chosen_file_exists(path_of, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **loader_inputs: Any) -> str:
        stamp = folders.fingerprint(path_of, file)
        return " ".join([stamp, *map(str, loader_inputs.values())])

    @classmethod
    def execute(cls, file: str, **loader_inputs: Any) -> io.NodeOutput:
        node_id = notes.node_of(cls)
        adapter_file = chosen_file(file)
        path = adapter_file.loader.published.chosen(adapter_file.name, node_id)
        loader = _loader_of(path, adapter_file.loader)
        return io.NodeOutput(loader.load(path, node_id, **loader_inputs))


NODES = [LoadAdapter]
