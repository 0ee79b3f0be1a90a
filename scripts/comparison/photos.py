"""Photos: those of a folder's people with the LoRAs beside them, what is in the file of one, and the face on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from environment import SetupError
from pack.core.cast import Face
from pack.core.checks.text import MOST_NAME_LETTERS, plain
from pack.core.faces import model as faces
from pack.core.faces.model import FaceModel
from pack.core.models.files import is_of_system
from pack.core.pictures.files import ENDINGS
from pack.core.pictures.geometry import area
from pack.core.pictures.previews import as_picture
from shared.photos import pixels as pixels_of
from torch import Tensor

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


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file below `folder`, or a folder around it there, is hidden or a system's own.

    Beside every anna.jpg that a Mac writes to a stick it puts ._anna.jpg, which is no picture.
    """
    return any(part.startswith(".") or is_of_system(part) for part in path.relative_to(folder).parts)


def write_jpeg(pixels: Tensor, path: Path, longer_side: int | None = None) -> None:
    """Write a picture (H, W, 3) float 0..1. longer_side: at most so many pixels."""
    picture = as_picture(pixels)
    if longer_side:
        picture.thumbnail((longer_side, longer_side))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=88)


def largest_face(path: Path, face_model: FaceModel) -> Face:
    """The face of the person on a photo. Raises SetupError where there is none."""
    found = faces.faces_in(face_model, pixels_of(path)).faces
    if not found:
        raise SetupError(f"No face found in {path}: use a photo with a larger and sharper face, or take it out.")
    return max(found, key=lambda face: area(face.box))
