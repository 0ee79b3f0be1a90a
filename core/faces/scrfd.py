"""SCRFD (Guo et al. 2021) and RetinaFace: what their networks read, and faces from what they give."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .finding import Detection
from .pictures import Picture, fitted

# Scores, boxes and keypoints of every level, by how many outputs there are: (strides, anchors per pixel).
_LEVELS = {9: ((8, 16, 32), 2), 15: ((8, 16, 32, 64, 128), 1)}
# Numbers per anchor: a score; left, top, right and bottom edge from the anchor; five points from it.
_KINDS = (1, 4, 10)
SIZE = (640, 640)
"""What detectors are shown first."""

# As insightface has them.
_SURE, _OVERLAP = 0.5, 0.4


class Scrfd:
    """A detector with keypoints. size: (width, height) where the file fixes it."""

    def __init__(self, network: Callable[[Tensor], Sequence[Tensor]], size: tuple[int, int] | None = None) -> None:
        self.network, self._size = network, size

    def __call__(self, picture: Picture, size: int) -> list[Detection]:
        """Faces in pixels of the picture, surest first."""
        width, height = self._size or (size, size)
        pixels, scale = fitted(picture, width, height)
        outputs = self.network((pixels.flip(-1).permute(2, 0, 1)[None].float() - 127.5) / 128)
        found = _candidates([output.cpu() for output in outputs], width, height)
        found[:, 1:] /= scale
        return [_detection(*map(float, row)) for row in found[_best(found[:, 0], found[:, 1:5])]]


def output_sizes(outputs: int, width: int, height: int) -> list[int]:
    """How many numbers each of the outputs holds for a picture of this size."""
    strides, anchors = _LEVELS[outputs]
    return [(width // stride) * (height // stride) * anchors * kind for kind in _KINDS for stride in strides]


def _candidates(outputs: Sequence[Tensor], width: int, height: int) -> Tensor:
    """(n, 15): score, box and points of everything that may be a face, in pixels of the network's input."""
    strides, anchors = _LEVELS[len(outputs)]
    found: list[Tensor] = []
    for level, stride in enumerate(strides):
        score, edges, points = (
            output.reshape(-1, kind) for output, kind in zip(outputs[level :: len(strides)], _KINDS, strict=True)
        )
        rows, columns = torch.arange(height // stride), torch.arange(width // stride)
        anchor = torch.cartesian_prod(rows, columns).flip(-1).repeat_interleave(anchors, 0) * float(stride)
        sure = score[:, 0] >= _SURE
        score, edges, points, anchor = score[sure], edges[sure] * stride, points[sure] * stride, anchor[sure]
        box = torch.cat([anchor - edges[:, :2], anchor + edges[:, 2:]], 1)
        found.append(torch.cat([score, box, anchor.repeat(1, 5) + points], 1))
    return torch.cat(found)


def _best(scores: Tensor, boxes: Tensor) -> list[int]:
    """Which boxes remain, surest first, when each removes the less sure ones that overlap it."""
    x0, y0, x1, y1 = boxes.unbind(1)
    areas = (x1 - x0 + 1) * (y1 - y0 + 1)
    kept: list[int] = []
    left = scores.argsort(descending=True, stable=True)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        across = (x1[left].minimum(x1[best]) - x0[left].maximum(x0[best]) + 1).clamp(min=0)
        down = (y1[left].minimum(y1[best]) - y0[left].maximum(y0[best]) + 1).clamp(min=0)
        shared = across * down
        left = left[shared / (areas[best] + areas[left] - shared) <= _OVERLAP]
    return kept


def _detection(score: float, x0: float, y0: float, x1: float, y1: float, *points: float) -> Detection:
    return Detection((x0, y0, x1, y1), tuple(zip(points[::2], points[1::2], strict=True)), score)
