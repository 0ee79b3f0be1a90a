"""What Check Model Files says of model folders as people have them."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import translations
from pack.core.checks.text import as_typed
from pack.core.models import file_check, file_findings, manifest, template_needs, workflow_needs
from pack.core.models.file_findings import Diagnosis, Finding
from pack.core.models.formats import IR_SE50_KEY
from pack.core.models.model_folders import Folders, fetching
from shared import adapters
from shared import workflow as rig_workflow
from shared.choices import as_prompt
from shared.standins import copy_face_pack

ROOT = Path(__file__).resolve().parents[2]
TO_K_OF_CONTROL_NET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
CONTROL_NET = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), TO_K_OF_CONTROL_NET: (640, 2048)}
INSTANT_ID = {
    "image_proj.latents": (1, 16, 1280), "image_proj.proj_in.weight": (1280, 512),
    "ip_adapter.1.to_k_ip.weight": (640, 2048),
}  # fmt: skip
PACK = "insightface/models/antelopev2"
RECOGNISER = "facexlib/recognition_arcface_ir_se50.pth"
CHECKPOINT = f"checkpoints/{manifest.model('sdxl-base').name}"
OF_CHECKPOINT = {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048)}
IDENTITY_NET = f"controlnet/{manifest.model('instantid-controlnet').name}"
OTHER_NET = f"controlnet/{manifest.model('id-patch-controlnet').name}"


def sparse(path: Path, shapes, size: int = 0) -> Path:
    """A safetensors file of that many bytes, with a real header and nothing behind it that takes room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {}
    end = 0
    for key, shape in shapes.items():
        numbers = torch.Size(shape).numel()
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + 2 * numbers]}
        end += 2 * numbers
    length = len(json.dumps(header)) + 200
    if size:
        start = end
        end = size - 8 - length
        header["rest"] = {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
    text = json.dumps(header).ljust(length).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + end)
    return path


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """All that three methods need, tiny or without content."""
    models = tmp_path / "models"
    (models / "id_patch").mkdir(parents=True)
    projections = {name: {"norm.weight": torch.zeros(64)} for name in ("patch_proj", "prompt_proj")}
    torch.save(projections, models / "id_patch" / "id-patch.bin")
    sparse(models / OTHER_NET, CONTROL_NET, 5 * 10**9)
    sparse(models / IDENTITY_NET, CONTROL_NET, 25 * 10**8)
    sparse(models / "instantid" / "ip-adapter.bin", INSTANT_ID)
    recogniser = dict.fromkeys(("input_layer.0.weight", IR_SE50_KEY, "output_layer.3.weight"), torch.zeros(1))
    (models / "facexlib").mkdir()
    torch.save(recogniser, models / RECOGNISER, _use_new_zipfile_serialization=False)
    sparse(models / CHECKPOINT, OF_CHECKPOINT)
    copy_face_pack(models / PACK)
    (models / PACK / "det_500m.onnx").rename(models / PACK / "scrfd_10g_bnkps.onnx")
    (models / PACK / "w600k_mbf.onnx").rename(models / PACK / "glintr100.onnx")
    return models


def folders(models: Path):
    keys = {model.key for model in manifest.models()} | {"ipadapter", "loras"}
    return Folders({key: (str(models / key),) for key in keys} | {"": (str(models),)})


def workflow(name: str):
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))


def needs_of(names):
    """What all these templates need together, and a function: model -> what needs it."""
    needs = [template_needs.templates()[name] for name in names]
    users = template_needs.users(names, {method for template in needs for method in template.methods})
    return [model for template in needs for model in template.models], users


def report(models: Path, graph="start_two_people"):
    graph = workflow(graph) if isinstance(graph, str) else graph
    nodes_gone = file_check.gone(workflow_needs.gone(as_prompt(graph)))
    return file_check.report("this", wanted(graph), folders(models), nodes_gone)


def wanted(graph):
    return workflow_needs.wanted(as_prompt(graph))


def test_what_is_missing_comes_first_by_what_needs_it(complete):
    for path in ("controlnet/InstantID", "insightface", "id_patch"):
        shutil.rmtree(complete / path)
    (complete / "instantid" / "ip-adapter.bin").write_bytes(b"")
    names = ("start_two_people", "start_portrait", "id_patch_with_pose_canny_depth")
    needed, users = needs_of(names)
    hosts = [file_check.host("ComfyUI 1")]
    diagnosis = file_check.report("both", needed, folders(complete), hosts, users=users)
    titles = {}
    for title, section in diagnosis.sections.items():
        titles[title] = [finding.fetch.id for finding in section if finding.fetch]
    expected = {
        "Missing for ID-Patch": ["id-patch"],
        "Missing for ID-Patch, InstantID": ["antelopev2"],
        "Missing for InstantID": ["instantid-controlnet"],
        "Missing for single templates": ["controlnet-canny-sdxl", "controlnet-depth-sdxl", "depth-anything-3", "sdpose",
                                         "rt-detr"],
        "To fix for InstantID": ["instantid"], "In place": [],
    }  # fmt: skip
    assert [*titles.items()] == [*expected.items()]
    assert [section["title"] for section in diagnosis.as_json()["sections"]] == list(titles)
    assert [line[:-1] for line in diagnosis.text().splitlines() if line[:-1] in titles] == list(titles)


