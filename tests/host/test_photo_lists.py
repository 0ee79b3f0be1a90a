"""Photos that come as a list, of any size, into the nodes that make people: one person, one cast, one run."""

import numpy as np
import pytest
import real_faces
import torch
from pack.core.checks.errors import BadInput, BadPhoto, BadSetup, FaceNotFound
from pack.nodes import people, photos
from pack.nodes.casts import CastFromPhotos
from pack.nodes.faces import DetectFaces
from PIL import Image
from prompts import node
from safetensors.torch import load_file
from shared import photos as samples

pytestmark = pytest.mark.xdist_group("server")


FOLDER = "LoadImageDataSetFromFolder"
"""ComfyUI's own Load Image (from Folder), which 0.3.64 lacks."""
EILEEN = {"name": "Eileen", "which_face": "largest", "on_no_face": "error"}


@pytest.fixture(scope="module")
def three():
    """Three photos of one person, of three sizes: 512x512, 300x300 and 400x560 px."""
    with Image.open(samples.pair()[0]) as opened:
        portrait = opened.convert("RGB")
    tall = Image.new("RGB", (400, 560), "grey")
    tall.paste(portrait.resize((400, 400)), (0, 160))
    return [portrait, portrait.crop((100, 0, 400, 300)), tall]


@pytest.fixture
def listed(host_server, three):
    """The head of a graph whose node "photos" gives the three as a list; on an older host one photo three times."""
    folder = host_server.base / "input" / "eileen"
    folder.mkdir(exist_ok=True)
    for number, photo in enumerate(three):
        photo.save(folder / f"{number}.png")
    if FOLDER in host_server.object_info():
        return {"photos": node(FOLDER, folder="eileen")}
    loaded = node("LoadImage", image="eileen/0.png")
    batch = node("RepeatImageBatch", image=["load", 0], amount=3)
    return {"load": loaded, "batch": batch, "photos": node("RebatchImages", images=["batch", 0], batch_size=1)}


def saved(server, name):
    return load_file(server.base / "models" / "likeness_faces" / f"{name}.safetensors")


@pytest.mark.both_hosts
def test_a_list_of_photos_is_one_person_with_the_embeddings_of_the_single_photos(host_server, listed):
    graph = {
        **listed,
        "who": node("LikenessPerson", image=["photos", 0], **EILEEN),
        "save": node("LikenessSavePerson", person=["who", 0], filename="listed"),
        "cast": node("LikenessCast", person_1=["save", 0]),
        "shown": node("PreviewImage", images=["cast", 1]),
        "report": node("PreviewAny", source=["who", 2]),
    }
    run = host_server.run(graph)
    assert len(run.outputs["shown"]["images"]) == 1, "one cast"
    (report,) = run.outputs["report"]["text"]
    assert report.startswith("Eileen: 3 of 3 photos used\nphoto 1 of 3 of Eileen: used")
    together = saved(host_server, "listed")
    keys = [name for name in together if name.startswith("embedding.")]
    assert keys
    assert all(together[key].shape == (3, 512) for key in keys)
    from_folder = FOLDER in host_server.object_info()
    for file in ("0", "1", "2") if from_folder else ("0",):
        host_server.run(
            {
                "photos": node("LoadImage", image=f"eileen/{file}.png"),
                "who": node("LikenessPerson", image=["photos", 0], **EILEEN),
                "save": node("LikenessSavePerson", person=["who", 0], filename=f"single {file}"),
            }
        )
        single = saved(host_server, f"single {file}")
        for key in keys:
            # In whatever order the folder is listed.
            same = [torch.equal(single[key][0], row) for row in together[key]]
            assert sum(same) == (1 if from_folder else 3)


def test_a_list_into_people_from_photos_and_sort_photos_is_one_cast(host_server, listed):
    graph = {
        **listed,
        "people": node("LikenessCastFromPhotos", names="Eileen", which_face="largest", photo_1=["photos", 0]),
        "shown": node("PreviewImage", images=["people", 1]),
        "sort": node("LikenessSortPhotosIntoPeople", image=["photos", 0], folder="none", people="grouped by face",
                     names="Eileen", which_face="largest", corrections="", same_person_from=0.4),
        "report": node("PreviewAny", source=["sort", 2]),
    }  # fmt: skip
    run = host_server.run(graph)
    assert len(run.outputs["shown"]["images"]) == 1
    (report,) = run.outputs["report"]["text"]
    assert report.startswith("1 Eileen: 3 photos")


