"""People of many pictures without a host: measured, kept, saved in cells of photos; what is missing."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batch import check, measured, prompts, saved_looks, saved_people, seeds
from batch.beside import Beside, BesideWriter
from batch.folders import Folder
from batch.inputs import Template
from batch.maker import score_lines
from batch.output import Task, set_prompt
from batch.photo_cells import PhotoCells
from batch.prompts import Job
from batch.rows import BadRow, Row
from batch.saved_people import SavedPeople, with_saved_person
from batch.worker import Outcome, SavedFile
from environment import SetupError
from PIL import Image, PngImagePlugin
from prompts import node
from safetensors import safe_open
from safetensors.torch import save
from shared.given_files import Unreadable
from systems import posix

from core.cast import Look, LookPicture, Member, Person, person_without_photo
from core.checks.text import UNNAMED
from core.measure.measuring import with_parts
from core.measure.report import MeasuredPicture, Report, Sighting
from core.persons.saving import from_tensors, to_tensors

PERSON = "LIKENESS_PERSON"
CAST = "LIKENESS_CAST"
IMAGE = "IMAGE"
OUTPUTS = {
    "LikenessLoadFaceEmbedder": ["LIKENESS_FACE_MODEL"], "LoadImage": [IMAGE, "MASK"],
    "LikenessPerson": [PERSON, IMAGE, "STRING"], "ImageScale": [IMAGE],
    "LikenessLoadPerson": [PERSON, IMAGE], "LikenessBlendTwoPeople": [PERSON],
    "LikenessCast": [CAST, IMAGE],
    "LikenessCastFromPhotos": [CAST, IMAGE], "LikenessPlaceCast": [CAST, IMAGE], "LikenessCropFaces": ["CROPS", CAST],
    "LikenessEncodeParts": ["FEATURES", IMAGE], "LikenessMeasureLikeness": ["LIKENESS_REPORT"],
    "LikenessPart": ["LIKENESS_PARTS", IMAGE], "CLIPVisionLoader": ["CLIP_VISION"], "CheckpointLoaderSimple": ["MODEL"],
    "KSampler": [IMAGE], "PrimitiveInt": ["INT"], "SaveImage": [], "PreviewImage": [],
    "PreviewAny": [],
}  # fmt: skip
MENUS = {
    "LikenessLoadFaceEmbedder": {"pack": [["antelopev2", "none"]]}, "KSampler": {"sampler_name": [["euler", "ddim"]]},
    "CLIPVisionLoader": {"clip_name": [["clip.pth", "dino.pth"]]},
    "LikenessLoadPerson": {"file": [["server.safetensors"]]},
    "LikenessEncodeParts": {"looks": ["STRING", {}]}, "LikenessMeasureLikeness": {"looks": ["STRING", {}]},
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


def test_looks_are_measured_as_they_are_worn() -> None:
    """What the node says that draws them; where none draws them nobody wears one."""
    worn: dict[str, str | None] = {"Anna: coat": "Anna: coat", "": "", "unlinked": None, "none": "-"}
    for text, expected in worn.items():
        part = node("LikenessPart")
        people = {"cast": ["who", 0]} if text != "unlinked" else {}
        wearing = node("LikenessEncodeParts", looks=text, **people)
        sampler = node("KSampler", of=["who", 0], parts=["part" if text == "none" else "wearing", 0])
        prompt = job(2, cast=sampler, who=node("LikenessCast"), part=part, wearing=wearing).prompt
        if expected is None:
            with pytest.raises(SetupError, match="without a Part and without looks"):
                measured.with_measure(prompt, KNOWN, "clip.pth")
            continue
        measured_prompt = measured.with_measure(prompt, KNOWN, "clip.pth")
        (inputs,) = (measured_prompt[number]["inputs"] for number in kinds(measured_prompt, "LikenessMeasureLikeness"))
        assert inputs["looks"] == expected
        assert inputs.get("parts") == (["part", 0] if text == "none" else None)
    prompt["other"] = node("LikenessEncodeParts", cast=["who", 0], looks="Anna: hat")
    prompt["third"] = node("LikenessEncodeParts", cast=["who", 0])
    prompt["cast"]["inputs"] |= {"second": ["other", 0], "third": ["third", 0]}
    with pytest.raises(SetupError, match=r"LikenessEncodeParts, LikenessEncodeParts say different ones"):
        measured.with_measure(prompt, KNOWN, "clip.pth")


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
        list(seeds.tries(Job(Row(2, "x", {}), nobody, {}), 2, 0))


def test_seeds_move_also_where_another_node_holds_the_number() -> None:
    prompt = job(7, cast=node("LikenessCast"), number=node("PrimitiveInt", value=2**64 - 1)).prompt
    prompt["second"] = node("KSampler", noise_seed=["number", 0])
    first, second = seeds.tries(Job(Row(2, "x", {}), prompt, {}), 2, 0)
    assert first.prompt["sampled"]["inputs"]["seed"] == 7
    assert first.prompt["second"]["inputs"]["noise_seed"] == ["number", 0]
    assert second.prompt["sampled"]["inputs"]["seed"] == 8
    assert second.prompt["second"]["inputs"]["noise_seed"] == 0
    large = job(2**40, cast=node("LikenessCast")).prompt
    (_, second) = seeds.tries(Job(Row(2, "x", {}), large, {}), 2, 0)
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


def wearing(one: Report, *alike: float) -> Report:
    """The same with garments, the first of them a look's."""
    return with_parts(one, [alike], ["garment"] * len(alike), of_looks=1)


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
    assert seeds.best_try(each, None) == best


