"""Nodes that others have replaced: saved workflows open and run as before, and editors offer the new node.

An old node is its row of the table and the new node: what it takes and gives is derived from these, and the new node
does the work. So each of its inputs is one of the new node's, by the same id.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from comfy_api.internal import first_real_override
from comfy_api.latest import ComfyAPI, io

from ..bridge.notes import running_server

Node = type[io.ComfyNode]


@dataclass(frozen=True)
class Replaced:
    """title: what the node was called. by: the id of the new node. inputs: ids in their order, a ? behind optional
    ones. given: values of further inputs of the new node, or of its class. changed: input -> what its schema says
    differently. outputs: ids, where they are not those of the new node's first outputs. socket: of the first one.
    """

    title: str
    by: str
    inputs: str
    given: Sequence[tuple[str, Any]] = ()
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outputs: str = ""
    socket: str = ""

    @property
    def optional(self) -> dict[str, bool]:
        """Of every input, in their order."""
        return {name.rstrip("?"): name.endswith("?") for name in self.inputs.split()}


def _loader(title: str, method: str, inputs: str = "file") -> Replaced:
    """method: the folder of the one whose files it loads."""
    socket = f"LIKENESS_{method.upper()}"
    return Replaced(title, "LikenessLoadAdapter", inputs, [("method", method)], outputs=method, socket=socket)


_OWN_SIZE = {"width": {"default": 0}, "height": {"default": 0}}

# ComfyUI-Manager finds the pack of a missing node by the keys of a dictionary of such a name, up to a closing brace.
OLD_CLASS_MAPPINGS = {
    "LikenessFaceKeypointsImage": Replaced(
        "Face Keypoints Image", "LikenessPoseImage", "cast? layout?", [("draw", "face keypoints")], outputs="image"
    ),
    "LikenessDrawBodySurface": Replaced(
        "Draw Body Surface", "LikenessPoseImage", "layout", [("draw", "body surface")], outputs="surface people_masks"
    ),
    "LikenessLayoutFromPoses": Replaced(
        "Layout from Poses", "LikenessLayoutFromFaces", "poses width height fit", [("body", "half")], _OWN_SIZE
    ),
    "LikenessLayoutFromMasks": Replaced(
        "Layout from Masks", "LikenessLayoutFromFaces", "masks width height body", [("fit", "crop")], _OWN_SIZE
    ),
    "LikenessFacesFromLandmarks": Replaced(
        "Faces from Landmarks", "LikenessDetectFaces", "face_model image face_landmarks order min_size max_faces"
    ),
    "LikenessLoadIDPatch": _loader("Load ID-Patch", "id_patch"),
    "LikenessLoadInstantID": _loader("Load InstantID", "instant_id"),
    "LikenessLoadIPAdapter": _loader("Load IP-Adapter", "ip_adapter", "file plus_version"),
    "LikenessLoadPhotoMaker": _loader("Load PhotoMaker", "photo_maker"),
    "LikenessLoadStoryMaker": _loader("Load StoryMaker", "story_maker"),
    "LikenessLoadWithAnyone": _loader("Load WithAnyone", "with_anyone"),
    "LikenessLoadInfiniteYou": _loader("Load InfiniteYou", "infinite_you"),
}


def nodes(new: Sequence[Node]) -> list[Node]:
    """The old ones. new: all others, held to their schemas by `bridge.inputs`."""
    known = {node.define_schema().node_id: node for node in new}
    return [_made(old, row, known[row.by]) for old, row in OLD_CLASS_MAPPINGS.items()]


def _made(old: str, row: Replaced, new: Node) -> Node:
    schema = new.define_schema()
    given = {name: value for name, value in row.given if name in {one.id for one in schema.inputs}}

    def define_schema(_: Node) -> io.Schema:
        return _schema(old, row, new.define_schema())

    def execute(cls: Node, **linked: Any) -> io.NodeOutput:
        kept = define_schema(cls)
        own = {one.id: one.default for one in kept.inputs if isinstance(one, io.WidgetInput) and one.optional}
        made = new.execute.__func__(cls, **own | given | linked)
        return io.NodeOutput(*made.args[: len(kept.outputs)], ui=made.ui)

    methods = {"define_schema": define_schema, "execute": execute}
    for name in ("validate_inputs", "fingerprint_inputs"):
        if looks := first_real_override(new, name):
            methods[name] = looks.__func__
    return type(old, (io.ComfyNode,), dict(row.given) | {name: classmethod(one) for name, one in methods.items()})


def _schema(old: str, row: Replaced, new: io.Schema) -> io.Schema:
    """Texts are those of the new node, as far as it is about the same input."""
    known = {one.id: one for one in new.inputs}
    inputs = [
        _changed(known[name], optional=optional, **row.changed.get(name, {})) for name, optional in row.optional.items()
    ]
    names = row.outputs.split() or [one.id for one in new.outputs]
    outputs = [
        one if one.id == name else _changed(one, id=name, display_name=name)
        for one, name in zip(new.outputs, names, strict=False)
    ]
    if row.socket:
        outputs = [io.Custom(row.socket).Output(names[0], display_name=names[0])]
    said = f"Works as before. {new.display_name} does the same and more."
    changed = {"node_id": old, "display_name": row.title, "description": said, "is_deprecated": True}
    return _changed(new, **changed, inputs=inputs, outputs=outputs)


def _changed(slot: Any, **fields: Any) -> Any:
    made = copy(slot)
    vars(made).update(fields)
    return made


async def offer(old: Sequence[Node]) -> None:
    """Tell the host how each of these becomes the new one; ComfyUI 0.3.64 knows no such thing, and keeps the table in
    its server, which scripts have not."""
    if not hasattr(io, "NodeReplace") or running_server() is None:
        return
    for schema in (node.define_schema() for node in old):
        row = OLD_CLASS_MAPPINGS[schema.node_id]
        replace = io.NodeReplace(
            new_node_id=row.by,
            old_node_id=schema.node_id,
            old_widget_ids=[one.id for one in schema.inputs if isinstance(one, io.WidgetInput)],
            input_mapping=[
                *({"new_id": name, "old_id": name} for name in row.optional),
                *({"new_id": name, "set_value": value} for name, value in row.given),
            ],
            output_mapping=[{"old_idx": number, "new_idx": number} for number in range(len(schema.outputs))],
        )
        await ComfyAPI().node_replacement.register(replace)
