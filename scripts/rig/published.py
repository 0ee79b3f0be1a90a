"""The settings that the methods were published with (docs/dev/authors_settings.json), beside those of our templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from environment import ROOT

from core.models import manifest
from rig.workflow import Node, wired

DATA = ROOT / "docs" / "dev" / "authors_settings.json"
_SAMPLERS = ("KSampler", "SamplerCustomAdvanced")
_SAMPLED_WITH = {
    "sampler_name": "sampler", "steps": "steps", "cfg": "CFG", "shift": "shift", "ckpt_name": "model",
    "unet_name": "model",
}  # fmt: skip
"""Widgets of the host's nodes -> our words for them."""
_CARRY = ("model", "guider", "sampler", "sigmas", "positive", "conditioning")
"""Inputs that bring a sampler what decides how it samples."""
_WEIGHTS, _CONTROL, _CANNY = "weights and range", "other ControlNets", "canny thresholds"
_COLUMNS = ("model", "sampler", "scheduler", "steps", "CFG", "shift", "size", _WEIGHTS, _CONTROL, "negative")
_NETS = ("openpose", "canny", "depth")
_OURS = "LikenessSharePartsAttention"
_PEOPLE = ("LikenessCast", "LikenessIdentity", "LikenessPeopleFromPhotos", "LikenessCastFromPhotos")
"""Nodes behind which photos are those of people, not of the picture."""


@dataclass(frozen=True)
class Method:
    """node: ours that applies it. file: what a template's files are called that it stands for, "" for any.

    settings: (what, the value in ComfyUI's words and units, file and line of the repository); several values of one
    setting stand in several places of the authors' code.
    """

    name: str
    node: str
    repository: str
    commit: str
    pages: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    file: str = ""

    def theirs(self, what: str) -> list[str]:
        """The authors' values of one setting."""
        return [*dict.fromkeys(value for name, value, _ in self.settings if name == what)]


@cache
def _data() -> dict[str, Any]:
    return json.loads(DATA.read_text("utf-8"))


def methods() -> tuple[Method, ...]:
    return tuple(
        Method(**{**one, "pages": tuple(one["pages"]), "settings": tuple(map(tuple, one["settings"]))})
        for one in _data()["methods"]
    )


# --- Help pages


def page(text: str, name: str, chinese: bool) -> str:
    """The help page of a node with the tables of its methods, which begin with the method's name, and a line below
    each that says where the values stand: the help panel is too narrow for it in the table."""
    for method in methods():
        if name in method.pages:
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
        sources.append(f"{said} {', '.join(_breakable(where) for *_, where in found)}")
    link = f"[{method.repository}](https://github.com/{method.repository}) {method.commit}"
    colon, semicolon = (words.get(mark, mark) for mark in (": ", "; "))
    return "\n".join([*lines, "", f"{link}{colon}{semicolon.join(sources)}"])


def _breakable(where: str) -> str:
    """File and line as code that may go on in the next line, which code in Markdown does not."""
    return f"<code>{where.replace('_', '_<wbr>')}</code>"


# --- Templates


def table(workflows: Mapping[str, Mapping[str, Any]]) -> str:
    """Below each method's own settings those of the templates with it, one row for all that are the same."""
    passes = [(name, one) for name, graph in workflows.items() for one in _passes(graph)]
    lines, empty = [("", *_COLUMNS), ("---",) * (1 + len(_COLUMNS))], ("",) * len(_COLUMNS)
    for method in (*methods(), None):
        with_it = [(name, one) for name, one in passes if method in (one.methods or (None,))]
        title = f"**{method.name}** as published" if method else "**No published counterpart**"
        lines.append((title, *(", or ".join(_theirs(method, column)) for column in _COLUMNS)))
        rows: dict[tuple[str, ...], dict[str, None]] = {}
        for name, one in with_it:
            rows.setdefault(tuple(one.cell(column, method) for column in _COLUMNS), {})[f"`{name}`"] = None
        lines += [(", ".join(names), *cells) for cells, names in rows.items()] or [("no template", *empty)]
    unsampled = ", ".join(f"`{name}`" for name in workflows if name not in dict(passes))
    lines += [(f"{unsampled}: no sampler", *empty)] if unsampled else []
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _theirs(method: Method | None, column: str) -> list[str]:
    if not method:
        return []
    if column == _WEIGHTS:
        shown = dict.fromkeys(what for what, *_ in method.settings if what not in (*_COLUMNS, *_NETS, _CANNY, "VAE"))
        return [", ".join(f"{what} {' or '.join(method.theirs(what))}" for what in shown)]
    if column == _CONTROL:
        return ["; ".join(f"{what} {value}" for what, value, _ in method.settings if what in (*_NETS, _CANNY))]
    return method.theirs(column)


@dataclass(frozen=True)
class _Pass:
    """One sampler of a template. settings: of the columns; weights: node, what, value; nets: ControlNet, value."""

    methods: tuple[Method, ...]
    settings: Mapping[str, str]
    weights: tuple[tuple[str, str, str], ...]
    nets: tuple[tuple[str, str], ...]

    def cell(self, column: str, method: Method | None) -> str:
        if column == _WEIGHTS:
            own = [f"{what} {_marked(method, what, v)}" for at, what, v in self.weights if method and at == method.node]
            parts = [f"{what} *{value}*" for at, what, value in self.weights if at == _OURS]
            return "; ".join(", ".join(each) for each in (own, ["shared parts", *parts] if parts else []) if each)
        if column == _CONTROL:
            return "; ".join(f"{what} {_marked(method, what, value)}" for what, value in self.nets)
        return _marked(method, column, self.settings[column]) if column in self.settings else ""


