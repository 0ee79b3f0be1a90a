"""Who judges the pictures of compare.py --people: by faces, and by DINOv2, of photos side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import family_encoders
import folder_paths
import numpy as np
import pytest
import real_faces
import torch
from comparison.columns import figures
from comparison.drawn import Drawn
from comparison.judged import Judged
from comparison.judging import Judge, Known, dino_in
from comparison.photos import PersonFiles
from comparison.prompts import Scene
from pack.core.cast import Member, PlacedCast, Slot
from pack.core.faces.model import FaceModel
from PIL import Image
from safetensors.torch import save_file
from shared.photos import pixels as pixels_of
from torch import Tensor

YAO, EILEEN = PersonFiles("Yao", (real_faces.YAO,)), PersonFiles("Eileen", (real_faces.ASTRONAUT,))
SIDE = 512


@pytest.fixture(scope="module")
def judge() -> Judge:
    """It knows two people by a photo each, and has a small DINOv2."""
    model = FaceModel(real_faces.detector(), (real_faces.recogniser(),))
    return Judge(model, [YAO, EILEEN], family_encoders.dinov2())


def beside(*paths: Path) -> Tensor:
    """(SIDE, paths * SIDE, 3): photos side by side."""
    both = Image.new("RGB", (SIDE * len(paths), SIDE))
    for number, path in enumerate(paths):
        both.paste(Image.open(path).convert("RGB").resize((SIDE, SIDE)), (SIDE * number, 0))
    return torch.from_numpy(np.array(both)).float() / 255


def of_pixels(pixels: Tensor, seconds: float | None = None, step_seconds: float | None = None) -> Drawn:
    return Drawn(Path("a.png"), pixels, seconds, step_seconds)


def scene_of(*people: PersonFiles) -> Scene:
    size = (SIDE * len(people), SIDE)
    return Scene(people, 1, 1, "two people", size, None, "antelopev2", real_faces.YAO.parent)


@pytest.fixture
def at_noses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places are where the noses of both photos are."""
    from comparison import judging

    def placed(known: Sequence[Known], size: tuple[int, int]) -> PlacedCast:
        people: list[Member] = []
        for number, person in enumerate(known):
            people.append(Member(person.person, 1.0, Slot((SIDE * number + 219.0, 130.0)), number + 1))
        return PlacedCast(tuple(people), *size)

    monkeypatch.setattr(judging, "placed", placed)


@pytest.fixture(scope="module")
def judged(judge: Judge) -> Callable[..., Judged]:
    """judged(left, right): of photos side by side, as a picture of Yao and Eileen."""

    def of_photos(*paths: Path, seconds: float | None = None, step_seconds: float | None = None) -> Judged:
        return judge.of_people(of_pixels(beside(*paths), seconds, step_seconds), scene_of(YAO, EILEEN), "")

    return of_photos


@pytest.mark.usefixtures("at_noses")
def test_figures_of_several_pictures_are_means(judged: Callable[..., Judged]) -> None:
    right = judged(real_faces.YAO, real_faces.ASTRONAUT, seconds=1.0, step_seconds=0.5)
    exchanged = judged(real_faces.ASTRONAUT, real_faces.YAO)
    nobody = judged(real_faces.COFFEE, real_faces.COFFEE)
    said = figures([right, right, nobody, exchanged])
    assert said["missing"] == 0.25 and said["swapped"] == 0.25 and said["association"] == 0.5
    assert said["seconds"] == 1.0 and said["per step"] == 0.5
    assert nobody.subjects == [None, None] and figures([nobody])["collapse"] == 1


def similarity(picture: Tensor, other: Tensor) -> float:
    """By the host's own DINOv2."""
    first, second = (
        family_encoders.dinov2().encode_image(pixels[None], crop=False)["image_embeds"][0].double()
        for pixels in (picture, other)
    )
    return float(first @ second / first.norm() / second.norm())


def around(picture: Tensor, box: Sequence[float]) -> Tensor:
    """The square of twice the side of a face."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    rows, columns = slice(max(0, round(y - half)), round(y + half)), slice(max(0, round(x - half)), round(x + half))
    return picture[rows, columns]


@pytest.mark.usefixtures("at_noses")
def test_dinov2_sees_each_person_and_the_whole_picture(judge: Judge, judged: Callable[..., Judged]) -> None:
    pixels = beside(real_faces.YAO, real_faces.ASTRONAUT)
    right = judged(real_faces.YAO, real_faces.ASTRONAUT)
    for number, person in enumerate((YAO, EILEEN)):
        photo = pixels_of(person.photos[0])
        face = right.measured.sightings[number].face
        assert face is not None
        seen, known = around(pixels, right.measured.boxes[face]), around(photo, judge.known[person.name].faces[0].box)
        assert right.subjects[number] == pytest.approx(similarity(seen, known), rel=5e-6)
        assert right.whole[number] == pytest.approx(similarity(pixels, photo), rel=5e-6)
    assert right.subjects[0] != right.whole[0]


@pytest.mark.usefixtures("at_noses")
def test_the_recogniser_of_the_method_does_not_judge() -> None:
    """Of two recognisers InstantID was trained with the first one, to which everybody here looks alike."""
    own, other = real_faces.recogniser(), real_faces.recogniser()
    own.id, other.id = "antelopev2", "arcface-ir-se50"
    network = own.network

    def alike(crop: Tensor) -> list[Tensor]:
        return [network(crop)[0] + 40.0]

    own.network = alike
    judge_of_two = Judge(FaceModel(real_faces.detector(), (own, other)), [YAO, EILEEN])
    pixels = beside(real_faces.YAO, real_faces.ASTRONAUT)
    by_other = figures([judge_of_two.of_people(of_pixels(pixels), scene_of(YAO, EILEEN), "InstantID")])
    by_own = figures([judge_of_two.of_people(of_pixels(pixels), scene_of(YAO, EILEEN), "ID-Patch")])
    assert by_other["leakage"] is not None and by_other["leakage"] < 0.2
    assert by_own["leakage"] is not None and by_own["leakage"] > 0.9


def test_a_dinov2_file_is_told_by_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called; a CLIP beside it is none."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "clip_vision", ([str(tmp_path)], {".safetensors"}))
    folder_paths.filename_list_cache.clear()
    save_file({"vision_model.embeddings.class_embedding": torch.zeros(2)}, tmp_path / "a_dinov2.safetensors")
    assert dino_in(folder_paths) is None
    keys = ("encoder.layer.23.layer_scale2.lambda1", "embeddings.cls_token")
    save_file({key: torch.zeros(2) for key in keys}, tmp_path / "model.safetensors")
    folder_paths.filename_list_cache.clear()
    assert dino_in(folder_paths) == "model.safetensors"
