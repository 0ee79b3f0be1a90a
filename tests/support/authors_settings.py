"""The settings that the methods were published with, from the tables of docs/dev/settings.md."""

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cache

from environment import ROOT

PAGE = ROOT / "docs" / "dev" / "settings.md"
_METHOD = re.compile(r"\*\*(?P<name>.+)\*\*, `(?P<node>\w+)`, (?P<repository>\S+) (?P<commit>[0-9a-f]{7}):")
_SETTING = re.compile(r"\| `(?P<what>.+?)` \| (?P<value>.+?) \| (?P<where>.+?) \|")


@dataclass(frozen=True)
class Method:
    """node: the id of the one that applies it.

    settings: (what, the value in ComfyUI's words and units, file and line of the repository); several values of one
    setting stand in several places of the authors' code.
    """

    name: str
    node: str
    repository: str
    commit: str
    settings: list[tuple[str, str, str]]


@cache
def methods() -> tuple[Method, ...]:
    found: list[Method] = []
    for line in PAGE.read_text("utf-8").splitlines():
        if method := _METHOD.fullmatch(line):
            found.append(Method(**method.groupdict(), settings=[]))
        elif setting := _SETTING.fullmatch(line):
            found[-1].settings.append(setting.group("what", "value", "where"))
    return tuple(found)


def values(nodes: Set[str], setting: str) -> set[float | str]:
    """The values that the authors of the methods of these nodes have for a setting, as a widget has them."""
    found = set[float | str]()
    for method in methods():
        if method.node not in nodes:
            continue
        for name, value, _ in method.settings:
            if name == setting:
                first = value.partition(",")[0]
                found.add(float(first) if re.fullmatch(r"[0-9.]+", first) else first)
    return found
