"""People of a photo as a cast, and what Crop Faces makes of it."""

from typing import Any

import torch
from attack_graphs import DEFAULTS
from pack.bridge.face_model import FaceModel
from pack.core import identities
from pack.core.faces.model import faces_in
from pack.core.people import Cast, Person
from pack.nodes.second_pass import CropFaces
from torch import Tensor

MBF = "w600k_mbf"
LINKED = ("face_model", "images", "cast", "vae")
WIDGETS = {name: given for name, given in DEFAULTS["LikenessCropFaces"].items() if name not in LINKED}


def friends_of(face_model: FaceModel, photo: Tensor) -> Cast:
    """friend 1, friend 2, ... from left to right."""
    faces = faces_in(face_model, photo[0]).faces
    return Cast(tuple(Person(identities.from_faces(f"friend {n}", [one], [MBF])) for n, one in enumerate(faces, 1)))


def crop(face_model: FaceModel, images: torch.Tensor, people: Any, **changed: Any) -> dict[str, Any]:
    """The outputs of Crop Faces by their ids."""
    made = CropFaces.execute(face_model, images, people, **{**WIDGETS, **changed}).args
    return dict(zip((one.id for one in CropFaces.GET_SCHEMA().outputs), made, strict=True))