UNREADABLE = Path("/proc/self/mem")
"""A file that nobody can read from its start, not even root."""
PLACED = json.loads(Path(__file__).with_name("file_check_places.json").read_text("utf-8"))
"""A model, what is changed of complete folders, and what is found.

Changed: path -> the path it had before, the share of it that is left, null for nothing, or what it is made of.
"""


def change(models: Path, changes) -> None:
    for name, content in changes.items():
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case None if path.is_file():
                path.unlink()
            case None:
                shutil.rmtree(path)
            case str():
                (models / content).rename(path)
            case float():
                os.truncate(path, min(int(path.stat().st_size * content), 2_500_000))
            case {"bytes": text}:
                path.write_text(text)
            case {"length": length}:
                path.touch()
                os.truncate(path, length)
            case {"link": target}:
                path.symlink_to(models / target)
            case {"shapes": shapes, **size}:
                sparse(path, shapes, **size)
            case {"published": adapter}:
                unet, shapes = adapters.PUBLISHED[adapter]
                sparse(path, dict(shapes(unet)))


@pytest.mark.parametrize("case", PLACED)
def test_what_is_in_the_place_of_a_model(complete, case):
    identifier, changes, state, detail = PLACED[case]
    if str(UNREADABLE) in str(changes) and not UNREADABLE.is_file():
        pytest.skip("no /proc here")
    change(complete, changes)
    finding = file_check.examine(manifest.model(identifier), folders(complete))
    assert finding.state == state
    assert detail.replace("MODELS", complete.as_posix()) in finding.detail.replace("\\", "/")
    assert (finding.fetch and finding.fetch.id) == (identifier if state in ("missing", "damaged") else None)
    resumed = ["-C -" in command for command in report(complete).commands if command.startswith("curl")]
    if state == "damaged":
        assert resumed == [False], "what is there is no beginning"
    else:
        assert False not in resumed
    check_chinese(file_check.report("this workflow", [manifest.model(identifier)], folders(complete)), complete)


def findings_of(diagnosis, beginning):
    """Those whose name begins with this."""
    return [finding for finding in diagnosis.findings if finding.what.startswith(beginning)]


def findings_to_fix(graph, searched):
    return file_check.report("", wanted(graph), searched).to_fix


def names_to_fix(graph, searched):
    return [finding.name for finding in findings_to_fix(graph, searched)]


def test_a_pack_that_is_chosen_is_missing_beside_another(complete):
    """A run asks for the pack that Load Face Embedder has chosen, in a start box as well; another one may be chosen."""
    packs = complete / "insightface" / "models"
    (packs / "antelopev2").rename(packs / "buffalo_sc")
    for template in ("id_patch_several_scenes", "start_two_people"):
        graph = workflow(template)
        (finding,) = findings_of(report(complete, graph), "antelopev2")
        assert finding.state == "missing"
        assert finding.fetch.url.endswith("antelopev2.zip")
        assert finding.detail.endswith("Or choose the face pack buffalo_sc, which is there.")
        assert finding.as_json()["details"] == ("Or choose the face pack buffalo_sc, which is there.",)
        assert names_to_fix(graph, folders(complete)) == ["antelopev2"]
        for node in rig_workflow.all_nodes(graph):
            values = node.get("widgets_values")
            # The values of the box are changed, as newer frontends save them, not those inside of it.
            is_loader = node["type"] == "LikenessLoadFaceEmbedder"
            if values and is_loader == (template == "id_patch_several_scenes"):
                node["widgets_values"] = ["buffalo_sc" if value == "antelopev2" else value for value in values]
        assert findings_to_fix(graph, folders(complete)) == []


def test_a_pack_that_nobody_publishes(complete):
    graph = {"1": {"class_type": "LikenessLoadFaceEmbedder", "inputs": {"pack": "mine", "recognisers": "all found"}}}
    (finding,) = findings_to_fix(graph, folders(complete))
    place = complete / "insightface" / "models" / "mine"
    assert (finding.name, finding.detail) == ("mine", f"{place} is not there; choose a face pack that is.")
    copy_face_pack(complete / "insightface" / "mine")
    assert findings_to_fix(graph, folders(complete)) == []
    graph["1"]["inputs"]["pack"] = "none (faces from landmarks)"
    assert wanted(graph) == ()
    graph["1"]["inputs"]["pack"] = "none found"
    assert [model.name for model in wanted(graph)] == ["antelopev2"]


