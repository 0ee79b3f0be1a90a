"""The settings that the methods were published with, from docs/dev/authors_settings.json."""

import json
from dataclasses import dataclass
from functools import cache

from environment import ROOT

DATA = ROOT / "docs" / "dev" / "authors_settings.json"


@dataclass(frozen=True)
class Method:
    """nodes: ids of those that apply it.

    settings: (what, the value in ComfyUI's words and units, file and line of the repository); several values of one
    setting stand in several places of the authors' code.
    """

    name: str
    repository: str
    commit: str
    nodes: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]


@cache
def methods() -> tuple[Method, ...]:
    return tuple(
        Method(**{**record, "nodes": tuple(record["nodes"]), "settings": tuple(map(tuple, record["settings"]))})
        for record in json.loads(DATA.read_text("utf-8"))["methods"]
    )
