"""Notes for the user on the node itself and in the log, where the result could be better; progress bar and cancel."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui
from torch import Tensor

from ...core.checks.text import logger, plain_lines


def node_of(cls: type[io.ComfyNode]) -> str | None:
    """The id of the running node in the graph that the user sees; None outside of a graph.

    All that is sent to the page and looked up in the prompt goes by this id. A node may expand into others while it
    runs, such as the turns of a loop: for these it is the id of the node that the user has placed. cls: the class of
    the running node, with its hidden inputs.
    """
    graph = cls.hidden and cls.hidden.dynprompt
    return graph.get_display_node_id(cls.hidden.unique_id) if graph else None


NOTE = "likeness_note"
"""The name by which web/notes.js finds notes: in what a node shows, and as an event while a sampler runs."""


def show(node_id: str | None, image: Tensor) -> None:
    """Put a picture, IMAGE (B, H, W, 3), into a node that has run already, in the browser that has started the run."""
    if node_id is not None:
        output = ui.PreviewImage(image).as_dict()
        _send("executed", {"node": node_id, "display_node": node_id, "output": output})


def _send(event: str, message: dict[str, Any]) -> None:
    """Send an event of the running prompt to the browser that has started it; `message` gets the prompt's id, in place.

    Where no browser has started it, as in a run by the API, nothing is sent: the host would send it to all browsers.
    """
    server = running_server()
    if server is not None and server.client_id is not None:
        message["prompt_id"] = getattr(server, "last_prompt_id", None)
        server.send_sync(event, message, server.client_id)


_of_running_node: ContextVar[list[str] | None] = ContextVar("likeness_notes_of_running_node", default=None)
"""The notes that the node that runs here has told; None where no node runs."""


def tell(text: str) -> None:
    """Log `text`, and show it under the node that runs, once it has run; "" is no note."""
    if not text:
        return
    logger.warning(text)
    told = _of_running_node.get()
    if told is not None:
        told.append(text)


def with_notes(execute: Callable[[], io.NodeOutput]) -> io.NodeOutput:
    """Run a node, and return its output, to which the notes that are told meanwhile are added in place.

    They stand in `ui` beside the previews, and the host keeps both for as long as it keeps the result of the node.
    """
    told: list[str] = []
    token = _of_running_node.set(told)
    try:
        output = execute()
    finally:
        _of_running_node.reset(token)
    note = plain_lines("\n".join(told))
    # An output that shows anything gets a note too, if only "": the host joins what the items of a list show, and fails
    # where one item lacks a key that another has.
    if note or output.ui is not None:
        previews = output.ui.as_dict() if hasattr(output.ui, "as_dict") else output.ui
        output.ui = {**(previews or {}), NOTE: [note]}
    return output


_logged: dict[Any, set[tuple[str, str, str]]] = {}
"""The last prompt with notes of sampling runs, by its id -> those that are logged: the node's id, the topic, the text.

It stands here because the samplers of a node's MODEL share nothing else that may change: each run of one has objects of
its own, and what a node has put on a socket stays as it is.
"""


def tell_of_run(node_id: str | None, topic: str, text: str) -> None:
    """Show under a node (None: nowhere) the note of a sampling run about `topic`, and log it once in a prompt.

    text: "" where a run has nothing to say about the topic. "" is not logged, but sent as well: the browser shows the
    last text of a topic, and takes it away for "" of a later prompt (not for "" of another sampler of the same prompt).
    A note is logged once, because samplers run several times for one run of the node: for each seed and each latent.
    """
    note = (node_id or "", topic, text)
    prompt_id = getattr(running_server(), "last_prompt_id", None)
    # Without a server, as in a script, nothing tells one run of the node from the next: each is logged.
    if prompt_id is None or prompt_id not in _logged:
        _logged.clear()
    logged = _logged.setdefault(prompt_id, set())
    if text and note not in logged:
        logger.warning(text)
        logged.add(note)
    if node_id is not None:
        _send(NOTE, {"node": node_id, "topic": topic, "text": plain_lines(text)})


def running_server() -> Any:
    """The running server, or None. It is looked up and not imported, because scripts use the nodes without it."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


T = TypeVar("T")


def stepwise(items: Sequence[T]) -> Iterator[T]:
    """Yield the items, moving the node's progress bar after each one and stopping where the user cancels."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)
