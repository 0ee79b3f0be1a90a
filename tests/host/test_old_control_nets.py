"""Apply ControlNet (OLD), which is given the positive prompt alone, in front of nodes that attach a ControlNet."""

from typing import Any

import host_sampling
import pytest
import sample_values
from figures import relative
from host_sampling import applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import OFTEN, Row, node, rows
from pack.bridge.control_nets.attachment import with_nets_of_positive

import nodes

WITH_A_NET = [row for row in rows() if row.kind in ("LikenessApplyIDPatch", "LikenessApplyInstantID")]
OTHERS = [row for row in rows() if row.kind in ("LikenessApplyIPAdapter", "LikenessApplyPuLID") and not row.network]
"""On UNets: the net is SDXL's."""


def old(conditioning: Any, seed: int = 9, strength: float = 1.0) -> Any:
    net = sample_values.control_net()
    hint = sample_values.image(seed=seed)
    return nodes.ControlNetApply().apply_controlnet(conditioning, net, hint, strength)[0]


def advanced(positive: Any, negative: Any, seed: int = 9, strength: float = 1.0) -> tuple[Any, Any]:
    net = sample_values.control_net()
    hint = sample_values.image(seed=seed)
    return nodes.ControlNetApplyAdvanced().apply_controlnet(positive, negative, net, hint, strength, 0.0, 1.0)


def drawn_with(row: Row, positive: Any, negative: Any) -> Any:
    """The picture of the row's node, given these prompts."""
    prompts = {"positive": positive, "negative": negative}
    graph = row.node()
    applied_node = applied(row, node(graph.kind, **{**graph.inputs, **prompts}))
    return sampled(applied_node.guider(), latent_of(row), sigmas_of(applied_node.model, 2))


@pytest.mark.both_hosts
@pytest.mark.parametrize("row", each([*WITH_A_NET, *OTHERS], OFTEN), ids=str)
def test_an_old_net_on_the_positive_is_on_the_negative_too(row: Row) -> None:
    texts = host_sampling.plain(row)
    by_old = drawn_with(row, old(texts.positive), texts.negative)
    by_advanced = drawn_with(row, *advanced(texts.positive, texts.negative))
    without = drawn_with(row, texts.positive, texts.negative)
    assert relative(by_old, by_advanced) <= 1e-6
    assert relative(by_advanced, without) > 1e-3


@pytest.mark.thorough
@pytest.mark.parametrize("row", each(WITH_A_NET, OFTEN), ids=str)
def test_two_old_nets(row: Row) -> None:
    texts = host_sampling.plain(row)
    two_old_nets = old(old(texts.positive, 9, 0.6), 11, 0.8)
    two_on_both_sides = advanced(*advanced(texts.positive, texts.negative, 9, 0.6), 11, 0.8)
    assert relative(drawn_with(row, two_old_nets, texts.negative), drawn_with(row, *two_on_both_sides)) <= 1e-6


@pytest.mark.parametrize("negatives", [1, 2, 3])
def test_two_old_nets_and_several_entries(negatives: int) -> None:
    """The chains go to the negatives in turns, the very nets, as the host hands them on."""
    import comfy.samplers

    text = host_sampling.plain(WITH_A_NET[0]).positive
    positive = [*old(text, 9), *old(text, 11)]
    of_positive = [dict(options) for _, options in positive]
    of_negative = [dict(options) for _, options in text * negatives]
    comfy.samplers.apply_empty_x_to_equal_area(of_positive, of_negative, "control", lambda nets, n: nets[n])
    by_us = with_nets_of_positive(positive, text * negatives)
    assert [options.get("control") for _, options in by_us] == [options.get("control") for options in of_negative]


@pytest.mark.parametrize("row", each(WITH_A_NET, OFTEN), ids=str)
def test_a_negative_with_a_net_of_its_own_keeps_it(row: Row) -> None:
    texts = host_sampling.plain(row)
    _, negative = advanced(texts.positive, texts.negative, 11)
    picture = drawn_with(row, old(texts.positive, 9), negative)
    # The same without the wish of the old node, which the host ignores here.
    positive = [[text, {**options, "control_apply_to_uncond": False}] for text, options in old(texts.positive, 9)]
    assert relative(picture, drawn_with(row, positive, negative)) <= 1e-6


@pytest.mark.parametrize("row", each(WITH_A_NET, OFTEN), ids=str)
def test_a_prompt_of_a_guider_that_does_not_come_from_the_node_has_the_old_net_alone(row: Row) -> None:
    """PerpNeg's empty prompt, say: the host hands it the whole chain, and ours does nothing there."""
    import comfy.samplers

    texts = host_sampling.plain(row)
    prompts = {"positive": old(texts.positive), "negative": texts.negative}
    graph = row.node()
    applied_node = applied(row, node(graph.kind, **{**graph.inputs, **prompts}))

    class OfTheThird(comfy.samplers.CFGGuider):
        """Draws by the third prompt alone."""

        def predict_noise(self, x, timestep, model_options=None, seed=None):
            third = [self.conds["empty"]]
            return comfy.samplers.calc_cond_batch(self.inner_model, third, x, timestep, model_options)[0]

    def by_the_third(positive: Any, negative: Any) -> Any:
        guider = OfTheThird(applied_node.model)
        guider.inner_set_conds({"positive": positive, "negative": negative, "empty": texts.negative})
        return sampled(guider, latent_of(row), sigmas_of(applied_node.model, 2))

    with_ours = by_the_third(applied_node.positive, applied_node.negative)
    assert relative(with_ours, by_the_third(prompts["positive"], texts.negative)) <= 1e-6
    assert relative(with_ours, by_the_third(texts.positive, texts.negative)) > 1e-3
