"""Many photos to a cast: sorted into people by their faces, named by their files, corrected by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import folders, notes
from ..bridge.host.inputs import single
from ..bridge.host.notes import stepwise
from ..bridge.host.schema import advanced
from ..bridge.people import photos
from ..bridge.people.face_model import FindsFaces, HostedFaceModel, default_face_model
from ..core.cast import Cast, Face, Member, Person
from ..core.checks.errors import BadCast, BadPhoto, FaceNotFound, LikenessError, first_few, gathered
from ..core.checks.text import logger, names_in
from ..core.faces import analysis
from ..core.grouping import clusters, sorting
from ..core.grouping.photo_faces import PhotoFace
from ..core.grouping.sorting import SortedFaces
from ..core.persons import combining, lookalikes
from ..core.pictures import previews
from ..core.pictures.tensors import eight_bits
from .categories import IN_PEOPLE
from .sockets import CastSocket, FaceLandmarksSocket, FaceModelSocket

BY_FACE = "grouped by face"
PER_PHOTO = "one per photo"
_LARGEST = "largest"
_EVERY = "every"


@dataclass(frozen=True)
class _PhotoToSort:
    """A photo whose faces have not been looked for yet, so that photos are read one after the other.

    file: the name of its file, behind that of its folder if it has one: anna/1.jpg; "" for a picture that came by a
    link. find_faces: finds the faces when it is called; it gives them from left to right, or the largest alone, and
    raises FaceNotFound and BadPhoto.
    """

    file: str
    find_faces: Callable[[], Sequence[Face]]


class SortPhotosIntoPeople(FindsFaces, io.ComfyNode):
    """A cast from many photos, which are sorted into people by their faces."""

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
                advanced(io.Float.Input("same_person_from", default=clusters.SAME_PERSON, min=0.0, max=1.0, step=0.01)),
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
        # With is_input_list the host gives a list of one value, which is None where the input is linked.
        name = single(folder)
        if not photos.is_chosen(name):
            return True
        return folders.chosen_file_exists(photos.path_of, name)

    @classmethod
    def fingerprint_inputs(cls, folder: str | Sequence[str | None] | None = None, **inputs: object) -> str:
        name = single(folder)
        album = photos.Album()
        if photos.is_chosen(name):
            album = photos.album(str(name))
        # str() of an Album has name, size and time of every file, so the node runs again where one has changed.
        face_model_stamp = super().fingerprint_inputs(**inputs)
        return f"{face_model_stamp} {album}"

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        image: Sequence[Tensor],
        folder: str,
        people: str,
        names: str,
        which_face: str,
        corrections: str,
        same_person_from: float,
        face_landmarks: Sequence[Mapping[str, Any]] = (),
    ) -> io.NodeOutput:
        # With face_landmarks the faces are already found, and the default face model needs no detector.
        face_model = face_model or default_face_model(detects=not face_landmarks)
        largest_only = which_face == _LARGEST
        linked_photos = photos.photos_of_batches(image, face_landmarks)
        album = photos.album(folder) if photos.is_chosen(folder) else photos.Album()
        photos_to_sort = [
            *_photos_of_image(linked_photos, face_model, largest_only),
            *_photos_of_album(album, face_model, largest_only),
        ]
        if not photos_to_sort:
            why = "The cast is empty: no picture is connected to Image (image), and no folder is chosen."
            raise BadCast(
                why, "Link photos to Image (image), or choose a folder of ComfyUI's input folder with photos in it."
            )
        found_faces = _find_faces(photos_to_sort)
        files = [photo.file for photo in photos_to_sort]
        by_face = people == BY_FACE  # otherwise by the names of the files
        sorted_faces = sorting.sort_faces(
            found_faces.faces, files, by_face, same_person_from, names_in(names), corrections
        )
        if not sorted_faces.people:
            raise BadCast("The cast is empty: Corrections (corrections) leave all faces out.", "Take a line out there.")
        lines = album.left_out()
        if folder == photos.EXAMPLES:
            lines = ["These people are drawn examples: choose a folder of your own.", *lines]
        return _output(cls, sorted_faces, face_model.ids, found_faces.errors, lines)


def _photos_of_image(
    linked_photos: Sequence[photos.Photo], face_model: HostedFaceModel, largest_only: bool
) -> list[_PhotoToSort]:
    """The photos of the input image, whose faces are looked for later.

    largest_only: whether only the largest face of each photo is taken.
    """
    photos_to_sort: list[_PhotoToSort] = []
    for number, photo in enumerate(linked_photos, 1):
        label = f"picture {number} of image"
        find_faces = partial(_faces_of_linked_photo, photo, label, face_model, largest_only)
        photos_to_sort.append(_PhotoToSort("", find_faces))
    return photos_to_sort


def _faces_of_linked_photo(
    photo: photos.Photo, label: str, face_model: HostedFaceModel, largest_only: bool
) -> Sequence[Face]:
    return photos.faces_in(face_model, eight_bits(photo.pixels), label, largest_only, photo)


def _photos_of_album(album: photos.Album, face_model: HostedFaceModel, largest_only: bool) -> list[_PhotoToSort]:
    """The photos of a folder, whose faces are looked for later.

    largest_only: whether only the largest face of each photo is taken.
    """
    photos_to_sort: list[_PhotoToSort] = []
    for name, (path, size, changed) in album.photos:
        # Size and time of the file are given on because the faces are cached by them.
        find_faces = partial(photos.faces_of, path, size, changed, face_model, largest_only)
        photos_to_sort.append(_PhotoToSort(name, find_faces))
    return photos_to_sort


@dataclass(frozen=True, eq=False)
class _FoundFaces:
    """The faces of all photos, and the photos that are left out.

    faces: at least one. errors: number and file name of a photo that is left out, such as "3 anna.jpg" -> why.
    """

    faces: list[PhotoFace]
    errors: dict[str, LikenessError]


def _find_faces(photos_to_sort: Sequence[_PhotoToSort]) -> _FoundFaces:
    """Find the faces of all photos. Photos that raise FaceNotFound or BadPhoto are left out.

    Where all photos are left out, the error of the first one is raised.
    """
    faces: list[PhotoFace] = []
    errors: dict[str, LikenessError] = {}
    for photo_number, photo in enumerate(stepwise(photos_to_sort), 1):
        try:
            faces_of_photo = photo.find_faces()
        except (FaceNotFound, BadPhoto) as error:
            errors[f"{photo_number} {photo.file}".strip()] = error  # a picture by a link has no file name
            continue
        for index, face in enumerate(faces_of_photo):
            # A face that is alone in its photo has the number 0, as it needs none.
            number_in_photo = index + 1 if len(faces_of_photo) > 1 else 0
            faces.append(PhotoFace(photo_number, number_in_photo, photo.file, face))
    if not faces:
        # There is at least one photo, so without any face there is at least one error.
        first_error, *_ = errors.values()
        raise first_error
    return _FoundFaces(faces, errors)


def _output(
    cls: type[io.ComfyNode],
    sorted_faces: SortedFaces,
    recognisers: Sequence[str],
    errors: Mapping[str, LikenessError],
    lines: Sequence[str],
) -> io.NodeOutput:
    """The outputs of the node: the cast of the sorted faces, its preview, the report and the number of people.

    It also writes the note under the node. recognisers: ids of the recognisers that have read the faces. errors: as in
    _FoundFaces. lines: lines on the folder.
    """
    found_people: list[Person] = []
    for name, faces_of_person in sorted_faces.labelled.items():  # pairs of label and face
        found_people.append(combining.from_faces(name, [face for _, face in faces_of_person], recognisers))
    cast = Cast(tuple(Member(person, number=n) for n, person in enumerate(found_people, 1)))
    reasons = [f"Left out, photo {photo}: {error.problem}" for photo, error in errors.items()]
    report = "\n".join([*sorting.report(sorted_faces), *reasons, *lines])
    logger.info("Sort Photos into People\n%s", report)
    labelled_faces = [(photo_face.label, photo_face.face) for photo_face in sorted_faces.faces]
    note = [
        *lines,
        *gathered("Left out, no face or not readable", first_few(list(errors))),
        *gathered("Left out, no such person", first_few(sorted_faces.unused_names)),
        *sorting.notes(sorted_faces.labelled, sorted_faces.same_from, look_at="the preview, and at corrections"),
        *analysis.weak_faces(labelled_faces),
        *lookalikes.look_alike(found_people),
    ]
    notes.tell("\n".join(note))
    preview = _sheet(sorted_faces)
    return io.NodeOutput(cast, preview, report, len(cast.people), ui=ui.PreviewImage(preview, cls=cls))


def _sheet(sorted_faces: SortedFaces) -> Tensor:
    """The contact sheet of the node, (B, H, W, 3): the faces of each person in a frame of their colour, then the faces
    that corrections leave out, in grey.

    Under a face stand its number and its person, its similarity to the person's other faces, and the name of its file.
    """
    crops: list[Tensor] = []
    captions: list[str] = []
    colors: list[previews.Color] = []
    for number, (name, indices) in enumerate(sorted_faces.people.items()):
        for index, similarity in zip(indices, sorted_faces.similarity_to_others(indices), strict=True):
            face = sorted_faces.faces[index]
            figure = "" if similarity is None else f" {similarity:.2f}"
            crops.append(face.face.crop)
            captions.append(f"{face.number} {name}{figure} {face.file}".strip())
            colors.append(previews.color_of(number))
    for face in (sorted_faces.faces[index] for index in sorted_faces.left_out):
        crops.append(face.face.crop)
        captions.append(f"{face.number} left out {face.file}".strip())
        colors.append(_GREY)
    return previews.contact_sheet(crops, captions, lines=2, colors=colors)


_GREY: previews.Color = (120, 120, 120)


NODES = [SortPhotosIntoPeople]
