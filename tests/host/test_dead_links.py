"""Model files that are links to nowhere, as on a disk that is not connected: not offered, and named where chosen."""

import os
from pathlib import Path

import folder_paths
import pytest
from pack.bridge.host import folders
from pack.bridge.people import face_model
from pack.core.models import manifest
from pack.core.models.file_check import MISSING, Folders, examine
from pack.nodes.adapters import LoadAdapter
from pack.nodes.parts2whole import files as parts2whole
from pack.nodes.people import LoadPerson
from pack.nodes.person_loras import AddLoRAToPerson

pytestmark = pytest.mark.both_hosts
FILES = {
    "instantid": "ip-adapter.bin",
    "loras": "anna.safetensors",
    "likeness_faces": "people/anna.safetensors",
    "parts2whole": "parts2whole.safetensors",
    "insightface": "models/antelopev2/glintr100.onnx",
    "facexlib": "recognition_arcface_ir_se50.pth",
}
"""By model key, one of each kind of menu."""


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the links of all model folders lead to; there is none."""
    away = tmp_path / "disk"
    for key in (*FILES, "ipadapter", "id_patch", "photomaker"):
        folders_and_endings = folder_paths.folder_names_and_paths.get(key, ([], set()))
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([str(tmp_path / key)], folders_and_endings[1]))
    for key, name in FILES.items():
        link = tmp_path / key / name
        link.parent.mkdir(parents=True)
        os.symlink(away / link.name, link)
    return away


def test_menus_do_not_offer_them(disk: Path) -> None:
    assert [folders.file_names(key) for key in FILES] == [[] for _ in FILES]
    assert parts2whole.choices() == []
    assert face_model.pack_names()[0] == face_model.NONE_FOUND


CHOSEN = {
    "instantid": lambda name: LoadAdapter.validate_inputs(name),
    "loras": lambda name: AddLoRAToPerson.validate_inputs(name),
    "likeness_faces": lambda name: LoadPerson.validate_inputs(name),
    "parts2whole": lambda name: parts2whole.path_of(name),
}


OTHERWISE = [("likeness_faces", "people/anna"), ("likeness_faces", "People\\anna"), ("loras", "./Anna.safetensors")]
"""Names of other spellings, or without the ending, as these menus take them."""


@pytest.mark.parametrize("key, chosen", [*((key, FILES[key]) for key in CHOSEN), *OTHERWISE])
def test_one_that_a_workflow_has_chosen_is_named_for_what_it_is(key: str, chosen: str, disk: Path) -> None:
    problem = rf"{FILES[key]} is a link to {disk}/.*, and there is no file\. Connect that disk"
    with pytest.raises(folders.DeadLink, match=problem):
        CHOSEN[key](chosen)


@pytest.mark.parametrize("pack, recogniser", [("antelopev2", "all found"), (face_model.NO_DETECTOR, "arcface-ir-se50")])
def test_one_of_a_face_pack_or_recogniser(pack: str, recogniser: str, disk: Path) -> None:
    error = face_model.refusal(pack, recogniser)
    assert isinstance(error, folders.DeadLink)
    assert f"is a link to {disk}" in str(error)


@pytest.mark.parametrize("identifier", ["instantid", "antelopev2", "arcface-ir-se50"])
def test_the_check_names_it(identifier: str, disk: Path) -> None:
    models = {model.id: model for model in manifest.models()}
    finding = examine(models[identifier], Folders(folders.folders_by_key()))
    assert finding.state == MISSING
    assert finding.fetch == models[identifier]
    assert f"is a link to {disk}/" in finding.detail
    assert finding.detail.endswith("its disk may not be connected.")
