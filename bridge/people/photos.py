"""Photos: those in a folder of the host's input directory, the drawn examples, those that came by a link; their faces.

The examples are copied to where Load Image looks for pictures: the workflows open on them.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths
from torch import Tensor

from ...core.cast import Face
from ...core.checks.errors import BadPhoto, FaceNotFound, counted, first_few, gathered
from ...core.checks.names import among, ending
from ...core.checks.text import logger
from ...core.faces import analysis, landmarks
from ...core.faces.finding import Detection
from ...core.faces.landmarks import Mesh
from ...core.faces.pictures import Picture, from_file
from ...core.models.files import Listing, Stamp, dead_link, is_of_system, listing, stamp, write_whole
from ...core.pictures.files import ENDINGS, has_several
from ..host import folders
from ..host.notes import running_server
from .face_model import HostedFaceModel

PICTURES = Path(__file__).resolve().parents[2] / "pictures"
NO_FOLDER = "none"
EXAMPLES = "drawn examples"
_MOST_PHOTOS = 500
"""A folder with more photos is refused: they take an hour on a slow machine, and more often the folder was a
mistake."""


def names() -> list[str]:
    """Folders with photos below the input directory, for a menu, and last the examples."""
    root = folder_paths.get_input_directory()
    # Not along links: what they lead to is refused, or is there under its own name, and may be a whole disk.
    return [*_with_photos(listing(root, links=False)), EXAMPLES]


@lru_cache(maxsize=2)
def _with_photos(files: Listing) -> tuple[str, ...]:
    """The folders in which photos lie, and the folders in which these folders lie, sorted; without the root itself.

    files: all files of the root folder. A photo that is a link to nowhere counts: Sort Photos says so of it. The result
    is paths from there, with "/" on every system.
    """
    folders_with_photos: set[str] = set()
    for name, _ in (*files.files, *files.dead_links):
        folder, file = os.path.split(name)
        if _is_photo(file):
            above = os.path.dirname(folder)  # it may have a folder of photos for each person
            folders_with_photos |= {folder.replace(os.sep, "/"), above.replace(os.sep, "/")}
    folders_with_photos.discard("")  # the root itself
    return tuple(sorted(folders_with_photos, key=_by_number))


def is_chosen(folder: object) -> bool:
    """Whether a folder is chosen in the menu. A linked input is None until the node runs."""
    return folder not in (None, "", NO_FOLDER)


class LinkedAway(BadPhoto):
    """A folder of photos is a link, or lies behind one. ComfyUI reads pictures from its own folders alone."""

    def __init__(self, folder: str, path: str, root: str) -> None:
        leads_to = os.path.realpath(path)
        if os.path.isdir(leads_to):
            relation = "is a link to" if os.path.islink(path) else "lies behind a link, in"
            problem = f"The folder {folder!r} {relation} {leads_to}, outside of ComfyUI's input folder."
            advice = (
                f"Copy its photos into a folder of {root}, or start ComfyUI with --input-directory and that folder."
            )
        else:
            problem = f"The folder {folder!r} is a link to {leads_to}, and there is no folder."
            advice = "Connect the disk that it leads to, and copy its photos into a folder of the input folder."
        super().__init__(problem, advice)


def path_of(folder: str) -> str:
    """Full path of a folder of the input directory, or of our own pictures for EXAMPLES.

    A folder whose name is the same in another spelling is found too.
    Raises UnsafePath, LinkedAway for a link that leads out of the directory or nowhere, and BadPhoto where no
    folder has the name.
    """
    if folder == EXAMPLES:
        return str(PICTURES / "people")
    root = folder_paths.get_input_directory()
    path = folders.path_within(root, folder)
    if not os.path.isdir(path):  # perhaps in another spelling
        photo_folders = names()[:-1]  # without the examples
        path = folders.path_within(root, among(folder, photo_folders) or folder)
    if dead_link(path) is not None:
        raise LinkedAway(folder, path, root)
    # Before _lies_in: isdir answers for characters that no file system has, such as NUL, and realpath raises.
    if not os.path.isdir(path):
        advice = "Choose one from the list; press R in ComfyUI after folders were added or renamed."
        raise BadPhoto(f"The folder {folder!r} is not in {root}.", advice)
    if not _lies_in(path, root):
        raise LinkedAway(folder, path, root)
    return path


@dataclass(frozen=True)
class Album:
    """The contents of a folder and of the folders in it, sorted into photos and what is left out.

    photos: names and stamps, in the order of their names and numbers. Names of what lies in a folder of the folder have
    it before them: anna/1.jpg. linked: names of photos and folders that are links out of the input directory. dead:
    names of links to nowhere. not_photos: names of other files. deeper: names of folders in folders of the folder.
    """

    photos: tuple[tuple[str, Stamp], ...] = ()
    linked: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    not_photos: tuple[str, ...] = ()
    deeper: tuple[str, ...] = ()

    def left_out(self) -> list[str]:
        """A line for each reason why something in the folder is not read, or not whole."""
        several = [name for name, (path, *_) in self.photos if has_several(path)]
        return [
            *gathered("Left out, links out of ComfyUI's input folder", first_few(self.linked)),
            *gathered("Left out, links to no file", first_few(self.dead)),
            *gathered("Left out, no photos", first_few(self.not_photos)),
            *gathered("Left out, folders in a person's folder", first_few(self.deeper)),
            *gathered("Several pictures in the file, the first is read alone", first_few(several)),
        ]


def album(folder: str) -> Album:
    """The contents of a folder and of the folders in it, without hidden ones.

    Raises as `path_of`, and BadPhoto for none or too many photos.
    """
    path = path_of(folder)
    root = path if folder == EXAMPLES else folder_paths.get_input_directory()
    contents = _contents_of(path, root)
    if not contents.photos:
        raise _no_photo(folder, path, contents)
    if len(contents.photos) > _MOST_PHOTOS:
        why = f"The folder {folder!r} has {len(contents.photos)} photos, and at most {_MOST_PHOTOS} are sorted at once."
        raise BadPhoto(why, "Move the photos of the people you want into a folder of their own.")
    return contents


def _contents_of(path: str, root: str) -> Album:
    """The contents of the folder at `path`. root: the folder in which photos must lie, once links are followed."""
    names: defaultdict[str, list[str]] = defaultdict(list)  # by field of Album
    for name in _names_in(path, root):
        names[_kind_in_album(name, os.path.join(path, name), root)].append(name)
    return Album(
        photos=tuple((name, stamp(os.path.join(path, name))) for name in names["photos"]),
        linked=tuple(names["linked"]),
        dead=tuple(names["dead"]),
        not_photos=tuple(names["not_photos"]),
        deeper=tuple(names["deeper"]),
    )


def _kind_in_album(name: str, path: str, root: str) -> str:
    """The field of Album in which a file or folder is named, "" for none. name: as `_names_in` gives it."""
    is_folder = os.path.isdir(path)
    if dead_link(path) is not None:
        return "dead"
    if not is_folder and not os.path.isfile(path):  # such as a pipe
        return ""
    if not is_folder and not _is_photo(name):  # even if it is linked
        return "not_photos"
    if not _lies_in(path, root):
        return "linked"
    if not is_folder:
        return "photos"
    # What lies in a folder right in the folder comes by its own names.
    return "deeper" if "/" in name else ""


def _names_in(path: str, root: str) -> Iterator[str]:
    """The names of what lies in a folder and in the folders in it, with "/" on every system, without hidden ones.

    Each folder is looked into once, even if links lead to it as well, and only if it lies in `root` once links are
    followed. Raises BadPhoto for a folder that cannot be read.
    """
    real_path = os.path.realpath(path)
    names = _sorted_names(path)
    # The folder itself, and all that lies in it: links to these are not followed.
    looked_into = {real_path, *(os.path.join(real_path, name) for name in names)}
    for name in names:
        yield name
        folder = os.path.join(path, name)
        if not os.path.isdir(folder) or not _lies_in(folder, root):
            continue
        leads_to = os.path.realpath(folder)
        is_link = leads_to != os.path.join(real_path, name)
        if is_link and leads_to in looked_into:
            continue
        looked_into.add(leads_to)
        for below in _sorted_names(folder):
            yield f"{name}/{below}"


def _sorted_names(path: str) -> list[str]:
    """The names in a folder without hidden ones and folders of a system, by name and number.

    Raises BadPhoto for one that cannot be read.
    """
    try:
        names = os.listdir(path)
    except OSError as error:
        why = f"The folder {path} cannot be read: {error.strerror}."
        raise BadPhoto(why, "Let ComfyUI's user read it, or move it out of the folder of photos.") from error
    shown = [name for name in names if not name.startswith(".") and not is_of_system(name)]
    return sorted(shown, key=_by_number)


def _no_photo(folder: str, path: str, contents: Album) -> BadPhoto:
    """The error about a folder without photos, with advice by what lies there instead.

    folder: as the menu names it. path: its full path. contents: what lies in it.
    """
    nothing = f"No photo lies in the folder {folder!r} ({path})"
    if contents.deeper:
        advice = f"Choose a folder nearer to the photos: {contents.deeper[0]} lies deeper."
        return BadPhoto(f"{nothing}, nor in the folders in it.", advice)
    count = len(contents.linked) + len(contents.dead) + len(contents.not_photos)
    why = f"{nothing}, which has {counted(count, 'file')}."
    advice = "Put the photos themselves into it, or choose another folder."
    if contents.linked:
        file = os.path.join(path, contents.linked[0])
        return BadPhoto(
            f"{why} {file} is a link to {os.path.realpath(file)}, outside of ComfyUI's input folder.", advice
        )
    if contents.dead:
        file = os.path.join(path, contents.dead[0])
        return BadPhoto(f"{why} {file} is a link to {dead_link(file)}, and there is no file.", advice)
    return BadPhoto(why, "Put photos (.jpg, .png, .webp) into it, or choose another folder.")


@dataclass(frozen=True)
class Photo:
    """A photo that came by a link.

    pixels: (H, W, C) float 0..1. mesh: the faces that the host's own landmarks have found in it; None without them.
    is_cut: whether it came in a batch of several, which all have the shape of the first.
    """

    pixels: Tensor
    mesh: Mesh | None
    is_cut: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def photos_of_batches(batches: Sequence[Tensor], face_landmarks: Sequence[Mapping[str, Any]] = ()) -> list[Photo]:
    """The photos of a list of IMAGEs, (B, H, W, C) each, of any size.

    face_landmarks: a FACE_LANDMARKS for each, or none at all. Raises BadPhoto for landmarks of other pictures.
    """
    # One for each picture of all batches, in their order; None where the picture has no landmarks.
    meshes = iter(landmarks.meshes_of_batches(face_landmarks, batches))
    photos: list[Photo] = []
    for batch in batches:
        for pixels in batch.unbind():  # (H, W, C)
            photos.append(Photo(pixels, next(meshes), is_cut=len(batch) > 1))
    return photos


def cut_note(cut: Sequence[Photo]) -> str:
    """What a message adds after the names of photos in which no face was found and that came in a batch.

    It says that the batch may have cut the faces off. "" where there are no such photos. cut: these photos.
    """
    if not cut:
        return ""
    width, height = cut[0].size
    return (
        "; they came as a batch, from an animated file, a video or Batch Images, which cuts all to the first one's "
        f"shape, {width}x{height} px: give photos as a list"
    )


def _cut_advice(photo: Photo) -> str:
    """The advice about a photo without a face that came in a batch, which may have cut the face off."""
    width, height = photo.size
    return (
        "The photos came as a batch, from an animated file, a video or Batch Images. The last one cuts all to the "
        f"shape of the first, here {width}x{height} px, around their middle, and a face may be lost so. Give photos as "
        "a list instead, which keeps their shapes: from "
        "Load Image (from Folder), or in Sort Photos into People from a folder."
    )


_TILE = (512, 512)
"""The size of the pieces of which a telephone joins a HEIC photo, px."""
_TILE_ADVICE = (
    "Where the photo itself is larger than this, it is a HEIC photo of a telephone, whatever its file is called: Load "
    "Image reads the first of its pieces alone. Save it as JPEG."
)


def detected(
    face_model: HostedFaceModel,
    picture: Picture,
    picture_name: str,
    photo: Photo | None,
    expected: int = 1,
    boxable: bool = False,
) -> Sequence[Detection]:
    """Every face of a picture, the surest first: those of the photo's mesh, or else of the face model's detector.

    picture_name: what messages call the picture. photo: the picture as it came by a link; None for one of a file.
    expected: how many faces the user says are in it. boxable: as in FaceNotFound. Raises FaceNotFound. Its advice says
    so where a batch may have cut the face off, and where the picture may be a piece of a HEIC photo.
    """
    try:
        if photo is None or photo.mesh is None:
            return analysis.detect(face_model.detector, picture, picture_name, expected, boxable)
        return landmarks.detect(photo.mesh, picture, picture_name, boxable)
    except FaceNotFound as error:
        if photo is not None and photo.is_cut:
            error.advice = f"{_cut_advice(photo)} {error.advice}"
        elif photo is not None and photo.size == _TILE:
            error.advice = f"{_TILE_ADVICE} {error.advice}"
        raise


def faces_in(
    face_model: HostedFaceModel, picture: Picture, picture_name: str, largest: bool, photo: Photo | None = None
) -> tuple[Face, ...]:
    """The faces of a picture from left to right, with what every recogniser says of them.

    largest: whether only the largest face is wanted. picture_name: what messages call the picture. photo: the
    picture as it came by a link; None for one of a file.

    Raises FaceNotFound, BadEmbedding.
    """
    detections = detected(face_model, picture, picture_name, photo)
    if largest:
        detections = analysis.arrange(detections, "largest")[:1]
    else:
        detections = analysis.arrange(detections, analysis.NUMBERED)
    return analysis.recognise(face_model.recognisers, picture, detections, picture_name, portraits=True)


@lru_cache(maxsize=2 * _MOST_PHOTOS)
def faces_of(path: str, byte_count: int, changed: int, face_model: HostedFaceModel, largest: bool) -> tuple[Face, ...]:
    """The faces of a photo in a file, see `faces_in`. They are kept while the file stays as it is. path, byte_count,
    changed: the file's stamp. Raises BadPhoto for a file that is no picture, and what `faces_in` raises."""
    return faces_in(face_model, from_file(path), os.path.basename(path), largest)


