"""What nodes of single methods refuse and what they tell, in their own words. What all refuse: tests/promises."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_dits
from attack_graphs import Node, ours, sampled, stands_for, value
from graph_run import run
from pack.core.errors import LikenessError

pytestmark = tiny_dits.needed
TABLE = json.loads(Path(__file__).with_name("refused.json").read_text("utf-8"))
"""By names of cases. by the node: node, class of the error, words of it, inputs beside the defaults, as stands_for of
attack_graphs.py reads them. by the sampler: the same, a latent and another MODEL, a function of the node's. told: node,
inputs, words of every note. told when sampled: node, words."""


def applied(kind: str, inputs: dict[str, Any]) -> Node:
    return ours(f"Likeness{kind}", **{name: stands_for(given) for name, given in inputs.items()})


def refused(graph: Node, made: dict[Node, Any], error: str, words: str) -> None:
    with pytest.raises(LikenessError, match=words) as raised:
        run(graph, made)
    assert type(raised.value).__name__ == error


@pytest.mark.parametrize("case", TABLE["by the node"])
def test_it_is_refused_in_its_own_words(case: str) -> None:
    kind, error, words, inputs = TABLE["by the node"][case]
    refused(applied(kind, inputs), {}, error, words)


@pytest.mark.parametrize("case", TABLE["by the sampler"])
def test_it_is_refused_where_it_is_seen(case: str) -> None:
    kind, error, words, inputs, *rest = TABLE["by the sampler"][case]
    latent, model = [*rest, *("latent()", "")[len(rest) :]]
    before, made = applied(kind, inputs), {}
    run(before, made)
    graph = sampled(before, value(latent), steps=1)
    graph.inputs["model"] = value(model, graph.inputs["model"]) if model else graph.inputs["model"]
    refused(graph, made, error, words)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """By the pack; the host warns of models of other tests."""
    return [one.getMessage() for one in caplog.records if one.name == "likeness"]


@pytest.mark.parametrize("case", TABLE["told"])
def test_what_works_but_could_be_better_is_told(case: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, inputs, words = TABLE["told"][case]
    node, made = applied(kind, inputs), {}
    for given in node.inputs.values():
        run(getattr(given, "node", given), made) if hasattr(given, "kind") or hasattr(given, "node") else None
    caplog.clear()
    run(node, made)
    said = told(caplog)
    assert len(said) == len(words) and all(map(re.search, words, said))


@pytest.mark.parametrize("kind", TABLE["at another size"])
def test_another_size_of_the_same_shape_is_a_picture(kind: str) -> None:
    found = run(sampled(applied(kind, {}), value("latent(256, 192)"), steps=2), {})[0]["samples"]
    assert found.isfinite().all()
