"""Copies of this pack that ComfyUI has loaded: what to say of a second one, and of one that lies loose among packs."""

import os
import re
import sys
from pathlib import Path

from . import folders

_PROJECT = re.compile(r"""^name *= *["']likeness["'] *$""", re.MULTILINE)
_VERSION = re.compile(r"""^version *= *["']([^"']*)["'] *$""", re.MULTILINE)
_FILES = ("__init__.py", "pyproject.toml", "models_manifest.json", "core", "bridge", "nodes", "web", "locales",
          "workflows", "subgraphs", "pictures")  # fmt: skip
"""The files and folders of the pack that belong into one folder."""


def copies() -> dict[Path, str]:
    """Every copy of the pack that ComfyUI has loaded so far: its folder -> its version, "" where it does not say."""
    versions: dict[Path, str] = {}
    for folder in map(Path, sys.modules["nodes"].LOADED_MODULE_DIRS.values()):  # the host's `nodes`
        try:
            project = (folder / "pyproject.toml").read_text("utf-8", errors="replace")
        except OSError:
            continue
        if _PROJECT.search(project):
            version = _VERSION.search(project)
            versions[folder] = version[1] if version else ""
    return versions


def faults() -> list[str]:
    """What is wrong with how the pack is installed, and what to do, a sentence or two for each fault; [] for none.

    Faults: several copies, and a copy whose files lie loose in the folder of packs. While ComfyUI loads packs, a copy
    sees only those that are loaded before it: the one that is loaded last sees all.
    """
    loaded = copies()
    sentences: list[str] = []
    if len(loaded) > 1:
        places = [f"{folder} (version {version})" if version else f"{folder}" for folder, version in loaded.items()]
        sentences.append(
            f"Likeness is installed {len(loaded)} times: {' and '.join(places)}. ComfyUI takes the nodes of the one "
            "that it loads last, and the scripts of all, so an old one may be what runs. Delete all but one, and "
            "restart ComfyUI."
        )
    packs_folders = {os.path.realpath(folder) for folder in folders.folders("custom_nodes")}
    for folder in loaded:
        if os.path.realpath(folder) in packs_folders:
            sentences.append(
                f"The files of Likeness lie in {folder} itself, and ComfyUI takes each of its folders for a pack: that "
                f"is why it says IMPORT FAILED. Make a folder {folder / 'likeness'}, move the files and folders of "
                f"Likeness into it ({', '.join(_FILES)}, and the rest), and restart ComfyUI."
            )
    return sentences
