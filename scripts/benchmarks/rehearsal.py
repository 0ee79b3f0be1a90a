"""A rehearsal: a made-up folder is drawn with the miniature's files.

The figures of such a run say nothing; it shows that the path is whole, from the folder to report.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import folder_paths
import torch
from miniature_made import files_in
from rig.standins import Files
from safetensors.torch import save_file

STEPS = 4
"""Of the miniature's pictures."""
SIZES = {"multi-id": (512, 384), "multi-human": (512, 384), "identities-collapse": (768, 576)}
"""Of its pictures, by key of the benchmark: ten people have no room on a smaller canvas."""


def as_published(files: Files, models: Path) -> None:
    """Put the miniature's files below `models` under the names that the templates of ID-Patch and InstantID have."""
    names = {
        "checkpoints/sd_xl_base_1.0.safetensors": files.checkpoint,
        "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors": files.control_net,
        "controlnet/InstantID/ControlNetModel/diffusion_pytorch_model.safetensors": files.identity_net,
    }
    for name, file in names.items():
        target = models / name
        target.parent.mkdir(parents=True, exist_ok=True)
        state = {key: tensor.contiguous().clone() for key, tensor in torch.load(file).items()}
        save_file(state, target)
    links = {
        "id_patch/id-patch.bin": files.id_patch,
        "instantid/ip-adapter.bin": files.instant_id,
        "facexlib/recognition_arcface_ir_se50.pth": files.recogniser,
    }
    for file in files.antelope.parent.iterdir():
        links[f"insightface/models/antelopev2/{file.name}"] = file
    for name, file in links.items():
        target = models / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)


@contextmanager
def miniature_in(folder: Path) -> Iterator[None]:
    """Its files are those that the host finds, in a folder of their own, while this lasts."""
    before = dict(folder_paths.folder_names_and_paths)
    models = folder / "models"
    with files_in(folder / "files") as files:
        as_published(files, models)
        for kind in models.iterdir():
            folder_paths.folder_names_and_paths[kind.name] = ([str(kind)], before[kind.name][1])
        folder_paths.filename_list_cache.clear()
        try:
            yield
        finally:
            folder_paths.folder_names_and_paths.clear()
            folder_paths.folder_names_and_paths.update(before)
            folder_paths.filename_list_cache.clear()
