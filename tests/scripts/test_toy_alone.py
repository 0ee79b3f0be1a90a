"""The toy model itself, without a host: its files, whom its recogniser takes for one person, and association."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from environment import SetupError
from shared import photos
from shared.shapes import of
from torch.nn import functional
from toy import alone, export, measure, recogniser, stored

from core.cast import Person
from core.faces.model import FaceModel, on_cpu, open_recogniser
from core.models.tensors import below
from core.persons import lookalikes


@pytest.mark.parametrize("damaged", [lambda data: data[:-9], lambda data: data.replace(b'"scales"', b'"scalez"')])
def test_a_damaged_file_is_named(
    damaged: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "sharing.safetensors"
    broken.write_bytes(damaged(stored.FILES["sharing"].read_bytes()))
    monkeypatch.setitem(stored.FILES, "sharing", broken)
    with pytest.raises(SetupError, match=f"{broken}.*git checkout"):
        stored.load()


def test_a_wider_layer_says_the_same_more_often() -> None:
    """The rule behind every widened weight, on a convolution: repeated channels in, the same repeated channels out."""
    small = torch.nn.Conv2d(8, 4, 3, padding=1)
    large = torch.nn.Conv2d(40, 20, 3, padding=1)
    shapes = ((key, tuple(weight.shape)) for key, weight in large.state_dict().items())
    large.load_state_dict(export.widened(small.state_dict(), shapes))
    x = torch.randn(1, 8, 6, 6)
    assert torch.allclose(large(x.repeat_interleave(5, 1)), small(x).repeat_interleave(5, 1), atol=1e-5)
    wide = export.widened(below("control.", stored.load().state_dict()), of("controlnet"))
    assert {key: tuple(weight.shape) for key, weight in wide.items()} == dict(of("controlnet"))


@pytest.fixture(scope="module")
def faces() -> FaceModel:
    """With its recogniser in both forms: IR-SE50, which ID-Patch reads, and the ONNX file that InstantID reads."""
    return alone.face_model()


@pytest.fixture(scope="module")
def with_onnx(faces: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> FaceModel:
    path = tmp_path_factory.mktemp("antelope") / "glintr100.onnx"
    path.write_bytes(recogniser.onnx_file())
    return FaceModel(faces.detector, (open_recogniser("antelopev2", str(path), on_cpu, None),))


def seen(faces: FaceModel, name: str, path: Path, smaller: int = 1) -> Person:
    pixels = photos.pixels(path)  # (H, W, 3)
    if smaller > 1:
        pixels = functional.avg_pool2d(pixels.movedim(-1, 0)[None], smaller)[0].movedim(0, -1)
    return alone.a_person(faces, name, pixels)


@pytest.mark.parametrize("kind", ["faces", "with_onnx"])
def test_strangers_are_not_taken_for_one_person_and_a_photo_that_is_there_twice_is(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model: FaceModel = request.getfixturevalue(kind)
    anna, ben, carla = (seen(model, name, photos.drawn(name)[0]) for name in ("anna", "ben", "carla"))
    woman, man = (seen(model, name, path) for name, path in zip(("Eileen", "Yao"), photos.pair(), strict=True))
    assert lookalikes.look_alike([anna, ben, carla, woman, man]) == []
    again = seen(model, "again", photos.drawn("anna")[0], smaller=2)
    assert lookalikes.look_alike([anna, ben, again]) == [
        "anna and again look like one person, 1.00: is one photo there twice?"
    ]


def test_the_two_recognisers_do_not_see_the_same(faces: FaceModel, with_onnx: FaceModel) -> None:
    """Else the one that judges a picture would say what the one says that guided it."""
    cosines: list[float] = []
    for model in (faces, with_onnx):
        anna, ben = (seen(model, name, photos.drawn(name)[0]) for name in ("anna", "ben"))
        (one,), (other,) = anna.embeddings.values(), ben.embeddings.values()
        cosines.append(float(functional.cosine_similarity(one, other)))
    assert abs(cosines[0] - cosines[1]) > 0.02, cosines


@pytest.mark.parametrize("people", [2, 3, 4, 8])
def test_association_is_the_share_of_places_that_look_most_like_who_belongs_there(people: int) -> None:
    """In two of five pictures the first two people are exchanged, so two places of each of these are wrong. A place
    where nothing is seen is wrong too, and a person alone is in no place of others."""
    pictures: list[measure.Seen] = []
    for number in range(5):
        meant = torch.rand(people, 9, generator=torch.Generator().manual_seed(number))
        found = meant.clone()
        if number < 2:
            found[[0, 1]] = meant[[1, 0]]
        pictures.append(measure.Seen(found, meant))
    assert measure.association(pictures) == pytest.approx(1 - 4 / (5 * people), rel=1e-12)
    alone = measure.Seen(torch.zeros(1, 9), torch.ones(1, 9))
    assert measure.association([*pictures, alone]) == measure.association(pictures)
    assert math.isnan(measure.association([alone]))
    pictures[4].found[0] = torch.nan
    assert measure.association(pictures) == pytest.approx(1 - 5 / (5 * people), rel=1e-12)
