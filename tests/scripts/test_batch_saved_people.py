"""Saved people stand in cells of photos: prompts alone, without a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batch import saved_people
from batch.prompts import Job
from batch.rows import BadRow, Row
from batch.saved_people import FaceBank, with_saved_person

PERSON = "LIKENESS_PERSON"
OUTPUTS = {
    "LikenessLoadFaceEmbedder": ["LIKENESS_FACE_MODEL"],
    "LoadImage": ["IMAGE", "MASK"],
    "ImageScale": ["IMAGE"],
    "LikenessPerson": [PERSON, "IMAGE", "STRING"],
    "LikenessLoadPerson": [PERSON, "IMAGE"],
    "LikenessCast": ["LIKENESS_CAST", "IMAGE"],
    "LikenessCastFromPhotos": ["LIKENESS_CAST", "IMAGE"],
    "KSampler": ["IMAGE"],
    "SaveImage": [],
}
OBJECT_INFO: dict[str, Any] = {
    kind: {"output": outputs, "output_node": not outputs, "python_module": "nodes", "input": {}}
    for kind, outputs in OUTPUTS.items()
}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def job(line: int, nodes: dict[str, Any]) -> Job:
    """A picture that is sampled of `cast`. The files of photos hold their own names."""
    prompt = {
        **nodes,
        "sampled": node("KSampler", cast=["cast", 0], seed=line),
        "save": node("SaveImage", images=["sampled", 0]),
    }
    files: dict[str, bytes] = {}
    for entry in nodes.values():
        if entry["class_type"] == "LoadImage":
            files[entry["inputs"]["image"]] = entry["inputs"]["image"].encode()
    return Job(Row(line, f"row{line}", {}), prompt, files)


def cast_of_photos(first: str, second: str) -> Job:
    nodes = {
        "faces": node("LikenessLoadFaceEmbedder", pack="antelopev2"),
        "a": node("LoadImage", image=first),
        "b": node("LoadImage", image=second),
        "cast": node(
            "LikenessCastFromPhotos",
            face_model=["faces", 0],
            names="Anna, Ben",
            which_face="only",
            photo_1=["a", 0],
            photo_2=["b", 0],
        ),
    }
    return job(2, nodes)


def bank(tmp_path: Path, *names: str) -> FaceBank:
    for name in names:
        path = tmp_path / "bank" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return FaceBank([tmp_path / "bank", tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Family/Anna", "Family/Anna.safetensors"),
        ("family\\anna.safetensors", "Family/Anna.safetensors"),
        ("ben", "ben.safetensors"),
        ("Ben", "Ben.safetensors"),
        ("BEN", None),
        ("Clara", None),
    ],
)
def test_a_saved_person_is_found_by_name(name: str, file: str | None, tmp_path: Path) -> None:
    face_bank = bank(tmp_path, "Family/Anna.safetensors", "ben.safetensors", "Ben.safetensors", "notes.txt")
    expected = None if file is None else tmp_path / "bank" / file
    assert face_bank.path(name) == expected


def test_whom_nobody_has_saved_is_told_the_nearest(tmp_path: Path) -> None:
    assert "the nearest name first: ben, Anna." in bank(tmp_path, "Anna.safetensors", "ben.safetensors").nobody_called(
        "BEM"
    )
    assert FaceBank([]).nobody_called("BEM") == ""


def with_person(nodes: dict[str, Any], photo: str = "a", **other_photos: list[str]) -> dict[str, Any]:
    return with_saved_person(job(2, nodes).prompt, photo, "anna.safetensors", other_photos, OBJECT_INFO)


def test_a_saved_person_stands_in_for_a_photo_that_only_makes_the_person() -> None:
    prompt = cast_of_photos("x.png", "y.png").prompt
    new_prompt = with_saved_person(prompt, "a", "anna.safetensors", {"Second": ["b"]}, OBJECT_INFO)
    assert new_prompt["cast"]["inputs"] == {"person_1": ["cast photo 1", 0], "person_2": ["cast photo 2", 0]}
    assert new_prompt["cast photo 1"] == saved_people.load_person("anna.safetensors")
    assert new_prompt["cast photo 2"]["class_type"] == "LikenessPerson"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shown": node("SaveImage", images=["a", 0])}, "the picture also goes elsewhere than to Person"),
        ({"one": node("ImageScale", image=["a", 0])}, "it goes to no Person and to no Cast from Photos"),
        ({"told": node("KSampler", text=["one", 2])}, "uses the report of Person"),
        ({"one": node("LikenessPerson", image=["a", 0], face_landmarks=["b", 0])}, "Other is a photo of the same"),
    ],
)
def test_where_a_photo_is_needed_a_saved_person_is_refused(more: dict[str, Any], message: str) -> None:
    nodes = {
        "a": node("LoadImage", image="x.png"),
        "b": node("LoadImage", image="y.png"),
        "one": node("LikenessPerson", image=["a", 0], name="Anna"),
        "cast": node("LikenessCast", person_1=["one", 0]),
    }
    with pytest.raises(BadRow, match=message):
        with_person({**nodes, **more}, Other=["b"])


def test_a_prompt_with_a_saved_person_is_json() -> None:
    nodes = {
        "a": node("LoadImage", image="x.png"),
        "one": node("LikenessPerson", image=["a", 0], name="Anna"),
        "cast": node("LikenessCast", person_1=["one", 0]),
    }
    assert json.loads(json.dumps(with_person(nodes)))["one"]["inputs"] == {"file": "anna.safetensors"}
