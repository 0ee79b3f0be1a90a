"""What somebody who adds a method or a model gets wrong in a data file is a sentence that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pack.core import methods
from pack.core.checks.records import BadRecord
from pack.core.models import formats, manifest

ROOT = Path(__file__).resolve().parents[2]
METHOD = (ROOT / "nodes" / "instant_id" / "method.json").read_text("utf-8")
ENTRIES = manifest.PATH.read_text("utf-8")


def without(text: str, *path: Any) -> str:
    """A JSON text whose value at a path is left out."""
    whole = json.loads(text)
    part = whole
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return json.dumps(whole)


WRONG_METHODS = {
    "no JSON": (METHOD[:-3], "it is no JSON"),
    "a list": ("[]", "list indices"),
    "no title": (without(METHOD, "title"), "missing 1 required .*'title'"),
    "a field of none": (METHOD.replace('"title"', '"tilte"', 1), "unexpected .*'tilte'"),
    "no uses": (without(METHOD, "uses"), "a field 'uses' is missing"),
    "a use without a template": (without(METHOD, "uses", 0, "template"), "missing 1 required .*'template'"),
    "a format without an id": (without(METHOD, "formats", 0, "id"), "missing 1 required .*'id'"),
}


@pytest.mark.parametrize("wrong", WRONG_METHODS)
def test_a_record_of_a_method(wrong: str, tmp_path: Path) -> None:
    text, why = WRONG_METHODS[wrong]
    path = tmp_path / "mine" / "method.json"
    path.parent.mkdir()
    path.write_text(text, "utf-8")
    with pytest.raises(BadRecord, match=why) as refused:
        methods.read(path)
    assert str(path) in str(refused.value)


WRONG_MANIFESTS = {
    "no list of models": ("{}", "a field 'models' is missing"),
    "an entry without files": (without(ENTRIES, "models", 0, "files"), "the entry {id}: a field 'files' is missing"),
    "a file without a size": (without(ENTRIES, "models", 0, "files", 0, "size"), "the entry {id}: .*'size'"),
    "an entry with a field more": (
        ENTRIES.replace('"title"', '"licens": 1, "title"', 1), "the entry {id}: .*unexpected .*'licens'"
    ),
}  # fmt: skip


@pytest.fixture
def nothing_kept() -> Any:
    manifest.models.cache_clear()
    formats.formats.cache_clear()
    yield
    manifest.models.cache_clear()
    formats.formats.cache_clear()


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("wrong", WRONG_MANIFESTS)
def test_an_entry_of_the_manifest(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, why = WRONG_MANIFESTS[wrong]
    path = tmp_path / "models_manifest.json"
    path.write_text(text, "utf-8")
    monkeypatch.setattr(manifest, "PATH", path)
    with pytest.raises(BadRecord, match=why.format(id=json.loads(ENTRIES)["models"][0]["id"])) as refused:
        manifest.models()
    assert "models_manifest.json" in str(refused.value)


@pytest.mark.usefixtures("nothing_kept")
def test_a_format_of_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other_files.json"
    path.write_text('[{"id": "mine", "detect": {}}]', "utf-8")
    monkeypatch.setattr(formats, "_OTHERS", path)
    with pytest.raises(BadRecord, match=r"other_files.json .*'title' and 'belongs'"):
        formats.formats()


NAMED: dict[Callable[[str], object], str] = {
    methods.method: "nodes/mine/method.json of Likeness cannot be used: there is no such file",
    manifest.model: "models_manifest.json of Likeness cannot be used: it has no entry mine",
    formats.known: "core/models/other_files.json .* has the format mine",
}


@pytest.mark.parametrize("look_up", NAMED, ids=lambda one: one.__name__)
def test_a_name_that_stands_nowhere(look_up: Callable[[str], object]) -> None:
    with pytest.raises(BadRecord, match=NAMED[look_up]):
        look_up("mine")
