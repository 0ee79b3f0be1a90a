"""What a workflow needs of the models in the manifest, and what else its loaders have chosen. Standard library only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from ..text import NAME, plain
from ..workflow_files import nodes_in
from . import packs
from .manifest import File, Model, models

# What the host's loaders read: model keys.
LOADERS = {
    "CheckpointLoaderSimple": "checkpoints", "ControlNetLoader": "controlnet", "CLIPVisionLoader": "clip_vision",
    "VAELoader": "vae", "LoadMediaPipeFaceLandmarker": "detection", "LoadDA3Model": "geometry_estimation",
    "UNETLoader": "diffusion_models", "CLIPLoader": "text_encoders", "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
}  # fmt: skip
OURS = {"LikenessLoadIPAdapter": "ipadapter", "LikenessLoadPhotoMaker": "photomaker"}
"""Loaders of ours for any of several published files."""
_OF_A_FAMILY = ("checkpoints", "controlnet")
"""Keys of files whose tensors tell for which family they are."""
_READ_BUFFALO = ("face-id", "story-maker", "photo-maker-v2")
"""How the formats begin of what reads embeddings of buffalo_l's recogniser."""
_READ_ANTELOPE = ("LikenessLoadInstantID", "LikenessLoadWithAnyone")
"""Loaders of what reads embeddings of antelopev2's."""


def wanted(graph: Mapping[str, Any]) -> tuple[Model, ...]:
    """The models of a workflow: published ones, and what the host's loaders have chosen beside them."""
    needed, names = published(graph), {model.name for model in models()}
    families = [model.family for model in needed if model.family and model.key not in LOADERS.values()]
    chosen_files = loaded(graph)
    keys = [key for key, _ in chosen_files]
    chosen = tuple(
        # Which of several is for our nodes only their links would tell: a second checkpoint may be of any family.
        _own(key, name, families[0] if families and keys.count(key) == 1 else "")
        for key, name in chosen_files
        if name not in names
    )
    # A file of the user's own choice stands for the published one that only our nodes ask for.
    replaced = {model.key for model in chosen}
    texts = {text for _, text in choices(graph)}
    ours = (model for model in needed if model.name in texts or model.key not in replaced)
    recognisers = _recognisers(graph)
    return (*(_without_recogniser(model, recognisers) for model in ours), *chosen)


def loaded(graph: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(model key, file) of the host's loaders and of ours that take any of several, each once. A loader's other texts
    are settings, such as a precision."""
    loaders = LOADERS | OURS
    files = ((loaders[kind], texts[0]) for kind, texts in nodes(graph) if kind in loaders and texts)
    return tuple(dict.fromkeys(files))


def _recognisers(graph: Mapping[str, Any]) -> set[str]:
    """Ids of those that a workflow cannot do without: what its methods read, and what Load Face Model names behind the
    pack."""
    found = list(nodes(graph))
    named = {texts[1] for kind, texts in found if kind == "LikenessLoadFaceModel" and len(texts) > 1}
    read = {packs.BUFFALO for model in published(graph) if model.format.startswith(_READ_BUFFALO)}
    return named | read | {packs.ANTELOPE for kind, _ in found if kind in _READ_ANTELOPE}


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
    form, title = next(forms, ""), plain(name, NAME) or "a file without a name"
    name = os.path.relpath(os.path.join("/", name), "/")
    return Model(
        id="",
        title=title,
        key=key,
        name=name,
        format=form,
        family=made_for,
        page="",
        archive=None,
        files=(File((name,), None, None),),
        licences=(),
        commercial="",
        alternatives=(),
        nodes=(),
    )


def published(graph: Mapping[str, Any]) -> tuple[Model, ...]:
    """The models a workflow cannot do without, in the order of the manifest: by the names its loaders have chosen and
    by its nodes. graph: a workflow as ComfyUI saves it, or as its API takes it."""
    found = list(nodes(graph))
    kinds, chosen = {kind for kind, _ in found}, {value for _, values in found for value in values}
    return tuple(one for one in models() if one.name in chosen or kinds & set(one.nodes))


def choices(graph: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(node type, text) of every text that a node of a workflow holds, such as the file of a loader."""
    return tuple((kind, value) for kind, values in nodes(graph) for value in values)


def workflow(text: str) -> dict[str, Any]:
    """A workflow as ComfyUI saves it, or as its API takes it. Raises ValueError, saying why, for anything else."""
    try:
        graph = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets go deeper than those of any workflow") from None
    if not isinstance(graph, dict) or not list(nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


def nodes(graph: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Type and texts of every node of a workflow, those inside of subgraphs too, without those that are switched off.

    Texts are in the order of the node's inputs.
    """
    as_api = [
        cast("dict[str, Any]", node) for node in graph.values() if isinstance(node, dict) and "class_type" in node
    ]
    for node in as_api:
        yield str(node["class_type"]), _texts(node.get("inputs"))
    if not as_api:  # else a node may be called "nodes"
        for node in nodes_in(graph, running=True):
            yield str(node.get("type", "")), _texts(node.get("widgets_values"))


def _texts(values: Any) -> list[str]:
    """Of a list, or of a dictionary of named values; there are none in anything else."""
    given = list(cast("dict[str, Any]", values).values()) if isinstance(values, dict) else values
    return [value for value in cast("list[Any]", given) if isinstance(value, str)] if isinstance(given, list) else []
