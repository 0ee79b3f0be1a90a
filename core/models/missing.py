"""What is said of a model of which there is nothing in any folder."""

import os

from .elsewhere import target
from .files import dead_link
from .findings import MISSING, Finding
from .manifest import Model
from .searched_folders import Folders


def nothing_there(model: Model, folders: Folders) -> Finding:
    """A model of which there is nothing."""
    place = target(model, folders)
    dead = _dead_link(model, folders)
    if dead:
        return Finding(model.title, MISSING, (dead,), model if model.page else None, place=place)
    if not model.page:
        what = "a face pack" if model.format == "face-pack" else "a file"
        return Finding(model.title, MISSING, (f"{place} is not there; choose {what} that is.",))
    details = [f"{place} is not there ({model.size_text})."]
    if model.alternatives:
        details.append(f"Or {', or '.join(model.alternatives)}.")
    return Finding(model.title, MISSING, tuple(details), model, place=place)


def _dead_link(model: Model, folders: Folders) -> str:
    """What to say where a file of the model is a link to nowhere, "" where none is."""
    names: list[str] = []
    for file in model.files:
        names += file.names
    for root in folders.get(model.key, ()):
        for name in names:
            path = os.path.join(root, name)
            leads_to = dead_link(path)
            if leads_to is not None:
                return f"{path} is a link to {leads_to}, and there is no file: its disk may not be connected."
    return ""
