"""What nodes of single methods refuse and what they remark, in their own words. What all refuse: tests/every_method.

The cases are in tests/support/refusals.
"""

import re
from typing import Any

import marks
import pytest
import refusals.by_the_node
import refusals.by_the_sampler
import refusals.remarks  # noqa: F401 - each of these three fills its table
from graph_run import linked_inputs, run
from graphs import Node, ours, sampled, value
from pack.core.errors import LikenessError
from refusals.cases import BY_THE_NODE, BY_THE_SAMPLER, REMARKS
from sample_values import latent

pytestmark = marks.transformers


def is_refused(graph: Node, outputs_by_node: dict[Node, Any], error: type[LikenessError], says: str) -> None:
    with pytest.raises(LikenessError, match=says) as raised:
        run(graph, outputs_by_node)
    assert type(raised.value) is error


@pytest.mark.parametrize("case", BY_THE_NODE)
def test_it_is_refused_in_its_own_words(case: str) -> None:
    refused = BY_THE_NODE[case]
    is_refused(refused.graph(), {}, refused.error, refused.says)


@pytest.mark.parametrize("case", BY_THE_SAMPLER)
def test_it_is_refused_where_it_is_seen(case: str) -> None:
    refused = BY_THE_SAMPLER[case]
    setup = refused.graph()
    outputs_by_node: dict[Node, Any] = {}
    run(setup.node, outputs_by_node)
    sampler = sampled(setup.node, setup.latent_image, steps=1)
    if setup.model is not None:
        sampler.inputs["model"] = setup.model
    if setup.pack is not None:
        sampler.inputs["model"] = value(setup.pack, sampler.inputs["model"])
    is_refused(sampler, outputs_by_node, refused.error, refused.says)


def texts_of_the_pack(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without the host's, which warns of models of other tests."""
    return [record.getMessage() for record in caplog.records if record.name == "likeness"]


@pytest.mark.parametrize("case", REMARKS)
def test_what_works_but_could_be_better_is_told(case: str, caplog: pytest.LogCaptureFixture) -> None:
    remark = REMARKS[case]
    node = remark.graph()
    outputs_by_node: dict[Node, Any] = {}
    linked_inputs(node, outputs_by_node)
    caplog.clear()
    run(node, outputs_by_node)
    texts = texts_of_the_pack(caplog)
    assert len(texts) == len(remark.says)
    for text, words in zip(texts, remark.says, strict=True):
        assert re.search(words, text)


@pytest.mark.parametrize("kind", ["ApplyInstantID", "ApplyIDPatch", "PromptPerPerson", "ApplyInfiniteYou"])
def test_another_size_of_the_same_shape_is_a_picture(kind: str) -> None:
    applied = ours(f"Likeness{kind}")
    picture = run(sampled(applied, latent(256, 192), steps=2), {})[0]["samples"]
    assert picture.isfinite().all()
