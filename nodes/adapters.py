"""Load Adapter: one loader for the files of all methods. The contents of a file tell which method's it is."""

from dataclasses import dataclass
from pathlib import Path

from comfy_api.latest import io

from ..bridge.host import folders
from ..bridge.host.inputs import ChoosesFile, RunsFirst, check_readers
from ..bridge.host.load import FileLoader
from ..core.checks.errors import ModelMissing
from ..core.checks.names import among, same_name
from ..core.methods import methods
from ..core.models.formats import recognised
from ..core.models.manifest import models, publication
from .categories import IN_FILES
from .sockets import AdapterSocket

MODELS_PAGE = "https://github.com/likeness-nodes/likeness/blob/main/docs/models.md"
LOADERS: dict[str, FileLoader] = {}
"""Folder of a method, such as "instant_id" -> the loader of the method's own file. Methods without a file of their own
have no loader. It is empty until extension.py, which imports the methods, has filled it in the order of the methods."""


@dataclass(frozen=True)
class AdapterFile:
    """A file that can be chosen.

    loader: of the method in whose model folder the file lies. The contents may be another method's, see _loader_of.
    name: the file's path relative to that folder.
    """

    loader: FileLoader
    name: str


def menu() -> dict[str, AdapterFile]:
    """Each entry of the node's menu -> the file that it stands for.

    An entry is the file's name. Where an earlier model folder has a file of the same name, the key of the later folder
    stands in front: "ipadapter/name".
    """
    entries: dict[str, AdapterFile] = {}  # of all folders so far
    for loader in LOADERS.values():
        key = loader.published.key
        # Not yet in `entries`, so that a name is compared with those of earlier folders alone.
        entries_of_folder: dict[str, AdapterFile] = {}
        for name in folders.file_names(key):
            entry = f"{key}/{name}" if name in entries else name
            entries_of_folder[entry] = AdapterFile(loader, name)
        entries |= entries_of_folder
    return entries


def chosen_file(file: str) -> AdapterFile:
    """The file that was chosen. file: an entry of the menu, or a name as a workflow has it.

    It is looked for in this order:
    1. by the name as it is written;
    2. by the name in another spelling, as a workflow made on Windows has "folder\\name";
    3. as the name of a published file, which may lie here under another name;
    4. as an entry of the menu with the key of a folder in front;
    5. as 3, by the last part of the name alone and in any capitals.
    Whether a published file lies here is seen by `path_of`, which knows it by its contents.
    Raises ModelMissing, DeadLink, UnsafePath.
    """
    loaders = {loader.published.key: loader for loader in LOADERS.values()}
    # All folders by the exact name, before any folder by another spelling.
    for find in (folders.find_exactly, folders.find):
        for key, loader in loaders.items():
            if find(file, key):
                return AdapterFile(loader, file)
    for model in models():
        if same_name(model.name, file) and model.key in loaders:
            return AdapterFile(loaders[model.key], file)
    # An entry such as "ipadapter/name", which no folder has as a name.
    entries = menu()
    entry = among(file, entries)
    if entry:
        return entries[entry]
    # The name of a published file in a folder that is not here, or in other capitals.
    published = publication(file, tuple(loaders))
    if published:
        return AdapterFile(loaders[published.key], file)
    folders.refuse_dead_link(file, *loaders)
    model_folders = folders.folders(*loaders)
    raise ModelMissing(
        "The adapter", [file or "no file"], model_folders, MODELS_PAGE, "its size is there", "File (file)"
    )


def path_of(file: str) -> str:
    """Full path of a file that was chosen. Raises ModelMissing, UnsafePath."""
    adapter_file = chosen_file(file)
    return adapter_file.loader.published.path(adapter_file.name)


def _loader_of(path: str, folder_loader: FileLoader) -> FileLoader:
    """The loader of the method that the contents of a file belong to.

    folder_loader: the loader of the method in whose folder the file lies. It is returned where the contents are of no
    method with a loader; the error is raised when it reads the file.
    """
    file_format, *_ = recognised(Path(path))
    if file_format is not None:
        for loader in LOADERS.values():
            if file_format.id in loader.published.formats:
                return loader
    return folder_loader


class LoadAdapter(ChoosesFile, RunsFirst, io.ComfyNode):
    """Loads a file of any method that has a loader. The contents of the file decide which method's it is."""

    path_of = staticmethod(path_of)

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadAdapter",
            category=IN_FILES,
            inputs=[io.Combo.Input("file", options=sorted(menu()))],
            outputs=[AdapterSocket.Output("adapter")],
        )
        # Not an argument of Schema: that is a TypeError in ComfyUI 0.3.64.
        schema.search_aliases = [f"load {method.title}" for method in methods() if method.folder in LOADERS]
        return schema

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        adapter_file = chosen_file(file)
        path = adapter_file.loader.published.chosen(adapter_file.name)
        loader = _loader_of(path, adapter_file.loader)
        adapter = loader.load(path)
        # It is the file of another method for many who choose it, and the nodes that read it run late.
        check_readers(cls, adapter)
        return io.NodeOutput(adapter)


NODES = [LoadAdapter]
