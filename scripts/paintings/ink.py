"""A picture as an ink drawing: contours, and hatching that is closer where it is darker."""

from __future__ import annotations

import cv2
import numpy as np

PAPER = (0.97, 0.95, 0.90)
INK = (0.09, 0.10, 0.16)
_HATCHING = ((0.72, 45), (0.52, -45), (0.36, 5), (0.22, 80))
"""(how light what gets the first, second, ... set of lines still is, in which direction they run, degrees)."""
_APART = 7
"""Of the lines, in pixels."""
_SHADES = 3
"""Of ink, for a small file."""


def inked(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> the same size."""
    light = cv2.bilateralFilter(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 9, 40, 9).astype(np.float32) / 255
    y, x = np.mgrid[: light.shape[0], : light.shape[1]].astype(np.float32)
    ink = _contours(light)
    for below, degrees in _HATCHING:
        turn = np.radians(degrees)
        wave = 1.2 * np.sin(x / 37 + degrees) * np.cos(y / 29)  # by hand
        across = (x * np.sin(turn) + y * np.cos(turn) + wave) % _APART
        dark = np.clip((below - light) / 0.25, 0, 1)
        thick = 0.6 + 1.3 * dark
        ink = np.maximum(ink, np.clip(thick - np.abs(across - _APART / 2) + 0.5, 0, 1) * (dark > 0))
    ink = (ink * _SHADES).round() / _SHADES
    drawn = np.asarray(PAPER) + (np.asarray(INK) - np.asarray(PAPER)) * ink[..., None]
    return (255 * drawn).round().astype(np.uint8)


def _contours(light: np.ndarray) -> np.ndarray:
    """(H, W), 0..1: where light changes, as strokes of a pen."""
    fine = cv2.GaussianBlur(light, (0, 0), 1.2)
    coarse = cv2.GaussianBlur(light, (0, 0), 2.4)
    return np.clip((coarse - fine - 0.006) * 60, 0, 1)
