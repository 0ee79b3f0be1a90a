"""The second pass in the real host: everybody in a row of their own, and the way back into the picture."""

from __future__ import annotations

from dataclasses import replace

import instant_id_run
import people_made
import pytest
import real_faces
import tiny_sdxl
import torch
from comfy.samplers import calculate_sigmas
from comfy_execution.graph_utils import ExecutionBlocker
from figures import relative
from instant_id_made import DEFAULTS, person
from pack.bridge import unet
from pack.core import identities
from pack.core.errors import BadCast, BadPhoto
from pack.core.faces.model import faces_in
from pack.core.people import Cast, Layout, Person, PlacedCast, RowCast, Slot
from pack.core.places.layouts import skeleton_around
from pack.core.places.regions import BadRegion
from pack.nodes import measure, second_pass
from pack.nodes import people as people_nodes
from pack.nodes.control_images import FaceKeypointsImage
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchImage
from pack.nodes.instant_id.nodes import ApplyInstantID, load_instant_id
from pack.nodes.places import PersonRegion, PlaceCast, PoseImage
from seeded import instant_id_file

CROP = {
    "who": "everybody", "smaller_than": 96, "less_than": 0.4, "size": 256, "margin": 1.0, "mask_margin": 0.2,
    "feather": 0.25, "not_found": "cut out in their place",
}  # fmt: skip
MBF = "w600k_mbf"
SIZE = 128
PEOPLE = 3
TIGHT = 2e-5
"""Of the largest value: rows of one batch against runs of their own, in float32."""


@pytest.fixture(scope="module")
def networks():
    unet_ = tiny_sdxl.diffusers_unet()
    return tiny_sdxl.host_model(unet_), tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(unet_, 172))


@pytest.fixture(scope="module")
def instant_id(networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("instantid") / "ip-adapter.bin"
    torch.save(instant_id_file([width for *_, width in unet.attention_layers(networks[0])]), path)
    return load_instant_id(str(path))


def slot(n):
    x, y = 50.0 + 9 * n, 60.0 + 5 * n
    points = ((x - 12, y - 10), (x + 12, y - 10), (x, y), (x - 9, y + 12), (x + 9, y + 12))
    return Slot((x, y), (x - 25, y - 30, x + 25, y + 30), points, skeleton_around(points, "half", (SIZE, SIZE)))


def cast(recogniser, count=PEOPLE, kind=RowCast):
    if recogniser == "antelopev2":
        people = [person(f"person {n}", instant_id_run.face(n), slot(n)) for n in range(count)]
    else:
        people = [
            replace(people_made.cast([(0.0, 0.0)], 8, 8).people[0], identity=people_made.identity(n + 1), slot=slot(n))
            for n in range(count)
        ]
    people = [replace(one, weight=1 - 0.2 * n, place=n + 1) for n, one in enumerate(people)]
    return kind(tuple(people), SIZE, SIZE)


def alone(whole, n):
    return PlacedCast(whole.people[n : n + 1], SIZE, SIZE)


def sampled(model, positive, negative, rows=None, batch=PEOPLE):
    """rows: which of the batch's latents, or None for all."""
    start = torch.randn(batch, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(7)) * 14
    sigmas = calculate_sigmas(model.get_model_object("model_sampling"), "normal", 3)
    return tiny_sdxl.host_sample(model, start if rows is None else start[rows], sigmas, positive, negative)


def with_instant_id(networks, instant_id, people, **changed):
    keypoints = FaceKeypointsImage.execute(people)[0]
    texts = [instant_id_run.text(1)], [instant_id_run.text(2)]
    given = {**DEFAULTS, **changed}
    return ApplyInstantID.execute(networks[0], *texts, instant_id, networks[1], people, keypoints, **given).args


def with_id_patch(networks, id_patch, people, **changed):
    skeletons = PoseImage.execute(cast=people)[0]
    image = IDPatchImage.execute(id_patch, people, "mean", skeletons)[0]
    given = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "id_start_percent": 0.2, "photos": "mean"}
    texts = [instant_id_run.text(1)], [instant_id_run.text(2)]
    return networks[0], *ApplyIDPatch.execute(*texts, networks[1], id_patch, people, image, **{**given, **changed}).args


