"""The pictures that come with the pack, where Load Image looks for them: the workflows open on them."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ..core.models.files import write_whole
from ..core.text import logger
from .notes import running_server

PICTURES = Path(__file__).resolve().parents[1] / "pictures"


def provide() -> None:
    """Copy what is missing into the input folder of the running server, if any; nothing there is written over."""
    if running_server() is None:
        return
    folder = Path(folder_paths.get_input_directory())
    try:
        for picture in sorted(PICTURES.glob("*.png")):
            if not os.path.lexists(folder / picture.name):
                write_whole(str(folder / picture.name), picture.read_bytes())
    except OSError as error:
        logger.warning("The example pictures of the workflows are in %s and not in the input folder: %s",
                       PICTURES, error)  # fmt: skip
