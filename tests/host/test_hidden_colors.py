"""What lies below transparent pixels may be any colour: it changes nothing of what any node makes of a picture."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import folder_paths
import pytest
import torch
from graph_run import run
from graphs import DEFAULTS, MODELS, SCHEMAS, Node, ours, sampled, value
from pack.core.pictures.tensors import as_rgb
from sample_values import image
from standins_made import Standins
from tiny import tiny_dits

pytestmark = pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")


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
def outputs_by_node(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """What runs before the inputs, once for all; model files are found among the stand-ins."""
    folders_by_key = folder_paths.folder_names_and_paths
    with pytest.MonkeyPatch.context() as patch:
        for key in ("insightface", "facexlib"):
            patch.setitem(folders_by_key, key, ([str(standin_models.root / key)], folders_by_key[key][1]))
        yield {}


def with_hidden(picture: torch.Tensor, color: float) -> torch.Tensor:
    """The same with alpha: its left quarter is transparent, and below it of this red."""
    picture = torch.cat([picture[..., :3].float(), torch.ones(*picture.shape[:-1], 1)], dim=-1)
    hidden = torch.tensor([color, 0.0, 0.0, 0.0])
    picture[:, :, : picture.shape[2] // 4] = hidden
    return picture


def with_picture(kind: str, name: str, color: float) -> Node:
    """The node with a picture whose left quarter is transparent, and of this colour below."""
    picture = DEFAULTS[kind].get(name) or value(image)
    changed = ours(kind, **{name: None})
    changed.inputs[name] = value(with_hidden, picture, color)
    return changed


def result(kind: str, name: str, color: float, outputs_by_node: dict[Any, Any]) -> list[Any]:
    graph = with_picture(kind, name, color)
    outputs = [output.get_io_type() for output in SCHEMAS[kind].outputs]
    if "MODEL" in outputs or kind in MODELS:
        graph = sampled(graph)
    return list(run(graph, outputs_by_node))


def difference(first: Any, second: Any) -> float:
    """The largest between two results, however deep; of pictures with alpha, of what is seen of them."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert first.shape == second.shape
        if first.ndim == 4 and first.shape[-1] == 4 and first.is_floating_point():
            first, second = as_rgb(first), as_rgb(second)
        return float((first.float() - second.float()).abs().max()) if first.numel() else 0.0
    if isinstance(first, str | int | float | bool):
        assert first == second
        return 0.0
    if is_dataclass(first):
        pairs = [(getattr(first, field.name), getattr(second, field.name)) for field in fields(first)]
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        pairs = [(first[key], second[key]) for key in first]
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        pairs = list(zip(first, second, strict=True))
    else:
        return 0.0  # a model or a function
    return max((difference(*pair) for pair in pairs), default=0.0)


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda text: text.removeprefix("Likeness"))
def test_hidden_colors_change_nothing(kind: str, name: str, outputs_by_node: dict[Any, Any]) -> None:
    black, red = (result(kind, name, color, outputs_by_node) for color in (0.0, 1.0))
    assert difference(black, red) == 0.0
