"""Packs of other authors in the custom_nodes of a ComfyUI: which are there, and their nodes in this process."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import environment
import folder_paths
import torch


class PackNotLoaded(environment.SetupError):
    """A pack is installed, and ComfyUI cannot import it."""


def _plain(name: str) -> str:
    """A name of a folder without what installers change in it: capital letters, hyphens and underscores."""
    return re.sub(r"[-_.]", "", name).lower()


def folder_of(pack: str) -> Path | None:
    """Where a pack is installed; None where it is not.

    pack: the name of its repository. ComfyUI's own installers write it with other letters.
    """
    for custom_nodes in folder_paths.get_folder_paths("custom_nodes"):
        if not Path(custom_nodes).is_dir():
            continue
        for folder in sorted(Path(custom_nodes).iterdir()):
            if folder.is_dir() and _plain(folder.name) == _plain(pack):
                return folder
    return None


def folders(packs: Iterable[str]) -> dict[str, Path]:
    """Where those of these packs are that are installed. What is not there is said."""
    found: dict[str, Path] = {}
    for pack in packs:
        folder = folder_of(pack)
        if folder is None:
            environment.say(f"{pack} is not in custom_nodes: left out.")
        else:
            found[pack] = folder
    return found


def commit_of(folder: Path) -> str:
    """The first seven letters of the commit that is checked out, or "no commit known" where git does not say one."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=7", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return "no commit known"
    # A folder without a repository of its own may lie in somebody else's.
    if answer.returncode or not (folder / ".git").exists():
        return "no commit known"
    return answer.stdout.strip()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of a server of ComfyUI that listens nowhere.

    Packs such as Impact Pack and AnimateDiff-Evolved add routes to the server while they are imported.
    """
    import server

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    server.PromptServer(loop)
    return loop


def _host_nodes() -> Any:
    """ComfyUI's module `nodes`, not the folder of this pack."""
    return importlib.import_module("nodes")


@cache
def load(folder: Path) -> None:
    """Import a pack as ComfyUI does when it starts. Raises PackNotLoaded; ComfyUI's own message is in the log."""
    loop = _loop()
    if not loop.run_until_complete(_host_nodes().load_custom_node(str(folder))):
        raise PackNotLoaded(
            f"ComfyUI cannot import {folder}. Its message is above. Install what the pack's requirements.txt names."
        )


def loaded(packs: Iterable[str]) -> dict[str, str]:
    """Load those of these packs that are installed. Returns the commit of each; what is not installed is left out.

    A pack that cannot be imported is said and left out too.
    """
    commits: dict[str, str] = {}
    for pack, folder in folders(packs).items():
        try:
            load(folder)
        except PackNotLoaded as failure:
            environment.say(f"{failure} It is left out.")
            continue
        commits[pack] = commit_of(folder)
        environment.say(f"{pack} {commits[pack]} is loaded.")
    return commits


def node_class(node_id: str) -> Any:
    """The class of a node of ComfyUI or of a loaded pack. Raises SetupError where there is none of this id."""
    classes = _host_nodes().NODE_CLASS_MAPPINGS
    if node_id not in classes:
        raise environment.SetupError(f"There is no node {node_id}. Is its pack older or newer than this script knows?")
    return classes[node_id]


def node_ids() -> list[str]:
    """Of all nodes of ComfyUI and of the packs that are loaded."""
    return list(_host_nodes().NODE_CLASS_MAPPINGS)


def call(node_id: str, **inputs: Any) -> tuple[Any, ...]:
    """The outputs of a node of ComfyUI or of a loaded pack."""
    output = _called(node_id, inputs)
    return tuple(getattr(output, "args", output))


@torch.no_grad()  # as ComfyUI runs nodes: packs turn pictures into numpy, which refuses tensors with a gradient
def _called(node_id: str, inputs: dict[str, Any]) -> Any:
    kind = node_class(node_id)
    # A node of the newer interface is a class with a schema and no instance.
    if hasattr(kind, "define_schema"):
        output = kind.execute(**inputs)
    else:
        instance = kind()
        output = getattr(instance, kind.FUNCTION)(**inputs)
    if inspect.isawaitable(output):
        return _loop().run_until_complete(_awaited(output))
    return output


async def _awaited(output: Any) -> Any:
    return await output
