"""What a workflow needs of the models in the manifest, what else its loaders have chosen, and which method needs what.

Workflows are as ComfyUI saves them, those inside of subgraphs too. Standard library only: scripts read them where there
is no torch yet.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, cast

from ..errors import listed
from ..methods import methods
from ..names import spelled
from ..text import NAME, plain
from . import packs
from .manifest import STANDIN, File, Model, models
from .workflow_forms import NoWorkflow, graph_of

Graph = Mapping[str, Any]
"""A workflow as ComfyUI saves it, or as its API takes it."""
# What the host's loaders read: model keys.
LOADERS = {
    "CheckpointLoaderSimple": "checkpoints", "ControlNetLoader": "controlnet", "CLIPVisionLoader": "clip_vision",
    "VAELoader": "vae", "LoadMediaPipeFaceLandmarker": "detection", "LoadDA3Model": "geometry_estimation",
    "UNETLoader": "diffusion_models", "CLIPLoader": "text_encoders", "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
}  # fmt: skip
SINGLE = "single templates"
"""What needs a model that no method as such does, where several workflows are looked at."""
_OF_A_FAMILY = ("checkpoints", "controlnet")
"""Keys of files whose tensors tell for which family they are."""
_LOADER, _ADAPTERS = "LikenessLoadFaceModel", "LikenessLoadAdapter"
_LOOKS_FOR_FACES = (
    "LikenessIdentity", "LikenessPeopleFromPhotos", "LikenessCastFromPhotos", "LikenessDetectFaces", "LikenessMeasure",
    "LikenessCropFaces",
)  # fmt: skip
"""Nodes that load a face model themselves where none is linked."""


def wanted(graph: Graph) -> tuple[Model, ...]:
    """The models of a workflow: published ones, and what the host's loaders have chosen beside them."""
    held, published_names = _Held(graph), {model.name for model in models()}
    needed, files = published(graph), loaded(graph)
    families = [model.family for model in needed if model.family and model.key not in LOADERS.values()]
    keys = [key for key, _ in files]
    chosen = tuple(
        # Which of several is for our nodes only their links would tell: a second checkpoint may be of any family.
        _own(key, name, families[0] if families and keys.count(key) == 1 else "")
        for key, name in files
        if spelled(name) not in published_names
    )
    # A file of the user's own choice stands for the published one that only our nodes ask for.
    replaced = {model.key for model in chosen}
    ours = (model for model in needed if model.name in held.texts or model.key not in replaced)
    # What its methods read, and what Load Face Model names behind the pack.
    recognisers = held.read | {one.texts[1] for one in held.nodes if one.kind == _LOADER and len(one.texts) > 1}
    return (*(_without_recogniser(model, recognisers) for model in ours), *chosen)


def loaded(graph: Graph) -> tuple[tuple[str, str], ...]:
    """(model key, file) of the host's loaders and of ours that take any of several, each once. A loader's other texts
    are settings, such as a precision."""
    held, published = _Held(graph), {model.name: model.key for model in models()}
    loaders = LOADERS | _of_several(held.kinds)
    named = ((one.kind, one.texts[0]) for one in held.nodes if one.kind in loaders and one.texts)
    files: dict[tuple[str, str], None] = {}
    for kind, name in named:
        key = loaders[kind]
        if kind == _ADAPTERS:
            key = published.get(spelled(name), key)
        files[key, name] = None
    return tuple(files)


def published(graph: Graph) -> tuple[Model, ...]:
    """The models a workflow cannot do without, in the order of the manifest: by the names its loaders have chosen, by
    its nodes, and the face packs of its methods."""
    held = _Held(graph)
    kinds = held.kinds | {apply for method in methods() if method.node in held.kinds for apply in method.applies}
    needed = {one.id for one in models() if one.name in held.texts or kinds & set(one.nodes)}
    needed |= {packs.published(recogniser).id for recogniser in held.read}
    # A node that looks for faces with whatever pack it finds: neither a face model nor landmarks are linked.
    enough = {"face_landmarks", *(["face_model"] if _LOADER in held.kinds else ())}
    any_pack = any(one.kind in _LOOKS_FOR_FACES and not one.linked & enough for one in held.nodes)
    if any_pack and not any(one.format == "face-pack" for one in models() if one.id in needed):
        needed.add(packs.ANTELOPE)
    return tuple(one for one in models() if one.id in needed)


def chooses_standins(graph: Graph) -> bool:
    """Whether a workflow is the miniature's: for its files no released weights are missing, and it draws cartoons."""
    return any(text.startswith(STANDIN) for text in _Held(graph).texts)


