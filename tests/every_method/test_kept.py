"""What a run keeps serves no forward for which another would be made: whatever has been otherwise in the forwards
before, the MODEL gives what it gives in a fresh run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import comfy.hooks
import comfy.sample
import comfy.samplers
import marks
import other_packs
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from figures import relative
from host_sampling import Applied, applied, assert_areas_are_apart, latent_of
from marks import each
from method_rows import Row, applies_to, carries_in_both
from pack.bridge.host.unet import transformers
from pack.bridge.networks.attention import OVERRIDE
from tiny import people_made, tiny_dits
from tiny.tiny_dits import KREA_2, Z_IMAGE
from torch import Tensor
from transformer_loras import COMMON, HEIGHT, WIDTH, Setting, cast, setting_of

OFTEN = (
    "instant_id, ApplyInstantID",
    "pulid, ApplyPuLID, FLUX.1",
    "parts2whole, ApplyParts2Whole",
    "references, PeopleAsReferences, by region",
    "PromptPerPerson",
    "LoRAPerPerson",
    "share_parts, SharePartsAttention, seldom",
)
"""A row of each kind of run."""
SOONER = 0.2
AT = 0.4
"""Where in the schedule forwards lie."""


@dataclass(frozen=True)
class Forward:
    """x: latents. change: what another pack makes of the conditions, by the host's names. percent: of the schedule."""

    x: Tensor
    change: Callable[[dict[str, Any]], dict[str, Any]] = dict
    percent: float = AT


def with_text_twice(conditions: dict[str, Any]) -> dict[str, Any]:
    return {**conditions, "c_crossattn": conditions["c_crossattn"].repeat(1, 2, 1)}


def with_lower_references(conditions: dict[str, Any]) -> dict[str, Any]:
    """Where there are any."""
    references = conditions.get("ref_latents")
    return {**conditions, "ref_latents": [x[..., 2:, :] for x in references]} if references else conditions


def given_in_the_last(given: Applied, *forwards: Forward) -> Tensor:
    """What the MODEL gives in the last of these forwards of one sampling."""
    percent_to_sigma = given.model.get_model_object("model_sampling").percent_to_sigma
    out: list[Tensor] = []
    change: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def around(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        return apply_model(arguments["input"], arguments["timestep"], **change(arguments["c"]))

    def sampler(model: Any, noise: Tensor, sigmas: Tensor, extra_args: Any, **_: Any) -> Tensor:
        nonlocal change
        for forward in forwards:
            change = forward.change
            sigma = percent_to_sigma(forward.percent)
            out.append(model(forward.x, torch.full((len(forward.x),), sigma), **extra_args))
        return out[-1]

    guider = replace(given, model=other_packs.around(given.model, around)).guider()
    last = forwards[-1].x
    sigmas = torch.tensor([*map(percent_to_sigma, (SOONER, AT)), 0.0])
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


@applies_to(carries_in_both, "Its MODEL reads nothing that conditioning carries.")
def test_two_areas_of_one_size_have_their_own_parts(row: Row) -> None:
    model = applied(row, row.node()).model
    latent = comfy.sample.fix_empty_latent_channels(model, latent_of(row))
    assert_areas_are_apart(lambda: applied(row, row.node()), latent)


def with_hook(given: Applied) -> Applied:
    """With a hook on all prompts that changes every matrix of the network, more from a place in the schedule on."""
    hook = comfy.hooks.WeightHook()
    hook.weights, hook.need_weight_init = {}, False
    generator = torch.Generator().manual_seed(5)
    for name, weight in given.model.model_state_dict("diffusion_model.").items():
        if weight.dim() == 2:
            difference = torch.randn(weight.shape, generator=generator) * 0.1 * weight.float().std().cpu()
            hook.weights[name] = ("diff", (difference,))
    for strength, start in ((0.2, 0.0), (1.0, (SOONER + AT) / 2)):
        hook.hook_keyframe.add(comfy.hooks.HookKeyframe(strength=strength, start_percent=start))
    group = comfy.hooks.HookGroup()
    group.add(hook)
    sides = (comfy.hooks.set_hooks_for_conditioning(side, group) for side in (given.positive, given.negative))
    return Applied(given.model, *sides)


@applies_to(carries_in_both, "Its MODEL reads nothing that conditioning carries.")
def test_after_a_forward_with_other_weights_of_the_network(row_or_variant: Row) -> None:
    """Those of a hook LoRA with keyframes."""
    row = row_or_variant
    given = applied(row, row.node())
    hooked = with_hook(given)
    row_count = 2 if row.variant == "a row each" else 1
    latent = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row, row_count))
    x = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
    fresh = given_in_the_last(hooked, Forward(x))
    assert relative(fresh, given_in_the_last(given, Forward(x))) > 1e-4
    assert relative(given_in_the_last(hooked, Forward(x, percent=SOONER), Forward(x)), fresh) <= 1e-5


def written_into(values: Iterable[Any], factor: float) -> None:
    """Write into every tensor of floats among these, and among those in lists of these."""
    for value in values:
        if isinstance(value, list):
            written_into(value, factor)
        elif torch.is_tensor(value) and value.is_floating_point():
            value.mul_(factor)


class Writer:
    """A pack that scales what it is given, in place: conditions of the MODEL, and what every attention reads."""

    def __init__(self) -> None:
        self._factor = 1.0

    def on(self, given: Applied) -> Applied:
        model = given.model.clone()
        model.model_options["transformer_options"][OVERRIDE] = self._attend
        return replace(given, model=model)

    def forward(self, x: Tensor, factor: float) -> Forward:
        """A forward in which it scales by this."""

        def change(conditions: dict[str, Any]) -> dict[str, Any]:
            self._factor = factor
            written_into(conditions.values(), factor)
            return conditions

        return Forward(x, change)

    def _attend(self, kernel: Callable[..., Tensor], *args: Any, **more: Any) -> Tensor:
        written_into([*args, more.get("mask")], self._factor)
        return kernel(*args, **more)


