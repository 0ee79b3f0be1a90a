"""Image tokens in cross-attention: what each person's tokens add to what the text says, layer by layer.

An `Injection` holds the keys and values of every layer, projected once when the node runs, so that the MODEL needs
no adapter weights, nothing is projected per step, and another seed or prompt finds them in the host's cache.

The attention is put around whatever stands in each layer when a forward starts. So other packs never meet ours, and
the order of the nodes does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.attention import Attend, decoupled, on_grid, region_weights
from .carried import Carried, Run, cut_regions, install, put
from .conditioning import Canvas, Conditioning
from .unet import attend_with, attention_layers, replaced, standing

if TYPE_CHECKING:
    from typing_extensions import Self

KEY = "likeness_injections"


@dataclass(frozen=True, eq=False)
class Injection(Carried):
    """What one apply node adds to one side of the conditioning; IdentityNet finds its tokens by the source.

    tokens: (people, T, width) float32 CPU, unscaled, for IdentityNet.
    layers: per cross-attention layer ((people, T, C), (people, T, C)); adapter scale and weight are in the values.
    Empty where the adapter is switched off.
    regions: (people, H, W) weights of the whole picture, or None: one person heard everywhere.
    canvas: what the regions are parts of and whose rows people have, or None where somebody else looks at its size.
    begins: called with the guider at the start of every run.
    by_row: person n is heard in row n of the batch alone; there are no regions.
    """

    tokens: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]
    regions: Tensor | None
    canvas: Canvas | None = None
    begins: Callable[[Any], None] | None = None
    by_row: bool = False

    @property
    def heard(self) -> bool:
        return bool(self.layers)

    @property
    def placed(self) -> bool:
        return self.regions is not None

    def of(self, picture: int) -> Self:
        if not self.by_row:
            return self
        number = picture % len(self.tokens)
        return self.piece(number, lambda: self._row(slice(number, number + 1)))

    def _row(self, row: slice) -> Self:
        layers = tuple((keys[row], values[row]) for keys, values in self.layers)
        return replace(self, tokens=self.tokens[row], layers=layers, by_row=False)

    def by_person(self, x: Tensor) -> Tensor:
        """(people, ...) as (people, rows, ...): one row for all the batch, or one person in each of several rows."""
        return x[None] if self.by_row else x[:, None]

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Injection:
        assert self.regions is not None
        return replace(self, regions=cut_regions(self.regions, area, latent))

    def alike(self, other: Any) -> bool:
        return (
            self.regions is other.regions
            and self.by_row == other.by_row
            and self.source is other.source
            and self.sigmas == other.sigmas
            and self.tokens.shape == other.tokens.shape
            and len(self.layers) == len(other.layers)
        )


def inject(conditioning: Conditioning, injection: Injection) -> Conditioning:
    """Every entry with one more injection."""
    return put(conditioning, injection, KEY)


def patched(model: Any) -> Any:
    """A clone of the MODEL that reads injections; a MODEL that does already is returned as it is."""
    return install(model, KEY, InjectionsRun)


class InjectionsRun(Run):
    """The plans of one sampling run, gone with it."""

    key = KEY

    def __init__(self, guider: Any, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self._layers = [(name, number, index) for name, number, index, _ in attention_layers(guider.model_patcher)]
        self._plans: dict[tuple[Injection, ...], Plan] = {}
        pixels = (8 * latent.shape[-1], 8 * latent.shape[-2])
        everything = self.everything(guider)
        for begins in dict.fromkeys(one.begins for one in everything if one.begins):
            begins(guider)
        for canvas in {one.canvas for one in everything if one.canvas}:
            canvas.check_rows(len(latent))
        canvases = {one.canvas: one.regions for one in everything if one.canvas and one.placed}
        for canvas, regions in canvases.items():
            canvas.check((regions.shape[2], regions.shape[1]), pixels)

    def denoise(self, chunks: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        *others, options = args
        if plans := self.plans(chunks, options["sigmas"]):
            ours = {
                block: DecoupledAttention(layer, standing(options, "attn2", block), plans)
                for layer, block in enumerate(self._layers)
            }
            options = replaced(options, "attn2", ours)
        return executor(*others, options, **kwargs)

    def plans(self, chunks: tuple[tuple[Injection, ...], ...], sigmas: Tensor) -> tuple[Plan, ...]:
        """One plan per injection that is switched on at these sigmas."""
        together = zip(*chunks, strict=True)
        return tuple(self._plan(each) for each in together if each[0].heard and each[0].is_on(sigmas))

    def _plan(self, injections: tuple[Injection, ...]) -> Plan:
        if injections not in self._plans:
            self._plans[injections] = Plan(injections)
        return self._plans[injections]


@dataclass(frozen=True)
class DecoupledAttention:
    """The attn2 of one layer in one forward: what stands there, or the layer's own, plus the rows' injections."""

    layer: int
    before: Callable[..., Tensor] | None
    plans: tuple[Plan, ...]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        attend = attend_with(extra_options)
        out = self.before(q, k, v, extra_options) if self.before else attend(q, k, v)
        for plan in self.plans:
            out = out + plan.attended(q, self.layer, extra_options["activations_shape"], attend)
        return out


@dataclass(eq=False)
class Plan:
    """Injections of the chunks of one batch, on the device: keys, values and weights per layer, made on first use.

    The device is part of the keys: with several GPUs the host shares one run, and so one plan, between them.
    """

    injections: tuple[Injection, ...]
    """One per chunk, all alike."""
    layers: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = field(default_factory=dict)
    weights: dict[tuple[int, int, torch.device], Tensor] = field(default_factory=dict)

    def attended(self, q: Tensor, layer: int, shape: Sequence[int], attend: Attend) -> Tensor:
        """What these injections add to one layer; q: (B, N, C), shape: of the block's input (B, C, H, W)."""
        return decoupled(q, *self._layer(layer, q), self._weights(shape[-2], shape[-1], q), attend)

    def _layer(self, layer: int, q: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (people, B, T, C) in the query's dtype and place."""
        key = layer, len(q), q.device
        if key not in self.layers:
            pairs = zip(*(injection.layers[layer] for injection in self.injections), strict=True)
            keys, values = (self._by_row(sides).to(q) for sides in pairs)
            rows = len(q) // keys.shape[1]
            self.layers[key] = keys.repeat_interleave(rows, dim=1), values.repeat_interleave(rows, dim=1)
        return self.layers[key]

    def _by_row(self, sides: Sequence[Tensor]) -> Tensor:
        """(people, rows, T, C) of all chunks, one after the other."""
        return torch.cat([one.by_person(x) for one, x in zip(self.injections, sides, strict=True)], dim=1)

    def _weights(self, height: int, width: int, q: Tensor) -> Tensor | None:
        regions = self.injections[0].regions
        if regions is None:
            return None
        key = height, width, q.device
        if key not in self.weights:
            self.weights[key] = on_grid(region_weights(regions), height, width)[:, None].to(q)  # people 1 tokens 1
        return self.weights[key]
