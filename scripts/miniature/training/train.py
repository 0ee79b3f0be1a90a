"""Train the miniature further, or from nothing; stop and go on at any time.

    cd scripts
    python -m miniature.training.train 120                   on from miniature.safetensors, 120 minutes
    python -m miniature.training.train 240 --from-nothing    an afternoon on two cores, minutes on a GPU
    python -m miniature.training.evaluate                    what it can do

Everything is kept in .cache/miniature/training.pt every ten minutes; the same command goes on from there. At the end
miniature.safetensors is written, with where it comes from in its metadata.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time

import torch
from environment import CACHE, ROOT, say

from .. import stored
from ..net import Miniature
from . import fit_autoencoder, fit_networks, fit_projections

CHECKPOINT = CACHE / "miniature" / "training.pt"
TRAINED_ON, HELD_OUT = 1, 1_000_003
"""Seeds of the drawn people that it learns from, and of those that it has never seen."""
PROVENANCE = {"data": "drawn people only (portraits.py, avatars.py), no photo of anybody", "licence": "Apache-2.0"}
_SAVE_SECONDS, _TELL_STEPS = 600, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--from-nothing", action="store_true", help="forget miniature.safetensors")
    parser.add_argument("--rate", type=float, default=8e-4, help="of learning, at its highest")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    say("Drawing photos.")
    known = fit_projections.pool(TRAINED_ON)
    history = {} if given.from_nothing else stored.told()
    training = fit_networks.begin(start(given.from_nothing, known), settled=not given.from_nothing)
    if CHECKPOINT.is_file():
        training.load(torch.load(CHECKPOINT, map_location="cpu", weights_only=True))
        say(f"On from step {training.step}.")
    fit_networks.fit(training, known.embeddings, given.minutes, given.rate, device, _Keeper(training))
    save(training)
    trained = f"{training.step} steps, {training.seconds / 60:.0f} minutes on {device}"
    if before := history.get("trained"):
        trained = f"{before}; then {trained}"
    stored.save(training.average.cpu(), stored.FILE, {"trained": trained, "commit": commit(), **PROVENANCE})
    say(f"Wrote {stored.FILE}. Now: python -m miniature.training.evaluate")


def start(from_nothing: bool, known: fit_projections.Pool) -> Miniature:
    """The net of miniature.safetensors, or a new one whose autoencoder and projections have been trained."""
    if not from_nothing or CHECKPOINT.is_file():
        return stored.load()
    torch.manual_seed(0)
    new = Miniature()
    say("Autoencoder, 5 minutes.")
    say(f"  loss {fit_autoencoder.fit(new, 5):.4f}")
    say("Projections, some minutes.")
    say(f"  loss {fit_projections.fit(new, known):.4f}")
    return new


class _Keeper:
    """Saves every ten minutes and tells how it goes."""

    def __init__(self, training: fit_networks.Training) -> None:
        self.training, self.saved = training, time.monotonic()

    def __call__(self) -> None:
        training = self.training
        if training.step % _TELL_STEPS == 0:
            recent = training.losses[-_TELL_STEPS:]
            say(f"step {training.step}, {training.seconds / 60:.1f} min, loss {sum(recent) / len(recent):.4f}")
        if time.monotonic() - self.saved > _SAVE_SECONDS:
            save(training)
            self.saved = time.monotonic()


def save(training: fit_networks.Training) -> None:
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    unfinished = CHECKPOINT.with_suffix(".new")
    torch.save(training.state(), unfinished)
    os.replace(unfinished, CHECKPOINT)


def commit() -> str:
    """Of the code that trained it."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
