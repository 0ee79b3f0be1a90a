"""Train the story's network of the toy model; stop it at any time, and go on with the same command.

    cd scripts
    python -m toy.training.train 60 --state ../.cache/toy_story.pt

It learns for so many minutes in all, on one thread, and keeps its state every five of them and where it is stopped.
At the end story.safetensors is written, whose metadata say where it is from. Without a state it begins with what
story.safetensors holds.
"""

import argparse
import copy
import math
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from environment import ROOT, say
from safetensors import safe_open
from shared.whole import written
from torch import nn

from .. import net, places, stored
from ..net import ToyModel
from . import story

LEARNS = re.compile(r"output_blocks\..*\.attn[12]\.|output_blocks\.[678]\.0\.(?!emb)|out\.")
"""The attention on the way up, to the look and to the words, and the finest layers. All else is the UNet's, and is not
stored twice."""
PART = "story"
RATE = 1.5e-3
PICTURES = 2
"""Of one step."""
_SAVE_SECONDS = 300
_TELL_STEPS = 25
_WARM_UP = 25
_KEPT = 0.99
"""Of the mean of weights, at every step."""


class Training:
    """A net that learns, the mean of its last weights, and how far it is."""

    def __init__(self, model: ToyModel) -> None:
        self.model = model
        for key, weight in model.story.named_parameters():
            weight.requires_grad_(LEARNS.match(key) is not None)
        self.learning = [weight for weight in model.story.parameters() if weight.requires_grad]
        self.average = copy.deepcopy(model.story).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.learning, betas=(0.9, 0.99), weight_decay=1e-3)
        self.step, self.seconds, self.loss = 0, 0.0, 0.0

    def state(self) -> dict[str, Any]:
        networks = {"story": self.model.story.state_dict(), "average": self.average.state_dict()}
        return {**networks, "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds}

    def load(self, state: dict[str, Any]) -> None:
        self.model.story.load_state_dict(state["story"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def learn(self, rng: random.Random, levels: torch.Tensor, rate: float) -> None:
        """One step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        seen = 0.0
        for _ in range(PICTURES):
            size = places.LARGE if rng.random() < 0.5 else places.SMALL
            loss = story.loss(self.model, levels, story.scene(rng, size)) / PICTURES
            loss.backward()
            seen += loss.item()
        nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimiser.step()
        self.step += 1
        self.loss += (seen - self.loss) / min(self.step, _TELL_STEPS)
        follow = 1 - min(_KEPT, self.step / (9 + self.step))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.model.story.parameters(), strict=True):
                mean.lerp_(weight, follow)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, help="in all, those of the state too")
    parser.add_argument("--state", type=Path, required=True, help="a file that is kept outside of git")
    given = parser.parse_args()
    torch.set_num_threads(1)
    training = Training(stored.load())
    if given.state.is_file():
        training.load(torch.load(given.state, weights_only=True))
        say(f"On from step {training.step}, {training.seconds / 60:.0f} min.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        learned(training, given.minutes, given.state)
    except KeyboardInterrupt:
        say("Stopped: the same command goes on from here.")
        return
    finally:
        keep(training, given.state)
    write(training)


def learned(training: Training, minutes: float, state: Path) -> None:
    """Until so many minutes are over. The rate rises, and falls to zero at the end."""
    torch.manual_seed(training.step)
    rng = random.Random(training.step)
    levels = net.noise_levels().float()
    saved = time.monotonic()
    while (done := training.seconds / (60 * minutes)) < 1:
        began = time.monotonic()
        warm = min(1, (training.step + 1) / _WARM_UP)
        training.learn(rng, levels, RATE * warm * (1 + math.cos(math.pi * done)) / 2)
        training.seconds += time.monotonic() - began
        if training.step % _TELL_STEPS == 0:
            say(f"step {training.step}, {training.seconds / 60:.1f} min, loss {training.loss:.4f}")
        if time.monotonic() > saved + _SAVE_SECONDS:
            keep(training, state)
            saved = time.monotonic()


def keep(training: Training, state: Path) -> None:
    written(state, lambda unfinished: torch.save(training.state(), unfinished))


def write(training: Training) -> None:
    """story.safetensors, of the mean of the last weights."""
    file = stored.FILES[PART]
    model = training.model
    model.story.load_state_dict(training.average.state_dict())
    told = {"data": "drawn people only (training/story.py), no photo of anybody", "licence": "Apache-2.0"}
    told["trained"] = f"{training.step} steps, {training.seconds / 60:.0f} minutes on cpu, from the group's UNet"
    with safe_open(file, "pt") as before:
        earlier = (before.metadata() or {}).get("trained")
    if earlier:
        told["trained"] = f"{earlier}; then {told['trained']}"
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    told["commit"] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    stored.save(model, PART, told)
    say(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).")


if __name__ == "__main__":
    main()
