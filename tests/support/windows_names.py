"""A host that lists files as Windows writes their names, and the files that it has."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from pathlib import Path

import torch
from environment import Host
from safetensors.torch import save_file
from shared.host_server import HostServer
from standins_made import Standins

PHOTO = Path(__file__).resolve().parents[2] / "pictures" / "likeness_anna.png"
ID_PATCH = "ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors"
INSTANT_ID = "InstantID/ControlNetModel/diffusion_pytorch_model.safetensors"
_NAMES = (
    "people/anna.safetensors", unicodedata.normalize("NFD", "people/José.safetensors"), "plain.SAFETENSORS",
    "twice/Net.safetensors", "twice/net.safetensors",
)  # fmt: skip
EMPTY = {"controlnet": (INSTANT_ID, *_NAMES), "loras": _NAMES}
"""Files in which nothing is, by model key: no run loads them."""

_SOURCE = r'''
import folder_paths
from app.model_manager import ModelFileManager

_listed = folder_paths.get_filename_list
_model_files = ModelFileManager.get_model_file_list


def get_filename_list(folder_name):
    """The menus."""
    return [name.replace("/", "\\") for name in _listed(folder_name)]


def get_model_file_list(self, folder_name):
    """By which frontends tell whether a model that a workflow offers is missing."""
    return [{**file, "name": file["name"].replace("/", "\\")} for file in _model_files(self, folder_name)]


folder_paths.get_filename_list = get_filename_list
ModelFileManager.get_model_file_list = get_model_file_list
NODE_CLASS_MAPPINGS = {}
'''


def models(standins: Standins, root: Path) -> Path:
    """A folder of models as somebody has them who sorts files into folders, some with endings in capitals."""
    packed = root / "insightface" / "models" / "mine" / "antelopev2"
    controlnet = root / "controlnet" / ID_PATCH
    for folder in (root / "instantid" / "published", controlnet.parent, packed):
        folder.mkdir(parents=True)
    shutil.copy(standins.instant_id, root / "instantid" / "published" / "ip-adapter.BIN")
    state = torch.load(standins.control_net, weights_only=True)
    save_file({key: tensor.contiguous().clone() for key, tensor in state.items()}, controlnet)
    (detector,) = (path for path in standins.face_pack.glob("*.onnx") if path.name.startswith("det_"))
    shutil.copy(detector, packed / "SCRFD_10G_BNKPS.ONNX")
    shutil.copy(standins.antelope, packed / "GLINTR100.ONNX")
    for key, names in EMPTY.items():
        for name in names:
            path = root / key / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    faces = root / "likeness_faces"
    saved_person(faces / "family" / "anna.safetensors", "Anna")
    saved_person(faces / unicodedata.normalize("NFD", "José.safetensors"), "José")
    saved_person(faces / "Ben.SAFETENSORS", "Ben")
    saved_person(faces / "twice" / "Net.safetensors", "Net")
    saved_person(faces / "twice" / "net.safetensors", "net")
    return root


def saved_person(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"embedding.antelopev2": torch.ones(1, 512), "crops": torch.zeros(1, 112, 112, 3)}
    save_file(tensors, path, {"format": "likeness identity", "version": "1", "name": name})


def server(host: Host, standins: Standins, folder: Path, frontend: Path | None = None) -> HostServer:
    """Its own menus are those of Windows, and those of the pack are not. folder: an empty one, for all that it has and
    writes. frontend: in the place of its own."""
    pack = folder / "windows_names"
    pack.mkdir()
    (pack / "__init__.py").write_text(_SOURCE, "utf-8")
    root = models(standins, folder / "models")
    return HostServer(host, Path(sys.executable), folder / "base", [root], frontend=frontend, packs=[pack])


def put_photo(server: HostServer) -> None:
    """A photo in a folder of the input folder of a host that runs."""
    photos = server.base / "input" / "holiday" / unicodedata.normalize("NFD", "Málaga")
    photos.mkdir(parents=True)
    shutil.copy(PHOTO, photos / "anna.PNG")
