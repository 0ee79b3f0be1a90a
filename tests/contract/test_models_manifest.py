"""models_manifest.json is the one source of what is fetched from where: README and the workflows say the same."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pack.core.families import FAMILIES, SD2
from pack.core.methods import READS, methods
from pack.core.models import licences, manifest, packs, template_needs, workflow_needs, workflow_nodes
from pack.core.models.formats import formats
from shared.choices import as_prompt


def test_ids_names_and_addresses() -> None:
    models = manifest.models()
    assert len({model.id for model in models}) == len({(model.key, model.name) for model in models}) == len(models)
    assert {model.format for model in models} <= {file_format.id for file_format in formats()} | {"face-pack", ""}
    assert {model.commercial for model in models} <= {
        "yes",
        "no",
        "under conditions",
        "unclear, ask the authors",
        "not stated",
    }
    for model in models:
        assert model.files and all(file.url and file.url.startswith("https://") for file in model.fetched)
        names = [name for file in {*model.files, *model.fetched} for name in file.names]
        assert all(map(manifest.is_plain_name, names))
        assert model.archive is None or all(file.url is None for file in model.files)
        assert all(type(file.size) is int and file.size > 0 for file in model.files if file.size is not None)
        assert not any(
            file.exact and (file.size or 0) % 10**6 == 0 for file in model.files
        )  # a rounded size is not exact
        assert all(file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256) for file in model.files)
        texts = (model.id, model.title, model.key, model.name, model.page, *map(str, model.licences))
        assert all(text.isprintable() for text in texts)
        assert ".." not in model.key + model.name


def test_records_name_what_is_known() -> None:
    """Load Adapter would hand a file of another folder to the wrong method."""
    for method in methods():
        assert {*method.reads} <= {*READS}
        assert not method.key or manifest.model(method.files[0]).key == method.key


def test_every_family_has_a_base_model_and_the_files_that_pages_name(root: Path) -> None:
    models = manifest.models()
    loaded = {model.family for model in models if model.key in ("checkpoints", "diffusion_models")}
    assert {family.name for family in FAMILIES if family is not SD2} <= loaded
    beside = [Path(model.name).name for model in models if model.key in ("text_encoders", "vae")]
    rows = [
        line for page in ("LikenessPeopleAsReferences", "LikenessPromptPerPerson")
        for line in (root / "web" / "docs" / f"{page}.md").read_text("utf-8").splitlines() if line.startswith("| ")
    ]  # fmt: skip
    named = {
        name
        for line in rows
        for name in re.findall("`(qwen[_\\w.]+|mistral\\w+|t5xxl\\w*|clip_l|ae|\\w+[-_]vae\\w*)`", line)
    }
    assert len(named) > 8 and {name for name in named if not any(file.startswith(name) for file in beside)} == set()


def test_one_licence_where_commercial_use_is_clear() -> None:
    """A yes or a no has somebody who says so; statements of several kinds are a contradiction."""
    models = manifest.models()
    assert all(model.licences for model in models)
    assert not [
        model.id
        for model in models
        if model.commercial in ("yes", "no", "under conditions") and len(model.licences) != 1
    ]
    unclear = [model for model in models if model.commercial == "unclear, ask the authors"]
    assert unclear and all(len(model.licences) > 1 for model in unclear)


def test_a_note_names_what_forbids_commercial_use() -> None:
    """Of a format: one of its files, or the face pack whose embeddings it reads."""
    for method in methods():
        for entry in method.formats:
            needed = [model for model in manifest.models() if model.format == entry.id and model.id in method.files]
            if method.recogniser and entry.id.startswith(method.embedding_formats or entry.id):
                needed.append(packs.published_model(method.recogniser))
            forbidden = any(model.commercial == "no" for model in needed)
            assert bool(licences.note(entry.id)) == (forbidden and entry.family != ""), entry.id
    notes = {name: licences.note(name) for name in ("photo-maker", "photo-maker-v2", "instant-id")}
    assert notes == {
        "photo-maker": "",
        "photo-maker-v2": "Not for commercial use: its face pack buffalo_l (non-commercial research only)",
        "instant-id": "Not for commercial use: InstantID adapter (for research only), "
        "its face pack antelopev2 (non-commercial research only)",
    }


def test_nodes_exist(node_ids: set[str]) -> None:
    named = set().union(*(model.nodes for model in manifest.models()))
    assert named <= node_ids


def test_every_file_of_a_workflow_is_in_it(root: Path) -> None:
    names = {model.name for model in manifest.models()}
    for path in (root / "workflows").glob("*.json"):
        files = workflow_needs.loaded(as_prompt(json.loads(path.read_text("utf-8"))))
        assert {file.name for file in files if file.key != "loras"} <= names, path


CASES = json.loads(Path(__file__).with_name("workflows.json").read_text("utf-8"))


@pytest.mark.parametrize(("apply", "file", "people", "expected"), CASES["face packs"])
def test_face_packs_of_methods_whether_linked_or_not(apply: str, file: str, people: Any, expected: list[str]) -> None:
    """people: the links of a Person without a face model; None: people come from a file, so nothing looks for faces.
    The same of a workflow as it is saved, with a Load Face Embedder that is switched off."""
    prompt: dict[str, Any] = {"1": {"class_type": "LikenessLoadAdapter", "inputs": {"file": file}}}
    prompt["3"] = {"class_type": f"Likeness{apply}", "inputs": {"adapter": ["1", 0]}}
    saved_nodes = [{"type": "LikenessLoadAdapter", "widgets_values": [file]}, {"type": f"Likeness{apply}"}]
    if people is not None:
        prompt["2"] = {"class_type": "LikenessPerson", "inputs": people}
        slots = [{"name": "face_model", "link": 4}, *({"name": name, "link": 5} for name in people)]
        saved_nodes += [{"type": "LikenessPerson", "inputs": slots}]
        packs = ["buffalo_s", "all found"]
        saved_nodes += [{"id": 4, "type": "LikenessLoadFaceEmbedder", "mode": 4, "widgets_values": packs}]
        saved_nodes += [{"id": 5, "type": "LoadImage"}]
    for graph in (prompt, {"nodes": saved_nodes, "links": [[4, 4, 0, 2, 0, ""], [5, 5, 0, 2, 1, ""]]}):
        packs = [
            model.id for model in workflow_needs.wanted(as_prompt(graph)) if model.key in ("insightface", "facexlib")
        ]
        assert packs == expected


@pytest.mark.parametrize("text", [text for text, why in CASES["damaged"] if why is None])
def test_workflows_with_damage_that_nothing_is_read_from(text: str) -> None:
    prompt = as_prompt(json.loads(text))
    assert workflow_nodes.prompt_in(json.dumps(prompt)) and not any(node.named for node in workflow_nodes.nodes(prompt))


REFUSED = [(text, why) for text, why in CASES["damaged"] if why is not None]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_damaged_workflows(text: str, why: str) -> None:
    """Of a saved one a list is damaged; what the page posts is no workflow, or has no node."""
    with pytest.raises(ValueError, match=why):
        if "damaged" in why:
            as_prompt(json.loads(text))
        workflow_nodes.prompt_in(text)


def test_what_templates_need_is_read_without_their_files(root: Path) -> None:
    """The table of `python scripts/models.py write` says the same as the files."""
    for path in (root / "workflows").glob("*.json"):
        prompt = as_prompt(json.loads(path.read_text("utf-8")))
        of_table = template_needs.templates()[path.stem]
        assert of_table.models == workflow_needs.wanted(prompt), path.stem
        assert (*of_table.methods,) == workflow_needs.methods_in(prompt), path.stem


def test_readme_and_workflows_are_up_to_date(root: Path) -> None:
    """`python scripts/models.py write` makes them so."""
    command = [sys.executable, str(root / "scripts" / "models.py"), "write", "--check"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.stdout + process.stderr == ""
    assert process.returncode == 0


def test_sizes_are_those_of_download_pages() -> None:
    sizes = {
        0: "0 bytes",
        999: "999 bytes",
        1000: "1 kB",
        264_900_000: "265 MB",
        10**9: "1 GB",
        6_940_000_000: "6.9 GB",
    }
    assert {size: manifest.human(size) for size in sizes} == sizes
    assert manifest.human(None) == "size not stated"


def test_a_sum_of_sizes_names_what_nobody_says() -> None:
    of_known = next(model for model in manifest.models() if model.size is not None)
    of_unknown = next(model for model in manifest.models() if model.size is None)
    size = manifest.human(of_known.size)
    assert manifest.together([of_known]) == size
    of_both = f"at least {size} ({of_unknown.title}: size not stated)"
    assert manifest.together([of_known, of_unknown]) == of_both
    assert manifest.together([of_unknown]) == f"{of_unknown.title} (size not stated)"
    assert manifest.together([]) == ""


def test_a_file_of_a_rounded_size_may_differ_by_three_percent_both_ways() -> None:
    rounded = manifest.File(("a.safetensors",), None, 1000)
    exact = manifest.File(("a.safetensors",), None, 1000, exact=True)
    lengths = (960, 970, 1000, 1030, 1040)
    assert [rounded.fits(length) for length in lengths] == [False, True, True, True, False]
    assert [exact.fits(length) for length in lengths] == [False, False, True, False, False]
