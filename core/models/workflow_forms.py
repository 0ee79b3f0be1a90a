"""The forms in which people have a workflow, and the graph in each of them. Standard library only.

ComfyUI saves a graph of its editor, exports a prompt of its API, takes a prompt in the body of POST /prompt, gives back
runs (GET /history) and waiting prompts (GET /queue), and writes both forms into the pictures that it saves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

Graph = dict[str, Any]
"""A workflow as the editor saves it, or as the API takes it."""

_DEEPEST = 8
"""The most wrappings around a graph that are opened: the answer of GET /history has five of them."""
_EXPORT = "save it in ComfyUI with Export, or with Export (API)"
_POSTED = ("client_id", "prompt_id", "extra_data", "front", "number")
"""Keys that stand beside the prompt in the body of POST /prompt. Where one of them is there, "prompt" is taken: it is
what runs, also where the body has the editor's workflow as well."""
_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG picture, which keeps no workflow: take the PNG that Save Image has written"),
    (b"GIF8", "a GIF picture, which keeps no workflow: take the PNG that Save Image has written"),
    (b"BM", "a BMP picture, which keeps no workflow: take the PNG that Save Image has written"),
    (b"PK\x03\x04", "a zip: unpack it"),
    (b"\x1f\x8b", "packed with gzip: unpack it"),
    (b"%PDF", "a PDF"),
    (b"\x1aE\xdf\xa3", f"a video: open it in ComfyUI and {_EXPORT}"),
    (b"<", f"a web page or XML: {_EXPORT}"),
)
"""The first bytes of files that people choose by mistake -> what the file is, and what to do."""


class NoWorkflow(ValueError):
    """A file that is no workflow, or one that cannot be used. The text says why; in messages the file's name stands
    before it."""


class UnknownNodes(NoWorkflow):
    """A prompt with nodes that the editor did not know when it wrote them."""


def graph_of(value: Any, depth: int = 0) -> Graph:
    """The graph in a value of parsed JSON, in whatever wrapping.

    depth: how many wrappings around the value have been opened. Raises NoWorkflow.
    """
    if depth > _DEEPEST:
        raise NoWorkflow(f"no graph is found in it: {_EXPORT}")
    if isinstance(value, str):  # metadata of pictures holds JSON as a text
        return graph_of(_parsed(value), depth + 1)
    entries = _list(value)
    if entries is not None:
        return graph_of(_prompt_of_queue(entries), depth + 1)
    graph = _object(value)
    if graph is None:
        raise NoWorkflow(f"it holds {_kind(value)} alone: {_EXPORT}")
    nodes = _list(graph.get("nodes"))
    if nodes is not None:
        _require_own(graph)
        if not nodes:
            raise NoWorkflow(f"there are no nodes in it: {_EXPORT}")
        return graph
    if is_prompt(graph):
        return graph
    first_problem: NoWorkflow | None = None
    for inner in _wrapped(graph):
        try:
            return graph_of(inner, depth + 1)
        except NoWorkflow as problem:
            # Either the graph or the prompt may be empty or damaged; where both are, the message names the first.
            first_problem = first_problem or problem
    raise first_problem or NoWorkflow(f"there are no nodes in it: {_EXPORT}")


def graph_in_picture(texts: Mapping[str, str]) -> Graph:
    """The graph in the texts (metadata) of a picture: the saved workflow if there is one, else the prompt. The editor
    does the same with a picture that is dropped on it. Raises NoWorkflow."""
    if "workflow" not in texts and "prompt" not in texts:
        other = " but the settings of another program" if "parameters" in texts else ""
        raise NoWorkflow(f"it is a picture without a workflow of ComfyUI's{other}: {_EXPORT}")
    return graph_of(dict(texts))


def is_prompt(graph: Mapping[str, Any]) -> bool:
    """Whether a graph has the form of the API: node id -> node. Nodes of a pack that was not installed when the editor
    exported it count as well."""
    entries = _objects(graph.values())
    if any("class_type" in entry for entry in entries):
        return True
    # A node that is unknown to the editor is exported without its class.
    return bool(entries) and all(isinstance(entry.get("inputs"), dict) for entry in entries)


def require_known(graph: Mapping[str, Any]) -> None:
    """Raise UnknownNodes for nodes of a prompt without a class, and NoWorkflow for nodes without inputs.

    A saved workflow, which is no prompt, passes.
    """
    if isinstance(graph.get("nodes"), list):
        return
    unknown: list[str] = []
    for number, value in graph.items():
        entry = _object(value)
        if entry is None:
            continue
        name = _id_with_title(number, entry)
        if not isinstance(entry.get("class_type"), str):
            unknown.append(name)
        elif not isinstance(entry.get("inputs"), dict):
            raise NoWorkflow(f"node {name} has no list of inputs: export it again")
    if len(unknown) == 1:
        raise UnknownNodes(f"node {unknown[0]} was unknown to the editor: install its pack and export again")
    if unknown:
        names = f"{', '.join(unknown[:-1])} and {unknown[-1]}"
        raise UnknownNodes(f"nodes {names} were unknown to the editor: install their packs and export again")


