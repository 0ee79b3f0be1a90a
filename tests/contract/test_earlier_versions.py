"""What workflows of earlier versions have is read today: an input or a word of a menu that went stands in
core/earlier.json. Held against every version of tests/golden/saved_ids.json that this clone has.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pack.core import earlier

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = "tests/golden/saved_ids.json"
TODAY = json.loads((ROOT / GOLDEN).read_text("utf-8"))
JUDGED_BY_THE_NODE = {("LikenessCheckModelFiles", "workflow")}
"""Menus whose words that went the node itself refuses by name: templates that are gone."""


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def versions() -> list[dict[str, Any]]:
    """The ids of nodes, inputs and words in each commit that has changed them, the oldest first."""
    commits = git("log", "--format=%h", "--reverse", "--", GOLDEN).split()
    texts = [git("show", f"{commit}:{GOLDEN}") for commit in commits]
    return [json.loads(text) for text in texts if text.startswith("{")]


def gone(versions: list[dict[str, Any]], part: str) -> Iterator[tuple[str, str, str]]:
    """(node, id of an input, word or "") that a version had and today's nodes have not, as often as it had them."""
    for ids in versions:
        for kind in ids.keys() & TODAY.keys():
            inputs, choices = ids[kind]["inputs"], ids[kind].get("choices", {})
            now = TODAY[kind]
            if part == "inputs":
                yield from ((kind, name, "") for name in inputs if name not in now["inputs"])
                continue
            for name, words in choices.items():
                offered = now["choices"].get(name)  # None: a text today, or no input at all
                yield from ((kind, name, word) for word in words if offered is not None and word not in offered)


def test_inputs_that_went(versions: list[dict[str, Any]]) -> None:
    missing = {(kind, name) for kind, name, _ in gone(versions, "inputs") if name not in of(kind).inputs}
    assert missing == set(), "write into core/earlier.json which input takes its value, or null"


def test_words_that_went(versions: list[dict[str, Any]]) -> None:
    words = [one for one in gone(versions, "words") if one[:2] not in JUDGED_BY_THE_NODE]
    missing = {(kind, name, word) for kind, name, word in words if word not in of(kind).words.get(name, {})}
    assert missing == set(), "write into core/earlier.json which word means the same"


def of(kind: str) -> earlier.Earlier:
    return earlier.table().get(kind, earlier.Earlier())


def test_the_table_leads_to_what_is_there() -> None:
    for kind, once in earlier.table().items():
        inputs, choices = TODAY[kind]["inputs"], TODAY[kind]["choices"]
        for name, today in once.inputs.items():
            assert name not in inputs and today in (None, name, *inputs), (kind, name)
        for name, words in once.words.items():
            assert not words.keys() & {*choices[name]} and {*words.values()} <= {*choices[name]}, (kind, name)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"layout": ["1", 0], "draw": "skeletons"}, {"cast": ["1", 0], "draw": "skeletons"}),
        ({"layout": ["1", 0], "cast": ["2", 0]}, {"cast": ["2", 0]}),
        ({"cast": ["2", 0]}, {"cast": ["2", 0]}),
    ],
)
def test_what_is_linked_to_an_input_of_today_counts_before_that_of_an_input_that_went(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    prompt = {"9": {"class_type": "LikenessDrawSkeletons", "inputs": before}, "8": 5, "7": {"inputs": []}}
    assert earlier.renewed(prompt) == {**prompt, "9": {"class_type": "LikenessDrawSkeletons", "inputs": after}}
