"""People of several rows are made once, and saved people stand in cells of photos: prompts alone, without a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from batch import saved_people
from batch.folders import Folder
from batch.prompts import Job
from batch.rows import BadRow, Row
from batch.saved_people import FaceBank, with_saved_person
from batch.shared_people import SharedPeople
from safetensors import safe_open
from safetensors.torch import load, save

PERSON = "LIKENESS_PERSON"
OUTPUTS = {
    "LikenessLoadFaceEmbedder": ["LIKENESS_FACE_MODEL"],
    "LoadImage": ["IMAGE", "MASK"],
    "ImageScale": ["IMAGE"],
    "PhotoOfAnotherPack": ["IMAGE"],
    "LikenessPerson": [PERSON, "IMAGE", "STRING"],
    "LikenessLoadPerson": [PERSON, "IMAGE"],
    "LikenessBlendTwoPeople": [PERSON],
    "LikenessCast": ["LIKENESS_CAST", "IMAGE"],
    "LikenessCastFromPhotos": ["LIKENESS_CAST", "IMAGE"],
    "KSampler": ["IMAGE"],
    "SaveImage": [],
    "LikenessAsFile": [],
}
OBJECT_INFO: dict[str, Any] = {
    kind: {"output": outputs, "output_node": not outputs, "python_module": "nodes", "input": {}}
    for kind, outputs in OUTPUTS.items()
}
OBJECT_INFO["PhotoOfAnotherPack"]["python_module"] = "custom_nodes.another"


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


def cast_of_photos(line: int, first: str, second: str, names: str = "Anna, Ben", which_face: str = "only") -> Job:
    nodes = {
        "faces": node("LikenessLoadFaceEmbedder", pack="antelopev2"),
        "a": node("LoadImage", image=first),
        "b": node("LoadImage", image=second),
        "cast": node(
            "LikenessCastFromPhotos",
            face_model=["faces", 0],
            names=names,
            which_face=which_face,
            photo_1=["a", 0],
            photo_2=["b", 0],
        ),
    }
    return job(line, nodes)


def kinds(prompt: dict[str, Any], kind: str) -> list[str]:
    return [number for number, entry in prompt.items() if entry["class_type"] == kind]


def with_made_people(folder: Path, jobs: list[Job], name: str = "somebody") -> tuple[SharedPeople, list[str]]:
    """The people of these rows, made one row after the other, and the keys of those who were."""
    people = SharedPeople(OBJECT_INFO, Folder(str(folder)))
    keys: list[str] = []
    for one_job in jobs:
        for key in people.prepared(one_job).savers.values():
            people.keep(key, save({"crops": torch.arange(3.0)}, {"name": name}))
            keys.append(key)
    return people, keys


def loaded_names(person_job: Job, folder: Path) -> list[str]:
    """The names in the files of people that a job brings along, each with the same numbers."""
    names: list[str] = []
    for number in kinds(person_job.prompt, "LikenessLoadPerson"):
        data = person_job.files[person_job.prompt[number]["inputs"]["file"]]
        assert load(data)["crops"].tolist() == [0, 1, 2]
        path = folder / "read.safetensors"
        path.write_bytes(data)
        with safe_open(path, framework="pt") as file:
            names.append(file.metadata()["name"])
    return names


def test_a_person_of_several_rows_is_made_once_whatever_the_name(tmp_path: Path) -> None:
    rows = [
        cast_of_photos(2, "x.png", "y.png"),
        cast_of_photos(3, "y.png", "z.png", "Ben"),
        cast_of_photos(4, "z.png", "w.png", "Clara, Dan"),
    ]
    people = SharedPeople(OBJECT_INFO, Folder(str(tmp_path)))
    first = people.prepared(rows[0], alone={"a"})
    ((saver, key),) = first.savers.items()
    assert first.job.prompt[saver]["inputs"]["content"] == ["cast photo 2", 0], "x.png is in this row alone"
    assert first.job.files == rows[0].files
    people.keep(key, save({"crops": torch.arange(3.0)}, {"name": "Ben"}))
    second = SharedPeople(OBJECT_INFO, Folder(str(tmp_path))).prepared(rows[1])
    assert set(second.savers.values()) & {key} == set(), "another worker finds it"
    assert loaded_names(second.job, tmp_path) == ["Ben"]
    _, keys = with_made_people(tmp_path, rows)
    assert len(keys) == len(set(keys)) == 3, "x, z and w"
    names: list[str] = []
    for row in rows:
        ready = people.prepared(row).job
        names += loaded_names(ready, tmp_path)
        assert [name for name in ready.files if name.endswith(".png")] == [], "no photo that nothing needs"
        assert len(kinds(ready.prompt, "LikenessCast")) == 1
        assert row.prompt["cast"]["class_type"] == "LikenessCastFromPhotos", "the row's own prompt is as it was"
    assert sorted(names) == ["Anna", "Ben", "Ben", "Clara", "Dan", "person 2"]


def test_a_row_of_its_own_makes_its_people_itself(tmp_path: Path) -> None:
    row = cast_of_photos(2, "x.png", "y.png")
    prepared = SharedPeople(OBJECT_INFO, Folder(str(tmp_path))).prepared(row, {"a", "b"})
    assert prepared.savers == {}
    assert prepared.job is row


def test_settings_tell_people_apart(tmp_path: Path) -> None:
    rows = [cast_of_photos(2, "x.png", "y.png"), cast_of_photos(3, "x.png", "y.png", which_face="largest")]
    _, keys = with_made_people(tmp_path, rows)
    assert len(set(keys)) == 4


def test_a_blend_is_made_of_people_who_are_loaded(tmp_path: Path) -> None:
    def blended(line: int, amount: float) -> Job:
        return job(
            line,
            {
                "photo": node("LoadImage", image="x.png"),
                "one": node("LikenessPerson", image=["photo", 0], name="Anna", which_face="1"),
                "two": node("LikenessPerson", image=["photo", 0], name="Ben", which_face="2"),
                "blend": node("LikenessBlendTwoPeople", a=["one", 0], b=["two", 0], amount=amount),
                "cast": node("LikenessCast", person_1=["blend", 0]),
                "unneeded": node("LikenessPerson", image=["photo", 0], name="Eve", which_face="3"),
            },
        )

    rows = [blended(2, 0.5), blended(3, 0.25)]
    people, keys = with_made_people(tmp_path, rows)
    assert len(keys) == 2
    ready = people.prepared(rows[1]).job
    assert kinds(ready.prompt, "LikenessPerson") == []
    assert ready.prompt["blend"]["inputs"]["amount"] == 0.25
    assert sorted(loaded_names(ready, tmp_path)) == ["Anna", "Ben"]


def test_people_of_other_packs_nodes_are_made_in_their_rows(tmp_path: Path) -> None:
    """Such a node may give another photo each time."""

    def of_another_pack(line: int) -> Job:
        nodes = {
            "photo": node("PhotoOfAnotherPack", subject="anybody"),
            "one": node("LikenessPerson", image=["photo", 0], name="Anna"),
            "cast": node("LikenessCast", person_1=["one", 0]),
        }
        return job(line, nodes)

    _, keys = with_made_people(tmp_path, [of_another_pack(2), of_another_pack(3)])
    assert keys == []


# --- Saved people in cells


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
    prompt = cast_of_photos(2, "x.png", "y.png").prompt
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
