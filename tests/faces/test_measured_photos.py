"""Measured on photos whose people are known: Yao Ming on two of them, six people together and each alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import real_faces
import torch
from pack.core import identities, measure
from pack.core.faces.pictures import to_picture
from pack.core.geometry import area
from pack.core.people import Cast, Faces, Person
from pack.core.places import layouts, placing
from PIL import Image
from rig import photos
from torch import Tensor

MBF = "w600k_mbf"
NAMES = ("Anna", "Ben", "Cleo", "Dan", "Eve", "Finn")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return real_faces.image(real_faces.SIX_FRIENDS)[0]


@pytest.fixture(scope="module")
def friends(faces_of, tmp_path_factory: pytest.TempPathFactory) -> Cast:
    """Six people, each from a photo of their own, from left to right."""
    paths = photos.people(tmp_path_factory.mktemp("people"))
    faces = [faces_of(real_faces.image(path)[0]).faces for path in paths]
    alone = [max(found, key=lambda face: area(face.box)) for found in faces]
    return Cast(tuple(Person(identities.from_faces(n, [f], [MBF])) for n, f in zip(NAMES, alone, strict=True)))


@pytest.fixture(scope="module")
def placed(friends: Cast, photo: Tensor, faces_of) -> Cast:
    """In the places that they have on the photo of all."""
    layout = layouts.from_faces(faces_of(photo), 1280, 888, "stretch", "none")
    return placing.place(friends, layout, placing.assign(friends, layout, "match faces", ""))


def measured(found: Faces, cast: Cast) -> measure.Measured:
    return measure.measure([found], cast, [MBF]).judged[0]


def swapped(image: Tensor, one: tuple[float, ...], other: tuple[float, ...]) -> Tensor:
    """The picture with two faces in each other's place, a margin of half their size around them."""
    pasted = Image.fromarray((image.numpy() * 255).astype(np.uint8))
    boxes = [tuple(round(edge) for edge in grown(box, 0.25)) for box in (one, other)]
    cut = [pasted.crop(box) for box in boxes]
    for box, face in zip(boxes, cut[::-1], strict=True):
        pasted.paste(face.resize((box[2] - box[0], box[3] - box[1])), box[:2])
    return torch.from_numpy(np.array(pasted)).float() / 255


def grown(box: tuple[float, ...], by: float) -> tuple[float, float, float, float]:
    wide, high = by * (box[2] - box[0]), by * (box[3] - box[1])
    return box[0] - wide, box[1] - high, box[2] + wide, box[3] + high


def direct(path: Path) -> np.ndarray:
    """(faces, 512) of length 1, by insightface's own calls."""
    from insightface.model_zoo import get_model
    from insightface.utils.face_align import norm_crop

    detect = get_model(str(real_faces.DETECTOR), providers=["CPUExecutionProvider"])
    embed = get_model(str(real_faces.RECOGNISER), providers=["CPUExecutionProvider"])
    bgr = to_picture(real_faces.image(path)[0])
    _, points = detect.detect(bgr, input_size=(640, 640))
    rows = np.concatenate([embed.get_feat(norm_crop(bgr, landmark)) for landmark in points])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_one_person_of_22_on_another_photo_equals_insightface_called_directly(faces_of) -> None:
    (face,) = faces_of(real_faces.image(real_faces.YAO)[0]).faces
    yao = Cast((Person(identities.from_faces("Yao", [face], [MBF])),))
    one = measured(faces_of(real_faces.image(real_faces.TEAM)[0]), yao)
    own, team = direct(real_faces.YAO), direct(real_faces.TEAM)
    assert (len(one.boxes), len(one.extra), one.missing) == (22, 21, 0)
    assert one.resemblance == pytest.approx(float((team @ own.T).max()), abs=0.01)
    assert one.resemblance > 0.4


def test_strangers_are_seldom_more_alike_than_the_limit() -> None:
    rows = np.concatenate([direct(path) for path in (real_faces.TEAM, real_faces.SIX_FRIENDS, real_faces.ASTRONAUT)])
    alike = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    assert (alike < measure.STRANGER).mean() > 0.95


def test_nobody_of_the_cast_is_there(faces_of, friends: Cast) -> None:
    one = measured(faces_of(real_faces.image(real_faces.ASTRONAUT)[0]), friends)
    assert (one.missing, one.extra, one.resemblance) == (6, (0,), 0)
    assert measured(faces_of(real_faces.image(real_faces.COFFEE)[0]), friends).boxes == ()


