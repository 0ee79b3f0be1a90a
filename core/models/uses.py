"""Which method or which workflow a model is needed for. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import listed
from .findings import SINGLE
from .manifest import Model
from .needs import nodes, published


class Method(NamedTuple):
    """node: one that every workflow of it has. template: the one that says what it needs."""

    node: str
    template: str


METHODS = {
    "ID-Patch": Method("LikenessLoadIDPatch", "id_patch_two_people"),
    "InstantID": Method("LikenessLoadInstantID", "instant_id_portrait"),
    "IP-Adapter FaceID": Method("LikenessLoadIPAdapter", "ip_adapter_sd15_two_people"),
    "IP-Adapter plus-face": Method("LikenessLoadIPAdapter", "ip_adapter_without_insightface"),
    "StoryMaker": Method("LikenessLoadStoryMaker", "story_maker_portrait"),
    "PhotoMaker": Method("LikenessLoadPhotoMaker", "photo_maker_two_people"),
    "FLUX.2 klein": Method("LikenessCastReferences", "references_klein_two_people"),
    "Qwen-Image-Edit": Method("LikenessCastReferences", "references_qwen_three_people"),
    "Parts2Whole": Method("LikenessLoadParts2Whole", "parts2whole_with_pose"),
    "Share Parts Attention": Method("LikenessSharePartsAttention", "parts_training_free_sdxl"),
}


Graph = Mapping[str, Any]


def users(workflows: Mapping[str, Graph], template: Callable[[str], Graph]) -> Callable[[Model], str]:
    """Gives of a model the methods in these workflows that cannot do without it; else the workflow, or SINGLE of many.

    workflows: by their names. template: reads one of the pack by its name.
    """
    kinds = {node.kind for graph in workflows.values() for node in nodes(graph)}
    methods = {name: _ids(template(method.template)) for name, method in METHODS.items() if method.node in kinds}
    other = SINGLE if len(workflows) > 1 else listed([*workflows])
    return lambda model: listed([name for name, needed in methods.items() if model.id in needed], other)


def _ids(graph: Graph) -> set[str]:
    return {model.id for model in published(graph)}
