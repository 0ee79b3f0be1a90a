"""What links may bring to any input of any node, as the host hands it over: refused before the node runs, by name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from inspect import getfullargspec
from typing import Any

import folder_paths
import people_made
import pytest
import tiny_dits
import torch
from attack_cases import REFUSED_HERE
from attack_graphs import ours
from attack_run import Case
from graph_run import call, run
from pack.bridge.schema import seed_input
from pack.core.errors import BadChoice, BadInput, BadLayout, BadSize, LikenessError
from pack.core.inputs import BadPicture
from pack.core.people import Cast, Layout, Slot
from pack.nodes.extension import NODES
from pack.nodes.infinite_you import nodes as infinite_you
from pack.nodes.references import bind as bind_references
from pack.nodes.references import nodes as references
from pack.nodes.with_anyone import nodes as with_anyone
from rig.host_server import HostError, HostServer
from rig.standins import Standins

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
    for value in [*wrong, *([entry.min + 0.5] if entry.io_type == "INT" else [])]:
        assert " number from " in refused(BadInput, node, entry, value)


@pytest.mark.parametrize("pair", OTHERS, ids=named)
def test_nothing_or_something_else_where_an_object_is_needed(pair: Any) -> None:
    node, entry = pair
    if not (entry.optional or getattr(entry, "lazy", None)):
        assert " is nothing (None); " in refused(BadInput, node, entry, None)
    if entry.io_type != ANYTHING:
        for value in (object(), 5, b"text"):
            assert f"; {entry.io_type} is needed. Look at the node" in refused(BadInput, node, entry, value)


@pytest.mark.parametrize("pair", WORDS, ids=named)
def test_a_word_that_is_not_offered(pair: Any) -> None:
    node, entry = pair
    assert "Choose one of: " in refused(BadChoice, node, entry, "?")


@pytest.mark.parametrize("pair", [p for p in INPUTS if p[1].io_type in ("IMAGE", "MASK")], ids=named)
def test_what_is_no_picture(pair: Any) -> None:
    for shape in ((), (8,), (0, 8, 8), (1, 0, 8), (0, 8, 8, 3), (1, 8, 0, 3), (1, 8, 8, 2), (1, 2, 8, 8, 3)):
        refused(BadPicture, *pair, torch.zeros(shape))
    refused(BadPicture, *pair, torch.zeros(1, 8, 8, *[3] * (pair[1].io_type == "IMAGE"), dtype=torch.complex64))
    if pair[1].io_type == "IMAGE":
        refused(BadPicture, *pair, torch.full((1, 8, 8, 3), math.nan))


PLACES = ("LIKENESS_LAYOUT", "LIKENESS_CAST", "LIKENESS_CAST,LIKENESS_IDENTITY")


@pytest.mark.parametrize("pair", [p for p in INPUTS if p[1].io_type in PLACES], ids=named)
def test_places_that_are_none(pair: Any) -> None:
    node, entry = pair
    nowhere = Slot((math.nan, 4.0))

    def made(slot: Slot, width: int) -> Any:
        layout = Layout(width, 64, (slot,))
        person = people_made.cast([slot.center], width, 64)
        return layout if entry.io_type == "LIKENESS_LAYOUT" else person

    refused(BadLayout, node, entry, made(nowhere, 64))
    for width in (0, -8, 65, 80_000):
        with pytest.raises(BadSize, match=rf" {width}x64 px.* 8, .* 8192"):
            call(node, **{entry.id: made(Slot((4.0, 4.0)), width)})


EVERY = [case for section in REFUSED_HERE for case in section() if case.ending == "explained"]
WHERE = sorted({case.name.partition(":")[0] for case in EVERY})
OF_DITS = {
    node.define_schema().node_id
    for module in (bind_references, infinite_you, references, with_anyone)
    for node in module.NODES
}
"""What older hosts refuse before anything else."""


@pytest.fixture(scope="module")
def made(standin_models: Standins) -> Iterator[dict[Any, Any]]:
    """What runs before the inputs, once for all; the face pack is found among the stand-ins."""
    known = folder_paths.folder_names_and_paths
    with pytest.MonkeyPatch.context() as patch:
        for key in ("insightface", "facexlib"):
            patch.setitem(known, key, ([str(standin_models.root / key)], known[key][1]))
        yield {}


@pytest.mark.parametrize("where", WHERE)
def test_every_value_that_none_may_be_is_explained(where: str, made: dict[Any, Any]) -> None:
    """The cases of test_attack.py for one input, or about one node, in this process."""
    if not tiny_dits.KNOWN and where.partition(".")[0] in OF_DITS:
        pytest.skip("this ComfyUI has no such models")
    for case in EVERY:
        if case.name.partition(":")[0] == where:
            assert explained(case, made), case.name


def explained(case: Case, made: dict[Any, Any]) -> bool:
    with pytest.raises(LikenessError, match=case.words):
        for last in case.graph:
            run(last, made)
    return True


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        ("LikenessCropFaces", "size", "Crops of 448 px, not 500: sizes are multiples of 64"),
        ("LikenessResizePhoto", "longer_side", "Longer side 448 px, not 500: both are rounded down to multiples of 64"),
    ],
)
def test_a_size_between_a_widgets_steps_is_said(
    kind: str, size: str, said: str, made: dict[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    run(ours(kind, **{size: 512}), made)
    assert " px, not " not in caplog.text
    run(ours(kind, **{size: 500}), made)
    assert said in caplog.text


def test_whole_floats_are_whole_numbers() -> None:
    """Math nodes of other packs give them."""
    group = next(node for node in NODES if node.__name__ == "GroupLayout")
    exact = {"count": 2, "framing": "half", "rows": 0, "width": 512, "height": 384}
    floats = {name: float(value) if isinstance(value, int) else value for name, value in exact.items()}
    layouts = [call(group, **inputs)[0] for inputs in (exact, floats)]
    assert layouts[0] == layouts[1] and type(layouts[1].width) is int


def test_none_at_an_optional_socket_is_nothing_linked() -> None:
    listed = next(node for node in NODES if node.__name__ == "Cast")
    person = people_made.identity(1)
    cast = call(listed, cast=None, person_1=person, person_2=None)[0]
    assert isinstance(cast, Cast) and [one.identity for one in cast.people] == [person]


def test_a_class_that_was_loaded_twice_is_still_that_class() -> None:
    """As packs that reload other packs make them: the objects in the host's cache are of the old class."""
    drawn = next(node for node in NODES if node.__name__ == "FaceKeypointsImage")
    again = type("Layout", (), {"width": 64, "height": 64, "slots": (Slot((4.0, 4.0), keypoints=((4.0, 4.0),) * 5),)})
    assert call(drawn, layout=again())[0].shape == (1, 64, 64, 3)


def test_over_http(host_server: HostServer) -> None:
    """The widget would not let it through; the link does."""
    inputs = {"count": 2, "framing": "half", "rows": 0, "width": ["wide", 0], "height": 384}
    prompt = {
        "wide": {"class_type": "PrimitiveInt", "inputs": {"value": 100_000}},
        "group": {"class_type": "LikenessGroupLayout", "inputs": inputs},
        "shown": {"class_type": "PreviewImage", "inputs": {"images": ["group", 1]}},
    }
    with pytest.raises(HostError, match=r"width .*Group Layout .*100000.* 64 to 8192"):
        host_server.run(prompt)
    prompt["wide"]["inputs"]["value"] = 512
    assert host_server.run(prompt).outputs["shown"]["images"]


def test_any_seed_of_the_sampler_fits() -> None:
    from nodes import KSampler

    assert seed_input("seed", "").max == KSampler.INPUT_TYPES()["required"]["seed"][1]["max"]
