"""The pack's nodes, as the host asks for them: steps, and the nodes of every method that has a folder here."""

from importlib import import_module

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
"""Modules, in the order in which the host lists their nodes; then come those of the methods."""
_STEP_MODULES = [import_module(f".{name}", __package__) for name in _STEPS]
_METHODS = [import_module(f".{method.folder}.nodes", __package__) for method in methods()]
adapters.LOADERS.update({one.__name__.split(".")[-2]: one.LOADER for one in _METHODS if hasattr(one, "LOADER")})
NODES = [inputs.checked(node) for module in (*_STEP_MODULES, *_METHODS) for node in module.NODES]


class Likeness(ComfyExtension):
    """What the host asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        serve()
        provide()
        copies.warn()
        return NODES
