"""What links may bring to any input of any node, as the host hands it over: refused before the node runs, by name."""

import math
from functools import cache
from inspect import getfullargspec
from typing import Any

import people_made
import pytest
import tiny_dits
import torch
from attack_graphs import SOCKETS, value
from attack_values import FILES
from graph_run import call, run
from pack.core.errors import BadChoice, BadInput, BadLayout, FileOfOtherMethod
from pack.core.inputs import BadPicture
from pack.core.methods import methods
from pack.core.people import Layout, Slot
from pack.nodes.extension import NODES
from pack.nodes.sockets import ADAPTER

pytestmark = pytest.mark.both_hosts
INPUTS = [(node, entry) for node in NODES for entry in node.define_schema().inputs]
NUMBERS = [pair for pair in INPUTS if pair[1].io_type in ("INT", "FLOAT")]
# Names of files are judged by the nodes themselves: a file may be newer than the list.
WORDS = [p for p in INPUTS if p[1].io_type == "COMBO" and p[1].id not in getfullargspec(p[0].validate_inputs).args]
OTHERS = [pair for pair in INPUTS if pair not in NUMBERS]
ANYTHING = "POSE_KEYPOINT"
"""Judged by poses.read, which knows every form of it."""


def refused(error: type[Exception], node: Any, entry: Any, value: Any) -> str:
    with pytest.raises(error) as caught:
        call(node, **{entry.id: value})
    assert str(caught.value).startswith(f"The {entry.id} input of {node.define_schema().display_name} ")
    return str(caught.value)


def named(pair: Any) -> str:
    return f"{pair[0].__name__}.{pair[1].id}"


@pytest.mark.parametrize("pair", NUMBERS, ids=named)
def test_a_number_out_of_its_limits(pair: Any) -> None:
    node, entry = pair
    assert math.isfinite(entry.min) and math.isfinite(entry.max)
    wrong = [None, "4", "a text", math.nan, math.inf, -math.inf, entry.min - 1, entry.max + 1, 10**400, torch.zeros(2)]
    for bad in [*wrong, *([entry.min + 0.5] if entry.io_type == "INT" else [])]:
        assert " number from " in refused(BadInput, node, entry, bad)


NEEDED = [pair for pair in OTHERS if not (pair[1].optional or getattr(pair[1], "lazy", None))]


@pytest.mark.parametrize("pair", NEEDED, ids=named)
def test_nothing_where_an_object_is_needed(pair: Any) -> None:
    node, entry = pair
    assert " is nothing (None); " in refused(BadInput, node, entry, None)


OF_A_KIND = [pair for pair in OTHERS if pair[1].io_type != ANYTHING]


@pytest.mark.parametrize("pair", OF_A_KIND, ids=named)
def test_something_else_where_an_object_is_needed(pair: Any) -> None:
    node, entry = pair
    needed = getattr(entry.Parent, "needed", entry.io_type)
    for wrong in (object(), 5, b"text", *of_other_kinds(entry)):
        assert f"; {needed} is needed. Look at the node" in refused(BadInput, node, entry, wrong)


@pytest.mark.parametrize("pair", [pair for pair in OTHERS if pair[1].io_type == ADAPTER], ids=named)
def test_a_file_of_another_method(pair: Any) -> None:
    node, entry = pair
    adapters = files_of_other_methods(entry)
    assert adapters
    for adapter in adapters:
        message = refused(FileOfOtherMethod, node, entry, adapter)
        assert "; a file of " in message
        assert "in File (file) of the Load Adapter that is linked to it." in message


def of_other_kinds(entry: Any) -> list[Any]:
    """What sockets of other kinds bring, of the host's and of ours; nothing is for a text field or a menu."""
    kinds = {*entry.io_type.split(",")}
    kinds |= {"IMAGE", "MASK"} if kinds & {"IMAGE", "MASK"} else set()  # both are tensors
    known = {kind: made for kind, made in SOCKETS.items() if kind not in (ANYTHING, ADAPTER)}
    others = [made for kind, made in known.items() if not kinds & {*kind.split(",")}]
    return [*map(brought, others)]


def files_of_other_methods(entry: Any) -> list[Any]:
    """Files of other methods: they travel on the same socket as the method's own."""
    methods_with_files = [
        method for method in methods() if method.folder in FILES and (tiny_dits.KNOWN or method.host == "0.3.64")
    ]
    adapters = [brought(f"loaded({method.folder!r})") for method in methods_with_files]
    return [adapter for adapter in adapters if not isinstance(adapter, entry.Type)]


@cache
def brought(expression: str) -> Any:
    return run(value(expression), {})[0]


@pytest.mark.parametrize("pair", WORDS, ids=named)
def test_a_word_that_is_not_offered(pair: Any) -> None:
    node, entry = pair
    assert "Choose one of: " in refused(BadChoice, node, entry, "?")


NOWHERE = Slot((math.nan, 4.0))
BAD: dict[str, list[tuple[type[Exception], Any]]] = {
    "IMAGE": [(BadPicture, torch.zeros(1, 8, 8)), (BadPicture, torch.full((1, 8, 8, 3), math.nan))],
    "MASK": [(BadPicture, torch.zeros(0, 8, 8))],
    "LATENT": [(BadPicture, {}), (BadPicture, {"samples": torch.zeros(2, 4, 8, 8), "batch_index": [0]})],
    "CONDITIONING": [(BadInput, [[3, {}]]), (BadPicture, [[torch.full((1, 77, 48), math.nan), {}]])],
    "LIKENESS_LAYOUT": [(BadLayout, Layout(64, 64, (NOWHERE,)))],
    "LIKENESS_CAST": [(BadLayout, people_made.cast([NOWHERE.center], 64, 64))],
}
"""By socket: what is of its kind and cannot be used. More of it, value by value, is in attack_cases.json."""
JUDGED = [(pair, *case) for pair in INPUTS for kind in pair[1].io_type.split(",")[:1] for case in BAD.get(kind, ())]


@pytest.mark.parametrize(("pair", "error", "bad"), JUDGED, ids=[f"{named(one[0])}-{one[1].__name__}" for one in JUDGED])
def test_what_is_of_its_kind_and_cannot_be_used(pair: Any, error: type[Exception], bad: Any) -> None:
    refused(error, *pair, bad)
