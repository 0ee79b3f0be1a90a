"""Every setting of every node that puts a method into conditioning or MODEL is heard."""

from functools import cache
from typing import Any

import marks
import pytest
import torch
from comfy_api.latest._io import WidgetInput
from graph_run import OURS
from graphs import DEFAULTS, ours, sampled, value
from method_rows import NETWORKS, OFTEN, READ_FACES, Row, latents, rows
from pack.core.cast import PlacedCast
from pack.core.places.region_settings import FACE_BOXES
from sample_values import a_person, cast, latent, mask, normal, sdxl, with_loras, with_regions
from torch import Tensor


def of_three_photos(weights: tuple[float, ...] = ()) -> PlacedCast:
    return cast(a_person("Anna", normal(1, 3, 512)), a_person("Boris", normal(2, 3, 512)), weights=weights)


def the_left_eighth() -> Tensor:
    return mask(8)[:1]


BESIDE: dict[str, dict[str, Any]] = {
    "LikenessApplyIDPatch": {"image": None, "id_start_percent": 0.0, "model": value(sdxl)},
    "LikenessApplyInstantID": {"negative_noise": 0.3},
    "LikenessApplyPhotoMaker": {"text": "a woman img, a man img,", "start_percent": 0.0},
    "LikenessLoRAPerPerson": {"cast": value(with_loras)},
    "LikenessSharePartsAttention": {
        "parts": ours("LikenessPart", mask=value(the_left_eighth)),
        "width": 256,
        "layers": "fine",
        "renew_every": 2,
    },
}
"""By nodes: inputs beside the defaults with which every setting can be seen."""
CHANGED: dict[str, Any] = {
    "weight": 0.4,
    "adapter_weight": 0.4,
    "control_strength": 0.4,
    "strength": 0.4,
    "lora_weight": 0.4,
    "shortcut": 0.4,
    "photos": "normalised mean",
    "negative_noise": 0.0,
    "mask": value(mask, 2),
    "keypoints": False,
    "outside": "everybody",
    "prompts": "1: up",
    "layers": "all",
    "text": "a woman img, a hat img,",
    "trigger": ",",
    "reference": "once",
    "renew_every": 1,
    "crop_to_mask": True,
    "cast": value(of_three_photos, (1.0, 0.4)),
    "projection": "style",
    "zero_tokens": 3,
    "LikenessApplyPuLID.photos": "mean",
}
"""Every setting as it is neither by default nor beside these; the cast's is how strong one person is."""
OF_REGIONS: dict[str, Any] = {"extent": "face", "region_margin": 0.3, "feather": 60, "acts_in": FACE_BOXES}
"""What Place Cast sets for the regions of a cast, which begins with regions."""
SILENT = {"width", "height", ("LikenessPromptPerPerson", "cast")}
"""What is only shown, what must be the latent's, and people who are meant or not."""


def _settings(row: Row) -> list[str]:
    """Widgets, masks and casts of a node. What ranges do: tests/every_method/test_ranges.py."""
    kind = row.kind
    ignored = NETWORKS[kind][row.network].ignored if row.network else ()
    inputs = [entry for entry in OURS[kind].define_schema().inputs if entry.id not in ignored]
    names = [entry.id for entry in inputs if isinstance(entry, WidgetInput) or entry.id in ("mask", "cast")]
    heard = [name for name in names if not SILENT & {name, (kind, name)} and not name.endswith("percent")]
    if not {"cast", "mask"} <= {*names}:
        return heard
    heard.append("region_margin")
    heard.append("acts_in" if kind in READ_FACES else "extent")
    return [*heard, "feather"]


@cache
def _picture(row: Row, setting: str = "") -> Tensor:
    kind = row.kind
    inputs = {**row.links}
    if "cast" in DEFAULTS[kind]:
        inputs["cast"] = value(of_three_photos)
    inputs |= BESIDE.get(kind, {})
    if setting and setting not in OF_REGIONS:
        inputs[setting] = CHANGED.get(f"{kind}.{setting}", CHANGED.get(setting))
    if "cast" in inputs:
        set_on_cast = {name: changed for name, changed in OF_REGIONS.items() if name == setting}
        inputs["cast"] = value(with_regions, inputs["cast"], **set_on_cast)
    applied = ours(kind, **inputs)
    return latents(sampled(applied, latent(applied.inputs.get("width", 128))))


APPLYING = [row for row in rows() if not row.variant and {"positive", "negative"} & row.inputs.keys()]


def _cases() -> list[Any]:
    """Node and setting; those of DiTs only where this ComfyUI has all of them."""
    often = {(row.kind, row.network) for row in rows() if str(row) in OFTEN}
    cases: list[Any] = []
    for row in APPLYING:
        of_row = [] if row.of_unets else [marks.transformers]
        if (row.kind, row.network) not in often:
            of_row.append(pytest.mark.thorough)
        cases += [pytest.param(row, setting, marks=of_row, id=f"{row}, {setting}") for setting in _settings(row)]
    return cases


@pytest.mark.parametrize(("row", "setting"), _cases())
def test_every_setting_changes_the_picture(row: Row, setting: str) -> None:
    """None that a node has is left aside by what it calls."""
    assert not torch.equal(_picture(row, setting), _picture(row))
