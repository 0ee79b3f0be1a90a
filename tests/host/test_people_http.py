"""The people nodes as a user runs them: over HTTP, in a host of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import real_faces
import torch
from PIL import Image, ImageOps
from rig import photos as photos_of_people
from rig.host_server import HostError, HostServer
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def photos(host_server: HostServer) -> dict[str, str]:
    paths = {"friends": real_faces.SIX_FRIENDS, "yao": real_faces.YAO, "coffee": real_faces.COFFEE}
    return {name: host_server.upload_image(path) for name, path in paths.items()}


def node(kind: str, **inputs):
    return {"class_type": kind, "inputs": inputs}


def identity(image: str, name: str, which_face: str = "only", on_no_face: str = "error"):
    inputs = {"name": name, "which_face": which_face, "on_no_face": on_no_face}
    return node("LikenessIdentity", face_model=["model", 0], image=[image, 0], **inputs)


@pytest.fixture
def prompt(photos):
    model = node("LikenessLoadFaceModel", pack="buffalo_sc", recognisers="all found", provider="auto")
    return {"model": model, **{name: node("LoadImage", image=file) for name, file in photos.items()}}


def test_people_from_photos_to_a_cast_and_nothing_twice(host_server, prompt):
    faces = {"face_model": ["model", 0], "image": ["friends", 0]}
    prompt |= {
        "detect": node("LikenessDetectFaces", **faces, order="left to right", min_size=0, max_faces=0),
        "count": node("PreviewAny", source=["detect", 2]),
        "third": identity("friends", "Ross", "3"),
        "yao_id": identity("yao", "Yao"),
        "nobody": identity("coffee", "Nobody", on_no_face="skip"),
        "child": node("LikenessBlendIdentities", a=["third", 0], b=["yao_id", 0], amount=0.5, method="slerp", name=""),
        "saved": node("LikenessSaveIdentity", identity=["child", 0], filename="family/child"),
        "cast": node(
            "LikenessCast", person_1=["third", 0], person_3=["nobody", 0], person_4=["saved", 0], weight_4=0.5
        ),
        "more": node("LikenessCast", cast=["cast", 0], person_1=["yao_id", 0]),
        "view": node("PreviewImage", images=["more", 1]),
    }
    run = host_server.run(prompt)
    assert run.outputs["count"]["text"] == ["6"]
    assert run.outputs["detect"]["images"] and run.outputs["view"]["images"]
    assert ("cast", "Left out, no photo with a face: Nobody") in run.notes

    prompt["more"]["inputs"]["weight_1"] = 0.8
    again = host_server.run(prompt)
    assert set(again.executed) == {"more", "view"}

    prompt = {"load": node("LikenessLoadIdentity", file="family/child.safetensors")}
    prompt["view"] = node("PreviewImage", images=["load", 1])
    assert len(host_server.run(prompt).outputs["view"]["images"]) == 1


def test_identity_shows_its_numbers_where_it_refuses(host_server, prompt):
    """All faces from left to right, whatever the order that Detect Faces was given elsewhere."""
    faces = {"face_model": ["model", 0], "image": ["friends", 0], "min_size": 0, "max_faces": 0}
    detect = node("LikenessDetectFaces", **faces, order="left to right")
    run = host_server.run({**prompt, "detect": detect, "out": node("PreviewImage", images=["detect", 1])})
    wanted = host_server.file(run.outputs["detect"]["images"][0])
    prompt["out"] = node("LikenessSaveIdentity", identity=["ross", 0], filename="x")
    shown = []
    for which, said in (("only", "6 faces"), ("7", "Face 7 .* photo")):
        prompt["ross"] = identity("friends", "Ross", which)
        with pytest.raises(HostError, match=said):
            host_server.run(prompt, lambda event: event["type"] == "executed" and shown.append(event["data"]))
    pictures = [data["output"]["images"][0] for data in shown if data["node"] == "ross"]
    assert len(pictures) == 2
    assert all(np.array_equal(Image.open(host_server.file(p)), Image.open(wanted)) for p in pictures)


def test_the_picture_that_comes_with_the_host_is_no_photo(host_server, prompt):
    """A new Load Image shows example.png; the host's own file, as the host reads it. No face model is connected."""
    prompt["coffee"]["inputs"]["image"] = host_server.upload_image(host_server.host.path / "input" / "example.png")
    prompt["identity"] = identity("coffee", "Anna")
    del prompt["identity"]["inputs"]["face_model"]
    prompt["out"] = node("PreviewImage", images=["identity", 1])
    run = host_server.attempt(prompt)
    assert run.error_type == "likeness.FaceNotFound", "the frontend puts this before the message"
    said = "it is example.png, the drawing that Load Image shows at first. Choose a photo in Load Image."
    assert f"No face found in the photo of Anna: {said}" in run.error and "model" not in run.executed
    prompt["coffee"]["inputs"]["image"] = prompt["yao"]["inputs"]["image"]
    host_server.run(prompt)
    assert host_server.run(prompt).executed == []


