"""People: face models, faces of a picture, people from photos, the face bank, the cast."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import folders, notes
from ..bridge.host.inputs import ChoosesFile
from ..bridge.host.notes import stepwise
from ..bridge.host.schema import advanced, face_box_editor, pixels_input
from ..bridge.people import face_bank, face_model, photos
from ..bridge.people.face_model import BACKENDS, TORCH, FindsFaces, HostedFaceModel, default_face_model
from ..core import grouping, persons, taking_part
from ..core.cast import UNNAMED, Absent, Cast, Face, Faces, Member, Person, require_together
from ..core.checks.errors import BadCast, BadPhoto, FaceNotFound, counted, first_few, gathered, listed
from ..core.checks.names import folded
from ..core.checks.text import MOST_NAME_LETTERS, logger, names_in, plain
from ..core.faces import analysis, by_hand, landmarks, onnx_session, which
from ..core.faces.bgr_pictures import is_placeholder, to_picture
from ..core.faces.finding import Detection
from ..core.pictures import previews, tensors
from ..core.pictures.geometry import Fit
from ..core.pictures.tensors import LONGER_SIDE, MULTIPLE_OF, resized_photo
from .categories import IN_FILES, IN_PEOPLE
from .sockets import BoxesSocket, CastSocket, FaceLandmarksSocket, FaceModelSocket, FacesSocket, PersonSocket

_INPUTS = 8
"""The number of inputs for people that Cast has, and of inputs for photos that Cast from Photos has."""
AS_IT_IS = "as it is"
AS_PUBLISHED = f"{LONGER_SIDE} px"
"""The options for the size at which the face model reads a photo: AS_IT_IS is the photo's own size, AS_PUBLISHED the
size to which InstantID's authors bring photos."""


def _crops_preview(cls: type[io.ComfyNode], person: Person) -> ui.PreviewImage | None:
    """The preview of a person: for each photo the cut of the face, and beside it the cut of head and shoulders.

    A person whose file was saved without portraits has no cuts of head and shoulders. None for a person without photos.
    """
    if not persons.photos_of(person):
        return None
    sheet: list[Tensor] = []
    captions: list[str] = []
    for number, crop in enumerate(person.crops, 1):
        sheet.append(crop)
        captions.append(f"{person.name} {number}")
        if person.portraits:
            sheet.append(person.portraits.loose[number - 1])
            captions.append("head and shoulders")
    pictures_of_photo = 2 if person.portraits else 1
    return ui.PreviewImage(previews.contact_sheet(sheet, captions, together=pictures_of_photo), cls=cls)