@pytest.mark.both_hosts
def test_lists_as_the_host_hands_them_over(face_model, three):
    """Every input of such a node is a list: a widget's has one value. Photos keep their sizes; a batch among them is
    several photos; landmarks and boxes go with their photos."""
    tensors = [photo_of(photo) for photo in three]
    batch = torch.cat([tensors[0], tensors[0].flip(2)])
    host = {"name": ["Eileen"], "which_face": ["only"], "on_no_face": ["error"]}
    output = people.PersonNode.execute(face_model=[face_model], image=[*tensors, batch], **host)
    assert len(output.args[0].crops) == 5
    same = people.PersonNode.execute(face_model, tensors[1], "Eileen", "only", "error").args[0]
    assert torch.equal(output.args[0].embeddings["w600k_mbf"][1:2], same.embeddings["w600k_mbf"])
    boxes = [{"x": 180, "y": 60, "width": 90, "height": 120}, {"x": 80, "y": 60, "width": 90, "height": 120}]
    boxed = people.PersonNode.execute(face_model=[face_model], image=tensors[:2], bboxes=[boxes[:1], boxes[1]], **host)
    assert "photo 2 of 2 of Eileen: used, in its box" in boxed.args[2]
    cast = photos.SortPhotosIntoPeople.execute(
        face_model=[face_model], image=tensors, folder=["none"], people=["grouped by face"], names=["Eileen"],
        which_face=["largest"], corrections=[""], same_person_from=[0.4],
    ).args[0]  # fmt: skip
    assert [len(person.person.crops) for person in cast.people] == [3]


def photo_of(picture):
    """(1, H, W, 3), as Load Image makes it."""
    return torch.from_numpy(np.array(picture))[None].float() / 255


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"name": ["Anna", "Ben", "Cara"]}, BadSetup, "name input of Person is a list of 3 values .*Anna.*one per"),
        ({"which_face": ["only", "largest"]}, BadSetup, "which_face input of Person is a list of 2 values"),
        ({"image": []}, Exception, "image input of Person is an empty list; at least one picture is needed"),
        ({"name": []}, BadInput, "The name input of Person is an empty list; one value is needed"),
        ({"image": [None]}, Exception, r"image input of Person is nothing \(None\)"),
    ],
)
def test_what_is_no_list_of_photos_is_named(face_model, three, change, error, words):
    inputs = {"face_model": [face_model], "image": [photo_of(three[0])], "name": ["A"], "which_face": ["only"]}
    with pytest.raises(error, match=words):
        people.PersonNode.execute(**{**inputs, "on_no_face": ["error"], **change})


def test_a_list_of_one_name_again_and_again_is_that_name(face_model, three):
    inputs = {"face_model": [face_model], "which_face": ["only"], "on_no_face": ["error"]}
    output = people.PersonNode.execute(image=[photo_of(three[0])] * 2, name=["Eileen"] * 2, **inputs)
    assert output.args[0].name == "Eileen"
    assert len(output.args[0].crops) == 2


@pytest.mark.thorough
def test_a_batch_that_was_cut_is_named_with_what_to_do(face_model, three, caplog):
    """As Batch Images does it: the second photo is cut to the shape of the first, and its face is lost."""
    first = photo_of(three[0].crop((0, 0, 512, 400)))
    batch = torch.cat([first, torch.full_like(first, 0.5)])
    cut = (
        r"Batch Images\. The last one cuts all to the shape of the first, here 512x400 px"
        r".* as a list .*Load Image \(from Folder\)"
    )
    with pytest.raises(FaceNotFound, match=f"photo 2 of 2 of Eileen .*{cut}"):
        people.PersonNode.execute(face_model, batch, "Eileen", "only", "error")
    with pytest.raises(FaceNotFound, match=cut):
        CastFromPhotos.execute(face_model, "Eileen", "only", photo_1=batch)
    sort = {"people": "grouped by face", "names": "", "which_face": "largest", "corrections": ""}
    report = photos.SortPhotosIntoPeople.execute(face_model, batch, "none", **sort, same_person_from=0.4).args[2]
    assert "picture 2 of image" in report
    with pytest.raises(FaceNotFound) as alone:
        people.PersonNode.execute(face_model, batch[1:], "Eileen", "only", "error")
    assert "Batch" not in str(alone.value)
    caplog.clear()
    people.PersonNode.execute(face_model, batch, "Eileen", "only", "skip")
    assert "No face found, dropped: photo 2 of 2 of Eileen; they came as a batch, from an animated file" in caplog.text
    assert "which cuts all to the first one's shape, 512x400 px" in caplog.text


@pytest.fixture(scope="module")
def family():
    """A photo of six people and one of one person."""
    return real_faces.image(real_faces.SIX_FRIENDS), real_faces.image(real_faces.YAO)


def embeddings(cast):
    return [person.person.embeddings["w600k_mbf"] for person in cast.people]


