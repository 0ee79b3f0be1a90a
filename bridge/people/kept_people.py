"""People who are kept: chosen by name in the place of a photo, kept without losing anybody, renamed and removed.

Their files are those of Save Person, and `bridge.people.saved_people` reads and writes them.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePath
from typing import NamedTuple

from safetensors.torch import save

from ...core.cast import Person
from ...core.checks.errors import CannotSave, counted, first_few, listed
from ...core.checks.names import ending, folded, spelled
from ...core.checks.text import names_in, plain
from ...core.models.files import write_new, write_whole
from ...core.persons import lookalikes, saving
from ..host import folders
from . import saved_people
from .saved_people import KEY, cannot_write, path_to_save

THE_PHOTO, EVERYBODY = "the photo", "everybody"
FIRST_CHOICES = (THE_PHOTO, EVERYBODY)
"""The first choices of menus of kept people, beside a photo and in Kept People: nobody of these names is offered."""
_ENDING = ".safetensors"


def names() -> list[str]:
    """The kept people as menus offer them, sorted: the names of their files without the ending, folders included."""
    of_files = [name_of(file) for file in saved_people.files()]
    return sorted((name for name in of_files if name not in FIRST_CHOICES), key=folded)


def name_of(file: str) -> str:
    """The name under which the person in a file is kept."""
    name = spelled(plain(file)).removesuffix(" [input]")
    return name[: -len(_ENDING)] if ending(name) == _ENDING else name


def is_chosen(choice: str) -> bool:
    """Whether a choice of a menu beside a photo is a kept person."""
    return choice not in ("", THE_PHOTO)


def file_of(name: str) -> str | None:
    """Full path of the file of a kept person; None where nobody is kept under this name on this machine.

    Raises UnsafePath for a name that leads out of the folder.
    """
    try:
        return saved_people.path_of(name)
    except (CannotSave, folders.DeadLink):
        return None


def is_kept(choice: str) -> bool:
    """Whether a choice of a menu beside a photo is somebody who is kept on this machine."""
    try:
        return is_chosen(choice) and file_of(choice) is not None
    except folders.UnsafePath:
        return False


def named(text: str) -> list[str]:
    """The kept people whom a text names, with commas between them.

    Raises CannotSave where one of them is not kept on this machine, and UnsafePath.
    """
    wished = [name for name in names_in(text) if name]
    unknown = [name for name in wished if file_of(name) is None]
    if unknown:
        raise CannotSave(
            f"More people (more_kept) names {listed(unknown)}, and nobody of this name is among the kept people in "
            f"{listed(folders.folders(KEY))}: {listed(first_few(names())) or 'nobody is kept yet'}.",
            "Write a name as it is in that list, or put the person's file there.",
        )
    return wished


def nobody_kept(name: str, number: int) -> CannotSave:
    """The error about a kept person who is not on this machine, where no photo can take the place.

    number: of the person's inputs at Cast from Photos.
    """
    return CannotSave(
        f"{name_of(name)!r} is not among the kept people in {listed(folders.folders(KEY))}, and no photo is linked to "
        f"Photo {number} (photo_{number}) instead.",
        f"Put the file {name_of(name)}{_ENDING} there (whoever made this workflow has it), link a photo, or choose "
        f"somebody else in Person {number} (person_{number}).",
    )


def replaced_by_photo(name: str) -> str:
    """The line about a kept person who is not on this machine, whose place a photo has got."""
    return (
        f"{name_of(name)} is not among the kept people here, so the photo is used: for {name_of(name)} put the file "
        f"{name_of(name)}{_ENDING} into {folders.folders(KEY)[0]}"
    )


def keep(person: Person, name: str) -> str:
    """Write a person into the first folder of kept people under a name, and return a line that says where.

    Nobody is lost. A file of that name with the same person, by the face, is moved to the folder REMOVED; where it
    holds somebody else, or a face that cannot be compared, a number is put behind the name.
    Raises what `path_to_save` and `require_known` raise, BadEmbedding, and CannotSave for a file that cannot be
    written: then all is as it was.
    """
    path_to_save(name)  # before the name gets a number
    wished = name_of(name)
    saved_people.require_known(person)
    line = _keep_as(person, wished)
    if line is not None:
        return line
    number = 2
    while (line := _keep_as(person, f"{wished} {number}")) is None:
        number += 1
    return f"{line} There is another {wished} already."


def _keep_as(person: Person, name: str) -> str | None:
    """As `keep`, under this name alone; None where somebody else has it."""
    path = path_to_save(name)
    person = replace(person, name=PurePath(name).name)
    content = saving.to_tensors(person)
    data = save(content.tensors, content.metadata)
    earlier_path = folders.find(f"{name}{_ENDING}", KEY)  # in any of the folders, and in any spelling
    if earlier_path is None:
        try:
            with cannot_write(path):
                write_new(path, data)
        except CannotSave as error:
            if not isinstance(error.__cause__, FileExistsError) or not os.path.lexists(path):
                raise
            # Another process has kept somebody just now; or a folder or a dead link has the name.
            return _keep_as(person, name) if os.path.isfile(path) else None
        return f"{person.name} is kept, {_contents(person)}: {path}."
    earlier = saved_people.person_in(earlier_path)
    if earlier is None:
        return None
    if saved_people.digest(*saving.to_tensors(earlier)) == saved_people.digest(*content):
        return f"{person.name} is kept already, {_contents(person)}: {earlier_path}."
    if not lookalikes.kin([person, earlier])[0, 1]:
        return None
    aside = saved_people.copied_aside(earlier_path)
    try:
        with cannot_write(earlier_path):
            write_whole(earlier_path, data)
    except CannotSave:
        os.remove(aside)
        raise
    return (
        f"{person.name} is kept anew, {_contents(person)}: {earlier_path}. The file of before, {_contents(earlier)}, "
        f"is {aside}."
    )


def _contents(person: Person) -> str:
    """What a file keeps of a person, in words: "with 2 photos and the look red coat"."""
    contents = [] if person.has_no_photo else [counted(len(person.crops), "photo")]
    if person.looks:
        looks = "the look" if len(person.looks) == 1 else "the looks"
        contents.append(f"{looks} {listed([look.name for look in person.looks])}")
    if person.loras:
        contents.append(counted(len(person.loras), "LoRA"))
    return f"with {' and '.join(contents)}"


class Card(NamedTuple):
    """A kept person in a list. person: None where the file cannot be read. day: of the file, as 2026-12-01."""

    name: str
    person: Person | None
    day: str


def cards(most: int) -> list[Card]:
    """The first `most` kept people."""
    shown: list[Card] = []
    for name in names()[:most]:
        path = file_of(name)
        if path is not None:  # else it has gone just now
            day = datetime.fromtimestamp(os.path.getmtime(path)).strftime("%Y-%m-%d")
            shown.append(Card(name, saved_people.person_in(path), day))
    return shown


def rename(name: str, new_name: str) -> str:
    """Keep a person under another name, and return a line about it.

    Raises CannotSave where somebody else is kept under `new_name`, and for what cannot be written: then all is as it
    was; and what `path_to_save` raises.
    """
    new_path = path_to_save(new_name)
    before, after = name_of(name), name_of(new_name)
    path = file_of(name)
    if path is None:
        return _nobody_any_more(name)
    if before == after:
        return f"Nothing is done: {before} has this name."
    taken = folders.find(f"{after}{_ENDING}", KEY)
    is_same = taken is not None and os.path.samefile(path, taken)  # anna and Anna
    if taken and not is_same:
        raise CannotSave(f"{after} is kept already: {taken}.", "Write another New name (new_name).")
    content = saving.to_tensors(replace(saved_people.load_from(path), name=PurePath(after).name))
    data = save(content.tensors, content.metadata)
    with cannot_write(new_path):
        if is_same:
            write_whole(path, data)
            os.rename(path, new_path)
        else:
            write_new(new_path, data)
            _remove_or_undo(path, new_path)
    return (
        f"{before} is called {after} now: {new_path}. Workflows that name {before} find nobody: choose {after} there."
    )


def _remove_or_undo(path: str, new_path: str) -> None:
    """Remove a file of which `new_path` has taken the place; the new one instead, where it cannot be removed."""
    try:
        os.remove(path)
    except OSError:
        os.remove(new_path)
        raise


def remove(name: str) -> str:
    """Move a kept person into the folder REMOVED, and return a line about it. Raises CannotSave."""
    path = file_of(name)
    if path is None:
        return _nobody_any_more(name)
    aside = saved_people.free_path_of_removed(path)
    with cannot_write(aside):
        shutil.move(path, aside)
    return f"{name_of(name)} is removed: the file is {aside} now. Move it back to have the person again."


def _nobody_any_more(name: str) -> str:
    return f"Nothing is done: nobody is kept under the name {name_of(name)}, or not any more."


def check_names(wished: Sequence[str]) -> None:
    """Raise what `path_to_save` raises for the first of the names under which nobody can be kept."""
    for name in filter(None, wished):
        path_to_save(name)
