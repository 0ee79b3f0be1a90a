"""The settings that the methods were published with (docs/dev/authors_settings.json), in the help pages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from environment import ROOT

DATA = ROOT / "docs" / "dev" / "authors_settings.json"


@dataclass(frozen=True)
class Method:
    """pages: of the nodes that apply it.

    settings: (what, the value in ComfyUI's words and units, file and line of the repository); several values of one
    setting stand in several places of the authors' code.
    """

    name: str
    repository: str
    commit: str
    pages: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]


@cache
def _data() -> dict[str, Any]:
    return json.loads(DATA.read_text("utf-8"))


def methods() -> tuple[Method, ...]:
    return tuple(
        Method(**{**one, "pages": tuple(one["pages"]), "settings": tuple(map(tuple, one["settings"]))})
        for one in _data()["methods"]
    )


def page(text: str, name: str, chinese: bool) -> str:
    """The help page of a node with the tables of its methods, which begin with the method's name, and a line below
    each that says where the values stand: the help panel is too narrow for it in the table.

    A page without such a table stays as it is."""
    for method in methods():
        if name in method.pages and f"| {method.name} |" in text:
            before, head, rest = text.partition(f"| {method.name} |")
            _, _, behind = rest.partition("\n\n")
            _, _, behind = behind.partition("\n\n")
            text = f"{before}{head}{_listed(method, _data()['zh'] if chinese else {})}\n\n{behind}"
    return text


def _listed(method: Method, words: Mapping[str, str]) -> str:
    """The table of a method behind its name, and its sources. words: in another language."""
    lines, sources = [f" {words.get('published', 'as published')} |", "|---|---|"], list[str]()
    for what, group in groupby(method.settings, key=lambda setting: setting[0]):
        found, said = list(group), words.get(what, what)
        values = ", ".join(dict.fromkeys(words.get(value, value) for _, value, _ in found))
        lines.append(f"| {said} | {values} |")
        # A line of code may go on in the next one so, which it does not in Markdown.
        places = (f"<code>{where.replace('_', '_<wbr>')}</code>" for *_, where in found)
        sources.append(f"{said} {', '.join(places)}")
    link = f"[{method.repository}](https://github.com/{method.repository}) {method.commit}"
    colon, semicolon = (words.get(mark, mark) for mark in (": ", "; "))
    return "\n".join([*lines, "", f"{link}{colon}{semicolon.join(sources)}"])
