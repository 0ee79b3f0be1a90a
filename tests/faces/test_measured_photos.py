"""Measured on photos whose people are known: Yao Ming on two of them, and strangers."""

from __future__ import annotations

import real_faces
import torch
from pack.core import identities, measure
from pack.core.people import Cast, Person

MBF = "w600k_mbf"


def test_one_person_of_22_on_another_photo_and_strangers(faces_of) -> None:
    paths = real_faces.YAO, real_faces.TEAM, real_faces.ASTRONAUT, real_faces.SIX_FRIENDS
    alone, team, astronaut, friends = (faces_of(real_faces.image(path)[0]) for path in paths)
    yao = Cast((Person(identities.from_faces("Yao", alone.faces, [MBF])),))
    one, other = measure.measure([team, astronaut], yao, [MBF]).judged
    assert (len(one.boxes), len(one.extra), one.missing) == (22, 21, 0)
    rows = torch.stack([face.embeddings[MBF] for found in (alone, team, astronaut, friends) for face in found.faces])
    units = rows / rows.norm(dim=1, keepdim=True)
    assert (
        abs(one.means["resemblance"] - float((units[1:23] @ units[0]).max())) < 1e-5 and one.means["resemblance"] > 0.4
    )
    assert (other.missing, other.extra, other.means["resemblance"]) == (1, (0,), 0)
    strangers = units[1:]
    alike = (strangers @ strangers.T)[torch.triu_indices(len(strangers), len(strangers), 1).unbind()]
    assert (alike < measure.STRANGER).float().mean() > 0.95
