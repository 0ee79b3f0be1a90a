"""Saved people: small safetensors files under the model key `likeness_faces`."""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import folder_paths
import safetensors
from comfy_execution.graph import DynamicPrompt
from safetensors.torch import save
from torch import Tensor

from ...core.cast import Person
from ...core.checks.errors import CannotSave, LikenessError, UnsupportedCheckpoint, listed
from ...core.checks.names import ending, folded, spelled
from ...core.checks.text import in_one_line, plain
from ...core.models.files import Stamp, stamp, write_new, write_whole
from ...core.models.tensors import described, no_safetensors, opened
from ...core.persons import checks, lookalikes, saving
from ..host import folders

KEY = "likeness_faces"
REMOVED = "removed"
"""The folder among the saved people for those whom Kept People has removed, and for the earlier files of whom Keep
People has kept anew. Nobody in it is offered."""
_ENDING = ".safetensors"
_UPLOADED = " [input]"
"""How a choice ends that is in the host's input folder, where files are uploaded to, as in Load Image."""
_SAVE_PERSON = "LikenessSavePerson"

_UNFIT_ON_WINDOWS = re.compile(
    r'[<>:"|?*]|[. ]$|^\.+safetensors$|^(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]) *(\.|$)', re.IGNORECASE
)
"""Finds what no file or folder may be called on Windows: signs of its command line, a dot or a space at the end, names
of dots alone, and names of its devices, whatever their ending."""


class _Saved(NamedTuple):
    """Whom a node has written to a file. content: a digest, the same for one person, whom a loop or a list may bring
    several times."""

    name: str
    node_id: str | None
    content: bytes

    def __str__(self) -> str:
        return f"{self.name} (node {self.node_id})"


class SavedFile(NamedTuple):
    """A file to which a person was saved. path: the whole one. line: about what it held before, "" for nothing."""

    path: str
    line: str


_saved_in_run: WeakKeyDictionary[DynamicPrompt, dict[str, _Saved]] = WeakKeyDictionary()
"""What the run of a graph has saved so far, by path of the file. Every run has a DynamicPrompt of its own, with which
its entry ends.

Paths are keys as core.checks.names.folded writes them: Windows and a Mac take Anna and anna for one file."""


@dataclass
class _State:
    """A file as it was last seen. stamp: None where it was not there. content: the digest of whom a node has written to
    it, None for nobody. changes: how often it was then found otherwise, or somebody else was written to it."""

    stamp: Stamp | None
    content: bytes | None = None
    changes: int = 0


_states: dict[str, _State] = {}
"""By path of the file, since ComfyUI was started."""


def _state_of(path: str) -> _State:
    """The state of a file, after a look at it: it may be gone, or another program has written to it."""
    now = stamp(path) if os.path.exists(path) else None
    state = _states.setdefault(folded(path), _State(now))
    if state.stamp != now:
        state.stamp, state.content = now, None
        state.changes += 1
    return state


def files() -> list[str]:
    """The files of all saved people, relative to their folder, without those who were removed."""
    return [name for name in folders.file_names(KEY) if not is_removed(name)]


def is_removed(name: str) -> bool:
    """Whether a file of this name is a removed person's."""
    return folded(name).startswith(f"{REMOVED}/")


def path_of(file: str) -> str:
    """Full path of a saved person, by the name of the file with or without its ending, or by the whole name of one that
    was uploaded.

    Raises CannotSave, UnsafePath, DeadLink.
    """
    if file.endswith(_UPLOADED):
        path = folders.path_within(folder_paths.get_input_directory(), file.removesuffix(_UPLOADED))
        if not os.path.isfile(path):
            raise CannotSave(f"No saved person {file!r} is in {os.path.dirname(path)}.", "Upload the file again.")
        return path
    names = [file]
    if file and ending(file) != _ENDING:
        names.append(f"{file}{_ENDING}")
    missing = CannotSave(
        f"No saved person is called {file.removesuffix(_ENDING)!r} in {listed(folders.folders(KEY))}.",
        "In Load Person press R and choose one from the list, or save this person with Save Person.",
    )
    return folders.chosen(names, KEY, missing)


