"""The second pass in the real host: everybody in a row of their own, and the way back into the picture.

That a row is the picture of its person by every method: tests/every_method/test_rows.py.
"""

from dataclasses import replace

import pytest
import real_faces
import sample_values
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from crops import MBF, crop, friends_of
from figures import relative
from instant_id_run import sample
from pack.core.cast import Lora, Member, Person, PlacedCast, Slot
from pack.core.checks.errors import BadPhoto
from pack.core.faces.model import faces_in
from pack.core.second_pass.cutting import turned_upright
from pack.core.second_pass.pasting import MATCHES
from pack.nodes import second_pass
from pack.nodes.control_images import DrawSkeletons
from peers import apply
from tiny import people_made, tiny_encoders
from tiny.tiny_networks import LATENT_SCALE


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


def test_everybody_is_drawn_with_their_own_words_and_pasted_back(face_model, photo, friends):
    """By the lines of the first pass, of which one is about somebody who is not cut out."""
    cast = replace(friends, people=(*friends.people[:3], replace(friends.people[0], weight=0.0)))
    cropped = crop(face_model, photo, cast, size=256)
    model = sample_values.sd15()
    clip = tiny_encoders.sd1()
    vae = sample_values.vae()
    sides = sample_values.text(1, 48), sample_values.text(2, 48)
    inputs = {"model": model, "clip": clip, "positive": sides[0], "negative": sides[1], "cast": cropped["cast_by_row"]}
    prompts = "2: smiling\nfriend 3: looking away, in the evening sun\n4: asleep"
    applied = apply("LikenessPromptPerPerson", **inputs, prompts=prompts)
    start = vae.encode(cropped["crops"])
    rows = sample(*applied, steps=1, start=start)
    for row, words in enumerate(("", "smiling", "looking away, in the evening sun")):
        ((context, options),) = sides[0]
        if words:
            context = torch.cat([context, clip.encode_from_tokens(clip.tokenize(words))], dim=1)
        alone = sample(model, [[context, options]], sides[1], steps=1, start=start[row : row + 1])
        assert relative(rows[row : row + 1], alone) <= 2e-5
    sampled = vae.decode(rows / LATENT_SCALE).detach()
    pasted, mask = second_pass.PasteFaces.execute(photo, cropped["where"], "none", sampled).args
    assert torch.equal(pasted[mask == 0], photo[mask == 0])
    for number, cut in enumerate(cropped["where"].crops):
        x0, y0, x1, y1 = cut.square
        inside = cut.mask == 1
        expected = turned_upright(sampled[number], -cut.turns, x1 - x0)
        assert torch.allclose(pasted[0, y0:y1, x0:x1][inside], expected[inside], atol=1e-6)


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