def test_any_pack_does_where_none_is_chosen(complete):
    """ID-Patch needs a detector, of any pack; InstantID antelopev2's own recogniser. All templates need both."""
    packs = complete / "insightface" / "models"
    (packs / "antelopev2").rename(packs / "buffalo_sc")
    graph = {"1": {"class_type": "LikenessApplyIDPatch", "inputs": {}}, "2": {"class_type": "LikenessPerson"}}
    (finding,) = findings_of(report(complete, graph), "antelopev2")
    assert finding.state == "found"
    assert finding.fetch is None
    assert finding.detail.endswith("has one. If the workflow has a Load Face Embedder, choose buffalo_sc in it.")
    needed = [*wanted(graph), *wanted(workflow("start_portrait"))]
    for models in (needed, needed[::-1]):
        (finding,) = findings_of(file_check.report("both", models, folders(complete)), "antelopev2")
        assert finding.state == "missing"


def test_a_name_that_a_menu_of_the_host_does_not_have_is_to_be_chosen(complete):
    """A run is refused for it, although the file is there under another name."""
    (complete / CHECKPOINT).rename(complete / "checkpoints" / "other.safetensors")
    (finding,) = findings_to_fix(workflow("start_portrait"), folders(complete))
    assert finding.state == "under another name"
    assert finding.fetch is None
    assert finding.detail.endswith("other.safetensors: choose other.safetensors in its loader.")


WORKFLOWS = json.loads(Path(__file__).with_name("file_check_workflows.json").read_text("utf-8"))
"""Nodes with what is chosen in them, what is changed of complete folders, and what is not as it should be: the
beginning of its name, and words of its state and detail."""


@pytest.mark.parametrize("case", WORKFLOWS)
def test_what_is_said_of_a_workflow(complete, case):
    """They come from strangers: what they name is looked for in the folder of its kind, and told in one line."""
    chosen, changes, expected = WORKFLOWS[case]
    change(complete, changes)
    graph = workflow(chosen["template"]) if "template" in chosen else {}
    if "CheckpointLoaderSimple" in chosen:
        rig_workflow.fill(graph, {"ckpt_name": chosen["CheckpointLoaderSimple"]}, ["anna.png"])
    if not graph:
        for kind, value in chosen.items():
            (menu, *_) = workflow_needs.FIRST_TEXTS.get(kind, ("file",))
            inputs = value if isinstance(value, dict) else {menu: value}
            graph[kind] = value if "class_type" in value else {"class_type": kind, "inputs": inputs}
    diagnosis = report(complete, graph)
    wrong = [finding for finding in diagnosis.findings if finding.state != "found"]
    lines = sorted((finding.what, f"{finding.state}: {finding.detail}") for finding in wrong)
    assert len(lines) == len(expected)
    assert "\x1b" not in diagnosis.text()
    assert bool(diagnosis.to_fix) is bool(expected)
    for (subject, line), (name, words) in zip(lines, sorted(expected.items()), strict=True):
        assert subject.startswith(name), (subject, line)
        assert re.search(words, line), (subject, line)


def finding(subject: str, state: str, **fields):
    return Finding(subject, state, (), **fields)


def test_the_summary_names_six_things_and_counts_more():
    good = finding("in place", file_findings.FOUND)
    six = [finding(f"file {number}", file_findings.MISSING) for number in range(1, 7)]
    summary = Diagnosis("this workflow", (*six, good), ()).summary
    assert summary == "Still to do for this workflow: file 1; file 2; file 3; file 4; file 5; file 6."
    seven = Diagnosis("this workflow", (*six, finding("file 7", file_findings.DAMAGED), good), ())
    assert seven.summary == "Still to do for this workflow: 7 files."
    assert Diagnosis("this workflow", (good,), ()).summary == "Everything that this workflow needs is there."


def test_a_download_is_told_its_folder_and_its_name():
    model = manifest.model("juggernaut-x")
    place = Path("models") / "checkpoints" / model.name
    checkpoint = finding("a checkpoint", file_findings.MISSING, fetch=model, place=place)
    assert checkpoint.where == f"into {Path('models') / 'checkpoints'} as {model.name}"


def test_a_folder_of_more_files_than_are_looked_at_is_named(tmp_path):
    for number in range(10_000):
        (tmp_path / f"{number}.txt").touch()
    for crowded in ([], [str(tmp_path)]):
        searched = Folders({"loras": (str(tmp_path),)})
        assert len(list(searched.below(str(tmp_path)))) == 10_000
        assert searched.crowded() == crowded
        (tmp_path / "one more.txt").touch()


