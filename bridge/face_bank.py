"""Saved people: small safetensors files under the model key `likeness_faces`."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import safetensors
from safetensors.torch import save

from ..core import identities
from ..core.errors import CannotSave, LikenessError, UnsupportedCheckpoint, listed
from ..core.models.files import write_whole
from ..core.names import spelled
from ..core.people import Identity
from ..core.text import plain
from . import folders

KEY = "likeness_faces"
_ENDING = ".safetensors"

# Signs of its command line, folders that end like that, names of dots alone, and its devices whatever their ending.
_NOT_ON_WINDOWS = re.compile(
    r'[<>:"|?*]|[. ]$|^\.+safetensors$|^(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]) *(\.|$)', re.IGNORECASE
)

Prompt = Mapping[str, Any]
"""Nodes by their ids, as the host runs them."""


@dataclass(frozen=True)
class _Saved:
    """A person who was saved. who: the person and the node, for messages. node: its id.

    name: the nodes that its file name comes of, by their ids, where that was made while the graph ran; else none.
    graph: of the run.
    """

    who: str
    node: str | None
    name: Prompt
    graph: Prompt | None


# By path. Entries of earlier runs stay: a node whose name was made while the graph ran may not run again.
_saved: dict[str, _Saved] = {}
# Path -> how often no such file was there when a graph that saves to it was run.
_missing = Counter[str]()


def files() -> list[str]:
    """Saved people, as relative names."""
    return folders.listed(KEY)


def path_of(file: str) -> str:
    """Full path of a saved person. Raises CannotSave, UnsafePath, DeadLink."""
    path = folders.find(file, KEY)
    if path is None:
        folders.refuse_dead_link(file, KEY)
        raise CannotSave(
            f"No saved person is called {file.removesuffix(_ENDING)!r} in {listed(folders.folders(KEY))}.",
            "In Load Person press R and choose one from the list, or save this person with the template Save people "
            "from photos.",
        )
    return path


def save_identity(identity: Identity, filename: str, node: str | None = None, prompt: Prompt | None = None) -> str:
    """Write a person into the first folder of the face bank and return the full path.

    node, prompt: the node that saves and the graph it is in, as the host hands them over. An interrupted write leaves
    an older file of that name as it was. Raises UnsafePath when the name leads out of the folder, BadEmbedding,
    and CannotSave, also without name or photos and where one run would save two people to one file.
    """
    path = _target(filename)
    if not identities.photos_of(identity):
        why = f"{identity.name} has no photo with a face, so there is nothing to save."
        raise CannotSave(why, "Give Person a photo in which the face is found.")
    who = f"{identity.name} (node {node})"
    if others := _others(path, node, prompt):
        why = f"{who} and {', '.join(others)} are to be saved to one file, {path}: one of them would be lost."
        raise CannotSave(why, "Give every Save Person a file name of its own.")
    data = save(*identities.to_tensors(identity))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, data)
    except (OSError, ValueError) as error:
        raise CannotSave(
            f"{plain(os.path.basename(path), 60)} could not be written: {getattr(error, 'strerror', None) or error} "
            f"({plain(path, 300)}).",
            "Choose a shorter or plainer name, and check that the disk has room and the folder may be written to.",
        ) from error
    earlier = [known for known, saved in _saved.items() if saved.node == node and saved.graph is not prompt]
    for known in earlier:
        del _saved[known]  # what the node saves now has another name
    _saved[path] = _Saved(who, node, _behind_the_name(prompt or {}, node), prompt)
    return path


def _others(path: str, node: str | None, prompt: Prompt | None) -> list[str]:
    """Who else is saved to this path by the same graph: nodes of that name, also those that need not run again, and
    whoever was saved already under a name that was made while the graph ran, in this run or in an earlier one."""
    if prompt is None:
        return []
    saved = _saved.get(path)
    if saved and saved.graph is prompt:
        return [saved.who]
    if saved and saved.node != node and saved.name and _behind_the_name(prompt, saved.node) == saved.name:
        return [saved.who]  # of an earlier run: its node would make the same name again, and need not run again
    own = prompt.get(node or "")
    if own is None:
        return []  # not in the graph itself: another node made this one while it ran
    name, kind = own["inputs"].get("filename"), own["class_type"]
    return [
        f"node {number}"
        for number, other in prompt.items()
        if number != node and other["class_type"] == kind and _same(other["inputs"].get("filename"), name, path)
    ]


def _behind_the_name(prompt: Prompt, node: str | None) -> Prompt:
    """The nodes that a Save Person has its file name from, by their ids; none where it is typed."""
    behind: dict[str, Any] = {}
    links = [prompt.get(node or "", {}).get("inputs", {}).get("filename")]
    while links:
        link = links.pop()
        if not isinstance(link, list) or link[0] in behind or link[0] not in prompt:
            continue
        source = prompt[link[0]]
        behind[link[0]] = source
        links += source["inputs"].values()
    return behind


def _same(other: object, name: object, path: str) -> bool:
    """Whether another node's file name, typed or linked, is this node's: the same text or link, or the same file."""
    try:
        return other == name or _target(other) == path
    except LikenessError:
        return False


def fingerprint(filename: str | None) -> int:
    """Another number than before where there is no file of this name (any more). None: linked, not known before."""
    if filename is None:
        return 0
    try:
        path = _target(filename)
    except LikenessError:
        return 0  # told when it runs
    _missing[path] += not os.path.exists(path)
    return _missing[path]


def _target(filename: object) -> str:
    # A workflow from Windows has family\anna, which is family/anna there; and a Mac takes two spellings of José for one
    # file, of which one person would be lost.
    name = spelled(plain(filename))
    if name.lower().endswith(_ENDING):
        name = name[: -len(_ENDING)]
    if not name or name.endswith("/"):
        raise CannotSave(f"The file name {str(filename)!r} is empty.", "Write a name, such as anna or family/anna.")
    path = folders.within(folders.folders(KEY)[0], name) + _ENDING
    if unfit := [part for part in PurePath(name + _ENDING).parts if part != ".." and _NOT_ON_WINDOWS.search(part)]:
        raise CannotSave(
            f"The file name {plain(name, 60)!r} has {unfit[0].removesuffix(_ENDING)!r} in it, which is no name of a "
            "file on Windows.",
            "People share their saved faces: use letters, digits, spaces, - and _.",
        )
    return path


def load_identity(file: str) -> Identity:
    """Read a person. Raises UnsupportedCheckpoint for another or a damaged file, BadEmbedding, UnsafePath."""
    path, expected = path_of(file), "a person saved by Save Person"
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            # Cloned, so that the file is not held open and can be replaced.
            tensors = {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118 - not a mapping
            metadata = opened.metadata() or {}
    except safetensors.SafetensorError as error:
        advice = "Save the person again from the photos."
        raise UnsupportedCheckpoint(path, f"damaged ({error})", expected, advice) from error
    except OSError as error:
        found, advice = f"a file that cannot be read ({error})", "Look at its permissions."
        raise UnsupportedCheckpoint(path, found, expected, advice) from error
    return identities.from_tensors(tensors, metadata, path)
