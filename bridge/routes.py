"""What the pack's web scripts and help pages ask of the running server: missing models and pictures."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from ..core.models import manifest, needs
from ..core.text import in_one_line
from . import doctor, notes

MISSING = "/likeness/missing"
_PACK = Path(__file__).absolute().parents[1]


def serve() -> None:
    """Add the routes to the running server, if any.

    Pictures of translated help pages: these lie one folder deeper than the English ones and link to ../img, as GitHub
    reads them. The host's help panel reads all links from web/docs, so there they lead to web/img.
    """
    server = notes.running_server()
    # Of two copies of the pack the first answers: the server does not start with a route twice.
    if server is None or any(route.path == MISSING for route in server.routes):
        return
    server.routes.post(MISSING)(_missing)
    server.routes.static(f"/extensions/{_PACK.name}/img", _PACK / "web" / "docs" / "img")


async def _missing(request: Any) -> Any:
    """A workflow is posted as it is saved; the answer names the published files that are missing, and says how large
    they are together. It reads the disk beside the server's loop: a network drive may take its time."""
    try:
        body = await request.read()  # not text(), which fails with an encoding that a sender makes up
        lost = await asyncio.to_thread(lambda: doctor.missing(needs.workflow(body.decode())))
    except (ValueError, sys.modules["server"].web.RequestPayloadError) as error:  # the latter: not packed as it says
        return _json({"error": in_one_line(error)}, 400)
    return _json({"names": [model.name for model in lost], "size": manifest.together(lost)})


def _json(answer: Any, status: int = 200) -> Any:
    return sys.modules["server"].web.json_response(answer, status=status)