def _is_photo(name: str) -> bool:
    return not name.startswith(".") and ending(name) in ENDINGS


def _lies_in(path: str, root: str) -> bool:
    """Whether a file or folder lies in the folder `root`, once links are followed."""
    return folders.lies_within(os.path.realpath(path), os.path.realpath(root))


def _by_number(name: str) -> tuple[list[str | int], str]:
    """A key for sorting by which "anna 2" stands before "anna 10": its words and numbers, and then the name itself.

    The name decides between names of the same words and numbers, such as "Anna" and "anna".
    """
    parts: list[str | int] = []
    for part in re.split(r"(\d+)", name.casefold()):  # words and numbers in turn
        parts.append(int(part) if part.isdecimal() else part)
    return parts, name


_COPIED = ".likeness_examples"
"""The file of the input folder that lists the example pictures which were once copied there, a line each."""


def copy_examples() -> None:
    """Copy the example pictures into the input folder of the running server, if any, each of them once.

    One that somebody has deleted stays away, and no file there is written over.
    """
    if running_server() is None:
        return
    try:
        _copy_new_examples(Path(folder_paths.get_input_directory()))
    except OSError as error:
        message = "The example pictures of the workflows are in %s and not in the input folder: %s"
        logger.warning(message, PICTURES, error)


def _copy_new_examples(folder: Path) -> None:
    """Copy the example pictures that were never copied into this folder, and add their names to its record.

    A file that is there already stays as it is, and counts as copied. Raises OSError.
    """
    record = folder / _COPIED
    copied_before: list[str] = []
    # Where the record cannot be read, its error ends the copying, so that no deleted example comes back.
    if os.path.lexists(record):
        copied_before = record.read_text("utf-8", errors="replace").splitlines()
    new_pictures = [picture for picture in sorted(PICTURES.glob("*.png")) if picture.name not in copied_before]
    for picture in new_pictures:
        path = folder / picture.name
        if not os.path.lexists(path):
            write_whole(str(path), picture.read_bytes())
    if new_pictures:
        names = [*copied_before, *(picture.name for picture in new_pictures)]
        write_whole(str(record), "\n".join(names).encode())
