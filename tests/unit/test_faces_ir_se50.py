"""Our IR-SE50 against facexlib's."""

from __future__ import annotations

from pathlib import Path

import torch
from arcface_seeded import crops, published_state
from pack.core.faces import ir_se50
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[1] / "golden" / "arcface_ir_se50.safetensors"


def test_embeddings_equal_facexlib():
    published = published_state(ir_se50.published_shapes())
    network = ir_se50.IRSE50(torch.nn)
    network.load_state_dict(ir_se50.fold(published, "seeded"), strict=True)
    with torch.inference_mode():
        ours = network.eval()(ir_se50.prepare(crops()))
    assert (ours - load_file(GOLDEN)["embeddings"]).abs().max() <= 1e-6
    assert (ours[0] - ours[1]).abs().max() > 0.01, "the two pictures are told apart"
