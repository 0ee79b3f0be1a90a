"""Models that are released as a folder of several files."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

from ..errors import ModelMissing, UnsupportedCheckpoint
from ..families import of_text
from ..methods import methods
from .manifest import File, Model, human, models

SCHEDULER = "scheduler"
"""The part that is no network."""
_OF_ANY = ("unet", "vae", "text_encoder", "denoiser", SCHEDULER)
"""Parts that the folder of any diffusers model has as well."""


def released() -> Model:
    """The model that is released so. Its files' parts are the prefixes of the keys in a single file."""
    formats = {one.id for method in methods() for one in method.formats}
    return next(model for model in models() if model.format in formats and len(model.files) > 1)


def networks(model: Model) -> tuple[str, ...]:
    """Its parts but the noise schedule."""
    return tuple(file.part for file in model.files if file.part != SCHEDULER)


def expected(model: Model) -> str:
    return f"the released folder of {model.title}, or a .safetensors file that scripts/to_safetensors.py made of it"


def advice(model: Model) -> str:
    return f"Get all of {model.page} ({model.size_text}) and put it into a folder below models/{model.key}."


def folder_of(name: str) -> str | None:
    """The diffusers folder that a file lies in, complete or not, "." for none above it; name: its relative path."""
    folders = PurePath(name).parts[:-1]
    found = next((number for number, folder in enumerate(folders) if folder in ("unet", "reference_unet")), None)
    return None if found is None else str(PurePath(*folders[:found]))


def locate(model: Model, folder: Path) -> dict[str, Path]:
    """The file of every part.

    Raises ModelMissing with the names and sizes of what is not there, UnsupportedCheckpoint for another model's
    diffusers folder.
    """
    files = {file.part: file for file in model.files}
    found = {
        part: path
        for part, file in files.items()
        if (path := next((path for entry in _entries(model, file) if (path := folder / entry).is_file()), None))
    }
    missing = [part for part in files if part not in found]
    own = [part for part in files if part not in _OF_ANY]
    if not set(own) - set(missing):
        what = f"a plain {_family(folder)} diffusers folder (no {', '.join(own[:-1])} or {own[-1]})"
        raise UnsupportedCheckpoint(str(folder), what, expected(model), advice(model))
    if missing:
        names = [_entries(model, files[part])[0] for part in missing]
        sizes = ", ".join(human(files[part].size) for part in missing)
        raise ModelMissing(f"Something of the {model.title} release", names, [str(folder)], model.page, sizes)
    return found


def _entries(model: Model, file: File) -> list[str]:
    """Its names relative to the released folder."""
    return [name.removeprefix(f"{model.name}/") for name in file.names]


def _family(folder: Path) -> str:
    try:
        found = of_text(json.loads((folder / "unet" / "config.json").read_bytes())["cross_attention_dim"])
    except (OSError, ValueError, LookupError, TypeError):
        found = None
    return found.name if found else "Stable Diffusion"