@applies_to(carries_in_both, "Its MODEL reads nothing that conditioning carries.")
def test_beside_a_pack_that_writes_into_what_it_is_given(row_or_variant: Row) -> None:
    """More in one forward than in another."""
    row = row_or_variant
    given = applied(row, row.node())
    writer = Writer()
    beside = writer.on(given)
    row_count = 2 if row.variant == "a row each" else 1
    latent = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row, row_count))
    x = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
    more, less = writer.forward(x, 1.1), writer.forward(x, 1.02)
    fresh = given_in_the_last(beside, more)
    assert relative(fresh, given_in_the_last(given, Forward(x))) > 1e-4
    assert relative(given_in_the_last(beside, more, less, more), fresh) <= 1e-5


SCRATCH: dict[str, Callable[[Tensor], Any]] = {
    "written over": lambda tensor: tensor.fill_(7.0),
    "scaled": lambda tensor: tensor.mul_(3.0),
    "transposed": lambda tensor: tensor.transpose_(-1, -2),
}
"""What a pack does in place to all that its attention is given, when it has computed."""


def around_attention(given: Applied, use: Callable[[Tensor], Any]) -> Applied:
    """With a function around every attention."""

    def attend(kernel: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, *args: Any, **more: Any) -> Tensor:
        out = kernel(q, k, v, *args, **more).clone()
        for tensor in (q, k, v):
            use(tensor)
        return out

    model = given.model.clone()
    model.model_options["transformer_options"][OVERRIDE] = attend
    return replace(given, model=model)


def in_place_of_attention(given: Applied, use: Callable[[Tensor], Any]) -> Applied:
    """With a function in the place of each cross-attention."""

    def attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        out = optimized_attention(q, k, v, extra_options["n_heads"]).clone()
        for tensor in (q, k, v):
            use(tensor)
        return out

    model = given.model.clone()
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        replacements = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
        if (name, number, index) not in replacements:
            model.set_model_attn2_replace(attention, name, number, index)
    return replace(given, model=model)


@pytest.mark.parametrize("scratch", each(SCRATCH, ["written over"]))
@applies_to(carries_in_both, "Its MODEL reads nothing that conditioning carries.")
def test_beside_an_attention_that_uses_what_it_is_given_as_scratch(row_or_variant: Row, scratch: str) -> None:
    row = row_or_variant
    given = applied(row, row.node())
    row_count = 2 if row.variant == "a row each" else 1
    latent = comfy.sample.fix_empty_latent_channels(given.model, latent_of(row, row_count))
    x = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
    twice = Forward(x), Forward(x)
    for put in (around_attention, in_place_of_attention) if row.of_unets else (around_attention,):
        expected = given_in_the_last(put(given, lambda _: None), *twice)
        assert relative(given_in_the_last(put(given, SCRATCH[scratch]), *twice), expected) <= 1e-6, put.__name__


def with_wrapper(model: ModelPatcher, wrapper: Callable[..., Tensor]) -> ModelPatcher:
    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "theirs", wrapper)
    return clone


def mixed(x: Tensor, time: Tensor) -> Tensor:
    """Another x at every time. A norm behind it would undo a factor."""
    return x + time[0] * x.roll(1, -1)


def with_inner_wrapper(given: Applied, wrapper: Callable[..., Tensor]) -> Applied:
    """With a wrapper that another pack puts inside of ours, at every step."""

    def around(executor: Any, *args: Any, **more: Any) -> Tensor:
        *others, options = args
        options = {**options, "wrappers": {kind: {**by_key} for kind, by_key in options["wrappers"].items()}}
        add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "theirs", wrapper, options)
        return executor(*others, options, **more)

    model = given.model.clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "theirs", around)
    return replace(given, model=model)


def around_text(text_by_time: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """text_by_time: what another pack makes of a text, (B, T, width), at these times, (B,)."""

    def wrapper(executor: Any, x: Tensor, timesteps: Tensor, context: Tensor, *args: Any, **more: Any) -> Tensor:
        options = more.get("transformer_options") or args[-1]
        return executor(x, timesteps, text_by_time(context, options["sigmas"]), *args, **more)

    return wrapper


def strips() -> Tensor:
    """The left and the right half."""
    return people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)


def words_of_two(setting: Setting) -> Applied:
    """The negative, which is in the same forward, has none."""
    sides = setting.text(COMMON), setting.text(COMMON.replace("park", "hall"))
    people, prompts = cast(*setting.files), "1: red\n2: in green"
    return Applied(*setting.applied("LikenessPromptPerPerson", people, sides=sides, prompts=prompts, mask=strips()))


@marks.transformers
@pytest.mark.parametrize("family", [Z_IMAGE, KREA_2])
def test_a_wrapper_inside_of_ours_changes_the_text_that_one_in_front_changes(family: str) -> None:
    given = words_of_two(setting_of(family))
    wrapper = around_text(mixed)
    inside = with_inner_wrapper(given, wrapper)
    in_front = replace(given, model=with_wrapper(given.model, wrapper))
    forward = Forward(tiny_dits.latent(family, WIDTH, HEIGHT))
    assert relative(given_in_the_last(inside, forward), given_in_the_last(in_front, forward)) <= 1e-6
