"""Our IR-SE50 against facexlib's."""

from pathlib import Path

from arcface_seeded import crops, published_state
from pack.core.faces import ir_se50, model
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[1] / "golden" / "arcface_ir_se50.safetensors"


def test_embeddings_equal_facexlib():
    weights = published_state(ir_se50.published_shapes())
    embeddings = model.IRSE50Recogniser(weights, "seeded", model.on_cpu).embed([*crops().flip(-1).numpy()])
    assert (embeddings - load_file(GOLDEN)["embeddings"]).abs().max() <= 1e-6
    assert (embeddings[0] - embeddings[1]).abs().max() > 0.01, "the two pictures are told apart"
