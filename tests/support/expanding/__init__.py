"""A node pack with a node that becomes other nodes when it runs, as the host's loops do."""

import json
from typing import Any

from comfy_api.latest import ComfyExtension, io
from comfy_execution.graph_utils import is_link


class Expanding(io.ComfyNode):
    """nodes: the prompt of the nodes that it becomes, as JSON. Its output is the first one of "last"."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Expanding",
            category="testing",
            inputs=[io.String.Input("nodes", multiline=True)],
            outputs=[io.AnyType.Output()],
            hidden=[io.Hidden.unique_id],
            enable_expand=True,
        )

    @classmethod
    def execute(cls, nodes: str) -> io.NodeOutput:
        expanded: dict[str, Any] = {f"{cls.hidden.unique_id}.{name}": one for name, one in json.loads(nodes).items()}
        for one in expanded.values():
            for name, value in one["inputs"].items():
                if is_link(value):
                    one["inputs"][name] = [f"{cls.hidden.unique_id}.{value[0]}", value[1]]
        return io.NodeOutput([f"{cls.hidden.unique_id}.last", 0], expand=expanded)


class Extension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [Expanding]


async def comfy_entrypoint() -> Extension:
    return Extension()
