"""The second pass on real photos: six friends, found, cut out, pasted back."""

from __future__ import annotations

import pytest
import real_faces
import torch
from pack.core import identities, measure
from pack.core import second_pass as crops
from pack.core.people import Cast, Faces, Person
from pack.core.second_pass import Choice, Crops
from torch import Tensor

MBF = "w600k_mbf"
EVERYBODY = Choice("everybody", 96, 0.4, True, 1.0, 0.2, 0.25, 512)
PHOTO = real_faces.image(real_faces.SIX_FRIENDS)


@pytest.fixture(scope="module")
def friends(faces_of) -> Cast:
    return Cast(tuple(Person(identities.from_faces("x", [face], [MBF])) for face in faces_of(PHOTO[0]).faces))


def decided(image: Tensor, faces: Faces, cast: Cast):
    report = measure.measure([faces], cast, [MBF])
    decisions = crops.decide(crops.candidates(report, [faces])[0], faces, EVERYBODY)
    chosen = tuple(one.crop for one in decisions if one.crop)
    where = Crops(chosen, 1, image.shape[2], image.shape[1], EVERYBODY.size)
    return decisions, where, torch.stack([crops.cut(image[0], crop, EVERYBODY.size) for crop in chosen])


def test_untouched_crops_pasted_back_are_the_photo(faces_of, friends):
    """Enlarged and reduced again, where they are pasted values differ by 0.4 of 255 on average, at edges by 19."""
    _, where, cut = decided(PHOTO, faces_of(PHOTO[0]), friends)
    assert len(where.crops) == 6
    for match in crops.MATCHES[:2]:
        pasted, masks = crops.paste(PHOTO, where, cut, match)
        away = (pasted - PHOTO).abs() * 255
        assert torch.equal(pasted[masks == 0], PHOTO[masks == 0])
        assert away.max() < 20 and away[masks > 0].mean() < 0.5


@pytest.mark.parametrize("turns", [1, 2])
def test_a_photo_on_its_side_gives_the_same_upright_crops(faces_of, friends, turns):
    turned = torch.rot90(PHOTO, turns, (1, 2)).contiguous()
    faces = faces_of(turned[0])
    decisions, where, cut = decided(turned, faces, friends)
    assert {crop.turns for crop in where.crops} == {4 - turns}
    for person, picture in zip(crops.cast_of(decisions, 512).people, cut, strict=True):
        alike = [
            float(identities.similarity(person.identity, MBF, face.embeddings[MBF][None], "test"))
            for face in faces_of(picture).faces
        ]
        assert max(alike) > 0.7
    pasted, masks = crops.paste(turned, where, cut, "none")
    assert torch.equal(pasted[masks == 0], turned[masks == 0]) and (pasted - turned).abs().max() < 20 / 255
