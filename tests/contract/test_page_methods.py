"""What pages say of several methods at once, against the methods' records."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pack.bridge.transformers.families import TRANSFORMERS

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
    for text, begins in ((english, "In the output **Cast**"), (chinese, "在输出**人物名单**")):
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
    [
        ("README.md", "(.+) are \\*\\*experimental\\*\\*", ", "),
        ("README.zh.md", "(.+?) 在.*是\\*\\*实验性的\\*\\*", "、"),
    ],
)
def test_readme_names_the_experimental_models_once(page: str, sentence: str, comma: str) -> None:
    """In one sentence, and no others: every family of transformers."""
    text = (ROOT / page).read_text("utf-8")
    (names,) = re.findall(f"^{sentence}", text, re.MULTILINE)
    named = {name.strip() for name in re.split(f"{comma}| and | 和 ", names)}
    assert named == {transformer.name for transformer in TRANSFORMERS}
    of_methods = [set(record["families"]) for record in RECORDS if record["experimental"]]
    assert set().union(*of_methods) <= named


WHAT_DOES_NOT_FIT = "https://github.com/likeness-nodes/likeness/blob/main/docs/troubleshooting.md#beside-other-nodes"
"""Where it stands once what to do about tiles, the SDXL refiner and nodes that drop people from the conditioning."""
WITH_A_TEXT_OF_THEIR_OWN = {"id_patch", "references"}
"""Methods whose pages say more of it: tokens in the text, and reference pictures that no region limits."""
BESIDE_THE_METHODS = ["LikenessPromptPerPerson", "LikenessLoRAPerPerson"]
"""Nodes of no method that put something into the conditioning, too."""


def nodes_that_apply() -> list[str]:
    """Ids of the nodes whose page links to the one text about what does not fit beside them."""
    nodes = list(BESIDE_THE_METHODS)
    for path in sorted((ROOT / "nodes").glob("*/method.json")):
        if path.parent.name not in WITH_A_TEXT_OF_THEIR_OWN:
            nodes += json.loads(path.read_text("utf-8"))["applies"]
    return nodes


@pytest.mark.parametrize("node", nodes_that_apply())
def test_pages_link_to_what_does_not_fit_beside_them(node: str) -> None:
    """In one row, and the long text stands in docs/troubleshooting.md alone."""
    for text in in_both_languages(node):
        assert text.count(WHAT_DOES_NOT_FIT) == 1
        assert "`conditioning_to`" not in text


def test_what_does_not_fit_stands_in_troubleshooting() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    section = text.split("## Beside other nodes\n")[1].split("\n## ")[0]
    for word in ("Tiles and detailers", "SDXL refiner", "Playground v2.5", "Conditioning (Average)"):
        assert section.count(f"**{word}**") == 1
        assert f"**{word}**" not in text.replace(section, "")
