"""Photos of known people sorted by their faces: as they were taken, and each made worse."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import real_faces
import torch
from pack.core.cast import Faces
from pack.core.faces import analysis
from pack.core.faces.pictures import from_file, to_image
from pack.core.grouping.clusters import SAME_PERSON, allowed_pairs, clusters, similarities
from pack.core.grouping.photo_faces import PhotoFace
from pack.core.measure import measuring
from pack.core.persons import lookalikes
from PIL import Image, ImageEnhance, ImageOps

YAO = 14
"""Of the team, from the left, counted from 0."""


def as_jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=20)
    return Image.open(file)


WORSE: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    lambda picture: picture.rotate(12, expand=True),
    ImageOps.mirror,
    as_jpeg,
    lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    lambda picture: ImageEnhance.Brightness(picture).enhance(1.6),
)


def named_faces(
    faces_of: Callable[..., Faces], worse: Sequence[Callable[[Image.Image], Image.Image]], folder: Path
) -> tuple[list[PhotoFace], list[str]]:
    """Faces, all of each photo, and who they are.

    A group of six, then each of them alone, a team of 22 with Yao Ming at number 15 from the left, and he alone, an
    astronaut and an actor; those who are alone also made worse in each of these ways.
    """
    people = real_faces.six(folder)
    names_on = {path: [path.stem] for path in (*people, real_faces.YAO, real_faces.ASTRONAUT, real_faces.TIGHT)}
    names_on[real_faces.SIX_FRIENDS] = [path.stem for path in people]
    names_on[real_faces.TEAM] = [real_faces.YAO.stem if n == YAO else f"player {n}" for n in range(22)]
    photo_faces: list[PhotoFace] = []
    names_of_faces: list[str] = []
    photo_number = 0
    for path, names in names_on.items():
        picture = Image.fromarray(from_file(str(path)))
        is_group = len(names) > 1
        photos = [picture]
        if not is_group:
            photos += [change(picture) for change in worse]
        for photo in photos:
            photo_number += 1
            faces = faces_of(to_image(np.asarray(photo.convert("RGB")))).faces
            if not is_group:
                faces = analysis.arrange(faces, "largest")[:1]
            for number, face in enumerate(faces, 1):
                photo_faces.append(PhotoFace(photo_number, number if is_group else 0, "", face))
            names_of_faces += names
    return photo_faces, names_of_faces


@pytest.mark.parametrize("ways", [2, pytest.param(len(WORSE), marks=pytest.mark.thorough)])
def test_everybody_is_found_on_all_photos_and_nobody_is_mixed_up(
    faces_of: Callable[..., Faces], ways: int, tmp_path: Path
) -> None:
    """At the threshold, and as far around it as docs/dev/measuring.md says; in any order."""
    faces, names = named_faces(faces_of, WORSE[:ways], tmp_path)
    assert len(faces) == len(names) == 6 + 22 + 9 * (1 + ways)
    numbers = torch.tensor([names.index(name) for name in names])
    same = numbers[:, None] == numbers[None]
    truth = {frozenset(row.nonzero().flatten().tolist()) for row in same}
    alike = similarities([photo_face.face for photo_face in faces])
    allowed = allowed_pairs(faces, True)
    for same_from in (0.35, SAME_PERSON, 0.45):
        order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(int(same_from * 100))).tolist()
        groups = set()
        for cluster in clusters(alike[order][:, order], allowed[order][:, order], same_from):
            groups.add(frozenset(order[row] for row in cluster))
        assert groups == truth
    assert alike[same].min() > 0.55
    assert alike[~same].max() < lookalikes.KIN
    assert (alike[~same] < measuring.STRANGER_BELOW).float().mean() > 0.95
