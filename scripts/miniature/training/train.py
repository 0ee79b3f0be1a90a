"""Train the miniature further, or from nothing; stop and go on at any time.

    cd scripts
    python -m miniature.training.train 120
    python -m miniature.training.train 45 --lesson instant_id
    python -m miniature.training.train 60 --from-nothing

The first goes on for 120 minutes from miniature.safetensors. --from-nothing takes five hours with 60 minutes for each
large lesson. Every ten minutes a checkpoint is left in .cache/miniature/training.pt, and the same command goes on from
there. At the end miniature, instant_id, parts2whole or sharing.safetensors is written; its metadata say where it is
from. What it can do: python -m miniature.training.evaluate
"""

from __future__ import annotations

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
from environment import CACHE, ROOT, run, say
from rig.whole import written
from torch import nn

from .. import stored
from ..net import Miniature
from .lessons import LESSONS
from .pool import TRAINED_ON, Pool, pool

CHECKPOINT = CACHE / "miniature" / "training.pt"
PROVENANCE = {"data": "drawn people only (portraits.py, avatars.py), no photo of anybody", "licence": "Apache-2.0"}
SAVE_SECONDS = 600
REPORT_STEPS = 50
WARM_UP_STEPS = 100
"""Steps in which the learning rate rises."""
AVERAGE = 0.998
"""How much of the mean of the last weights stays at each step."""
LARGEST_GRADIENT = 1.0


@dataclass
class Training:
    """What a checkpoint keeps: a network in one of its lessons, and how far it is.

    average: the mean of its last weights. settled: whether it has had this lesson before. seconds: spent on it so far.
    loss: the mean of the last steps.
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
        return {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "lesson": self.lesson,
            "step": self.step,
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


def begin(net: Miniature, lesson: str, settled: bool = False) -> Training:
    """settled: as in Training."""
    learns = LESSONS[lesson].learns
    still = LESSONS[lesson].still
    if settled:
        still += LESSONS[lesson].settled
    for name, weight in net.named_parameters():
        weight.requires_grad_(name.startswith(learns) and not any(part in name for part in still))
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    average = copy.deepcopy(net).requires_grad_(False)
    return Training(net, lesson, average, optimiser, settled)


def learn(training: Training, photos: Pool, minutes: float, pause: Callable[[Training], None]) -> None:
    """Train for so many minutes. The learning rate rises, and falls to zero at the end of the time.

    pause: called after every step, to save and to report.
    """
    rng = random.Random(training.step)
    torch.manual_seed(training.step)
    first_step = training.step
    seconds_before = training.seconds
    started = time.monotonic()
    lesson = LESSONS[training.lesson]
    if not first_step and not training.settled:
        lesson.prepare(training.net, photos)
        training.average.load_state_dict(training.net.state_dict())
    loss = lesson.make_loss(training.net, photos)
    while True:
        share_done = (time.monotonic() - started) / (60 * minutes)
        if share_done >= 1:
            return
        warm = min(1, (training.step - first_step + 1) / WARM_UP_STEPS)
        rate = lesson.rate * warm * (1 + math.cos(math.pi * share_done)) / 2
        _step(training, loss(rng), rate)
        training.seconds = seconds_before + time.monotonic() - started
        pause(training)


def _step(training: Training, loss: torch.Tensor, rate: float) -> None:
    """One step of the optimiser, and of the mean weights."""
    optimiser = training.optimiser
    trained: list[torch.Tensor] = []
    for group in optimiser.param_groups:
        group["lr"] = rate
        trained += group["params"]
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained, LARGEST_GRADIENT)
    optimiser.step()
    training.step += 1
    training.loss += (loss.item() - training.loss) / min(training.step, REPORT_STEPS)
    # At first the mean follows quickly: it begins with weights that have learned nothing.
    follow = 1 - min(AVERAGE, training.step / (9 + training.step))
    with torch.no_grad():
        for average, weight in zip(training.average.parameters(), training.net.parameters(), strict=True):
            average.lerp_(weight, follow)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, help="of training; with --from-nothing of each large lesson")
    parser.add_argument("--from-nothing", action="store_true", help="do not begin with miniature.safetensors")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default: 1)")
    parser.add_argument("--lesson", choices=list(LESSONS), default="networks", help="what goes on (default: networks)")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        parser.error(f"{arguments.minutes:g} minutes are no time to train. Give a number above 0.")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    train_lessons(arguments.minutes, arguments.lesson, arguments.from_nothing)
    say("Its figures: python -m miniature.training.evaluate")
    return 0


def train_lessons(minutes: float, lesson: str, from_nothing: bool) -> None:
    """Train one lesson, or all of them from nothing, going on from the checkpoint where there is one."""
    device = "cpu"
    if torch.cuda.is_available():
        device = "cuda"
    say("Drawing photos (a minute).")
    photos = pool(TRAINED_ON)
    names = [lesson]
    net = stored.load()
    if from_nothing:
        names = list(LESSONS)
        net = Miniature()
    state: dict[str, Any] = {}
    if CHECKPOINT.is_file():
        state = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)
    training = begin(net.to(device), state.get("lesson", names[0]), settled=not from_nothing)
    if state:
        training.load(state)
        say(f"On from step {training.step} of {training.lesson}.")
    for name in names[names.index(training.lesson) :]:
        if name != training.lesson:
            training = begin(training.average, name)
        lesson_minutes = minutes
        if from_nothing:
            lesson_minutes = LESSONS[name].minutes or minutes
        learn(training, photos, lesson_minutes, _Keeper())
        save(training)
        if name in stored.FILES or not from_nothing:
            store(training, stored.FILES.get(name, stored.FILE), from_nothing, device)


def store(training: Training, file: Path, from_nothing: bool, device: str) -> None:
    """Write the mean weights into one of the miniature's files."""
    trained = f"{training.step} steps of {training.lesson}, {training.seconds / 60:.0f} minutes on {device}"
    history: Mapping[str, str] = {}
    if not from_nothing:
        history = stored.metadata(file)
    before = history.get("trained")
    if before:
        trained = f"{before}; then {trained}"
    metadata = {"trained": trained, "commit": commit(), **PROVENANCE}
    stored.save(copy.deepcopy(training.average).cpu(), file, metadata)
    say(f"Wrote {file}.")


class _Keeper:
    """Saves every ten minutes, and reports how it goes."""

    def __init__(self) -> None:
        self._saved = time.monotonic()

    def __call__(self, training: Training) -> None:
        if training.step % REPORT_STEPS == 0:
            took = f"{training.seconds / 60:.1f} min"
            say(f"{training.lesson}: step {training.step}, {took}, loss {training.loss:.4f}")
        if time.monotonic() - self._saved > SAVE_SECONDS:
            save(training)
            self._saved = time.monotonic()


def save(training: Training) -> None:
    """Write the checkpoint, whole or not at all."""
    written(CHECKPOINT, lambda unfinished: torch.save(training.state(), unfinished))


def commit() -> str:
    """Of the code that trained it."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    run(main)