@pytest.mark.parametrize(
    "changed", [{}, {"control_strength": 0.0}, {"adapter_weight": 0.0}], ids=["both", "adapter", "IdentityNet"]
)
def test_instant_id_row_n_is_person_n(networks, instant_id, changed):
    people = cast("antelopev2")
    batch = sampled(*with_instant_id(networks, instant_id, people, **changed))
    rows_are_theirs(people, batch, lambda one: with_instant_id(networks, instant_id, one, **changed))


def test_id_patch_row_n_is_person_n(networks, id_patch):
    people = cast(people_made.RECOGNISER)
    batch = sampled(*with_id_patch(networks, id_patch, people))
    rows_are_theirs(people, batch, lambda one: with_id_patch(networks, id_patch, one))


def rows_are_theirs(people, batch, applied):
    for n in range(PEOPLE):
        single, other = (sampled(*applied(alone(people, who % PEOPLE)), rows=[n]) for who in (n, n + 1))
        assert relative(batch[n : n + 1], single) < TIGHT
        assert relative(batch[n : n + 1], other) > 1e-3


def test_a_latent_of_other_rows_is_refused(networks, instant_id, id_patch):
    people = cast("antelopev2")
    for changed in ({}, {"control_strength": 0.0}):
        with pytest.raises(BadCast, match=r"latent has 1 row .*Apply InstantID.* 3 people"):
            sampled(*with_instant_id(networks, instant_id, people, **changed), batch=1)
    with pytest.raises(BadCast, match=r"latent has 4 rows .*Apply ID-Patch.* 3 people"):
        sampled(*with_id_patch(networks, id_patch, cast(people_made.RECOGNISER)), batch=4)


def test_images_of_other_rows_are_refused(networks, instant_id, id_patch):
    people = cast("antelopev2")
    texts = [instant_id_run.text(1)], [instant_id_run.text(2)]
    keypoints = FaceKeypointsImage.execute(people)[0]
    with pytest.raises(BadCast, match="The keypoints image has 2 rows"):
        ApplyInstantID.execute(networks[0], *texts, instant_id, networks[1], people, keypoints[:2], **DEFAULTS)
    with pytest.raises(BadRegion, match="each person has a picture of their own"):
        ApplyInstantID.execute(
            networks[0], *texts, instant_id, networks[1], people, keypoints, **DEFAULTS, mask=torch.ones(3, SIZE, SIZE)
        )
    people = cast(people_made.RECOGNISER)
    with pytest.raises(BadCast, match=r"image has 2 rows .*ID-Patch Condition Image 3 people"):
        IDPatchImage.execute(id_patch, people, "mean", torch.zeros(2, SIZE, SIZE, 3))


def test_rows_that_others_take_apart_stay_whose_they_are(networks, instant_id):
    """A function of another pack that hands the UNet one row at a time."""
    model, *sides = with_instant_id(networks, instant_id, cast("antelopev2"))
    whole, cut = sampled(model, *sides), model.clone()
    cut.set_model_unet_function_wrapper(row_by_row)
    assert relative(sampled(cut, *sides), whole) < TIGHT


def row_by_row(apply, given):
    def rows(value, n):
        if isinstance(value, dict):
            return {key: rows(one, n) for key, one in value.items()}
        if isinstance(value, list):
            return [rows(one, n) for one in value]
        return value[n : n + 1] if isinstance(value, torch.Tensor) and len(value) == len(given["input"]) else value

    parts = [[rows(given[key], n) for key in ("input", "timestep", "c")] for n in range(len(given["input"]))]
    return torch.cat([apply(x, t, **c) for x, t, c in parts])


# The nodes, on a real photo


@pytest.fixture(scope="module")
def photo():
    return real_faces.image(real_faces.SIX_FRIENDS)


@pytest.fixture(scope="module")
def friends(face_model, photo):
    faces = faces_in(face_model, photo[0]).faces
    return Cast(tuple(Person(identities.from_faces(f"friend {n}", [f], [MBF])) for n, f in enumerate(faces, 1)))


def crop(face_model, images, people, **changed):
    made = second_pass.CropFaces.execute(face_model, images, people, **{**CROP, **changed})
    return dict(zip((one.id for one in second_pass.CropFaces.GET_SCHEMA().outputs), made.args, strict=True))


