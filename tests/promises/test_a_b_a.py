"""A, B, A: the same picture twice, another one between, and nothing left of either where the node is bypassed."""

import pytest
import torch
from figures import relative
from graph_run import run
from promised import Row, attributes, latents, picture


@pytest.mark.both_hosts
def test_a_b_a(way: Row) -> None:
    a, b = picture(way), picture(way, "b")
    applied = way.node()
    made = {}
    drawn = torch.get_rng_state()
    run(applied, made)
    assert torch.equal(torch.get_rng_state(), drawn), "nobody else's random numbers change"
    assert torch.equal(latents(way.sampled(applied), made), a)
    assert a.isfinite().all()
    assert b.isfinite().all()
    # Other people make another picture by far more than rounding, which is some 1e-6.
    assert relative(a, b) > 1e-4


def test_bypassed_it_leaves_no_trace(row: Row) -> None:
    plain = picture(row, "plain")
    # A MODEL that is sampled for the first time is given attributes by the host.
    latents(row.plain(steps=1))
    before = attributes(row)
    latents(row.sampled(row.node(), steps=1))
    assert attributes(row) == before, "what the run has put into the MODEL's modules"
    assert relative(picture(row), plain) > 1e-4
    assert torch.equal(latents(row.plain()), plain)