@pytest.mark.parametrize(
    ("garment_share", "best"),
    [(None, 2), (0.0, 0), (0.5, 2), (0.2, 0), (1.0, 1)],
)
def test_garments_count_beside_people_as_is_asked_for(garment_share: float | None, best: int) -> None:
    """The least alike of each; without looks only where it is asked for."""
    faces = [report(0.7, 0.6), report(0.9, 0.1), report(0.5, 0.9)]
    tries = [[wearing(one, *alike)] for one, alike in zip(faces, [(0.9, 0.4), (0.8, 0.8), (0.7, 0.7)], strict=True)]
    assert seeds.best_try(tries, garment_share) == best
    parts = [[replace(one, of_looks=0) for one in reports] for reports in tries]
    assert seeds.best_try(parts, garment_share) == (0 if garment_share is None else best)


def test_a_line_for_each_person_seed_and_picture() -> None:
    first, second = seeds.tries(two(2, "x", "y"), 2, 0)
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
    assert f"In {tmp_path / 'saved'}, " in saved_people.nobody_called("BEM")
    assert SavedPeople([tmp_path / "none"]).nobody_called("BEM").endswith(f"nobody is saved in {tmp_path / 'none'}.")
    assert "set COMFYUI_PATH to the ComfyUI" in SavedPeople([]).nobody_called("BEM")


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


def test_whoever_the_workflow_chooses_from_the_kept_people_is_loaded_unless_the_row_has_a_photo() -> None:
    prompt = two(2, "x.png", "y.png").prompt
    prompt["cast"]["inputs"] |= {"person_1": "the photo", "person_2": "Anna", "person_3": "Ben"}
    separate = saved_people.with_separate_people(prompt)
    kinds = [separate[f"cast photo {number}"]["class_type"] for number in (1, 2, 3)]
    assert kinds == ["LikenessPerson", "LikenessLoadPerson", "LikenessLoadPerson"]
    assert separate["cast photo 3"]["inputs"] == {"file": "Ben"}
    with_photo = saved_people.with_photo(prompt, "b")["cast"]["inputs"]
    assert [with_photo[f"person_{number}"] for number in (1, 2, 3)] == ["the photo", "the photo", "Ben"]
    new_prompt = with_saved_person(prompt, "b", "carla.safetensors", {}, KNOWN)
    assert new_prompt["cast photo 2"] == saved_people.load_person("carla.safetensors")


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


# --- Looks in cells


