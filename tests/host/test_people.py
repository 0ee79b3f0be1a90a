"""The people nodes inside the real host: model folders, photos, landmarks, saved people, the cast."""

import asyncio
import io
import os
import re
import shutil
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import folder_paths
import pytest
import real_faces
import torch
from arcface_seeded import published_state
from pack.bridge.host.folders import UnsafePath
from pack.bridge.people import kept_people, saved_people
from pack.core.cast import Absent, Lora, Person, person_without_photo
from pack.core.checks import errors
from pack.core.faces.ir_se50 import published_shapes
from pack.core.persons.combining import EmbeddingMissing, combine
from pack.core.pictures.tensors import eight_bits, resized_photo
from pack.nodes import people
from pack.nodes.casts import CastFromPhotos, CastNode
from pack.nodes.faces import TORCH, DetectFaces, LoadFaceEmbedder
from pack.nodes.kept_people import KeepPeople, KeptPeople
from pack.nodes.people import BlendTwoPeople, LoadPerson, PersonNode, SavePerson
from safetensors.torch import load_file
from sample_values import a_person, dressed, unplaced
from torch.nn.functional import cosine_similarity, interpolate

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NO_DETECTOR, PICTURES_ALONE = "none (faces from landmarks)", "none (pictures alone)"
MBF, IR_SE50 = "w600k_mbf", "arcface-ir-se50"
LISTED = ["all found", "antelopev2", IR_SE50, MBF, "w600k_r50", PICTURES_ALONE]
"""Recognisers where w600k_mbf is installed: it, those that methods ask for, and none."""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty models folder: `insightface` has two paths, as with extra_model_paths.yaml."""
    folders_by_key = folder_paths.folder_names_and_paths
    for key, other_paths in (("insightface", ["more/insightface"]), ("facexlib", []), ("likeness_faces", [])):
        paths = [str(tmp_path / name) for name in (key, *other_paths)]
        monkeypatch.setitem(folders_by_key, key, (paths, folders_by_key[key][1]))
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
    assert LoadFaceEmbedder.validate_inputs(pack, recognisers) is True
    return LoadFaceEmbedder.execute(pack, recognisers, *saved or ["auto"]).args[0]


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


def detect(model, image, order="left to right", min_size=0, max_faces=0, *landmarks):
    """(faces, picture, count)."""
    return DetectFaces.execute(model, image, order, min_size, max_faces, *landmarks).args


def person_of(model, image, name="Yao", which_face="only", missing="error", *landmarks, **size):
    """(person, crops, report)."""
    return PersonNode.execute(model, image, name, which_face, missing, *landmarks, **size).args


def embedded(person, recogniser=MBF):
    return person.embeddings[recogniser]


def picture(name):
    return real_faces.image(getattr(real_faces, name))


def refused(node, *chosen, error=(errors.ModelMissing, errors.CannotSave)):
    """What the node has against this choice before anything runs."""
    with pytest.raises(error) as caught:
        node.validate_inputs(*chosen)
    return str(caught.value)


def test_every_layout_is_found_and_loads(models):
    for folder in ("insightface/buffalo_s/buffalo_s", "more/insightface/models/buffalo_m", "insightface"):
        put(real_faces.DETECTOR, models / folder / "det_500m.onnx")
        put(real_faces.RECOGNISER, models / folder / "w600k_mbf.onnx")
    assert options(LoadFaceEmbedder, "pack") == ["buffalo_m", "buffalo_s", "loose files", NO_DETECTOR]
    assert options(LoadFaceEmbedder, "recognisers") == LISTED
    assert all(load(pack, MBF).ids == [MBF] for pack in options(LoadFaceEmbedder, "pack")[:3])


def test_what_is_not_linked_is_nothing(face_model):
    """Faces are found by what a new Load Face Embedder loads."""
    photo = {"image": picture("YAO"), "order": "left to right", "min_size": 0, "max_faces": 0}
    assert DetectFaces.execute(**photo).args[2] == detect(face_model, photo["image"])[2] == 1


def test_only_detector_and_recognisers_are_loaded_and_changed_ones_again(pack):
    """On torch the provider means nothing."""
    fingerprint, name = LoadFaceEmbedder.fingerprint_inputs, "scrfd_10g_bnkps.onnx"
    (pack / name).unlink()
    shutil.copyfile(real_faces.DETECTOR, pack / name)
    chosen = ("antelopev2", "all found")
    before = load()
    assert options(LoadFaceEmbedder, "backend") == ["torch", "onnxruntime"]
    for saved in (["CUDA"], ["auto", "torch"], ["CUDA", "torch"]):
        assert load(*chosen, *saved) == before == load("antelopev2", MBF, *saved)
        assert len(before.get_models()) == 2
    assert fingerprint(*chosen, "CPU", "onnxruntime") != fingerprint(*chosen, "CPU", "torch")
    stamped = fingerprint(*chosen, "auto")
    os.utime(pack / name, ns=(1, 1))
    assert fingerprint(*chosen, "auto") != stamped
    assert load().detector is not before.detector
    assert load().recognisers == before.recognisers


def test_what_is_not_there_is_named_with_folder_and_address_before_the_run(models):
    """As soon as it is chosen: it is in the menu, too. What is linked is left to the run."""
    assert options(LoadFaceEmbedder, "pack") == ["none found", NO_DETECTOR]
    assert options(LoadPerson, "file") == ["none found"]
    zip_ = "insightface/models", "deepinsight/insightface/releases/download/v0.7/antelopev2.zip (361 MB"
    facexlib = "facexlib", "arcface_ir_se50.pth (175 MB)"

    def lacks(model, folder, address, *chosen):
        error = errors.RecogniserMissing if "recogniser" in model else errors.ModelMissing
        message = refused(LoadFaceEmbedder, *chosen, error=error)
        assert message.startswith(f"{model} was not found: ") and address in message, message
        assert f" not in {models}/{folder}." in message and "press R in ComfyUI" in message, message

    lacks("A face pack", *zip_, "none found", "all found")
    lacks("A face recogniser", *facexlib, NO_DETECTOR, "all found")
    put(real_faces.DETECTOR, models / "insightface/buffalo_s/det_500m.onnx")
    lacks("The face recogniser arcface-ir-se50", *facexlib, "buffalo_s", IR_SE50)
    lacks("A face recogniser", *zip_, "buffalo_s", "all found")
    assert IR_SE50 in options(LoadFaceEmbedder, "recognisers")
    nobody = refused(LoadPerson, "none found")
    folder = models / "likeness_faces"
    assert nobody.startswith(f"No saved person is called 'none found' in {folder}.")
    assert "press R" in nobody
    assert LoadFaceEmbedder.validate_inputs(None, "all found") is True
    assert LoadPerson.validate_inputs(None) is True
    assert LoadPerson.fingerprint_inputs(None) == ""
    with pytest.raises(errors.ModelMissing, match="was not found: "):  # with nothing connected the loader's words
        detect(None, picture("YAO"))


PTH = "facexlib/recognition_arcface_ir_se50.pth"
IN_PACK = "insightface/antelopev2/antelopev2/"
STRANGE = real_faces.RECOGNISER.read_bytes().replace(b"PRelu", b"Mystr")
POINTS = real_faces.LANDMARKS.read_bytes()
PAGE = b"<!DOCTYPE html><html></html>"
# Pack, recogniser, the file and its bytes, and what is said.
UNFIT = {
    "no detector": ("odd", "all found", "insightface/odd/faces.onnx", POINTS, "neither .*detector nor"),
    "an operator that is not known": ("antelopev2", MBF, f"{IN_PACK}w600k_mbf.onnx", STRANGE, "operator Mystr;"),
    "no recogniser": (
        "antelopev2", "mine", f"{IN_PACK}mine.onnx", POINTS, r"^mine\.onnx is .*neither .*Choose another recogniser"
    ),
    "a web page": ("antelopev2", IR_SE50, PTH, PAGE, r"arcface_ir_se50\.pth is a web page"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_files_that_cannot_be_used_are_named(models, pack, kind):
    chosen, recognisers, name, data, message = UNFIT[kind]
    (models / name).parent.mkdir(parents=True, exist_ok=True)
    (models / name).unlink(missing_ok=True)  # a link to the real one
    (models / name).write_bytes(data)
    with pytest.raises(errors.UnsupportedCheckpoint, match=message):
        load(chosen, recognisers)


def landmarks_of(name, *photos):
    """As the host's node gives them for these photos."""
    points = load_file(GOLDEN / "face_landmarks.safetensors")[name].numpy()
    faces = []
    for n, face_points in enumerate(points):
        faces.append({"landmarks_xy": face_points, "score": 0.9 - n / 10, "presence": 5.0})
    return {"frames": [faces] * len(photos), "image_size": tuple(photos[0].shape[1:3]), "connection_sets": {}}


