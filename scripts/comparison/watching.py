"""Who looks at the pictures of a benchmark: a face model, and DINOv2 and CLIP where there are such files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pack.bridge.host import encode
from pack.core.faces import model as faces
from pack.core.faces.model import FaceModel
from pack.core.people import Face
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from .benchmarks import Case
from .judging import TextJudge, embedding_of
from .kept import content_of, state_of
from .photos import image, largest_face
from .seen import Compared, Seen, Table

_REMEMBERED = 4096
"""Reference photos. A benchmark has the same people again in other pictures, and by other methods."""


class Watcher:
    """It looks at pictures.

    vision: a DINOv2 as the host loads it, or None. text: both sides of a CLIP, or None. files: that all of them were
    loaded from.
    """

    def __init__(
        self, face_model: FaceModel, vision: Any = None, text: TextJudge | None = None, files: Sequence[Path] = ()
    ) -> None:
        self.face_model = face_model
        self.vision = vision
        self.text = text
        self.files = files
        self._reference = lru_cache(_REMEMBERED)(self._look_at_reference)
        self._photo = lru_cache(_REMEMBERED)(self._look_at_photo)

    @property
    def names(self) -> list[str]:
        """What looks at pictures."""
        found = list(self.face_model.ids)
        if self.vision is not None:
            found.append("DINOv2")
        if self.text is not None:
            found.append("CLIP")
        return found

    def named_for(self, case: Case) -> list[str]:
        """What looks at the picture of a case, with which files, and beside which photo that it should be like.

        A picture that others have looked at is looked at again.
        """
        names = self.names
        for path in self.files:
            names.append(f"{path.name} {state_of(path)}")
        if case.truth is not None:
            names.append(f"photo {content_of(case.truth)}")
        return names

    def seen(self, case: Case, pixels: Tensor) -> Seen:
        """What is seen of the picture (H, W, 3) of a case. Raises SetupError for a photo without a face."""
        found = faces.faces_in(self.face_model, pixels).faces
        references = [self._reference(photo) for photo in case.photos]
        truth: Sequence[Face] = ()
        if case.truth is not None:
            truth = faces.faces_in(self.face_model, image(case.truth)).faces
        compared: dict[str, Compared] = {}
        for recogniser in self.face_model.ids:
            compared[recogniser] = Compared(
                references=cosines(found, references, recogniser),
                truth=cosines(found, truth, recogniser),
                between=cosines(truth, references, recogniser),
            )
        whole: list[float] = []
        if self.vision is not None:
            of_picture = embedding_of(self.vision, pixels)
            whole = [float(cosine_similarity(of_picture, self._photo(photo))) for photo in case.photos]
        text = None
        if self.text is not None:
            text = encode.text_alignment(*self.text, case.prompt, pixels[None])[0]
        return Seen(len(case.photos), len(found), len(truth), compared, whole, text)

    def _look_at_reference(self, photo: Path) -> Face:
        """The person of a reference photo: its largest face."""
        return largest_face(photo, self.face_model)

    def _look_at_photo(self, photo: Path) -> Tensor:
        """What DINOv2 makes of a whole reference photo, (1, width)."""
        return embedding_of(self.vision, image(photo))


def cosines(rows: Sequence[Face], columns: Sequence[Face], recogniser: str) -> Table:
    """The cosine of each of some faces and each of others by a recogniser."""
    if not rows or not columns:
        return ()
    first = normalize(torch.stack([face.embeddings[recogniser] for face in rows]).double())
    second = normalize(torch.stack([face.embeddings[recogniser] for face in columns]).double())
    return (first @ second.T).tolist()
