"""Cancelled in the middle of a run, the next one is right."""

import comfy.model_management
import latent_preview
import pytest
import torch
from method_rows import ALONE, Row, attributes, latents, picture

OFTEN = ALONE


def cancelled(*_: object) -> None:
    """A sampler's callback: somebody cancels the run."""
    comfy.model_management.interrupt_current_processing()
    comfy.model_management.throw_exception_if_processing_interrupted()


def test_the_run_after_a_cancelled_one_is_right(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = row.sampled(row.node())
    # A MODEL that is sampled for the first time is given attributes by the host.
    latents(row.plain(steps=1))
    before = attributes(row)
    expected = picture(row)
    outputs = {}
    with monkeypatch.context() as patch, pytest.raises(comfy.model_management.InterruptProcessingException):
        patch.setattr(latent_preview, "prepare_callback", lambda *_, **__: cancelled)
        latents(graph, outputs)
    assert attributes(row) == before, "what the run has put into the MODEL's modules"
    assert torch.equal(latents(row.plain()), picture(row, "plain")), "without the node, on the same MODEL"
    assert torch.equal(latents(graph, outputs), expected), "the same conditioning and MODEL again"
