"""Face packs wherever extra_model_paths.yaml points: at the pack itself, at the folders around it, one too high."""

import re
import shutil
from pathlib import Path

import folder_paths
import pytest
from pack.bridge.host import folders
from pack.bridge.people import face_model
from pack.core.checks.errors import BadSetup, ModelMissing
from pack.core.checks.text import as_typed
from pack.core.models import manifest, packs
from pack.core.models.file_check import examine
from pack.core.models.file_findings import FOUND, MISPLACED, MISSING
from pack.core.models.model_folders import Folders, fetching, target
from pack.nodes.faces import LoadFaceEmbedder
from shared import standins
from standins_made import Standins

pytestmark = pytest.mark.both_hosts
ANTELOPE = manifest.model("antelopev2")


@pytest.fixture
def store(tmp_path: Path, standin_models: Standins) -> Path:
    """A folder of models as insightface and ComfyUI have it, with a detector and a recogniser."""
    folder = tmp_path / "models" / "insightface" / "models" / "antelopev2"
    standins.copy_face_pack(folder, ["det_500m.onnx"])
    (folder / "det_500m.onnx").rename(folder / "scrfd_10g_bnkps.onnx")
    shutil.copy(standin_models.antelope, folder / "glintr100.onnx")
    return folder


def search(monkeypatch: pytest.MonkeyPatch, *roots: object) -> None:
    endings = folder_paths.folder_names_and_paths["insightface"][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "insightface", (list(map(str, roots)), endings))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "facexlib", ([], set()))