def person_with_looks(*names: str) -> Person:
    """With a look of a red picture, one of a blue picture, and so on."""
    looks: list[Look] = []
    for number, name in enumerate(names):
        picture = torch.zeros(6, 4, 3, dtype=torch.uint8)
        picture[..., number % 3] = 255
        mask = torch.ones(6, 4, dtype=torch.uint8)
        looks.append(Look(name, (LookPicture("shoes", picture), LookPicture("coat", picture, mask=mask, weight=0.5))))
    return Person("Anna", {"r": torch.ones(1, 512)}, torch.full((1, 112, 112, 3), 0.5), looks=tuple(looks))


def read_person(data: bytes, folder: Path) -> Person:
    path = folder / "read.safetensors"
    path.write_bytes(data)
    with safe_open(path, "pt") as file:
        return from_tensors({name: file.get_tensor(name) for name in file.keys()}, file.metadata(), "x")  # noqa: SIM118


def test_a_file_with_one_look_alone_is_that_of_the_person_with_it(tmp_path: Path) -> None:
    everything = person_with_looks("coat", "Blue 2", "hat")
    for look in ("coat", "Blue 2", "", "hat"):
        data = saved_looks.with_look_alone(save(*to_tensors(everything)), look)
        own = tuple(one for one in everything.looks if one.name == look)
        expected = to_tensors(replace(everything, looks=own))
        read = to_tensors(read_person(data, tmp_path))
        assert read.metadata == expected.metadata
        assert read.tensors.keys() == expected.tensors.keys()
        assert all(torch.equal(read.tensors[name], rows) for name, rows in expected.tensors.items())
        assert saved_looks.names_of_looks(data[: saved_looks.MOST_BEGIN_BYTES]) == ([look] if look else [])


WORN: list[tuple[list[str], list[str]]] = [
    ([], []),
    ([""], ["hat"]),
    (["", "Anna: COAT"], ["coat", "hat"]),
    (["1: \u201cblue 2\u201d; 2: coat"], ["coat", "Blue 2", "hat"]),
    (["-"], ["hat"]),
]


@pytest.mark.parametrize(("said", "names"), WORN)
def test_looks_that_a_row_does_not_wear_stay_at_home(said: list[str], names: list[str], tmp_path: Path) -> None:
    """The newest travels where nothing else is said of its owner: names of others are not known here."""
    everything = save(*to_tensors(person_with_looks("coat", "Blue 2", "hat")))
    data = saved_looks.with_looks_worn(everything, said)
    assert [look.name for look in read_person(data, tmp_path).looks] == names
    assert (data is everything) == (len(names) == 3)
    assert len(data) < len(everything) or len(names) == 3
    assert saved_looks.with_looks_worn(b"no person", said) == b"no person"


def test_what_a_row_says_of_looks_is_asked_of_all_its_nodes() -> None:
    def said(**inputs: Any) -> tuple[str, ...] | None:
        return saved_people.looks_said({"1": node("LikenessEncodeParts", **inputs), "2": node("LikenessCast")})

    assert said() == ("",)
    assert said(looks="Anna: coat") == ("", "Anna: coat")
    assert said(looks=["9", 0]) is None
    for kind in ("LikenessSavePerson", "LikenessKeepPeople", "LikenessLookFromPicture"):
        assert saved_people.looks_said({"1": node(kind)}) is None


def test_of_several_looks_the_one_is_shown_that_is_worn_unless_another_is_written(tmp_path: Path) -> None:
    """The newest, as every node wears it."""
    data = save(*to_tensors(person_with_looks("red", "blue")))
    entry = BesideWriter(Folder(str(tmp_path)), "people").entry([Beside("A", "x.safetensors", data)])
    assert [caption for caption, _ in entry if "photo" not in caption] == ["Anna: blue, shoes", "Anna: blue, coat"]


def test_a_person_of_looks_alone_is_shown_by_them_and_needs_one(tmp_path: Path) -> None:
    """Under what each column fills, where the person has no name."""
    dressed = replace(person_without_photo(UNNAMED), looks=person_with_looks("red").looks)
    data = save(*to_tensors(dressed))
    entry = BesideWriter(Folder(str(tmp_path)), "people").entry(Beside(who, "x.safetensors", data) for who in "AB")
    assert [caption for caption, _ in entry] == ["A: red, shoes", "A: red, coat", "B: red, shoes", "B: red, coat"]
    with pytest.raises(Unreadable, match="has no photo, so without a look it would not say who it is"):
        saved_looks.with_look_alone(data, "")
    assert saved_looks.with_looks_worn(data, ()) is data