def test_faces_and_an_identity_from_landmarks_need_no_pack(ir_se50):
    """IR-SE50 and nothing else."""
    without_pack = load(NO_DETECTOR, IR_SE50)
    photo = picture("SIX_FRIENDS")
    landmarks = landmarks_of("six_friends", photo)
    faces, preview, count = detect(without_pack, photo, "left to right", 0, 2, landmarks)
    assert count == len(faces.faces) == 2
    assert (faces.width, faces.height) == (1280, 886)
    assert preview.shape == photo.shape
    assert not torch.equal(preview, photo)
    assert faces.faces[0].keypoints[2][0] < faces.faces[1].keypoints[2][0]
    for face in faces.faces:
        assert list(face.embeddings) == [IR_SE50]
        assert face.crop.std() > 0.1
    with pytest.raises(errors.BadPhoto, match="shows 3 faces where one person is meant"):
        person_of(without_pack, photo, "Anna", "only", "error", landmarks)

    photo = picture("YAO")
    twice = torch.cat([photo, photo])
    person, cut, report = person_of(without_pack, twice, "Yao", "only", "error", landmarks_of("yao", photo, photo))
    assert embedded(person, IR_SE50).shape == (2, 512)
    assert len(cut) == 2
    assert "2 photos used" in report
    unlinked, *_ = person_of(None, photo, "Yao", "only", "error", landmarks_of("yao", photo))
    assert torch.equal(embedded(unlinked, IR_SE50)[0], embedded(person, IR_SE50)[0])


