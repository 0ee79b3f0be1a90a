"""compare.py --people from photos to page: every method whose files are there, and a row that says what is missing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import comfy.clip_model
import comfy.supported_models
import folder_paths
import pytest
import real_faces
import torch
from comparison import page, people, photos
from comparison.columns import COLUMNS
from comparison.graphs import Graph, GraphError
from comparison.prompts import steps_of
from comparison.rows import Pictured, Row, Shown, Unread
from comparison.session import Refusal, Session, Settings
from comparison.template_methods import ALL, METHODS, TemplateMethod, methods_named
from environment import ROOT, SetupError
from host_as_before import host_as_before
from pack.core.methods import methods
from PIL import Image
from safetensors.torch import save_file
from shared import adapters, shapes
from shared.links import as_link
from shared.standins import NARROW, Weights, narrow
from shared.workflow import WorkflowError, load, nodes_in, specs
from tiny import small_networks, tiny_encoders
from torch import Tensor
from toy_files import as_published, files_in

SIZE = (256, 192)
"""Of the pictures here."""


def with_ip_adapter(models: Path) -> None:
    """Put random weights below `models` under the names of IP-Adapter's template: of text and vision the first layers,
    and of vision the one by which the host knows it."""
    weights = Weights(torch.float16)
    checkpoint = weights.fill(narrow(shapes.of("sd15"), 64))
    vision = weights.fill(shapes.of("clip_vision", count=32, width=1280, projection=1024))
    adapter = weights.fill(
        adapters.PUBLISHED["ip-adapter-plus-face_sd15"][1](adapters.UNet(tiny_encoders.SD15, (NARROW,) * 4))
    )
    of_layer = re.compile(r"(?:text|vision)_model\.encoder\.layers\.(\d+)\.")
    files = {
        "checkpoints/v1-5-pruned-emaonly-fp16.safetensors": checkpoint,
        "clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": vision,
        "ipadapter/ip-adapter-plus-face_sd15.safetensors": adapter,
    }
    for name, state in files.items():
        kept: dict[str, Tensor] = {}
        for key, tensor in state.items():
            layer = of_layer.search(key)
            tells_the_host = key.endswith("layers.30.layer_norm1.weight")
            if layer is None or int(layer[1]) < small_networks.LAYERS or tells_the_host:
                kept[key] = tensor.contiguous()
        target = models / name
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(kept, target)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Three people, the first two with a folder each, and the files of ID-Patch, InstantID and IP-Adapter alone."""
    root = tmp_path_factory.mktemp("compare")
    people = root / "people"
    people.mkdir()
    first, second, _, *others = real_faces.six(people)
    for path in others:
        path.unlink()
    for number, path in enumerate((first, second)):
        folder = people / f"<b>{number}"
        folder.mkdir()
        with Image.open(path) as photo:
            photo.save(folder / "2.png")
        path.rename(folder / f"1{path.suffix}")
    models = root / "models"
    with host_as_before(), pytest.MonkeyPatch.context() as patch, files_in(root / "files") as files:
        patch.setattr(comfy.supported_models, "models", small_networks.families())
        for network in (comfy.clip_model.CLIPTextModel, comfy.clip_model.CLIPVisionModelProjection):
            patch.setattr(network, "__init__", network.__init__)
            small_networks.end_early(network)
        as_published(files, models)
        with_ip_adapter(models)
        for kind in models.iterdir():
            folder_paths.add_model_folder_path(kind.name, str(kind))
        asked = Settings(people, root / "out", "two people", SIZE, 1, quick=True)
        asked.out.mkdir()
        yield Session(asked, photos.people_in(people))


def pictured(session: Session, title: str, ablation: str = "", people: int = 2, photo_count: int = 1) -> Graph:
    """The prompt of a picture by a method that can be drawn here."""
    method = next(method for method in METHODS if method.title == title)
    scene = session.scene(method, Pictured(range(people), photo_count, 7))
    return session.graph("seeds", method, scene, title, "seed 7", ablation)


