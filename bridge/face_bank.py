"""Saved people: small safetensors files under the model key `likeness_faces`."""

from __future__ import annotations

import os
from contextlib import suppress

import safetensors
from safetensors.torch import save

from ..core import identities
from ..core.errors import CannotSave, LikenessError, UnsupportedCheckpoint
from ..core.people import Identity
from . import folders

KEY = "likeness_faces"
_ENDING = ".safetensors"


def files() -> list[str]:
    """Saved people, as relative names."""
    return folders.listed(KEY)


def path_of(file: str) -> str:
    """Full path of a saved person. Raises LikenessError naming the folders searched, UnsafePath."""
    path = folders.find(file, KEY)
    if path is None:
        raise LikenessError(
            f"No saved person {file!r} in the folders searched ({', '.join(folders.folders(KEY))}).",
            "Save one with Save Identity, or copy a file there, and press R in ComfyUI to refresh.",
        )
    return path


def save_identity(identity: Identity, filename: str) -> str:
    """Write a person into the first folder of the face bank and return the full path.

    An interrupted write leaves an older file of that name as it was.
    Raises UnsafePath when the name leads out of the folder, BadEmbedding, CannotSave, LikenessError without name or
    photos.
    """
    path = _target(filename)
    if not identities.photos_of(identity):
        raise LikenessError(f"{identity.name} has no photo with a face, so there is nothing to save.", _MORE_PHOTOS)
    tensors, metadata = identities.to_tensors(identity)
    unfinished = f"{path}.part"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(unfinished, "wb") as file:
            file.write(save(tensors, metadata))
        os.replace(unfinished, path)
    except (OSError, ValueError) as error:  # ValueError: characters that no file name has
        with suppress(OSError, ValueError):
            os.remove(unfinished)
        raise CannotSave(path, getattr(error, "strerror", None) or str(error)) from error
    return path


_MORE_PHOTOS = "Give Identity a photo in which the face is found."


def _target(filename: str) -> str:
    name = filename.strip().removesuffix(_ENDING)
    if not name or name.endswith(("/", "\\")):
        raise LikenessError(f"The file name {filename!r} is empty.", "Write a name, such as anna or family/anna.")
    return folders.within(folders.folders(KEY)[0], name) + _ENDING


def load_identity(file: str) -> Identity:
    """Read a person. Raises UnsupportedCheckpoint for another or a damaged file, BadEmbedding, UnsafePath."""
    path = path_of(file)
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            # Cloned, so that the file is not held open and can be replaced.
            tensors = {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118 - not a mapping
            metadata = opened.metadata() or {}
    except safetensors.SafetensorError as error:
        raise UnsupportedCheckpoint(
            path, f"damaged ({error})", "a person saved by Save Identity", "Save the person again from the photos."
        ) from error
    return identities.from_tensors(tensors, metadata, path)
