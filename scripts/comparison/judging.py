"""The judge: what a face model, DINOv2 and CLIP see in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bench.unets import run
from environment import SetupError
from pack.bridge.host import encode
from pack.core.cast import Box, Cast, Face, Faces, Member, Person, PlacedCast
from pack.core.checks.errors import LikenessError
from pack.core.faces import model as faces
from pack.core.measure import annotated_picture, comparison, measuring
from pack.core.measure.report import MeasuredPicture
from pack.core.persons import combining
from pack.core.pictures.geometry import longer_side
from shared.photos import pixels as pixels_of
from torch import Tensor
from torch.nn.functional import cosine_similarity

from .drawn import Drawn
from .formulas import between_people, copied
from .host import HOST_NODES
from .judged import Judged
from .photos import PersonFiles, largest_face
from .prompts import Scene

SQUARE = 2.0
"""The side of the square that DINOv2 sees of a person, in longer sides of the face's box."""
_REMEMBERED = 4096
"""Photos. The same people are in other pictures, and by other methods."""


@dataclass(frozen=True)
class Known:
    """One person as the judge knows them.

    person: of all photos. faces: the largest one of each photo.
    """

    person: Person
    faces: Sequence[Face]


class TextJudge(NamedTuple):
    """Both sides of one CLIP."""

    clip: Any
    clip_vision: Any


class Judge:
    """It looks at pictures with a face model, and with DINOv2 and CLIP where there are such files.

    people: whom it looks at first, so that a photo without a face is told before anything is drawn. Raises SetupError
    for one. vision: a DINOv2 as the host's CLIP vision loader gives it, or None. text: both sides of a CLIP, or None.
    """

    def __init__(
        self, face_model: Any, people: Sequence[PersonFiles] = (), vision: Any = None, text: TextJudge | None = None
    ) -> None:
        self.face_model = face_model
        self.vision = vision
        self.text = text
        # Photos are the same for many pictures, so what is seen of each is remembered. These are attributes, not
        # decorators of the methods, so that a judge takes no memory when it is no longer used.
        self._face_of = lru_cache(_REMEMBERED)(self._look_for_face)
        self._embedding_of_photo = lru_cache(_REMEMBERED)(self._look_at_photo)
        self._embedding_of_square = lru_cache(_REMEMBERED)(self._look_at_square)
        self.known = {person.name: self._known_by_photos(person) for person in people}

    # --- What is measured of a picture (H, W, 3)

    def of_people(self, drawn: Drawn, scene: Scene, measured_as: str) -> Judged:
        """People in their places. measured_as: the picture's method, one of measure.TRAINED_WITH, or ""."""
        people = [self.known[person.name] for person in scene.people]
        photos = [person.photos[0] for person in scene.people]
        cast = placed(people, scene.size)
        names = comparison.judges(self.face_model.ids, cast.people, measured_as or "unknown")
        picture_faces = faces.faces_in(self.face_model, drawn.pixels)
        report = measuring.measure([picture_faces], cast, names, measured_as or "unknown")
        picture = report.judged_pictures[0]
        return Judged(
            people=len(people),
            whole=self._whole_like(photos, drawn.pixels),
            text_alignment=self._text_alignment(scene.prompt, drawn.pixels),
            measured=picture,
            alike_in_photos=between_people([person.person for person in people], names[0]),
            subjects=self._subjects_like(photos, picture, drawn.pixels),
            copied=_copies(people, picture_faces, picture, names[0], scene.photos),
            annotated=annotated_picture.annotate(drawn.pixels, report, 0),
            seconds=drawn.seconds,
            step_seconds=drawn.step_seconds,
        )

    # --- What they share

    def _text_alignment(self, prompt: str, pixels: Tensor) -> float | None:
        if self.text is None:
            return None
        return encode.text_alignment(*self.text, prompt, pixels[None])[0]

    def _whole_like(self, photos: Sequence[Path], pixels: Tensor) -> list[float]:
        """DINOv2's cosine of the whole picture and each whole photo."""
        if self.vision is None:
            return []
        of_picture = embedding_of(self.vision, pixels)
        return [float(cosine_similarity(of_picture, self._embedding_of_photo(photo))) for photo in photos]

    def _subjects_like(self, photos: Sequence[Path], picture: MeasuredPicture, pixels: Tensor) -> list[float | None]:
        """DINOv2's cosine of the square around each person's face and that in their photo; None for a missing one."""
        if self.vision is None:
            return []
        subjects: list[float | None] = []
        for photo, sighting in zip(photos, picture.sightings, strict=True):
            if sighting.face is None:
                subjects.append(None)
                continue
            square = embedding_of(self.vision, square_around(pixels, picture.boxes[sighting.face]))
            subjects.append(float(cosine_similarity(square, self._embedding_of_square(photo))))
        return subjects

    def _known_by_photos(self, person: PersonFiles) -> Known:
        """A person by the largest face of each of their photos. Raises SetupError for a photo without a face."""
        largest = [self._face_of(photo) for photo in person.photos]
        return Known(combining.from_faces(person.name, largest, self.face_model.ids), largest)

    def _look_for_face(self, photo: Path) -> Face:
        """The person of a photo: its largest face."""
        return largest_face(photo, self.face_model)

    def _look_at_photo(self, photo: Path) -> Tensor:
        """What DINOv2 makes of a whole photo, (1, width)."""
        return embedding_of(self.vision, pixels_of(photo))

    def _look_at_square(self, photo: Path) -> Tensor:
        """What DINOv2 makes of the face of a photo with its surroundings, (1, width)."""
        return embedding_of(self.vision, square_around(pixels_of(photo), self._face_of(photo).box))


def _copies(people: Sequence[Known], found: Faces, measured: MeasuredPicture, judge: str, used: int) -> list[float]:
    """How much the faces of people are copies of the photo that they were drawn from, see `copied`.

    found: the faces of the picture. used: the first photos of each person that were drawn from; the others are compared
    with. People without a face in the picture, and those without another photo, are left out.
    """
    copies: list[float | None] = []
    for person, sighting in zip(people, measured.sightings, strict=True):
        if sighting.face is not None:
            photos = [face.embeddings[judge] for face in person.faces]
            copies.append(copied(found.faces[sighting.face].embeddings[judge], photos[0], photos[used:]))
    return [value for value in copies if value is not None]


def placed(people: Sequence[Known], size: tuple[int, int]) -> PlacedCast:
    """The people in the places of a prompt of `prompts.people_into`. size: (width, height) of the canvas."""
    cast = Cast(tuple(Member(person.person) for person in people))
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