def check_whole(graph: Graph, info: Mapping[str, Any]) -> None:
    """Every node is known and has what it needs, and every link ends at a node."""
    for node_id, node in graph.prompt.items():
        needed = {name for name, spec in specs(info, node["class_type"]).items() if not spec.optional}
        assert needed <= {name.partition(".")[0] for name in node["inputs"]}, node_id
        for value in node["inputs"].values():
            link = as_link(value)
            assert link is None or link[0] in graph.prompt, (node_id, value)


@pytest.mark.parametrize("people", [1, 3, pytest.param(9, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.title)
def test_the_prompt_of_every_method_is_whole(session: Session, method: TemplateMethod, people: int) -> None:
    """Without its files, and with every ablation: whoever is asked for is there, in as many places. A host that lacks a
    node says which."""
    person = replace(session.people[0], lora=session.settings.folder / "a.safetensors")
    scene = replace(session.scene(method, Pictured([0], 1, 7)), people=[person] * people)
    info = session.host.object_info
    for ablation in ("", *method.ablations):
        try:
            graph = method.graph(scene, info, "seeds/a", ablation)
        except WorkflowError as error:
            of_newer = (
                r"[\w, ]*(SAM3|Flux2)[\w, ]* (is|are) not known to this ComfyUI: update it to 0\.\d\d\.0 or later\."
            )
            assert re.fullmatch(of_newer, str(error)), error
            continue
        check_whole(graph, info)
        assert len(graph.ids("LikenessPerson")) == people and graph.inputs("places")["count"] == people
        assert graph.ids("LikenessCastFromPhotos") == [] and steps_of(graph) > 0
        texts = json.dumps(graph.prompt)
        assert "two people" in texts and "terrace" not in texts, "the text of the template is gone"


def test_every_method_that_draws_people_has_a_record() -> None:
    """Of people: parts are other pictures."""
    of_parts = ("parts2whole", "share_parts")
    applied = {method.applies for method in methods() if method.folder not in of_parts}
    in_records: set[str] = set()
    for drawn in METHODS:
        graph = load(ROOT / "workflows" / f"{drawn.template}.json")
        in_records |= {node["type"] for node in nodes_in(graph)}
    assert applied <= in_records


@pytest.mark.both_hosts
def test_the_same_cast_seed_text_and_size_go_to_every_method(session: Session) -> None:
    for title in ("ID-Patch", "InstantID by region", "InstantIDs chained", "faces one by one"):
        graph = pictured(session, title)
        layout = graph.inputs("places")
        assert (layout["count"], layout["width"], layout["height"]) == (2, *SIZE)
        names = [graph.inputs(node_id)["name"] for node_id in graph.ids("LikenessPerson")]
        assert names == ["<b>0", "<b>1"]
        texts = [graph.inputs(node_id)["text"] for node_id in graph.ids("CLIPTextEncode")]
        assert "two people" in texts and len(texts) == 2
        for node_id in graph.ids("KSampler"):
            assert graph.inputs(node_id)["seed"] == 7 and graph.inputs(node_id)["steps"] == 1
        for node_id in graph.ids("EmptyLatentImage"):
            assert graph.inputs(node_id)["batch_size"] == 1


@pytest.mark.parametrize(
    ("title", "ablation", "change"),
    [
        ("InstantID by region", "IdentityNet alone", {"adapter_weight": 0.0}),
        ("InstantID by region", "adapter alone", {"control_strength": 0.0}),
        ("InstantID by region", "masks off", {"mask": ["masks off", 0]}),
        ("ID-Patch", "without ID tokens", {"id_start_percent": 1.0}),
        ("ID-Patch", "without patches", {"image": ["skeletons", 0]}),
    ],
)
def test_an_ablation_leaves_out_what_it_is_called_alone(
    session: Session, title: str, ablation: str, change: Mapping[str, Any]
) -> None:
    whole, changed = pictured(session, title), pictured(session, title, ablation)
    (apply,) = whole.ids("LikenessApplyInstantID", "LikenessApplyIDPatch")
    assert changed.inputs(apply) == {**whole.inputs(apply), **change} != whole.inputs(apply)


def test_two_photos_of_each_person_are_loaded(session: Session) -> None:
    if "CreateList" not in session.host.object_info:
        pytest.skip("this ComfyUI has no node that makes a list of photos")
    assert len(pictured(session, "ID-Patch").ids("LoadImage")) == 2
    assert len(pictured(session, "ID-Patch", "2 photos", photo_count=2).ids("LoadImage")) == 4


@pytest.mark.both_hosts
def test_a_host_without_newer_nodes_draws_what_it_can_and_says_what_it_lacks(session: Session) -> None:
    """As ComfyUI 0.3.64 is: IP-Adapter's template finds faces by a node that is not needed here, several photos need
    one that is."""
    newer = ("CreateList", "LoadMediaPipeFaceLandmarker", "MediaPipeFaceLandmarker", "Flux2Scheduler")
    older = {name: info for name, info in session.host.object_info.items() if name not in newer}
    methods = {method.title: method for method in METHODS}
    scene = session.scene(methods["IP-Adapter"], Pictured([0, 1], 1, 7))
    without = methods["IP-Adapter"].graph(scene, older, "seeds/a")
    assert without.prompt == methods["IP-Adapter"].graph(scene, session.host.object_info, "seeds/a").prompt
    assert without.ids(*newer) == []
    said = r"CreateList is not known to this ComfyUI: update it to 0\.33\.0 or later\."
    with pytest.raises(GraphError, match=said):
        methods["IP-Adapter"].graph(replace(scene, photos=2), older, "seeds/a", "2 photos")
    lacking = "Flux2Scheduler is" if "EmptyFlux2LatentImage" in older else "EmptyFlux2LatentImage, Flux2Scheduler are"
    said = rf"{lacking} not known to this ComfyUI: update it to 0\.33\.0 or later\."
    with pytest.raises(WorkflowError, match=said):
        methods["References, FLUX.2 klein"].graph(scene, older, "seeds/a")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.title)
def test_every_method_that_reads_photos_reads_two_and_four(session: Session, method: TemplateMethod) -> None:
    """All photos that an ablation is called after come to each person, and as references where they are pictures.
    LoRAs are trained before, and the baselines are compared by one photo."""
    baselines = {"InstantIDs chained", "faces one by one"}
    asked = {name: ablation.photos for name, ablation in method.ablations.items() if ablation.photos > 1}
    if method.by_lora or method.title in baselines:
        assert asked == {}
        return
    assert asked == {"2 photos": 2, "4 photos": 4}
    first = session.people[0]
    person = replace(first, photos=first.photos[:1] * 4)
    for name, count in asked.items():
        scene = replace(session.scene(method, Pictured([0, 1], 1, 7)), people=[person] * 2, photos=count)
        try:
            graph = method.graph(scene, session.host.object_info, "ablations/a", name)
        except (WorkflowError, GraphError) as error:
            # ComfyUI 0.3.64 has no node that makes a list of photos.
            assert "CreateList" not in session.host.object_info
            lacking = r"(CreateList|SAM3|Flux2|MediaPipe)\w* .*known to this ComfyUI"
            assert re.search(lacking, str(error)), error
            continue
        for number in (1, 2):
            (images, _) = graph.link(f"person {number}", "image") or ("", 0)
            assert len(graph.inputs(images)) == count
        for node_id in graph.ids("LikenessPeopleAsReferences"):
            assert graph.inputs(node_id)["photos_per_person"] == count


def test_chained_people_stand_one_by_one_in_their_own_places(session: Session) -> None:
    graph = pictured(session, "InstantIDs chained", people=3)
    applied = graph.ids("LikenessApplyInstantID")
    assert [graph.link(node_id, "cast") for node_id in applied] == [(f"person {n}", 0) for n in (1, 2, 3)]
    orders = [graph.inputs(f"place of person {n}")["custom_order"] for n in (1, 2, 3)]
    assert orders == ["1,0,0", "0,1,0", "0,0,1"]
    assert graph.link(applied[2], "model") == (applied[1], 0) and graph.link(applied[1], "model") == (applied[0], 0)
    assert graph.link(graph.only("KSampler"), "model") == (applied[2], 0)


@pytest.mark.parametrize(("size", "side"), [((1152, 896), 768), ((512, 384), 512), ((300, 420), 384), ((64, 64), 256)])
def test_faces_one_by_one_are_drawn_no_larger_than_the_picture(
    session: Session, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], side: int
) -> None:
    monkeypatch.setattr(session, "settings", replace(session.settings, size=size))
    assert pictured(session, "faces one by one").inputs("crops")["size"] == side