def save_person(person: Person, filename: str, node_id: str | None, graph: DynamicPrompt | None) -> SavedFile:
    """Write a person into the first folder of saved people, and note who has saved whom.

    node_id: of the node that saves; None outside of a graph. graph: the one that runs, or None. An interrupted write
    leaves an older file of that name as it was, and of one with somebody else a copy goes to REMOVED. Raises UnsafePath
    for a name that leads out of the folder, BadEmbedding for numbers that no face has, and CannotSave for an empty or
    unfit name, for a person without photos, LoRAs and looks, for a file that cannot be written, and where one graph
    would save two people to one file.
    """
    path = path_to_save(filename)
    require_known(person)
    key = folded(path)
    # By key, who was saved in this run; written to below.
    saved_in_run = {} if graph is None else _saved_in_run.setdefault(graph, {})
    prompt = {} if graph is None else graph.get_original_prompt()
    tensors, metadata = saving.to_tensors(person)
    saved = _Saved(person.name, node_id, digest(tensors, metadata))
    rivals = _rivals(saved, path, prompt, saved_in_run.get(key))
    if rivals:
        people = f"{saved} and {', '.join(rivals)}"
        why = f"{people} are to be saved to one file, {path}: one of them would be lost."
        raise CannotSave(why, "Give every Save Person, and every turn of a loop, a file name of its own.")
    line = _replaced(person, saved.content, path) if os.path.isfile(path) else ""
    with cannot_write(path):
        write_whole(path, save(tensors, metadata))
    saved_in_run[key] = saved
    state = _state_of(path)
    state.changes += state.content not in (None, saved.content)  # whoever saved that person has to save again
    state.content = saved.content
    return SavedFile(path, line)


def _replaced(person: Person, content: bytes, path: str) -> str:
    """A line about the file that a person is going to replace, "" where it holds just this. What may be somebody else,
    by the face, is copied to REMOVED first. content: the digest of the person."""
    earlier = person_in(path)
    name = plain(os.path.basename(path), 60)
    if earlier is not None and digest(*saving.to_tensors(earlier)) == content:
        return ""
    if earlier is not None and lookalikes.kin([person, earlier])[0, 1]:
        return f"{name} is replaced: it held the same person, saved otherwise."
    held = "no person that can be read" if earlier is None else f"{earlier.name}, by the face somebody else"
    return f"{name} is replaced. It held {held}: that file is {copied_aside(path)} now."


def person_in(path: str) -> Person | None:
    """The person in a file; None for a damaged one."""
    try:
        return load_from(path)
    except LikenessError:
        return None


def copied_aside(path: str) -> str:
    """Copy the file of a saved person into the folder REMOVED, and return the path of the copy. Raises CannotSave."""
    aside = free_path_of_removed(path)
    with cannot_write(aside):
        write_new(aside, Path(path).read_bytes())
    return aside


def free_path_of_removed(path: str) -> str:
    """A path in the folder REMOVED for the file of a saved person, which no file has yet."""
    root = next(folder for folder in folders.folders(KEY) if folders.lies_within(path, os.path.abspath(folder)))
    path_of_name = os.path.join(root, REMOVED, os.path.relpath(path, root).removesuffix(_ENDING))
    free_path = f"{path_of_name}{_ENDING}"
    number = 1
    while os.path.lexists(free_path):
        number += 1
        free_path = f"{path_of_name} {number}{_ENDING}"
    return free_path


def require_known(person: Person) -> None:
    """Raise CannotSave for a person without photos, LoRAs and looks, whose file would not say who it is."""
    if not checks.photos_of(person) or (person.has_no_photo and not person.loras and not person.looks):
        why = f"{person.name} has no photo with a face, so the file would not say who it is."
        raise CannotSave(why, "Give Person a photo in which the face is found.")


def size_with_looks(person: Person, path: str) -> str:
    """A line about how large the file of a person is, and how much of it are looks."""
    of_looks = sum(rows.numel() for rows in saving.tensors_of_looks(person).values())  # a byte each
    megabytes = [f"{size / 1e6:.1f} MB" for size in (os.path.getsize(path), of_looks)]
    return (
        f"The file has {megabytes[0]}, of which looks ({listed([look.name for look in person.looks])}) {megabytes[1]}."
    )


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A digest of a person. Not of the file, as safetensors writes metadata in another order each time."""
    return sha256(save(dict(tensors)) + repr(sorted(metadata.items())).encode()).digest()


def _rivals(saved: _Saved, path: str, prompt: Mapping[str, Any], saved_in_this_run: _Saved | None) -> list[str]:
    """Who else is saved to the same file as `saved` by this graph, in words: people or nodes; [] for nobody.

    One of these rivals would be lost. prompt: the graph that runs. saved_in_this_run: who was saved to this file in
    this run; None for nobody so far.
    """
    if saved_in_this_run is None:
        return _nodes_of_same_file(path, saved.node_id, prompt)
    # Its own save has found no rivals among the other nodes.
    return [] if saved_in_this_run.content == saved.content else [str(saved_in_this_run)]


@contextmanager
def cannot_write(path: str) -> Generator[None, None, None]:
    """A context in which a node writes a file, which so is no change by others. It makes the folder of the file, and
    raises CannotSave for an OSError or ValueError."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        state = _state_of(path)
        yield
        state.stamp = stamp(path)
    except (OSError, ValueError) as error:
        raise CannotSave(
            f"{plain(os.path.basename(path), 60)} could not be written: {getattr(error, 'strerror', None) or error} "
            f"({plain(path, 300)}).",
            "Choose a shorter or plainer name, and check that the disk has room and the folder may be written to.",
        ) from error


