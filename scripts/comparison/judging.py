"""The judge of people's pictures: what a face model, DINOv2 and CLIP see in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from bench.methods import run
from environment import SetupError
from pack.bridge.host import encode
from pack.core import identities, measure
from pack.core.errors import LikenessError
from pack.core.faces import model as faces
from pack.core.geometry import longer_side
from pack.core.people import Box, Cast, Face, Identity, Person, PlacedCast
from torch import Tensor
from torch.nn.functional import cosine_similarity

from .columns import Judged
from .drafts import Sitting
from .drawing import HOST_NODES
from .formulas import between_people, copied
from .photos import PersonFiles, image, largest_face

SQUARE = 2.0
"""The side of the square that DINOv2 sees of a person, in longer sides of the face's box."""


@dataclass(frozen=True)
class Known:
    """One person as the judge knows them.

    identity: of all photos. faces: the largest one of each photo. photo: the first one, (H, W, 3).
    """

    identity: Identity
    faces: Sequence[Face]
    photo: Tensor


@dataclass(frozen=True)
class PhotoEmbeddings:
    """What DINOv2 makes of the first photo of a person, (1, width) each.

    whole: of all of the photo. square: of the face with its surroundings.
    """

    whole: Tensor
    square: Tensor


class TextJudge(NamedTuple):
    """Both sides of one CLIP."""

    clip: Any
    clip_vision: Any


class Judge:
    """It looks at pictures with a face model, and with DINOv2 and CLIP where there are such files.

    vision: a DINOv2 as the host's CLIP vision loader gives it, or None. text: both sides of a CLIP, or None.
    """

    def __init__(self, face_model: Any, people: Sequence[PersonFiles], vision: Any = None, text: Any = None) -> None:
        self.face_model = face_model
        self.vision = vision
        self.text: TextJudge | None = text
        self.known = {person.name: known_by_photos(person, face_model) for person in people}
        # The photos are the same for all pictures, so DINOv2 looks at them once.
        self._photo_embeddings: dict[str, PhotoEmbeddings] = {}
        if vision is not None:
            for name, person in self.known.items():
                self._photo_embeddings[name] = photo_embeddings(vision, person)

    def judged(
        self, pixels: Tensor, sitting: Sitting, measured_as: str, seconds: float | None, step_seconds: float | None
    ) -> Judged:
        """What is measured of a picture (H, W, 3). measured_as: its method, one of measure.TRAINED_WITH, or "" ."""
        people = [self.known[person.name] for person in sitting.people]
        cast = placed(people, sitting.size)
        names = measure.judges(self.face_model.ids, cast.people, measured_as or "unknown")
        picture_faces = faces.faces_in(self.face_model, pixels)
        report = measure.measure([picture_faces], cast, names, measured_as or "unknown")
        picture = report.judged_pictures[0]
        subjects: list[float | None] = []
        whole: list[float] = []
        if self.vision is not None:
            embedding_of_picture = embedding_of(self.vision, pixels)
            for person, sighting in zip(sitting.people, picture.sightings, strict=True):
                photo = self._photo_embeddings[person.name]
                whole.append(float(cosine_similarity(embedding_of_picture, photo.whole)))
                if sighting.face is None:
                    subjects.append(None)
                    continue
                square = square_around(pixels, picture.boxes[sighting.face])
                subjects.append(float(cosine_similarity(embedding_of(self.vision, square), photo.square)))
        copies: list[float] = []
        for person, sighting in zip(people, picture.sightings, strict=True):
            if sighting.face is not None:
                embedding = picture_faces.faces[sighting.face].embeddings[names[0]]
                photos = [face.embeddings[names[0]] for face in person.faces]
                value = copied(embedding, photos[0], photos[sitting.photos :])
                if value is not None:
                    copies.append(value)
        alignment = None
        if self.text is not None:
            alignment = encode.text_alignment(*self.text, sitting.prompt, pixels[None])[0]
        alike = between_people([person.identity for person in people], names[0])
        return Judged(picture, alike, subjects, whole, copies, alignment, seconds, step_seconds)


def known_by_photos(person: PersonFiles, face_model: Any) -> Known:
    """A person by the largest face of each of their photos. Raises SetupError for a photo without a face."""
    largest: list[Face] = []
    for photo in person.photos:
        largest.append(largest_face(photo, face_model))
    identity = identities.from_faces(person.name, largest, face_model.ids)
    return Known(identity, largest, image(person.photos[0]))


def placed(people: Sequence[Known], size: tuple[int, int]) -> PlacedCast:
    """The people in the places of a prompt of `drafts.people_into`. size: (width, height) of the canvas."""
    cast = Cast(tuple(Person(person.identity) for person in people))
    width, height = size
    (layout, *_) = run("LikenessLayoutForAGroup", count=len(people), framing="half", width=width, height=height)
    return run("LikenessPlaceCast", cast=cast, layout=layout)[0]


def square_around(pixels: Tensor, box: Box) -> Tensor:
    """The square around a box, SQUARE of its longer sides wide, as far as the picture (H, W, 3) reaches."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    half = SQUARE * longer_side(box) / 2
    x = (left + right) / 2
    y = (top + bottom) / 2
    begin_x, end_x = max(0, round(x - half)), min(width, round(x + half))
    begin_y, end_y = max(0, round(y - half)), min(height, round(y + half))
    if end_x - begin_x < 1 or end_y - begin_y < 1:
        return pixels
    return pixels[begin_y:end_y, begin_x:end_x]


def photo_embeddings(vision: Any, person: Known) -> PhotoEmbeddings:
    """What a vision model makes of the first photo of a person."""
    return PhotoEmbeddings(
        whole=embedding_of(vision, person.photo),
        square=embedding_of(vision, square_around(person.photo, person.faces[0].box)),
    )


@torch.no_grad()
def embedding_of(vision: Any, pixels: Tensor) -> Tensor:
    """The embedding of a picture (H, W, 3) by a vision model, (1, width) on the CPU; all of the picture is seen."""
    return vision.encode_image(pixels[None], crop=False)["image_embeds"].float().cpu()


# --- Files of the judge


def dino_in(folder_paths: Any) -> str | None:
    """The name of a DINOv2 file of models/clip_vision that the host's loader reads, None where there is none.

    Told by its keys: the host knows the large and the giant network by their last layers.
    """
    from safetensors import safe_open

    for name in folder_paths.get_filename_list("clip_vision"):
        path = folder_paths.get_full_path("clip_vision", name)
        if path and name.endswith(".safetensors"):
            with safe_open(path, "pt") as file:
                keys = set(file.keys())
            if {"encoder.layer.23.layer_scale2.lambda1", "embeddings.cls_token"} <= keys:
                return name
    return None


def text_judge(checkpoint: str, vision: str) -> TextJudge:
    """Both sides of CLIP, from the files of these names. Raises SetupError where they are no pair."""
    clip = HOST_NODES.CheckpointLoaderSimple().load_checkpoint(checkpoint)[1]
    (clip_vision,) = HOST_NODES.CLIPVisionLoader().load_clip(vision)
    try:
        encode.text_alignment(clip, clip_vision, "a photo", torch.full((1, 64, 64, 3), 0.5))
    except LikenessError as error:
        raise SetupError(error.problem) from error
    return TextJudge(clip, clip_vision)
