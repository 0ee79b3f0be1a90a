"""compare.py --people from photos to page: every method whose files are there, and a row that says what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy.supported_models
import compare
import folder_paths
import pytest
import real_faces
import small_networks
import torch
from comparison import photos
from comparison.session import Asked, Session
from miniature_made import files_in
from PIL import Image
from rig.standins import Files
from safetensors.torch import save_file

SDXL = "checkpoints/sd_xl_base_1.0.safetensors"
ID_PATCH = "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors"
IDENTITY_NET = "controlnet/InstantID/ControlNetModel/diffusion_pytorch_model.safetensors"


def as_published(files: Files, models: Path) -> None:
    """Put the miniature's files below `models` under the names that the templates have."""
    for file, name in ((files.checkpoint, SDXL), (files.control_net, ID_PATCH), (files.identity_net, IDENTITY_NET)):
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


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Three people, the first two with a folder each, and the files of ID-Patch and InstantID alone."""
    root = tmp_path_factory.mktemp("compare")
    people = root / "people"
    people.mkdir()
    first, second, _, *others = real_faces.six(people)
    for path in others:
        path.unlink()
    for number, path in enumerate((first, second)):
        folder = people / f"<b>{number}"
        folder.mkdir()
        with Image.open(path) as photo:
            photo.save(folder / "2.png")
        path.rename(folder / f"1{path.suffix}")
    before = dict(folder_paths.folder_names_and_paths)
    folders = folder_paths.get_input_directory(), folder_paths.get_output_directory()
    models = root / "models"
    with pytest.MonkeyPatch.context() as patch, files_in(root / "files") as files:
        patch.setattr(comfy.supported_models, "models", small_networks.families())
        as_published(files, models)
        for kind in models.iterdir():
            folder_paths.add_model_folder_path(kind.name, str(kind))
        asked = Asked(people, root / "out", "two people", (512, 384), 1)
        asked.out.mkdir()
        yield Session(asked, photos.people_in(people))
    folder_paths.folder_names_and_paths.clear()
    folder_paths.folder_names_and_paths.update(before)
    folder_paths.set_input_directory(folders[0])
    folder_paths.set_output_directory(folders[1])


def test_every_method_has_a_row_and_what_is_missing_is_named(session: Session) -> None:
    rows = compare.seeds_of_people(session, True)
    by_title = {row.title: row for row in rows}
    for title in ("ID-Patch", "InstantID by region", "InstantIDs chained", "faces one by one"):
        assert by_title[title].note == "" and len(by_title[title].pictures) == 1, title
    assert by_title["WithAnyone"].note == (
        "Missing: flux1-dev-fp8.safetensors in models/checkpoints, withanyone.safetensors in models/withanyone."
    )
    compare.write_people({"seeds": rows}, session, session.asked)
