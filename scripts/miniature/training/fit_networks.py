"""Training, part 3: UNet, ControlNet and prompt projection, on cartoons of drawn people in two sizes.

Velocity (v prediction). An hour or two on one core, resumable at any minute; with bf16 where the processor is quicker
so. The learning rate falls to zero at the end of the time that was given.
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .. import avatars, net, places
from ..avatars import Area, area
from ..looks import NOBODY
from ..net import Miniature
from . import crowds

BATCH = {places.SMALL: 8, places.LARGE: 2}
_LARGE_SHARE, _MIXED_SHARE = 0.55, 0.4
_WARM_UP, _EMA = 100, 0.998
# The first layers of the hint block only tell colours apart. At full size, training them takes a third of the time.
_SETTLED = ("control.input_hint_block.0.", "control.input_hint_block.2.", "control.input_hint_block.4.")
_FIXED = ("patch_proj.", "encoder.", "decoder.")


@dataclass(frozen=True)
class Example:
    """One picture. tokens: embeddings of whoever the prompt tells of; told: whether they must not be left out."""

    pixels: Tensor
    areas: avatars.Areas
    hint: Tensor
    tokens: Tensor
    told: bool


@dataclass
class Training:
    """What a checkpoint keeps."""

    net: Miniature
    average: Miniature
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        kept = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimiser")}
        return kept | {"step": self.step, "seconds": self.seconds}

    def load(self, state: dict[str, Any]) -> None:
        for name in ("net", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]


def begin(start: Miniature, settled: bool = True) -> Training:
    """settled: leave the first layers of the hint block as they are; not for a net from nothing."""
    fixed = (*_FIXED, *(_SETTLED if settled else ()))
    for name, weight in start.named_parameters():
        weight.requires_grad_(not name.startswith(fixed))
    average = copy.deepcopy(start).requires_grad_(False)
    learning = [weight for weight in start.parameters() if weight.requires_grad]
    return Training(start, average, torch.optim.AdamW(learning, betas=(0.9, 0.99), weight_decay=1e-3, fused=True))


def fit(
    training: Training, embeddings: Tensor, minutes: float, rate: float, device: str, pause: Callable[[], None]
) -> None:
    """embeddings: (n, 512) of drawn photos. pause: called after every step, to save and to tell."""
    learner = _Learner(training, device)
    rng, started, first = random.Random(training.step), time.monotonic(), training.step
    examples, before = _examples(training.net, embeddings, rng), training.seconds
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        warm = min(1, (training.step - first + 1) / _WARM_UP)
        size = places.LARGE if rng.random() < _LARGE_SHARE else places.SMALL
        batch = [examples(size) for _ in range(BATCH[size])]
        training.losses.append(learner.step(batch, rng, rate * warm * (1 + math.cos(math.pi * done)) / 2))
        training.step += 1
        training.seconds = before + time.monotonic() - started
        pause()


# --- Pictures


def _examples(model: Miniature, embeddings: Tensor, rng: random.Random) -> Callable[[tuple[int, int]], Example]:
    with torch.no_grad():
        looks = torch.cat([model.looks(rows) for rows in embeddings.split(1000)])

    def example(size: tuple[int, int]) -> Example:
        standing = crowds.draw(rng, size)
        chosen = rng.sample(range(len(embeddings)), len(standing))
        people, seen = embeddings[chosen], looks[chosen]
        if rng.random() < _MIXED_SHARE:
            people = _mixed(people, embeddings, rng)
            with torch.no_grad():
                seen = model.looks(people)
        return _example(model, rng, standing, people, seen, size)

    return example


def _mixed(people: Tensor, embeddings: Tensor, rng: random.Random) -> Tensor:
    """People who are nobody's photo: each moved along the difference of two others. Real faces lie between and beside
    the drawn ones, and their patches have colours that no drawn one has."""
    others = torch.tensor([rng.sample(range(len(embeddings)), 2) for _ in people])
    far = torch.tensor([[rng.uniform(0.2, 0.9)] for _ in people])
    return functional.normalize(people + far * (embeddings[others[:, 0]] - embeddings[others[:, 1]]), dim=-1)


@torch.no_grad()
def _example(
    model: Miniature, rng: random.Random, standing: list[places.Place], embeddings: Tensor, looks: Tensor,
    size: tuple[int, int],
) -> Example:  # fmt: skip
    """Mostly everybody with patch and tokens; now and then a place without a person, or tokens alone."""
    people, kind = len(standing), rng.random()
    patched, named = torch.ones(people), torch.ones(people, dtype=torch.bool)
    only_tokens = 0.12 <= kind < (0.30 if people == 1 else 0.16)
    if kind < 0.12:
        gone = rng.randrange(people)
        patched[gone], named[gone] = 0.0, False
        looks = looks.clone()
        looks[gone] = NOBODY
    elif only_tokens:  # who stands where is not told
        patched[:] = 0
        looks = looks[torch.tensor(rng.sample(range(people), people))]
    pixels, areas = avatars.picture(standing, looks, size, 2 if size == places.SMALL else 1)
    patches = model.patches(embeddings) * patched[:, None, None, None]
    hint = net.hint(crowds.skeleton(standing, size), patches, [place.nose for place in standing])
    return Example(pixels, areas, hint[0], embeddings[named], only_tokens)


def _costs() -> Tensor:
    """(256,): what an error costs in each area: 1 on the wall, 3 on people, 5 where hair and faces are, 8 for skin,
    which is learned last."""
    costs = torch.full((256,), 3.0)
    costs[avatars.WALL], costs[avatars.WHITE] = 1.0, 5.0
    most = (256 - 2) // len(Area)
    for part, cost in ((Area.SKIN, 8.0), (Area.HAIR, 5.0), (Area.MOUTH, 5.0), (Area.CHIN, 5.0)):
        costs[[area(person, part) for person in range(most)]] = cost
    return costs


# --- Steps


def _quickest(device: torch.device) -> torch.dtype:
    """A processor without bf16 takes 13 times as long for it."""
    native = device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16")
    return torch.bfloat16 if native else torch.float32


class _Learner:
    """Steps with a copy of the networks, in bf16 where that is quicker; weights, their average and the optimiser stay
    in fp32."""

    def __init__(self, training: Training, device: str) -> None:
        self.training, self.device, self.costs = training, torch.device(device), _costs()
        training.net.to(self.device)
        training.average.to(self.device)
        self.quick = copy.deepcopy(training.net)
        self.dtype = _quickest(self.device)
        self.quick.unet.to(self.dtype)
        self.quick.control.to(self.dtype)
        self.random = torch.Generator().manual_seed(training.step)
        self.kept = net.noise_levels()

    def step(self, batch: list[Example], rng: random.Random, rate: float) -> float:
        loss = self._loss(batch, rng)
        loss.backward()
        self._learn(rate)
        return loss.item()

    def _loss(self, batch: list[Example], rng: random.Random) -> Tensor:
        model, device = self.training.net, self.device
        with torch.no_grad():
            clean = model.encoder(torch.stack([example.pixels for example in batch]).to(device))
        steps = self._steps(len(batch))
        tokens = [self._tokens(example, int(step), rng) for example, step in zip(batch, steps, strict=True)]
        most = max((len(rows) for rows in tokens if rows is not None), default=0)
        told = torch.cat([net.context(rows, most) for rows in tokens]).to(device)
        kept = self.kept[steps].float()[:, None, None, None].to(device)
        noise = torch.randn(clean.shape, generator=self.random).to(device)
        noisy, target = kept.sqrt() * clean + (1 - kept).sqrt() * noise, kept.sqrt() * noise - (1 - kept).sqrt() * clean
        hints = torch.stack([example.hint for example in batch]).to(device)
        # 0.8 is the default of Apply ID-Patch.
        strength = 0.8 if rng.random() < 0.4 else 1.0
        half = [part.to(self.dtype) for part in (noisy, hints, told)]
        found = self.quick.velocity(half[0], steps.to(device), half[1], half[2], strength)
        cost = torch.stack([self._cost(example, tuple(clean.shape[2:])) for example in batch]).to(device)
        return ((found.float() - target).square() * cost).mean()

    def _steps(self, count: int) -> Tensor:
        """More of the noisy ones, where the colours are decided."""
        noisy = torch.rand(count, generator=self.random) < 0.6
        high, any_step = (torch.randint(low, 1000, (count,), generator=self.random) for low in (650, 0))
        return torch.where(noisy, high, any_step)

    def _tokens(self, example: Example, step: int, rng: random.Random) -> Tensor | None:
        """Left out where the host leaves them out (id_start_percent) and now and then everywhere; or nobody's, which
        is what the negative side gets."""
        left_out, kind = 0.4 if step > 780 else 0.15, rng.random()
        if not len(example.tokens) or (kind < left_out and not example.told):
            return None
        if kind < left_out + 0.1 and not example.told:
            nobody = torch.zeros(1, net.EMBEDDING, device=self.device)
            return self.training.net.tokens(nobody).expand(len(example.tokens), -1, -1).cpu()
        return self.training.net.tokens(example.tokens.to(self.device)).cpu()

    def _cost(self, example: Example, size: tuple[int, int]) -> Tensor:
        costs = self.costs[torch.from_numpy(example.areas.astype(np.int64))]
        return functional.adaptive_avg_pool2d(costs[None], size)

    def _learn(self, rate: float) -> None:
        """Gradients of the copy to the weights, a step, and the new weights to the copy."""
        training = self.training
        pairs = [pair for pair in self._pairs() if pair[0].requires_grad]
        for weight, quick in pairs:
            if quick.grad is not None:
                gradient = quick.grad.float()
                weight.grad = gradient if weight.grad is None else weight.grad + gradient
                quick.grad = None
        nn.utils.clip_grad_norm_([weight for weight, _ in pairs], 1.0)
        for group in training.optimiser.param_groups:
            group["lr"] = rate
        training.optimiser.step()
        training.optimiser.zero_grad()
        follow = 1 - min(_EMA, (1 + training.step) / (10 + training.step))
        with torch.no_grad():
            for weight, quick in pairs:
                quick.copy_(weight)
            for average, weight in zip(training.average.parameters(), training.net.parameters(), strict=True):
                average.lerp_(weight, follow)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.training.net.parameters(), self.quick.parameters(), strict=True)
