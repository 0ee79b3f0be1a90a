"""Our IR-SE50 against facexlib's, and the explanation of files that are not quite it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from arcface_seeded import crops, published_state
from pack.core.errors import UnsupportedCheckpoint
from pack.core.faces import ir_se50
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[1] / "golden" / "arcface_ir_se50.safetensors"


@pytest.fixture(scope="module")
def published():
    return published_state(ir_se50.published_shapes())


def test_embeddings_equal_facexlib(published):
    network = ir_se50.IRSE50(torch.nn)
    network.load_state_dict(ir_se50.fold(published, "seeded"), strict=True)
    with torch.inference_mode():
        ours = network.eval()(ir_se50.prepare(crops()))
    theirs = load_file(GOLDEN)["embeddings"]
    assert (ours - theirs).abs().max() <= 1e-6
    assert torch.allclose(ours.norm(dim=1), torch.ones(2))
    assert (ours[0] - ours[1]).abs().max() > 0.01  # the two pictures are told apart


def test_missing_tensor_is_named(published):
    state = {key: value for key, value in published.items() if key != "body.7.res_layer.5.fc1.weight"}
    with pytest.raises(UnsupportedCheckpoint, match=r"net\.pth .*body\.7\.res_layer\.5\.fc1"):
        ir_se50.fold(state, "net.pth")


def test_wrong_shape_is_named(published):
    state = {**published, "output_layer.3.weight": torch.zeros(512, 100)}
    with pytest.raises(UnsupportedCheckpoint, match=r"\(512, 100\) .*layer\.3\.weight.* 25088\)"):
        ir_se50.fold(state, "net.pth")
