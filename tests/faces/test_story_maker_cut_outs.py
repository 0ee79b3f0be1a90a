"""People cut out as StoryMaker's pipeline does it, with OpenCV and Pillow, from their formula."""

import cv2
import numpy as np
import pytest
import torch
from pack.core.parts.parts import Parts, make_part
from pack.nodes.story_maker.bodies import SIDE, cut_out
from PIL import Image
from tiny import people_made

ANNA = people_made.a_member(1)
BEN = people_made.a_member(2)


def photo(seed: int, height: int = 150, width: int = 110) -> torch.Tensor:
    """Smooth, so that a pixel more or less is seen."""
    small = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(seed))
    picture = torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    return (picture.movedim(1, -1) * 255).round() / 255


def blob(height: int = 150, width: int = 110, soft: bool = False) -> torch.Tensor:
    """Two pieces, one of them at the border; their bounds are those of both."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (50, 60), (30, 45), 20, 0, 360, 255, -1)
    cv2.rectangle(mask, (width - 12, 110), (width, 130), 255, -1)
    mask = cv2.GaussianBlur(mask, (9, 9), 0) if soft else mask
    return torch.from_numpy(mask).float()[None] / 255


def published(picture: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """crop_image of the pipeline: bounds, 5x5 blur inside of them, on white, squashed by Pillow."""
    pixels = (picture * 255).round().byte().numpy()
    inside = (mask * 255).round().byte().numpy()
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = np.concatenate(contours)[:, 0]
    left, top = corners.min(0)
    right, below = corners.max(0) + 1
    soft = cv2.GaussianBlur(np.repeat(inside[top:below, left:right, None], 3, 2), (5, 5), 0) / 255.0
    cut = (255 * np.ones_like(soft) * (1 - soft) + soft * pixels[top:below, left:right]).astype(np.uint8)
    return np.array(Image.fromarray(cut).resize((SIDE, SIDE)))


@pytest.mark.parametrize("soft", [False, True])
def test_a_person_is_cut_out_as_published(soft):
    picture = photo(1)
    mask = blob(soft=soft)
    (body,) = cut_out([ANNA], picture, mask)
    pixels = (body.picture * 255).round().numpy()
    expected = published(picture[0], mask[0])
    # Single precision may floor a pixel the other way.
    assert np.abs(pixels - expected).max() <= 1
    assert (pixels != expected).mean() < 1e-3
    assert (pixels[0, -1] == 255).all()
    assert not body.uncut


def test_clothes_without_a_mask_are_squashed_as_they_are():
    picture = photo(2)
    (body,) = cut_out([ANNA], picture, None)
    expected = Image.fromarray((picture[0] * 255).byte().numpy()).resize((SIDE, SIDE))
    assert ((body.picture * 255).round().numpy() == np.array(expected)).all()
    assert body.uncut
    assert [body.weight for body in cut_out([ANNA, BEN], None, None)] == [0, 0], "nothing given does not count"


def test_parts_pictures_and_one_photo_of_all_give_the_same_bodies():
    """In the order of the cast, without those of weight 0."""
    absent = people_made.a_member(3, weight=0.0)
    photos = torch.cat([photo(1), photo(2), photo(3)])
    mask = blob()
    masks = torch.cat([mask, mask * 0, mask.flip(1)])
    expected = [cut_out([ANNA], photo(1), masks[:1])[0].picture, cut_out([ANNA], photo(3), masks[2:])[0].picture]
    weights = (1.0, 0.0, 1.0)
    parts = Parts(tuple(make_part("x", photos[n : n + 1], masks[n], weights[n], None) for n in range(3)))
    people = [ANNA, absent, BEN]
    for bodies in (cut_out(people, photos, masks), cut_out(people, parts, None)):
        for body, picture in zip(bodies, expected, strict=True):
            assert torch.equal(body.picture, picture)
    of_one = cut_out(people, photo(1), masks)
    assert torch.equal(of_one[0].picture, expected[0])
    assert not torch.equal(of_one[1].picture, expected[1])
    together = cut_out([ANNA], photo(1), masks)
    assert torch.equal(together[0].picture, cut_out([ANNA], photo(1), masks.amax(0))[0].picture)
