"""People of a photo as a cast, and what Crop Faces makes of it."""

from typing import Any

import torch
from graphs import DEFAULTS
from pack.bridge.people.face_model import HostedFaceModel
from pack.core.cast import Cast, Member
from pack.core.faces.model import faces_in
from pack.core.persons import combining
from pack.nodes.second_pass import CropFaces
from torch import Tensor

MBF = "w600k_mbf"
LINKED = ("face_model", "images", "cast", "vae")
WIDGETS = {name: default for name, default in DEFAULTS["LikenessCropFaces"].items() if name not in LINKED}


def friends_of(face_model: HostedFaceModel, photo: Tensor) -> Cast:
    """friend 1, friend 2, ... from left to right."""
    faces = faces_in(face_model, photo[0]).faces
    friends = [combining.from_faces(f"friend {n}", [face], [MBF]) for n, face in enumerate(faces, 1)]
    return Cast(tuple(map(Member, friends)))


def crop(face_model: HostedFaceModel, images: torch.Tensor, people: Any, **changed: Any) -> dict[str, Any]:
    """The outputs of Crop Faces by their ids."""
    values = CropFaces.execute(face_model, images, people, **{**WIDGETS, **changed}).args
    names = [output.id for output in CropFaces.GET_SCHEMA().outputs]
    return dict(zip(names, values, strict=True))