UP = {"the pack itself": 0, "the folder of packs": 1, "insightface": 2, "all models": 3}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("deep", UP)
def test_the_pack_is_found_from_every_folder_around_it(
    deep: str, slash: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = [store, *store.parents][UP[deep]]
    search(monkeypatch, f"{root}{slash}")
    assert face_model.pack_names() == ["antelopev2", face_model.NO_DETECTOR]
    assert "antelopev2" in face_model.recogniser_names()
    assert LoadFaceEmbedder.validate_inputs("antelopev2", "antelopev2") is True
    loaded = face_model.load_face_model("antelopev2", "antelopev2")
    assert loaded.ids == ["antelopev2"]
    finding = examine(ANTELOPE, Folders(folders.folders_by_key()))
    assert (finding.state, finding.detail) == (FOUND, str(store))


def test_workflows_saved_where_it_was_called_otherwise_still_load(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search(monkeypatch, store)
    for saved in (packs.LOOSE, "AntelopeV2", "insightface/models/antelopev2", "models/antelopev2"):
        assert LoadFaceEmbedder.validate_inputs(saved, "antelopev2") is True
        assert face_model.load_face_model(saved, "antelopev2").ids == ["antelopev2"]
    search(monkeypatch, store.parents[1])
    with pytest.raises(
        BadSetup, match=r"lies directly in .*insightface; in their folders lie the face packs antelopev2\."
    ):
        LoadFaceEmbedder.validate_inputs(packs.LOOSE, "antelopev2")


OF_THEIR_OWN = [
    "mine/antelopev2", "Mine/AntelopeV2", "antelopev2/antelopev2", "mine/antelopev2/antelopev2",
    "antelopev2-main/ANTELOPEV2", "people/faces/antelopev2",
]  # fmt: skip


@pytest.mark.parametrize("folder", OF_THEIR_OWN)
def test_a_published_pack_in_a_folder_of_the_users_own_is_taken(
    folder: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store.parent
    aside = store.rename(root.parent / "aside")
    (root / folder).parent.mkdir(parents=True, exist_ok=True)
    aside.rename(root / folder)
    search(monkeypatch, root)
    assert LoadFaceEmbedder.validate_inputs("antelopev2", "antelopev2") is True
    assert face_model.load_face_model("antelopev2", "antelopev2").ids == ["antelopev2"]
    finding = examine(ANTELOPE, Folders(folders.folders_by_key()))
    assert finding.state == FOUND
    assert finding.detail.startswith(str(root / folder))


def test_of_two_packs_of_one_name_nobody_is_guessed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check names one that can be moved."""
    root = store.parent
    for folder in ("mine", "other"):
        shutil.copytree(store, root / folder / "antelopev2")
    shutil.rmtree(store)
    search(monkeypatch, root)
    several = "There are 2 folders of the face pack antelopev2: mine/antelopev2, other/antelopev2. Choose one"
    with pytest.raises(BadSetup, match=several):
        LoadFaceEmbedder.validate_inputs("antelopev2", "antelopev2")
    finding = examine(ANTELOPE, Folders(folders.folders_by_key()))
    assert finding.state == MISPLACED
    assert finding.detail.startswith("Move glintr100.onnx, scrfd_10g_bnkps.onnx from ")
    assert finding.detail.endswith(f"antelopev2 into {store}.")


def test_capital_letters(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the pack, the folders around it, and the endings."""
    root = store.parents[1].rename(store.parents[2] / "InsightFace")
    folder = (root / "models").rename(root / "Models") / "antelopev2"
    folder = folder.rename(folder.with_name("AntelopeV2"))
    (folder / "scrfd_10g_bnkps.onnx").rename(folder / "SCRFD_10G_BNKPS.ONNX")
    (folder / "glintr100.onnx").rename(folder / "GLINTR100.ONNX")
    for searched in (root, root / "Models", folder, root.parent):
        search(monkeypatch, searched)
        assert face_model.pack_names()[0] == "antelopev2"
        assert face_model.load_face_model("antelopev2", "antelopev2").ids == ["antelopev2"]
        assert examine(ANTELOPE, Folders(folders.folders_by_key())).state == FOUND


def test_a_pack_of_ones_own_in_the_layout_of_insightface(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is no known one, but the folders around it tell."""
    mine = store.rename(store.with_name("mine"))
    search(monkeypatch, mine)
    assert face_model.pack_names()[0] == "mine"
    # Anywhere else files that lie directly in a folder are of no pack.
    elsewhere = store.parents[2] / "faces"
    mine.rename(elsewhere)
    search(monkeypatch, elsewhere)
    assert face_model.pack_names()[0] == packs.LOOSE
    assert LoadFaceEmbedder.validate_inputs(packs.LOOSE, "antelopev2") is True


def test_what_a_mac_writes_beside_files_is_no_model(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a stick or a network drive, and in a zip: of each file one with the same ending and no model in it."""
    beside = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(4000)
    others = tmp_path / "facexlib"
    others.mkdir()
    for path in (*store.iterdir(), store, others / "recognition_arcface_ir_se50.pth"):
        path.with_name(f"._{path.name}").write_bytes(beside)
    search(monkeypatch, store.parents[1])
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "facexlib", ([str(others)], {".pth"}))
    assert face_model.pack_names() == ["antelopev2", face_model.NO_DETECTOR]
    assert not [name for name in face_model.recogniser_names() if name.startswith("._")]
    assert face_model.load_face_model("antelopev2", "antelopev2").ids == ["antelopev2"]
    assert caplog.text == ""
    with pytest.raises(ModelMissing, match="was not found"):
        face_model.load_face_model("antelopev2", "arcface-ir-se50")
    finding = examine(ANTELOPE, Folders(folders.folders_by_key()))
    assert (finding.state, finding.detail) == (FOUND, str(store))


def test_one_folder_under_two_keys(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search(monkeypatch, store, f"{store}/")
    folders_by_key = folder_paths.folder_names_and_paths
    monkeypatch.setitem(folders_by_key, "facexlib", ([f"{store}/"], folders_by_key["insightface"][1]))
    assert folders.folders("facexlib", "insightface") == [str(store)]
    assert face_model.load_face_model("antelopev2", face_model.ALL).ids == ["antelopev2"]
    assert examine(ANTELOPE, Folders(folders.folders_by_key())).state == FOUND


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ("insightface", "insightface/models/antelopev2"),
        ("insightface/models", "insightface/models/antelopev2"),
        ("insightface/models/antelopev2", "insightface/models/antelopev2"),
        ("my packs/AntelopeV2", "my packs/AntelopeV2"),
        ("faces", "faces/models/antelopev2"),
        ("models", "models/antelopev2"),
    ],
)
def test_a_download_goes_where_it_is_searched(
    root: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / root).mkdir(parents=True)
    search(monkeypatch, tmp_path / root)
    itself = root == place
    named = "glintr100.onnx" if itself else "antelopev2/glintr100.onnx"
    folder = tmp_path / place if itself else (tmp_path / place).parent
    with pytest.raises(ModelMissing, match=f"{named} are not in {folder}\\."):
        LoadFaceEmbedder.validate_inputs("antelopev2", "all found")
    model_folders = Folders({"insightface": [str(tmp_path / root)]})
    finding = examine(ANTELOPE, model_folders)
    assert (finding.state, finding.place) == (MISSING, tmp_path / place)
    fetch, unpack = fetching(ANTELOPE, model_folders)
    assert f"-o {as_typed(f'{tmp_path / place}.zip')} " in fetch
    into = tmp_path / place.removesuffix("/antelopev2")  # the zip holds a folder of this name
    assert unpack.endswith(f" {as_typed(f'{tmp_path / place}.zip')} {as_typed(into)}")


def test_a_download_does_not_go_into_another_pack(tmp_path: Path) -> None:
    model_folders = Folders({"insightface": [str(tmp_path / "buffalo_l"), str(tmp_path / "insightface")]})
    assert target(ANTELOPE, model_folders) == tmp_path / "insightface" / "models" / "antelopev2"
    high = tmp_path / "models"
    (high / "insightface").mkdir(parents=True)
    assert packs.folder_for("antelopev2", [str(high)]) == high / "insightface" / "models" / "antelopev2"


@pytest.mark.parametrize("model", manifest.models(), ids=lambda model: model.id)
def test_no_proposal_of_the_check_leads_into_its_source(
    model: manifest.Model, standin_models: Standins, tmp_path: Path
) -> None:
    """Every model below the folder of all models, while its key searches each of the folders around it, down to its
    own: found there, or a place to move it to that is another one."""
    name = model.files[0].names[0]
    file = tmp_path / "all" / model.key / name
    file.parent.mkdir(parents=True)
    source = standin_models.root / model.key / name
    if source.is_file():
        shutil.copy(source, file)
    else:
        file.write_bytes(b"PK\x03\x04 something")
    root = file.parent
    while root != tmp_path:
        model_folders = Folders({model.key: [str(root)], "": [str(tmp_path / "all")]})
        finding = examine(model, model_folders)
        moving = re.fullmatch(r"(?:(.*) is it: move it to|Move .* from (.*) into) (.*)\.", finding.detail)
        assert (finding.state == MISPLACED) == bool(moving) or "is not unpacked" in finding.detail
        assert not moving or moving[3] != (moving[1] or moving[2]), finding.detail
        root = root.parent