def test_a_face_is_recognised_in_the_photo_as_instant_id_s_authors_resize_it(face_model):
    photo = picture("YAO")

    def embedding_and_size(image, **settings):
        person, _, report = person_of(face_model, image, "Yao", "largest", "error", **settings)
        return embedded(person)[0], [int(side) for side in re.search(r"face of (\d+)x(\d+) px", report).groups()]

    by_the_node, size_resized = embedding_and_size(photo, photo_size="1280 px")
    resized_by_hand, _ = embedding_and_size(resized_photo(photo, 1280, 64))
    unresized, size_unresized = embedding_and_size(photo)
    assert torch.allclose(by_the_node, resized_by_hand, atol=1e-5)
    assert not torch.allclose(by_the_node, unresized, atol=1e-2)
    assert size_resized == pytest.approx(size_unresized, rel=0.05), "in pixels of the photo as it came"
    cast = CastFromPhotos.execute(face_model, "Yao", "largest", photo_size="1280 px", photo_1=photo).args[0]
    assert torch.equal(embedded(cast.people[0].person)[0], by_the_node)


def test_people_of_pictures_alone(models):
    """No file of any recogniser: made, saved and loaded; what needs numbers says so."""
    pictures_alone = load(NO_DETECTOR, PICTURES_ALONE)
    assert not pictures_alone.ids
    assert not pictures_alone.get_models()
    photo = picture("YAO")
    landmarks = landmarks_of("yao", photo)
    yao = person_of(pictures_alone, photo, "Yao", "only", "error", landmarks)[0]
    assert not yao.embeddings
    assert yao.portraits.loose.float().std() > 10
    SavePerson.execute(yao, "yao")
    loaded = LoadPerson.execute("yao.safetensors").args[0]
    assert not loaded.embeddings
    assert torch.equal(loaded.portraits.aligned, yao.portraits.aligned)
    with pytest.raises(EmbeddingMissing, match=r"InstantID needs antelopev2, .*\(Yao\) has no embedding"):
        combine(yao, "antelopev2", "mean", "InstantID")


def test_photos_of_one_person_are_kept_named_or_dropped(face_model, caplog):
    photo = picture("YAO")
    person, faces, report = person_of(face_model, torch.cat([photo, photo.flip(2)]))
    assert person.name == "Yao"
    assert embedded(person).shape == (2, 512)
    assert torch.equal(faces, person.crops)
    assert faces.shape == (2, 112, 112, 3)
    assert report.startswith("Yao: 2 of 2 photos used\nphoto 1 of 2 of Yao: used, face of 105x139 px, score 0.84")
    photos = torch.cat([picture(name)[:, :280, :220] for name in ("YAO", "COFFEE", "YAO")])
    with pytest.raises(errors.FaceNotFound, match=r"photo 2 of 3 of Yao.*on_no_face = skip"):
        person_of(face_model, photos)
    person, faces, report = person_of(face_model, photos, "Yao", "only", "skip")
    assert len(faces) == len(embedded(person)) == 2
    assert "Yao: 2 of 3 photos used" in report
    assert "No face found, dropped: photo 2 of 3 of Yao; they came as a batch, from" in caplog.messages[-1]


