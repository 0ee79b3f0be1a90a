"""Likeness: particular people in generated pictures.

Inert on import: the host calls `comfy_entrypoint`, and only that imports the nodes.
"""

import logging

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Return the pack's node list to the host (0.3.64 and later)."""
    try:
        from .nodes.extension import Likeness
    except Exception:
        # The host reports a failing entry point in one line without a traceback; ours is the useful part.
        logging.getLogger("likeness").exception("Likeness could not be loaded")
        raise
    return Likeness()
