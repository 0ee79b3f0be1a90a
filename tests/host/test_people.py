"""The people nodes inside the real host: model folders, photos through Load Image, the face bank, the cast."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import folder_paths
import numpy as np
import pytest
import real_faces
import torch
from arcface_seeded import crops, published_state
from host_nodes import novram
from pack.bridge.face_model import DetectorMissing
from pack.bridge.folders import UnsafePath
from pack.core import errors, inputs, measure
from pack.core.faces import analysis
from pack.core.faces.ir_se50 import published_shapes
from pack.core.faces.pictures import to_picture
from pack.core.identities import RecogniserMissing, combine
from pack.core.pictures import resized_photo
from pack.core.places import layouts
from pack.nodes import measure as measuring
from pack.nodes import people as nodes
from pack.nodes import photos as many
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
NO_DETECTOR, NO_RECOGNISER = "none (faces from landmarks)", "none (pictures alone)"
LISTED = ["all found", "antelopev2", "arcface-ir-se50", "w600k_mbf", "w600k_r50", NO_RECOGNISER]
"""Recognisers where w600k_mbf is installed: it, those that methods ask for, and none."""
MBF, IR_SE50 = "w600k_mbf", "arcface-ir-se50"
GOLDEN = ROOT / "tests" / "golden" / "arcface_ir_se50.safetensors"
LANDMARKS = ROOT / "tests" / "golden" / "face_landmarks.safetensors"
UNREADABLE = Path("/proc/self/mem")
"""Nobody can read it from its start."""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty models folder: `insightface` has two paths, as with extra_model_paths.yaml."""
    known = folder_paths.folder_names_and_paths
    paths = {
        "insightface": ["insightface", "more/insightface"],
        "facexlib": ["facexlib"],
        "likeness_faces": ["likeness_faces"],
    }
    for key, names in paths.items():
        monkeypatch.setitem(known, key, ([str(tmp_path / name) for name in names], known[key][1]))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def put(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(source, target)
    return target


@pytest.fixture
def pack(models):
    """A small pack in the place the release zip of antelopev2 unpacks to."""
    folder = models / "insightface" / "antelopev2" / "antelopev2"
    put(real_faces.DETECTOR, folder / "scrfd_10g_bnkps.onnx")
    put(real_faces.RECOGNISER, folder / "w600k_mbf.onnx")
    put(real_faces.LANDMARKS, folder / "2d106det.onnx")
    return folder


def load(pack="antelopev2", recognisers="all found", *saved):
    return nodes.LoadFaceModel.execute(pack, recognisers, *saved or ["auto"]).args[0]


@pytest.fixture
def face_model(pack):
    return load()


@pytest.fixture(scope="session")
def ir_se50_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("facexlib") / "recognition_arcface_ir_se50.pth"
    torch.save(published_state(published_shapes()), path)
    return path


@pytest.fixture
def ir_se50(models, ir_se50_file):
    return put(ir_se50_file, models / "facexlib" / ir_se50_file.name)


def options(node, name):
    return next(widget.options for widget in node.define_schema().inputs if widget.id == name)


def detect(model, image, order="left to right", min_size=0, max_faces=0):
    """(faces, picture, count)."""
    return nodes.DetectFaces.execute(model, image, order, min_size, max_faces).args


def made(model, image, name="Yao", which="only", missing="error", *landmarks, **size):
    """(identity, crops, report)."""
    return nodes.Identity.execute(model, image, name, which, missing, *landmarks, **size).args


def embedded(identity, recogniser=MBF):
    return identity.embeddings[recogniser]


def picture(name):
    return real_faces.image(getattr(real_faces, name))


def on_device(patcher):
    """Whether the host has loaded it."""
    return isinstance(patcher, comfy.model_patcher.ModelPatcher) and any(
        entry.model is patcher for entry in comfy.model_management.current_loaded_models
    )


def refused(node, *chosen):
    """What the node has against this choice before anything runs."""
    with pytest.raises((errors.ModelMissing, errors.CannotSave)) as caught:
        node.validate_inputs(*chosen)
    return str(caught.value)


# Model folders


@pytest.mark.parametrize(
    ("files", "pack"),
    [
        ("insightface/buffalo_s/buffalo_s", "buffalo_s"),
        ("more/insightface/models/buffalo_s", "buffalo_s"),
        ("insightface", "loose files"),
    ],
)
def test_every_layout_is_found_and_loads(models, files, pack):
    put(real_faces.DETECTOR, models / files / "det_500m.onnx")
    put(real_faces.RECOGNISER, models / files / "w600k_mbf.onnx")
    assert options(nodes.LoadFaceModel, "pack") == [pack, NO_DETECTOR]
    assert options(nodes.LoadFaceModel, "recognisers") == LISTED
    assert nodes.LoadFaceModel.validate_inputs(pack, MBF) is True
    assert load(pack, MBF).ids == [MBF]


def test_only_detector_and_recognisers_are_loaded_and_changed_ones_again(pack):
    """Whatever a saved workflow says of provider and backend."""
    fingerprint, name = nodes.LoadFaceModel.fingerprint_inputs, "scrfd_10g_bnkps.onnx"
    (pack / name).unlink()
    shutil.copyfile(real_faces.DETECTOR, pack / name)
    chosen, before = ("antelopev2", "all found"), load()
    assert options(nodes.LoadFaceModel, "backend") == ["auto", "torch", "insightface (onnxruntime)"]
    for saved in (["CUDA"], ["auto", "torch"], ["DirectML", "insightface (onnxruntime)"]):
        assert load(*chosen, *saved) == before == load("antelopev2", MBF, *saved) and len(before.get_models()) == 2
        assert fingerprint(*chosen, *saved) == fingerprint(*chosen, "auto")
    stamped = fingerprint(*chosen, "auto")
    os.utime(pack / name, ns=(1, 1))
    assert fingerprint(*chosen, "auto") != stamped
    assert load().detector is not before.detector and load().recognisers == before.recognisers


def test_what_is_not_there_is_named_with_folder_and_address_before_the_run(models):
    """As soon as it is chosen: it is in the menu, too. What is linked is left to the run."""
    assert options(nodes.LoadFaceModel, "pack") == ["none found", NO_DETECTOR]
    assert options(nodes.LoadIdentity, "file") == ["none found"]
    zip_ = "insightface/models", "deepinsight/insightface/releases/download/v0.7/antelopev2.zip (361 MB"
    facexlib = "facexlib", "arcface_ir_se50.pth (175 MB)"

    def lacks(what, folder, address, *chosen):
        message = refused(nodes.LoadFaceModel, *chosen)
        assert message.startswith(f"{what} was not found: ") and address in message, message
        assert f" not in {models}/{folder}." in message and "press R in ComfyUI" in message, message

    lacks("A face pack", *zip_, "none found", "all found")
    lacks("A face recogniser", *facexlib, NO_DETECTOR, "all found")
    put(real_faces.DETECTOR, models / "insightface/buffalo_s/det_500m.onnx")
    lacks("The face recogniser arcface-ir-se50", *facexlib, "buffalo_s", IR_SE50)
    lacks("A face recogniser", *zip_, "buffalo_s", "all found")
    assert IR_SE50 in options(nodes.LoadFaceModel, "recognisers")
    assert f"no person is saved yet (in {models}/likeness_faces)" in refused(nodes.LoadIdentity, "none found")
    assert refused(nodes.LoadIdentity, "").startswith("No saved person is chosen: ")
    assert nodes.LoadFaceModel.validate_inputs(None, "all found") is True
    assert nodes.LoadIdentity.validate_inputs(None) is True and nodes.LoadIdentity.fingerprint_inputs(None) == ""
    with pytest.raises(errors.ModelMissing, match="was not found: "):  # with nothing connected the loader's words
        detect(None, picture("YAO"))


PTH = "facexlib/recognition_arcface_ir_se50.pth"
IN_PACK = "insightface/antelopev2/antelopev2/"
# Pack, recogniser, the file and its bytes, and what is said.
UNFIT = {
    "no detector": (
        "odd", "all found", "insightface/odd/faces.onnx", real_faces.LANDMARKS.read_bytes, "neither .*detector nor",
    ),
    "cut off": (
        "antelopev2", "all found", "insightface/antelopev2/glintr100.onnx",
        lambda: real_faces.RECOGNISER.read_bytes()[:100_000], r"glintr100\.onnx .*cut off",
    ),
    "an operator that is not known": (
        "antelopev2", MBF, f"{IN_PACK}w600k_mbf.onnx",
        lambda: real_faces.RECOGNISER.read_bytes().replace(b"PRelu", b"Mystr"), "operator Mystr;",
    ),
    "no recogniser": (
        "antelopev2", "mine", f"{IN_PACK}mine.onnx", real_faces.LANDMARKS.read_bytes,
        r"^mine\.onnx is .*neither .*Choose another recogniser",
    ),
    "a web page": (
        "antelopev2", IR_SE50, PTH, lambda: b"<!DOCTYPE html><html></html>", r"arcface_ir_se50\.pth is a web page",
    ),
    "damaged": (
        "antelopev2", IR_SE50, PTH, lambda: b"PK\x03\x04 and nothing more", r"ir_se50\.pth is damaged or cut off",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_files_that_cannot_be_used_are_named(models, pack, kind):
    chosen, recognisers, name, data, message = UNFIT[kind]
    (models / name).parent.mkdir(parents=True, exist_ok=True)
    (models / name).unlink(missing_ok=True)  # a link to the real one
    (models / name).write_bytes(data())
    with pytest.raises(errors.UnsupportedCheckpoint, match=message):
        load(chosen, recognisers)


# IR-SE50, and networks in the host's hands


def test_networks_run_in_model_patchers_also_without_any_vram(pack, ir_se50):
    """IR-SE50 equals facexlib; of the others tests/faces tells."""
    assert options(nodes.LoadFaceModel, "recognisers") == LISTED
    loaded = load()
    assert loaded.ids == [MBF, IR_SE50]
    shown, cut = to_picture(picture("YAO")[0]), list(crops().numpy())
    found, *rows = loaded.detector(shown, 320), *(one.embed(cut) for one in loaded.recognisers)
    assert found and (rows[1] - load_file(GOLDEN)["embeddings"]).abs().max() <= 1e-5
    patchers = loaded.get_models()
    assert len(patchers) == 3 and all(map(on_device, patchers))
    assert load(recognisers=IR_SE50).get_models() == [patchers[0], patchers[2]]
    with novram():
        assert loaded.detector(shown, 320) == found
        assert all(torch.equal(one.embed(cut), row) for one, row in zip(loaded.recognisers, rows, strict=True))
        assert all(patcher.model.model_lowvram for patcher in patchers)


@pytest.mark.parametrize("form", ["zip", "old pickle", "safetensors", "another network"])
def test_ir_se50_is_recognised_by_its_keys(models, pack, form):
    state = {key: torch.zeros(1) for key in published_shapes()}
    path = models / "facexlib" / f"renamed.{'safetensors' if form == 'safetensors' else 'pth'}"
    path.parent.mkdir()
    if form == "safetensors":
        save_file(state, path)
    elif form == "another network":
        torch.save({"body.stage1.0.weight": torch.zeros(1)}, path)
        if UNREADABLE.is_file():
            (models / "facexlib" / "unreadable.pth").symlink_to(UNREADABLE)
        assert refused(nodes.LoadFaceModel, "antelopev2", IR_SE50)
        return
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    assert options(nodes.LoadFaceModel, "recognisers") == LISTED
    assert nodes.LoadFaceModel.validate_inputs("antelopev2", IR_SE50) is True


# Faces from the host's landmarks


@pytest.fixture
def without_pack(ir_se50):
    """IR-SE50 and nothing else."""
    assert nodes.LoadFaceModel.validate_inputs(NO_DETECTOR, IR_SE50) is True
    return load(NO_DETECTOR, IR_SE50)


def landmarks_of(name, *photos):
    """As the host's node gives them for these photos."""
    points = load_file(LANDMARKS)[name].numpy()
    faces = [{"landmarks_xy": one, "score": 0.9 - n / 10, "presence": 5.0} for n, one in enumerate(points)]
    return {"frames": [faces] * len(photos), "image_size": tuple(photos[0].shape[1:3]), "connection_sets": {}}


def test_faces_from_landmarks_need_no_pack(without_pack):
    photo = picture("SIX_FRIENDS")
    given = landmarks_of("six_friends", photo)
    output = nodes.DetectFaces.execute(without_pack, photo, "left to right", 0, 2, given)
    faces, preview, count = output.args
    assert count == len(faces.faces) == 2 and (faces.width, faces.height) == (1280, 886)
    assert preview.shape == photo.shape and not torch.equal(preview, photo) and output.ui.as_dict()["images"]
    assert faces.faces[0].keypoints[2][0] < faces.faces[1].keypoints[2][0]
    for face in faces.faces:
        assert list(face.embeddings) == [IR_SE50] and face.crop.std() > 0.1
        assert float(embedded(face, IR_SE50).norm()) == pytest.approx(1, abs=1e-4)
    assert len(without_pack.get_models()) == 1
    with pytest.raises(errors.BadPhoto, match="shows 3 faces where one person is meant"):
        made(without_pack, photo, "Anna", "only", "error", given)


def test_an_identity_from_landmarks(without_pack):
    photo = picture("YAO")
    twice, found = torch.cat([photo, photo]), landmarks_of("yao", photo)
    identity, cut, report = made(without_pack, twice, "Yao", "only", "error", landmarks_of("yao", photo, photo))
    assert embedded(identity, IR_SE50).shape == (2, 512) and len(cut) == 2 and "2 photos used" in report

    def resized(image, given, **size):
        return embedded(made(without_pack, image, "Yao", "only", "error", given, **size)[0], IR_SE50)[0]

    larger = resized_photo(photo, 1280, 64)
    ratio = np.divide(larger.shape[2:0:-1], photo.shape[2:0:-1])
    points = [[{"landmarks_xy": found["frames"][0][0]["landmarks_xy"] * ratio, "score": 0.9}]]
    there = {**landmarks_of("yao", larger), "frames": points}
    assert torch.allclose(resized(photo, found, photo_size="1280 px"), resized(larger, there), atol=1e-6)


def test_a_face_is_recognised_in_the_photo_as_instant_id_s_authors_resize_it(face_model):
    photo = picture("YAO")

    def seen(image, **given):
        identity, _, report = made(face_model, image, "Yao", "largest", "error", **given)
        sides = re.search(r"face of (\d+)x(\d+) px", report)
        return embedded(identity)[0], [int(side) for side in sides.groups()]

    (ours, face), (same, _), (raw, own) = (
        seen(photo, photo_size="1280 px"), seen(resized_photo(photo, 1280, 64)), seen(photo)
    )  # fmt: skip
    assert torch.allclose(ours, same, atol=1e-5) and not torch.allclose(ours, raw, atol=1e-2)
    assert face == pytest.approx(own, rel=0.05), "in pixels of the photo as it came"
    cast = nodes.PeopleFromPhotos.execute(face_model, "Yao", "largest", photo_size="1280 px", photo_1=photo).args[0]
    assert torch.equal(embedded(cast.people[0].identity)[0], ours)


def test_people_of_pictures_alone(models):
    """No file of any recogniser: made, saved, loaded, blended, listed; what needs numbers says so."""
    assert nodes.LoadFaceModel.validate_inputs(NO_DETECTOR, NO_RECOGNISER) is True
    pictures_alone = load(NO_DETECTOR, NO_RECOGNISER)
    assert not pictures_alone.ids and not pictures_alone.get_models()
    photo = picture("YAO")
    given = landmarks_of("yao", photo)
    yao = made(pictures_alone, photo, "Yao", "only", "error", given)[0]
    assert not yao.embeddings and yao.portraits.loose.float().std() > 10
    nodes.SaveIdentity.execute(yao, "yao")
    loaded = nodes.LoadIdentity.execute("yao.safetensors").args[0]
    assert not loaded.embeddings and torch.equal(loaded.portraits.aligned, yao.portraits.aligned)
    both = nodes.BlendIdentities.execute(yao, loaded, 0.5, "slerp", "").args[0]
    assert torch.equal(both.portraits.loose, yao.portraits.loose)
    cast = nodes.Cast.execute(person_1=yao, person_2=both).args[0]
    with pytest.raises(RecogniserMissing, match=r"InstantID needs antelopev2, .*\(Yao\) has no embedding"):
        combine(yao, "antelopev2", "mean", "InstantID")
    with pytest.raises(errors.BadCast, match=r"the face model has none; Yao has no embedding.*Pictures alone"):
        measure.judges(pictures_alone.ids, cast.people, "unknown")
    sort = many.CastFromPhotos.execute
    with pytest.raises(errors.BadCast, match=r"cannot be sorted .*no recogniser.*Identity for each person, then Cast"):
        sort(pictures_alone, photo, "none", "one per photo", "", "largest", "", "skip", 0.4, given)


def test_what_the_hosts_own_node_finds(without_pack, standin_models):
    """Its stand-in puts one face into the middle of whatever it is shown."""
    mediapipe = pytest.importorskip("comfy_extras.nodes_mediapipe", reason="this ComfyUI finds no landmarks")
    photo = picture("YAO")
    with torch.inference_mode():
        loaded = mediapipe.FaceLandmarkerModel(comfy.utils.load_torch_file(str(standin_models.landmarker)))
        given = mediapipe.MediaPipeFaceLandmarker.execute(loaded, photo, "both", 0, 0.5, "empty").args[0]
        inputs.face_landmarks("face_landmarks", given)
        faces = nodes.DetectFaces.execute(without_pack, photo, "score", 0, 0, given).args[0]
    (face,) = faces.faces
    x0, y0, x1, y1 = face.box
    assert x0 + x1 == pytest.approx(233, abs=2) and y1 - 287 / 2 == pytest.approx(287 / 3, abs=2)
    assert y0 == pytest.approx(287 / 2 - 287 / 3 * 1.24, abs=2) and face.score > 0.9  # with the hair
    left_eye, right_eye, nose, *_ = face.keypoints
    assert left_eye[0] < nose[0] < right_eye[0] and left_eye[1] < nose[1] and right_eye[1] < nose[1]
    assert embedded(made(without_pack, photo, "Yao", "only", "error", given)[0], IR_SE50).isfinite().all()


def test_without_landmarks_and_without_a_detector_nobody_is_found(without_pack):
    photo = picture("COFFEE")
    nobody = {"frames": [[]], "image_size": tuple(photo.shape[1:3]), "connection_sets": {}}
    with pytest.raises(errors.FaceNotFound, match=r"Nobody .*Detect Face Landmarks \(MediaPipe\)"):
        made(without_pack, photo, "Nobody", "only", "error", nobody)
    assert len(made(without_pack, photo, "Nobody", "only", "skip", nobody)[1]) == 0
    for run in (lambda: detect(without_pack, photo), lambda: made(without_pack, photo, "Yao", "only", "skip")):
        with pytest.raises(DetectorMissing, match=r"Load Face Model .*none.* face_landmarks"):
            run()


# Faces and identities


def test_detect_faces_numbers_the_picture_and_the_places(face_model):
    """Whatever the order and the filter: place 1 of the layout is face 1."""
    image = picture("SIX_FRIENDS")
    output = nodes.DetectFaces.execute(face_model, image, "left to right", 0, 0)
    faces, _, count = output.args
    assert count == len(faces.faces) == 6 and (faces.width, faces.height) == (1280, 886)
    assert output.ui.as_dict()["images"]
    with pytest.raises(errors.BadPhoto, match=r"Detect Faces .*3 pictures"):
        detect(face_model, torch.zeros(3, 64, 64, 3))
    largest = detect(face_model, image, "largest", 0, 2)[0].faces
    assert len(largest) == 2 and largest[0].box in [face.box for face in faces.faces]
    for order, min_size in (("largest", 0), ("top to bottom", 90)):
        faces, preview, count = detect(face_model, image, order, min_size, 3)
        assert torch.equal(preview[0], analysis.numbered_faces(image[0], faces.faces)) and count == 3
        layout = layouts.from_faces(faces, faces.width, 880, "stretch", "none")
        assert [slot.center[0] for slot in layout.slots] == [face.keypoints[2][0] for face in faces.faces]


def test_without_a_face_model_nodes_take_what_a_new_loader_takes(face_model, models):
    image = picture("SIX_FRIENDS")
    given, taken = (detect(model, image)[0] for model in (face_model, None))
    for one, other in zip(given.faces, taken.faces, strict=True):
        assert one.box == other.box and one.embeddings.keys() == other.embeddings.keys() == {MBF}
        assert torch.equal(embedded(one), embedded(other))
    ross = made(None, image, "Ross", "3")[0]
    assert torch.equal(embedded(ross)[0], embedded(given.faces[2]))
    settings = {"made_with": "unknown", "stranger_below": 0.2, "min_size": 0}
    assert measuring.Measure.execute(images=image, identity=ross, **settings).args[3] > 0.99
    before = [node.fingerprint_inputs(image=None) for node in (nodes.DetectFaces, nodes.PeopleFromPhotos)]
    put(real_faces.RECOGNISER, models / "insightface" / "more" / "w600k_r50.onnx")
    after = [node.fingerprint_inputs(image=None) for node in (nodes.DetectFaces, nodes.PeopleFromPhotos)]
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert nodes.DetectFaces.fingerprint_inputs(face_model=None, image=None) == "()"  # linked: the loader knows


def test_photos_of_one_person_are_all_kept(face_model, caplog):
    photo = picture("YAO")
    identity, faces, report = made(face_model, torch.cat([photo, photo.flip(2)]))
    assert identity.name == "Yao" and embedded(identity).shape == (2, 512)
    assert torch.equal(faces, identity.crops) and faces.shape == (2, 112, 112, 3)
    assert report.startswith("Yao: 2 of 2 photos used\nphoto 1 of 2 of Yao: used, face of 105x139 px, score 0.84")
    small = "Faces small in the photos: Yao (photo 1) 105, Yao (photo 2) 104 px; 112 needed: larger photos"
    assert caplog.messages[-1] == small


def test_photos_without_a_face_are_named_or_dropped(face_model, caplog):
    photos = torch.cat([picture(name)[:, :280, :220] for name in ("YAO", "COFFEE", "YAO")])
    with pytest.raises(errors.FaceNotFound, match=r"photo 2 of 3 of Yao.*on_no_face = skip"):
        made(face_model, photos)
    with pytest.raises(errors.FaceNotFound, match=r"not covered\.$"):
        made(face_model, photos[1:2])
    identity, faces, report = made(face_model, photos, "Yao", "only", "skip")
    assert len(faces) == len(embedded(identity)) == 2 and "Yao: 2 of 3 photos used" in report
    assert "photo 2 of 3 of Yao: dropped. No face found in photo 2 of 3 of Yao (220x280 px) after trying" in report
    assert "No face found, dropped: photo 2 of 3 of Yao\n" in caplog.messages[-1]


def test_cancel_stops_between_photos_and_the_next_run_is_right(face_model):
    management, photo = comfy.model_management, picture("YAO")
    expected = embedded(made(face_model, photo)[0])
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        made(face_model, photo)
    assert torch.equal(embedded(made(face_model, photo)[0]), expected)


# Face bank


@pytest.fixture
def yao(face_model):
    return made(face_model, picture("YAO"))[0]


def test_saved_people_come_back_bit_equal(models, yao):
    saved, path = nodes.SaveIdentity.execute(yao, "team/yao").args
    assert saved is yao and Path(path) == models / "likeness_faces" / "team" / "yao.safetensors"
    assert os.listdir(Path(path).parent) == ["yao.safetensors"]
    (file,) = options(nodes.LoadIdentity, "file")
    assert nodes.LoadIdentity.validate_inputs(file) is True
    loaded, faces = nodes.LoadIdentity.execute(file).args
    assert loaded.name == "Yao" and torch.equal(faces, yao.crops)
    assert torch.equal(embedded(loaded), embedded(yao))
    assert torch.equal(loaded.portraits.aligned, yao.portraits.aligned)
    assert torch.equal(loaded.portraits.loose, yao.portraits.loose)
    before = nodes.LoadIdentity.fingerprint_inputs(file)
    os.utime(path, ns=(1, 1))
    assert nodes.LoadIdentity.fingerprint_inputs(file) != before, "saving again is seen"


def test_a_name_without_a_saved_person_names_those_there_are(models, yao):
    """The nearest name first, however it is written; of many as many as fit."""
    for name in ("Yao Ming", "team/Ross", *(f"extra {number}" for number in range(9))):
        nodes.SaveIdentity.execute(yao, name)
    said = refused(nodes.LoadIdentity, "yao ning.safetensors")
    assert said.startswith("No saved person is called 'yao ning': saved are, the nearest name first, Yao Ming, ")
    assert " and 3 more (in " in said and "Choose one of them in Load Identity, or save this person with" in said


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        *((name, UnsafePath, r"leads outside of .*likeness_faces") for name in ("a/../../yao", "/tmp/yao", "..")),
        *((name, errors.CannotSave, r"empty.* family/anna") for name in ("  ", ".safetensors", "family/")),
        ("x" * 244, errors.CannotSave, r"'x{57}\.\.\.' .*256 bytes .*255"),
        ("王" * 82, errors.CannotSave, "takes 258 bytes"),
        ("new/" + "x" * 2_000_000, errors.CannotSave, "takes 2000012 bytes"),
        ("a/" * 5000 + "yao", errors.CannotSave, r"'(a/){28}a\.\.\.' .*5000 sub-folders.* 32"),
        ("taken/yao", errors.CannotSave, r"yao.safetensors could not be written: File exists .*likeness_faces"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_names_that_no_file_can_have(models, yao, name, error, why):
    taken = models / "likeness_faces" / "taken"
    taken.parent.mkdir()
    taken.write_text("a file, not a folder")
    with pytest.raises(error, match=why):
        nodes.SaveIdentity.execute(yao, name)
    assert not list(models.rglob("*yao*")) and os.listdir(taken.parent) == ["taken"]
    if error is UnsafePath:
        with pytest.raises(UnsafePath):
            nodes.LoadIdentity.validate_inputs(f"{name}/x.safetensors")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *((name, name) for name in ("x" * 243, "王" * 81, "/".join("abcdefghijklmnopqrstuvwxyz"))),
        *((name, "An na") for name in ("An\ud800na", "An\0na", " An\nna\x1b ", "An  na.safetensors")),
    ],
    ids=lambda value: ascii(value)[:12],
)
def test_names_that_are_lines_of_letters_are_files(models, yao, name, file):
    assert Path(nodes.SaveIdentity.execute(yao, name).args[1]).is_file()
    assert options(nodes.LoadIdentity, "file") == [f"{file}.safetensors"]


def test_a_full_disk_leaves_the_older_file_and_no_half_one(models, yao):
    resource = pytest.importorskip("resource", reason="the system sets no limit to the size of files")

    path = Path(nodes.SaveIdentity.execute(yao, "yao").args[1])
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(errors.CannotSave, match=r"yao\.safetensors .*File too large"):
            nodes.SaveIdentity.execute(yao, "yao")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(path.parent) == ["yao.safetensors"] and path.read_bytes() == before


def test_a_saved_person_that_cannot_be_read(models, yao):
    path = Path(nodes.SaveIdentity.execute(yao, "yao").args[1])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"yao\.safetensors is damaged"):
        nodes.LoadIdentity.execute("yao.safetensors")
    if UNREADABLE.is_file():
        path.unlink()
        path.symlink_to(UNREADABLE)
        with pytest.raises(errors.UnsupportedCheckpoint, match=r"yao\.safetensors .*cannot be read"):
            nodes.LoadIdentity.execute("yao.safetensors")


# The cast


def test_cast_lists_people_in_order(yao):
    first = nodes.Cast.execute(person_2=yao, person_5=yao, weight_5=0.5)
    cast, preview = first.args
    assert [person.weight for person in cast.people] == [1.0, 0.5]
    assert preview.shape[0] == 1 and first.ui.as_dict()["images"]
    with pytest.raises(errors.BadCast, match=r"person_1 to person_8 .*person_9, person_10 "):
        nodes.Cast.execute(person_1=yao, person_9=yao, person_10=yao)
    with pytest.raises(errors.BadCast, match=r"no person is connected.* Load Identity"):
        nodes.Cast.execute()
    longer = nodes.Cast.execute(cast=cast, person_1=yao, weight_1=0.25).args[0]
    assert [person.weight for person in longer.people] == [1.0, 0.5, 0.25]


def test_cast_leaves_out_people_without_photos_and_says_so(face_model, yao, caplog):
    nobody = made(face_model, picture("COFFEE"), "Nobody", "only", "skip")[0]
    with pytest.raises(errors.CannotSave, match=r"Nobody .*no photo"):
        nodes.SaveIdentity.execute(nobody, "no people")
    with pytest.raises(errors.BadCast, match="no photo of Nobody"):
        nodes.Cast.execute(person_3=nobody)
    output = nodes.Cast.execute(person_1=nobody, person_2=yao)
    cast = output.args[0]
    assert [person.identity.name for person in cast.people] == ["Yao"]
    assert caplog.messages[-1] == "Left out, no photo with a face: Nobody"
    assert (cast.numbers, cast.absent) == ((2,), ((1, "Nobody"),))
    caplog.clear()
    longer = nodes.Cast.execute(cast=cast, person_1=yao, person_4=nobody, person_7=yao).args[0]
    assert (longer.numbers, longer.absent) == ((2, 3, 5), ((1, "Nobody"), (4, "Nobody")))
    assert caplog.messages[0].splitlines()[0] == "Left out, no photo with a face: Nobody", "named by the Cast before"


def test_the_same_person_twice_is_told(face_model, caplog):
    """By both nodes that list people; whoever has weight 0 is not in the picture."""
    photo, told = picture("YAO"), "Anna and Ben look like one person, 1.00: is one photo there twice?"
    nodes.PeopleFromPhotos.execute(face_model, "Anna, Ben", "only", photo_1=photo, photo_2=photo)
    assert caplog.messages[-1].splitlines()[-1] == told
    anna, ben = (made(face_model, photo, name)[0] for name in ("Anna", "Ben"))
    nodes.Cast.execute(person_1=anna, person_2=ben)
    assert caplog.messages[-1] == told
    caplog.clear()
    nodes.Cast.execute(person_1=anna, person_2=ben, weight_2=0.0)
    assert not caplog.messages


def test_photos_straight_to_a_cast_are_identities_in_a_cast(face_model, caplog):
    """Name by the number of the photo, weight 1; several photos of one person are kept."""
    yao, astronaut = picture("YAO"), picture("ASTRONAUT")
    two = torch.cat([yao, yao.flip(2)])
    output = nodes.PeopleFromPhotos.execute(face_model, "Yao\uff0c, Anna,Ben", "only", photo_2=astronaut, photo_1=two)
    cast, preview = output.args
    one_by_one = [made(face_model, photo, name)[0] for photo, name in ((two, "Yao"), (astronaut, "person 2"))]
    by_hand = nodes.Cast.execute(person_1=one_by_one[0], person_2=one_by_one[1]).args
    for person, identity in zip(cast.people, one_by_one, strict=True):
        assert (person.weight, person.identity.name) == (1.0, identity.name)
        assert torch.equal(person.identity.crops, identity.crops)
        assert torch.equal(person.identity.portraits.loose, identity.portraits.loose)
        assert torch.equal(embedded(person.identity), embedded(identity))
    assert torch.equal(preview, by_hand[1]) and output.ui.as_dict()["images"]
    assert any(said.startswith("Left out, no photo: Anna, Ben\n") for said in caplog.messages)
    nodes.PeopleFromPhotos.execute(face_model, "Yao, " + "and so on, " * 99, "only", photo_1=yao)
    assert "and so on, 91 more\n" in caplog.messages[-1] and len(caplog.messages[-1]) < 300


@pytest.mark.parametrize(
    ("photos", "error", "words"),
    [
        ({}, errors.BadCast, "no photo is connected.* photo_1"),
        ({"photo_1": real_faces.YAO, "photo_9": real_faces.YAO}, errors.BadCast, "photo_1 to photo_8 .*photo_9 "),
        ({"photo_1": real_faces.YAO, "photo_3": real_faces.COFFEE}, errors.FaceNotFound, "the photo of Cleo "),
        ({"photo_2": real_faces.SIX_FRIENDS}, errors.BadPhoto, "The photo of Ben shows 6 faces .*People from Photos"),
    ],
)
def test_photos_that_make_no_cast(face_model, photos, error, words):
    given = {name: real_faces.image(path) for name, path in photos.items()}
    with pytest.raises(error, match=words):
        nodes.PeopleFromPhotos.execute(face_model, "Anna, Ben, Cleo", "only", **given)
