"""The pictures that come with the pack are known again."""

from pathlib import Path

import real_faces
import torch
from pack.core.pictures import tensors

FOLDER = Path(__file__).resolve().parents[2] / "pictures"
PEOPLE = ("anna", "ben", "carla", "david", "elif", "farid")


def test_they_are_known_again_and_nothing_else_is():
    files = sorted(FOLDER.glob("*.png"))
    assert {f"likeness_{name}" for name in PEOPLE} < {path.stem for path in files}
    assert sum(path.stat().st_size for path in files) < 2_000_000
    for path in files:
        picture = real_faces.image(path)[0]
        assert tensors.is_example(picture), path.name
        assert not tensors.is_example(picture[1:]), "cut"
        assert not tensors.is_example(picture.flip(1)), "mirrored"
    anna = real_faces.image(FOLDER / "likeness_anna.png")[0]
    photo = real_faces.image(real_faces.ASTRONAUT)[0]
    assert not tensors.is_example(photo)
    assert not tensors.is_example(torch.ones(8, 8, 4))
    (reminder,) = tensors.reminder([("Anna", anna), ("Ben", photo)])
    assert reminder == "Still drawn examples: Anna: choose your own pictures"


def test_the_drawn_people_are_six_and_no_two_are_alike(faces_of):
    """Anna and Elif, and Ben and Farid, are nearest, with 0.65."""
    faces_of_pictures = [faces_of(real_faces.image(FOLDER / f"likeness_{name}.png")[0]).faces for name in PEOPLE]
    assert {len(faces) for faces in faces_of_pictures} == {1}
    rows = torch.stack([face.embeddings["w600k_mbf"] for (face,) in faces_of_pictures])
    alike = torch.cosine_similarity(rows[:, None], rows[None], dim=-1) - torch.eye(len(PEOPLE))
    assert alike.max() < 0.67