def _nodes_of_same_file(path: str, node_id: str | None, prompt: Mapping[str, Any]) -> list[str]:
    """The other Save Person nodes of a graph whose file name means this path, in words, whether they run again or not.

    node_id: of the node that saves. Where a node of the graph has become other nodes while it ran, such as the turns of
    a loop, it is the id of that node of the graph, which may have no input `filename`.
    """
    filename = prompt.get(node_id or "", {}).get("inputs", {}).get("filename")  # a typed name or a link
    rivals: list[str] = []
    for other_id, other_node in prompt.items():
        if other_id == node_id or other_node["class_type"] != _SAVE_PERSON:
            continue
        other_filename = other_node["inputs"].get("filename")
        # Equal links give equal names, also where the name is not known before the run.
        has_same_input = filename is not None and other_filename == filename
        if has_same_input or _is_name_of(path, other_filename, prompt):
            rivals.append(f"node {other_id}")
    return rivals


def _is_name_of(path: str, filename: Any, prompt: Mapping[str, Any]) -> bool:
    """Whether a file name means this path; False for a name that is refused.

    filename: as typed in Save Person, or a link to the text node where it is typed.
    """
    if isinstance(filename, list):  # [id of the node, number of its output]
        filename = prompt.get(filename[0], {}).get("inputs", {}).get("value")
    try:
        return folded(path_to_save(filename)) == folded(path)
    except LikenessError:
        return False


def fingerprint(filename: str | None) -> int:
    """The answer of Save Person's fingerprint_inputs: a number that changes when the file is gone or holds somebody
    else, so that the host runs the node again.

    filename: None where it is linked, and so not known before the run. Then the changes of all files count.
    """
    if filename is None:
        return sum(state.changes for state in _states.values())
    try:
        return _state_of(path_to_save(filename)).changes
    except (LikenessError, OSError):
        return 0  # the node raises it when it runs


def path_to_save(filename: object) -> str:
    """Full path of the file that a person is saved to under this name.

    Raises CannotSave for an empty name, one that no file may have on Windows, or one in REMOVED; UnsafePath for one
    that leads out of the folder.
    """
    # plain: without control characters. spelled: a workflow from Windows has family\anna, which is family/anna there.
    # And a Mac takes two spellings of José for one file, so one of two people would be lost.
    name = spelled(plain(filename))
    if name.lower().endswith(_ENDING):
        name = name[: -len(_ENDING)]
    if not name or name.endswith("/"):
        raise CannotSave(f"The file name {str(filename)!r} is empty.", "Write a name, such as anna or family/anna.")
    folder = folders.folders(KEY)[0]
    path = folders.path_within(folder, name) + _ENDING
    if is_removed(os.path.relpath(path, folder)):
        raise CannotSave(f"The folder {REMOVED} is for people who were removed.", "Write another name.")
    for part in PurePath(name + _ENDING).parts:  # a part ".." has been judged by path_within
        if part != ".." and _UNFIT_ON_WINDOWS.search(part):
            raise CannotSave(
                f"The file name {plain(name, 60)!r} has {part.removesuffix(_ENDING)!r} in it, which is no name of a "
                "file on Windows.",
                "People share their saved faces: use letters, digits, spaces, - and _.",
            )
    return path


def load_person(file: str) -> Person:
    """Read a person, by the name of the file with or without its ending. Raises as `path_of` and `load_from`."""
    return load_from(path_of(file))


def load_from(path: str) -> Person:
    """Read a person. Raises UnsupportedCheckpoint for another or a damaged file, and BadEmbedding."""
    try:
        kind = no_safetensors(Path(path))
        if kind:
            raise saving.not_a_person(path, kind)
        with opened(Path(path)) as file_of_tensors:
            metadata = file_of_tensors.metadata() or {}
            # Before all of the file is read: it may be a checkpoint of some gigabytes.
            saving.check_format(described(file_of_tensors), metadata, path)
            keys: list[str] = file_of_tensors.keys()
            # Cloned: the tensors of safetensors would hold the file open, and it could not be replaced.
            tensors = {key: file_of_tensors.get_tensor(key).clone() for key in keys}
        return saving.from_tensors(tensors, metadata, path)
    # The last two are of torch and json: shapes, kinds of numbers or brackets that no save writes.
    except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
        raise saving.not_a_person(path, f"damaged ({plain(in_one_line(error))})") from error
    except OSError as error:
        damage = f"a file that cannot be read ({error})"
        raise UnsupportedCheckpoint(path, damage, saving.EXPECTED, "Look at its permissions.") from error
