"""Under torch.compile, by the host's own node: one graph, nothing compiled anew for other people, the same picture."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import compiled
import marks
import pytest
from figures import relative
from graphs import Node, Value, node, ours, value
from method_rows import Row, in_front, latents, often, rows
from sample_values import loaded, mask, net_for, sd15, sdxl, sdxl_clip, text, whole
from sample_values import small as small_model
from torch import Tensor

SMALL = value(small_model)
WIDE = {"positive": value(text, 1, 2048), "negative": value(text, 2, 2048), "clip": value(sdxl_clip)}
GRAPHS = {"LikenessSharePartsAttention": 2, "LikenessPromptPerPerson": 2}
"""A recording is one of its own, and so is another number of people who are spoken of."""
WHOLE = "LikenessApplyParts2Whole"
"""Whose reference UNet is made for the larger one."""


@cache
def small_net() -> Any:
    """A ControlNet for `small`."""
    return net_for(compiled.SHAPE, num_heads=-1, num_head_channels=32)


def small(row: Row) -> dict[str, Any]:
    """Inputs for a UNet with two layers, and a file for it: what is compiled of the others is more of the same."""
    if row.kind == WHOLE or row.model.make not in (sdxl, sd15):
        return {}
    inputs: dict[str, Any] = {name: link for name, link in WIDE.items() if name in row.inputs}
    if "model" in row.inputs:
        inputs["model"] = SMALL
    for name, link in row.defaults.items():
        if isinstance(link, Value) and link.make is loaded and link.arguments != ("id_patch",):
            inputs[name] = value(loaded, *link.arguments, SMALL)
    if row.kind in ("LikenessApplyIDPatch", "LikenessApplyInstantID"):
        inputs["control_net"] = value(small_net)
    if row.kind == "LikenessApplyPhotoMaker":
        inputs["lora_weight"] = 0.0  # it is made for the larger one, and changes weights alone
    return inputs


@dataclass(frozen=True)
class Setup:
    """inputs: beside the defaults. model: the MODEL that is compiled."""

    inputs: dict[str, Any]
    model: Node


def setup_of(row: Row) -> Setup:
    inputs = small(row)
    if not inputs:
        return Setup(inputs, row.model)
    return Setup(inputs, inputs.get("model", SMALL))


def graph_of(row: Row, applied: Node, model: Node, steps: int = 1) -> Node:
    if "model" in row.inputs:
        return row.sampled(in_front(applied, model), steps=steps)
    graph = row.sampled(applied, steps=steps)
    return node(graph.kind, **{**graph.inputs, "model": model})


def compiled_once(row: Row, **changed: Any) -> list[Tensor]:
    """The pictures of the node, and of the same with other people: compiled they are as plain, by the same graph.

    changed: of the inputs of both.
    """
    setup = setup_of(row)
    compiled_model = value(whole, setup.model)
    made: dict[Node, Any] = {}
    pictures = list[Tensor]()
    with compiled.counting() as counted:
        for applied in (row.node(**setup.inputs, **changed), row.other(**setup.inputs, **changed)):
            plain = latents(graph_of(row, applied, setup.model), made)
            pictures.append(plain)
            assert relative(latents(graph_of(row, applied, compiled_model), made), plain) <= 1e-5
        assert counted() == (GRAPHS.get(row.kind, 1), 0)
    return pictures


@often("pulid, ApplyPuLID, FLUX.1")
def test_it_is_one_graph_and_compiled_once(row: Row) -> None:
    picture, other = compiled_once(row)
    assert relative(picture, other) > 1e-4, "other people make another picture"


def known(kind: str) -> Row:
    return next(row for row in rows() if row.kind == kind)


@pytest.mark.thorough
def test_parts_with_dropped_tokens_are_one_graph() -> None:
    masked = ours("LikenessPart", mask=mask(2)[:1])
    picture, _ = compiled_once(known("LikenessSharePartsAttention"), parts=masked)
    assert picture.isfinite().all()


@pytest.mark.thorough
@marks.transformers
def test_references_that_everybody_reads_outside_are_one_graph() -> None:
    (by_region,) = (row for row in rows() if row.kind == "LikenessPeopleAsReferences" and row.variant == "by region")
    picture, _ = compiled_once(by_region, outside="everybody")
    assert relative(picture, latents(by_region.sampled(by_region.node(), steps=1))) > 1e-4, "it is as with nobody"


@pytest.mark.thorough
def test_what_is_compiled_for_one_graph_is_not_taken_for_another() -> None:
    """The newer host's node does not look at transformer_options: with, without and for a while must still differ."""
    faces, words = map(known, ("LikenessApplyInstantID", "LikenessPromptPerPerson"))
    setup = setup_of(faces)
    model, given = setup.model, setup.inputs
    built, made = value(whole, model), {}
    graphs = [
        (faces, faces.node(**given)), (faces, faces.node(**given, adapter_start_percent=0.4)),
        (words, words.node(**setup_of(words).inputs)), (faces, faces.node(**given)),
    ]  # fmt: skip
    assert graphs
    with compiled.counting() as counted:
        for row, applied in graphs:
            for ours_compiled, plain in (
                (graph_of(row, applied, built, 3), graph_of(row, applied, model, 3)),
                (faces.plain(built, steps=3), faces.plain(model, steps=3)),
            ):
                assert relative(latents(ours_compiled, made), latents(plain, made)) <= 1e-5
        built_graphs, breaks = counted()
    # Nobody, faces, words; 0.3.64 also tells nobody on a plain MODEL from nobody at this step.
    assert built_graphs in (3, 4) and not breaks
