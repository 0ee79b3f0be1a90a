"""Under torch.compile, by the host's own node: one graph, nothing compiled anew for other people, the same picture."""

from __future__ import annotations

from typing import Any

import comfy.ldm.flux.math
import comfy.ldm.qwen_image.model
import compiled
import pytest
from attack_graphs import DEFAULTS, MODELS, Node, node, ours, value
from comfy.ldm.modules.attention import attention_pytorch
from figures import relative
from promised import Row, in_front, latents

SMALL = value("small()")
WIDE = {"positive": value("text(1, 2048)"), "negative": value("text(2, 2048)"), "clip": value("sdxl_clip()")}
GRAPHS = {
    "LikenessSharePartsAttention": 2, "LikenessApplyInfiniteYou": 2, "LikenessPersonPrompts": 2,
    "LikenessBindReferences": 2,
}  # fmt: skip
"""A recording is one of its own, and so are rows without the ControlNet, which is the positive's alone, another number
of people who are spoken of, and references that are everybody's."""
WHOLE = ("LikenessApplyParts", "LikenessApplyPhotoMaker")
"""Whose reference UNet or LoRA is made for the larger one."""


def small(row: Row) -> dict[str, Any]:
    """On a UNet with two layers, and a file for it: what is compiled of the others is more of the same."""
    model = DEFAULTS[row.kind].get("model") or value(MODELS[row.kind])
    if row.kind in WHOLE or model.inputs["expression"] not in ("sdxl()", "sd15()"):
        return {}
    given: dict[str, Any] = {name: one for name, one in WIDE.items() if name in row.inputs}
    given |= {"model": SMALL} if "model" in row.inputs else {}
    for name, one in DEFAULTS[row.kind].items():
        expression = one.inputs.get("expression", "") if isinstance(one, Node) else ""
        if expression.startswith("loaded(") and "id_patch" not in expression:
            given[name] = value(expression[:-1] + ", small())")
    if row.kind == "LikenessApplyIDPatch" or row.kind == "LikenessApplyInstantID":
        given["control_net"] = value("small_net()")
    if row.kind == "LikenessApplyStyle":
        given["layers"] = "all"
    if row.kind == "LikenessBindIDTokens":
        before = ours("LikenessApplyIDPatch", control_net=value("small_net()"))
        given |= {"positive": before, "negative": before[1]}
    return given


def test_it_is_one_graph_and_compiled_once(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = (
        (comfy.ldm.flux.math, "optimized_attention"),
        (comfy.ldm.qwen_image.model, "optimized_attention_masked"),
    )
    for module, name in transformers:  # the host's others look into files
        monkeypatch.setattr(module, name, attention_pytorch)
    given = small(row)
    model = given.get("model") or (SMALL if given else DEFAULTS[row.kind].get("model") or value(MODELS[row.kind]))
    whole, made = value("whole(a)", model), {}
    with compiled.counting() as counted:
        for applied in (row.node(**given), row.other(**given)):
            plain, built = (graph_of(row, applied, each) for each in (model, whole))
            assert relative(latents(built, made), latents(plain, made)) <= 1e-5
        assert counted() == (GRAPHS.get(row.kind, 1), 0)


def graph_of(row: Row, applied: Node, model: Node) -> Node:
    if "model" in row.inputs:
        return row.sampled(in_front(applied, model), steps=1)
    graph = row.sampled(applied, steps=1)
    return node(graph.kind, **{**graph.inputs, "model": model})