DRAWN = Path(people.__file__).parents[1] / "pictures" / "likeness_ink.png"
IN_BOX = "Ink: 144, 187, 122, 156"
"""1.5 times the height of detectors' boxes around the template, whose left upper corner is then at (121, 166)."""


ASTRONAUT = real_faces.image(real_faces.ASTRONAUT)
CLOSER = ASTRONAUT[:, :480, 20:500]
YAO = real_faces.image(real_faces.YAO)
DOUBTS = {
    "somebody else": (
        (ASTRONAUT, CLOSER, YAO),
        r"Hardly like the others of their person: photo 3 \(Anna, -?0\.0\d\); one person from 0\.4: look at ",
    ),
    "two of an animation": (
        (ASTRONAUT, YAO),
        r"Hardly like the others of their person: photo 1 \(Anna, .*\), photo 2 \(Anna",
    ),
    "twice": ((ASTRONAUT, ASTRONAUT), "One photo twice: photo 1 and photo 2"),
    "two photos of one": ((ASTRONAUT, CLOSER), None),
}


@pytest.mark.parametrize("kind", DOUBTS)
@pytest.mark.parametrize("node", [PersonNode, CastFromPhotos])
def test_photos_of_somebody_else_and_copies_are_said(face_model, caplog, node, kind):
    photos, line = DOUBTS[kind]
    batch = torch.cat([interpolate(photo.movedim(-1, 1), (512, 512)).movedim(1, -1) for photo in photos])
    if node is PersonNode:
        node.execute(face_model, batch, "Anna", "only", "error")
    else:
        node.execute(face_model, "Anna", "only", photo_1=batch)
    doubts = [note for note in caplog.text.splitlines() if "Hardly like" in note or "One photo twice" in note]
    assert len(doubts) == bool(line)
    assert line is None or re.search(line, doubts[0])


def test_a_photo_of_the_size_of_a_piece_may_be_a_telephone_s(face_model):
    with pytest.raises(errors.FaceNotFound, match="a HEIC photo of a telephone, whatever its file is called"):
        person_of(face_model, torch.full((1, 512, 512, 3), 0.5))
    with pytest.raises(errors.FaceNotFound) as caught:
        person_of(face_model, torch.full((1, 512, 513, 3), 0.5))
    assert "HEIC" not in str(caught.value)


def test_a_drawn_face_that_no_detector_finds_is_taken_from_its_box(face_model):
    """In a text, or linked as ComfyUI's own nodes give it: what recognisers see is that part of the picture."""
    drawing = real_faces.image(DRAWN)
    with pytest.raises(errors.FaceNotFound, match=r"into Face boxes as text \(face_boxes\) of Person"):
        person_of(face_model, drawing)
    with pytest.raises(errors.FaceNotFound) as of_cast:
        CastFromPhotos.execute(face_model, "Anna", "only", photo_1=drawing)
    assert "of Person" not in str(of_cast.value), "a workflow may have none"
    person, crops, report = person_of(face_model, drawing, face_boxes=IN_BOX, which_face="3")
    assert "1 of 1 photo used" in report
    assert "used, in its box, face of 122x156 px" in report
    assert torch.equal(crops[0, ::2, ::2], drawing[0, 166:334:3, 121:289:3]), "every second pixel is a third one of it"
    assert torch.equal(embedded(person), face_model.recognisers[0].embed([eight_bits(crops[0])]))
    assert person.portraits.aligned.shape[0] == 1
    assert person.portraits.loose.float().std() > 10
    box = {"x": 144, "y": 187, "width": 122, "height": 156}
    two = torch.cat([drawing, drawing])
    for linked, image in ((box, drawing), ([[box]], drawing), ([box, box], two), ([[box], [box]], two)):
        assert torch.equal(embedded(person_of(face_model, image, bboxes=linked)[0])[-1], embedded(person)[0])


def test_a_box_is_taken_instead_of_other_faces_in_pixels_of_the_photo_as_it_came(face_model, ir_se50):
    """Instead of landmarks, without a detector, and at the size of InstantID's authors."""
    photo = picture("YAO")
    boxed = {"face_boxes": "60, 40, 82, 104"}
    without = load(NO_DETECTOR, IR_SE50)
    person, crops, _ = person_of(face_model, photo, **boxed)
    assert torch.equal(crops, person_of(without, photo, "Yao", "only", "error", landmarks_of("yao", photo), **boxed)[1])
    assert torch.equal(crops[0], (photo[0, 26:138, 45:157] * 255).round() / 255), "112 of 112 px"
    larger, _, report = person_of(face_model, photo, photo_size="1280 px", **boxed)
    assert "face of 82x104 px" in report
    assert torch.nn.functional.cosine_similarity(embedded(larger), embedded(person)) > 0.9