@pytest.mark.parametrize("text", [
    "3,1", "3", "3\uff0c1", "3,",
    *(pytest.param(text, marks=pytest.mark.thorough) for text in ("3, only", "\uff13\u30011", "3,0")),
])  # fmt: skip
def test_which_face_is_a_number_for_each_photo_or_one_that_a_photo_of_one_face_ignores(face_model, family, text):
    group, alone = family
    third = people.PersonNode.execute(face_model, group, "A", "3", "error").args[0]
    only = people.PersonNode.execute(face_model, alone, "B", "only", "error").args[0]
    expected_embeddings = [person.embeddings["w600k_mbf"] for person in (third, only)]
    cast = CastFromPhotos.execute(face_model, "A, B", text, photo_1=group, photo_2=alone).args[0]
    for embedding, expected in zip(embeddings(cast), expected_embeddings, strict=True):
        assert torch.equal(embedding, expected)


def test_a_number_beyond_the_upright_faces_finds_one_that_lies(face_model, family):
    """Of six the one that is seen best is turned on the side: nothing sees it beside five upright ones, until face 6 is
    asked for."""
    group, _ = family
    faces = DetectFaces.execute(face_model, group, "left to right", 0, 0).args[0].faces
    left, top, right, bottom = max(faces, key=lambda face: face.score).box
    half = int(0.8 * max(right - left, bottom - top))
    x, y = int(left + right) // 2, int(top + bottom) // 2
    lying = group.clone()
    square = lying[:, y - half : y + half, x - half : x + half]
    square[:] = square.flip(2).transpose(1, 2).clone()
    assert DetectFaces.execute(face_model, lying, "left to right", 0, 0).args[2] == 5
    last = people.PersonNode.execute(face_model, lying, "A", "6", "error").args[0]
    alike = torch.cosine_similarity(last.embeddings["w600k_mbf"][0], faces[5].embeddings["w600k_mbf"], 0)
    assert alike > 0.95
    with pytest.raises(BadPhoto, match="Face 7 was asked for, but the photo of A has 6"):
        people.PersonNode.execute(face_model, lying, "A", "7", "error")


def test_a_box_of_the_editor_is_a_share_of_the_photo(face_model, family):
    """Its canvas has 1024x1024 px, whatever the photo's size; a text comes first, and a linked box last."""
    _, alone = family
    height, width = alone.shape[1:3]
    inputs = {"face_model": face_model, "image": alone, "name": "A", "which_face": "only", "on_no_face": "error"}
    assert height != width
    boxes = [{"x": 128, "y": 320, "width": 512, "height": 512}]
    text = f"{width / 8}, {height * 5 / 16}, {width / 2}, {height / 2}"
    by_mouse = people.PersonNode.execute(**inputs, boxes=boxes).args[0].embeddings["w600k_mbf"]
    by_text = people.PersonNode.execute(**inputs, face_boxes=text).args[0].embeddings["w600k_mbf"]
    assert torch.equal(by_mouse, by_text)
    boxes_elsewhere = [{"x": 0, "y": 0, "width": 400, "height": 400}]
    assert torch.equal(people.PersonNode.execute(**inputs, boxes=boxes_elsewhere, face_boxes=text).args[0]
                       .embeddings["w600k_mbf"], by_text)  # fmt: skip
    linked = {"x": 1, "y": 1, "width": 60, "height": 60}
    assert torch.equal(people.PersonNode.execute(**inputs, boxes=boxes, bboxes=linked).args[0]
                       .embeddings["w600k_mbf"], by_text)  # fmt: skip


def test_which_face_of_each_photo_of_one_person(face_model, family):
    group, alone = family
    inputs = {"face_model": [face_model], "image": [alone, group], "name": ["A"], "on_no_face": ["error"]}
    first_and_third = people.PersonNode.execute(**inputs, which_face=["1,3"]).args[0].embeddings["w600k_mbf"]
    third = people.PersonNode.execute(face_model, group, "A", "3", "error").args[0].embeddings["w600k_mbf"]
    assert torch.equal(first_and_third[1:], third)
    largest = people.PersonNode.execute(**inputs, which_face=["only, largest"]).args[0].embeddings["w600k_mbf"]
    assert torch.equal(largest[1:], people.PersonNode.execute(face_model, group, "A", "largest", "error").args[0]
                       .embeddings["w600k_mbf"])  # fmt: skip


def test_which_face_that_is_none_is_named(face_model, family):
    group, alone = family
    inputs = {"face_model": [face_model], "image": [alone, group], "name": ["A"], "on_no_face": ["error"]}
    with pytest.raises(BadPhoto, match=r"Face 7 was asked for, but photo 2 of 2 of A has 6 \(numbered 1 to 6\)"):
        people.PersonNode.execute(**inputs, which_face=["1,7"])
