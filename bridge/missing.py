"""What the editor asks when it opens a workflow: which of its models are missing."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ..core.models import manifest, needs
from ..core.text import in_one_line
from . import doctor
from .notes import running_server

ROUTE = "/likeness/missing"


def answer() -> None:
    """Add a route to the running server, if any: a workflow is posted as it is saved; the answer names the published
    files that are missing, and says how large they are together.

    It reads the disk as the doctor does, beside the server's loop: a network drive may take its time.
    """
    server = running_server()
    # Of two copies of the pack the first answers: the server does not start with a route twice.
    if server is None or any(route.path == ROUTE for route in server.routes):
        return
    json_response = sys.modules["server"].web.json_response

    async def missing(request: Any) -> Any:
        try:
            body = await request.read()  # not text(), which fails with an encoding that a sender makes up
            lost = await asyncio.to_thread(lambda: doctor.missing(needs.workflow(body.decode())))
        except ValueError as error:
            return json_response({"error": in_one_line(error)}, status=400)
        return json_response({"names": [model.name for model in lost], "size": manifest.together(lost)})

    server.routes.post(ROUTE)(missing)
