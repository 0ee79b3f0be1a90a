"""People of a folder: their photos, and the LoRAs that lie beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from environment import SetupError
from evaluate import is_hidden

from core.picture_files import ENDINGS

LORA = ".safetensors"


@dataclass(frozen=True)
class PersonFiles:
    """One person of the folder.

    name: of their folder, or of their photo without its ending. photos: in the order of their names. lora: the file
    beside the photos, None where there is none.
    """

    name: str
    photos: tuple[Path, ...]
    lora: Path | None = None


def people_in(folder: Path) -> list[PersonFiles]:
    """The people of a folder: a photo each, or a folder with photos each, in the order of their names.

    The LoRA of `anna/` is the first .safetensors in it, that of `anna.jpg` is `anna.safetensors`. Raises SetupError for
    fewer than two people.
    """
    people: list[PersonFiles] = []
    for path in sorted(folder.iterdir()):
        if is_hidden(path, folder):
            continue
        if path.is_dir():
            photos = _files(path, ENDINGS)
            if photos:
                loras = _files(path, (LORA,))
                people.append(PersonFiles(path.name, tuple(photos), loras[0] if loras else None))
        elif path.suffix.lower() in ENDINGS:
            lora = path.with_suffix(LORA)
            people.append(PersonFiles(path.stem, (path,), lora if lora.is_file() else None))
    if len(people) < 2:
        raise SetupError(f"{folder} has photos of fewer than two people: put one of each there, or a folder of each.")
    names = [person.name for person in people]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SetupError(f"{folder} has a photo and a folder of {', '.join(twice)}: put the photo into the folder.")
    return people


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files in a folder that have one of the endings, in the order of their names, without hidden ones."""
    files: list[Path] = []
    for path in sorted(folder.iterdir()):
        has_ending = path.suffix.lower() in endings
        if has_ending and not path.is_dir() and not is_hidden(path, folder):
            files.append(path)
    return files