def test_six_people_become_six_rows_and_come_back(face_model, photo, friends):
    made = crop(face_model, photo, friends)
    assert made["count"] == 6 and made["crops"].shape == (6, 256, 256, 3) and made["masks"].shape == (6, 256, 256)
    assert [person.identity.name for person in made["cast_by_row"].people] == [f"friend {n}" for n in range(1, 7)]
    assert made["preview"].shape == photo.shape and made["report"].count("second pass") == 6
    assert PoseImage.execute(cast=made["cast_by_row"])[0].shape == (6, 256, 256, 3)
    keypoints = FaceKeypointsImage.execute(made["cast_by_row"])[0]
    assert keypoints.shape == (6, 256, 256, 3) and bool(keypoints.amax((1, 2, 3)).gt(0.9).all())
    pasted, mask = second_pass.PasteFaces.execute(photo, made["where"], "none", made["crops"]).args
    assert torch.equal(pasted[mask == 0], photo[mask == 0]) and (pasted - photo).abs().mean() < 0.005
    white, _ = second_pass.PasteFaces.execute(photo, made["where"], "none", torch.ones(6, 64, 64, 3)).args
    assert white[mask == 1].min() > 0.999


def test_who_stands_in_a_place_is_meant_however_unlike(face_model, photo, friends):
    """Whoever looks like nobody of the cast is no stranger there."""
    strange = replace(friends.people[0], identity=people_made.identity(9, recogniser=MBF))
    faces = faces_in(face_model, photo[0]).faces
    slots = [Slot(face.keypoints[2], face.box, face.keypoints) for face in faces]
    standing = zip((strange, *friends.people[1:]), slots, strict=True)
    people = [replace(person, slot=at, place=place) for place, (person, at) in enumerate(standing, 1)]
    made = crop(face_model, photo, PlacedCast(tuple(people), 1280, 888), who="unlike faces")
    assert made["count"] == 1 and "no face found" not in made["report"], made["report"]


def test_every_picture_of_a_batch_has_its_rows(face_model, photo, friends):
    one = crop(face_model, photo, friends.people[2].identity)
    assert one["count"] == 1 and one["report"].startswith("friend 3: face ")
    two = crop(face_model, torch.cat([photo, photo.flip(2)]), replace(friends, people=friends.people[:2]))
    assert [one.picture for one in two["where"].crops] == [0, 0, 1, 1] and two["report"].startswith("Picture 1: ")
    assert len(two["cast_by_row"].people) == 4


def test_where_nobody_needs_it_nothing_is_asked_for(face_model, photo, friends):
    made = crop(face_model, photo, friends, who="unlike faces")
    assert made["count"] == 0 and all(isinstance(made[name], ExecutionBlocker) for name in ("crops", "cast_by_row"))
    paste = second_pass.PasteFaces
    assert paste.check_lazy_status(images=photo, where=made["where"], sampled=None) == []
    pasted, mask = paste.execute(photo, made["where"], "none").args
    assert torch.equal(pasted, photo) and not mask.any()
    wanted = crop(face_model, photo, friends.people[0].identity)["where"]
    assert paste.check_lazy_status(images=photo, where=wanted, sampled=None) == ["sampled"]
    assert paste.check_lazy_status(images=photo, where=ExecutionBlocker(None), sampled=None) == []
    with pytest.raises(BadPhoto, match=r"1 crop .*nothing .*sampled"):
        paste.execute(photo, wanted, "none")


def test_nodes_of_one_picture_refuse_a_cast_of_rows(face_model, photo):
    by_row, layout = cast(MBF), Layout(SIZE, SIZE, (slot(0),))
    for run in (
        lambda: crop(face_model, photo, by_row),
        lambda: PlaceCast.execute(by_row, layout, "as listed", ""),
        lambda: PersonRegion.execute(by_row, 1, "face", 0.2, 8),
        lambda: people_nodes.Cast.execute(cast=by_row),
        lambda: measure.Measure.execute(
            face_model, photo, cast=by_row, made_with="unknown", stranger_below=0.2, min_size=0
        ),
    ):
        with pytest.raises(BadCast, match=r"Crop Faces: .*picture of their own"):
            run()
