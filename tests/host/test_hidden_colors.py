"""What lies below transparent pixels may be any colour: it changes nothing of what any node makes of a picture."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import folder_paths
import pytest
import tiny_dits
import torch
from attack_graphs import DEFAULTS, MODELS, SCHEMAS, Node, ours, sampled, value
from attack_values import image, with_hidden
from graph_run import run
from pack.core.pictures import as_rgb
from standins_made import Standins

pytestmark = [pytest.mark.both_hosts, pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")]


def picture_inputs() -> Iterator[tuple[str, str]]:
    for kind, schema in SCHEMAS.items():
        for entry in schema.inputs:
            if entry.get_io_type() == "IMAGE":
                yield kind, entry.id


INPUTS = list(picture_inputs())
PHOTOS = {"photo_2", "photo_3", "photo_4", "photo_5", "photo_6", "photo_7", "photo_8"}
"""Further ones of Cast from Photos, of which each needs the one before."""
NUMBERS = ("LikenessApplyIDPatch", "image")
"""Drawn by ID-Patch Condition Image for a network alone: nobody sees it, and its alpha is not read."""
CASES = [(kind, name) for kind, name in INPUTS if name not in PHOTOS and (kind, name) != NUMBERS]


@pytest.fixture(scope="module")
def made(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """What runs before the inputs, once for all; model files are found among the stand-ins."""
    known = folder_paths.folder_names_and_paths
    with pytest.MonkeyPatch.context() as patch:
        for key in ("insightface", "facexlib", "densepose"):
            patch.setitem(known, key, ([str(standin_models.root / key)], known[key][1]))
        yield {}


def with_picture(kind: str, name: str, color: float) -> Node:
    """The node with a picture whose left quarter is transparent, and of this colour below."""
    picture = DEFAULTS[kind].get(name) or value(image)
    changed = ours(kind, **{name: None})
    changed.inputs[name] = value(with_hidden, picture, color)
    return changed


def result(kind: str, name: str, color: float, made: dict[Any, Any]) -> list[Any]:
    graph = with_picture(kind, name, color)
    outputs = [output.get_io_type() for output in SCHEMAS[kind].outputs]
    if "MODEL" in outputs or kind in MODELS:
        graph = sampled(graph)
    return list(run(graph, made))


def difference(one: Any, other: Any) -> float:
    """The largest between two results, however deep; of pictures with alpha, of what is seen of them."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.shape == other.shape
        if one.ndim == 4 and one.shape[-1] == 4 and one.is_floating_point():
            one, other = as_rgb(one), as_rgb(other)
        return float((one.float() - other.float()).abs().max()) if one.numel() else 0.0
    if isinstance(one, str | int | float | bool):
        assert one == other
        return 0.0
    if is_dataclass(one):
        pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        pairs = [(one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        pairs = list(zip(one, other, strict=True))
    else:
        return 0.0  # a model or a function
    return max((difference(*pair) for pair in pairs), default=0.0)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda text: text.removeprefix("Likeness"))
def test_hidden_colors_change_nothing(kind: str, name: str, made: dict[Any, Any]) -> None:
    black, red = (result(kind, name, color, made) for color in (0.0, 1.0))
    assert difference(black, red) == 0.0


def test_a_difference_is_seen_however_deep() -> None:
    one, other = torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 4, 3)
    other[0, 1, 2, 0] = 0.5
    assert difference([{"a": (one,)}, 1], [{"a": (other,)}, 1]) == 0.5
