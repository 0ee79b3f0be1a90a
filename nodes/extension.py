"""The list of the pack's nodes for the host: those of the steps, and those of each method that has a folder here."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from comfy_api.latest import ComfyExtension, io

from ..bridge.host import folders, inputs
from ..bridge.host.routes import serve
from ..bridge.networks.model_family import needs_newer_host
from ..bridge.people.photos import copy_examples
from ..core.methods import methods
from . import adapters
from .casts import without_unread_face_models

folders.register()

_STEPS = (
    "faces", "people", "kept_people", "casts", "photos", "adapters", "places", "find_places", "control_images",
    "prompts", "person_loras", "parts", "looks", "measure", "second_pass", "check_files",
)  # fmt: skip
"""Modules of this folder, in the order in which the host lists their nodes. The nodes of the methods come after all of
these."""


def _import_methods() -> list[ModuleType]:
    """The module `nodes` of each method.

    It also puts the LOADER of each of these modules into adapters.LOADERS, for Load Adapter.
    """
    modules: list[ModuleType] = []
    for method in methods():
        module = import_module(f".{method.folder}.nodes", __package__)
        modules.append(module)
        # A method without a file of its own has no loader.
        if hasattr(module, "LOADER"):
            adapters.LOADERS[method.folder] = module.LOADER
    return modules


def _checked_nodes(modules: Iterable[ModuleType]) -> list[type[io.ComfyNode]]:
    """The nodes of modules, in their order, each changed to check the values of its inputs, see inputs.checked."""
    checked_nodes: list[type[io.ComfyNode]] = []
    for module in modules:
        for node in module.NODES:
            checked_nodes.append(inputs.checked(node))
    return checked_nodes


_STEP_MODULES = [import_module(f".{name}", __package__) for name in _STEPS]
NODES = _checked_nodes([*_STEP_MODULES, *_import_methods()])


class Likeness(ComfyExtension):
    """What the host asks for the pack's nodes, once, when it has started its server."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack. What needs a running server is also done here, because the server runs by now."""
        serve(
            needs_newer_host, without_unread_face_models
        )  # the routes by which the editor asks for missing model files
        copy_examples()
        return NODES
