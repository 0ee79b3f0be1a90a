"""The nodes, one file per step of the graph."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from ..bridge import folders
from . import id_patch, instant_id, parts, people, places

folders.register()


class Likeness(ComfyExtension):
    """What the host asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*people.NODES, *places.NODES, *id_patch.NODES, *instant_id.NODES, *parts.NODES]