@pytest.fixture
def album(host_server):
    """A folder of the host's input: two photos each of two people, one of nobody, and a note."""
    folder = host_server.base / "input" / "album"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, path in zip(("anna", "ben"), photos_of_people.people(folder), strict=False):
        with Image.open(path) as photo:
            photo.save(folder / f"{name}_1.jpg")
            ImageOps.mirror(photo).save(folder / f"{name} 2.png")
    for path in folder.glob("person_*"):
        path.unlink()
    shutil.copy(real_faces.COFFEE, folder / "cup.png")
    (folder / "notes.txt").write_text("x")
    return folder


def cast_from(folder, **more):
    chosen = {"people": "grouped by face", "names": "", "which_face": "largest", "corrections": ""}
    chosen |= {"on_no_face": "skip", "same_person_from": 0.4, **more}
    return node("LikenessCastFromPhotos", face_model=["model", 0], folder=folder, **chosen)


@pytest.mark.both_hosts
def test_a_folder_of_photos_becomes_a_cast(host_server, prompt, album):
    menu = host_server.object_info()["LikenessCastFromPhotos"]["input"]["required"]["folder"]
    assert "album" in (menu[1].get("options") or menu[0])
    prompt |= {
        "cast": cast_from("album"),
        "report": node("PreviewAny", source=["cast", 2]),
        "count": node("PreviewAny", source=["cast", 3]),
        "layout": node("LikenessGroupLayout", count=2, framing="half", rows=0, width=512, height=512),
        "placed": node(
            "LikenessPlaceCast", cast=["cast", 0], layout=["layout", 0], order="left to right", custom_order=""
        ),
        "places": node("PreviewAny", source=["placed", 2]),
    }
    run = host_server.run(prompt)
    lines = run.outputs["report"]["text"][0].splitlines()
    assert lines[0] == "1 Anna: 2 photos" and lines[3] == "2 Ben: 2 photos" and run.outputs["count"]["text"] == ["2"]
    assert [line.split(" at ")[0] for line in run.outputs["places"]["text"][0].splitlines()[:2]] == [
        "Place 1: Anna",
        "Place 2: Ben",
    ]
    assert run.outputs["cast"]["images"]
    said = next(text for name, text in run.notes if name == "cast")
    assert said.splitlines()[:2] == ["Left out, no photos: notes.txt", "Left out, no face or not readable: 5 cup.png"]

    assert host_server.run(prompt).executed == []
    prompt["cast"] = cast_from("album", corrections="cup.png: -\nBen: Zoe")
    assert host_server.run(prompt).outputs["report"]["text"][0].splitlines()[3] == "2 Zoe: 2 photos"
    shutil.copy(album / "ben_1.jpg", album / "a.jpg")
    assert host_server.run(prompt).outputs["report"]["text"][0].splitlines()[0] == "1 Zoe: 3 photos"


@pytest.mark.parametrize(("folder", "said"), [("../output", "leads outside of"), (7, "The file is 7; the name of")])
def test_a_folder_that_is_none_is_refused_when_it_is_queued(host_server, prompt, folder, said):
    prompt |= {"cast": cast_from(folder), "view": node("PreviewImage", images=["cast", 1])}
    refused = host_server.attempt(prompt)
    assert not refused.id and said in refused.error


