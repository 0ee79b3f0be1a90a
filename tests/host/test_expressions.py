"""Expression in Words in the real host: what its own MediaPipe nodes give, and what Prompt per Person makes of it."""

from typing import Any

import numpy as np
import pytest
import torch
from graph_run import OURS, call, run
from graphs import Node, ours, sampled, value
from pack.bridge.host import notes
from pack.core.faces.expressions import SHAPES, numbers_of
from sample_values import identity, landmarks, photo, unplaced
from standins_made import build

mediapipe = pytest.importorskip("comfy_extras.nodes_mediapipe", reason="this ComfyUI has no MediaPipe nodes")

from comfy_extras.mediapipe.face_geometry import transformation_matrix_from_detection  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


@pytest.fixture(scope="module")
def detector() -> Any:
    """The networks of the host, from a file whose face smiles at the camera."""
    return mediapipe.FaceLandmarkerModel(load_file(build().landmarker))


@torch.inference_mode()  # as the host runs nodes
def detected(detector: Any, *pictures: torch.Tensor) -> dict[str, Any]:
    """What Detect Face Landmarks (MediaPipe) gives of a batch."""
    return mediapipe.MediaPipeFaceLandmarker.execute(
        detector, torch.cat(pictures), "short", num_faces=1, min_confidence=0.5, missing_frame_fallback="empty"
    ).args[0]


def said(face_landmarks: Any, cast: Any, text: str = "") -> tuple[str, str]:
    """The text of the node, and its note. face_landmarks: a list, as the host gives it."""
    output = call(OURS["LikenessExpressionInWords"], face_landmarks=face_landmarks, cast=[cast], text=[text])
    return output.args[0], output.ui[notes.NOTE][0]


def test_a_face_that_the_host_s_own_node_finds(detector: Any) -> None:
    of_one = detected(detector, photo())
    assert set(SHAPES) < set(of_one["frames"][0][0]["blendshapes"])
    assert said([of_one], identity("Anna")) == ("Anna: smiling", "Anna: smiling")
    assert said([of_one], identity("Anna"), " Anna: a red coat\n")[0] == "Anna: a red coat\nAnna: smiling"
    two = "Anna: smiling\nBoris: smiling"
    assert said([detected(detector, photo(), photo())], unplaced())[0] == two
    assert said([of_one, detected(detector, photo("TIGHT"))], unplaced())[0] == two


@pytest.mark.parametrize("yaw", [-60, -30, 0, 30, 60])
def test_heads_that_are_turned_have_the_yaw_that_the_host_solves(detector: Any, yaw: int) -> None:
    """The points of its own model of a head, turned and seen in a picture from afar."""
    turn = np.radians(yaw)
    turned = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    head = detector.canonical_data["canonical_vertices"] @ turned.T
    seen = head * (20, -20, -20)  # pixels; y leads down, z away from the camera
    face = {"landmarks_xy": seen[:, :2] + 500, "landmarks_3d": seen}
    matrix = transformation_matrix_from_detection(face, 1000, 1000, detector.canonical_data)
    shapes = dict.fromkeys(SHAPES, 0.0)
    numbers = numbers_of({"blendshapes": shapes, "transformation_matrix": matrix}, "x")
    assert numbers.yaw == pytest.approx(yaw, abs=3)


def face_of(**shapes: float) -> dict[str, Any]:
    """FACE_LANDMARKS of one face with these shapes."""
    (face,) = landmarks()["frames"][0]
    return landmarks(frames=[[{**face, "blendshapes": {**dict.fromkeys(SHAPES, 0.0), **shapes}}]])


def test_what_is_unsure_and_who_is_plain_stand_in_the_note() -> None:
    squints = face_of(eyeSquintLeft=0.6, eyeSquintRight=0.64, jawOpen=0.9)
    assert said([squints], identity("Anna")) == (
        "Anna: mouth wide open",
        "Anna: mouth wide open\nUnsure, left out: Anna squinting 0.62 (said from 0.70)",
    )
    assert said([face_of()], identity("Anna")) == ("", "Nothing to say: Anna")
    nobody = landmarks(frames=[[]])
    both = said([squints, nobody], unplaced())
    assert both[0] == "Anna: mouth wide open"
    assert both[1].endswith("\nNo face found: Boris")


def spoken(prompts: Any) -> torch.Tensor:
    return run(sampled(ours("LikenessPromptPerPerson", prompts=prompts)), {})[0]["samples"]


def test_prompt_per_person_reads_it_as_if_it_were_typed() -> None:
    def in_words(face: dict[str, Any]) -> Node:
        return ours("LikenessExpressionInWords", face_landmarks=value(lambda: face), text="2: down")

    typed = spoken("2: down\nAnna: smiling")
    assert torch.equal(spoken(in_words(face_of(mouthSmileLeft=0.9, mouthSmileRight=0.9))), typed)
    without_words = spoken("2: down")
    assert torch.equal(spoken(in_words(face_of())), without_words)
    assert not torch.equal(typed, without_words)
