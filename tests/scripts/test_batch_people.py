"""People of many pictures without a host: measured, kept, saved in cells of photos; what is missing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from batch import check, measured, prompts, saved_people, seeds
from batch.maker import score_lines
from batch.output import Task, set_prompt
from batch.prompts import Job
from batch.rows import BadRow, Row
from batch.saved_people import SavedPeople, with_saved_person
from batch.worker import Outcome, SavedFile
from environment import SetupError
from PIL import Image, PngImagePlugin
from prompts import node

from core.cast import Member, Person
from core.measure.report import MeasuredPicture, Report, Sighting

PERSON = "LIKENESS_PERSON"
CAST = "LIKENESS_CAST"
IMAGE = "IMAGE"
OUTPUTS = {
    "LikenessLoadFaceEmbedder": ["LIKENESS_FACE_MODEL"], "LoadImage": [IMAGE, "MASK"],
    "LikenessPerson": [PERSON, IMAGE, "STRING"], "ImageScale": [IMAGE],
    "LikenessLoadPerson": [PERSON, IMAGE], "LikenessBlendTwoPeople": [PERSON],
    "LikenessCast": [CAST, IMAGE],
    "LikenessCastFromPhotos": [CAST, IMAGE], "LikenessPlaceCast": [CAST, IMAGE], "LikenessCropFaces": ["CROPS", CAST],
    "LikenessPart": ["LIKENESS_PARTS", IMAGE], "CLIPVisionLoader": ["CLIP_VISION"], "CheckpointLoaderSimple": ["MODEL"],
    "KSampler": [IMAGE], "PrimitiveInt": ["INT"], "SaveImage": [], "PreviewImage": [],
    "PreviewAny": [],
}  # fmt: skip
MENUS = {
    "LikenessLoadFaceEmbedder": {"pack": [["antelopev2", "none"]]}, "KSampler": {"sampler_name": [["euler", "ddim"]]},
    "CLIPVisionLoader": {"clip_name": [["clip.pth", "dino.pth"]]},
}  # fmt: skip
KNOWN = {
    kind: {"output": outputs, "output_node": not outputs, "python_module": "nodes",
           "input": {"required": MENUS.get(kind, {})}}
    for kind, outputs in OUTPUTS.items()
}  # fmt: skip


def job(line: int = 2, **nodes: Any) -> Job:
    """A picture is sampled of `cast`; photos hold their own names."""
    sampled = node("KSampler", of=["cast", 0], seed=line)
    save = node("SaveImage", images=["sampled", 0])
    files = [entry["inputs"]["image"] for entry in nodes.values() if entry["class_type"] == "LoadImage"]
    prompt = {**nodes, "sampled": sampled, "save": save}
    return Job(Row(line, f"row{line}", {}), prompt, {file: file.encode() for file in files})


def two(line: int, anna: str, ben: str, names: str = "Anna, Ben", **more_nodes: Any) -> Job:
    cast = node("LikenessCastFromPhotos", names=names, which_face="only", photo_1=["a", 0], photo_2=["b", 0])
    return job(line, a=node("LoadImage", image=anna), b=node("LoadImage", image=ben), cast=cast, **more_nodes)


def kinds(prompt: dict[str, Any], kind: str) -> list[str]:
    return [number for number, entry in prompt.items() if entry["class_type"] == kind]


WHO: list[tuple[Job, dict[str, Any]]] = [
    (two(2, "x", "y"), {"cast": ["cast", 0]}),
    (job(cast=node("LikenessPerson", image=["p", 0]), p=node("LoadImage", image="x")), {"person": ["cast", 0]}),
    (job(who=node("LikenessCast"), layout=node("KSampler", of=["who", 0]),
         placed=node("LikenessPlaceCast", cast=["who", 0], layout=["layout", 0]),
         first=node("KSampler", of=["placed", 0]),
         cast=node("LikenessCropFaces", images=["first", 0], cast=["placed", 0])), {"cast": ["placed", 0]}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "who"), WHO)
def test_the_cast_is_measured_that_the_picture_is_made_of(one: Job, who: dict[str, Any]) -> None:
    if "placed" in one.prompt:
        one.prompt["sampled"]["inputs"]["of"] = ["cast", 1]
    prompt = measured.with_measure(one.prompt, KNOWN)
    (measure,) = (prompt[number]["inputs"] for number in kinds(prompt, "LikenessMeasureLikeness"))
    assert {name: measure[name] for name in ("cast", "person") if name in measure} == who
    assert measure["images"] == ["sampled", 0]
    assert kinds(prompt, "PreviewAny")


def test_garments_are_measured_with_and_without_people() -> None:
    """By the last Part of a chain."""
    chain = {"first": node("LikenessPart"), "last": node("LikenessPart", parts=["first", 0])}
    for people in ({}, {"who": node("LikenessCast")}):
        links = {name: [name, 0] for name in people}
        sampler = node("KSampler", parts=["last", 0], **links)
        prompt = job(2, cast=sampler, **chain, **people).prompt
        measured_prompt = measured.with_measure(prompt, KNOWN, "clip.pth")
        (inputs,) = (measured_prompt[number]["inputs"] for number in kinds(measured_prompt, "LikenessMeasureLikeness"))
        assert inputs["parts"] == ["last", 0]
        assert inputs.get("cast") == (["who", 0] if people else None)
        assert measured_prompt[inputs["clip_vision"][0]]["inputs"] == {"clip_name": "clip.pth"}
        with pytest.raises(SetupError, match=r"x\.pth is not in models/clip_vision, which has clip\.pth, dino\.pth"):
            measured.with_measure(prompt, KNOWN, "x.pth")
    with pytest.raises(SetupError, match="SaveImage is made without a Part"):
        measured.with_measure(two(2, "x", "y").prompt, KNOWN, "clip.pth")


def test_what_cannot_be_measured_or_seeded_is_refused() -> None:
    nobody = job(cast=node("LoadImage", image="x")).prompt
    somebody = job(cast=node("LikenessCast")).prompt
    no_pack = {"LikenessLoadFaceEmbedder": {"input": {"required": {"pack": [["none found", "none"]]}}}}
    cartoons = {**somebody, "model": node("CheckpointLoaderSimple", ckpt_name="standin-toy.safetensors")}
    several = job(cast=node("LikenessCast"), other=node("LikenessCast")).prompt
    several["sampled"]["inputs"]["too"] = ["other", 0]
    for prompt, changed_info, message in (
        (nobody, {}, "without a cast and without a person"),
        (somebody, no_pack, "there is none in models/insightface"),
        (cartoons, {}, "draws cartoons, with the toy model"),
        (several, {}, "LikenessCast, LikenessCast"),
    ):
        with pytest.raises(SetupError, match=message):
            measured.with_measure(prompt, {**KNOWN, **changed_info})
    del nobody["sampled"]["inputs"]["seed"]
    with pytest.raises(SetupError, match="no seed"):
        list(seeds.tries(Job(Row(2, "x", {}), nobody, {}), 2))


def test_seeds_move_also_where_another_node_holds_the_number() -> None:
    prompt = job(7, cast=node("LikenessCast"), number=node("PrimitiveInt", value=2**64 - 1)).prompt
    prompt["second"] = node("KSampler", noise_seed=["number", 0])
    first, second = seeds.tries(Job(Row(2, "x", {}), prompt, {}), 2)
    assert first.prompt["sampled"]["inputs"]["seed"] == 7
    assert first.prompt["second"]["inputs"]["noise_seed"] == ["number", 0]
    assert second.prompt["sampled"]["inputs"]["seed"] == 8
    assert second.prompt["second"]["inputs"]["noise_seed"] == 0
    large = job(2**40, cast=node("LikenessCast")).prompt
    (_, second) = seeds.tries(Job(Row(2, "x", {}), large, {}), 2)
    assert second.prompt["sampled"]["inputs"]["seed"] == 2**40 + 1


def report(*similar: float | None, boxes: int = 2) -> Report:
    """One picture of as many people; None: missing."""
    sightings: list[Sighting] = []
    for number, similarity in enumerate(similar):
        if similarity is None:
            sightings.append(Sighting(number))
            continue
        similarities = [0.1] * len(similar)
        similarities[number] = similarity
        sightings.append(Sighting(number, number, tuple(similarities), 0.125))
    box = (0.0, 0.0, 30.0, 40.0)
    pictures = (MeasuredPicture((box,) * boxes, tuple(sightings)),)
    crops = torch.zeros(0, 112, 112, 3)
    people = tuple(Member(Person(name, {}, crops)) for name in ("Anna", "Ben")[: len(similar)])
    return Report(people, ("judge", "other"), {"judge": pictures, "other": pictures})


def garments(alike: float) -> Report:
    """One picture without people."""
    return Report((), ("",), {"": (MeasuredPicture((), (), (alike,)),)}, labels=("a hat",))


@pytest.mark.parametrize(
    ("each", "best"),
    [
        ([[report(0.9, 0.3)], [report(0.5, 0.5)], [report(0.99, None)]], 1),  # the weakest person
        ([[report(one), garments(one)] for one in (0.2, 0.9, 0.4)], 1),  # a picture of people, one of garments
        ([[report(0.5, 0.5, boxes=3)], [report(0.5, 0.5)], [report(0.5, 0.5)]], 1),  # no stranger, and the first seed
        ([[report(0.9), report(0.2)], [report(0.4), report(0.3)]], 1),  # the worst of several pictures
    ],
)
def test_the_best_is_the_one_that_pick_best_keeps(each: list[list[Report]], best: int) -> None:
    assert seeds.best_try(each) == best


def test_a_line_for_each_person_seed_and_picture() -> None:
    first, second = seeds.tries(two(2, "x", "y"), 2)
    task = Task(first.row, "")
    lines = list(score_lines(task, ["row2.png"], first, [report(0.4, None)], is_kept=False))
    lines += score_lines(task, ["row2.png"], second, [report(0.75, 0.25)], is_kept=True)
    of_judge = [line for line in lines if line.get("recogniser") == "judge"]
    shown = [(line["person"], line["state"], line.get("similarity"), line["seed"], line["kept"]) for line in of_judge]
    assert shown == [
        ("Anna", "right", 0.4, 2, "no"), ("Ben", "missing", None, 2, "no"),
        ("Anna", "right", 0.75, 3, "yes"), ("Ben", "right", 0.25, 3, "yes"),
    ]  # fmt: skip
    (garment,) = score_lines(task, ["row2.png"], first, [garments(0.5)], is_kept=True, vision="clip.pth")
    assert (garment["person"], garment["recogniser"], garment["similarity"]) == ("a hat", "clip.pth", 0.5)


@pytest.mark.parametrize(
    ("saved", "pictures", "problem"),
    [
        (1, 0, "This ComfyUI's Likeness is too old to be measured by. Update it."),
        (1, 2, "1 file saved and 2 pictures measured: save each picture once."),
        (2, 1, "2 files saved and 1 picture measured: save each picture once."),
        (2, 2, ""),
        (0, 0, ""),
    ],
)
def test_each_file_is_a_picture_that_was_measured(saved: int, pictures: int, problem: str) -> None:
    outcome = Outcome([SavedFile(".png", Path("1.png"), "save")] * saved)
    reports = [*measured.reports_of(outcome), *[report(0.5)] * pictures]
    assert measured.problem_of(outcome, reports) == problem


def test_all_that_is_missing_is_said_at_once() -> None:
    complete_job = job(cast=node("LikenessCast"), faces=node("LikenessLoadFaceEmbedder", pack="antelopv2"))
    complete_job.prompt["sampled"]["inputs"]["sampler_name"] = "euler"
    good = "In place:\ntorch  ok  2.11\n\nEverything that this workflow needs is there."
    with pytest.raises(SetupError, match="antelopv2 is not in the menu pack; it has antelopev2, none"):
        check.require(complete_job, good, KNOWN)
    with pytest.raises(SetupError) as refused:
        check.require(complete_job, f"Missing:\nantelopv2  missing  x\n\n{good}\n\nTo fix it:\nfetch it", KNOWN)
    assert str(refused.value).split("\n")[1:] == ["Missing:", "antelopv2  missing  x", "To fix it:", "fetch it"]
    complete_job.prompt["faces"]["inputs"]["pack"] = "antelopev2"
    check.require(complete_job, good, KNOWN)
    with pytest.raises(SetupError, match="has no Lost, Other: install"):
        prompts.require_runnable({"1": node("Other"), "2": node("Lost"), **complete_job.prompt}, KNOWN)
    check_prompt = check.model_check(complete_job, KNOWN)
    assert not kinds(check_prompt, "SaveImage")
    assert kinds(check_prompt, "LikenessLoadFaceEmbedder")


def test_a_picture_says_what_was_asked_for(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    path = tmp_path / "picture.png"
    prompt = {"1": node("LoadImage", image="ä.png")}
    text.add_text("prompt", json.dumps({"1": node("LikenessLoadPerson", file="x")}))
    text.add_text("other", "kept")
    Image.new("RGB", (8, 8), "red").save(path, "PNG", pnginfo=text)
    set_prompt(path, prompt)
    opened = Image.open(path)
    assert json.loads(opened.info["prompt"]) == prompt
    assert opened.info["other"] == "kept"
    assert opened.convert("RGB").getpixel((3, 3)) == (255, 0, 0)
    path.write_bytes(b"GIF89a")
    set_prompt(path, prompt)
    assert path.read_bytes() == b"GIF89a"


# --- Saved people in cells of photos


def saved(tmp_path: Path, *names: str) -> SavedPeople:
    for name in names:
        path = tmp_path / "saved" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return SavedPeople([tmp_path / "saved", tmp_path / "nowhere"])


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
    saved_people = saved(tmp_path, "Family/Anna.safetensors", "ben.safetensors", "Ben.safetensors", "notes.txt")
    expected = None if file is None else tmp_path / "saved" / file
    assert saved_people.path(name) == expected


def test_whom_nobody_has_saved_is_told_the_nearest(tmp_path: Path) -> None:
    saved_people = saved(tmp_path, "Anna.safetensors", "ben.safetensors")
    assert "the nearest name first: ben, Anna." in saved_people.nobody_called("BEM")
    assert SavedPeople([]).nobody_called("BEM") == ""


ONE_PERSON = {
    "a": node("LoadImage", image="x.png"),
    "b": node("LoadImage", image="y.png"),
    "one": node("LikenessPerson", image=["a", 0], name="Anna"),
    "cast": node("LikenessCast", person_1=["one", 0]),
}


def with_person(nodes: dict[str, Any], **other_photos: list[str]) -> dict[str, Any]:
    """The prompt with a saved person in the place of photo a."""
    return with_saved_person(job(2, **nodes).prompt, "a", "anna.safetensors", other_photos, KNOWN)


def test_a_saved_person_stands_in_for_a_photo_that_only_makes_the_person() -> None:
    prompt = two(2, "x.png", "y.png").prompt
    new_prompt = with_saved_person(prompt, "a", "anna.safetensors", {"Second": ["b"]}, KNOWN)
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
    with pytest.raises(BadRow, match=message):
        with_person({**ONE_PERSON, **more}, Other=["b"])


def test_a_prompt_with_a_saved_person_is_json() -> None:
    assert json.loads(json.dumps(with_person(ONE_PERSON)))["one"]["inputs"] == {"file": "anna.safetensors [input]"}
