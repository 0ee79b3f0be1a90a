"""Off is the picture without the node, bit for bit: weight 0, everybody's weight 0, or the MODEL alone."""

from typing import Any

import pytest
import torch
from attack_graphs import UNCONNECTED, Node, Output, ours, sampler, value
from comfy_api.latest import io
from graph_run import run
from promised import Row, bypassed, latents, picture
from torch import Tensor


@pytest.mark.both_hosts
def test_weight_zero_is_the_picture_without_the_node(row: Row) -> None:
    assert row.off()
    for off in row.off():
        assert torch.equal(latents(row.sampled(off)), picture(row, "plain"))


def test_whoever_has_weight_zero_is_as_if_absent(row: Row) -> None:
    if not row.takes_a_cast or row.kind == "LikenessApplyPhotoMaker":  # whose words are of so many people
        return

    def shown(cast: Node) -> Tensor:
        changed = {name: UNCONNECTED for name in ("bodies", "body_masks") if name in row.inputs}
        if row.kind == "LikenessApplyIDPatch":
            changed["image"] = ours("LikenessIDPatchImage", cast=cast)
        return latents(row.sampled(row.node(cast=cast, **changed)))

    alone = shown(value("cast(identity('Anna'))"))
    assert torch.equal(shown(value("cast(weights=(1.0, 0.0))")), alone)
    assert not torch.equal(alone, picture(row, "plain")), "it does nothing"


def test_off_it_hands_back_what_came_in(row: Row) -> None:
    """So that nothing of it is run, and nodes behind it find nothing."""
    for off in row.off():
        made: dict[Node, Any] = {}
        given = {name: run(one, made)[0] for name, one in off.inputs.items() if isinstance(one, Node)}
        given |= {name: run(one.node, made)[one.number] for name, one in off.inputs.items() if isinstance(one, Output)}
        for name, out in zip(row.outputs, run(off, made), strict=False):
            assert name not in given or out is given[name], name


def test_a_patched_model_alone_changes_nothing(row: Row) -> None:
    """Its LoRA, which a weight of its own switches off, is all that the MODEL has by itself."""
    if "model" not in row.outputs:
        return
    applied = row.node(**({"lora_weight": 0.0} if "lora_weight" in row.inputs else {}))
    sides = (bypassed(applied, name) for name in ("positive", "negative"))
    assert torch.equal(latents(sampler(applied, *sides, row.latent)), picture(row, "plain"))


def test_bypassed_every_output_is_the_input_of_its_name(row: Row) -> None:
    """The editor takes the input in the output's slot where the types agree, else the first of that type."""
    sockets = {name: one.get_io_type() for name, one in row.inputs.items() if not isinstance(one, io.WidgetInput)}
    names, types = list(sockets), list(sockets.values())
    for slot, name in enumerate(row.outputs):
        if name in names:
            fits = types[slot : slot + 1] == [sockets[name]]
            assert names[slot if fits else types.index(sockets[name])] == name
