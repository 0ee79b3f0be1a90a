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
    message = {
        "node": node_id,
        "display_node": node_id,
        "output": ui.PreviewImage(image).as_dict(),
        "prompt_id": getattr(server, "last_prompt_id", None),
    }
    server.send_sync("executed", message, server.client_id)


_notes_under: dict[str, list[str]] = {}
"""The notes that stand under a node since it last ran, by the node's id. A browser shows them as one text."""


def clear(node_id: str | None) -> None:
    """Take away the notes under the node: they are about the run before."""
    if node_id is not None and _notes_under.pop(node_id, None):
        _send(node_id)


def tell(node_id: str | None, text: str) -> None:
    """Show `text` under the node (None: nowhere), below the notes that stand there, and log it; "" is no note.

    Without a running server it is only logged.
    """
    if not text:
        return
    logger.warning(text)
    if node_id is not None and running_server():
        _notes_under.setdefault(node_id, []).append(text)
        _send(node_id)


@dataclass(frozen=True)
class _RunNote:
    """The note of a sampling run under a node. prompt: the id of the prompt in which it was written."""

    prompt: Any
    text: str


_run_notes: dict[tuple[str, str], _RunNote] = {}
"""The last note of a sampling run about a topic, by id of the node and topic."""


def tell_of_run(node_id: str | None, topic: str, text: str) -> None:
    """Show under a node (None: nowhere) the note of a sampling run about `topic`, and log it; "" is no note.

    A sampler runs several times for one run of the node: again for each new seed, and for each latent of a list. So
    the same text is shown and logged once in a prompt, another text takes its place, and a run of a later prompt that
    has no note takes it away. A run without a note leaves that of another sampler of the same prompt.
    Without a running server the text is only logged.
    """
    server = running_server()
    if node_id is None or server is None:
        if text:
            logger.warning(text)
        return
    prompt = getattr(server, "last_prompt_id", None)
    earlier_note = _run_notes.get((node_id, topic), _RunNote(None, ""))
    standing = _notes_under.get(node_id, [])
    is_of_this_prompt = earlier_note.prompt == prompt
    if is_of_this_prompt and (text == "" or (text == earlier_note.text and text in standing)):
        return
    other_notes = [note for note in standing if note != earlier_note.text]
    if text:
        logger.warning(text)
        _run_notes[node_id, topic] = _RunNote(prompt, text)
        _notes_under[node_id] = [*other_notes, text]
        # The same text is sent again in a new prompt: for a node that is not run again, the browser shows only the
        # notes that the node itself has written.
        _send(node_id)
        return
    _run_notes.pop((node_id, topic), None)
    if other_notes != standing:
        _notes_under[node_id] = other_notes
        _send(node_id)


@dataclass(frozen=True)
class _BoxNotes:
    """The notes under a box (a subgraph).

    prompt: the id of the prompt in which they were sent. by_node: by id of a node inside, its notes.
    """

    prompt: Any
    by_node: dict[str, str]


_box_notes: dict[str, _BoxNotes] = {}
"""The notes of each box, by its id."""


def _send(node_id: str) -> None:
    """Show the notes of a node in the browser.

    A node in a subgraph, whose id is <box>:<node>, is not visible from outside. So its notes stand under every box
    around it as well.
    """
    server = running_server()
    text = _note_text(node_id)
    server.send_progress_text(text or " ", node_id)
    prompt = getattr(server, "last_prompt_id", None)
    box = node_id
    while ":" in box:
        box = box.rpartition(":")[0]
        by_node: dict[str, str] = {}
        notes = _box_notes.get(box)
        if notes is not None and notes.prompt == prompt:
            by_node.update(notes.by_node)
        by_node[node_id] = text
        _box_notes[box] = _BoxNotes(prompt, by_node)
        # The notes of all nodes in the box, sorted by the numbers of the nodes in the graph and not by when they have
        # run.
        lines = [by_node[node] for node in sorted(by_node, key=_editor_numbers) if by_node[node]]
        server.send_progress_text(LINE_BREAK.join(lines) or " ", box)


def _editor_numbers(node_id: str) -> list[int]:
    """The numbers that the editor has given to a node and the boxes around it, from outside to inside."""
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


def _note_text(node_id: str) -> str:
    """The note under a node, as characters that mean the same as HTML, as Markdown and as plain text.

    Frontend 1.27.10 reads a note as HTML and runs its scripts, 1.49.6 reads it as HTML without its tags, Vue nodes read
    it as Markdown, and 1.58.1 shows every character of it on classic nodes, so that an entity would be seen as "&lt;".
    So a word joiner is put after every character that would begin a tag, an entity or a link, which then stays that
    character for all of them. Underscores at the edge of a word get one on both sides, so that they begin no emphasis.
    """
    text = plain_lines("\n".join(_notes_under.get(node_id, ())))
    text = text.replace("\n", LINE_BREAK)
    text = _READ_AS_HTML.sub(lambda match: match[0] + WORD_JOINER, text)
    return _UNDERSCORE_AT_AN_EDGE.sub(f"{WORD_JOINER}_{WORD_JOINER}", text)


def with_note(output: io.NodeOutput, node_id: str | None) -> io.NodeOutput:
    """The output of a node that has run, with the notes under it beside its previews.

    The host keeps the output of a node that it does not run again, and sends no notes of it. web/reruns.js then reads
    the notes in the output.
    """
    note = _note_text(node_id or "")
    if note:
        previews = output.ui.as_dict() if hasattr(output.ui, "as_dict") else output.ui
        output.ui = {**(previews or {}), "likeness_note": [note]}
    return output


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
