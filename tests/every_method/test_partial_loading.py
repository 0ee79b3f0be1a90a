"""With weights that stay where they are and are cast layer by layer: the same picture, bit for bit."""

import itertools

import torch
from host_nodes import novram
from method_rows import ALONE, Row, latents, picture

OFTEN = ALONE


def test_offloaded_it_is_the_same_picture(row: Row) -> None:
    expected = picture(row)
    outputs = {}
    graph = row.sampled(row.node())
    with novram():
        assert torch.equal(latents(graph, outputs), expected)
        patchers = itertools.chain(*outputs.values())
        assert any(getattr(getattr(patcher, "model", None), "model_lowvram", False) for patcher in patchers)
