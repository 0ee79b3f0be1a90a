"""Pictures as face networks read them: fitted into a square for detectors, cut out for recognisers; and back."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..cast import FFHQ, Keypoints
from ..checks.errors import FaceNotFound
from ..pictures.files import read_picture

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, as `eight_bits` makes it of an IMAGE."""


def from_file(path: str) -> Picture:
    """The first picture of a file: see `read_picture`, whose BadPhoto it raises."""
    return np.array(read_picture(path))


def no_face(picture: Picture, where: str, boxable: bool) -> FaceNotFound:
    """The error about a picture without a face. where: what a message calls it. boxable: as in FaceNotFound."""
    height, width = picture.shape[:2]
    return FaceNotFound(where, width, height, boxable)


def to_image(picture: Picture) -> Tensor:
    """A picture as a tensor, (H, W, 3) float32, 0..1."""
    # In numpy: for so few pixels waking torch's threads costs more than the recogniser does.
    return torch.as_tensor(picture.astype(np.float32) / np.float32(255))


# Where ArcFace wants the eyes, the nose and the corners of the mouth, in pixels of 112x112 (insightface).
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
# The same where FFHQ has them, in pixels of FFHQ (facexlib).
_FFHQ_TEMPLATE = (
    (192.98138, 239.94708), (318.90277, 240.1936), (256.63416, 314.01935), (201.26117, 371.41043),
    (313.08905, 371.15118),
)  # fmt: skip
_FFHQ_OUTSIDE = (132, 133, 135)
"""The grey that facexlib puts outside of a photo."""
_DRAWN_PAIRS = (
    (0, 4), (0, 3), (1, 2), (1, 0), (3, 0), (0, 4), (1, 4), (3, 1), (0, 3), (0, 1), (0, 4), (4, 1), (0, 3),
)  # fmt: skip
"""The pairs of five points that OpenCV tries: it draws them at random from a fixed seed, so they are always these."""


def align(picture: Picture, keypoints: Keypoints, size: int) -> Picture:
    """The face turned and scaled to ArcFace's template, (size, size, 3), black outside of the picture.

    size: px, a multiple of 112.
    """
    points = [complex(*point) for point in keypoints]
    targets = [complex(*point) * size / 112 for point in TEMPLATE]
    source = _source(_least_squares(points, targets), size)
    return _sampled(picture, source.real, source.imag)


def align_ffhq(picture: Picture, keypoints: Keypoints) -> Picture:
    """The head turned and scaled to FFHQ's template, (FFHQ, FFHQ, 3), grey outside of the picture.

    facexlib's FaceRestoreHelper cuts the head out in the same way: with OpenCV's estimateAffinePartial2D by the least
    median of squares, see `_robust_fit`.
    """
    points = [complex(*point) for point in keypoints]
    targets = [complex(*point) for point in _FFHQ_TEMPLATE]
    source = _source(_robust_fit(points, targets), FFHQ)
    height, width = picture.shape[:2]
    x = _rounded_by_grid_sample(source.real, width)
    y = _rounded_by_grid_sample(source.imag, height)
    return _sampled(picture, x, y, _FFHQ_OUTSIDE)


def _rounded_by_grid_sample(coordinate: Tensor, side: int) -> Tensor:
    """A coordinate of points, px, as torch's grid_sample rounds it, which itself would need the whole photo in floats.

    side: of the photo along this coordinate, px.
    """
    from_middle = ((coordinate * 2 + 1) / side - 1).float()  # -1 to 1, from one edge of the photo to the other
    return (from_middle + 1) * (side / 2) - 0.5


class _Similarity(NamedTuple):
    """A turn and scale (factor), and a shift: target = factor * point + shift, with points of the plane as numbers
    x + iy."""

    factor: complex
    shift: complex

    def errors(self, points: Sequence[complex], targets: Sequence[complex]) -> list[float]:
        """The squares of how far from its target each point comes to lie."""
        pairs = zip(points, targets, strict=True)
        return [abs(self.factor * point + self.shift - target) ** 2 for point, target in pairs]


def _robust_fit(points: Sequence[complex], targets: Sequence[complex]) -> _Similarity:
    """The turn, scale and shift of `align_ffhq`: a single point that lies far off its target does not change them.

    First each pair of points gives an exact fit, and the one with the least median error over all points is taken. Then
    the points within 2.5 robust deviations of it are fitted by least squares (Rousseeuw and Leroy 1987).
    """
    fits: list[_Similarity] = []
    for first, second in _DRAWN_PAIRS:
        between = points[second] - points[first]
        if between:  # through two points in one place there is no turn
            factor = (targets[second] - targets[first]) / between
            fits.append(_Similarity(factor, targets[first] - factor * points[first]))
    errors = min((fit.errors(points, targets) for fit in fits), key=median)
    count = len(points)
    # OpenCV's limit: 2 is how many points make a fit, and 0.001 px is left where all fit exactly.
    # 1.4826 times their median is the standard deviation of errors that are spread normally.
    largest_distance = max(2.5 * 1.4826 * (1 + 5 / (count - 2)) * math.sqrt(median(errors)), 0.001)  # px
    limit = largest_distance**2  # errors are squares
    inside = [number for number, error in enumerate(errors) if error <= limit]
    return _least_squares([points[number] for number in inside], [targets[number] for number in inside])


