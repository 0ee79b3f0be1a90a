"""Many photos to a cast: sorted into people by their faces, named by their files, corrected by hand."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import folders, notes, photos
from ..bridge.face_model import FaceModel, FindsFaces, default_face_model
from ..bridge.inputs import single
from ..bridge.notes import stepwise
from ..bridge.schema import advanced
from ..core import grouping, identities, people, previews
from ..core.errors import BadCast, BadPhoto, FaceNotFound, LikenessError, first, gathered
from ..core.faces import analysis
from ..core.faces.pictures import to_picture
from ..core.grouping import PhotoFace, SortedFaces
from ..core.previews import GroupedPicture, PictureGroup
from ..core.text import logger, names_in
from .categories import IN_PEOPLE
from .sockets import CastSocket, FaceLandmarksSocket, FaceModelSocket

BY_FACE, PER_PHOTO = "grouped by face", "one per photo"
_LARGEST, _EVERY = "largest", "every"

_Photo = tuple[str, Callable[[], Sequence[people.Face]]]
"""Name of its file, "" for a picture without one, and what finds its faces."""


class SortPhotosIntoPeople(FindsFaces, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessSortPhotosIntoPeople",
            category=IN_PEOPLE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True),
                io.Image.Input("image", optional=True),
                io.Combo.Input("folder", options=[photos.NO_FOLDER, *photos.names()], default=photos.NO_FOLDER),
                io.Combo.Input("people", options=[BY_FACE, PER_PHOTO]),
                io.String.Input("names", default=""),
                io.Combo.Input("which_face", options=[_LARGEST, _EVERY]),
                io.String.Input("corrections", default=""),
                io.Combo.Input("on_no_face", options=["skip", "error"]),
                advanced(io.Float.Input("same_person_from", default=grouping.SAME_PERSON, min=0.0, max=1.0, step=0.01)),
                FaceLandmarksSocket.Input("face_landmarks", optional=True),
            ],
            outputs=[
                CastSocket.Output("cast"),
                io.Image.Output("preview"),
                io.String.Output("report"),
                io.Int.Output("count"),
            ],
            is_input_list=True,
        )

    @classmethod
    def validate_inputs(cls, folder: str | Sequence[str | None] | None) -> bool:
        name = single(folder)
        return not photos.is_chosen(name) or folders.found(photos.path_of, name)

    @classmethod
    def fingerprint_inputs(cls, folder: str | Sequence[str | None] | None = None, **inputs: object) -> str:
        name = single(folder)
        album = photos.album(str(name)) if photos.is_chosen(name) else photos.Album()
        return f"{super().fingerprint_inputs(**inputs)} {album}"

    @classmethod
    def execute(
        cls,
        face_model: FaceModel | None,
        image: Sequence[Tensor],
        folder: str,
        people: str,
        names: str,
        which_face: str,
        corrections: str,
        on_no_face: str,
        same_person_from: float,
        face_landmarks: Sequence[Mapping[str, Any]] = (),
    ) -> io.NodeOutput:
        face_model = face_model or default_face_model(detects=not face_landmarks, node=notes.node_of(cls))
        largest = which_face == _LARGEST
        batch = _of_batches(photos.of_batches(image, face_landmarks), face_model, largest)
        album = photos.album(folder) if photos.is_chosen(folder) else photos.Album()
        files: list[_Photo] = []
        for path, size, changed in album.photos:
            faces = partial(photos.faces_of, path, size, changed, face_model, largest)
            files.append((os.path.basename(path), faces))
        looked: list[_Photo] = [*batch, *files]
        if not looked:
            why = "The cast is empty: no picture is connected to image, and no folder is chosen."
            raise BadCast(why, "Link photos to image, or choose a folder of ComfyUI's input folder with photos in it.")
        seen, failed = _seen(looked, on_no_face)
        found = [file for file, _ in looked]
        done = grouping.sort_faces(seen, found, people == BY_FACE, same_person_from, names_in(names), corrections)
        if not done.people:
            raise BadCast("The cast is empty: corrections leave all faces out.", "Take a line out of corrections.")
        drawn = ["These people are drawn examples: choose a folder of your own."] if folder == photos.EXAMPLES else []
        remarks = [*drawn, *album.left_out()]
        return _shown(cls, done, face_model.ids, failed, remarks)


def _of_batches(linked: Sequence[photos.Photo], face_model: FaceModel, largest: bool) -> list[_Photo]:
    def faces(photo: photos.Photo, where: str) -> Sequence[people.Face]:
        return photos.faces_in(face_model, to_picture(photo.pixels), where, largest, photo)

    return [("", partial(faces, photo, f"picture {number} of image")) for number, photo in enumerate(linked, 1)]


def _seen(looked: Sequence[_Photo], on_no_face: str) -> tuple[list[PhotoFace], dict[str, LikenessError]]:
    """Every face that is used, and by photo why others have none.

    Raises FaceNotFound and BadPhoto where there is no other photo, or where on_no_face says so.
    """
    seen: list[PhotoFace] = []
    failed: dict[str, LikenessError] = {}
    for number, (file, faces) in enumerate(stepwise(looked), 1):
        try:
            found = faces()
        except (FaceNotFound, BadPhoto) as error:
            if on_no_face == "error":
                error.advice += " Or leave such photos out: on_no_face = skip in Sort Photos into People."
                raise
            failed[f"{number} {file}".strip()] = error
            continue
        seen += [PhotoFace(number, n if len(found) > 1 else 0, file, face) for n, face in enumerate(found, 1)]
    if not seen:
        first_of_all, *_ = failed.values()
        raise first_of_all
    return seen, failed


def _shown(
    cls: type[io.ComfyNode],
    done: SortedFaces,
    recognisers: Sequence[str],
    failed: Mapping[str, LikenessError],
    remarks: Sequence[str],
) -> io.NodeOutput:
    """The cast with each person's photos, as the node shows it. failed: photos without a face."""
    faces = {name: [done.faces[n].face for n in members] for name, members in done.people.items()}
    known = [identities.from_faces(name, own, recognisers) for name, own in faces.items()]
    cast = people.Cast(tuple(map(people.Person, known)))
    why = [f"Left out, photo {photo}: {error.problem}" for photo, error in failed.items()]
    text = "\n".join([*grouping.report(done), *why, *remarks])
    logger.info("Sort Photos into People\n%s", text)
    remarks = [
        *remarks,
        *gathered("Left out, no face or not readable", first([*failed])),
        *gathered("Left out, no such person", first(done.unused_names)),
        *grouping.remarks(done),
        *analysis.weak_faces([(one.label, one.face) for one in done.faces]),
        *identities.look_alike(known),
    ]
    notes.tell(notes.node_of(cls), "\n".join(remarks))
    preview = _sheet(done)
    return io.NodeOutput(cast, preview, text, len(cast.people), ui=ui.PreviewImage(preview, cls=cls))


def _sheet(done: SortedFaces) -> Tensor:
    """Everybody's faces, and last those that somebody left out: number of the photo, how alike, name of the file."""

    groups: list[PictureGroup] = []
    for number, (name, members) in enumerate(done.people.items(), 1):
        similarities = done.similarity_to_others(members)
        groups.append(PictureGroup(f"{number} {name}", _pictures(done, members, similarities)))
    if done.left_out:
        groups.append(PictureGroup("left out", _pictures(done, done.left_out, [None] * len(done.left_out))))
    return previews.grouped_sheet(groups)


def _pictures(done: SortedFaces, members: Sequence[int], similarities: Sequence[float | None]) -> list[GroupedPicture]:
    """The faces with these indices. similarities: of each to the others of the group, None where there are none."""
    pictures: list[GroupedPicture] = []
    for index, similarity in zip(members, similarities, strict=True):
        face = done.faces[index]
        figure = "" if similarity is None else f"{similarity:.2f}"
        pictures.append(GroupedPicture(face.face.crop, face.number, f"{figure}  {face.file}".strip()))
    return pictures


NODES = [SortPhotosIntoPeople]
