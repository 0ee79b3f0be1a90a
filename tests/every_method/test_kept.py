"""What a run keeps serves no forward for which another would be made: whatever has been otherwise in the forwards
before, the MODEL gives what it gives in a fresh run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.sample
import comfy.samplers
import other_packs
import torch
from figures import relative
from host_sampling import Applied, applied, latent_of
from method_rows import Row, applies_to, carries_in_both
from torch import Tensor

OFTEN = (
    "instant_id, ApplyInstantID",
    "pulid, ApplyPuLID, FLUX.1",
    "parts2whole, ApplyParts2Whole",
    "references, PeopleAsReferences, by region",
    "PromptPerPerson",
    "LoRAPerPerson",
)
"""A row of each kind of run."""


@dataclass(frozen=True)
class Forward:
    """x: latents. change: what another pack makes of the conditions, by the host's names."""

    x: Tensor
    change: Callable[[dict[str, Any]], dict[str, Any]] = dict


def with_text_twice(conditions: dict[str, Any]) -> dict[str, Any]:
    return {**conditions, "c_crossattn": conditions["c_crossattn"].repeat(1, 2, 1)}


def with_lower_references(conditions: dict[str, Any]) -> dict[str, Any]:
    """Where there are any."""
    references = conditions.get("ref_latents")
    return {**conditions, "ref_latents": [x[..., 2:, :] for x in references]} if references else conditions


def given_in_the_last(given: Applied, *forwards: Forward) -> Tensor:
    """What the MODEL gives in the last of these forwards of one sampling."""
    sigma = given.model.get_model_object("model_sampling").percent_to_sigma(0.4)
    out: list[Tensor] = []
    change: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def around(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        return apply_model(arguments["input"], arguments["timestep"], **change(arguments["c"]))

    def sampler(model: Any, noise: Tensor, sigmas: Tensor, extra_args: Any, **_: Any) -> Tensor:
        nonlocal change
        for forward in forwards:
            change = forward.change
            out.append(model(forward.x, torch.full((len(forward.x),), sigma), **extra_args))
        return out[-1]

    guider = replace(given, model=other_packs.around(given.model, around)).guider()
    last = forwards[-1].x
    sigmas = torch.tensor([sigma, 0.0])
    guider.sample(last, torch.zeros_like(last), comfy.samplers.KSAMPLER(sampler), sigmas, disable_pbar=True)
    return out[-1]


@applies_to(carries_in_both, "Its MODEL reads nothing that conditioning carries.")
def test_after_forwards_that_differ_from_it_in_one_thing_each(row: Row) -> None:
    """In size, number of rows, length of the text, and sizes of the references."""
    given = applied(row, row.node())
    latent = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row))
    x = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
    larger = torch.cat([x, x.roll(5, -1)], dim=-2)
    larger = torch.cat([larger, larger.roll(5, -2)], dim=-1)
    others = (
        Forward(larger),
        Forward(torch.cat([x, -x])),
        Forward(x, with_text_twice),
        Forward(x, with_lower_references),
    )
    assert relative(given_in_the_last(given, *others, Forward(x)), given_in_the_last(given, Forward(x))) <= 1e-5
