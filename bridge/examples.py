"""The pictures that come with the pack, where Load Image looks for them: the workflows open on them."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import folder_paths

from ..core.text import logger
from .notes import running_server

PICTURES = Path(__file__).resolve().parents[1] / "examples"


def provide() -> None:
    """Copy what is missing into the input folder of the running server, if any; nothing there is written over."""
    if running_server() is None:
        return
    folder = Path(folder_paths.get_input_directory())
    try:
        for picture in sorted(PICTURES.glob("*.png")):
            if not os.path.lexists(folder / picture.name):
                _copy(picture, folder / picture.name)
    except OSError as error:
        logger.warning("The example pictures of the workflows are in %s and not in the input folder: %s",
                       PICTURES, error)  # fmt: skip


def _copy(picture: Path, to: Path) -> None:
    """There whole or not at all. Under a name of its own until then: it follows no link, and meets no other server."""
    unfinished = to.with_name(f".{uuid4().hex}.part")
    try:
        with open(unfinished, "xb") as file:
            file.write(picture.read_bytes())
        os.replace(unfinished, to)
    finally:
        unfinished.unlink(missing_ok=True)
