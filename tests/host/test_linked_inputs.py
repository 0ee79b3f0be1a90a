"""What links may bring to any input of any node, as the host hands it over: refused before the node runs, by name."""

from __future__ import annotations

import math
from functools import cache
from inspect import getfullargspec
from typing import Any

import folder_paths
import people_made
import pytest
import tiny_dits
import torch
from attack_graphs import SOCKETS, ours, value
from attack_values import FILES
from graph_run import call, run
from pack.bridge.schema import seed_input
from pack.core.errors import BadChoice, BadInput, BadLayout, BadSize
from pack.core.inputs import BadPicture
from pack.core.methods import Method, methods
from pack.core.people import Cast, Layout, Slot
from pack.nodes.extension import NODES
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
    for bad in [*wrong, *([entry.min + 0.5] if entry.io_type == "INT" else [])]:
        assert " number from " in refused(BadInput, node, entry, bad)


@pytest.mark.parametrize("pair", OTHERS, ids=named)
def test_nothing_or_something_else_where_an_object_is_needed(pair: Any) -> None:
    node, entry = pair
    if not (entry.optional or getattr(entry, "lazy", None)):
        assert " is nothing (None); " in refused(BadInput, node, entry, None)
    if entry.io_type != ANYTHING:
        for wrong in (object(), 5, b"text", *of_other_kinds(entry)):
            needed = entry.io_type.removesuffix(",LIKENESS_ADAPTER")
            assert f"; {needed} is needed. Look at the node" in refused(BadInput, node, entry, wrong)


def of_other_kinds(entry: Any) -> list[Any]:
    """What sockets of other kinds bring, of the host's and of ours; nothing is for a text field or a menu."""
    kinds = {*entry.io_type.split(",")}
    for alike in ({"IMAGE", "MASK"}, {"CLIP", "VAE"}):  # tensors, and both have an encode
        kinds |= alike if kinds & alike else set()
    known = {kind: made for kind, made in SOCKETS.items() if kind != ANYTHING}
    known |= {method.socket: f"loaded({method.folder!r})" for method in methods() if loadable(method)}
    return [brought(made) for kind, made in known.items() if not kinds & {*kind.split(",")}]


def loadable(method: Method) -> bool:
    """Whether there is a file of it, and this host is new enough for it."""
    return method.folder in FILES and (tiny_dits.KNOWN or method.host == "0.3.64")


@cache
def brought(expression: str) -> Any:
    return run(value(expression), {})[0]


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


TEXT = torch.ones(1, 77, 48)


@pytest.mark.parametrize("pair", [p for p in INPUTS if p[1].io_type == "CONDITIONING"], ids=named)
def test_what_is_no_conditioning(pair: Any) -> None:
    wrong: list[Any] = [None, TEXT[:1], [TEXT], [3, {}], [TEXT[0], {}], [TEXT[:, :0], {}]]
    for entry in wrong:
        assert "something else under this name" in refused(BadInput, *pair, [entry])
    for bad in (math.nan, math.inf):
        assert "NaN or infinity" in refused(BadPicture, *pair, [[TEXT * bad, {}]])


@pytest.mark.parametrize("pair", [p for p in INPUTS if p[1].io_type == "LATENT"], ids=named)
def test_what_is_no_latent(pair: Any) -> None:
    rows = torch.zeros(2, 4, 8, 8)
    for given in ({}, {"samples": None}, {"samples": 1}, {"samples": rows[:0]}):
        assert "under 'samples' it has" in refused(BadPicture, *pair, given)
    for index, found in {(0,): "1 number", 7: "7"}.items():
        given = {"samples": rows, "batch_index": list(index) if isinstance(index, tuple) else index}
        assert f"it has {found} for 2 latents" in refused(BadPicture, *pair, given)


@pytest.fixture
def face_packs(standin_models: Standins, monkeypatch: pytest.MonkeyPatch) -> None:
    known = folder_paths.folder_names_and_paths
    for key in ("insightface", "facexlib"):
        monkeypatch.setitem(known, key, ([str(standin_models.root / key)], known[key][1]))


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        ("LikenessCropFaces", "size", "Crops of 448 px, not 500: sizes are multiples of 64"),
        ("LikenessResizePhoto", "longer_side", "Longer side 448 px, not 500: both are rounded down to multiples of 64"),
    ],
)
def test_a_size_between_a_widgets_steps_is_said(
    kind: str, size: str, said: str, face_packs: None, caplog: pytest.LogCaptureFixture
) -> None:
    run(ours(kind, **{size: 512}), {})
    assert " px, not " not in caplog.text
    run(ours(kind, **{size: 500}), {})
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
    drawn = next(node for node in NODES if node.__name__ == "PoseImage")
    again = type("Layout", (), {"width": 64, "height": 64, "slots": (Slot((4.0, 4.0), keypoints=((4.0, 4.0),) * 5),)})
    assert call(drawn, layout=again(), draw="face keypoints")[0].shape == (1, 64, 64, 3)


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

    assert seed_input("seed").max == KSampler.INPUT_TYPES()["required"]["seed"][1]["max"]
