"""Notes for the user on the node itself and in the log, where the result could be better; progress bar and cancel."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui
from torch import Tensor

from ..core.text import logger, plain_lines


def node_of(cls: type[io.ComfyNode]) -> str | None:
    """The id of the running node (a class with Hidden.unique_id), or None outside of a graph."""
    return cls.hidden.unique_id if cls.hidden else None


def show(node_id: str | None, image: Tensor) -> None:
    """Put a picture, IMAGE (B, H, W, 3), into a node that has run already; only a running server can show it."""
    server = running_server()
    if node_id is None or server is None:
        return
    shown = {"node": node_id, "display_node": node_id, "output": ui.PreviewImage(image).as_dict()}
    prompt = getattr(server, "last_prompt_id", None)
    server.send_sync("executed", {**shown, "prompt_id": prompt}, server.client_id)


# What stands under each node since it last ran: a browser shows one text, until another one takes its place.
_told: dict[str, list[str]] = {}


def clear(node_id: str | None) -> None:
    """Take away what stands under the node: it is about the run before."""
    if node_id is not None and _told.pop(node_id, None):
        _send(node_id)


def tell(node_id: str | None, text: str) -> None:
    """Show `text` under the node (None: nowhere), below what stands there, and log it; "" is nothing to tell.

    Without a running server it is only logged.
    """
    if not text:
        return
    logger.warning(text)
    if node_id is not None and running_server():
        _told.setdefault(node_id, []).append(text)
        _send(node_id)


# What the last sampling run that had something to tell about a topic has told under a node, and in which prompt.
_of_runs: dict[tuple[str, str], tuple[Any, str]] = {}


def tell_of_run(node_id: str | None, topic: str, text: str) -> None:
    """Show under a node (None: nowhere) what a sampling run has found about `topic`, and log it; "" is nothing found.

    A sampler runs several times for one run of the node: again for each new seed, and for each latent of a list. So
    the same text is shown and logged once in a prompt, another text takes its place, and a run of a later prompt that
    has found nothing takes it away. Nothing found leaves what another sampler of the same prompt has told.
    Without a running server the text is only logged.
    """
    server = running_server()
    if node_id is None or server is None:
        if text:
            logger.warning(text)
        return
    prompt = getattr(server, "last_prompt_id", None)
    before, shown = _of_runs.get((node_id, topic), (None, ""))
    standing = _told.get(node_id, [])
    if before == prompt and (text == "" or (text == shown and text in standing)):
        return
    others = [line for line in standing if line != shown]
    if text:
        logger.warning(text)
        _of_runs[node_id, topic] = prompt, text
        _told[node_id] = [*others, text]
        # Again in a new prompt: of a node that is not run again, the browser shows what it had told by itself.
        _send(node_id)
        return
    _of_runs.pop((node_id, topic), None)
    if others != standing:
        _told[node_id] = others
        _send(node_id)


@dataclass(frozen=True)
class _BoxNotes:
    """What stands under a box (a subgraph). prompt: in which run that was sent. by_node: notes of the nodes inside."""

    prompt: Any
    by_node: dict[str, str]


_told_inside: dict[str, _BoxNotes] = {}
"""By the id of the box."""


def _send(node_id: str) -> None:
    """A node in a subgraph, <box>:<node>, is not seen from outside: its text stands under every box around it too."""
    server = running_server()
    text = _text(node_id)
    server.send_progress_text(text or " ", node_id)
    prompt = getattr(server, "last_prompt_id", None)
    box = node_id
    while ":" in box:
        box = box.rpartition(":")[0]
        by_node: dict[str, str] = {}
        notes = _told_inside.get(box)
        if notes is not None and notes.prompt == prompt:
            by_node.update(notes.by_node)
        by_node[node_id] = text
        _told_inside[box] = _BoxNotes(prompt, by_node)
        # In the order of the nodes in the graph: that in which they ran may be the reverse.
        lines = [by_node[node] for node in sorted(by_node, key=_numbers) if by_node[node]]
        server.send_progress_text(LINE_BREAK.join(lines) or " ", box)


def _numbers(node_id: str) -> list[int]:
    """Of a node and the boxes around it, as the editor has numbered them."""
    return [int(part) if part.isdecimal() else 0 for part in node_id.split(":")]


LINE_BREAK = "  \n"
"""Between two lines of a note. Vue nodes read a note as Markdown, in which a line break alone is a space; two
spaces before it make it a break. Classic nodes show no spaces at the end of a line."""

WORD_JOINER = "\u2060"
"""A character that is not seen and takes no room."""
# "<" before a letter begins a tag and "&" an entity; [[label|address]] and __LNK0__ become links in frontend 1.49.6.
_READ_AS_HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|\[(?=\[)")
# At the edge of a word it begins or ends emphasis: Vue nodes read a note as Markdown, too.
_UNDERSCORE_AT_AN_EDGE = re.compile(r"(?<!\w)_|_(?!\w)")


def _text(node_id: str) -> str:
    """The note under a node, as characters that mean the same as HTML, as Markdown and as plain text.

    Frontend 1.27.10 reads a note as HTML and runs its scripts, 1.49.6 reads it as HTML without its tags, Vue nodes read
    it as Markdown, and 1.58.1 shows every character of it on classic nodes, so that an entity would be seen as "&lt;".
    A word joiner behind what would begin a tag, an entity or a link makes it the character alone in all of them; around
    an underscore, as if it stood inside of a word.
    """
    text = plain_lines("\n".join(_told.get(node_id, ())))
    text = text.replace("\n", LINE_BREAK)
    text = _READ_AS_HTML.sub(lambda match: match[0] + WORD_JOINER, text)
    return _UNDERSCORE_AT_AN_EDGE.sub(f"{WORD_JOINER}_{WORD_JOINER}", text)


def kept(output: io.NodeOutput, node_id: str | None) -> io.NodeOutput:
    """The output of a node that has run, with the note under it: the host gives it out with the previews of that run.

    It sends nothing of a node that it does not run again; web/reruns.js then looks there.
    """
    note = _text(node_id or "")
    if note:
        previews = output.ui.as_dict() if hasattr(output.ui, "as_dict") else output.ui
        output.ui = {**(previews or {}), "likeness_note": [note]}
    return output


def running_server() -> Any:
    """The running server, or None. Looked up, not imported: scripts use the nodes without it."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


T = TypeVar("T")


def stepwise(items: Sequence[T]) -> Iterator[T]:
    """Yield the items, moving the node's progress bar after each one and stopping where the user cancels."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)
