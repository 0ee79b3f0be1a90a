"""The second pass in the real host: everybody in a row of their own, and the way back into the picture.

That a row is the picture of its person by every method: tests/every_method/test_rows.py.
"""

from dataclasses import replace

import pytest
import real_faces
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from crops import MBF, crop, friends_of
from pack.core.cast import Lora, Member, Person, PlacedCast, Slot
from pack.core.checks.errors import BadPhoto
from pack.core.faces.model import faces_in
from pack.core.second_pass.pasting import MATCHES
from pack.nodes import second_pass
from pack.nodes.control_images import DrawSkeletons
from tiny import people_made


@pytest.fixture(scope="module")
def photo():
    return real_faces.image(real_faces.SIX_FRIENDS)


@pytest.fixture(scope="module")
def friends(face_model, photo):
    return friends_of(face_model, photo)


def test_six_people_become_six_rows_and_come_back(face_model, photo, friends):
    """Enlarged and reduced again, where they are pasted values differ by 0.4 of 255 on average, at edges by 17."""
    cropped = crop(face_model, photo, friends, size=512)
    assert cropped["count"] == 6
    assert cropped["crops"].shape == (6, 512, 512, 3)
    assert cropped["masks"].shape == (6, 512, 512)
    assert [person.person.name for person in cropped["cast_by_row"].people] == [f"friend {n}" for n in range(1, 7)]
    assert cropped["preview"].shape == photo.shape
    assert cropped["report"].count("second pass") == 6
    assert DrawSkeletons.execute(cast=cropped["cast_by_row"])[0].shape == (6, 512, 512, 3)
    keypoints = DrawSkeletons.execute(cast=cropped["cast_by_row"], draw="face keypoints")[0]
    assert keypoints.shape == (6, 512, 512, 3)
    assert bool(keypoints.amax((1, 2, 3)).gt(0.9).all())
    for match in MATCHES[:2]:
        pasted, mask = second_pass.PasteFaces.execute(photo, cropped["where"], match, cropped["crops"]).args
        away = (pasted - photo).abs() * 255
        assert torch.equal(pasted[mask == 0], photo[mask == 0])
        assert away.max() < 20
        assert away[mask > 0].mean() < 0.5
    white, _ = second_pass.PasteFaces.execute(photo, cropped["where"], "none", torch.ones(6, 64, 64, 3)).args
    assert white[mask == 1].min() > 0.999


def test_people_by_lora_alone_are_cut_out_in_their_places(face_model, photo):
    """Nobody of the cast has a photo, so nothing is compared. Their LoRAs come along."""
    lora = Lora("a.safetensors", 1.0, "")
    people = []
    for number, face in enumerate(faces_in(face_model, photo[0]).faces, 1):
        person = Person(f"friend {number}", {}, torch.zeros(1, 112, 112, 3), loras=(lora,))
        people.append(Member(person, slot=Slot(face.keypoints[2], face.box, face.keypoints), place=number))
    cropped = crop(face_model, photo, PlacedCast(tuple(people), 1280, 888))
    assert cropped["count"] == 6
    assert cropped["report"].count("no photo to compare with") == 6
    assert [person.person.loras for person in cropped["cast_by_row"].people] == [(lora,)] * 6


def test_who_stands_in_a_place_is_meant_however_unlike(face_model, photo, friends):
    """Whoever looks like nobody of the cast is no stranger there."""
    strange = replace(friends.people[0], person=people_made.a_person(9, recogniser=MBF))
    faces = faces_in(face_model, photo[0]).faces
    slots = [Slot(face.keypoints[2], face.box, face.keypoints) for face in faces]
    standing = zip((strange, *friends.people[1:]), slots, strict=True)
    people = [replace(person, slot=slot, place=place) for place, (person, slot) in enumerate(standing, 1)]
    cropped = crop(face_model, photo, PlacedCast(tuple(people), 1280, 888), who="unlike faces")
    assert cropped["count"] == 1 and "no face found" not in cropped["report"], cropped["report"]


def test_where_nobody_needs_it_nothing_is_asked_for(face_model, photo, friends):
    cropped = crop(face_model, photo, friends, who="unlike faces")
    assert cropped["count"] == 0
    assert all(isinstance(cropped[name], ExecutionBlocker) for name in ("crops", "cast_by_row"))
    paste = second_pass.PasteFaces
    assert paste.check_lazy_status(images=photo, where=cropped["where"], sampled=None) == []
    pasted, mask = paste.execute(photo, cropped["where"], "none").args
    assert torch.equal(pasted, photo)
    assert not mask.any()
    crop_of_friend = crop(face_model, photo, friends.people[0].person)["where"]
    assert paste.check_lazy_status(images=photo, where=crop_of_friend, sampled=None) == ["sampled"]
    assert paste.check_lazy_status(images=photo, where=ExecutionBlocker(None), sampled=None) == []
    with pytest.raises(BadPhoto, match=r"1 crop .*nothing .*sampled"):
        paste.execute(photo, crop_of_friend, "none")