class LoadFaceEmbedder(io.ComfyNode):
    """A face model: a detector, and the recognisers that make embeddings of faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadFaceEmbedder",
            category=IN_FILES,
            inputs=[
                io.Combo.Input("pack", options=face_model.pack_names()),
                io.Combo.Input("recognisers", options=face_model.recogniser_names(), default=face_model.ALL),
                advanced(io.Combo.Input("provider", options=list(onnx_session.PROVIDERS))),
                advanced(io.Combo.Input("backend", options=[*BACKENDS], default=TORCH, optional=True)),
            ],
            outputs=[FaceModelSocket.Output("face_model")],
        )

    @classmethod
    def validate_inputs(
        cls,
        pack: str | None,
        recognisers: str | None,
        provider: str | None = onnx_session.AUTO,
        backend: str | None = TORCH,
    ) -> bool:
        # The host wants a bool or an exception. An input is None where it is linked: its value is known only when the
        # node runs.
        error = None
        if pack is not None and recognisers is not None:
            error = face_model.refusal(folders.a_name(pack), folders.a_name(recognisers))
        if error is None and provider is not None and backend is not None:
            error = face_model.backend_refusal(folders.a_name(backend), folders.a_name(provider))
        if error is not None:
            raise error
        return True

    @classmethod
    def fingerprint_inputs(cls, pack: str, recognisers: str, provider: str, backend: str = TORCH) -> str:
        return str((pack, recognisers, provider, backend, face_model.files_stamp()))

    @classmethod
    def execute(cls, pack: str, recognisers: str, provider: str, backend: str = TORCH) -> io.NodeOutput:
        loaded_model = face_model.load_face_model(pack, recognisers, backend, provider)
        return io.NodeOutput(loaded_model)


class DetectFaces(FindsFaces, io.ComfyNode):
    """The faces of one picture with their embeddings, in the order that the user has chosen."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessDetectFaces",
            category=IN_PEOPLE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True),
                io.Image.Input("image"),
                io.Combo.Input("order", options=list(analysis.ORDERS)),
                pixels_input("min_size"),
                io.Int.Input("max_faces", default=0, min=0, max=100),
                FaceLandmarksSocket.Input("face_landmarks", optional=True),
            ],
            outputs=[FacesSocket.Output("faces"), io.Image.Output("preview"), io.Int.Output("count")],
        )

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        image: Tensor,
        order: str,
        min_size: int,
        max_faces: int,
        face_landmarks: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        if len(image) != 1:
            why = f"Detect Faces got a batch of {len(image)} pictures; it reads one."
            raise BadPhoto(why, "Pick one with Get Image from Batch, or use one Detect Faces per picture.")
        # With face_landmarks the faces are already found, and the default face model needs no detector.
        face_model = face_model or default_face_model(detects=face_landmarks is None)
        (mesh,) = landmarks.meshes_of_pictures(face_landmarks, image)  # of the one picture; None without landmarks
        picture = to_picture(image[0])
        photo = photos.Photo(image[0], mesh)
        picture_name = "the picture of Image (image) of Detect Faces"
        detections = photos.detected(face_model, picture, picture_name, photo, boxable=False)
        detections = analysis.large_enough(detections, min_size)
        detections = analysis.arrange(detections, order)
        if max_faces:  # 0 is for all
            detections = detections[:max_faces]
        recognised = analysis.recognise(face_model.recognisers, picture, detections, "a face of the picture")
        faces = Faces(recognised, width=picture.shape[1], height=picture.shape[0])
        preview = analysis.numbered_faces(image[0], recognised)[None]
        unsure = analysis.unsure_faces(analysis.numbered(recognised))  # faces of which it is unsure which way is up
        notes.tell("\n".join(unsure))
        return io.NodeOutput(faces, preview, len(recognised), ui=ui.PreviewImage(preview, cls=cls))


