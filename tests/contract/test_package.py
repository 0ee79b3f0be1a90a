"""The rules of the Comfy registry and of the installers, as far as files can break them, and the Docker image."""

import re
from pathlib import Path
from typing import Any

import environment
import pytest
from batch import ray_workers
from PIL import Image
from shared import archive

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11 to read pyproject.toml")

SYSTEMS = ("Operating System :: OS Independent", "Operating System :: Microsoft", "Operating System :: POSIX")
URLS = {"Homepage", "Documentation", "Repository", "Issues"}
SCRIPTS: dict[str, set[str]] = {
    "box_links": set(),
    "canvas": {"addEventListener"},
    "check_files": {"addEventListener", "fetchApi"},
    "errors": {"addEventListener", "fetchApi"},
    "examples": set(),
    "gallery": {"getWorkflowTemplates =", "getCoreWorkflowTemplates =", "getCustomNodesI18n"},
    "kept_people": set(),
    "labels": {"getCustomNodesI18n"},
    "likeness": {"addEventListener"},
    "moving": set(),
    "names": set(),
    "ours": {"getCustomNodesI18n"},
    "sentences": {"getCustomNodesI18n"},
    "pane_on_node": set(),
    "picture_of_look": {"apiURL"},
    "picture_pane": set(),
    "places_by_hand": set(),
    "places_shown": {"apiURL"},
    "notes": {"addEventListener"},
    "old_files": {"fetchApi"},
    "prompts": {"queuePrompt ="},
    "toasts": set(),
    "views": {"addEventListener", "getQueue", "queuePrompt"},
}
"""Of the editor: what each script calls or wraps of the frontend's api."""


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def test_project_section_is_one_that_the_registry_reads(pyproject: dict[str, Any], shipped: set[str]) -> None:
    project = pyproject["project"]
    name = project["name"]
    assert re.fullmatch(r"[a-z](?:[a-z0-9]|[-_.](?![-_.])){0,98}", name)
    assert "comfyui" not in name
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert {project["license"]["file"], project["readme"]} <= shipped
    assert all(entry.startswith(SYSTEMS) for entry in project["classifiers"])
    assert "Repository" in project["urls"]
    assert set(project["urls"]) <= URLS
    assert all(url.startswith("https://") for url in project["urls"].values())


def test_comfy_section(root: Path, pyproject: dict[str, Any]) -> None:
    comfy = pyproject["tool"]["comfy"]
    assert comfy["PublisherId"]
    assert comfy["DisplayName"] == "Likeness"
    versions = comfy["requires-comfyui"].split(",")
    assert all(re.fullmatch(r"(==|>=|<=|!=|~=|>|<)?\d+\.\d+\.\d+", version.strip()) for version in versions)
    for name, (least, most) in {"Icon": (1.0, 1.0), "Banner": (2.3, 2.4)}.items():
        address, _, path = comfy[name].partition("/main/")
        assert address == "https://raw.githubusercontent.com/likeness-nodes/likeness"
        with Image.open(root / path) as picture:
            assert least <= picture.width / picture.height <= most
            assert name != "Icon" or picture.width <= 400
    # `web` and WEB_DIRECTORY together serve every script twice when the folder is not called like the pack.
    assert "web" not in comfy


def test_installing_the_pack_installs_nothing(root: Path, pyproject: dict[str, Any]) -> None:
    """So `pip freeze` says the same before and after. ComfyUI-Manager feeds pip the lines that are no comments."""
    requirements = (root / "requirements.txt").read_text("utf-8").splitlines()
    assert pyproject["project"]["dependencies"] == []
    assert requirements
    assert all(line.startswith("#") for line in requirements)


def test_archive_holds_the_product_and_nothing_else(root: Path, shipped: set[str]) -> None:
    """The registry's scanner flags test files, and `docs/` in .comfyignore would drop the help pages.

    No `example`, `examples` or `workflow` beside `workflows`: the host takes the first of them for its templates.
    """
    folders = {name.split("/")[0] for name in shipped if "/" in name}
    assert folders - {"locales"} == {"bridge", "core", "nodes", "pictures", "scripts", "subgraphs", "web", "workflows"}
    scripts = {name for name in shipped if name.startswith("scripts/")}
    assert scripts == {"scripts/to_safetensors.py"}
    pages = {path.relative_to(root).as_posix() for path in (root / "web" / "docs").rglob("*") if path.is_file()}
    assert pages
    assert pages <= shipped
    assert {"__init__.py", "pyproject.toml", "requirements.txt", "README.md"} <= shipped
    assert {"LICENSE", "THIRD_PARTY_NOTICES.md"} <= shipped
    assert "models_manifest.json" in shipped
    assert {name for name in shipped if name.endswith((".js", ".mjs"))} == {f"web/{name}.js" for name in SCRIPTS}


