"""The people nodes as a user runs them: over HTTP, in a host of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import real_faces
import torch
from PIL import Image
from rig.host_server import HostError, HostServer
from safetensors.torch import save_file


def node(kind: str, **inputs):
    return {"class_type": kind, "inputs": inputs}


def identity(image: str, name: str, which_face: str = "only", on_no_face: str = "error"):
    inputs = {"name": name, "which_face": which_face, "on_no_face": on_no_face}
    return node("LikenessIdentity", face_model=["model", 0], image=[image, 0], **inputs)


@pytest.fixture
def prompt(host_server: HostServer):
    paths = {"friends": real_faces.SIX_FRIENDS, "yao": real_faces.YAO, "coffee": real_faces.COFFEE}
    model = node("LikenessLoadFaceModel", pack="buffalo_sc", recognisers="all found", provider="auto")
    loaded = {name: node("LoadImage", image=host_server.upload_image(path)) for name, path in paths.items()}
    return {"model": model, **loaded}


def test_people_from_photos_to_a_cast_and_nothing_twice(host_server, prompt):
    """And where a face cannot be told, the node shows the numbers, whatever the order elsewhere."""
    faces = {"face_model": ["model", 0], "image": ["friends", 0], "min_size": 0, "max_faces": 0}
    prompt |= {
        "detect": node("LikenessDetectFaces", **faces, order="left to right"),
        "count": node("PreviewAny", source=["detect", 2]),
        "third": identity("friends", "Ross", "3"),
        "nobody": identity("coffee", "Nobody", on_no_face="skip"),
        "saved": node("LikenessSaveIdentity", identity=["third", 0], filename="family/ross"),
        "cast": node(
            "LikenessCast", person_1=["third", 0], person_3=["nobody", 0], person_4=["saved", 0], weight_4=0.5
        ),
        "view": node("PreviewImage", images=["cast", 1]),
    }
    run = host_server.run(prompt)
    assert run.outputs["count"]["text"] == ["6"] and run.outputs["view"]["images"]
    said = next(text for name, text in run.notes if name == "cast")
    assert said.startswith("Left out, no photo with a face: Nobody\n")
    prompt["cast"]["inputs"]["weight_4"] = 0.8
    assert set(host_server.run(prompt).executed) == {"cast", "view"}

    (wanted,) = run.outputs["detect"]["images"]
    shown = []
    for which, said in (("only", "6 faces"), ("7", "Face 7 .* photo")):
        prompt["third"] = identity("friends", "Ross", which)
        with pytest.raises(HostError, match=said):
            host_server.run(prompt, lambda event: event["type"] == "executed" and shown.append(event["data"]))
    pictures = [data["output"]["images"][0] for data in shown if data["node"] == "third"]
    assert len(pictures) == 2
    files = [Image.open(host_server.file(one)) for one in (wanted, *pictures)]
    assert np.array_equal(files[0], files[1]) and np.array_equal(files[0], files[2])


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
    people |= {"save": save("anna", "deleted by hand"), "view": node("PreviewAny", source=["save", 1])}
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


def test_messages_with_any_text_reach_console_and_user(host_server, people):
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
    saved = {"5": save("anna", EVIL), "6": node("PreviewAny", source=["5", 1])}
    for kind, added, said in (("name", saved, f" {CLEAN} has no place"), ("order", {}, "'An' is not a number")):
        with pytest.raises(HostError, match=said):
            host_server.run({**people, **added, "view": node("PreviewAny", source=[kind, 0])}, timeout=60)
    assert host_server.run({"1": node("PreviewAny", source="still there")}, timeout=60).status == "success"
    assert "\x1b[2J" not in host_server.log and "\n[INFO] all is well" not in host_server.log
