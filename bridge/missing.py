"""What the editor asks when it opens a workflow: which models are missing that it does not offer to fetch itself."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ..core.models import needs
from ..core.text import in_one_line
from . import doctor

ROUTE = "/likeness/missing"


def answer() -> None:
    """Add a route to the running server, if any: a workflow is posted as it is saved, its answer is a list of names.

    It reads the disk as the doctor does, beside the server's loop: a network drive may take its time.
    """
    host: Any = sys.modules.get("server")  # looked up, not imported: scripts use the nodes without it
    server = getattr(getattr(host, "PromptServer", None), "instance", None)
    # Of two copies of the pack the first answers: the server does not start with a route twice.
    if server is None or any(route.path == ROUTE for route in server.routes):
        return

    async def missing(request: Any) -> Any:
        try:
            body = await request.read()  # not text(), which fails with an encoding that a sender makes up
            names = await asyncio.to_thread(lambda: doctor.not_offered(needs.workflow(body.decode())))
        except ValueError as error:
            return host.web.json_response({"error": in_one_line(error)}, status=400)
        return host.web.json_response(names)

    server.routes.post(ROUTE)(missing)