# Text and files of a shared workflow

EVIL = "An\ud800na\x1b[2J\n[INFO] all is well"
CLEAN = r"An na \[2J \[INFO\] all is well"


def bank(server: HostServer, name: str) -> Path:
    """The file of a saved person in the first folder of the face bank."""
    return server.base / "models" / "likeness_faces" / f"{name}.safetensors"


@pytest.fixture
def people(host_server):
    """Two nodes that load Anna and Ben, made without photos."""
    nodes = {}
    for number, name in enumerate(("anna", "ben"), 1):
        file = bank(host_server, f"made/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"embedding.antelopev2": torch.full((1, 512), float(number)), "crops": torch.zeros(1, 112, 112, 3)}
        save_file(tensors, file, {"format": "likeness identity", "version": "1", "name": name.title()})
        nodes[name] = node("LikenessLoadIdentity", file=f"made/{name}.safetensors")
    return nodes


def save(person: str, filename: object):
    return node("LikenessSaveIdentity", identity=[person, 0], filename=filename)


def test_a_person_is_saved_again_only_when_the_file_was_deleted(host_server, people):
    file = bank(host_server, "deleted by hand")
    people |= {"save": save("anna", "deleted by hand"), "cast": node("LikenessCast", person_1=["save", 0])}
    people["view"] = node("PreviewImage", images=["cast", 1])
    del people["ben"]
    assert set(host_server.run(people).executed) == {*people}
    for _ in range(2):
        assert host_server.run(people).executed == []
        file.unlink()
        assert "save" in host_server.run(people).executed and file.is_file()
    assert host_server.run(people).executed == []


@pytest.mark.parametrize("again", [" twins.safetensors ", ["name", 0], ["text", 0]])
def test_two_people_are_never_saved_to_one_file(host_server, people, again):
    """The name is typed twice, linked twice, or made twice while the graph runs."""
    linked = isinstance(again, list)
    people |= {name: node("PrimitiveString", value="twins") for name in ("name", "text") if linked}
    people |= {"5": save("anna", ["name", 0] if linked else "twins"), "7": save("ben", again)}
    bank(host_server, "twins").unlink(missing_ok=True)
    with pytest.raises(HostError, match=r"(Anna|Ben) \(node [57]\) .*node [57].*twins"):
        host_server.run(people)
    people["7"]["inputs"]["filename"] = "ben"
    host_server.run(people)
    if not linked:  # Anna's node does not run again, and her file is not lost either
        kept = bank(host_server, "twins").read_bytes()
        people["7"]["inputs"]["filename"] = again
        with pytest.raises(HostError, match=r"Ben \(node 7\) .*node 5 "):
            host_server.run(people)
        assert bank(host_server, "twins").read_bytes() == kept


@pytest.mark.parametrize("kind", ["name", "order"])
def test_messages_with_any_text_reach_console_and_user(host_server, people, kind):
    people |= {
        "text": node("PrimitiveString", value=EVIL),
        "blend": node("LikenessBlendIdentities", a=["anna", 0], b=["ben", 0], amount=0.5, method="slerp", name=EVIL),
        "cast": node("LikenessCast", person_1=["blend", 0]),
        "layout": node("LikenessGroupLayout", count=1, framing="half", rows=0, width=512, height=512),
        "name": node("LikenessPersonRegion", cast=["cast", 0], person=1, extent="body", margin=0.25, feather=32),
        "order": node(
            "LikenessPlaceCast", cast=["cast", 0], layout=["layout", 0], order="custom", custom_order=["text", 0]
        ),
    }
    people["view"] = node("PreviewAny", source=[kind, 0])
    messages = {"name": f" {CLEAN} has no place", "order": "'An' is not a number"}
    if kind == "name":
        people |= {"5": save("anna", EVIL), "6": node("PreviewAny", source=["5", 1])}
    with pytest.raises(HostError, match=messages[kind]):
        host_server.run(people, timeout=60)
    assert host_server.run({"1": node("PreviewAny", source="still there")}, timeout=60).status == "success"
    assert "\x1b[2J" not in host_server.log and "\n[INFO] all is well" not in host_server.log
