"""Copies of this pack in ComfyUI's folders, with a warning about a second one and about one that lies loose in them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import comfy.cli_args

from ...core.text import logger
from . import folders

_PROJECT = re.compile(r"""^name *= *["']likeness["'] *$""", re.MULTILINE)
_VERSION = re.compile(r"""^version *= *["']([^"']*)["'] *$""", re.MULTILINE)
_DISABLED = ".disabled"
"""What ComfyUI and its Manager put behind the name of a folder that is not loaded."""
_FILES = ("__init__.py", "pyproject.toml", "models_manifest.json", "core", "bridge", "nodes", "web", "locales",
          "workflows", "subgraphs", "pictures")  # fmt: skip
"""The files and folders of the pack that belong into one folder."""


@dataclass(frozen=True)
class Copy:
    """The pack in a folder, of this or another version. version: "" where the folder does not say."""

    folder: Path
    version: str

    def __str__(self) -> str:
        return f"{self.folder} (version {self.version})" if self.version else str(self.folder)


def copies() -> list[Copy]:
    """Every copy of the pack that ComfyUI loads from its folders of custom nodes."""
    loaded: list[Copy] = []
    for root in folders.folders("custom_nodes"):
        # Each pack has a folder in the root. The root itself is looked at too: the files may lie loose in it.
        for folder in (root, *_folders_in(root)):
            copy = _copy_in(Path(folder))
            if copy is not None:
                loaded.append(copy)
    return loaded


def _folders_in(root: str) -> list[str]:
    """The folders that ComfyUI takes for packs, as nodes.py of ComfyUI goes through them."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    names = [name for name in names if not name.endswith(_DISABLED)]
    options = comfy.cli_args.args
    if options.disable_all_custom_nodes:
        names = [name for name in names if name in options.whitelist_custom_nodes]
    return [os.path.join(root, name) for name in names]


def _copy_in(folder: Path) -> Copy | None:
    """The pack in this folder; None where something else lies there."""
    if not (folder / "__init__.py").is_file():
        return None
    try:
        project = (folder / "pyproject.toml").read_text("utf-8", errors="replace")
    except OSError:
        return None
    if not _PROJECT.search(project):
        return None
    version = _VERSION.search(project)
    return Copy(folder, version[1] if version else "")


def faults() -> list[str]:
    """What is wrong with how the pack is installed, and what to do; empty where nothing is."""
    loaded = copies()
    sentences: list[str] = []
    if len(loaded) > 1:
        places = " and ".join(map(str, loaded))
        sentences.append(
            f"Likeness is installed {len(loaded)} times: {places}. ComfyUI takes the nodes of the one that it loads "
            "last, and the scripts of all, so an old one may be what runs. Delete all but one, and restart ComfyUI."
        )
    roots = {os.path.realpath(root) for root in folders.folders("custom_nodes")}
    for copy in loaded:
        if os.path.realpath(copy.folder) in roots:
            sentences.append(
                f"The files of Likeness lie in {copy.folder} itself, and ComfyUI takes each of its folders for a pack: "
                f"that is why it says IMPORT FAILED. Make a folder {copy.folder / 'likeness'}, move the files and "
                f"folders of Likeness into it ({', '.join(_FILES)}, and the rest), and restart ComfyUI."
            )
    return sentences


def warn() -> None:
    """Log the faults once for all copies: each of them has a module like this, and they share the log by its name."""
    sentences = faults()
    if sentences and not hasattr(logger, "likeness_told_of_copies"):
        logger.likeness_told_of_copies = True  # pyright: ignore[reportAttributeAccessIssue]
        for sentence in sentences:
            logger.warning(sentence)
