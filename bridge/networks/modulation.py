"""Scales, shifts and gates of every token's own, in networks whose blocks take one of each for all tokens.

A layer that is given the time answers with a scale, a shift and a gate. LoRAs of several people change them differently
for each person's tokens, but the blocks of Qwen-Image and Z-Image take no others than one of each. So the layer answers
what changes nothing, and the norms and layers whose results would have been scaled, shifted and gated are followed by
the same calculation for every token.

x: (B, tokens, C), of a layer that modulates (B, C).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..sampling.carried import ConditioningLost
from .transformer_families import GatedLayer, Modulation, ScaledNorm

_OPEN_BEFORE_TANH = 20.0
"""Its tanh is 1 in every dtype."""


@dataclass(frozen=True, eq=False)
class TimeModulation:
    """What one layer answers at one time.

    common: (B, parts * C), what tokens that are nobody's get. of_people: (B, people, parts * C), what is added to it
    with each person's LoRAs.
    """

    common: Tensor
    of_people: Tensor

    def of_tokens(self, part: slice, weights: Tensor) -> Tensor:
        """A scale, a shift or a gate for every token, (B, tokens, C).

        It is the common one, plus each person's change of that times the token's weight of the person. part: where the
        scale, shift or gate lies among the parts * C numbers. weights: (B, tokens, people), 0..1.
        """
        # common + weights @ of_people: (B, 1, C) + (B, tokens, people) @ (B, people, C)
        return torch.baddbmm(self.common[:, None, part], weights, self.of_people[..., part])


@dataclass(frozen=True, eq=False)
class TokenModulation:
    """What one layer answers for every token, in one forward.

    now: at the time of the step. weights: (1, tokens, people), 0..1. width: C. zero: at the time 0, for tokens from
    number `picture` on, as reference pictures have it; None where all tokens have the time of the step.
    """

    now: TimeModulation
    weights: Tensor
    width: int
    zero: TimeModulation | None
    picture: int

    def part(self, number: int) -> Tensor:
        """A scale, a shift or a gate of every token, (B, tokens, C). number: which of the parts of a Modulation."""
        part = slice(number * self.width, (number + 1) * self.width)
        weights = self.weights.expand(len(self.now.common), -1, -1)  # (B, tokens, people)
        if self.zero is None:
            return self.now.of_tokens(part, weights)
        # `picture` is the number of the picture's tokens; those of the references follow.
        of_picture = self.now.of_tokens(part, weights[:, : self.picture])
        of_references = self.zero.of_tokens(part, weights[:, self.picture :])
        return torch.cat([of_picture, of_references], dim=1)


@dataclass(eq=False)
class LayerAnswer:
    """What a layer that modulates has answered in the forward that is on; None before it was asked."""

    modulation: TokenModulation | None = None


class ModulatedLayer:
    """One layer that modulates, by its name, and where its answers are used.

    block: the number of its block, or "" where it stands in none, as Modulation.block_of says it. answer: holds what
    the layer has answered, until its uses read it. uses: how the answer is used, by the name of the norm or layer
    behind which that is done.
    """

    def __init__(self, modulation: Modulation, block: str) -> None:
        self.modulation = modulation
        self.name = modulation.layer.replace("{}", block)
        self.answer = LayerAnswer()
        self.uses = _uses_of(modulation, block, self.answer)
        self._neutral: Tensor | None = None

    def neutral(self, out: Tensor) -> Tensor:
        """An answer that changes nothing, in the place of the layer's own, `out`: (rows, parts * C) each.

        It is made once for all steps of one shape; under torch.compile anew at every call.
        """
        if torch.compiler.is_compiling():
            return self._new_neutral(out)  # with a kept one, torch.compile would make another graph at the next step
        if self._neutral is None or self._neutral.shape != out.shape:
            self._neutral = self._new_neutral(out)
        return self._neutral

    def _new_neutral(self, out: Tensor) -> Tensor:
        """A new answer in the shape of `out`: scales and shifts of 0, and open gates."""
        answer = torch.zeros_like(out)
        width = out.shape[-1] // self.modulation.parts
        for gated in self.modulation.gated:
            gate = slice(gated.gate * width, (gated.gate + 1) * width)
            answer[:, gate] = _OPEN_BEFORE_TANH if self.modulation.tanh else 1.0
        return answer


@dataclass(frozen=True, eq=False)
class ModulationUse:
    """Where a part of a layer's answer is used."""

    answer: LayerAnswer

    def applied(self, out: Tensor) -> Tensor:
        """What a norm or a layer gives, `out`, scaled and shifted or gated, token by token: (B, tokens, C).

        Raises ConditioningLost where the layer that modulates was not called before in this forward, or where another
        pack has changed the number of tokens.
        """
        modulation = self.answer.modulation
        if modulation is None:
            raise ConditioningLost("", "computes a block without asking its layer for scales, shifts and gates")
        tokens = modulation.weights.shape[1]
        if out.shape[1] != tokens:
            raise ConditioningLost("", f"makes {out.shape[1]} tokens of the {tokens} of a layer")
        return self._of_tokens(out, modulation)

    def _of_tokens(self, out: Tensor, modulation: TokenModulation) -> Tensor:
        """`out` with the subclass's part of the answer applied, (B, tokens, C). Both have as many tokens."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class _AfterNorm(ModulationUse):
    """Scale and shift behind a norm."""

    norm: ScaledNorm

    def _of_tokens(self, out: Tensor, modulation: TokenModulation) -> Tensor:
        scale = modulation.part(self.norm.scale) + 1
        if self.norm.shift is None:
            return out * scale
        return torch.addcmul(modulation.part(self.norm.shift), out, scale)  # shift + out * scale


@dataclass(frozen=True, eq=False)
class _AfterLayer(ModulationUse):
    """A gate behind a layer."""

    gated: GatedLayer
    tanh: bool

    def _of_tokens(self, out: Tensor, modulation: TokenModulation) -> Tensor:
        gate = modulation.part(self.gated.gate)
        if self.tanh:
            gate = gate.tanh()
        return out * gate


def _uses_of(modulation: Modulation, block: str, answer: LayerAnswer) -> Mapping[str, ModulationUse]:
    """The use of a layer's answer behind each norm or layer, by the name of that norm or layer.

    block: the number of its block, as in ModulatedLayer.
    """
    uses: dict[str, ModulationUse] = {}
    for norm in modulation.norms:
        uses[norm.name.replace("{}", block)] = _AfterNorm(answer, norm)
    for gated in modulation.gated:
        uses[gated.name.replace("{}", block)] = _AfterLayer(answer, gated, modulation.tanh)
    return uses


def modulated_layer(modulations: Sequence[Modulation], layer: str) -> ModulatedLayer | None:
    """A new ModulatedLayer for the layer of this name, if any of the modulations is its; None for any other layer."""
    for modulation in modulations:
        block = modulation.block_of(layer)
        if block is not None:
            return ModulatedLayer(modulation, block)
    return None
