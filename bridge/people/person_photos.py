"""The photos of one person: the face of each that becomes part of the person, and what has become of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from comfy_api.latest import io
from torch import Tensor

from ...core.cast import Face
from ...core.checks.errors import BadPhoto, FaceNotFound, gathered
from ...core.faces import analysis, which
from ...core.faces.finding import Detection
from ...core.faces.pictures import Picture
from ...core.grouping import sorting
from ...core.pictures.geometry import Fit
from ...core.pictures.tensors import LONGER_SIDE, MULTIPLE_OF, eight_bits, resized_photo
from ..host import notes
from ..host.schema import advanced
from . import photos
from .face_model import HostedFaceModel
from .photos import Photo

AS_IT_IS = "as it is"
AS_PUBLISHED = f"{LONGER_SIDE} px"
"""The options for the size at which the face model reads a photo: AS_IT_IS is the photo's own size, AS_PUBLISHED the
size to which InstantID's authors bring photos."""


def photo_size_input() -> io.Combo.Input:
    """The input for the size at which the face model reads a photo."""
    return advanced(io.Combo.Input("photo_size", options=[AS_IT_IS, AS_PUBLISHED], default=AS_IT_IS, optional=True))


def which_face_input() -> io.String.Input:
    """The input that says which face of a photo is meant: a word for all photos, or one for each of them.

    core.faces.which reads it.
    """
    return io.String.Input("which_face", default=which.ONLY, placeholder=f"{which.ONLY}, {which.LARGEST}, 2 or 3,1")


@dataclass(frozen=True, eq=False)
class FaceReader:
    """What reads the faces of photos for a node.

    photo_size: AS_IT_IS or AS_PUBLISHED. boxable: whether the node takes boxes of faces, as its errors then say.
    """

    node: type[io.ComfyNode]
    model: HostedFaceModel
    photo_size: str
    boxable: bool = False

    def face(self, photo: Photo, word: str, label: str, boxed_face: Detection | None = None) -> Face:
        """The face of a photo that becomes part of a person, with its embeddings and portraits.

        The box and the keypoints of the result are in pixels of the photo as it came, also where the face model has
        read it in another size.
        word: which of several faces is meant, a word of the input which_face for this photo. label: what messages call
        the photo. boxed_face: the face in the box that a user has given for this photo, so that no face is looked for;
        None without a box.

        Raises FaceNotFound, BadPhoto, BadEmbedding. Where it is not clear which face is meant (BadPhoto), the node also
        shows the faces with their numbers.
        """
        pixels = self._as_read(photo)  # (H, W, C)
        picture = eight_bits(pixels)
        faces = [boxed_face] if boxed_face else self._found(photo, picture, word, label)
        size_read = (pixels.shape[1], pixels.shape[0])  # (width, height)
        if boxed_face is not None or photo.mesh is not None:
            # Faces of a box or a mesh are in pixels of the photo as it came, those of the detector in those read.
            to_read = Fit.into(photo.size, size_read, "stretch")
            faces = [face.moved(to_read.point) for face in faces]
        try:
            chosen = analysis.choose(faces, word, label)
        except BadPhoto:
            numbered = analysis.numbered_faces(pixels, analysis.arrange(faces, analysis.NUMBERED))
            notes.show(notes.node_of(self.node), numbered[None])
            raise
        (face,) = analysis.recognise(self.model.recognisers, picture, [chosen], label, portraits=True)
        to_photo = Fit.into(size_read, photo.size, "stretch")
        keypoints = tuple(to_photo.point(point) for point in face.keypoints)
        return replace(face, box=to_photo.box(face.box), keypoints=keypoints)

    def _as_read(self, photo: Photo) -> Tensor:
        """The pixels that the face model reads of a photo, (H, W, C)."""
        if self.photo_size == AS_IT_IS:
            return photo.pixels
        return resized_photo(photo.pixels[None], LONGER_SIDE, MULTIPLE_OF)[0]

    def _found(self, photo: Photo, picture: Picture, word: str, label: str) -> Sequence[Detection]:
        """The faces that are found in a photo, or that its mesh tells. picture: as the face model reads the photo."""
        # Somebody who writes "3" has counted three faces or more, so the detector looks for as many.
        expected_faces = int(word) if word.isdecimal() else 1
        return photos.detected(self.model, picture, label, photo, expected_faces, self.boxable)


@dataclass
class PhotosRead:
    """What has become of the photos of one person, one after the other.

    name: of the person. photos: all of them. used: number of a photo, from 1 -> its face. dropped: numbers of photos
    without a face. lines: of the report, one for each photo.
    """

    name: str
    photos: Sequence[Photo]
    used: dict[int, Face] = field(default_factory=dict[int, Face])
    dropped: list[int] = field(default_factory=list[int])
    lines: list[str] = field(default_factory=list[str])

    def label(self, number: int) -> str:
        """What sentences call a photo: "photo 2 of 3 of Anna"."""
        count = len(self.photos)
        return f"the photo of {self.name}" if count == 1 else f"photo {number} of {count} of {self.name}"

    @property
    def faces(self) -> list[Face]:
        return [*self.used.values()]

    @property
    def named_faces(self) -> list[tuple[str, Face]]:
        """The faces with what lists call their photos: "Anna (photo 2)"."""
        if len(self.photos) == 1:
            return [(self.name, face) for face in self.faces]
        return [(f"{self.name} (photo {number})", face) for number, face in self.used.items()]

    def use(self, number: int, face: Face, is_boxed: bool = False) -> None:
        """Take the face of a photo. is_boxed: whether the user has drawn a box around the face."""
        self.used[number] = face
        in_box = "in its box, " if is_boxed else ""
        self.lines.append(f"{self.label(number)}: used, {in_box}{analysis.describe(face)}")

    def drop(self, number: int, error: FaceNotFound) -> None:
        """Leave a photo out."""
        self.dropped.append(number)
        self.lines.append(f"{self.label(number)}: dropped. {error.problem}")

    def doubts(self, look_at: str) -> list[str]:
        """Lines about faces that may be another person's. look_at: as in grouping.notes."""
        numbered_faces = [(f"photo {number}", face) for number, face in self.used.items()]
        return sorting.notes({self.name: numbered_faces}, look_at=look_at)

    def notes(self) -> list[str]:
        """Lines for the note under the node: photos without a face, faces that may be another person's, weak faces."""
        # The host cuts the pictures of a batch to one shape, which may be why no face is found.
        cut = [photo for photo in (self.photos[number - 1] for number in self.dropped) if photo.is_cut]
        dropped = gathered("No face found, dropped", [*map(self.label, self.dropped)], photos.cut_note(cut))
        return [*dropped, *self.doubts("the crops"), *analysis.weak_faces(self.named_faces)]
