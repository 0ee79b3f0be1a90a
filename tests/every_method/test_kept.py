"""What a run keeps serves no forward for which another would be made: whatever has been otherwise in the forward
before, the MODEL gives what it gives in a fresh run."""

from typing import Any

import comfy.sample
import comfy.samplers
import torch
from figures import relative
from host_sampling import Applied, applied, latent_of
from method_rows import Row, applies_to, carries_in_both
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
