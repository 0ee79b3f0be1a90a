"""Core nodes between ours and the sampler that keep what a prompt carries: people act, and nothing is told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import comfy.hooks
import comfy_extras.nodes_hooks
import host_sampling
import pytest
import sample_values
import torch
from figures import relative
from host_sampling import Applied, applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import Row, rows
from pack.bridge.host import notes

import nodes

ROWS = [row for row in rows() if row.of_unets]


def result_of(kind: Any, *arguments: Any) -> Any:
    """Everything that a node of the host gives, of either of its two kinds."""
    if hasattr(kind, "execute"):
        result = kind.execute(*arguments)
        return result if isinstance(result, tuple) else result.args
    return getattr(kind(), kind.FUNCTION)(*arguments)


def on_each(kind: Any, *settings: Any) -> Callable[[Row, Applied], Applied]:
    """A node with one prompt, behind both."""

    def change(row: Row, inputs: Applied) -> Applied:
        positive, negative = (result_of(kind, side, *settings)[0] for side in (inputs.positive, inputs.negative))
        return Applied(inputs.model, positive, negative)

    return change


def with_default(row: Row, inputs: Applied) -> Applied:
    plain = host_sampling.plain(row)
    pair_node = comfy_extras.nodes_hooks.PairConditioningSetDefaultAndCombine
    positive, negative = result_of(pair_node, inputs.positive, inputs.negative, plain.positive, plain.negative)
    return Applied(inputs.model, positive, negative)


def with_properties(row: Row, inputs: Applied) -> Applied:
    kind = comfy_extras.nodes_hooks.PairConditioningSetProperties
    positive, negative = result_of(kind, inputs.positive, inputs.negative, 0.9, "default")
    return Applied(inputs.model, positive, negative)


def with_an_old_net_behind(row: Row, inputs: Applied) -> Applied:
    if inputs.positive[0][0].shape[-1] != 2048:
        pytest.skip("the nets of these tests are SDXL's")
    hint = sample_values.image(seed=9)
    positive = nodes.ControlNetApply().apply_controlnet(inputs.positive, sample_values.control_net(), hint, 0.5)[0]
    return Applied(inputs.model, positive, inputs.negative)


def with_a_net_behind(row: Row, inputs: Applied) -> Applied:
    if inputs.positive[0][0].shape[-1] != 2048:
        pytest.skip("the nets of these tests are SDXL's")
    hint = sample_values.image(seed=9)
    net = sample_values.control_net()
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    return Applied(inputs.model, *apply(inputs.positive, inputs.negative, net, hint, 0.5, 0.0, 1.0))


def with_a_lora_hook(row: Row, inputs: Applied) -> Applied:
    """Of the positive alone, as Cond Set Props gives it. A net of ours has a hook of its own."""
    weights = inputs.model.model.state_dict()
    layer = next(name for name in weights if name.endswith("attn1.to_q.weight")).removesuffix(".weight")
    out_width, in_width = weights[f"{layer}.weight"].shape
    lora = {f"{layer}.lora_A.weight": torch.ones(1, in_width), f"{layer}.lora_B.weight": torch.ones(out_width, 1)}
    hooks = comfy.hooks.create_hook_lora(lora, 0.01, 0.0)
    positive = [[text, {**options, "hooks": hooks}] for text, options in inputs.positive]
    return Applied(inputs.model, positive, inputs.negative)


def with_a_hook_that_is_not_registered(row: Row, inputs: Applied) -> Applied:
    """So the host takes it off the prompts."""
    changed = with_a_lora_hook(row, inputs)
    for hook in changed.positive[0][1]["hooks"].hooks:
        hook.custom_should_register = lambda *_: False
    return changed


MASK = torch.ones(1, 96, 128)
CHANGES: dict[str, Callable[[Row, Applied], Applied]] = {
    "Set Mask": on_each(nodes.ConditioningSetMask, MASK, "default", 1.0),
    "Set Area Strength": on_each(nodes.ConditioningSetAreaStrength, 0.9),
    "Set Timestep Range": on_each(nodes.ConditioningSetTimestepRange, 0.0, 1.0),
    "Pair Set Default and Combine": with_default,
    "Pair Set Props": with_properties,
    "Apply ControlNet (OLD)": with_an_old_net_behind,
    "Apply ControlNet": with_a_net_behind,
    "LoRA hook": with_a_lora_hook,
    "hook that is not registered": with_a_hook_that_is_not_registered,
}


OFTEN = [
    ("instant_id, ApplyInstantID", "Set Mask"), ("parts2whole, ApplyParts2Whole", "Set Mask"),
    ("LoRAPerPerson", "Apply ControlNet"), ("id_patch, ApplyIDPatch", "LoRA hook"),
    ("id_patch, ApplyIDPatch", "hook that is not registered"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "name"), each(product(ROWS, CHANGES), OFTEN), ids=str)
def test_people_act_and_nothing_is_told(row: Row, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(notes, "tell_of_run", lambda node_id, topic, text: texts.append(text))
    pictures = []
    for graph in (row.node(), row.other()):
        of_node = applied(row, graph)
        nets = [options["control"] for _, options in of_node.positive if "control" in options]
        # For these the host would load the MODEL a second time, without DynamicVRAM.
        assert not any(net.get_extra_hooks() for net in nets)
        changed = CHANGES[name](row, of_node)
        pictures.append(sampled(changed.guider(), latent_of(row), sigmas_of(changed.model, 4)))
    assert [text for text in texts if text] == []
    assert relative(*pictures) > 1e-6
