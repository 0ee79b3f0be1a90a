"""A picture that was drawn, and its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from shared import whole

from .graphs import Graph

_PROMPT = "prompt"
"""The name of the text in a PNG that the editor opens as a workflow."""


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn.

    path: of the PNG, which holds its prompt. pixels: (H, W, 3) float 0..1. seconds: of all nodes but those that load
    files, None where the host had the picture already. step_seconds: of the samplers alone, by step.
    """

    path: Path
    pixels: torch.Tensor
    seconds: float | None
    step_seconds: float | None


def save(picture: Image.Image, path: Path, graph: Graph) -> None:
    """Write a picture with its prompt. It is there whole or not at all."""
    texts = PngInfo()
    texts.add_text(_PROMPT, json.dumps(graph.prompt))
    whole.written(path, lambda unfinished: picture.save(unfinished, "PNG", pnginfo=texts))
