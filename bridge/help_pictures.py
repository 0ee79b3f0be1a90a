"""Pictures of the translated help pages, which lie one folder deeper than the English ones.

Their links lead to ../img, as GitHub reads them. The host's help panel reads all links from web/docs, so there they
lead to web/img: the pictures are served under that address, too.
"""

from __future__ import annotations

from pathlib import Path

from .notes import running_server

_PACK = Path(__file__).absolute().parents[1]


def serve() -> None:
    """Add the address to the running server, if any; the host has one for web/ under the name of the pack's folder."""
    server = running_server()
    if server is not None:
        server.routes.static(f"/extensions/{_PACK.name}/img", _PACK / "web" / "docs" / "img")