def kind_of(data: bytes) -> str:
    """A sentence for a message: what a file is that is no JSON, by its first bytes."""
    start = data.lstrip()[:64]
    if not start:
        return "it is empty"
    if data[4:8] == b"ftyp":
        return f"it is a video or a picture of a phone: take the PNG that Save Image has written, or {_EXPORT}"
    for signature, what in _SIGNATURES:
        if start.startswith(signature):
            return f"it is {what}"
    return f"it is damaged, or no JSON at all: {_EXPORT}"


def _parsed(text: str) -> Any:
    """The value in a text of JSON. Raises NoWorkflow."""
    try:
        # Python writes NaN where JSON has no such number, and ComfyUI's pictures may hold it.
        return json.loads(text)
    except RecursionError:
        raise NoWorkflow("its brackets go deeper than those of any workflow") from None
    except ValueError as cause:
        raise NoWorkflow(f"{kind_of(text.encode(errors='replace'))} ({cause})") from cause


def _prompt_of_queue(entry: Sequence[Any]) -> Any:
    """The prompt in an entry of the host's queue or history, [number, id, prompt, ...].

    Raises NoWorkflow for any other list.
    """
    if len(entry) > 2 and isinstance(entry[1], str) and isinstance(entry[2], dict):
        return cast("dict[str, Any]", entry[2])
    if _workflows(entry):
        raise NoWorkflow(f"it is a list of {len(entry)} workflows: put each into a file of its own")
    raise NoWorkflow(f"it is a list, and a workflow is none: {_EXPORT}")


def _workflows(entries: Sequence[Any]) -> bool:
    """Whether all entries of a list are workflows."""
    graphs = _objects(entries)
    return bool(graphs) and all("nodes" in graph or is_prompt(graph) for graph in graphs)


def _wrapped(value: Graph) -> list[Any]:
    """The values of an object in which a graph may stand, the likeliest first; [] where there are none.

    value: a posted prompt, the texts of a picture, the answer of GET /queue, or that of GET /history. Raises NoWorkflow
    where a queue or a history holds several prompts.
    """
    posted = any(name in value for name in _POSTED)
    names = ("prompt", "output", "workflow") if posted else ("workflow", "prompt", "output", "extra_pnginfo")
    inner = [value[name] for name in names if value.get(name)]
    if inner:
        return inner
    queued = [*(_list(value.get("queue_running")) or ()), *(_list(value.get("queue_pending")) or ())]
    if queued:
        return _only(queued, "prompts of a queue")
    prompts: list[Any] = []  # of a history: run id -> {"prompt": [...], "outputs": ..., "status": ...}
    for run in _objects(value.values()):
        if ("outputs" in run or "status" in run) and _list(run.get("prompt")) is not None:
            prompts.append(run["prompt"])
    return _only(prompts, "runs of a history")


def _only(prompts: list[Any], name: str) -> list[Any]:
    """A list of at most one prompt. name: of several, for the message. Raises NoWorkflow for several."""
    if len(prompts) > 1:
        raise NoWorkflow(f"it holds {len(prompts)} {name}: keep one of them")
    return prompts


def _object(value: Any) -> dict[str, Any] | None:
    """A value if it is an object of JSON, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _objects(values: Iterable[Any]) -> list[dict[str, Any]]:
    """The values that are objects of JSON, without all others."""
    return [cast("dict[str, Any]", value) for value in values if isinstance(value, dict)]


def _list(value: Any) -> list[Any] | None:
    """A value if it is a list of JSON, else None."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def _require_own(graph: Graph) -> None:
    """Raise NoWorkflow for a graph of another program, which has "edges" where ComfyUI has "links"."""
    if "links" not in graph and "edges" in graph:
        raise NoWorkflow("it is a workflow of another program, not of ComfyUI")


def _id_with_title(number: str, entry: Mapping[str, Any]) -> str:
    """The id of a node of a prompt, with its title where it has one."""
    meta = _object(entry.get("_meta"))
    title = meta.get("title") if meta else None
    return f"{number} ({title})" if title else str(number)


def _kind(value: Any) -> str:
    """The kind of a JSON value that is neither a text nor a container, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return "a number"
