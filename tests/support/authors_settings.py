"""The settings that the methods were published with, from the tables of docs/dev/settings.md."""

import re
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