def test_a_picture_of_an_ablation_is_drawn_and_is_another_one(session: Session, tmp_path: Path) -> None:
    whole_graph = pictured(session, "InstantID by region")
    whole = session.host.draw(whole_graph, tmp_path / "whole.png")
    without_masks = pictured(session, "InstantID by region", "masks off")
    changed = session.host.draw(without_masks, tmp_path / "masks off.png")
    again = session.host.draw(whole_graph, tmp_path / "again.png")
    assert torch.equal(whole.pixels, again.pixels), "from A to B to A"
    assert (whole.pixels - changed.pixels).abs().max() > 1 / 255
    assert whole.seconds is not None and whole.step_seconds is not None
    assert 0 < whole.step_seconds <= whole.seconds
    with Image.open(whole.path) as saved:
        prompt = json.loads(saved.info["prompt"])
    assert prompt == whole_graph.prompt, "a picture holds its workflow, without paths"


def test_several_photos_need_as_many_of_each_person(session: Session) -> None:
    method = METHODS[0]
    (row,) = session.rows("ablations", method, {"seed 1": [Pictured([0, 2], 2, 1)]}, "2 photos")
    assert row.note == "It needs 2 photos of each person, and person 2 of the picture has fewer." and not row.pictures


def test_a_missing_recogniser_is_named(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "face_model", session.face_model.only(["arcface-ir-se50"]))
    with pytest.raises(Refusal, match=r"Missing: antelopev2 in models/insightface\."):
        pictured(session, "InstantID by region")


