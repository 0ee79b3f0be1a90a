"""What links may bring to any input of any node, as the host hands it over: refused before the node runs, by name."""

import math
from dataclasses import dataclass
from functools import cache
from inspect import getfullargspec
from typing import Any

import pytest
import torch
from comfy_execution.caching import BasicCache
from comfy_execution.graph import DynamicPrompt, ExecutionList
from graph_run import OURS, call, run
from graphs import SOCKETS, Value
from pack.bridge.host import inputs
from pack.core.checks.errors import BadChoice, BadInput, BadSetup, FileOfOtherMethod, LikenessError
from pack.core.checks.value_checks import BadPicture
from pack.core.methods import methods
from pack.nodes.adapters import LoadAdapter
from pack.nodes.extension import NODES
from pack.nodes.sockets import ADAPTER
from sample_values import FILES, loaded
from tiny import tiny_dits

import nodes as host_nodes

ANYTHING = "POSE_KEYPOINT"
"""Judged by poses.read, which knows every form of it."""


@dataclass(frozen=True)
class NodeInput:
    """An input of one of our nodes. entry: of its schema."""

    node: Any
    entry: Any

    @property
    def socket(self) -> str:
        return self.entry.io_type

    def __str__(self) -> str:
        return f"{self.node.__name__}.{self.entry.id}"


INPUTS = [NodeInput(node, entry) for node in NODES for entry in node.define_schema().inputs]
NUMBERS = [place for place in INPUTS if place.socket in ("INT", "FLOAT")]
OBJECTS = [place for place in INPUTS if place.socket not in ("INT", "FLOAT")]


def is_judged_by_the_node(place: NodeInput) -> bool:
    """Names of files are: a file may be newer than the list."""
    return place.entry.id in getfullargspec(place.node.validate_inputs).args


WORDS = [place for place in INPUTS if place.socket == "COMBO" and not is_judged_by_the_node(place)]


def refused(error: type[LikenessError], place: NodeInput, link: Any) -> str:
    """The message of a node with this link; it begins with the names of the input and the node."""
    name = place.node.define_schema().display_name
    with pytest.raises(error) as caught:
        call(place.node, **{place.entry.id: link})
    assert str(caught.value).startswith(f"The {place.entry.id} input of {name} ")
    return str(caught.value)


@pytest.mark.parametrize("place", NUMBERS, ids=str)
def test_a_number_out_of_its_limits(place: NodeInput) -> None:
    entry = place.entry
    assert math.isfinite(entry.min)
    assert math.isfinite(entry.max)
    assert entry.max == 1 or not entry.id.endswith("_percent")
    step = 1 if place.socket == "INT" else 0.001
    links = [entry.min - step, entry.max + step, math.nan, math.inf, -math.inf, 10**400, 10**12, 1j, [4]]
    links += [None, "4", "a text", torch.zeros(2), torch.tensor(math.nan)]
    if place.socket == "INT":
        links.append(entry.min + 0.5)
    for link in links:
        assert " number from " in refused(BadInput, place, link)


def is_needed(place: NodeInput) -> bool:
    return not place.entry.optional and not getattr(place.entry, "lazy", None)


@pytest.mark.parametrize("place", [place for place in OBJECTS if is_needed(place)], ids=str)
def test_nothing_where_an_object_is_needed(place: NodeInput) -> None:
    assert " is nothing (None); " in refused(BadInput, place, None)


@pytest.mark.parametrize("place", [place for place in OBJECTS if place.socket != ANYTHING], ids=str)
def test_something_else_where_an_object_is_needed(place: NodeInput) -> None:
    method = getattr(place.entry.Type, "method_title", "")
    needed = f"a file of {method} from Load Adapter" if method else place.socket
    for link in (object(), 5, b"text", *of_other_kinds(place)):
        assert f"; {needed} is needed. Look at the node" in refused(BadInput, place, link)


@pytest.mark.parametrize("place", [place for place in OBJECTS if place.socket == ADAPTER], ids=str)
def test_a_file_of_another_method(place: NodeInput) -> None:
    adapters = files_of_other_methods(place)
    assert adapters
    for adapter in adapters:
        message = refused(FileOfOtherMethod, place, adapter)
        needed = place.entry.Type.method_title
        assert f" is a file of {adapter.method_title}; a file of {needed} is needed." in message
        assert f"Choose a file of {needed} in File (file) of the Load Adapter that is linked to it." in message


def read_by(place: NodeInput, link: list[Any]) -> dict[str, Any]:
    """A prompt in which a node reads the first output of node 4, and another pack's node does."""
    reader = {"class_type": place.node.define_schema().node_id, "inputs": {place.entry.id: link}}
    return {"7": reader, "8": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}}}


