"""People of a folder: their photos, and the LoRAs that lie beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from environment import SetupError
from evaluate import ENDINGS, is_hidden
from pack.core.text import MOST_NAME_LETTERS, plain

LORA = ".safetensors"


@dataclass(frozen=True)
class PersonFiles:
    """One person of the folder.

    name: of their folder, or of their photo without its ending, as a node would show it: names of files may hold bytes
    that are no letters. photos: in the order of their names. lora: the file
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
                people.append(PersonFiles(_name(path.name), tuple(photos), loras[0] if loras else None))
        elif path.suffix.lower() in ENDINGS:
            lora = path.with_suffix(LORA)
            people.append(PersonFiles(_name(path.stem), (path,), lora if lora.is_file() else None))
    if len(people) < 2:
        raise SetupError(f"{folder} has photos of fewer than two people: put one of each there, or a folder of each.")
    names = [person.name for person in people]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SetupError(
            f"{folder} has more than one photo or folder of {', '.join(twice)}: put the photo into the folder."
        )
    return people


def _name(file: str) -> str:
    """The name of a person, by that of a file or folder."""
    return plain(file, MOST_NAME_LETTERS) or "person"


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files in a folder that have one of the endings, in the order of their names, without hidden ones."""
    files: list[Path] = []
    for path in sorted(folder.iterdir()):
        has_ending = path.suffix.lower() in endings
        if has_ending and not path.is_dir() and not is_hidden(path, folder):
            files.append(path)
    return files
