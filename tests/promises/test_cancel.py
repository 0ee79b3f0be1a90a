"""Cancelled in the middle of a run, the next one is right."""

import comfy.model_management
import latent_preview
import pytest
import torch
from held_to import cancel
from promised import Row, latents, picture


def test_the_run_after_a_cancelled_one_is_right(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = row.sampled(row.node())
    whole, made = picture(row), {}
    with monkeypatch.context() as patch, pytest.raises(comfy.model_management.InterruptProcessingException):
        patch.setattr(latent_preview, "prepare_callback", lambda *_, **__: lambda step, *_: cancel(1))
        latents(graph, made)
    assert torch.equal(latents(graph, made), whole), "the same conditioning and MODEL again"
