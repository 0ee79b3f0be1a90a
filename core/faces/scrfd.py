"""SCRFD (Guo et al. 2021) and RetinaFace: what their networks read, and faces from what they give."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .finding import Detection
from .pictures import Picture, fitted


@dataclass(frozen=True)
class _Levels:
    """The levels of a network: grids of different fineness over its input.

    strides: px between the points of the grid of each level. anchors: how many anchors lie at each point.
    """

    strides: tuple[int, ...]
    anchors: int


_LEVELS = {9: _Levels((8, 16, 32), 2), 15: _Levels((8, 16, 32, 64, 128), 1)}
"""The levels of a network, by its number of outputs: scores, edges and keypoints of every level."""
_KINDS = (1, 4, 10)
"""Numbers per anchor in each kind of output: a score; the distances to the left, top, right and bottom edge of the
face; x and y of five keypoints, relative to the anchor."""
SIZE = (640, 640)
"""Width and height of the network's input at the first look at a picture, px."""

_SURE = 0.5
"""The least score of a face, as insightface has it."""
_OVERLAP = 0.4
"""The largest intersection over union of two faces that both stay, as in insightface."""


class Scrfd:
    """A detector with keypoints.

    network: gives its outputs for a picture (1, 3, height, width). fixed_size: the only (width, height) in pixels that
    the file takes; None where it takes any.
    """

    def __init__(self, network: Callable[[Tensor], Sequence[Tensor]], fixed_size: tuple[int, int] | None) -> None:
        self.network = network
        self._fixed_size = fixed_size

    def __call__(self, picture: Picture, side: int) -> list[Detection]:
        """Faces in pixels of the picture, the surest first. side: of the square that it is fitted into, px."""
        width, height = self._fixed_size or _canvas(picture, side)
        pixels, scale = fitted(picture, width, height)
        # (height, width, 3) -> (1, 3, height, width), -1..1 as insightface scales it
        network_input = (torch.as_tensor(pixels).permute(2, 0, 1)[None].float() - 127.5) / 128
        outputs = self.network(network_input)
        scores, boxes, keypoints = _candidates([output.cpu() for output in outputs], width, height)
        # pixels of the network's input -> of the picture
        boxes = boxes / scale
        keypoints = keypoints / scale
        return [
            _detection(float(scores[index]), boxes[index], keypoints[index])
            for index in _without_overlaps(scores, boxes)
        ]


def _canvas(picture: Picture, side: int) -> tuple[int, int]:
    """Width and height of what the network reads: a square of `side` px, as insightface has it.

    Above SIZE the part of the square that would stay black is left out. Both are then multiples of the coarsest stride.
    """
    if side <= SIZE[0]:
        return side, side
    height, width = picture.shape[:2]
    step = max(_LEVELS[15].strides)  # the coarsest of any network: its points divide the canvas evenly
    longer = max(width, height)
    canvas_width = math.ceil(side * width / longer / step) * step
    canvas_height = math.ceil(side * height / longer / step) * step
    return canvas_width, canvas_height


def output_sizes(outputs: int, width: int, height: int) -> list[int]:
    """The count of numbers in each output for a picture of this size: the scores of every level, then the edges, then
    the points.

    outputs: how many outputs the network has, 9 or 15.
    """
    levels = _LEVELS[outputs]
    sizes: list[int] = []
    for kind in _KINDS:
        for stride in levels.strides:
            sizes.append((width // stride) * (height // stride) * levels.anchors * kind)
    return sizes


class _Candidates(NamedTuple):
    """What a network says of n anchors, in pixels. scores: (n,). boxes: (n, 4). keypoints: (n, 5, 2), x and y each."""

    scores: Tensor
    boxes: Tensor
    keypoints: Tensor


def _candidates(outputs: Sequence[Tensor], width: int, height: int) -> _Candidates:
    """Every anchor that is surely on a face, in pixels of the network's input. One face has several anchors.

    outputs: the scores of every level, then the edges, then the points; edges and points are in strides of their level.
    width, height: of the input, px.
    """
    levels = _LEVELS[len(outputs)]
    of_levels: list[_Candidates] = []
    for level, stride in enumerate(levels.strides):
        scores, edges, points = outputs[level :: len(levels.strides)]  # of this level
        scores = scores.flatten()  # (anchors,)
        edges = edges.reshape(-1, 4)
        points = points.reshape(-1, 5, 2)
        rows = torch.arange(height // stride, dtype=torch.float32)
        columns = torch.arange(width // stride, dtype=torch.float32)
        grid = torch.cartesian_prod(rows, columns).flip(-1)  # (places, 2): x and y, row by row
        anchors = grid.repeat_interleave(levels.anchors, 0) * float(stride)  # (anchors, 2), px
        is_sure = scores >= _SURE  # (anchors,)
        anchors = anchors[is_sure]
        edges = edges[is_sure] * stride
        points = points[is_sure] * stride
        boxes = torch.cat([anchors - edges[:, :2], anchors + edges[:, 2:]], 1)
        of_levels.append(_Candidates(scores[is_sure], boxes, anchors[:, None] + points))
    return _Candidates(
        torch.cat([found.scores for found in of_levels]),
        torch.cat([found.boxes for found in of_levels]),
        torch.cat([found.keypoints for found in of_levels]),
    )


def _without_overlaps(scores: Tensor, boxes: Tensor) -> list[int]:
    """Indices of the boxes that remain after non-maximum suppression, the surest first.

    From the surest box on, each removes the less sure ones that overlap it. scores: (n,). boxes: (n, 4).
    torchvision's nms is not used: insightface counts both edge pixels of a box (from 3 to 5 it is 3 wide), hence + 1.
    """
    x0, y0, x1, y1 = boxes.unbind(1)
    areas = (x1 - x0 + 1) * (y1 - y0 + 1)
    remaining: list[int] = []
    waiting = scores.argsort(descending=True, stable=True)
    while len(waiting):
        best = waiting[0]
        waiting = waiting[1:]
        remaining.append(int(best))
        common_width = (x1[waiting].minimum(x1[best]) - x0[waiting].maximum(x0[best]) + 1).clamp(min=0)
        common_height = (y1[waiting].minimum(y1[best]) - y0[waiting].maximum(y0[best]) + 1).clamp(min=0)
        intersection = common_width * common_height
        union = areas[best] + areas[waiting] - intersection
        waiting = waiting[intersection / union <= _OVERLAP]
    return remaining


def _detection(score: float, box: Tensor, keypoints: Tensor) -> Detection:
    """A face from what a network says of it. box: (4,). keypoints: (5, 2)."""
    x0, y0, x1, y1 = map(float, box)
    return Detection((x0, y0, x1, y1), tuple((float(x), float(y)) for x, y in keypoints), score)