@pytest.fixture(scope="module")
def seeds(session: Session) -> list[Row]:
    """The rows of the table of seeds, whose page is written."""
    rows = people.seeds(session)
    people.write({"seeds": rows}, session)
    return rows


@pytest.mark.thorough
def test_every_method_whose_files_are_there_is_drawn_and_measured(seeds: list[Row]) -> None:
    assert [row.title for row in seeds] == [method.title for method in METHODS]
    by_title = {row.title: row for row in seeds}
    for title in ("ID-Patch", "InstantID by region", "IP-Adapter", "InstantIDs chained", "faces one by one"):
        row = by_title[title]
        assert row.note == "" and row.people == 2
        (picture,) = row.shown
        with Image.open(picture.path) as opened:
            assert opened.size == SIZE
        assert row.figures["resemblance"] is not None and row.figures["seconds"] is not None
        assert row.figures["collapse"] is None and row.figures["text alignment"] is None


@pytest.mark.thorough
def test_what_is_missing_is_named(session: Session, seeds: list[Row]) -> None:
    notes = {row.title: row.note for row in seeds}
    assert notes["PuLID"] == (
        "Missing: pulid_v1.1.safetensors in models/pulid, EVA02_CLIP_L_336_psz14_s6B.pt in models/pulid, "
        "parsing_bisenet.pth in models/pulid."
    )
    assert notes["LoRA per Person"] == (
        "Person 1 of the picture has no LoRA: put one beside the photos, as a .safetensors."
    )
    assert {unread.column for unread in session.unread(COLUMNS)} == {"collapse", "SCR@0.4", "text alignment"}


@pytest.mark.thorough
def test_a_page_and_tables_show_every_picture(session: Session, seeds: list[Row]) -> None:
    """Names of people are shown as they are, and stand in no report."""
    out = session.settings.out
    html = (out / "index.html").read_text("utf-8")
    assert "&lt;b&gt;0" in html and "<b>0" not in html
    for row in seeds:
        for shown in row.shown:
            assert quote(shown.path.relative_to(out).as_posix()) in html
    said = json.loads((out / "report.json").read_text("utf-8"))
    assert len(said["tables"]["seeds"]) == len(METHODS) and said["device"] == "cpu"
    assert "<b>0" not in json.dumps(said)
    assert (out / "seeds.jpg").is_file() and (out / "seeds.csv").is_file() and (out / "seeds.md").is_file()


