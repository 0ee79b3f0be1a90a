"""A workflow with a group of an editor from before subgraphs, as such an editor saved it."""

from typing import Any

Graph = dict[str, Any]


def _slot(name: str, kind: str, link: int | None = None) -> Graph:
    return {"name": name, "type": kind, "link": link}


def _inside(index: int, kind: str, values: list[Any], inputs: list[Graph], outputs: list[str]) -> Graph:
    """A node in the group, with values from when the group was made and links of the workflow of then."""
    return {
        "id": -1, "index": index, "type": kind, "pos": [0, 0], "size": [300, 120], "flags": {}, "order": index,
        "mode": 0, "properties": {"Node name for S&R": kind}, "widgets_values": values, "inputs": inputs,
        "outputs": [{"name": name, "type": name, "links": [], "slot_index": n} for n, name in enumerate(outputs)],
    }  # fmt: skip


GROUP: Graph = {
    "nodes": [
        _inside(0, "CLIPTextEncode", ["then, good"], [_slot("clip", "CLIP", 71)], ["CONDITIONING"]),
        _inside(1, "CLIPTextEncode", ["then, bad"], [_slot("clip", "CLIP", 72)], ["CONDITIONING"]),
        _inside(2, "KSampler", [1, "fixed", 30, 9.0, "heun", "normal", 0.5], [
            _slot("model", "MODEL", 73), _slot("positive", "CONDITIONING", 74), _slot("negative", "CONDITIONING", 75),
            _slot("latent_image", "LATENT", 76),
        ], ["LATENT"]),
    ],
    "links": [[0, 0, 2, 1, 11, "CONDITIONING"], [1, 0, 2, 2, 12, "CONDITIONING"], [None, 0, 0, 0, 4, "CLIP"]],
    "external": [[1, 0, "CONDITIONING"], [2, 0, "LATENT"]],
}  # fmt: skip
"""Two texts and a sampler: both texts have an input called clip, and the second text is read from outside as well."""


def workflow(prefix: str = "workflow>") -> Graph:
    """The group between a checkpoint with a latent and a second sampler, which reads one of its texts."""
    group = {
        "id": 5, "type": f"{prefix}people", "pos": [500, 0], "size": [400, 300], "flags": {}, "order": 3, "mode": 0,
        "properties": {}, "inputs": [
            _slot("clip", "CLIP", 1), _slot("CLIPTextEncode clip", "CLIP", 2), _slot("model", "MODEL", 3),
            _slot("latent_image", "LATENT", 4),
        ],
        "outputs": [
            {"name": "CONDITIONING", "type": "CONDITIONING", "links": [5]},
            {"name": "LATENT", "type": "LATENT", "links": [6, 7]},
        ],
        "widgets_values": ["now, good", "now, bad", 7, "fixed", 12, 2.5, "euler", "karras", 1.0],
    }  # fmt: skip
    nodes = [
        _inside(0, "CheckpointLoaderSimple", ["x.safetensors"], [], ["MODEL", "CLIP", "VAE"]) | {"id": 1},
        _inside(1, "EmptyLatentImage", [512, 768, 1], [], ["LATENT"]) | {"id": 2},
        group,
        _inside(4, "KSampler", [8, "fixed", 3, 1.0, "euler", "simple", 0.3], [
            _slot("model", "MODEL", 8), _slot("positive", "CONDITIONING", 5), _slot("negative", "CONDITIONING", 9),
            _slot("latent_image", "LATENT", 6),
        ], ["LATENT"]) | {"id": 6},
        _inside(5, "CLIPTextEncode", ["of its own"], [_slot("clip", "CLIP", 10)], ["CONDITIONING"]) | {"id": 7},
        _inside(6, "VAEDecode", [], [_slot("samples", "LATENT", 7), _slot("vae", "VAE", 11)], ["IMAGE"]) | {"id": 8},
    ]  # fmt: skip
    links = [
        [1, 1, 1, 5, 0, "CLIP"], [2, 1, 1, 5, 1, "CLIP"], [3, 1, 0, 5, 2, "MODEL"], [4, 2, 0, 5, 3, "LATENT"],
        [5, 5, 0, 6, 1, "CONDITIONING"], [6, 5, 1, 6, 3, "LATENT"], [7, 5, 1, 8, 0, "LATENT"],
        [8, 1, 0, 6, 0, "MODEL"], [9, 7, 0, 6, 2, "CONDITIONING"], [10, 1, 1, 7, 0, "CLIP"], [11, 1, 2, 8, 1, "VAE"],
    ]  # fmt: skip
    sources = {number: (source, output) for number, source, output, *_ in links}
    for node in nodes:
        node.pop("index", None)
        for place, output in enumerate(node["outputs"]):
            output["links"] = [number for number, begins in sources.items() if begins == (node["id"], place)]
    extra = {"groupNodes": {"people": GROUP}}
    return {"nodes": nodes, "links": links, "groups": [], "config": {}, "extra": extra, "version": 0.4,
            "last_node_id": 8, "last_link_id": 11}  # fmt: skip


def as_tree(prompt: Graph, number: str) -> Any:
    """A node of a prompt with its inputs, and in the place of each link what it begins at: whatever the numbers are."""
    node = prompt[number]
    inputs: Graph = {}
    for name, value in node["inputs"].items():
        is_link = isinstance(value, list)
        inputs[name] = [as_tree(prompt, value[0]), value[1]] if is_link else value
    return [node["class_type"], inputs]
