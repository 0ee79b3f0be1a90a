"""The expression of a face in words: a table over the numbers that ComfyUI's MediaPipeFaceLandmarker gives of it.

These numbers are blendshapes, 0..1: how far a mouth smiles, an eye is closed. A word is said from one threshold on. It
is unsure from a lower one, because the numbers of a face at rest differ from person to person, and those of one photo
change by up to 0.2 where it is saved smaller or darker.

The thresholds were set while looking at nine faces, with the published networks (mediapipe 0.10.35) and not with
ComfyUI's conversion of them. For eight of the nine the words fit what is seen; the ninth is a profile with parted lips,
which the table misses. tests/unit/expressions.json has their numbers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..errors import BadInput

_EYES_TURN = 30
"""Degrees by which eyes turn to the side where their number is 1."""
_GAZE_UNIT = 60
"""Degrees to the side that count as 1 in the table."""
_TEETH, _WIDE_OPEN = 0.5, 0.6
"""What counts as 1 of a lip that is raised to show teeth, and of a jaw that is open in a laugh."""
_ROUNDING = 1e-3
"""How far a number may leave 0..1, as those between two frames of a video do."""


@dataclass(frozen=True)
class FaceNumbers:
    """What is known of the expression of a face.

    shapes: the blendshapes by their names, 0..1. Left and right in the names are the person's own. yaw: how far the
    head is turned to the right of the picture, in degrees.
    """

    shapes: Mapping[str, float]
    yaw: float

    def mean(self, name: str) -> float:
        """The mean of a shape that both sides of the face have."""
        return (self.shapes[f"{name}Left"] + self.shapes[f"{name}Right"]) / 2

    def least(self, name: str) -> float:
        """The smaller one of a shape that both sides of the face have."""
        return min(self.shapes[f"{name}Left"], self.shapes[f"{name}Right"])

    @property
    def gaze(self) -> float:
        """How far a face looks to the right of the picture, as in _GAZE_UNIT; below 0 to the left.

        The shapes of the eyes are relative to the head: who turns the head and looks at the camera has eyes that look
        to the side. The person's own left is the right of the picture.
        """
        to_right = self.shapes["eyeLookOutLeft"] + self.shapes["eyeLookInRight"]
        to_left = self.shapes["eyeLookInLeft"] + self.shapes["eyeLookOutRight"]
        return (self.yaw + _EYES_TURN * (to_right - to_left) / 2) / _GAZE_UNIT


@dataclass(frozen=True)
class _Row:
    """Words of the table, what they are said by, and from which value on they are unsure, and said."""

    words: str
    value: Callable[[FaceNumbers], float]
    unsure_from: float
    said_from: float


def _laughing(face: FaceNumbers) -> float:
    return min(face.mean("mouthSmile"), face.shapes["jawOpen"] / _WIDE_OPEN)


def _smiling_with_teeth(face: FaceNumbers) -> float:
    return min(face.mean("mouthSmile"), face.mean("mouthUpperUp") / _TEETH)


def _looking_down(face: FaceNumbers) -> float:
    """0 for eyes that are nearly closed, whose pupils are not seen."""
    return face.mean("eyeLookDown") if face.least("eyeBlink") < 0.45 else 0.0


_TABLE: dict[str, tuple[_Row, ...]] = {
    "mouth": (
        _Row("laughing with an open mouth", _laughing, 0.40, 0.50),
        _Row("smiling with teeth showing", _smiling_with_teeth, 0.40, 0.50),
        _Row("smiling", lambda face: face.mean("mouthSmile"), 0.30, 0.45),
        _Row("mouth wide open", lambda face: face.shapes["jawOpen"], 0.45, 0.55),
        _Row("mouth slightly open", lambda face: face.shapes["jawOpen"] * (1 - face.shapes["mouthClose"]), 0.12, 0.20),
        _Row("lips parted", lambda face: max(face.mean("mouthUpperUp"), face.mean("mouthLowerDown")), 0.25, 0.35),
        _Row("pouting lips", lambda face: face.shapes["mouthPucker"], 0.60, 0.75),
        _Row("lips pressed together", lambda face: face.mean("mouthPress"), 0.40, 0.55),
        _Row("corners of the mouth down", lambda face: face.mean("mouthFrown"), 0.25, 0.40),
    ),
    "eyes": (
        _Row("eyes closed", lambda face: face.least("eyeBlink"), 0.45, 0.60),
        _Row("winking", lambda face: abs(face.shapes["eyeBlinkLeft"] - face.shapes["eyeBlinkRight"]), 0.40, 0.50),
        _Row("eyes wide open", lambda face: face.mean("eyeWide"), 0.30, 0.40),
        _Row("squinting", lambda face: face.mean("eyeSquint"), 0.55, 0.70),  # at rest up to 0.5
    ),
    "gaze": (
        _Row("looking to the right", lambda face: face.gaze, 0.25, 0.35),
        _Row("looking to the left", lambda face: -face.gaze, 0.25, 0.35),
        _Row("looking up", lambda face: face.mean("eyeLookUp"), 0.35, 0.45),
        _Row("looking down", _looking_down, 0.50, 0.60),
    ),
    "brows": (
        _Row("frowning", lambda face: face.mean("browDown"), 0.35, 0.50),
        _Row("eyebrows raised", lambda face: max(face.mean("browOuterUp"), face.shapes["browInnerUp"]), 0.45, 0.60),
    ),
    "nose": (_Row("wrinkling the nose", lambda face: face.mean("noseSneer"), 0.40, 0.55),),
}
"""The words, by what of a face they are about. Of each of these only the first words that hold are said."""


@dataclass(frozen=True)
class Expression:
    """words: what is said of a face, ("smiling", "looking to the left"); () for a plain one. unsure: words between
    their two thresholds, with both: "squinting 0.61 (said from 0.70)"."""

    words: tuple[str, ...]
    unsure: tuple[str, ...]


def expression_of(face: FaceNumbers) -> Expression:
    """The expression of a face in words."""
    words: list[str] = []
    unsure: list[str] = []
    for rows in _TABLE.values():
        for row in rows:
            value = row.value(face)
            if value >= row.said_from:
                words.append(row.words)
                break
            if value >= row.unsure_from:
                unsure.append(f"{row.words} {value:.2f} (said from {row.said_from:.2f})")
    return Expression(tuple(words), tuple(unsure))


_BOTH_SIDES = (
    "browDown", "browOuterUp", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint",
    "eyeWide", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthUpperUp", "noseSneer",
)  # fmt: skip
SHAPES = (
    "browInnerUp", "jawOpen", "mouthClose", "mouthPucker", *[name + side for name in _BOTH_SIDES for side in
    ("Left", "Right")],
)  # fmt: skip
"""The names of the blendshapes that the table reads."""


def numbers_of(face: Mapping[str, Any], title: str) -> FaceNumbers:
    """The numbers of a face of FACE_LANDMARKS. title: of the input, for messages.

    Raises BadInput for a face without blendshapes or without the matrix that says how the head is turned, as other
    packs may make it, and for numbers that nobody can read.
    """
    shapes = face.get("blendshapes")
    if not isinstance(shapes, Mapping) or face.get("transformation_matrix") is None:
        raise BadInput(title, "a face without blendshapes and transformation_matrix", _NEEDED)
    numbers: dict[str, float] = {}
    for name in SHAPES:
        number = _number(cast("Mapping[str, Any]", shapes).get(name))
        if not -_ROUNDING <= number <= 1 + _ROUNDING:
            raise BadInput(title, f"a face whose blendshape {name} is no number from 0 to 1", _NEEDED)
        numbers[name] = number
    return FaceNumbers(numbers, _yaw(face["transformation_matrix"], title))


_NEEDED = "the face_landmarks of Detect Face Landmarks (MediaPipe)"


def _number(value: Any) -> float:
    """A value as a number; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _yaw(matrix: Any, title: str) -> float:
    """How far a head is turned to the right of the picture, in degrees.

    matrix: (4, 4), from a head that looks into the camera to this one, x to the right and z to the camera. Its third
    column is where the nose points. Raises BadInput for one that says no direction.
    """
    try:
        rows = np.asarray(matrix, dtype=float)
    except (TypeError, ValueError, OverflowError):
        rows = np.zeros(0)
    if rows.shape != (4, 4) or not np.isfinite(rows).all() or not rows[:3, 2].any():
        raise BadInput(title, "a face whose transformation_matrix turns no head", _NEEDED)
    return math.degrees(math.atan2(rows[0, 2], rows[2, 2]))
