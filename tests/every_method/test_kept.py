"""What a run keeps serves no forward for which another would be made: whatever has been otherwise in the forward
before, the MODEL gives what it gives in a fresh run."""

from collections.abc import Callable
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from figures import relative
from graphs import value
from host_sampling import Applied, applied, latent_of
from method_rows import Row, applies_to, carries_in_both
from sample_values import klein, klein_clip, klein_said
from torch import Tensor

OFTEN = (
    "instant_id, ApplyInstantID",
    "with_anyone, ApplyWithAnyone",
    "parts2whole, ApplyParts2Whole",
    "references, PeopleAsReferences, by region",
    "PromptPerPerson",
    "LoRAPerPerson",
)
"""A row of each kind of run."""
Prompt = list[Any]
"""CONDITIONING of one entry."""
BOUNDARY = 0.5
"""The part of the schedule at which one prompt ends and the next begins."""


def given_in_the_last(given: Applied, *forwards: tuple[Tensor, float]) -> Tensor:
    """What the MODEL gives in the last of these forwards of one sampling: latents, and where in the schedule."""
    to_sigma = given.model.get_model_object("model_sampling").percent_to_sigma
    out: list[Tensor] = []

    def sampler(model: Any, noise: Tensor, sigmas: Tensor, extra_args: Any, **_: Any) -> Tensor:
        for x, percent in forwards:
            out.append(model(x, torch.full((len(x),), to_sigma(percent)), **extra_args))
        return out[-1]

    last = forwards[-1][0]
    sigmas = torch.tensor([to_sigma(0.0), 0.0])
    given.guider().sample(last, torch.zeros_like(last), comfy.samplers.KSAMPLER(sampler), sigmas, disable_pbar=True)
    return out[-1]


def assert_as_fresh(given: Applied, *forwards: tuple[Tensor, float]) -> None:
    assert relative(given_in_the_last(given, *forwards), given_in_the_last(given, forwards[-1])) <= 1e-5


@applies_to(carries_in_both, "Its MODEL reads nothing that conditioning carries.")
def test_after_a_larger_picture_and_more_rows(row: Row) -> None:
    given = applied(row, row.node())
    latent = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row))
    x = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
    larger = torch.cat([x, x.roll(5, -1)], dim=-2)
    assert_as_fresh(given, (larger, 0.4), (torch.cat([x, -x]), 0.4), (x, 0.4))


def longer(text: Tensor, options: dict[str, Any]) -> Prompt:
    return [torch.cat([text, -text], dim=1), options]


def with_a_reference(text: Tensor, options: dict[str, Any]) -> Prompt:
    reference = torch.linspace(-1, 1, 128 * 6 * 8).reshape(1, 128, 6, 8)
    return [text, {**options, "reference_latents": [*options.get("reference_latents", ()), reference]}]


def followed(conditioning: Prompt, before: Callable[..., Any]) -> Prompt:
    """In the first half of the schedule the prompt is another, which carries the same objects of ours."""
    ((text, options),) = conditioning
    first, others = before(text, options)
    return [[first, {**others, "end_percent": BOUNDARY}], [text, {**options, "start_percent": BOUNDARY}]]


ON_KLEIN = {
    "model": value(klein),
    "clip": value(klein_clip),
    "positive": value(klein_said, "in a park"),
    "negative": value(klein_said, ""),
}


@pytest.mark.parametrize("before", [longer, with_a_reference])
def test_after_another_prompt_that_carries_the_same(before: Callable[..., Any]) -> None:
    row = Row(None, "LikenessPromptPerPerson")
    given = applied(row, row.node(**ON_KLEIN))
    sides = [followed(side, before) for side in (given.positive, given.negative)]
    x = torch.randn(1, 128, 6, 8, generator=torch.Generator().manual_seed(3))
    assert_as_fresh(Applied(given.model, *sides), (x, 0.2), (x, 0.8))
