"""Workflows saved by earlier versions, which lack inputs that came later and have nodes that were replaced since, give
the same picture."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_graphs import node, value
from comfy_api.latest._io import WidgetInput
from graph_run import run
from pack.bridge.face_model import NO_DETECTOR, NO_RECOGNISER
from pack.core.methods import methods
from pack.nodes.adapters import LOADERS
from pack.nodes.extension import NODES, OLD
from promised import Row, applies_to, latents, picture

KNOWN = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text("utf-8"))

SAVED = json.loads((Path(__file__).parents[1] / "golden" / "old_nodes.json").read_text("utf-8"))
"""Nodes that others have replaced, as workflows have them."""
NOW = {
    "LikenessDrawBodySurface": ("LikenessPoseImage", {"draw": "body surface"}),
    "LikenessFaceKeypointsImage": ("LikenessPoseImage", {"draw": "face keypoints"}),
    "LikenessFacesFromLandmarks": ("LikenessDetectFaces", {}),
    "LikenessLayoutFromMasks": ("LikenessLayoutFromFaces", {"fit": "crop"}),
    "LikenessLayoutFromPoses": ("LikenessLayoutFromFaces", {"body": "half"}),
    **{one.node: ("LikenessLoadAdapter", {}) for one in methods() if one.folder in LOADERS},
}
"""What does the same now."""
_ALONE = {"pack": NO_DETECTOR, "recognisers": NO_RECOGNISER, "provider": "auto", "backend": "auto"}
LINKED = {
    "LIKENESS_CAST": value("cast()"), "LIKENESS_LAYOUT": value("layout()"), "POSE_KEYPOINT": value("pose()"),
    "MASK": value("mask(2)"), "LIKENESS_FACE_MODEL": node("LikenessLoadFaceModel", **_ALONE),
    "IMAGE": value("photo()"), "FACE_LANDMARKS": value("landmarks()"),
}  # fmt: skip
SCHEMAS = {schema.node_id: schema for schema in (one.GET_SCHEMA() for one in (*NODES, *OLD))}


def test_every_replaced_node_is_tried() -> None:
    assert SAVED.keys() == NOW.keys() == {one.GET_SCHEMA().node_id for one in OLD}
    assert [kind for kind in SAVED if not SCHEMAS[kind].is_deprecated] == []


@pytest.mark.parametrize("kind", SAVED)
def test_a_replaced_node_has_the_sockets_that_were_saved(kind: str) -> None:
    saved, schema = SAVED[kind], SCHEMAS[kind]
    types = {one.id: one.get_io_type() for one in schema.inputs}
    assert {name: "COMBO" if isinstance(of, list) else of for name, of in types.items()} == saved["inputs"]
    assert [one.get_io_type() for one in schema.outputs] == saved["outputs"]


def saved_inputs(kind: str) -> dict[str, Any]:
    """The values and links that a saved workflow has for a node that was replaced."""
    saved, schema = SAVED[kind], SCHEMAS[kind]
    widgets = [one.id for one in schema.inputs if isinstance(one, WidgetInput)]
    links = {name: LINKED[of] for name, of in saved["inputs"].items() if of in LINKED}
    return links | dict(zip(widgets, saved["widgets_values"], strict=True))


REPLACED_LOADERS = [kind for kind, (by, _) in NOW.items() if by == "LikenessLoadAdapter"]


@pytest.mark.parametrize("kind", REPLACED_LOADERS)
def test_a_replaced_loader_is_given_a_file_that_is_published(kind: str) -> None:
    """What it loads and refuses: tests/promises/test_wrong_files.py."""
    (folder,) = [method.folder for method in methods() if method.node == kind]
    assert LOADERS[folder].published.named(saved_inputs(kind)["file"])


@pytest.mark.parametrize("kind", [kind for kind in SAVED if kind not in REPLACED_LOADERS])
def test_a_replaced_node_opens_and_does_what_the_new_one_does(kind: str) -> None:
    saved, (by, given) = SAVED[kind], NOW[kind]
    inputs = saved_inputs(kind)
    old, new = (run(node(made_by, **given), {}) for made_by, given in ((kind, inputs), (by, inputs | given)))
    assert len(old) == len(saved["outputs"]) and same(old, new[: len(old)])


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(one, b[name]) for name, one in a.items())
    return same(vars(a), vars(b)) if hasattr(a, "__dict__") else a == b


def came_later(row: Row) -> list[str]:
    """The optional widgets: whoever saved a workflow before has none of them."""
    return [name for name, entry in row.inputs.items() if entry.optional and isinstance(entry, WidgetInput)]


def test_defaults_are_those_of_every_earlier_version(row: Row) -> None:
    """Workflows of the API have no input that is left at its default."""
    now = {}
    for name, entry in row.inputs.items():
        if isinstance(entry, WidgetInput) and entry.default is not None:
            now[f"{row.kind}.{name}"] = entry.default
    assert now
    assert {name: KNOWN.get(name) for name in now} == now


@applies_to(lambda row: bool(came_later(row)), "It has every input since its first version.")
def test_without_the_inputs_that_came_later_it_is_the_same_picture(row: Row) -> None:
    later = came_later(row)
    assert later
    applied = row.node(**{name: row.inputs[name].default for name in later})
    old = node(row.kind, **{name: given for name, given in applied.inputs.items() if name not in later})
    # The picture of the defaults is there already where they are what is left out.
    whole = latents(row.sampled(applied)) if applied.inputs != row.node().inputs else picture(row)
    assert torch.equal(latents(row.sampled(old)), whole)