@pytest.fixture
def yao(face_model):
    return person_of(face_model, picture("YAO"))[0]


def test_saved_people_come_back_bit_equal_or_say_what_is_wrong(models, yao):
    saved, path = SavePerson.execute(yao, "team/yao").args
    assert saved is yao
    assert Path(path) == models / "likeness_faces" / "team" / "yao.safetensors"
    assert os.listdir(Path(path).parent) == ["yao.safetensors"]
    (file,) = options(LoadPerson, "file")
    assert LoadPerson.validate_inputs(file) is True
    loaded, faces = LoadPerson.execute(file).args
    assert loaded.name == "Yao"
    assert torch.equal(faces, yao.crops)
    assert torch.equal(embedded(loaded), embedded(yao))
    assert torch.equal(loaded.portraits.aligned, yao.portraits.aligned)
    assert torch.equal(loaded.portraits.loose, yao.portraits.loose)
    before = LoadPerson.fingerprint_inputs(file)
    os.utime(path, ns=(1, 1))
    assert LoadPerson.fingerprint_inputs(file) != before, "saving again is seen"
    Path(path).write_bytes(Path(path).read_bytes()[:1000])
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"yao\.safetensors is damaged"):
        LoadPerson.execute(file)


def test_names_that_no_file_can_have(models, yao, monkeypatch):
    """More of them, and names of every script, are in tests/support/hostile/texts.py."""
    existing_file = models / "likeness_faces" / "taken"
    existing_file.parent.mkdir()
    existing_file.write_text("a file, not a folder")
    for name, error, message in (
        ("a/../../yao", UnsafePath, "leads outside of .*likeness_faces"),
        ("x" * 2_000_000, errors.CannotSave, r"^x{57}\.\.\. could not be written: File name too long .*shorter"),
        ("taken/yao", errors.CannotSave, r"yao.safetensors could not be written: File exists .*likeness_faces"),
    ):
        with pytest.raises(error, match=message):
            SavePerson.execute(yao, name)
    assert not list(models.rglob("*yao*"))
    assert os.listdir(existing_file.parent) == ["taken"]
    existing_file = existing_file.rename(existing_file.with_name("小明"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "cp1252"))  # raises, as ComfyUI's own stream
    with pytest.raises(errors.CannotSave, match=r"File exists .*\\u5c0f\\u660e") as caught:
        SavePerson.execute(yao, f"{existing_file.name}/yao")
    traceback.print_exception(caught.value)


def test_a_full_disk_leaves_the_older_file_and_no_half_one(models, yao):
    resource = pytest.importorskip("resource", reason="the system sets no limit to the size of files")

    path = Path(SavePerson.execute(yao, "yao").args[1])
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(errors.CannotSave, match=r"yao\.safetensors .*File too large"):
            SavePerson.execute(yao, "yao")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(path.parent) == ["yao.safetensors"]
    assert path.read_bytes() == before


def test_a_file_is_never_replaced_without_a_word_and_nobody_is_lost(models, caplog):
    folder = models / "likeness_faces"
    anna, ben = a_person("Anna"), a_person("Ben")
    SavePerson.execute(anna, "she")
    of_anna = (folder / "she.safetensors").read_bytes()
    SavePerson.execute(anna, "she")
    assert caplog.messages == []
    SavePerson.execute(dressed(anna), "she")
    assert "she.safetensors is replaced: it held the same person" in caplog.messages[-1]
    SavePerson.execute(anna, "she")
    SavePerson.execute(ben, "she")
    assert re.match(
        r"she\.safetensors is replaced. It held Anna, by the face somebody else: .*removed", caplog.messages[-1]
    )
    assert (folder / "removed" / "she.safetensors").stat().st_size == len(of_anna)
    (folder / "she.safetensors").write_bytes(b"damaged")
    SavePerson.execute(ben, "she")
    assert "It held no person that can be read" in caplog.messages[-1]
    assert (folder / "removed" / "she 2.safetensors").read_bytes() == b"damaged"


@pytest.fixture
def nobody(face_model):
    """Somebody without a photo."""
    return person_of(face_model, picture("COFFEE"), "Nobody", "only", "skip")[0]


