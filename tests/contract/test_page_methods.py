"""What pages say of several methods at once, against the methods' records."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "web" / "docs"
RECORDS: list[dict[str, Any]] = [
    json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "nodes").glob("*/method.json"))
]
BY_FACE = [record for record in RECORDS if record["recogniser"]]
"""Methods that read the embedding of a face."""


def in_both_languages(node: str) -> list[str]:
    return [(HELP / f"{node}.md").read_text("utf-8"), (HELP / node / "zh.md").read_text("utf-8")]


@pytest.mark.parametrize("record", BY_FACE, ids=lambda record: record["title"])
def test_crop_faces_names_the_methods_that_take_its_rows(record: dict[str, Any]) -> None:
    """The paragraph that says what takes its cast names those with the promise `rows`, and no other."""
    english, chinese = in_both_languages("LikenessCropFaces")
    for text, begins in ((english, "In the cast it gives"), (chinese, "在它给出的名单里")):
        paragraph = next(line for line in text.splitlines() if line.startswith(begins))
        assert (record["title"] in paragraph) == ("rows" not in record["not_promised"])


@pytest.mark.parametrize("record", BY_FACE, ids=lambda record: record["title"])
def test_load_face_model_names_the_recogniser_of_every_method(record: dict[str, Any]) -> None:
    """In one sentence with the method; of IP-Adapters those called FaceID read one."""
    for text in in_both_languages("LikenessLoadFaceEmbedder"):
        row = next(line for line in text.splitlines() if line.startswith("| **") and "`recognisers`" in line)
        sentence = next(part for part in re.split("[.;\uff1b\u3002] ?", row) if f"`{record['recogniser']}`" in part)
        assert record["title"].replace("IP-Adapter", "FaceID") in sentence


def test_no_page_speaks_of_earlier_releases() -> None:
    """There is none before 0.1.0. Of ComfyUI pages speak by number."""
    pages = [*HELP.glob("*.md"), *HELP.glob("*/zh.md"), *(ROOT / "docs").glob("*.md")]
    words = re.compile(
        "(older|earlier) versions? of Likeness|(by|in) an? (older|earlier) version|people saved by older"
    )
    assert [path.name for path in pages if words.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("page", "sentence", "comma"),
    [("README.md", "(.+) are \\*\\*experimental\\*\\*", ", "), ("README.zh.md", "(.+) 是\\*\\*实验性的\\*\\*", "、")],
)
def test_readme_names_the_experimental_methods_once(page: str, sentence: str, comma: str) -> None:
    """In one sentence, and no others."""
    text = (ROOT / page).read_text("utf-8")
    (names,) = re.findall(f"^{sentence}", text, re.MULTILINE)
    named = re.split(f"{comma}| and | 和 ", names)
    assert sorted(named) == sorted(record["title"] for record in RECORDS if record["experimental"])