class PersonNode(FindsFaces, io.ComfyNode):
    """A person from one or more photos, with an embedding of each photo that shows the face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPerson",
            category=IN_PEOPLE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True),
                io.Image.Input("image"),
                io.String.Input("name", default=""),
                _which_face(),
                io.Combo.Input("on_no_face", options=["error", "skip"]),
                FaceLandmarksSocket.Input("face_landmarks", optional=True),
                _photo_size(),
                # forceInput makes it a socket alone. Otherwise the frontend shows an editor there, which always has a
                # box, so that every photo would count as boxed.
                BoxesSocket.Input("bboxes", optional=True, extra_dict={"forceInput": True}),
                io.String.Input("face_boxes", default="", multiline=True, optional=True),
                *face_box_editor(),
            ],
            outputs=[PersonSocket.Output("person"), io.Image.Output("crops"), io.String.Output("report")],
            is_input_list=True,
        )

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        image: Sequence[Tensor],
        name: str,
        which_face: str,
        on_no_face: str,
        face_landmarks: Sequence[Mapping[str, Any]] = (),
        photo_size: str = AS_IT_IS,
        bboxes: Sequence[object] = (),
        face_boxes: str = "",
        boxes: Sequence[object] | None = None,
    ) -> io.NodeOutput:
        # With is_input_list the host gives the linked inputs as lists; of the others bridge.host.inputs makes single
        # values.
        linked_photos = photos.photos_of_batches(image, face_landmarks)
        count = len(linked_photos)
        sizes = [photo.size for photo in linked_photos]
        # Boxes come from three inputs: face_boxes as text, boxes drawn in the editor, bboxes by a link.
        boxed_faces = by_hand.faces_in_boxes(face_boxes, boxes, bboxes, sizes)  # one of each photo, None without a box
        # The default face model needs no detector where every face is known from landmarks or boxes.
        detects = not face_landmarks and None in boxed_faces
        face_model = face_model or default_face_model(detects)
        which_faces = which.which_face(which_face)
        which_faces.check_photos(count)
        name = plain(name, MOST_NAME_LETTERS) or "person"
        photos_read = _PhotosRead(name)
        pairs = list(zip(linked_photos, boxed_faces, strict=True))
        for number, (photo, boxed_face) in enumerate(stepwise(pairs), 1):
            label = _photo_label(name, number, count)
            try:
                word = which_faces.word_for_photo(number)
                face = _chosen_face(cls, face_model, photo, word, label.sentence, photo_size, boxed_face)
            except FaceNotFound as error:
                if on_no_face == "error":
                    if count > 1:  # of a single photo nothing would be left
                        error.advice += " Or leave such photos out: on_no_face = skip in Person."
                    raise
                photos_read.drop(photo, label, error)
            else:
                photos_read.use(number, label, face, boxed_face is not None)
        person = persons.from_faces(name, photos_read.faces, face_model.ids)
        report = "\n".join([f"{name}: {len(photos_read.faces)} of {counted(count, 'photo')} used", *photos_read.lines])
        logger.info("Person %s", report)
        # A note, where the first photo is an example picture that the user has not replaced yet.
        examples = tensors.reminder([(name, linked_photos[0].pixels)])
        notes.tell("\n".join([*examples, *photos_read.notes()]))
        return io.NodeOutput(person, person.crops, report, ui=_crops_preview(cls, person))


def _photo_size() -> io.Combo.Input:
    return advanced(io.Combo.Input("photo_size", options=[AS_IT_IS, AS_PUBLISHED], default=AS_IT_IS, optional=True))


def _which_face() -> io.String.Input:
    """The input that says which face of a photo is meant: a word for all photos, or one for each of them.

    core.faces.which reads it.
    """
    return io.String.Input("which_face", default=which.ONLY, placeholder=f"{which.ONLY}, {which.LARGEST}, 2 or 3,1")


@dataclass(frozen=True)
class _PhotoLabel:
    """What a photo is called. sentence: "photo 2 of 3 of Anna", in sentences. short: "Anna (photo 2)", in lists."""

    sentence: str
    short: str


def _photo_label(name: str, number: int, count: int) -> _PhotoLabel:
    """What messages call a photo of a person.

    name: of the person. number: of the photo among those of the person, from 1. count: how many photos the person has.
    """
    if count == 1:
        return _PhotoLabel(f"the photo of {name}", name)
    return _PhotoLabel(f"photo {number} of {count} of {name}", f"{name} (photo {number})")


@dataclass
class _PhotosRead:
    """What has become of the photos of one person, one after the other.

    name: of the person. named_faces, numbered_faces: the faces that are used, with what lists call their photos: "Anna
    (photo 2)" and "photo 2". lines: of the report, one for each photo. dropped: what sentences call the photos without
    a face. dropped_cut: of the photos without a face those that came in a batch of several. The host cuts the pictures
    of a batch to one shape, which may be why no face is found.
    """

    name: str
    named_faces: list[tuple[str, Face]] = field(default_factory=lambda: [])
    numbered_faces: list[tuple[str, Face]] = field(default_factory=lambda: [])
    lines: list[str] = field(default_factory=lambda: [])
    dropped: list[str] = field(default_factory=lambda: [])
    dropped_cut: list[photos.Photo] = field(default_factory=lambda: [])

    @property
    def faces(self) -> list[Face]:
        return [face for _, face in self.named_faces]

    def use(self, number: int, label: _PhotoLabel, face: Face, is_boxed: bool = False) -> None:
        """Add the face of a photo to the lists of faces, and a line to the report.

        number: of the photo, from 1. is_boxed: whether the user has drawn a box around the face.
        """
        self.named_faces.append((label.short, face))
        self.numbered_faces.append((f"photo {number}", face))
        in_box = "in its box, " if is_boxed else ""
        self.lines.append(f"{label.sentence}: used, {in_box}{analysis.describe(face)}")

    def drop(self, photo: photos.Photo, label: _PhotoLabel, error: FaceNotFound) -> None:
        """Add a photo without a face to the lists of dropped photos, and a line to the report."""
        self.lines.append(f"{label.sentence}: dropped. {error.problem}")
        self.dropped.append(label.sentence)
        if photo.is_cut:
            self.dropped_cut.append(photo)

    def notes(self) -> list[str]:
        """Lines for the note under the node: photos without a face, faces that may be another person's, weak faces."""
        dropped = gathered("No face found, dropped", self.dropped, photos.cut_note(self.dropped_cut))
        doubts = grouping.notes({self.name: self.numbered_faces})
        return [*dropped, *doubts, *analysis.weak_faces(self.named_faces)]