def test_a_strip_goes_from_one_person_to_the_other_at_an_even_pace():
    """By the angles between the embeddings; one step alone is at the amount."""
    rows = torch.randn(2, 1, 512, generator=torch.Generator().manual_seed(846))
    anna, ben = (Person("x", {"antelopev2": row}, torch.zeros(1, 112, 112, 3)) for row in rows)

    def angles(amount: float, steps: int) -> list[float]:
        (people,) = BlendTwoPeople.execute(anna, ben, amount, "slerp", "", steps).args
        return [angle(person.embeddings["antelopev2"]) for person in people]

    def angle(row: torch.Tensor) -> float:
        return float(cosine_similarity(row.double(), rows[0].double()).clamp(-1, 1).acos())

    between = angle(rows[1])
    assert angles(0.3, 5) == pytest.approx([part * between for part in (0, 0.25, 0.5, 0.75, 1)], abs=1e-3)
    assert angles(0.3, 1) == pytest.approx([0.3 * between], abs=1e-3)


@pytest.mark.parametrize("names", [("Anna", "Ben", ""), ("a" * 100, "b" * 100, ""), ("Anna", "Ben", "c" * 100)])
def test_every_person_of_a_strip_has_a_name_of_its_own(names):
    *ends, name = names
    a, b = (Person(end, {"antelopev2": torch.ones(1, 512)}, torch.zeros(1, 112, 112, 3)) for end in ends)
    (people,) = BlendTwoPeople.execute(a, b, 0.5, "slerp", name, 20).args
    assert len({person.name for person in people}) == 20


def test_the_note_says_how_much_of_a_file_are_looks(models, caplog):
    anna = dressed(dressed(a_person()), "blue dress")
    _, path = SavePerson.execute(anna, "anna").args
    of_looks = 2 * 128 * 96 * 4 / 1e6  # picture and mask
    size = os.path.getsize(path) / 1e6
    assert caplog.messages[-1] == (
        f"The file has {size:.1f} MB, of which looks (red coat, blue dress) {of_looks:.1f} MB."
    )
    (loaded, _) = LoadPerson.execute("anna.safetensors").args
    assert [look.name for look in loaded.looks] == ["red coat", "blue dress"]
    SavePerson.execute(dressed(person_without_photo("Ben")), "ben")
    (loaded, _) = LoadPerson.execute("ben.safetensors").args
    assert (loaded.name, loaded.has_no_photo, len(loaded.looks)) == ("Ben", True, 1)


def test_nobody_is_neither_saved_nor_a_cast(nobody):
    for unsaved in (nobody, person_without_photo("Nobody")):
        with pytest.raises(errors.CannotSave, match=r"Nobody .*no photo"):
            SavePerson.execute(unsaved, "no people")
    with pytest.raises(errors.BadCast, match="no photo of Nobody"):
        CastNode.execute(person_3=nobody)


def test_cast_leaves_out_people_without_photos_and_says_so(nobody, yao, caplog):
    cast = CastNode.execute(person_1=nobody, person_2=yao).args[0]
    assert [person.person.name for person in cast.people] == ["Yao"]
    assert caplog.messages[-1] == "Left out, no photo with a face: Nobody"
    assert (cast.numbers, cast.absent) == ((2,), (Absent(1, "Nobody"),))
    caplog.clear()
    longer = CastNode.execute(cast=cast, person_1=yao, person_4=nobody, person_7=yao, weight_8=0.5).args[0]
    assert (longer.numbers, longer.absent) == ((2, 3, 5), (Absent(1, "Nobody"), Absent(4, "Nobody")))
    left_out = ["Left out, no photo with a face: Nobody", "Left out, no person: weight 8"]
    left_out.append("One name for several people: Yao: their numbers tell them apart")
    assert caplog.messages[0].splitlines()[:3] == left_out, "named by the Cast before"


def test_of_people_of_weight_0_nothing_is_said(yao, caplog):
    CastNode.execute(person_1=yao, person_2=yao, weight_2=0.0)
    assert not caplog.messages, "not in the picture, so like nobody"


def test_people_without_names_are_called_by_their_numbers(nobody, yao, caplog):
    cast = CastNode.execute(person_1=nobody, person_2=yao).args[0]
    caplog.clear()
    CastNode.execute(cast=cast, person_1=replace(yao, name=""), person_2=replace(yao, name=""))
    assert caplog.messages[0].startswith("Yao, person 3 and person 4 look like one person")