LOOKS: list[tuple[str, str | None]] = [
    ("anna.safetensors: red coat", "Red coat"),
    ("anna: Red coat", "Red coat"),
    ("ANNA\uff1a\u201cscene 2: blue\u201d", "scene 2: blue"),
    ("anna: scene 2: blue", "scene 2: blue"),
    ("'anna' : 'red coat'", "Red coat"),
    ("{folder}/anna.safetensors: red coat", "Red coat"),
    ("file://{folder}/anna.safetensors: red coat", "Red coat"),
    ("anna: red coat,", "Red coat"),
    ("anna: -", ""),
    ('anna: "-"', ""),
    ("anna:", "scene 2: blue"),
    ("plain: -", ""),
    ("plain:", ""),
    ("anna", None),
    ("anna.safetensors", None),
    ("a: b.png", None),
    ('"a: b.safetensors": red coat', "Red coat"),
]


@posix
@pytest.mark.parametrize(("cell", "look"), LOOKS)
def test_a_cell_names_a_person_and_a_look(cell: str, look: str | None, tmp_path: Path) -> None:
    found = cells_of(tmp_path).found("First", cell.format(folder=tmp_path))
    assert found.look == look
    assert found.stamp


@posix
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (": red coat", "names a look and nobody who wears it"),
        ("anna: hat", r"anna\.safetensors has no look 'hat' .* or - for none: Red coat, scene 2: blue"),
        ("anna: red coat, scene 2: blue", "Several looks are written for anna.safetensors: red coat, scene 2: blue"),
        ("anna.jpg: red coat", r"anna\.jpg is a photo: only people of Save Person have looks"),
        ("nobody: red coat", r"which is not in .* Nor is it a saved person. In .*saved are saved, .*plain"),
        ("plain: red coat", r"plain\.safetensors has no look 'red coat' \(0 looks\)\. Give plain\.safetensors a look"),
        ("other: red coat", r"other\.safetensors is no file of a person that this version of Save Person writes"),
        ("newer: red coat", r"newer\.safetensors is no file of a person that this version"),
        ("C:\\people\\anna.safetensors", r"which is not in"),
        ("C:\\people\\anna.safetensors: red coat", r"which is not in"),
        ("https://x.org/anna.safetensors: red coat", "Addresses, and pictures in cells, are not read"),
        ("http://x.org:80/a.png", "Addresses, and pictures in cells, are not read"),
    ],
)
def test_a_look_that_cannot_be_worn_is_told_with_those_there_are(cell: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadRow, match=message):
        cells_of(tmp_path).found("First", cell)


def cells_of(folder: Path) -> PhotoCells:
    """Cells that may name anna, who has two looks, a person without any, and files of other kinds."""
    anna = save(*to_tensors(person_with_looks("Red coat", "scene 2: blue")))
    tensors, metadata = to_tensors(person_with_looks())
    (folder / "saved").mkdir()
    (folder / "saved" / "plain.safetensors").write_bytes(save(tensors, metadata))
    (folder / "saved" / "newer.safetensors").write_bytes(save(tensors, {**metadata, "version": "99"}))
    for name, data in (("anna.safetensors", anna), ("a: b.safetensors", anna), ("a: b.png", b"x"), ("anna.jpg", b"x"),
                       ("other.safetensors", b"x")):  # fmt: skip
        (folder / name).write_bytes(data)
        (folder / "saved" / name).write_bytes(data)
    return PhotoCells(Folder(str(folder)), SavedPeople([folder / "saved"]))


