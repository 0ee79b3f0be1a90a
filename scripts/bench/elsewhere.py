"""What is used elsewhere for several people, as its public code computes it, without its weights.

Chained InstantID: ComfyUI_InstantID. Masked IP-Adapters: ComfyUI_IPAdapter_plus. One row per region inside
cross-attention: the attention couple of ComfyUI-ppm. One row per region everywhere: masks on conditioning in ComfyUI
itself. Crop and detail: FaceDetailer of the Impact Pack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pack.bridge.unet import Options, attend_with, transformers

from bench.methods import BOTH, Applied, Apply, unpatched
from bench.networks import Networks

DTYPE = torch.float16


def _zeros(*shape: int) -> Any:
    """In no memory: weights lie beside what is counted."""
    return torch.zeros((), dtype=DTYPE).expand(shape)


class Added:
    """One person's attention in every layer, as both packs add it: keys and values are projected at every step, all
    pixels are computed, and what comes out is multiplied by a mask of the same size."""

    def __init__(self, on: Networks, tokens: int) -> None:
        self._tokens = _zeros(1, tokens, on.text)
        blocks = transformers(on.model.model.diffusion_model)
        self.layers = {
            (name, number, index): [_zeros(block.attn2.to_q.out_features, on.text) for _ in range(2)]
            for name, number, index, block in blocks
        }

    def __call__(self, q: Any, extra_options: Options) -> Any:
        block = *extra_options["block"], extra_options["block_index"]
        tokens = self._tokens.expand(len(q), -1, -1)
        keys, values = (torch.nn.functional.linear(tokens, weight) for weight in self.layers[block])
        out = attend_with(extra_options)(q, keys, values) * 0.8
        return (out * torch.zeros(len(q), out.shape[1], 1).repeat(1, 1, out.shape[2])).to(q.dtype)


def _with(on: Networks, people: int, tokens: int) -> Any:
    """The MODEL on which people stand one behind the other."""
    each, model = [Added(on, tokens) for _ in range(people)], on.model.clone()

    def attention(q: Any, k: Any, v: Any, extra_options: Options) -> Any:
        out = attend_with(extra_options)(q, k, v)
        for person in each:
            out = out + person(q, extra_options)
        return out

    for name, number, index in each[0].layers:
        model.set_model_attn2_replace(attention, name, number, index)
    return model


def masked_ip_adapters(on: Networks, people: int) -> Applied:
    """One IP-Adapter per person, each with a mask."""
    return unpatched(on, people)._replace(model=_with(on, people, 16))


def _with_nets(on: Networks, people: int, nets: int) -> Applied:
    """ControlNets one behind the other, of one network; they read the last face's tokens."""
    control = None
    for _ in range(nets):
        made = on.net.copy().set_cond_hint(torch.zeros(1, 3, *on.size[::-1]), 0.8, (0.0, 1.0))
        control = made.set_previous_controlnet(control)
    said = {"control": control, "control_apply_to_uncond": False, "cross_attn_controlnet": torch.zeros(1, 16, on.text)}
    sides = ([[text, {**options, **said}] for text, options in side] for side in on.sides().values())
    return Applied(_with(on, people, 16), *sides)


def chained_instant_ids(on: Networks, people: int) -> Applied:
    """All in one prompt: a ControlNet and an attention for each."""
    return _with_nets(on, people, people)


def combined_instant_ids(on: Networks, people: int) -> Applied:
    """One of the calls: everybody has a prompt of their own with their ControlNet, and the attention of all."""
    return _with_nets(on, people, 1)


def attention_couple(on: Networks, people: int) -> Applied:
    """A common prompt and one per person: inside cross-attention the positive's row is one per prompt."""
    texts, model = [_zeros(1, 77, on.text)] * people, on.model.clone()

    def rows(n: Any, context: Any, value: Any, extra_options: Options) -> Any:
        (one, other), (said, unsaid) = n.chunk(2), context.chunk(2)
        longer = torch.cat([said, *texts, unsaid])
        return torch.cat([one.repeat(1 + people, 1, 1), other]), longer, longer

    def together(out: Any, extra_options: Options) -> Any:
        mask = torch.zeros(1 + people, out.shape[1], 1, dtype=out.dtype)
        weighed = [row * one for row, one in zip(out[:-1], mask, strict=True)]
        return torch.cat([torch.stack(weighed).sum(0)[None], out[-1:]])

    model.set_model_attn2_patch(rows)
    model.set_model_attn2_output_patch(together)
    return unpatched(on, people)._replace(model=model)


@dataclass(frozen=True)
class Elsewhere:
    """picture: from what a call of the UNet costs, in unpatched ones, and the people to what a step of the picture
    costs, in unpatched ones."""

    apply: Apply
    picture: Callable[[float, int], float] = lambda call, _people: call
    families: tuple[str, ...] = BOTH


PASS = 20 / 30
"""Steps of a pass over a face, for each step of the picture."""
ELSEWHERE = {
    "chained_instant_ids": Elsewhere(chained_instant_ids, families=("sdxl",)),
    "combined_instant_ids": Elsewhere(combined_instant_ids, lambda call, people: people * call, ("sdxl",)),
    "masked_ip_adapters": Elsewhere(masked_ip_adapters),
    "regional_ip_adapters": Elsewhere(masked_ip_adapters, lambda call, people: (people + 1) * call),
    "attention_couple": Elsewhere(attention_couple),
    "regional_prompts": Elsewhere(unpatched, lambda call, people: (people + 2) / 2 * call),
    "crop_and_detail": Elsewhere(unpatched, lambda call, people: 1 + PASS * people * call),
}