def test_photos_straight_to_a_cast_are_people_in_a_cast(face_model, caplog):
    """Name by the number of the photo, weight 1; several photos of one person are kept."""
    yao, astronaut = picture("YAO"), picture("ASTRONAUT")
    two = torch.cat([yao, yao.flip(2)])
    people = CastFromPhotos.execute
    cast, preview = people(face_model, "Yao\uff0c, Anna,Ben", "1,only,2", photo_2=astronaut, photo_1=two).args
    one_by_one = [person_of(face_model, photo, name)[0] for photo, name in ((two, "Yao"), (astronaut, "person 2"))]
    by_hand = CastNode.execute(person_1=one_by_one[0], person_2=one_by_one[1]).args
    for member, person in zip(cast.people, one_by_one, strict=True):
        assert (member.weight, member.person.name) == (1.0, person.name)
        assert torch.equal(member.person.crops, person.crops)
        assert torch.equal(member.person.portraits.loose, person.portraits.loose)
        assert torch.equal(embedded(member.person), embedded(person))
    assert torch.equal(preview, by_hand[1])
    assert any(message.startswith("Left out, no photo: Anna, Ben, face 2 of photo 3\n") for message in caplog.messages)


@pytest.mark.parametrize("recognisers", ["all found", MBF])
def test_onnxruntime_runs_the_networks_where_it_is_chosen_and_there(pack, caplog, recognisers):
    """IR-SE50 is no ONNX file and stays in torch."""
    in_torch, chosen = load(), load("antelopev2", recognisers, "CPU", "onnxruntime")
    assert len(in_torch.get_models()) == 2
    assert chosen.get_models() == []
    assert load("antelopev2", recognisers, "CPU", "onnxruntime") == chosen, "kept by file and backend"
    assert not caplog.text
    yao = picture("YAO")
    by_torch, by_onnxruntime = (embedded(person_of(model, yao)[0]) for model in (in_torch, chosen))
    assert torch.cosine_similarity(by_torch, by_onnxruntime).item() > 0.99999
    with pytest.raises(errors.LikenessError, match="has no provider CUDA; it has CPU"):
        load("antelopev2", "all found", "CUDA", "onnxruntime")
    for unknown in (("CUDA", "tensorrt"), ("Metal", "torch")):
        with pytest.raises(errors.LikenessError, match=f"which this node does not know.*{TORCH}|CPU"):
            load("antelopev2", "all found", *unknown)


def chosen(names="", model=None, **inputs):
    """The people of Cast from Photos."""
    return CastFromPhotos.execute(model, names, "only", **inputs).args[0].people


def keep(person_or_cast, names):
    """The line of Keep People."""
    assert KeepPeople.validate_inputs(names) is True
    return asyncio.run(KeepPeople.execute(person_or_cast, names)).args[0]


def kept(what_to_do="show", person="everybody", new_name=""):
    """What Kept People lists."""
    assert KeptPeople.validate_inputs(person) is True
    return KeptPeople.execute(person, what_to_do, new_name).args[0]


KEPT_FILES = "likeness_faces"


def test_a_kept_person_stands_in_the_place_of_a_photo(models, caplog):
    """With looks and LoRAs; no face model is there, and photos of others are not read."""
    anna = dressed(replace(a_person("person 1"), loras=(Lora("anna.safetensors", 0.8, "ohwx"),)))
    keep(unplaced(anna, a_person("Boris")), "Anna, family/Ben")
    assert options(CastFromPhotos, "person_3") == ["the photo", "Anna", "family/Ben"]
    unread = torch.zeros(1, 8, 8, 3)
    first, second = chosen("Somebody", person_3="Anna", person_1="family/Ben", photo_1=unread)
    assert (first.person.name, first.number, second.person.name, second.number) == ("Ben", 1, "Anna", 2)
    assert second.person.loras == anna.loras
    assert [look.name for look in second.person.looks] == ["red coat"]
    assert torch.equal(second.person.embeddings["antelopev2"], anna.embeddings["antelopev2"])
    assert "Left out, no photo: Somebody" in caplog.messages[-1]


@pytest.mark.parametrize("name", ["Carla", "Carla.safetensors [input]"])
def test_a_photo_stands_in_the_place_of_a_kept_person_who_is_not_here(face_model, caplog, name):
    assert CastFromPhotos.validate_inputs(person_2=[name]) is True
    photo = picture("YAO")
    with pytest.raises(
        errors.CannotSave, match=r"'Carla' is not among .*likeness_faces.* Photo 2 .*Carla\.safetensors"
    ):
        chosen(model=face_model, photo_1=photo, person_2=name)
    (carla,) = chosen(model=face_model, photo_2=photo, person_2=name)
    assert carla.person.name == "Carla"
    assert "Carla is not among the kept people here, so the photo is used" in caplog.text
    with pytest.raises(UnsafePath):
        CastFromPhotos.validate_inputs(person_2=["../../carla"])


