"""Decoupled attention by region."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from pack.core.attention import decoupled, on_grid, region_weights


def attend(q, k, v, heads=4):
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def case(people=2, batch=2, pixels=48, tokens=16, width=32):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(batch, pixels, width, generator=generator)
    keys, values = torch.randn(2, people, batch, tokens, width, generator=generator)
    return query, keys, values


def test_disjoint_regions_are_single_person_attention_exactly():
    query, keys, values = case()
    left = (torch.arange(48) < 20).float()
    weights = torch.stack([left, 1 - left])[:, None, :, None]
    both = decoupled(query, keys, values, weights, attend)
    alone = [decoupled(query, keys[i : i + 1], values[i : i + 1], None, attend) for i in (0, 1)]
    assert torch.equal(both[:, :20], alone[0][:, :20]) and torch.equal(both[:, 20:], alone[1][:, 20:])


def test_outside_of_all_regions_nothing_is_added():
    query, keys, values = case()
    nowhere = torch.zeros(2, 1, 48, 1)
    assert not decoupled(query, keys, values, nowhere, attend).any()


def test_ones_for_one_person_equal_no_mask():
    query, keys, values = case(people=1)
    masked = decoupled(query, keys, values, torch.ones(1, 1, 48, 1), attend)
    assert torch.equal(masked, decoupled(query, keys, values, None, attend))


def test_overlaps_share_and_edges_fade():
    regions = torch.tensor([[[1.0, 1.0, 0.0, 0.25]], [[0.0, 1.0, 0.0, 0.25]]])
    assert region_weights(regions)[:, 0].tolist() == [[1.0, 0.5, 0.0, 0.25], [0.0, 0.5, 0.0, 0.25]]


def test_grid_is_the_nearest_pixel():
    weights = torch.rand(3, 64, 40)
    grid = on_grid(weights, 8, 5)
    assert grid.shape == (3, 40, 1) and torch.equal(grid[..., 0].unflatten(1, (8, 5)), weights[:, ::8, ::8])
