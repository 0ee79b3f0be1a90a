"""The people nodes as a user runs them: over HTTP, in a host of its own."""

from __future__ import annotations

import pytest
import real_faces
from host_server import HostError, HostServer


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
    assert run.outputs["cast"]["text"] == ["Left out, no photo with a face: Nobody"]

    prompt["more"]["inputs"]["weight_1"] = 0.8
    again = host_server.run(prompt)
    assert set(again.executed) == {"more", "view"}

    prompt = {"load": node("LikenessLoadIdentity", file="family/child.safetensors")}
    prompt["view"] = node("PreviewImage", images=["load", 1])
    assert len(host_server.run(prompt).outputs["view"]["images"]) == 1


def test_missing_files_are_explained_when_the_prompt_is_queued(host_server, prompt):
    prompt["model"]["inputs"]["pack"] = "antelopev2"
    prompt["out"] = node("LikenessSaveIdentity", identity=["yao_id", 0], filename="x")
    prompt["yao_id"] = identity("yao", "Yao")
    with pytest.raises(
        HostError, match=r"The face pack antelopev2 not found: .*glintr100\.onnx is in none of the fold"
    ):
        host_server.run(prompt)


def test_errors_of_a_run_reach_the_user(host_server, prompt):
    prompt["out"] = node("LikenessSaveIdentity", identity=["ross", 0], filename="x")
    prompt["ross"] = identity("friends", "Ross")
    with pytest.raises(HostError, match="photo 1 of 1 of Ross shows 6 faces where one person is meant"):
        host_server.run(prompt)
