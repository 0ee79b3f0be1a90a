"""Train the miniature further, or from nothing; stop and go on at any time.

    cd scripts
    python -m miniature.training.train 120                   on from miniature.safetensors, 120 minutes
    python -m miniature.training.train 45 --lesson instant_id
    python -m miniature.training.train 60 --from-nothing     five hours: 60 minutes for each large lesson
    python -m miniature.training.evaluate                    what it can do

Everything is kept in .cache/miniature/training.pt every ten minutes; the same command goes on from there. At the end
miniature, instant_id, parts2whole or sharing.safetensors is written; its metadata say where it is from.
"""

import argparse
import copy
import math
import random
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from environment import CACHE, ROOT, say
from rig.whole import written
from torch import nn

from .. import stored
from ..net import Miniature
from .lessons import LESSONS, Pool, pool

CHECKPOINT = CACHE / "miniature" / "training.pt"
TRAINED_ON, HELD_OUT = 1, 1_000_003
"""Seeds of the drawn people that it learns from, and of those that it has never seen."""
PROVENANCE = {"data": "drawn people only (portraits.py, avatars.py), no photo of anybody", "licence": "Apache-2.0"}
_SAVE_SECONDS, _TELL_STEPS = 600, 50
_WARM_UP, _EMA = 100, 0.998


@dataclass
class Training:
    """What a checkpoint keeps: a net in one of its lessons, the mean of its last weights, and how far it is.

    settled: it has had this lesson before.
    """

    net: Miniature
    lesson: str
    average: Miniature
    optimiser: torch.optim.Optimizer
    settled: bool = False
    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0

    def state(self) -> dict[str, Any]:
        kept = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimiser")}
        return kept | {"lesson": self.lesson, "step": self.step, "seconds": self.seconds}

    def load(self, state: dict[str, Any]) -> None:
        for name in ("net", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]


def begin(net: Miniature, lesson: str, settled: bool = False) -> Training:
    """settled: as in Training."""
    learns, still = LESSONS[lesson].learns, LESSONS[lesson].still + (LESSONS[lesson].settled if settled else ())
    for name, weight in net.named_parameters():
        weight.requires_grad_(name.startswith(learns) and not any(part in name for part in still))
    learning = [weight for weight in net.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    return Training(net, lesson, copy.deepcopy(net).requires_grad_(False), optimiser, settled)


def learn(training: Training, known: Pool, minutes: float, pause: Callable[[Training], None]) -> None:
    """The rate rises and falls to zero at the end of the time. pause: called after every step, to save and to tell."""
    rng, first, before, started = random.Random(training.step), training.step, training.seconds, time.monotonic()
    torch.manual_seed(training.step)
    lesson = LESSONS[training.lesson]
    if not first and not training.settled:
        lesson.prepare(training.net, known)
        training.average.load_state_dict(training.net.state_dict())
    loss = lesson.loss(training.net, known)
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        warm = min(1, (training.step - first + 1) / _WARM_UP)
        _step(training, loss(rng), lesson.rate * warm * (1 + math.cos(math.pi * done)) / 2)
        training.seconds = before + time.monotonic() - started
        pause(training)


def _step(training: Training, loss: torch.Tensor, rate: float) -> None:
    optimiser = training.optimiser
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([weight for group in optimiser.param_groups for weight in group["params"]], 1.0)
    optimiser.step()
    training.step += 1
    training.loss += (loss.item() - training.loss) / min(training.step, _TELL_STEPS)
    follow = 1 - min(_EMA, training.step / (9 + training.step))
    with torch.no_grad():
        for average, weight in zip(training.average.parameters(), training.net.parameters(), strict=True):
            average.lerp_(weight, follow)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--from-nothing", action="store_true", help="forget miniature.safetensors")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lesson", choices=list(LESSONS), default="networks", help="what goes on (default: networks)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    say("Drawing photos.")
    known, names = pool(TRAINED_ON), list(LESSONS) if given.from_nothing else [given.lesson]
    kept = torch.load(CHECKPOINT, map_location="cpu", weights_only=True) if CHECKPOINT.is_file() else None
    net = (Miniature() if given.from_nothing else stored.load()).to(device)
    first = kept["lesson"] if kept else names[0]
    training = begin(net, first, settled=not given.from_nothing)
    if kept:
        training.load(kept)
        say(f"On from step {training.step} of {training.lesson}.")
    for name in names[names.index(training.lesson) :]:
        if name != training.lesson:
            training = begin(training.average, name)
        minutes = (given.from_nothing and LESSONS[name].minutes) or given.minutes
        learn(training, known, minutes, _Keeper())
        save(training)
        if name in stored.FILES or not given.from_nothing:
            file = stored.FILES.get(name, stored.FILE)
            _store(training, file, {} if given.from_nothing else stored.told(file), device)
    say("Now: python -m miniature.training.evaluate")


def _store(training: Training, file: Path, history: Mapping[str, str], device: str) -> None:
    trained = f"{training.step} steps of {training.lesson}, {training.seconds / 60:.0f} minutes on {device}"
    if before := history.get("trained"):
        trained = f"{before}; then {trained}"
    told = {"trained": trained, "commit": commit(), **PROVENANCE}
    stored.save(copy.deepcopy(training.average).cpu(), file, told)
    say(f"Wrote {file}.")


class _Keeper:
    """Saves every ten minutes and tells how it goes."""

    def __init__(self) -> None:
        self._saved = time.monotonic()

    def __call__(self, training: Training) -> None:
        if training.step % _TELL_STEPS == 0:
            took = f"{training.seconds / 60:.1f} min"
            say(f"{training.lesson}: step {training.step}, {took}, loss {training.loss:.4f}")
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            save(training)
            self._saved = time.monotonic()


def save(training: Training) -> None:
    written(CHECKPOINT, lambda unfinished: torch.save(training.state(), unfinished))


def commit() -> str:
    """Of the code that trained it."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
