"""Photos of known people sorted by their faces: as they were taken, and each made worse."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import real_faces
import torch
from pack.core import grouping, measure
from pack.core.faces import analysis
from pack.core.faces.pictures import from_file, to_image
from pack.core.grouping import PhotoFace
from pack.core.people import Faces
from PIL import Image, ImageEnhance, ImageOps

YAO = 14
"""Of the team, from the left, counted from 0."""


def as_jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=20)
    return Image.open(file)


WORSE: tuple[Callable[[Image.Image], Image.Image], ...] = (
    ImageOps.mirror,
    lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    as_jpeg,
    lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    lambda picture: ImageEnhance.Brightness(picture).enhance(1.6),
    lambda picture: picture.rotate(12, expand=True),
)


@pytest.fixture(scope="module")
def seen(faces_of: Callable[..., Faces], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[PhotoFace], list[str]]:
    """Faces, all of each photo, and who they are.

    A group of six, then each of them alone, a team of 22 with Yao Ming at number 15 from the left, and he alone, an
    astronaut and an actor; those who are alone also six times worse.
    """
    people = real_faces.six(tmp_path_factory.mktemp("people"))
    taken = {path: [path.stem] for path in (*people, real_faces.YAO, real_faces.ASTRONAUT, real_faces.TIGHT)}
    taken[real_faces.SIX_FRIENDS] = [path.stem for path in people]
    taken[real_faces.TEAM] = [real_faces.YAO.stem if n == YAO else f"player {n}" for n in range(22)]
    seen: list[PhotoFace] = []
    who: list[str] = []
    for path, names in taken.items():
        picture = Image.fromarray(np.ascontiguousarray(from_file(str(path))[..., ::-1]))
        for change in [lambda same: same, *(WORSE if len(names) == 1 else ())]:
            pixels = np.asarray(change(picture).convert("RGB"))
            found = faces_of(to_image(np.ascontiguousarray(pixels[..., ::-1]))).faces
            found = found if len(names) > 1 else analysis.arrange(found, "largest")[:1]
            photo = seen[-1].photo_number + 1 if seen else 1
            seen += [PhotoFace(photo, n if len(names) > 1 else 0, "", face) for n, face in enumerate(found, 1)]
            who += names
    return seen, who


def test_everybody_is_found_on_all_photos_and_nobody_is_mixed_up(seen: tuple[list[PhotoFace], list[str]]) -> None:
    """At the threshold, and as far around it as docs/dev/measuring.md says; in any order."""
    faces, who = seen
    assert len(faces) == len(who) == 6 + 22 + 9 * 7
    truth = {frozenset(n for n, one in enumerate(who) if one == name) for name in who}
    alike = grouping.similarities([one.face for one in faces])
    allowed = grouping.allowed_pairs(faces, True)
    for same_from in (0.35, grouping.SAME_PERSON, 0.45):
        order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(int(same_from * 100))).tolist()
        found = grouping.clusters(alike[order][:, order], allowed[order][:, order], same_from)
        assert {frozenset(order[n] for n in one) for one in found} == truth
    same = torch.tensor([[one == other for other in who] for one in who])
    assert alike[same].min() > 0.55 and alike[~same].max() < 0.35
    assert (alike[~same] < measure.STRANGER_BELOW).float().mean() > 0.95