@pytest.mark.parametrize("place", [place for place in OBJECTS if place.socket == ADAPTER], ids=str)
def test_a_file_of_another_method_is_refused_where_it_is_loaded(
    place: NodeInput,
) -> None:
    """In the words of the node that reads it. Of a file that fits, or that another loader gives it, nothing is said."""
    for adapter in files_of_other_methods(place):
        with pytest.raises(FileOfOtherMethod) as raised:
            inputs.check_readers(as_node_4(read_by(place, ["4", 0])), adapter)
        assert str(raised.value) == refused(FileOfOtherMethod, place, adapter)
        inputs.check_readers(as_node_4(read_by(place, ["5", 0])), adapter)
    for adapter in own_files(place):
        inputs.check_readers(as_node_4(read_by(place, ["4", 0])), adapter)


def as_node_4(prompt: dict[str, Any]) -> Any:
    """Load Adapter as the host runs it in a prompt."""
    clone = LoadAdapter.PREPARE_CLASS_CLONE(None)
    clone.hidden.unique_id = "4"
    clone.hidden.dynprompt = DynamicPrompt(prompt)
    return clone


def test_a_file_is_looked_at_before_a_checkpoint_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the host's own list, whatever the order of the nodes in the prompt."""
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
        "4": {"class_type": "LikenessLoadAdapter", "inputs": {}},
    }
    execution = ExecutionList(DynamicPrompt(prompt), BasicCache(None))
    monkeypatch.setattr(host_nodes, "NODE_CLASS_MAPPINGS", {**host_nodes.NODE_CLASS_MAPPINGS, **OURS})
    assert execution.ux_friendly_pick_node(["1", "4"]) == "4"


def of_other_kinds(place: NodeInput) -> list[Any]:
    """What sockets of other kinds bring, of the host's and of ours; nothing is for a text field or a menu."""
    kinds = {*place.socket.split(",")}
    if kinds & {"IMAGE", "MASK"}:
        kinds |= {"IMAGE", "MASK"}  # both are tensors
    links: list[Any] = []
    for types, link in SOCKETS.items():
        if types not in (ANYTHING, ADAPTER) and kinds.isdisjoint(types.split(",")):
            links.append(brought(link))
    return links


def files_of_other_methods(place: NodeInput) -> list[Any]:
    """Files of other methods: they travel on the same socket as the method's own."""
    adapters: list[Any] = []
    for method in methods():
        runs_here = tiny_dits.KNOWN or method.host == "0.3.64"
        if method.folder in FILES and runs_here:
            adapters.append(loaded(method.folder))
    return [adapter for adapter in adapters if not isinstance(adapter, place.entry.Type)]


def own_files(place: NodeInput) -> list[Any]:
    adapters = [loaded(method.folder) for method in methods() if method.folder in FILES]
    return [adapter for adapter in adapters if isinstance(adapter, place.entry.Type)]


@cache
def brought(link: Value) -> Any:
    return run(link, {})[0]


@pytest.mark.parametrize("place", WORDS, ids=str)
def test_a_word_that_is_not_offered(place: NodeInput) -> None:
    assert "Choose one of: " in refused(BadChoice, place, "?")


@dataclass(frozen=True)
class Unusable:
    """What is of an input's kind and cannot be used."""

    socket: str
    error: type[LikenessError]
    link: Any


UNUSABLE = (
    Unusable("IMAGE", BadPicture, torch.zeros(1, 8, 8)),
    Unusable("IMAGE", BadPicture, torch.zeros(1, 0, 8, 3)),
    Unusable("IMAGE", BadPicture, torch.full((1, 8, 8, 3), math.nan)),
    Unusable("MASK", BadPicture, torch.zeros(0, 8, 8)),
    Unusable("LATENT", BadPicture, {}),
    Unusable("LATENT", BadPicture, {"samples": torch.zeros(2, 4, 8, 8), "batch_index": [0]}),
    Unusable("CONDITIONING", BadInput, [[3, {}]]),
    Unusable("CONDITIONING", BadPicture, [[torch.full((1, 77, 48), math.nan), {}]]),
    Unusable("CONDITIONING", BadInput, [[torch.zeros(1, 77, 48), {"model_conds": []}]]),
    Unusable("CONDITIONING", BadInput, [[torch.zeros(1, 77, 48), {"clip_start_percent": "0"}]]),
)
"""More of it, value by value, is in tests/support/hostile."""


def _judged() -> list[Any]:
    """Every input with what is of its first kind."""
    cases: list[Any] = []
    for place in INPUTS:
        for unusable in UNUSABLE:
            if unusable.socket == place.socket.split(",")[0]:
                cases.append(pytest.param(place, unusable, id=f"{place}-{unusable.error.__name__}"))
    return cases


@pytest.mark.parametrize(("place", "unusable"), _judged())
def test_what_is_of_its_kind_and_cannot_be_used(place: NodeInput, unusable: Unusable) -> None:
    refused(unusable.error, place, unusable.link)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_an_input_that_the_node_has_not(node: Any) -> None:
    """An earlier version may have had it, or a program has misspelt it."""
    schema = node.define_schema()
    with pytest.raises(BadSetup) as caught:
        call(node, identity_of_old=object())
    today = ", ".join(entry.id for entry in schema.inputs)
    assert caught.value.problem == f"{schema.display_name} has no input identity_of_old; it has {today}."
