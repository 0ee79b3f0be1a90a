"""Measured on photos whose people are known: Yao Ming on two of them, and strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import real_faces
from insightface.model_zoo import get_model
from insightface.utils.face_align import norm_crop
from pack.core import identities, measure
from pack.core.people import Cast, Faces, Person

MBF = "w600k_mbf"


def measured(found: Faces, cast: Cast) -> measure.Measured:
    return measure.measure([found], cast, [MBF]).judged[0]


def direct(path: Path) -> np.ndarray:
    """(faces, 512) of length 1, by insightface's own calls."""
    detect = get_model(str(real_faces.DETECTOR), providers=["CPUExecutionProvider"])
    embed = get_model(str(real_faces.RECOGNISER), providers=["CPUExecutionProvider"])
    bgr = real_faces.picture(path)
    _, points = detect.detect(bgr, input_size=(640, 640))
    rows = np.concatenate([embed.get_feat(norm_crop(bgr, landmark)) for landmark in points])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_one_person_of_22_on_another_photo_equals_insightface_called_directly(faces_of) -> None:
    (face,) = faces_of(real_faces.image(real_faces.YAO)[0]).faces
    yao = Cast((Person(identities.from_faces("Yao", [face], [MBF])),))
    one = measured(faces_of(real_faces.image(real_faces.TEAM)[0]), yao)
    own, team = direct(real_faces.YAO), direct(real_faces.TEAM)
    assert (len(one.boxes), len(one.extra), one.missing) == (22, 21, 0)
    assert one.means["resemblance"] == pytest.approx(float((team @ own.T).max()), abs=0.01)
    assert one.means["resemblance"] > 0.4
    other = measured(faces_of(real_faces.image(real_faces.ASTRONAUT)[0]), yao)
    assert (other.missing, other.extra, other.means["resemblance"]) == (1, (0,), 0)


def test_strangers_are_seldom_more_alike_than_the_limit() -> None:
    rows = np.concatenate([direct(path) for path in (real_faces.TEAM, real_faces.SIX_FRIENDS, real_faces.ASTRONAUT)])
    alike = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    assert (alike < measure.STRANGER).mean() > 0.95
