"""What is used elsewhere for several people, as its public code computes it, without its weights.

Chained InstantID: ComfyUI_InstantID. Masked IP-Adapters: ComfyUI_IPAdapter_plus. One row per region inside
cross-attention: the attention couple of ComfyUI-ppm. One row per region everywhere: masks on conditioning in ComfyUI
itself. Crop and detail: FaceDetailer of the Impact Pack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pack.bridge.unet import Options, attend_with, transformers

from bench.step import DEVICE, DTYPE, Family, Step


class Added:
    """One person's attention in every layer, as both packs add it: keys and values are projected at every step, all
    pixels are computed, and what comes out is multiplied by a mask of the same size."""

    def __init__(self, family: Family, tokens: int) -> None:
        self._tokens = [family.tokens(tokens), family.tokens(tokens)]
        blocks = transformers(family.unet.diffusion_model)
        self.layers = {
            (name, number, index): [_projection(family.text, block.attn2.to_q.out_features) for _ in range(2)]
            for name, number, index, block in blocks
        }

    def __call__(self, q: Any, extra_options: Options) -> Any:
        block = *extra_options["block"], extra_options["block_index"]
        keys, values = (torch.cat([to(each) for each in self._tokens]) for to in self.layers[block])
        out = attend_with(extra_options)(q, keys, values) * 0.8
        mask = torch.zeros(2, out.shape[1], 1, device=DEVICE).repeat(1, 1, out.shape[2])
        return (out * mask).to(q.dtype)


def _projection(of: int, width: int) -> Any:
    return torch.nn.Linear(of, width, bias=False, device=DEVICE, dtype=DTYPE)


def _options(people: list[Added]) -> Options:
    """Of a MODEL on which these stand one behind the other."""

    def attention(q: Any, k: Any, v: Any, extra_options: Options) -> Any:
        out = attend_with(extra_options)(q, k, v)
        for person in people:
            out = out + person(q, extra_options)
        return out

    return {"patches_replace": {"attn2": dict.fromkeys(people[0].layers, attention)}}


def masked_ip_adapters(tokens: int) -> Callable[[Family, int], Step]:
    """One IP-Adapter per person, each with a mask."""
    return lambda family, people: Step(family, options=_options(_added(family, people, tokens)))


def _added(family: Family, people: int, tokens: int) -> list[Added]:
    """Of one file: their projections are the same."""
    each = [Added(family, tokens) for _ in range(people)]
    for one in each[1:]:
        one.layers = each[0].layers
    return each


def _nets(count: int) -> Callable[[Step], Any]:
    """ControlNets one behind the other, of one network, whose residuals are added up; they read a face's tokens."""

    def control(step: Step) -> Any:
        family, total = step.family, None
        hint = torch.zeros(2, 3, family.height, family.width, dtype=DTYPE, device=DEVICE)
        for _ in range(count):
            made = family.net(**step.given, hint=hint, context=family.tokens(16, 2))
            total = made if total is None else {
                key: [a + b for a, b in zip(residuals, made[key], strict=True)] for key, residuals in total.items()
            }  # fmt: skip
        return total

    return control


def chained_instant_ids(family: Family, people: int) -> Step:
    """All in one prompt: a ControlNet and an attention for each. Every net reads the last person's tokens."""
    return Step(family, control=_nets(people), options=_options(_added(family, people, 16)))


def combined_instant_ids(family: Family, people: int) -> Step:
    """One of the calls: everybody has a prompt of their own with their ControlNet, and the attention of all."""
    return Step(family, control=_nets(1), options=_options(_added(family, people, 16)))


def attention_couple(family: Family, people: int) -> Step:
    """A common prompt and one per person: inside cross-attention the positive's row is one per prompt."""
    texts = [family.tokens(77) for _ in range(people)]

    def rows(n: Any, context: Any, value: Any, extra_options: Options) -> Any:
        (positive, negative), (said, unsaid) = n.chunk(2), context.chunk(2)
        longer = torch.cat([said, *texts, unsaid])
        return torch.cat([positive.repeat(1 + people, 1, 1), negative]), longer, longer

    def together(out: Any, extra_options: Options) -> Any:
        mask = torch.zeros(1 + people, out.shape[1], 1, dtype=out.dtype, device=DEVICE)
        weighed = [row * one for row, one in zip(out[:-1], mask, strict=True)]
        return torch.cat([torch.stack(weighed).sum(0)[None], out[-1:]])

    return Step(family, options={"patches": {"attn2_patch": [rows], "attn2_output_patch": [together]}})