class _Held:
    """The nodes of a workflow, their types, and every text that one of them holds, such as the file of a loader,
    spelled as the manifest spells names.

    read: ids of the recognisers whose embeddings its methods read, where it makes people of photos.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = list(nodes(graph))
        self.kinds = {one.kind for one in self.nodes}
        self.texts = {spelled(text) for one in self.nodes for text in one.texts}
        formats = [one.format for one in models() if one.name in self.texts]
        used = [one for one in methods() if one.recogniser and one.used_by(self.kinds)]
        self.read = {
            one.recogniser
            for one in used
            if not one.embedding_formats or any(each.startswith(one.embedding_formats) for each in formats)
        }
        if not self.kinds & {*_LOOKS_FOR_FACES}:
            self.read = set[str]()


def _of_several(kinds: Set[str]) -> dict[str, str]:
    """Loaders of ours for any of several published files -> their model key. Load Adapter's is that of a method which
    is in the workflow."""
    keys = Counter(model.key for model in models() if model.key not in LOADERS.values())
    several = [method for method in methods() if method.key and keys[method.key] > 1]
    used = next((method.key for method in several if method.used_by(kinds)), None)
    return {method.node: method.key for method in several} | ({_ADAPTERS: used} if used else {})


def _without_recogniser(model: Model, needed: set[str]) -> Model:
    """A face pack as a detector only, as which any other pack does as well, unless its recogniser is `needed`."""
    kept = (
        file
        for file in model.files
        if file.part != "recogniser" or packs.recogniser_id(file.names[0], file.size or 0) in needed
    )
    return replace(model, files=tuple(kept))


def _own(key: str, name: str, made_for: str) -> Model:
    """A file that a loader names, in the folder of its key as the host has it: no name leads out of there."""
    forms = (model.format for model in models() if key in _OF_A_FAMILY and (model.key, model.family) == (key, made_for))
    title = plain(name, NAME) or "a file without a name"
    # As it is written, and with the slashes of every system.
    names = [os.path.relpath(os.path.join("/", written), "/") for written in (name, name.replace("\\", "/"))]
    return Model(
        id="", title=title, key=key, name=names[0], format=next(forms, ""), family=made_for,
        files=(File(tuple(dict.fromkeys(names)), None, None),), commercial="",
    )  # fmt: skip


def workflow(text: str) -> dict[str, Any]:
    """A workflow as ComfyUI saves it, or as its API takes it, also as it is posted. Raises ValueError, saying why, for
    anything else."""
    try:
        graph = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets go deeper than those of any workflow") from None
    with suppress(NoWorkflow):  # what has no nodes is told below
        graph = graph_of(graph)
    if not isinstance(graph, dict) or not list(nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


class Used(NamedTuple):
    """A node of a workflow: its type, the texts it holds in the order of its inputs, and the inputs that are linked."""

    kind: str
    texts: list[str]
    linked: set[str]


def nodes(graph: Graph) -> Iterator[Used]:
    """Every node of a workflow, those inside of subgraphs too, without those that are switched off."""
    # In a prompt of the API a node may be called "nodes".
    prompt = [cast("dict[str, Any]", one) for one in graph.values() if isinstance(one, dict) and "class_type" in one]
    for node in prompt:
        inputs = _named(node.get("inputs"))
        linked = {name for name, value in inputs.items() if isinstance(value, list)}
        yield Used(str(node["class_type"]), _texts(list(inputs.values())), linked)
    for node in () if prompt else nodes_in(graph, running=True):
        slots: Any = node.get("inputs")
        named = map(_named, cast("list[Any]", slots) if isinstance(slots, list) else [])
        linked = {str(slot.get("name")) for slot in named if slot.get("link") is not None}
        values = node.get("widgets_values")
        yield Used(str(node.get("type", "")), _texts(list(_named(values).values()) or values), linked)


def _named(values: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", values) if isinstance(values, dict) else {}


def _texts(values: Any) -> list[str]:
    return [one for one in cast("list[Any]", values) if isinstance(one, str)] if isinstance(values, list) else []


def users(workflows: Mapping[str, Graph], template: Callable[[str], Graph]) -> Callable[[Model], str]:
    """Gives of a model the methods in these workflows that cannot do without it; else the workflow, or SINGLE of many.

    workflows: by their names. template: reads one of the pack by its name.
    """
    kinds = {node.kind for graph in workflows.values() for node in nodes(graph)}
    uses = [use for method in methods() if method.used_by(kinds) for use in method.uses]
    needed = {use.title: {model.id for model in published(template(use.template))} for use in uses}
    other = SINGLE if len(workflows) > 1 else listed([*workflows])
    return lambda model: listed([title for title, ids in needed.items() if model.id in ids], other)


def subgraphs(graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What stands inside of the nodes of these types. Raises ValueError where the list is damaged."""
    return {str(part.get("id")): part for part in _listed(graph.get("definitions"), "subgraphs")}


def nodes_in(graph: Mapping[str, Any], running: bool = False) -> Iterator[dict[str, Any]]:
    """Every node; behind one that stands for a subgraph those inside of it, once.

    running: without those that are switched off. Raises ValueError where a list of nodes or subgraphs is damaged.
    """
    inside, waiting = subgraphs(graph), _listed(graph, "nodes")[::-1]
    while waiting:
        node = waiting.pop()
        if running and node.get("mode", 0) in (2, 4):  # muted, bypassed
            continue
        yield node
        waiting += _listed(inside.pop(str(node.get("type")), None), "nodes")[::-1]


def _listed(part: Any, name: str) -> list[dict[str, Any]]:
    known: Any = part or {}
    found: Any = cast("dict[str, Any]", known).get(name) or [] if isinstance(known, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in cast("list[Any]", found)):
        raise ValueError(f"its list of {name} is damaged")
    return cast("list[dict[str, Any]]", found)