def _chosen_face(
    cls: type[io.ComfyNode],
    face_model: HostedFaceModel,
    photo: photos.Photo,
    word: str,
    label: str,
    photo_size: str,
    boxed_face: Detection | None = None,
) -> Face:
    """The face of a photo that becomes part of a person, with its embeddings and portraits.

    The box and the keypoints of the result are in pixels of the photo as it came, also where the face model has read it
    in another size.
    word: which of several faces is meant, a word of the input which_face for this photo. label: what messages call the
    photo. photo_size: AS_IT_IS, or AS_PUBLISHED to resize the photo before the face model reads it. boxed_face: the
    face in the box that a user has given for this photo, so that no face is looked for; None without a box.

    Raises FaceNotFound, BadPhoto, BadEmbedding. Where it is not clear which face is meant (BadPhoto), the node also
    shows the faces with their numbers.
    """
    pixels = photo.pixels  # (H, W, C)
    picture = to_picture(pixels)
    # ComfyUI's own example.png shows no face. FaceNotFound names it, and recognises it by its pixels: it is not
    # resized.
    if photo_size != AS_IT_IS and not is_placeholder(picture):
        pixels = resized_photo(photo.pixels[None], LONGER_SIDE, MULTIPLE_OF)[0]
        picture = to_picture(pixels)
    resized_size = (pixels.shape[1], pixels.shape[0])  # (width, height)
    # Somebody who writes "3" has counted three faces or more, so the detector looks for as many.
    expected_faces = int(word) if word.isdecimal() else 1
    if boxed_face is not None:
        faces: Sequence[Detection] = [boxed_face]
    else:
        faces = photos.detected(face_model, picture, label, photo, expected_faces)
    if boxed_face is not None or photo.mesh is not None:
        # Faces of a box or a mesh are in pixels of the photo as it came, those of the detector in the resized photo's.
        to_resized = Fit.into(photo.size, resized_size, "stretch")
        faces = [face.moved(to_resized.point) for face in faces]
    try:
        chosen = analysis.choose(faces, word, label)
    except BadPhoto:
        numbered = analysis.numbered_faces(pixels, analysis.arrange(faces, analysis.NUMBERED))
        notes.show(notes.node_of(cls), numbered[None])
        raise
    (face,) = analysis.recognise(face_model.recognisers, picture, [chosen], label, portraits=True)
    to_photo = Fit.into(resized_size, photo.size, "stretch")
    keypoints = tuple(to_photo.point(point) for point in face.keypoints)
    return replace(face, box=to_photo.box(face.box), keypoints=keypoints)


class BlendTwoPeople(io.ComfyNode):
    """A person between two people, or a list of people from one to the other, with whom all that follows runs once
    each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessBlendTwoPeople",
            category=IN_PEOPLE,
            inputs=[
                PersonSocket.Input("a"),
                PersonSocket.Input("b"),
                io.Float.Input("amount", default=0.5, min=0.0, max=1.0, step=0.01),
                io.Combo.Input("method", options=list(persons.BLENDS)),
                io.String.Input("name", default=""),
                io.Int.Input("steps", default=1, min=1, max=20, optional=True),
            ],
            outputs=[PersonSocket.Output("person", is_output_list=True)],
        )

    @classmethod
    def execute(
        cls,
        a: Person,
        b: Person,
        amount: float,
        method: str,
        name: str,
        steps: int = 1,
    ) -> io.NodeOutput:
        amounts = [amount]
        if steps > 1:  # then `amount` is not used: the list goes from 0, which is a, to 1, which is b
            amounts = [step / (steps - 1) for step in range(steps)]
        return io.NodeOutput([persons.blend(a, b, amount_of_b, method, name) for amount_of_b in amounts])


class SavePerson(io.ComfyNode):
    """Saves a person as a file in models/likeness_faces, and gives the person on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessSavePerson",
            category=IN_PEOPLE,
            inputs=[PersonSocket.Input("person"), io.String.Input("filename", default="person")],
            outputs=[PersonSocket.Output("saved_person"), io.String.Output("path")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, person: None, filename: str | None) -> int:
        # person is always None: linked values are known only when the node runs.
        return face_bank.fingerprint(filename)

    @classmethod
    def execute(cls, person: Person, filename: str) -> io.NodeOutput:
        graph = cls.hidden and cls.hidden.dynprompt
        path = face_bank.save_person(person, filename, notes.node_of(cls), graph)
        return io.NodeOutput(person, path, ui=_crops_preview(cls, person))