def _marked(method: Method | None, what: str, value: str) -> str:
    """A value of ours: bold where the authors' is another, italic where they name none."""
    theirs = method.theirs(what) if method else []
    return f"*{value}*" if not theirs else value if value in theirs else f"**{value}**"


def _passes(graph: Mapping[str, Any]) -> Iterator[_Pass]:
    nodes, text = wired(graph), json.dumps(graph)
    for node in nodes.values():
        if node.type in _SAMPLERS:
            path = [node, *_before(nodes, node, _CARRY)]
            types = {one.type for one in path}
            known = tuple(one for one in methods() if one.node in types and one.file in text)
            yield _Pass(known, _sampling(nodes, node, path), tuple(_weights(path, known)), tuple(_nets(nodes, path)))


def _before(nodes: Mapping[str, Node], node: Node, names: tuple[str, ...] = ()) -> Iterator[Node]:
    """The nodes that lead to this one, nearest first; through these inputs alone, or through all but people."""
    waiting, seen = [node], set[str]()
    while waiting:
        one = waiting.pop(0)
        for number in (one.inputs[name] for name in sorted(one.linked) if not names or name in names):
            if number not in seen and nodes[number].type not in _PEOPLE:
                seen.add(number)
                waiting.append(nodes[number])
                yield nodes[number]


def _sampling(nodes: Mapping[str, Node], sampler: Node, path: list[Node]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in path:
        for widget, what in _SAMPLED_WITH.items():
            if widget in node.inputs and not node.type.startswith("Likeness"):
                found.setdefault(what, _model(str(node.inputs[widget])))
        if node.type == "Flux2Scheduler":
            found["scheduler"] = node.type
        if node.type == "CFGNorm":
            found["CFG"] += f", CFGNorm {node.inputs['strength']}"
        if node.type == "ModelSamplingFlux":
            found["shift"] = _shift_of_flux(node, _size(nodes, sampler))
    denoise = next((node.inputs["denoise"] for node in path if "denoise" in node.inputs), 1.0)
    scheduler = found.get("scheduler") or str(sampler.inputs.get("scheduler"))
    found["scheduler"] = scheduler if denoise == 1.0 else f"{scheduler}, {denoise}"
    return found | {"size": _size(nodes, sampler), "negative": _negative(nodes, path)}


def _shift_of_flux(node: Node, size: str) -> str:
    """By the number of the picture's tokens of 16 px, as the node works it out."""
    width, height = map(int, size.split("x"))
    largest, base = node.inputs["max_shift"], node.inputs["base_shift"]
    return f"{base + (width * height / 256 - 256) * (largest - base) / (4096 - 256):.3f}"


def _model(name: str) -> str:
    """The repository of a file of the manifest; anything else as it is."""
    return next((model.repository for model in manifest.models() if model.name == name), name)


def _size(nodes: Mapping[str, Node], sampler: Node) -> str:
    latent = nodes[sampler.inputs["latent_image"]]
    for node in [latent, *_before(nodes, latent)]:
        width, height, longer = (_number(nodes, node, side) for side in ("width", "height", "longer_side"))
        if width and height:
            return f"{width}x{height}"
        if node.type == "LikenessCropFaces":
            return f"faces, {node.inputs['size']}x{node.inputs['size']}"
        if longer:
            return f"of the photo, longer side {longer}"
    return "of the photo"


def _number(nodes: Mapping[str, Node], node: Node, name: str) -> Any:
    """A widget's value, also one that a primitive brings; None where there is none."""
    if name not in node.linked:
        return node.inputs.get(name)
    source = nodes[node.inputs[name]]
    return source.inputs.get("value") if source.type.startswith("Primitive") else None


def _negative(nodes: Mapping[str, Node], path: list[Node]) -> str:
    """The beginning of the negative prompt."""
    last = next(node for node in path if "negative" in node.linked)
    for node in _before(nodes, last, ("negative", "conditioning")):
        text = node.inputs.get("negative_prompt", node.inputs.get("text"))
        if text is not None and not {"negative", "text"} & node.linked:
            return ", ".join([*text.split(", ")[:2], "…"]) if text.strip() else "none"
    raise ValueError("no negative prompt")


def _weights(path: list[Node], known: tuple[Method, ...]) -> Iterator[tuple[str, str, str]]:
    """What the nodes of the methods are set to; of ours alone their strength and range. FLUX.1's guidance is the
    method's, which stands behind it."""
    for node in path:
        if node.type == "FluxGuidance":
            yield from ((one.node, "guidance", str(node.inputs["guidance"])) for one in known if one.theirs("guidance"))
        method = next((one for one in known if one.node == node.type), None)
        names = [what for what, *_ in method.settings] if method else ["strength"] if node.type == _OURS else []
        for name in dict.fromkeys([*names, "start_percent", "end_percent"] if names else []):
            if name in node.inputs and name not in node.linked:
                yield node.type, name, str(node.inputs[name])


def _nets(nodes: Mapping[str, Node], path: list[Node]) -> Iterator[tuple[str, str]]:
    """The ControlNets beside the method's own."""
    for node in path:
        if node.type == "ControlNetApplyAdvanced":
            file = str(nodes[node.inputs["control_net"]].inputs["control_net_name"])
            strength, start, end = (node.inputs[name] for name in ("strength", "start_percent", "end_percent"))
            yield next(net for net in _NETS if net in file), f"{strength}, {start} to {end}"
            for canny in _before(nodes, node, ("image",)):
                if canny.type == "Canny":
                    yield _CANNY, f"{canny.inputs['low_threshold']}, {canny.inputs['high_threshold']}"
