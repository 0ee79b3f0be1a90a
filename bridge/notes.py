"""Notes for the user on the node itself and in the log, where the result is right but could be better."""

from __future__ import annotations

import html
import sys
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..core.text import logger, plain_lines


def node_of(cls: type[io.ComfyNode]) -> str | None:
    """The id of the running node (a class with Hidden.unique_id), or None outside of a graph."""
    return cls.hidden.unique_id if cls.hidden else None


def show(node_id: str | None, image: Tensor) -> None:
    """Put a picture, IMAGE (B, H, W, 3), into a node that has run already; only a running server can show it."""
    server: Any = getattr(sys.modules.get("server"), "PromptServer", None)
    if node_id is None or not hasattr(server, "instance"):
        return
    shown = {"node": node_id, "display_node": node_id, "output": ui.PreviewImage(image).as_dict()}
    prompt = getattr(server.instance, "last_prompt_id", None)
    server.instance.send_sync("executed", {**shown, "prompt_id": prompt}, server.instance.client_id)


# A browser takes a note away for nothing but the next one: nodes whose last note stands there.
_told: set[str] = set()


def tell(node_id: str | None, text: str) -> None:
    """Show `text` under the node (None: nowhere) and log it; "" takes an earlier one away.

    Without a running server it is only logged.
    """
    if text:
        logger.warning(text)
    # Looked up, not imported: a script that uses the nodes without the server has no need of it.
    server: Any = getattr(sys.modules.get("server"), "PromptServer", None)
    if node_id is not None and hasattr(server, "instance") and (text or node_id in _told):
        (_told.add if text else _told.discard)(node_id)
        server.instance.send_progress_text(_literal(text) or " ", node_id)


def _literal(text: str) -> str:
    """The text as HTML that shows nothing but the text.

    The frontends read a note as HTML: 1.27.10 runs its scripts, 1.49.6 drops its tags and makes links of
    [[label|address]] and __LNK0__. Both show these entities as the letters they are.
    """
    return html.escape(plain_lines(text), quote=False).replace("[", "&#91;").replace("_", "&#95;")