def _least_squares(points: Sequence[complex], targets: Sequence[complex]) -> _Similarity:
    """The turn, scale and shift that bring points nearest to targets in the least-squares sense (Umeyama 1991).

    With points of the plane as complex numbers, turning and scaling are a multiplication with one complex factor. As in
    every linear regression, the best factor is the covariance of points and targets over the variance of the points.
    """
    points_mean = sum(points) / len(points)
    targets_mean = sum(targets) / len(targets)
    covariance = 0
    variance = 0
    for point, target in zip(points, targets, strict=True):
        # Both sums lack the division by the number of points, which cancels in the factor.
        covariance += (point - points_mean).conjugate() * (target - targets_mean)
        variance += abs(point - points_mean) ** 2
    factor = covariance / variance
    return _Similarity(factor, targets_mean - factor * points_mean)


def _source(fit: _Similarity, size: int) -> Tensor:
    """The point of the picture from which each pixel of a crop comes: (size, size) complex, x + iy.

    fit: from the picture onto the crop. size: the crop's side, px.
    """
    x, y = torch.meshgrid(torch.arange(size).double(), torch.arange(size).double(), indexing="xy")
    # The point in the crop is fit.factor * point in the picture + fit.shift, solved for the latter.
    return (torch.complex(x, y) - fit.shift) / fit.factor


def _sampled(picture: Picture, x: Tensor, y: Tensor, outside: Sequence[int] = (0, 0, 0)) -> Picture:
    """The colours of a picture at points, each a mixture of its four nearest pixels (bilinear).

    x, y: of the points in pixels of the picture, (h, w) each. outside: the colour outside of the picture. Returns (h,
    w, 3) of 8 bits.
    """
    height, width = picture.shape[:2]
    pixels = torch.as_tensor(picture).flatten(0, 1)  # (H * W, 3): one index is read faster than two
    # Colours are mixed as differences from the background, so that a neighbour outside counts as background.
    background = torch.tensor(outside, dtype=x.dtype)
    left = x.floor()
    top = y.floor()
    # A neighbour weighs less the further it is away: 1 minus the distance, along each axis.
    right_share = x - left
    lower_share = y - top
    total = torch.zeros(*x.shape, 3, dtype=x.dtype)
    for row, row_share in ((top, 1 - lower_share), (top + 1, lower_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = column_share * row_share * inside
            pixel = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()  # its number, (h, w)
            colors = pixels.index_select(0, pixel.flatten()).view(*pixel.shape, 3) - background  # (h, w, 3)
            total += share[..., None] * colors
    return (total + background).round().to(torch.uint8).numpy()


def fitted(picture: Picture, width: int, height: int) -> tuple[Picture, float]:
    """A picture scaled to fit into a canvas, as (the canvas, the factor by which the picture was scaled).

    The canvas is (height, width, 3), with the picture in its top left corner and the rest black. Sides are rounded as
    insightface and OpenCV do it, so that detectors see what they see there. picture: may be a view in any order.
    """
    height_per_width = picture.shape[0] / picture.shape[1]
    if height_per_width > height / width:  # taller than the canvas: its height decides
        inner_height = height
        inner_width = int(height / height_per_width)
    else:
        inner_height = int(width * height_per_width)
        inner_width = width
    canvas = np.zeros((height, width, 3), np.uint8)
    _resize(picture, canvas[:inner_height, :inner_width])
    return canvas, inner_height / picture.shape[0]


_STRIP = 32
"""Rows that are resized at once, so that they stay in the cache of a CPU."""


def _resize(picture: Picture, resized: Picture) -> None:
    """Fill `resized`, (height, width, 3), with the picture: OpenCV's bilinear resize of 8-bit pictures to the bit.

    OpenCV computes in whole numbers that stand for fractions (imgproc/src/resize.cpp, VResizeLinear for 8 bits). A
    weight is a number of 2048ths, so it has 11 fractional bits. First the two neighbours in a row are mixed: the sum
    has 11 fractional bits, of which 4 are cut off. Then two rows are mixed: times the weight of its row a number has
    7 + 11 = 18 fractional bits, of which 16 are cut off, and the last 2 are rounded.
    """
    height, width = resized.shape[:2]
    columns = _neighbours(picture.shape[1], width)
    rows = _neighbours(picture.shape[0], height)

    def mixed_in_rows(row_numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The rows of the picture with these numbers, (n,), each resized to the new width by mixing two pixels:
        (n, width, 3) with 7 fractional bits."""
        chosen = picture[row_numbers]  # (n, W, 3); of a turned view too, no more of it is copied
        mixed = chosen.take(columns.first, 1) * columns.first_weight[:, None]
        mixed += chosen.take(columns.second, 1) * columns.second_weight[:, None]
        mixed >>= 4
        return mixed

    for start in range(0, height, _STRIP):
        strip = slice(start, start + _STRIP)
        upper = mixed_in_rows(rows.first[strip])
        upper *= rows.first_weight[strip, None, None]  # 18 fractional bits
        lower = mixed_in_rows(rows.second[strip])
        lower *= rows.second_weight[strip, None, None]
        upper >>= 16
        lower >>= 16
        upper += lower  # 2 fractional bits
        upper += 2
        upper >>= 2
        resized[strip] = upper


class _Neighbours(NamedTuple):
    """The two old pixels between which each new pixel lies along a side, (new,) each: their indices, and their weights
    in 2048ths."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    first_weight: npt.NDArray[np.int32]
    second_weight: npt.NDArray[np.int32]


def _neighbours(old: int, new: int) -> _Neighbours:
    """The neighbours of each new pixel along a side of `old` pixels that is resized to `new`."""
    # The centre of each new pixel in old pixels, 0 at the centre of the first old pixel: centres lie half a pixel from
    # the edge. OpenCV keeps it as a float of 32 bits.
    center = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    floor = np.floor(center)
    second_weight = np.rint((center - floor) * 2048).astype(np.int32)
    before = floor.astype(np.int64)
    first = before.clip(0, old - 1)
    second = (before + 1).clip(0, old - 1)
    return _Neighbours(first, second, 2048 - second_weight, second_weight)
