"""The pictures that come with the pack: faces for the detectors, no two people alike, and known again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import real_faces
import torch
from pack.core import pictures
from pack.core.pictures import as_rgb
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "pictures"
PEOPLE = ("anna", "ben", "carla", "david", "elif", "farid")


def test_people_are_found_and_no_two_are_alike(faces_of):
    def found(name):
        return faces_of(real_faces.image(FOLDER / f"likeness_{name}.png")[0], 112).faces

    rows = [face.embeddings["w600k_mbf"] for name in PEOPLE for face in found(name)]
    assert (len(rows), len(found("two")), len(found("five"))) == (6, 2, 5)
    pairs = itertools.combinations(rows, 2)
    assert max(torch.cosine_similarity(one, other, dim=0).item() for one, other in pairs) < 0.72


def test_they_are_known_again_and_nothing_else_is():
    files = sorted(FOLDER.glob("*.png"))
    assert len(files) > 15 and sum(path.stat().st_size for path in files) < 1_700_000
    for path in files:
        picture = real_faces.image(path)[0]
        assert pictures.is_example(picture) == (path.stem != "likeness_pose"), path.name
        assert not pictures.is_example(picture[1:]), "cut"
        assert not pictures.is_example(picture.flip(1)), "mirrored"
    photo = real_faces.image(real_faces.ASTRONAUT)[0]
    assert not pictures.is_example(photo) and not pictures.is_example(torch.ones(8, 8, 4))
    bytes_of = torch.from_numpy(np.array(Image.open(real_faces.ASTRONAUT).convert("RGBA")))
    drawn = pictures.marked(bytes_of)
    assert (drawn.int() - bytes_of.int()).abs().max() == 1 and torch.equal(drawn[1:], bytes_of[1:])
    assert pictures.reminder([("Anna", as_rgb(drawn / 255)), ("Ben", photo)]) == [
        "Still drawn examples: Anna: choose pictures of your own in Load Image"
    ]
