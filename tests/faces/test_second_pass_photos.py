"""The second pass on a real photo, as it was taken and turned: six friends, found, cut out, pasted back."""

import pytest
import real_faces
import torch
from pack.core import identities, measure
from pack.core import second_pass as crops
from pack.core.people import Cast, Person
from pack.core.second_pass import Choice, Crops

MBF = "w600k_mbf"
EVERYBODY = Choice("everybody", 96, 0.4, True, 1.0, 0.2, 0.25, 512)
PHOTO = real_faces.image(real_faces.SIX_FRIENDS)


@pytest.mark.parametrize("turns", [0, 1])
def test_crops_are_upright_and_pasted_back_untouched_are_the_photo(faces_of, turns):
    """Enlarged and reduced again, where they are pasted values differ by 0.4 of 255 on average, at edges by 19."""
    friends = Cast(tuple(Person(identities.from_faces("x", [face], [MBF])) for face in faces_of(PHOTO[0]).faces))
    photo = torch.rot90(PHOTO, turns, (1, 2)).contiguous()
    faces = faces_of(photo[0])
    decisions = crops.decide(crops.candidates(measure.measure([faces], friends, [MBF]), [faces])[0], faces, EVERYBODY)
    chosen = tuple(one.crop for one in decisions if one.crop)
    where = Crops(chosen, 1, photo.shape[2], photo.shape[1], EVERYBODY.size)
    cut = torch.stack([crops.cut(photo[0], crop, EVERYBODY.size) for crop in chosen])
    assert len(chosen) == 6 and {crop.turns for crop in chosen} == {-turns % 4}
    for match in crops.MATCHES[:2]:
        pasted, masks = crops.paste(photo, where, cut, match)
        away = (pasted - photo).abs() * 255
        assert torch.equal(pasted[masks == 0], photo[masks == 0])
        assert away.max() < 20 and away[masks > 0].mean() < 0.5