CHANGES = {
    "dark": lambda image: image * 0.5,
    "mirrored": lambda image: image.flip(1),
    "half the size": lambda image: image[::2, ::2],
    "cropped": lambda image: image[100:560],
}


@pytest.mark.parametrize("change", CHANGES)
def test_everybody_is_recognised_in_their_own_photo_changed(
    change: str, faces_of, photo: Tensor, friends: Cast
) -> None:
    one = measured(faces_of(CHANGES[change](photo).contiguous()), friends)
    assert (one.missing, one.extra, one.association) == (0, (), 1)
    assert one.weakest > 0.5 and one.leakage < 0.3
    two = measured(faces_of(photo), replace(friends, people=friends.people[1:3]))
    assert (two.missing, len(two.extra), two.association) == (0, 4, 1), "more faces than people"


def test_two_people_pasted_into_each_others_place(faces_of, photo: Tensor, placed: Cast, friends: Cast) -> None:
    found = faces_of(photo)
    one = measured(found, placed)
    assert (one.association, one.missing, one.swapped, one.extra) == (1, 0, 0, ()), "everybody stands in their place"
    left, right = found.faces[0].box, found.faces[-1].box
    changed = faces_of(swapped(photo, left, right))
    report = measure.measure([changed], placed, [MBF])
    assert report.judged[0].association == pytest.approx(4 / 6) and report.judged[0].swapped == 2
    wrong = {report.names[s.person]: report.names[s.looks_like] for s in report.judged[0].sightings if s.swapped}
    (one, other), (a, b) = wrong, wrong.values()
    assert (one, other) == (b, a), "each looks like the other"
    assert measured(changed, friends).association == 1, "all of them are there"


def test_somebody_painted_over_is_missing_and_somebody_pasted_in_is_extra(
    faces_of, photo: Tensor, placed: Cast
) -> None:
    found = faces_of(photo)
    x0, y0, x1, y1 = (round(edge) for edge in grown(found.faces[2].box, 0.5))
    without = photo.clone()
    without[y0:y1, x0:x1] = 0.5
    gone = measure.measure([faces_of(without)], placed, [MBF])
    (missing,) = [seen.person for seen in gone.judged[0].sightings if seen.face is None]
    assert gone.names[missing] == gone.names[placing_at(placed, found.faces[2].box)]
    assert gone.judged[0].association == pytest.approx(5 / 6)

    yao = real_faces.image(real_faces.YAO)[0]
    more = torch.cat([photo, torch.zeros(photo.shape[0], 640, 3)], 1)
    high, wide = min(photo.shape[0], yao.shape[0]), min(640, yao.shape[1])
    more[:high, 1280 : 1280 + wide] = yao[:high, :wide]
    one = measured(faces_of(more), replace(placed, people=tuple(replace(p, slot=None) for p in placed.people)))
    assert (one.missing, one.association, len(one.extra)) == (0, 1, 1)
    assert one.boxes[one.extra[0]][0] > 1280


def placing_at(cast: Cast, box: tuple[float, ...]) -> int:
    """Who was put where this face is."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    apart = [abs(p.slot.center[0] - x) + abs(p.slot.center[1] - y) for p in cast.people if p.slot]
    return apart.index(min(apart))


def test_a_wrong_photo_among_several_harms_the_weighted_mean_less(faces_of):
    """Yao Ming's portrait, the same dark and blurred, and an astronaut; against his face in the team photo."""
    portrait, astronaut = (real_faces.image(path)[0] for path in (real_faces.YAO, real_faces.ASTRONAUT))
    blurred = torch.nn.functional.avg_pool2d(portrait.movedim(-1, 0), 9, 1, 4).movedim(0, -1)
    own = [max(faces_of(image).faces, key=lambda f: f.score) for image in (portrait, portrait**2, blurred)]
    stranger = max(faces_of(astronaut).faces, key=lambda f: f.score)
    team = torch.stack([face.embeddings[MBF] for face in faces_of(real_faces.image(real_faces.TEAM)[0]).faces])
    yao = int(identities.similarity(identities.from_faces("Yao", own, [MBF]), MBF, team, "this test").argmax())

    def resembles(faces, photos: str) -> float:
        joined = identities.combine(identities.from_faces("Yao", faces, [MBF]), MBF, photos, "this test")
        return float(torch.cosine_similarity(joined[0], team[yao], dim=0))

    assert resembles(own, "mean") > 0.5
    assert resembles(own, "weighted mean") > resembles(own, "mean") - 0.01
    assert resembles([*own, stranger], "weighted mean") > resembles([*own, stranger], "mean") + 0.02