def test_archive_answers_what_frontends_ask_for_first(root: Path, shipped: set[str], tmp_path: Path) -> None:
    """`<NodeId>/en.md` for every page, the same to the letter, and nothing else that is not in the repository. What the
    READMEs link to that is not there is in the repository on the web."""
    archive.unpack(tmp_path)
    pages = {path.stem: path.read_bytes() for path in (root / "web" / "docs").glob("*.md")}
    assert {path.parent.name: path.read_bytes() for path in (tmp_path / "web" / "docs").glob("*/en.md")} == pages
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files - shipped == {f"web/docs/{name}/en.md" for name in pages}
    readmes = [path.read_text("utf-8") for path in tmp_path.glob("README*.md")]
    links = [link for text in readmes for link in re.findall(r"\]\(([^)#]+)", text)]
    assert {link for link in links if "://" not in link} <= files
    assert f"{archive.REPOSITORY}docs/models.md" in links


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_editors_extension_asks_nobody(root: Path, name: str) -> None:
    """The frontend loads every script below web/; ours build on nothing but its app, and its api for our own server."""
    script = (root / "web" / f"{name}.js").read_text("utf-8")
    ours = {
        "./errors.js",
        "./gallery.js",
        "./ours.js",
        "./pane_on_node.js",
        "./picture_pane.js",
        "./places_by_hand.js",
        "./places_shown.js",
        "./views.js",
        "./prompts.js",
        "./sentences.js",
        "./toasts.js",
    }
    modules = {"../../scripts/api.js", "../../scripts/app.js", *ours}
    assert set(re.findall(r'^import .* from "(.*)";', script, re.M)) <= modules
    assert len(re.findall(r"\bimport\b(?!\.meta)", script)) == len(re.findall(r"^import ", script, re.M))
    assert set(re.findall(r"\bapi\.(\w+(?= ?\()|\w+ =)", script)) == SCRIPTS[name]
    code = r"\b(?:eval|Function|fetch\(|XMLHttpRequest|WebSocket|innerHTML|outerHTML|insertAdjacentHTML|setInterval\()"
    assert re.findall(code, script) == []


def test_image_has_the_releases_that_the_tests_run(root: Path) -> None:
    text = (root / "docker/Dockerfile").read_text("utf-8")
    pins = re.findall(r"^(torch\w*==\S+)$", (root / "scripts/requirements/demo.txt").read_text("utf-8"), re.MULTILINE)
    assert len(pins) == 3
    assert set(pins) <= set(text.split())
    assert re.findall(r"^ARG COMFYUI=(.*)$", text, re.MULTILINE) == [f"v{environment.RELEASE}"]


def test_an_image_gets_the_pack_and_nothing_that_lies_beside_it(root: Path) -> None:
    """Such as photos of people. Machines of a cluster get the same."""
    lines = (root / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if not line.startswith("#")]
    assert patterns[0] == "*"
    assert {pattern[1:] for pattern in patterns[1:-1]} == {*ray_workers._PACK, "LICENSE", "THIRD_PARTY_NOTICES.md"}
    assert patterns[-1] == "**/__pycache__"


def test_every_file_pins_the_same_release_of_a_package(root: Path) -> None:
    """In all files that pip reads, and for all Pythons. Of OpenCV both builds have the same files."""
    pins: dict[tuple[str, str], set[str]] = {}
    for file in (root / "scripts" / "requirements").glob("*.txt"):
        for line in file.read_text("utf-8").splitlines():
            if match := re.match(r"([\w-]+?)(?:-headless)?(?:\[\w+\])?==([\w.]+)(.*)", line):
                pins.setdefault((match[1], match[3]), set()).add(match[2])
    assert len(pins) > 20
    assert {name: releases for name, releases in pins.items() if len(releases) > 1} == {}
    unpinned = re.findall(r"^[\w-]+$", (root / "scripts/requirements/demo.txt").read_text("utf-8"), re.MULTILINE)
    assert unpinned == []


MARK_OF_A_MERGE = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)


def test_no_file_has_the_marks_of_a_merge(root: Path, tracked: set[str]) -> None:
    """Help pages are shown as they stand."""
    texts = (".md", ".py", ".js", ".json", ".toml", ".yml", ".txt", ".csv")
    marked: list[str] = []
    for name in sorted(tracked):
        if name.endswith(texts) and MARK_OF_A_MERGE.search((root / name).read_text("utf-8")):
            marked.append(name)
    assert marked == []