@posix
def test_of_a_saved_person_in_the_place_of_a_photo_the_worn_looks_travel(tmp_path: Path) -> None:
    cells_of(tmp_path)
    graph = {
        "1": node("LoadImage", "Anna", image="a.jpg"), "2": node("LikenessPerson", image=["1", 0]),
        "3": node("LikenessCast", person_1=["2", 0]),
        "4": node("LikenessEncodeParts", "Encode", cast=["3", 0], looks=""),
        "5": node("SaveImage", images=["4", 1]),
    }  # fmt: skip
    photo = {"required": {"image": [["a.jpg"], {"image_upload": True}]}}
    known = {**KNOWN, "LoadImage": {**KNOWN["LoadImage"], "input": photo}}
    folder = Folder(str(tmp_path))
    for wearing, cells, names in (
        (True, {}, ["scene 2: blue"]),
        (True, {"Encode.looks": "Anna:  RED coat"}, ["Red coat", "scene 2: blue"]),
        (False, {}, []),
    ):
        drawn = graph if wearing else {**graph, "4": node("LikenessPlaceCast", "Encode", cast=["3", 0], looks="")}
        (tmp_path / "graph.json").write_text(json.dumps(drawn))
        columns = ["Anna.image", *cells]
        saved_here = SavedPeople([tmp_path / "saved"])
        template = Template(tmp_path / "graph.json", known, columns, folder, tmp_path, saved_here)
        (data,) = template.job(Row(2, "a", {"Anna.image": "anna.safetensors", **cells})).files.values()
        assert [look.name for look in read_person(data, tmp_path).looks] == names


@posix
def test_load_person_wears_a_look_that_a_cell_names(tmp_path: Path) -> None:
    """Its file travels then; a name alone is a word of its menu."""
    cells_of(tmp_path)
    graph = {"1": node("LikenessLoadPerson", "Anna", file="server.safetensors"), "2": node("LikenessCast", a=["1", 0]),
             "3": node("LikenessEncodeParts", cast=["2", 0])}  # fmt: skip
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    saved_here = SavedPeople([tmp_path / "saved"])
    folder = Folder(str(tmp_path))
    template = Template(tmp_path / "graph.json", KNOWN, ["Anna.file"], folder, tmp_path, saved_here)
    for cell, look in (("server", None), ("anna: RED COAT", "Red coat"), ("anna: -", "")):
        row = Row(2, "a", {"Anna.file": cell})
        one = template.job(row)
        file = one.prompt["1"]["inputs"]["file"]
        assert template.is_file("Anna.file", cell) is (look is not None)
        if look is None:
            assert file == "server.safetensors"
            continue
        ((name, data),) = one.files.items()
        assert file == f"{name} [input]"
        assert saved_looks.names_of_looks(data) == ([look] if look else [])
        assert [(shown.who, shown.data) for shown in one.beside] == [("Anna", data)]
        assert template.job(row).files.keys() == one.files.keys()
        assert template.fingerprint(row) != template.fingerprint(Row(2, "a", {"Anna.file": "anna: scene 2: blue"}))
        assert template.fingerprint(row) == template.fingerprint(Row(2, "a", {"Anna.file": cell.lower()}))


@pytest.mark.parametrize(
    ("more", "is_worn"),
    [
        ({"wearing": node("LikenessEncodeParts", cast=["cast", 0])}, True),
        ({"placed": node("LikenessPlaceCast", cast=["cast", 0]),
          "wearing": node("LikenessEncodeParts", cast=["placed", 0])}, True),
        ({"cast": node("LikenessCastFromPhotos", names="", photo_1=["a", 0]),
          "wearing": node("LikenessEncodeParts", cast=["cast", 0])}, True),
        ({"wearing": node("LikenessEncodeParts", image=["cast", 1])}, False),  # its picture, and not its people
        ({"other": node("LikenessPerson", image=["b", 0]),
          "wearing": node("LikenessEncodeParts", cast=["other", 0])}, False),
        ({"measured": node("LikenessMeasureLikeness", cast=["cast", 0])}, False),
        ({"one": node("LikenessLoadPerson"), "a": node("LikenessLoadPerson"), "cast": node("LikenessCast", a=["a", 0]),
          "wearing": node("LikenessEncodeParts", cast=["cast", 0])}, True),
    ],
)  # fmt: skip
def test_a_look_is_refused_where_nothing_draws_it(more: dict[str, Any], is_worn: bool) -> None:
    prompt = job(2, **{**ONE_PERSON, **more}).prompt
    with nullcontext() if is_worn else pytest.raises(BadRow, match="This workflow draws no looks of this person"):
        saved_people.require_worn(prompt, "a", KNOWN)
