"""Decoupled attention by region."""

import pytest
import torch
import torch.nn.functional as functional
from pack.core.attention.cross_attention import (
    EXCLUDED,
    OWNED_BY_ALL,
    OWNED_BY_NOBODY,
    decoupled,
    on_grid,
    region_bias,
    region_weights,
)


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
    left_region = (torch.arange(48) < 20).float()
    weights = torch.stack([left_region, 1 - left_region])[:, None, :, None]
    by_region = decoupled(query, keys, values, weights, attend)
    alone = [decoupled(query, keys[i : i + 1], values[i : i + 1], None, attend) for i in (0, 1)]
    assert torch.equal(by_region[:, :20], alone[0][:, :20])
    assert torch.equal(by_region[:, 20:], alone[1][:, 20:])
    assert not decoupled(query, keys, values, weights * 0, attend).any(), "outside of all regions"
    assert torch.equal(decoupled(query, keys[:1], values[:1], torch.ones(1, 1, 48, 1), attend), alone[0])


def test_people_without_a_region_are_refused():
    query, keys, values = case(people=3)
    with pytest.raises(ValueError, match="shorter"):
        decoupled(query, keys, values, torch.ones(2, 1, 48, 1), attend)


def test_a_pixel_of_a_coarse_grid_reads_by_the_mean_of_what_it_covers():
    regions = [torch.tensor([[[1.0, 0.0, 0.0, 0.5], [1.0, 1.0, 0.0, 0.5]]])]
    bias = region_bias(regions, torch.tensor([0, OWNED_BY_ALL, OWNED_BY_NOBODY]), (1, 2))
    assert torch.allclose(bias[:, 0].exp(), torch.tensor([0.75, 0.25]), rtol=5e-6, atol=0)
    assert bias[:, 1].tolist() == [0.0, 0.0]
    assert bias[:, 2].tolist() == [EXCLUDED, EXCLUDED]


def test_overlaps_share_and_edges_fade():
    regions = torch.tensor([[[1.0, 1.0, 0.0, 0.25]], [[0.0, 1.0, 0.0, 0.25]]])
    assert region_weights(regions)[:, 0].tolist() == [[1.0, 0.5, 0.0, 0.25], [0.0, 0.5, 0.0, 0.25]]


def test_grid_is_the_nearest_pixel():
    weights = torch.rand(3, 64, 40)
    grid = on_grid(weights, 8, 5)
    assert grid.shape == (3, 40, 1)
    assert torch.equal(grid[..., 0].unflatten(1, (8, 5)), weights[:, ::8, ::8])
