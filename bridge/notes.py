"""Notes for the user on the node itself and in the log, where the result is right but could be better."""

from __future__ import annotations

import logging
import sys
from typing import Any

logger = logging.getLogger("likeness")


def tell(node_id: str | None, text: str) -> None:
    """Show `text` under the node (None: nowhere) and log it. Without a running server it is only logged."""
    logger.warning(text)
    # Looked up, not imported: a script that uses the nodes without the server has no need of it.
    server: Any = getattr(sys.modules.get("server"), "PromptServer", None)
    if node_id is not None and hasattr(server, "instance"):
        server.instance.send_progress_text(text, node_id)
