"""Our IR-SE50 against facexlib's."""

from pathlib import Path

from arcface_seeded import crops, published_state
from pack.core.faces import ir_se50, model
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[1] / "golden" / "arcface_ir_se50.safetensors"


def test_embeddings_equal_facexlib():
    published = published_state(ir_se50.published_shapes())
    ours = model.IRSE50Recogniser(published, "seeded", model.on_cpu).embed([*crops().numpy()])
    assert (ours - load_file(GOLDEN)["embeddings"]).abs().max() <= 1e-6
    assert (ours[0] - ours[1]).abs().max() > 0.01, "the two pictures are told apart"
