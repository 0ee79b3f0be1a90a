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
    assert (ours - load_file(GOLDEN)["embeddings"]).abs().max() <= 1e-6
    assert (ours[0] - ours[1]).abs().max() > 0.01, "the two pictures are told apart"


def test_a_missing_tensor_and_a_wrong_shape_are_named(published):
    for key, found, words in (
        ("body.7.res_layer.5.fc1.weight", {}, r"net\.pth .*body\.7\.res_layer\.5\.fc1"),
        ("output_layer.3.weight", torch.zeros(512, 100), r"\(512, 100\) .*layer\.3\.weight.* 25088\)"),
    ):
        rest = {name: value for name, value in published.items() if name != key}
        with pytest.raises(UnsupportedCheckpoint, match=words):
            ir_se50.fold({**rest, **({key: found} if len(found) else {})}, "net.pth")
