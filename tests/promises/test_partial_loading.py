"""With weights that stay where they are and are cast layer by layer: the same picture, bit for bit."""

import torch
from host_nodes import novram
from promised import Row, latents, picture


def test_offloaded_it_is_the_same_picture(row: Row) -> None:
    whole = picture(row)
    made = {}
    graph = row.sampled(row.node())
    with novram():
        assert torch.equal(latents(graph, made), whole)
        models = (getattr(out, "model", None) for given in made.values() for out in given)
        assert any(getattr(model, "model_lowvram", False) for model in models)