class LoadPerson(ChoosesFile, io.ComfyNode):
    """A person from a file of Save Person."""

    path_of = staticmethod(face_bank.path_of)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadPerson",
            category=IN_PEOPLE,
            inputs=[io.Combo.Input("file", options=face_bank.files() or [face_model.NONE_FOUND])],
            outputs=[PersonSocket.Output("person"), io.Image.Output("crops")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        person = face_bank.load_person(file)
        return io.NodeOutput(person, person.crops, ui=_crops_preview(cls, person))


class CastNode(io.ComfyNode):
    """A list of people with weights, appended to another cast where one is linked."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, _INPUTS + 1)
        # Networks were trained with a weight of 1. Above it they extrapolate, so the range ends at 1.5.
        weight: dict[str, Any] = {"default": 1.0, "min": 0.0, "max": 1.5, "step": 0.05, "optional": True}
        return io.Schema(
            node_id="LikenessCast",
            category=IN_PEOPLE,
            inputs=[
                CastSocket.Input("cast", optional=True),
                *[PersonSocket.Input(f"person_{number}", optional=True) for number in numbers],
                *[advanced(io.Float.Input(f"weight_{number}", **weight)) for number in numbers],
            ],
            outputs=[CastSocket.Output("extended_cast"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(cls, cast: Cast | None = None, **people_and_weights: Any) -> io.NodeOutput:
        # people_and_weights: the inputs person_1, weight_1 and so on. An input without a link may be missing, or None.
        cast_before = cast or Cast(())
        require_together(cast_before, "Cast")
        # Those of the linked cast come first, and the people of this node are appended.
        present = list(cast_before.people)
        absent = list(cast_before.absent)
        weight_inputs = {name: value for name, value in people_and_weights.items() if name.startswith("weight_")}
        person_inputs = {name: value for name, value in people_and_weights.items() if name not in weight_inputs}
        weights = _by_number("Cast", "weight", weight_inputs)
        persons_by_number = _by_number("Cast", "person", person_inputs)
        names_without_face: list[str] = []
        for input_number, person in persons_by_number.items():
            # Absent people keep their number, so that the people after them are not renumbered.
            number_in_cast = len(present) + len(absent) + 1
            member = Member(person, weights.get(input_number, 1.0), number=number_in_cast)
            if persons.photos_of(person):
                present.append(member)
            else:
                absent.append(Absent(number_in_cast, person.name))
                names_without_face.append(member.name)
        if not present:
            why = "no person is connected"
            if names_without_face:
                why = f"no photo of {listed(names_without_face)} shows a face"
            raise BadCast(f"The cast is empty: {why}.", "Connect at least one Person or Load Person with a face.")
        extended_cast = replace(cast_before, people=tuple(present), absent=tuple(absent))
        # A weight other than 1 has been set by somebody, who meant a person.
        weights_without_person = [
            f"weight {number}" for number, weight in weights.items() if number not in persons_by_number and weight != 1
        ]
        left_out = [
            *gathered("Left out, no photo with a face", names_without_face),
            *gathered("Left out, no person", weights_without_person),
        ]
        return _cast_output(cls, extended_cast, left_out)


def _by_number(node_name: str, kind: str, inputs: Mapping[str, Any]) -> dict[int, Any]:
    """The values of the inputs person_1, person_2 and so on: number of the input, from 1 -> value, without None.

    node_name: for messages. kind: how the names of the inputs begin: "person", "weight" or "photo". inputs: name ->
    value, None for an input without a link.
    Raises BadCast for an input that the node does not have, such as person_9. The prompt of another program may have
    it, and the host hands it on.
    """
    numbers = {f"{kind}_{number}": number for number in range(1, _INPUTS + 1)}
    beyond = [name for name in inputs if name not in numbers]
    if beyond:
        why = f"{node_name} takes {kind}_1 to {kind}_{_INPUTS} and got {listed(beyond)} as well, which would be lost."
        raise BadCast(why, "Connect them to another Cast, and this one to its cast input.")
    values: dict[int, Any] = {}
    for name, number in numbers.items():
        if inputs.get(name) is not None:
            values[number] = inputs[name]
    return values


def _cast_output(cls: type[io.ComfyNode], cast: Cast, lines: Sequence[str]) -> io.NodeOutput:
    """The outputs of a node that makes a cast: the cast, and a preview with number, name and face of each person.

    It also writes the note under the node: `lines`, then lines on people of one name, and on people who look alike.
    """
    captions: list[str] = []
    for number, member in zip(cast.numbers, cast.people, strict=True):
        weight = "" if member.weight == 1 else f" x{member.weight:g}"
        captions.append(f"{number} {member.person.name}{weight}")
    first_crops = [member.person.crops[0] for member in cast.people]
    preview = previews.contact_sheet(first_crops, captions)
    acting = taking_part.present(cast).people  # those of weight above 0
    alike = persons.look_alike(taking_part.with_names(acting))
    notes.tell("\n".join([*lines, *_named_twice(acting), *alike]))
    return io.NodeOutput(cast, preview, ui=ui.PreviewImage(preview, cls=cls))


def _named_twice(cast_people: Sequence[Member]) -> list[str]:
    """A line that lists the names that several people have; [] without any. Nodes take the number of such a person.

    cast_people: those of weight above 0. People without a name are not counted.
    """
    names = [member.person.name for member in cast_people if member.person.name != UNNAMED]
    counts = Counter(map(folded, names))
    # Each name is listed once. Where people spell it differently, it is listed as the last of them spells it.
    named_twice = {folded(name): name for name in names if counts[folded(name)] > 1}
    return gathered("One name for several people", [*named_twice.values()], ": their numbers tell them apart")


class CastFromPhotos(FindsFaces, io.ComfyNode):
    """A cast straight from photos: each input photo_1 and so on has the photos of one person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, _INPUTS + 1)
        return io.Schema(
            node_id="LikenessCastFromPhotos",
            category=IN_PEOPLE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True),
                io.String.Input("names", default=""),
                _which_face(),
                *[io.Image.Input(f"photo_{number}", optional=True) for number in numbers],
                _photo_size(),
            ],
            outputs=[CastSocket.Output("cast"), io.Image.Output("preview")],
            is_input_list=True,
        )

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        names: str,
        which_face: str,
        photo_size: str = AS_IT_IS,
        **inputs: Sequence[Tensor],
    ) -> io.NodeOutput:
        # inputs: photo_1 and so on. With is_input_list each is a list of IMAGEs, which is empty without a link.
        linked_photos = {name: batches for name, batches in inputs.items() if batches}
        batches_by_number: dict[int, Sequence[Tensor]] = _by_number("Cast from Photos", "photo", linked_photos)
        if not batches_by_number:
            raise BadCast("The cast is empty: no photo is connected.", "Connect a Load Image to photo_1.")
        which_faces = which.which_face(which_face)
        names_by_number = {number: name for number, name in enumerate(names_in(names), 1) if name}
        face_model = face_model or default_face_model()
        members: list[Member] = []
        named_faces: list[tuple[str, Face]] = []
        first_photos: list[tuple[str, Tensor]] = []
        doubts: list[str] = []
        for number, batches in stepwise(list(batches_by_number.items())):
            # number: of the input, and of the name in `names`. Inputs without a link leave gaps, so a person without a
            # name is called by the number in the cast.
            name = names_by_number.get(number, f"person {len(members) + 1}")
            photos_of_person = photos.photos_of_batches(batches)
            first_photos.append((name, photos_of_person[0].pixels))
            photos_read = _PhotosRead(name)
            for photo_number, photo in enumerate(photos_of_person, 1):
                label = _photo_label(name, photo_number, len(photos_of_person))
                # In this node which_face has a word for each input, which holds for all photos of the input.
                word = which_faces.word_for_photo(number)
                face = _chosen_face(cls, face_model, photo, word, label.sentence, photo_size)
                photos_read.use(photo_number, label, face)
            named_faces += photos_read.named_faces
            person = persons.from_faces(name, photos_read.faces, face_model.ids)
            members.append(Member(person, number=len(members) + 1))
            doubts += grouping.notes({name: photos_read.numbered_faces}, look_at="them")
        # A note, where first photos are example pictures that the user has not replaced yet.
        examples = tensors.reminder(first_photos)
        without_photo = [name for number, name in names_by_number.items() if number not in batches_by_number]
        without_photo += which_faces.without_photo(batches_by_number)
        left_out = gathered("Left out, no photo", first_few(without_photo))
        lines = [*examples, *left_out, *doubts, *analysis.weak_faces(named_faces)]
        return _cast_output(cls, Cast(tuple(members)), lines)


NODES = [LoadFaceEmbedder, DetectFaces, PersonNode, BlendTwoPeople, SavePerson, LoadPerson, CastNode, CastFromPhotos]
