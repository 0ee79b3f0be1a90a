"""What nodes of single methods refuse and what they remark, in their own words. What all refuse: tests/every_method.

The cases are in tests/support/refusals.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import marks
import pytest
from graph_run import brought, linked_inputs, run
from graphs import Node, ours, sampled, value
from logged import messages_of_the_pack
from pack.core.cast import Cast, Person
from pack.core.checks.errors import LikenessError
from pack.core.taking_part import as_cast
from refusals.by_the_node import BY_THE_NODE, Refused
from refusals.by_the_sampler import BY_THE_SAMPLER, RefusedBySampler
from refusals.remarks import REMARKS, Remark

pytestmark = marks.transformers


def by_node(table: Mapping[str, Sequence[Any]]) -> list[Any]:
    """A case per row of a table: the node, and what it is given."""
    return [
        pytest.param(kind, row, id=f"{kind.removeprefix('Likeness')}: {row.says}")
        for kind, rows in table.items()
        for row in rows
    ]


def is_refused(graph: Node, outputs_by_node: dict[Node, Any], error: type[LikenessError], says: str) -> None:
    with pytest.raises(LikenessError, match=says) as raised:
        run(graph, outputs_by_node)
    assert type(raised.value) is error
    assert_named_by_fault(graph, outputs_by_node, str(raised.value))


def assert_named_by_fault(graph: Node, outputs_by_node: dict[Node, Any], message: str) -> None:
    """Whoever a message names is at fault: in front of them in the cast is somebody whom it does not name."""
    linked = brought(graph.inputs.get("cast"), outputs_by_node)
    names = [member.name for member in as_cast(linked).people] if isinstance(linked, (Cast, Person)) else []
    named = [name for name in names if re.search(rf"\b{name}\b", message)]
    assert named == names or names[0] not in named, "the row's cast begins with somebody at fault"


@pytest.mark.parametrize(("kind", "refused"), by_node(BY_THE_NODE))
def test_it_is_refused_in_its_own_words(kind: str, refused: Refused) -> None:
    is_refused(ours(kind, **refused.inputs), {}, refused.error, refused.says)


@pytest.mark.parametrize("refused", BY_THE_SAMPLER, ids=lambda refused: f"{refused.node.kind}: {refused.says}")
def test_it_is_refused_where_it_is_seen(refused: RefusedBySampler) -> None:
    outputs_by_node: dict[Node, Any] = {}
    run(refused.node, outputs_by_node)
    sampler = sampled(refused.node, refused.latent_image, steps=1)
    if refused.model is not None:
        sampler.inputs["model"] = refused.model
    if refused.pack is not None:
        sampler.inputs["model"] = value(refused.pack, sampler.inputs["model"])
    is_refused(sampler, outputs_by_node, refused.error, refused.says)


@pytest.mark.parametrize(("kind", "remark"), by_node(REMARKS))
def test_what_works_but_could_be_better_is_told(kind: str, remark: Remark, caplog: pytest.LogCaptureFixture) -> None:
    node = ours(kind, **remark.inputs)
    outputs_by_node: dict[Node, Any] = {}
    linked_inputs(node, outputs_by_node)
    caplog.clear()
    run(node, outputs_by_node)
    texts = messages_of_the_pack(caplog)
    assert len(texts) == bool(remark.says)
    for text in texts:
        assert re.search(remark.says, text)
        assert_named_by_fault(node, outputs_by_node, text)
