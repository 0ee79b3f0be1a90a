"""Every setting of every node that puts a method into conditioning or MODEL is heard."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny_dits
import torch
from attack_graphs import DEFAULTS, ours, sampled, stands_for, value
from comfy_api.latest._io import WidgetInput
from graph_run import OURS
from promised import latents, rows
from torch import Tensor

PEOPLE = "identity('Anna', normal(1, 3, 512)), identity('Boris', normal(2, 3, 512))"
"""Of three photos each."""
TABLE = json.loads(Path(__file__).with_name("settings.json").read_text("utf-8"))
"""beside: by nodes, inputs beside the defaults with which every setting can be seen. changed: every setting as it is
not there; the cast's is how loud one person is. Both as attack_graphs.stands_for reads them."""
SILENT = {
    "heat_map_step", "width", "height",
    *((kind, "cast") for kind in ("LikenessStylePerPerson", "LikenessPromptPerPerson")),
}  # fmt: skip
"""What is only shown, what must be the latent's, and people who are meant or not."""


def _settings(kind: str) -> list[str]:
    """Widgets, masks and casts of a node."""
    inputs = OURS[kind].define_schema().inputs
    names = [one.id for one in inputs if isinstance(one, WidgetInput) or one.id in ("mask", "cast")]
    return [name for name in names if not SILENT & {name, (kind, name)}]


@cache
def _picture(kind: str, setting: str = "") -> Tensor:
    changed = {"cast": value(f"cast({PEOPLE})")} if "cast" in DEFAULTS[kind] else {}
    given = TABLE["beside"].get(kind, {}) | ({setting: TABLE["changed"][setting]} if setting else {})
    applied = ours(kind, **changed | {name: stands_for(one) for name, one in given.items()})
    return latents(sampled(applied, value(f"latent({applied.inputs.get('width', 128)})")))


KINDS = sorted(one.kind for one in rows() if not one.variant and {"positive", "negative"} & one.inputs.keys())


def _cases() -> list[Any]:
    """Node and setting; those of DiTs only where this ComfyUI has all of them."""
    of_unets = {row.kind for row in rows() if row.of_unets}
    cases: list[Any] = []
    for kind in KINDS:
        marks = [] if kind in of_unets else [tiny_dits.needed]
        cases += [pytest.param(kind, setting, marks=marks) for setting in _settings(kind)]
    return cases


@pytest.mark.parametrize(("kind", "setting"), _cases())
def test_every_setting_changes_the_picture(kind: str, setting: str) -> None:
    """None that a node has is left aside by what it calls."""
    assert not torch.equal(_picture(kind, setting), _picture(kind))
