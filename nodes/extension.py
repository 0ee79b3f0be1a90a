"""The list of the pack's nodes for the host: those of the steps, and those of each method that has a folder here."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from comfy_api.latest import ComfyExtension, io

from ..bridge import copies, folders, inputs
from ..bridge.missing_files import serve
from ..bridge.photos import provide
from ..core.methods import methods
from . import adapters

folders.register()

_STEPS = (
    "people", "photos", "adapters", "places", "control_images", "prompts", "person_loras", "parts", "body_surface",
    "measure", "second_pass", "doctor",
)  # fmt: skip
"""Modules of this folder, in the order in which the host lists their nodes; those of the methods come behind them."""


def _import_methods() -> list[ModuleType]:
    """The modules `nodes` of all methods. The file loaders among them become those of Load Adapter."""
    modules: list[ModuleType] = []
    for method in methods():
        module = import_module(f".{method.folder}.nodes", __package__)
        modules.append(module)
        # A method without a file of its own has no loader.
        if hasattr(module, "LOADER"):
            adapters.LOADERS[method.folder] = module.LOADER
    return modules


def _checked_nodes(modules: Iterable[ModuleType]) -> list[type[io.ComfyNode]]:
    """The nodes of these modules, with checks of what is linked to their inputs."""
    checked: list[type[io.ComfyNode]] = []
    for module in modules:
        for node in module.NODES:
            checked.append(inputs.checked(node))
    return checked


_STEP_MODULES = [import_module(f".{name}", __package__) for name in _STEPS]
NODES = _checked_nodes([*_STEP_MODULES, *_import_methods()])


class Likeness(ComfyExtension):
    """What the host asks for the pack's nodes, once, when it has started its server."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes. Beside that the routes of the server are added, which need one that runs."""
        serve()
        provide()
        copies.warn()
        return NODES
