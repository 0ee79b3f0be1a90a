"""From the host's detectors to places: RT-DETR's boxes and SDPose's joints, read by Layout from Picture.

Their weights are gigabytes. What their networks would give, logits with boxes and a heat map per joint, is drawn here;
all that follows is the host's own: its thresholds, boxes, refinement of joints, and the dictionaries of POSE_KEYPOINT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import comfy.model_patcher
import comfy.sample
import numpy as np
import pytest
import torch
from pack.core.people import Layout, Pose
from pack.core.places import bodies
from pack.nodes import places
from torch import Tensor, nn

rtdetr = pytest.importorskip("comfy_extras.nodes_rtdetr", reason="this ComfyUI has no RT-DETR")
sdpose = pytest.importorskip("comfy_extras.nodes_sdpose", reason="this ComfyUI has no SDPose")
detector = pytest.importorskip("comfy.ldm.rt_detr.rtdetr_v4")
head_of = pytest.importorskip("comfy.ldm.modules.sdpose")

WIDTH, HEIGHT = 640, 448
PERSON, CHAIR = (detector.COCO_CLASSES.index(name) for name in ("person", "chair"))
NOSE, LEFT_EAR, LEFT_WRIST, RIGHT_ANKLE = 0, 3, 9, 16
Box = tuple[float, float, float, float]


class Detector(detector.RTv4):
    """RT-DETR whose network sees these boxes (left, top, right, bottom in pixels), kinds and confidences."""

    def __init__(self, found: Sequence[tuple[Box, int, float]]) -> None:
        nn.Module.__init__(self)
        self.num_classes, self.num_queries = len(detector.COCO_CLASSES), 300
        self.load_device, self.dtype, self.found = torch.device("cpu"), torch.float32, found

    def _forward(self, x: Tensor) -> dict[str, Tensor]:
        assert x.shape[-2:] == (640, 640)
        logits = torch.full((len(x), self.num_queries, self.num_classes), -9.0)
        boxes = torch.rand(len(x), self.num_queries, 4)
        for query, ((left, top, right, bottom), kind, score) in enumerate(self.found):
            logits[:, query, kind] = torch.tensor(score).logit()
            box = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT)
            boxes[:, query] = torch.tensor([*box, (right - left) / WIDTH, (bottom - top) / HEIGHT])
        return {"pred_logits": logits, "pred_boxes": boxes}


class Joints(nn.Module):
    """The last layer of SDPose's head, crop by crop: joints (x, y, confidence) in the heat map of 192x256."""

    def __init__(self, crops: Iterator[np.ndarray]) -> None:
        super().__init__()
        self.crops = crops

    def forward(self, _: None) -> Tensor:
        y, x = np.mgrid[:256, :192]
        maps = [
            s * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8) if s > 0 else 0 * x - 0.1 for a, b, s in next(self.crops)
        ]
        return torch.from_numpy(np.stack(maps)[None])


def patched(network: nn.Module) -> Any:
    model = nn.Module()
    model.diffusion_model = network
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def in_box(pose: Pose, box: Box) -> np.ndarray:
    """133 joints in the heat map of this crop; hands, feet and face are guesses without confidence."""
    left, top, right, bottom = (int(edge) for edge in box)
    # From pixels of the crop to those of 768x1024 that SDPose sees, and to the heat map.
    scale = np.array([768, 1024]) / np.array([right - left, bottom - top]) * np.array([191 / 767, 255 / 1023])
    joints = np.full((133, 3), 0.05)
    joints[:, :2] = np.random.default_rng(4).uniform(8, 180, (133, 2))
    joints[:17] = pose
    joints[:17, :2] = (joints[:17, :2] - (left, top)) * scale
    return joints


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """POSE_KEYPOINT of a picture in which RT-DETR sees these boxes and SDPose these joints in each."""
    monkeypatch.setattr(comfy.sample, "sample", lambda *_, **__: None)  # the network between VAE and head

    class Encoder:
        def encode(self, pixels: Tensor) -> Tensor:
            assert pixels.shape[1:3] == (1024, 768)
            return torch.zeros(len(pixels), 4, 128, 96)

    def run(found: Sequence[tuple[Box, int, float]], crops: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        image = torch.rand(1, HEIGHT, WIDTH, 3)
        boxes = rtdetr.RTDETR_detect.execute(patched(Detector(found)), image, 0.5, "person", 20).args[0]
        network = nn.Module()
        network.heatmap_head = head_of.HeatmapHead(4, 4, deconv_out_channels=(), conv_out_channels=(), operations=nn)
        network.heatmap_head.final_layer = Joints(iter(crops))
        return sdpose.SDPoseKeypointExtractor.execute(patched(network), Encoder(), image, 16, boxes).args[0]

    return run


def placed(poses: object) -> Layout:
    return places.LayoutFromFaces.execute(None, 0, 0, "crop", "half", poses).args[0]


def around(pose: Pose) -> Box:
    x, y, _ = np.array(pose).T
    return (min(x) - 14.3, min(y) - 30.6, max(x) + 14.7, max(y) + 16.2)


def test_everybody_is_found_at_their_joints(seen: Any) -> None:
    """In the order of the boxes' confidence, whatever else is in the picture."""
    people = [bodies.body((x, 90.0), head) for x, head in ((110.0, 44.0), (330.0, 40.0), (520.0, 42.0))]
    boxes = [around(pose) for pose in people]
    surest = (2, 0, 1)
    found = [(boxes[n], PERSON, 0.9 - 0.1 * rank) for rank, n in enumerate(surest)]
    found[1:1] = [((5.0, 5.0, 90.0, 90.0), CHAIR, 0.95), ((200.0, 5.0, 290.0, 90.0), PERSON, 0.4)]
    poses = seen(found, [in_box(people[n], boxes[n]) for n in surest])
    (frame,) = poses
    assert (frame["canvas_width"], frame["canvas_height"]) == (WIDTH, HEIGHT)
    assert {key: len(numbers) // 3 for key, numbers in frame["people"][0].items()} == {
        "pose_keypoints_2d": 18, "foot_keypoints_2d": 6, "face_keypoints_2d": 70, "hand_right_keypoints_2d": 21,
        "hand_left_keypoints_2d": 21,
    }  # fmt: skip
    layout = placed(poses)
    assert (layout.width, layout.height) == (WIDTH, HEIGHT)
    for slot, n in zip(layout.slots, surest, strict=True):
        assert slot.pose
        assert np.allclose(np.array(slot.pose), np.array(people[n]), atol=1)


def test_joints_out_of_the_box_or_unseen_are_not_drawn(seen: Any) -> None:
    """Left of its box SDPose puts a joint at -1, -1 and keeps its confidence: no limb runs to the corner."""
    body = [list(joint) for joint in bodies.body((320.0, 90.0), 44.0)]
    box = around(body)
    body[LEFT_EAR][2], body[RIGHT_ANKLE][2] = 0.2, -1.0
    body[LEFT_WRIST][0] = int(box[0]) - 0.2  # the peak is in the first column, its refinement beyond
    poses = seen([(box, PERSON, 0.9)], [in_box(body, box)])
    wrist = poses[0]["people"][0]["pose_keypoints_2d"][21:24]
    assert wrist[:2] == [-1, -1] and wrist[2] > 0.3, "what this host does"
    (slot,) = placed(poses).slots
    assert [n for n, joint in enumerate(slot.pose or ()) if joint[2] < bodies.SEEN] == [
        LEFT_EAR, LEFT_WRIST, RIGHT_ANKLE,
    ]  # fmt: skip
