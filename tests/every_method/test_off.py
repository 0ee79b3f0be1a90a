"""Off is the picture without the node, bit for bit: weight 0, everybody's weight 0, or the MODEL alone."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from comfy_api.latest import io
from figures import relative
from graph_run import linked_inputs, run
from graphs import Node, ours, sampler
from method_rows import SCHEDULE, Row, applies_to, bypassed, latents, often, patches_the_model, picture, rows
from pack.core.cast import Lora
from sample_values import a_person, cast, layout, mask, sdxl_clip, slot, small
from tiny import lora_made
from torch import Tensor

PASSES_ON = (lambda row: not {*row.inputs}.isdisjoint(row.outputs), "No output of it has the name of an input.")
NOT_MULTIPLIED = (
    "LikenessApplyIDPatch",  # of a ControlNet
    "LikenessPromptPerPerson",  # of words
    "LikenessApplyParts2Whole",  # of values, and a part's own weight also of keys
)
"""Nodes whose weight is of something else than a person's or part's is."""
TOTALS = {
    row.kind: total
    for row in rows()
    for total in ("weight", "strength", "adapter_weight")
    if total in row.inputs and row.kind not in NOT_MULTIPLIED
}
"""By node: its weight."""


@pytest.mark.both_hosts
def test_weight_zero_is_the_picture_without_the_node(row: Row) -> None:
    ways = row.off()
    assert ways
    for off in ways:
        assert torch.equal(latents(row.sampled(off)), picture(row, "plain"))


SAID: dict[str, dict[str, Any]] = {"LikenessPromptPerPerson": {"prompts": "Boris: up\nChrista: down"}}
"""What nodes are told by name of the two who stay."""


@applies_to(lambda row: "cast" in row.inputs, "It takes no cast.")
@applies_to(lambda row: row.kind != "LikenessApplyPhotoMaker", "Its words are of everybody in the cast.")
def test_whoever_has_weight_zero_is_as_if_absent(row: Row) -> None:
    """The first of three, whose place and mask are before those of the others; these differ in weight, too."""
    names, weights, slots = ("Anna", "Boris", "Christa"), (0.0, 1.0, 0.6), (slot(20.0), slot(64.0), slot(108.0))

    def shown(start: int, masks: Tensor | None) -> Tensor:
        people = cast(*map(a_person, names[start:]), weights=weights[start:], places=layout(*slots[start:]))
        changed = dict(SAID.get(row.kind, {}))
        if masks is not None:
            changed |= {name: masks[start:] for name in ("mask", "portrait_masks") if name in row.inputs}
        if row.kind == "LikenessApplyIDPatch":
            changed["image"] = ours("LikenessIDPatchConditionImage", cast=people)
        return latents(row.sampled(row.node(cast=people, **changed)))

    for masks in (None, mask(3)) if "mask" in row.inputs else (None,):
        alone = shown(1, masks)
        assert torch.equal(shown(0, masks), alone)
        assert relative(alone, picture(row, "plain")) > 1e-4, "it does nothing"


@applies_to(lambda row: row.kind in TOTALS, "No weight of the node multiplies that of a person or part.")
@often("LoRAPerPerson", "share_parts, SharePartsAttention")
def test_the_weight_of_the_node_multiplies_that_of_whom_it_puts_in(row: Row) -> None:
    """And that of a LoRA, also where it reads its person's words."""
    whole, multiplied = (
        latents(row.sampled(row.node(**{TOTALS[row.kind]: of_node}, **of_weight(row, weight, of_lora))))
        for of_node, weight, of_lora in ((1.0, 0.6, 1.0), (0.8, 0.5, 1.5))
    )
    assert relative(whole, multiplied) <= 1e-5
    assert relative(whole, picture(row)) > 1e-4, "it does nothing"


def of_weight(row: Row, weight: float, of_lora: float) -> dict[str, Any]:
    """Inputs with people of this weight and LoRAs of this strength. Of others both are multiplied."""
    if row.kind == "LikenessSharePartsAttention":
        return {"parts": ours("LikenessPart", weight=weight * of_lora)}
    if row.kind != "LikenessLoRAPerPerson":
        return {"cast": cast(weights=(weight * of_lora, weight * of_lora))}
    lora = Lora(lora_made.file(small(), clip=sdxl_clip()), of_lora, "up")
    people = [replace(a_person(name), loras=(lora,)) for name in ("Anna", "Boris")]
    return {"cast": cast(*people, weights=(weight, weight))}


@applies_to(*PASSES_ON)
def test_off_it_hands_back_what_came_in(row: Row) -> None:
    """So that nothing of it is run, and nodes behind it find nothing."""
    ways = row.off()
    assert ways
    for off in ways:
        outputs: dict[Node, Any] = {}
        came_in = linked_inputs(off, outputs)
        handed_back = dict(zip(row.outputs, run(off, outputs), strict=True))
        shared = came_in.keys() & handed_back.keys()
        assert shared, "no output has the name of an input"
        for name in shared:
            assert handed_back[name] is came_in[name], name


@applies_to(patches_the_model, "It leaves the MODEL as it is.")
def test_a_patched_model_alone_changes_nothing(row: Row) -> None:
    """Its LoRA, which a weight of its own switches off, is all that the MODEL has by itself."""
    without_lora = {"lora_weight": 0.0} if "lora_weight" in row.inputs else {}
    applied = row.node(**without_lora)
    sides = (bypassed(applied, name) for name in ("positive", "negative"))
    model = applied[row.outputs.index("model")]
    assert torch.equal(latents(sampler(model, *sides, row.latent, **SCHEDULE)), picture(row, "plain"))


@applies_to(*PASSES_ON)
def test_bypassed_every_output_is_the_input_of_its_name(row: Row) -> None:
    """The editor takes the input in the output's slot where the types agree, else the first of that type."""
    sockets = {name: entry.get_io_type() for name, entry in row.inputs.items() if not isinstance(entry, io.WidgetInput)}
    names, types = list(sockets), list(sockets.values())
    passed_on = [(number, name) for number, name in enumerate(row.outputs) if name in names]
    assert passed_on, "no output has the name of an input"
    for number, name in passed_on:
        fits = types[number : number + 1] == [sockets[name]]
        assert names[number if fits else types.index(sockets[name])] == name