@pytest.mark.parametrize(
    ("word", "posix", "powershell"),
    [
        ("models", "models", "models"), ("my models", "'my models'", '"my models"'),
        ("it's", """'it'"'"'s'""", '"it\'s"'), ("a$(id)", "'a$(id)'", "'a$(id)'"), ("a`id`", "'a`id`'", "'a`id`'"),
        ('a"b', "'a\"b'", "'a\"b'"), ("a\\b", r"'a\b'", r"a\b"), ("hi!", "'hi!'", '"hi!"'),
        ("a;id", "'a;id'", '"a;id"'), ("Zoë & 小明", "'Zoë & 小明'", '"Zoë & 小明"'),
        ("it's $HOME", """'it'"'"'s $HOME'""", "'it''s $HOME'"), ("%PATH%", "%PATH%", "'%PATH%'"),
        ("a\u201d\u2019;id", "'a\u201d\u2019;id'", "'a\u201d\u2019\u2019;id'"), ("a\nid", "'a\nid'", '"a\nid"'),
    ],
)  # fmt: skip
def test_words_of_commands_run_nothing(tmp_path, word, posix, powershell):
    model = manifest.model("parts2whole")
    place = tmp_path / word / model.key / model.name
    for system, expected in (("posix", posix), ("nt", powershell)):
        assert as_typed(word, system) == expected
        commands = fetching(model, folders(tmp_path / word), system)
        assert all(f"--local-dir {as_typed(place, system)} --include" in command for command in commands)


def test_commands_for_powershell(tmp_path):
    models = folders(tmp_path)
    model = manifest.model("instantid")
    assert fetching(model, models, "nt")[0].startswith("curl.exe -fL -C - --create-dirs -o ")
    for pack, into in (("antelopev2", ""), ("buffalo_l", os.sep + "buffalo_l")):  # the zip of antelopev2 holds a folder
        unpack = fetching(manifest.model(pack), models, "nt")[1]
        assert unpack.startswith("& ")
        assert "-m zipfile -e " in unpack and unpack.endswith(f"{os.sep}models{into}")
    parts = fetching(manifest.model("parts2whole"), models, "nt")
    assert [line.split("--include ")[1] for line in parts] == [
        '"unet/diffusion_pytorch_model.*"', '"reference_unet/diffusion_pytorch_model.*"',
        '"pose_guider/diffusion_pytorch_model.*"', '"decoupled_attn.*"', 'scheduler/scheduler_config.json',
    ]  # fmt: skip


def test_marks_that_turn_the_order_of_letters_are_not_shown(tmp_path):
    root = tmp_path / "\u202etxt.models"
    (section,) = file_check.report("this workflow", [manifest.model("instantid")], folders(root)).as_json()["sections"]
    assert "\u202e" not in json.dumps(section, ensure_ascii=False)


# --- In Chinese: everything that it says has a sentence in locales

ENGLISH = translations.ENGLISH
translated = translations.sentence_in_chinese


def texts(report: Diagnosis) -> Iterator[str]:
    """All that a report shows."""
    table = report.as_json()
    yield from table["summary"]
    for section in table["sections"]:
        yield section["title"]
        for finding in section["findings"]:
            yield from (finding["what"], finding["state"], finding["size"], finding["where"], *finding["details"])
    # With a download the editor shows only the alternatives.
    for finding in report.findings:
        yield from finding.details


def check_chinese(report: Diagnosis, models: Path) -> None:
    for text in texts(report):
        # What torch and safetensors say of a damaged file stays as they say it.
        bare = re.sub("字节；.*）", "", translated(text).replace(str(models), "MODELS"))  # noqa: RUF001
        assert not ENGLISH.search(bare), (text, bare)
        is_sentence = ENGLISH.search(text.replace(str(models), "MODELS"))
        assert translated(text) != text or not is_sentence, text


def test_what_all_templates_lack_is_said_in_chinese(tmp_path, complete):
    needed, users = needs_of([*template_needs.templates()])
    hosts = [file_check.host("ComfyUI 0.33.0"), *file_check.gone(["LikenessApplyStoryMaker"])]
    for models in (tmp_path / "none", complete):
        for subject in ("the start templates", "this workflow", "all templates"):
            check_chinese(file_check.report(subject, needed, folders(models), hosts, users=users), models)
    for model in manifest.models():
        check_chinese(file_check.report("this workflow", [model], folders(tmp_path / "none")), tmp_path / "none")


def test_every_sentence_has_the_same_names_in_both_languages():
    for english, chinese in translations.table("zh", translations.SENTENCES).items():
        names, names_in_chinese = (set(re.findall(r"\{(\w+)\}", text)) for text in (english, chinese))
        assert names == names_in_chinese, english
