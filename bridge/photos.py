"""Photos in a folder of the host's input directory, or the drawn examples, and the faces in each, found once.

The examples are copied to where Load Image looks for pictures: the workflows open on them.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths
from torch import Tensor

from ..core.errors import BadPhoto, FaceNotFound, counted
from ..core.faces import analysis, landmarks
from ..core.faces.finding import Detection
from ..core.faces.landmarks import Mesh
from ..core.faces.pictures import Picture, from_file
from ..core.models.files import Stamp, stamp, write_whole
from ..core.people import Face
from ..core.text import logger
from . import folders
from .face_model import FaceModel
from .notes import running_server

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
NO_FOLDER, EXAMPLES = "none", "drawn examples"
_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic",
    ".heif", ".jp2", ".jxl",
)  # fmt: skip
"""Of files that are photos, also of those that not every Pillow reads: they are named then."""
_MOST = 500
"""Photos of a folder. More take an hour on a slow machine, and are more often a wrong folder than people."""


def names() -> list[str]:
    """Folders with photos below the input directory, for a menu, and last the examples."""
    root = folder_paths.get_input_directory()
    # Not along links: what they lead to is refused, or is there under its own name, and may be a whole disk.
    found = [os.path.relpath(folder, root) for folder, _, files in os.walk(root) if any(map(_is_photo, files))]
    inside = (name.replace(os.sep, "/") for name in found if name != ".")
    return [*sorted(inside, key=_by_number), EXAMPLES]


def is_chosen(folder: object) -> bool:
    """Whether a folder is, in the menu; a linked one is None until the node runs."""
    return folder not in (None, "", NO_FOLDER)


def path_of(folder: str) -> str:
    """Full path of a folder of the input directory. Raises UnsafePath, also for a link that leads out of it, and
    BadPhoto where there is none of that name."""
    if folder == EXAMPLES:
        return str(PICTURES / "people")
    root = folder_paths.get_input_directory()
    path = folders.within(root, folder)
    if not os.path.isdir(path):  # first: it takes letters that no file system has
        advice = "Choose one from the list; press R in ComfyUI after folders were added or renamed."
        raise BadPhoto(f"The folder {folder!r} is not in {root}.", advice)
    if not _inside(path, root):
        raise folders.UnsafePath(folder, root)
    return path


def files(folder: str) -> tuple[list[Stamp], list[str]]:
    """(stamps of the photos, in the order of their names and numbers; names of what is no photo).

    Hidden files are not looked at. Raises as `path_of`, and BadPhoto for none or too many.
    """
    path = path_of(folder)
    root = path if folder == EXAMPLES else folder_paths.get_input_directory()
    shown = (name for name in os.listdir(path) if not name.startswith("."))
    there = sorted((name for name in shown if os.path.isfile(os.path.join(path, name))), key=_by_number)
    photos = [name for name in there if _is_photo(name) and _inside(os.path.join(path, name), root)]
    if not photos:
        why = f"No photo lies in the folder {folder!r} ({path}), which has {counted(len(there), 'file')}."
        raise BadPhoto(why, "Put photos (.jpg, .png, .webp) into it, or choose another folder.")
    if len(photos) > _MOST:
        why = f"The folder {folder!r} has {len(photos)} photos, and at most {_MOST} are sorted at once."
        raise BadPhoto(why, "Move the photos of the people you want into a folder of their own.")
    return [stamp(os.path.join(path, name)) for name in photos], [name for name in there if name not in photos]


@dataclass(frozen=True)
class Photo:
    """A photo that came by a link.

    pixels: (H, W, C) float 0..1. mesh: the faces that the host's own landmarks have found in it; None without them.
    is_cut: whether it came in a batch of several, which all have the shape of the first.
    """

    pixels: Tensor
    mesh: Mesh | None = None
    is_cut: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def of_batches(batches: Sequence[Tensor], given: Sequence[Mapping[str, Any]] = ()) -> list[Photo]:
    """The photos of a list of IMAGEs, (B, H, W, C) each, of any size. given: FACE_LANDMARKS of each, or nothing.

    Raises BadPhoto for landmarks of other pictures.
    """
    meshes = iter(landmarks.of_batches(given, batches))
    taken: list[Photo] = []
    for batch in batches:
        taken += [Photo(pixels, next(meshes), len(batch) > 1) for pixels in batch.unbind()]
    return taken


def cut_note(cut: Sequence[Photo]) -> str:
    """Why no face may be left in photos that came in a batch, to stand behind their names; "" without any."""
    if not cut:
        return ""
    width, height = cut[0].size
    return f"; Batch Images has cut them to the first one's shape, {width}x{height} px: give them as a list"


def _cut_advice(photo: Photo) -> str:
    """What to do about a photo without a face that came in a batch of several."""
    width, height = photo.size
    return (
        f"The photos came as a batch: Batch Images cuts all to the shape of the first, here {width}x{height} px, "
        "around their middle, and a face may be lost so. Give them as a list instead, which keeps their shapes: from "
        "Load Image (from Folder), or in Sort Photos into People from a folder."
    )


def detected(face_model: FaceModel, picture: Picture, where: str, photo: Photo | None) -> Sequence[Detection]:
    """Every face of a picture, surest first: those of the photo's mesh, or else of the face model's detector.

    photo: the picture as it came by a link; None for one of a file. Raises FaceNotFound, naming `where`.
    """
    try:
        if photo is None or photo.mesh is None:
            return analysis.detect(face_model.detector, picture, where)
        return landmarks.detect(photo.mesh, picture, where)
    except FaceNotFound as error:
        if photo is not None and photo.is_cut:
            error.advice = f"{_cut_advice(photo)} {error.advice}"
        raise


def faces_in(
    face_model: FaceModel, picture: Picture, where: str, largest: bool, photo: Photo | None = None
) -> tuple[Face, ...]:
    """Faces of a picture from left to right, or the largest, to make people of. photo: as in `detected`.

    Raises FaceNotFound, BadEmbedding.
    """
    found = detected(face_model, picture, where, photo)
    used = analysis.arrange(found, "largest")[:1] if largest else analysis.arrange(found, analysis.NUMBERED)
    return analysis.recognise(face_model.recognisers, picture, used, where, portraits=True)


@lru_cache(maxsize=2 * _MOST)
def faces_of(path: str, size: int, changed: int, face_model: FaceModel, largest: bool) -> tuple[Face, ...]:
    """As `faces_in`, of a file. Raises BadPhoto for what is no picture."""
    return faces_in(face_model, from_file(path), os.path.basename(path), largest)


def _is_photo(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in _ENDINGS


def _inside(path: str, root: str) -> bool:
    """Whether it lies in this folder once links are followed."""
    return os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)


def _by_number(name: str) -> tuple[list[str | int], str]:
    """anna 2 before anna 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.casefold())], name


def provide() -> None:
    """Copy what is missing into the input folder of the running server, if any; nothing there is written over."""
    if running_server() is None:
        return
    folder = Path(folder_paths.get_input_directory())
    try:
        for picture in sorted(PICTURES.glob("*.png")):
            if not os.path.lexists(folder / picture.name):
                write_whole(str(folder / picture.name), picture.read_bytes())
    except OSError as error:
        logger.warning("The example pictures of the workflows are in %s and not in the input folder: %s",
                       PICTURES, error)  # fmt: skip
