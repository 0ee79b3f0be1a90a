"""What trains the toy model's story: it can be stopped, and goes on as if it had not been."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from toy import net, stored
from toy.training import train


def test_a_state_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    levels = net.noise_levels().float()

    def step(training: train.Training) -> dict[str, torch.Tensor]:
        torch.manual_seed(2)
        training.learn(random.Random(2), levels, 1e-3)
        return training.average.state_dict()

    training = train.Training(stored.load())
    before = {key: weight.clone() for key, weight in training.average.state_dict().items()}
    step(training)
    train.keep(training, tmp_path / "state.pt")
    other = train.Training(stored.load())
    other.load(torch.load(tmp_path / "state.pt", weights_only=True))
    learned, learned_on = step(training), step(other)
    assert training.step == other.step == 2
    assert all(torch.equal(learned[key], learned_on[key]) for key in learned)
    changed = {key for key in learned if not torch.equal(learned[key], before[key])}
    assert changed and all(train.LEARNS.match(key) for key in changed)
