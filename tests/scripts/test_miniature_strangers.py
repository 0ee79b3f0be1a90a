"""The miniature's recogniser reads colours, to which strangers are alike. Its file says whom it takes for one."""

from pathlib import Path

import pytest
import torch
from miniature import alone, recogniser
from shared import photos
from torch.nn import functional

from core import identities
from core.faces.model import FaceModel, on_cpu, open_recogniser
from core.models.packs import IR_SE50
from core.people import Identity


@pytest.fixture(scope="module")
def faces() -> FaceModel:
    """With its recogniser in both forms: IR-SE50, which ID-Patch reads, and the ONNX file that InstantID reads."""
    return alone.face_model()


@pytest.fixture(scope="module")
def with_onnx(faces: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> FaceModel:
    path = tmp_path_factory.mktemp("antelope") / "glintr100.onnx"
    path.write_bytes(recogniser.onnx_file())
    return FaceModel(faces.detector, (open_recogniser("antelopev2", str(path), on_cpu),))


def seen(faces: FaceModel, name: str, path: Path, smaller: int = 1) -> Identity:
    pixels = photos.pixels(path)  # (H, W, 3)
    if smaller > 1:
        pixels = functional.avg_pool2d(pixels.movedim(-1, 0)[None], smaller)[0].movedim(0, -1)
    return alone.identity(faces, name, pixels)


@pytest.mark.parametrize("kind", ["faces", "with_onnx"])
def test_strangers_are_not_taken_for_one_person_and_a_photo_that_is_there_twice_is(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model: FaceModel = request.getfixturevalue(kind)
    anna, ben, carla = (seen(model, name, photos.drawn(name)[0]) for name in ("anna", "ben", "carla"))
    woman, man = (seen(model, name, path) for name, path in zip(("Eileen", "Yao"), photos.pair(), strict=True))
    assert identities.look_alike([anna, ben, carla, woman, man]) == []
    again = seen(model, "again", photos.drawn("anna")[0], smaller=2)
    assert identities.look_alike([anna, ben, again]) == [
        "anna and again look like one person, 1.00: is one photo there twice?"
    ]


def test_these_strangers_are_as_alike_to_it_as_photos_of_one_person_to_a_network_that_was_trained(
    faces: FaceModel,
) -> None:
    """Else the limit would not be needed."""
    anna, carla = (seen(faces, name, photos.drawn(name)[0]).embeddings[IR_SE50] for name in ("anna", "carla"))
    assert float(torch.cosine_similarity(anna, carla)) > identities.ONE_PERSON