@pytest.fixture
def few_models(session: Session, tmp_path: Path) -> Path:
    """A folder of models with those of InstantID alone, so that a process has less to load and to draw."""
    models = tmp_path / "models"
    for name in ("checkpoints", "controlnet/InstantID", "instantid", "insightface"):
        link = models / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(session.settings.folder.parent / "models" / name)
    return models


def command(session: Session, models: Path, out: Path) -> subprocess.Popen[str]:
    """compare.py as a process, which draws a picture by each of two methods."""
    arguments = ["--people", str(session.settings.folder), "--out", str(out), "--size", *map(str, SIZE), "--steps", "1"]
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "tests" / "support" / "compare_process.py"), str(models)),
            *(*arguments, "--quick", "--python", sys.executable, "seeds"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LIKENESS_PYTHON": sys.executable},
    )


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the command says while it runs, without what ComfyUI and its libraries print."""
    assert process.stderr
    for line in process.stderr:
        if line.startswith("[likeness] "):
            yield line.removeprefix("[likeness] ").rstrip()


@pytest.mark.thorough
def test_a_command_that_is_stopped_says_so_and_can_be_called_again(
    session: Session, few_models: Path, tmp_path: Path
) -> None:
    """It is told to end when it has drawn a picture."""
    out = tmp_path / "out"
    process = command(session, few_models, out)
    said: list[str] = []
    for line in lines_of(process):
        said.append(line)
        if line == "  InstantID by region, 2 people, seed 1: drawn and measured.":
            process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM, said
    assert said.index("  InstantID by region, 2 people, seed 1 ...") == len(said) - 3, "before it is drawn"
    assert said[-1] == "Stopped. 1 picture is drawn."
    assert len(list((out / "seeds").glob("*.png"))) == 1
    assert not (out / "index.html").exists()

    process = command(session, few_models, out)
    said = list(lines_of(process))
    assert process.wait(60) == 0, said
    assert said[0] == "seeds ..."
    index = out / "index.html"
    assert said[-1].startswith(f"2 pictures are drawn. Done: look at {index}")
    assert len(list((out / "seeds").glob("*.png"))) == 2
    assert not list((out / ".unfinished").glob("*")), "nothing unfinished stays"


def test_the_methods_that_are_named_are_drawn_in_this_order() -> None:
    assert methods_named([ALL]) == [*METHODS]
    chosen = methods_named(["InstantID by region", "id-patch"])
    assert [method.title for method in chosen] == ["InstantID by region", "ID-Patch"]
    there = r'No such method: "ID patch"\. There are "ID-Patch" .*"References, FLUX.2 klein" .*"all"\.'
    with pytest.raises(SetupError, match=there):
        methods_named(["ID-Patch", "ID patch"])


def test_it_is_said_once_who_of_a_folder_is_drawn(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_said", set[str]())
    assert session.first_people(2) == [0, 1]
    first, second = (person.name for person in session.people[:2])
    drawn = f"Of your {len(session.people)} people these are drawn: {first}, {second}."
    assert drawn in capsys.readouterr().err
    assert session.first_people(2) == [0, 1]
    everybody = len(session.people)
    assert session.first_people(everybody + 1) == list(range(everybody))
    assert capsys.readouterr().err == ""


def test_the_page_says_which_columns_have_no_figure(tmp_path: Path) -> None:
    """A column whose judge is missing has a line of its own at the top already."""
    shown = Shown(tmp_path / "1.png", "ID-Patch, seed 1: Ann, Bob", "seed 1", 1)
    unread = [Unread("collapse", "no DINOv2."), Unread("SCR@0.4", "no DINOv2.")]

    def page_of(row: Row) -> str:
        return page.as_html(page.Answer("a", {"seeds": [row]}, COLUMNS, unread=unread), tmp_path)

    without_faces = page_of(Row("ID-Patch", 2, [shown], {"resemblance": 0.0, "missing": 1.0, "seconds": 2.0}))
    (names,) = re.findall("Not in this table, because no picture gives a figure: (.*?)\\. Most", without_faces)
    assert {"leakage", "dominance", "blending", "copy-paste"} <= {*names.split(", ")}
    assert not {"collapse", "SCR@0.4", "resemblance", "missing"} & {*names.split(", ")}
    assert "Not in this table" not in page_of(Row("ID-Patch", 2, note="no file"))
