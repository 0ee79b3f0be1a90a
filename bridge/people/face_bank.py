"""Saved people: small safetensors files under the model key `likeness_faces`."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import safetensors
from safetensors.torch import save

from ...core import identities
from ...core.errors import CannotSave, LikenessError, UnsupportedCheckpoint, listed
from ...core.models.files import write_whole
from ...core.models.tensors import opened
from ...core.names import ending, spelled
from ...core.people import Identity
from ...core.text import plain
from ..host import folders

KEY = "likeness_faces"
_ENDING = ".safetensors"

_UNFIT_ON_WINDOWS = re.compile(
    r'[<>:"|?*]|[. ]$|^\.+safetensors$|^(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]) *(\.|$)', re.IGNORECASE
)
"""Finds what no file or folder may be called on Windows: signs of its command line, a dot or a space at the end, names
of dots alone, and names of its devices, whatever their ending."""

Prompt = Mapping[str, Any]
"""Nodes by their ids, as the host runs them."""


@dataclass(frozen=True)
class _SavedPerson:
    """A person that a node has saved.

    person_and_node: in words, for messages. node_id: of the Save Person node. name_sources: the nodes from which it has
    got the file name, by their ids, see _name_sources; none where the name was typed. graph: of the run; each run
    has an object of its own.
    """

    person_and_node: str
    node_id: str | None
    name_sources: Prompt
    graph: Prompt | None


_saved_at: dict[str, _SavedPerson] = {}
"""The saved people, by path of the file. Entries of earlier runs stay, because a node whose file name comes from other
nodes may not run again."""
_times_missing = Counter[str]()
"""How often no file was there, by path, when a graph that saves to it was run."""


def files() -> list[str]:
    """Saved people, as relative names."""
    return folders.file_names(KEY)


def path_of(file: str) -> str:
    """Full path of a saved person, by the name of the file with or without its ending.

    Raises CannotSave, UnsafePath, DeadLink.
    """
    path = folders.find(file, KEY)
    if path is None and file and ending(file) != _ENDING:
        path = folders.find(f"{file}{_ENDING}", KEY)
    if path is None:
        folders.refuse_dead_link(file, KEY)
        raise CannotSave(
            f"No saved person is called {file.removesuffix(_ENDING)!r} in {listed(folders.folders(KEY))}.",
            "In Load Person press R and choose one from the list, or save this person with the template Save people "
            "from photos.",
        )
    return path


def save_identity(identity: Identity, filename: str, node_id: str | None = None, prompt: Prompt | None = None) -> str:
    """Write a person into the first folder of the face bank and return the full path.

    node_id: of the node that saves. prompt: the graph it is in, as the host hands it over. An interrupted write
    leaves an older file of that name as it was. Raises UnsafePath for a name that leads out of the folder, BadEmbedding
    for numbers that no face has, and CannotSave for an empty or unfit name, for a person without photos, for a file
    that cannot be written, and where one run would save two people to one file.
    """
    path = _path_to_save(filename)
    if not identities.photos_of(identity):
        why = f"{identity.name} has no photo with a face, so there is nothing to save."
        raise CannotSave(why, "Give Person a photo in which the face is found.")
    person_and_node = f"{identity.name} (node {node_id})"
    rivals = _rivals(path, node_id, prompt)
    if rivals:
        people = f"{person_and_node} and {', '.join(rivals)}"
        why = f"{people} are to be saved to one file, {path}: one of them would be lost."
        raise CannotSave(why, "Give every Save Person a file name of its own.")
    tensors, metadata = identities.to_tensors(identity)
    data = save(tensors, metadata)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, data)
    except (OSError, ValueError) as error:
        raise CannotSave(
            f"{plain(os.path.basename(path), 60)} could not be written: {getattr(error, 'strerror', None) or error} "
            f"({plain(path, 300)}).",
            "Choose a shorter or plainer name, and check that the disk has room and the folder may be written to.",
        ) from error
    _forget_earlier_saves(node_id, prompt)
    _saved_at[path] = _SavedPerson(person_and_node, node_id, _name_sources(prompt or {}, node_id), prompt)
    return path


def _forget_earlier_saves(node_id: str | None, prompt: Prompt | None) -> None:
    """Forget the names under which a node has saved in earlier runs: it saves under another name now."""
    earlier_paths: list[str] = []
    for path, saved in _saved_at.items():
        if saved.node_id == node_id and saved.graph is not prompt:
            earlier_paths.append(path)
    for path in earlier_paths:
        del _saved_at[path]


def _rivals(path: str, node_id: str | None, prompt: Prompt | None) -> list[str]:
    """The other Save Person nodes, in words, of the same graph that save to this path."""
    if prompt is None:
        return []
    saved = _saved_at.get(path)
    if saved and _is_saved_by_graph(saved, node_id, prompt):
        return [saved.person_and_node]
    return _nodes_of_same_file(path, node_id, prompt)


def _is_saved_by_graph(saved: _SavedPerson, node_id: str | None, prompt: Prompt) -> bool:
    """Whether a person who lies where a node is going to save is there by the same graph, and so would be lost.

    That is one whom this run has saved already, and one of an earlier run whose node is in this graph and would save
    there again. node_id: of the node that is going to save.
    """
    if saved.graph is prompt:
        return True
    return saved.node_id != node_id and _has_same_name_sources(saved, prompt)


def _nodes_of_same_file(path: str, node_id: str | None, prompt: Prompt) -> list[str]:
    """The other Save Person nodes of a graph, in words, whose file name means this path, whether they run again or not.

    [] where the node that saves is not in the graph itself: another node has made it while it ran.
    """
    saving_node = prompt.get(node_id or "")
    if saving_node is None:
        return []
    filename = saving_node["inputs"].get("filename")
    rivals: list[str] = []
    for other_id, other_node in prompt.items():
        is_save_person = other_id != node_id and other_node["class_type"] == saving_node["class_type"]
        if is_save_person and _is_same_file(other_node["inputs"].get("filename"), filename, path):
            rivals.append(f"node {other_id}")
    return rivals


def _has_same_name_sources(saved: _SavedPerson, prompt: Prompt) -> bool:
    """Whether a node that has saved a person in an earlier run gets its file name from the same nodes in this graph.

    Then it would save to the same file again. The host does not run it again where nothing of it has changed, so what
    it has saved before is compared. False for a file name that was typed, which `_nodes_of_same_file` compares itself.
    """
    return bool(saved.name_sources) and _name_sources(prompt, saved.node_id) == saved.name_sources


def _name_sources(prompt: Prompt, node_id: str | None) -> Prompt:
    """All nodes from which a Save Person gets its file name, by their ids; none where the name is typed."""
    sources: dict[str, Any] = {}
    links = [prompt.get(node_id or "", {}).get("inputs", {}).get("filename")]
    while links:
        link = links.pop()  # [id of the node, number of its output]; another value is typed
        if not isinstance(link, list) or link[0] in sources or link[0] not in prompt:
            continue
        source = prompt[link[0]]
        sources[link[0]] = source
        links += source["inputs"].values()
    return sources


def _is_same_file(other_filename: object, filename: object, path: str) -> bool:
    """Whether another node's file name, typed or linked, is this node's: the same text or link, or the same file."""
    try:
        return other_filename == filename or _path_to_save(other_filename) == path
    except LikenessError:
        return False


def fingerprint(filename: str | None) -> int:
    """A number that changes whenever no file of this name is there (any more), so that the host runs the node again.

    filename: None where it is linked, and so not known before the run.
    """
    if filename is None:
        return 0
    try:
        path = _path_to_save(filename)
    except LikenessError:
        return 0  # the node raises it when it runs
    if not os.path.exists(path):
        _times_missing[path] += 1
    return _times_missing[path]


def _path_to_save(filename: object) -> str:
    """Full path of the file that a person is saved to under this name.

    Raises CannotSave for an empty name or one that no file may have on Windows, UnsafePath for one that leads out of
    the folder.
    """
    # A workflow from Windows has family\anna, which is family/anna there; and a Mac takes two spellings of José for one
    # file, of which one person would be lost.
    name = spelled(plain(filename))
    if name.lower().endswith(_ENDING):
        name = name[: -len(_ENDING)]
    if not name or name.endswith("/"):
        raise CannotSave(f"The file name {str(filename)!r} is empty.", "Write a name, such as anna or family/anna.")
    path = folders.path_within(folders.folders(KEY)[0], name) + _ENDING
    for part in PurePath(name + _ENDING).parts:
        if part != ".." and _UNFIT_ON_WINDOWS.search(part):
            raise CannotSave(
                f"The file name {plain(name, 60)!r} has {part.removesuffix(_ENDING)!r} in it, which is no name of a "
                "file on Windows.",
                "People share their saved faces: use letters, digits, spaces, - and _.",
            )
    return path


def load_identity(file: str) -> Identity:
    """Read a person. Raises UnsupportedCheckpoint for another or a damaged file, BadEmbedding, UnsafePath."""
    path = path_of(file)
    expected = "a person saved by Save Person"
    try:
        with opened(Path(path)) as file_of_tensors:
            keys: list[str] = file_of_tensors.keys()
            # Cloned, so that the file is not held open and can be replaced.
            tensors = {key: file_of_tensors.get_tensor(key).clone() for key in keys}
            metadata = file_of_tensors.metadata() or {}
    except safetensors.SafetensorError as error:
        advice = "Save the person again from the photos."
        raise UnsupportedCheckpoint(path, f"damaged ({error})", expected, advice) from error
    except OSError as error:
        damage = f"a file that cannot be read ({error})"
        raise UnsupportedCheckpoint(path, damage, expected, "Look at its permissions.") from error
    return identities.from_tensors(tensors, metadata, path)