def test_nobody_is_lost_by_keeping_people(models):
    folder = models / KEPT_FILES
    anna, other = a_person("Anna"), a_person("Somebody else")
    assert re.fullmatch(rf"Anna is kept, with 1 photo: {folder}/Anna\.safetensors\.", keep(anna, "Anna"))
    assert keep(replace(anna, name="x"), "Anna").startswith("Anna is kept already, with 1 photo: ")
    assert keep(dressed(anna), "anna").startswith(f"anna is kept anew, with 1 photo and the look red coat: {folder}")
    assert keep(other, "Anna").endswith("Anna 2.safetensors. There is another Anna already.")
    assert keep(other, "Anna").startswith("Anna 2 is kept already")
    assert keep(unplaced(other, anna), ", Ben, Carla").endswith(
        "Not kept, as the cast has nobody at their place: Carla"
    )
    (folder / "Damaged.safetensors").write_bytes(b"not a person")
    assert keep(anna, "Damaged").startswith("Damaged 2 is kept, ")
    (folder / "Folder.safetensors").mkdir()
    (folder / "Link.safetensors").symlink_to(models / "nowhere")
    assert keep(anna, "Folder").startswith("Folder 2 is kept, ")
    assert keep(anna, "Link").startswith("Link 2 is kept, ")
    assert kept() == "Anna, Anna 2, Ben, Damaged, Damaged 2, Folder 2, Link 2"
    assert os.listdir(folder / "removed") == ["Anna.safetensors"]
    assert keep(anna, "") == ""


def test_who_is_kept_can_be_renamed_and_removed_once(models, caplog):
    folder = models / KEPT_FILES
    keep(unplaced(a_person("Anna"), a_person("Boris")), "Anna, Ben")
    assert kept("rename", "Anna", "family/Carla") == "Ben, family/Carla"
    assert kept("rename", "Anna", "family/Carla") == "Ben, family/Carla"
    assert caplog.messages[-1].startswith("Nothing is done: nobody is kept under the name Anna")
    assert kept("rename", "family/Carla", "family/carla") == "Ben, family/carla"
    assert chosen(person_1="family/carla")[0].person.name == "carla"
    for new_name, message in (
        ("ben", "ben is kept already"),
        ("", "empty"),
        ("a:b", "Windows"),
        ("removed/x", "removed"),
    ):
        with pytest.raises(errors.CannotSave, match=message):
            kept("rename", "family/carla", new_name)
    for _ in range(2):
        assert kept("remove", "Ben") == "family/carla"
    assert caplog.messages[-1].startswith("Nothing is done: nobody is kept under the name Ben")
    keep(a_person("Boris"), "Ben")
    assert kept("remove", "Ben") == "family/carla"
    assert sorted(os.listdir(folder / "removed")) == ["Ben 2.safetensors", "Ben.safetensors"]
    with pytest.raises(errors.CannotSave, match="Choose one of the kept people"):
        kept("remove")
    kept("remove", "family/carla")
    assert kept() == ""
    assert caplog.messages[-1].startswith("Nobody is kept yet")


def test_a_full_disk_leaves_kept_people_as_they_are(models):
    resource = pytest.importorskip("resource", reason="the system sets no limit to the size of files")

    anna = a_person("Anna")
    keep(anna, "Anna")
    before = {path: path.read_bytes() for path in models.rglob("*.*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        for fails in (
            lambda: keep(dressed(anna), "Anna"),
            lambda: kept("rename", "Anna", "Ben"),
            lambda: keep(anna, "Ben"),
        ):
            with pytest.raises(errors.CannotSave, match="File too large"):
                fails()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in models.rglob("*.*")} == before


def test_two_processes_that_keep_people_under_one_name_at_once_lose_nobody(models, monkeypatch):
    """The other one is quicker: between the look for a file and the writing of it."""
    anna, ben = a_person("Anna"), a_person("Boris")
    find = saved_people.folders.find

    def too_late(name, key):
        monkeypatch.setattr(saved_people.folders, "find", find)
        found = find(name, key)
        kept_people.keep(ben, "Anna")
        return found

    monkeypatch.setattr(saved_people.folders, "find", too_late)
    assert keep(anna, "Anna").startswith("Anna 2 is kept, ")
    assert kept() == "Anna, Anna 2"


def test_a_disk_without_hard_links_keeps_people_too(models, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    keep(a_person("Anna"), "Anna")
    assert keep(a_person("Boris"), "Anna").startswith("Anna 2 is kept, ")
    assert kept() == "Anna, Anna 2"
