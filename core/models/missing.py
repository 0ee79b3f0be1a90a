"""The finding about a model that lies in no folder at all."""

import os
from itertools import product

from .doctor_findings import MISSING, Finding
from .elsewhere import target
from .files import dead_link
from .manifest import Model
from .searched_folders import Folders


def nothing_there(model: Model, folders: Folders) -> Finding:
    """The finding about a model of which no file is found: where it belongs, and what can be used instead."""
    place = target(model, folders)
    in_the_way = _in_the_way(model, folders)
    if in_the_way:
        return Finding(model.title, MISSING, (in_the_way,), model if model.page else None, place=place)
    if not model.page:
        kind = "a face pack" if model.format == "face-pack" else "a file"
        return Finding(model.title, MISSING, (f"{place} is not there; choose {kind} that is.",))
    details = [f"{place} is not there ({model.size_text})."]
    if model.alternatives:
        details.append(f"Or {', or '.join(model.alternatives)}.")
    return Finding(model.title, MISSING, tuple(details), model, place=place)


def _in_the_way(model: Model, folders: Folders) -> str:
    """A sentence about a link to nowhere, a folder or a pipe that has the name of one of the model's files, so that the
    file cannot be there; "" where there is none."""
    names = [name for file in model.files for name in file.names]
    for root, name in product(folders.get(model.key, ()), names):
        path = os.path.join(root, name)
        leads_to = dead_link(path)
        if leads_to is not None:
            return f"{path} is a link to {leads_to}, and there is no file: its disk may not be connected."
        if os.path.isdir(path):
            return f"{path} is a folder, and a file is needed there."
        if os.path.lexists(path) and not os.path.isfile(path):
            return f"{path} is no file."
    return ""
