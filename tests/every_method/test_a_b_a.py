"""A, B, A: the same picture twice, another one between, and nothing left of either where the node is bypassed."""

import pytest
import torch
from figures import relative
from graph_run import run
from method_rows import Row, attributes, latents, picture


@pytest.mark.both_hosts
def test_a_b_a(row_or_variant: Row) -> None:
    a, b = picture(row_or_variant), picture(row_or_variant, "b")
    applied = row_or_variant.node()
    outputs = {}
    random_state = torch.get_rng_state()
    run(applied, outputs)
    assert torch.equal(torch.get_rng_state(), random_state), "nobody else's random numbers change"
    assert torch.equal(latents(row_or_variant.sampled(applied), outputs), a)
    assert a.isfinite().all()
    assert b.isfinite().all()
    # Other people make another picture by far more than rounding, which is some 1e-6.
    assert relative(a, b) > 2e-5


def test_bypassed_it_leaves_no_trace(row: Row) -> None:
    plain = picture(row, "plain")
    # A MODEL that is sampled for the first time is given attributes by the host.
    latents(row.plain(steps=1))
    before = attributes(row)
    latents(row.sampled(row.node(), steps=1))
    assert attributes(row) == before, "what the run has put into the MODEL's modules"
    assert relative(picture(row), plain) > 1e-4
    assert torch.equal(latents(row.plain()), plain)
