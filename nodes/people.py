"""People: face models, faces of a picture, identities from photos, the face bank, the cast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import face_bank, face_model, folders, notes, photos
from ..bridge.face_model import BACKENDS, TORCH, FaceModel, FindsFaces, default_face_model
from ..bridge.notes import stepwise
from ..bridge.schema import advanced, face_box_editor, pixels_input
from ..core import identities, people, pictures, previews
from ..core.errors import BadCast, BadPhoto, FaceNotFound, counted, first_few, gathered, listed
from ..core.faces import analysis, by_hand, landmarks, onnx_session, which
from ..core.faces.finding import Detection
from ..core.faces.pictures import is_placeholder, to_picture
from ..core.geometry import Fit
from ..core.people import require_together
from ..core.pictures import LONGER_SIDE, MULTIPLE_OF, resized_photo
from ..core.text import MOST_NAME_LETTERS, logger, names_in, plain
from .categories import IN_FILES, IN_PEOPLE
from .sockets import BoxesSocket, CastSocket, FaceLandmarksSocket, FaceModelSocket, FacesSocket, PersonSocket

_PEOPLE = 8
"""How many people, or photos, a cast node has inputs for."""
AS_IT_IS = "as it is"
AS_PUBLISHED = f"{LONGER_SIDE} px"
"""The size at which the face model reads a photo: its own, or that of InstantID's authors."""


def _crops_preview(cls: type[io.ComfyNode], identity: people.Identity) -> ui.PreviewImage | None:
    """The photos of a person as a node shows them: of each the face, and beside it head and shoulders where the person
    has portraits. None for a person without photos."""
    if not identities.photos_of(identity):
        return None
    sheet: list[Tensor] = []
    captions: list[str] = []
    for number, crop in enumerate(identity.crops, 1):
        sheet.append(crop)
        captions.append(f"{identity.name} {number}")
        if identity.portraits:
            sheet.append(identity.portraits.loose[number - 1])
            captions.append("head and shoulders")
    pictures_of_photo = 2 if identity.portraits else 1
    return ui.PreviewImage(previews.contact_sheet(sheet, captions, together=pictures_of_photo), cls=cls)


class LoadFaceEmbedder(io.ComfyNode):
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
        # What is linked is None here, and known only when the node runs.
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
        node_id = notes.node_of(cls)
        loaded_model = face_model.load_face_model(pack, recognisers, node_id, backend, provider)
        return io.NodeOutput(loaded_model)


class DetectFaces(FindsFaces, io.ComfyNode):
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
        face_model: FaceModel | None,
        image: Tensor,
        order: str,
        min_size: int,
        max_faces: int,
        face_landmarks: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        if len(image) != 1:
            why = f"Detect Faces got a batch of {len(image)} pictures; it reads one."
            raise BadPhoto(why, "Pick one with Get Image from Batch, or use one Detect Faces per picture.")
        face_model = face_model or default_face_model(detects=face_landmarks is None, node_id=notes.node_of(cls))
        (mesh,) = landmarks.meshes_of_pictures(face_landmarks, image)
        picture = to_picture(image[0])
        photo = photos.Photo(image[0], mesh)
        try:
            detections = photos.detected(face_model, picture, "the picture of Image (image) of Detect Faces", photo)
        except FaceNotFound as error:
            error.leave_out_box()
            raise
        detections = analysis.large_enough(detections, min_size)
        detections = analysis.arrange(detections, order)
        if max_faces:
            detections = detections[:max_faces]
        recognised = analysis.recognise(face_model.recognisers, picture, detections, "a face of the picture")
        faces = people.Faces(recognised, width=picture.shape[1], height=picture.shape[0])
        preview = analysis.numbered_faces(image[0], recognised)[None]
        unsure = analysis.unsure_faces(analysis.numbered(recognised))
        notes.tell(notes.node_of(cls), "\n".join(unsure))
        return io.NodeOutput(faces, preview, len(recognised), ui=ui.PreviewImage(preview, cls=cls))


class Person(FindsFaces, io.ComfyNode):
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
                # Else the frontend makes an editor of it, which always has a box.
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
        face_model: FaceModel | None,
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
        linked_photos = photos.photos_of_batches(image, face_landmarks)
        count = len(linked_photos)
        sizes = [photo.size for photo in linked_photos]
        boxed_faces = by_hand.faces_in_boxes(face_boxes, boxes, bboxes, sizes)  # one of each photo, None without a box
        detects = not face_landmarks and None in boxed_faces
        face_model = face_model or default_face_model(detects=detects, node_id=notes.node_of(cls))
        which_faces = which.which_face(which_face)
        which_faces.check_photos(count)
        name = plain(name, MOST_NAME_LETTERS) or "person"
        named_faces: list[tuple[str, people.Face]] = []
        lines: list[str] = []
        dropped_photos: list[str] = []
        dropped_cut_photos: list[photos.Photo] = []
        pairs = list(zip(linked_photos, boxed_faces, strict=True))
        for number, (photo, boxed_face) in enumerate(stepwise(pairs), 1):
            label = _photo_label(name, number, count)
            try:
                face = _chosen_face(
                    cls,
                    face_model,
                    photo,
                    which_faces.word_for_photo(number),
                    label.sentence,
                    photo_size,
                    boxed_face,
                )
            except FaceNotFound as error:
                if on_no_face == "error":
                    if count > 1:
                        error.advice += " Or leave such photos out: on_no_face = skip in Person."
                    raise
                lines.append(f"{label.sentence}: dropped. {error.problem}")
                dropped_photos.append(label.sentence)
                if photo.is_cut:
                    dropped_cut_photos.append(photo)
                continue
            named_faces.append((label.short, face))
            in_box = "" if boxed_face is None else "in its box, "
            lines.append(f"{label.sentence}: used, {in_box}{analysis.describe(face)}")
        identity = identities.from_faces(name, [face for _, face in named_faces], face_model.ids)
        report = "\n".join([f"{name}: {len(named_faces)} of {counted(count, 'photo')} used", *lines])
        logger.info("Person %s", report)
        examples = pictures.reminder([(name, linked_photos[0].pixels)])
        dropped = gathered("No face found, dropped", dropped_photos, photos.cut_note(dropped_cut_photos))
        notes.tell(notes.node_of(cls), "\n".join([*examples, *dropped, *analysis.weak_faces(named_faces)]))
        return io.NodeOutput(identity, identity.crops, report, ui=_crops_preview(cls, identity))


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
    """What a photo of a person is called. number: of the photo, from 1, of so many of this person."""
    if count == 1:
        return _PhotoLabel(f"the photo of {name}", name)
    return _PhotoLabel(f"photo {number} of {count} of {name}", f"{name} (photo {number})")


def _chosen_face(
    cls: type[io.ComfyNode],
    face_model: FaceModel,
    photo: photos.Photo,
    word: str,
    label: str,
    photo_size: str,
    boxed_face: Detection | None = None,
) -> people.Face:
    """The face of a photo that a person is made of, recognised; box and keypoints in pixels of the photo as it came.

    word: of which_face, which of several faces it is. label: of the photo, for messages. photo_size: AS_IT_IS, or
    AS_PUBLISHED: the photo is resized before the face model reads it. boxed_face: of the box that somebody drew, which
    is not looked for. Where it is not clear which face is meant, the node shows the faces with their numbers.

    Raises FaceNotFound, BadPhoto, BadEmbedding.
    """
    pixels = photo.pixels  # (H, W, C)
    picture = to_picture(pixels)
    # ComfyUI's own example.png is known by its very pixels, so that a message can name it: it keeps its size.
    if photo_size != AS_IT_IS and not is_placeholder(picture):
        pixels = resized_photo(photo.pixels[None], LONGER_SIDE, MULTIPLE_OF)[0]
        picture = to_picture(pixels)
    resized_size = (pixels.shape[1], pixels.shape[0])
    # Somebody who writes "3" has counted three faces or more, so the detector looks for as many.
    expected_faces = int(word) if word.isdecimal() else 1
    if boxed_face is not None:
        faces: Sequence[Detection] = [boxed_face]
    else:
        faces = photos.detected(face_model, picture, label, photo, expected_faces)
    if boxed_face is not None or photo.mesh is not None:
        # Boxes and meshes are in pixels of the photo as it came.
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
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessBlendTwoPeople",
            category=IN_PEOPLE,
            inputs=[
                PersonSocket.Input("a"),
                PersonSocket.Input("b"),
                io.Float.Input("amount", default=0.5, min=0.0, max=1.0, step=0.01),
                io.Combo.Input("method", options=list(identities.BLENDS)),
                io.String.Input("name", default=""),
            ],
            outputs=[PersonSocket.Output("person")],
        )

    @classmethod
    def execute(
        cls,
        a: people.Identity,
        b: people.Identity,
        amount: float,
        method: str,
        name: str,
    ) -> io.NodeOutput:
        return io.NodeOutput(identities.blend(a, b, amount, method, name))


class SavePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessSavePerson",
            category=IN_PEOPLE,
            inputs=[PersonSocket.Input("person"), io.String.Input("filename", default="person")],
            outputs=[PersonSocket.Output("saved_person"), io.String.Output("path")],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def fingerprint_inputs(cls, person: None, filename: str | None) -> int:
        return face_bank.fingerprint(filename)

    @classmethod
    def execute(cls, person: people.Identity, filename: str) -> io.NodeOutput:
        prompt = cls.hidden and cls.hidden.prompt
        path = face_bank.save_identity(person, filename, notes.node_of(cls), prompt)
        return io.NodeOutput(person, path, ui=_crops_preview(cls, person))


class LoadPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadPerson",
            category=IN_PEOPLE,
            inputs=[io.Combo.Input("file", options=face_bank.files() or [face_model.NONE_FOUND])],
            outputs=[PersonSocket.Output("person"), io.Image.Output("crops")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.chosen_file_exists(face_bank.path_of, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        return folders.fingerprint(face_bank.path_of, file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        identity = face_bank.load_identity(file)
        return io.NodeOutput(identity, identity.crops, ui=_crops_preview(cls, identity))


class Cast(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, _PEOPLE + 1)
        # 1 is what was trained. Above it networks extrapolate: the range ends at half as much again.
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
    def execute(cls, cast: people.Cast | None = None, **people_and_weights: Any) -> io.NodeOutput:
        cast_before = cast or people.Cast(())
        require_together(cast_before, "Cast")
        present = list(cast_before.people)
        absent = list(cast_before.absent)
        linked_people = {name: value for name, value in people_and_weights.items() if not name.startswith("weight_")}
        names_without_face: list[str] = []
        for input_number, identity in _by_number("Cast", "person", linked_people).items():
            if identities.photos_of(identity):
                weight = people_and_weights.get(f"weight_{input_number}", 1.0)
                present.append(people.Person(identity, weight))
            else:
                number_in_cast = len(present) + len(absent) + 1
                absent.append((number_in_cast, identity.name))
                names_without_face.append(identity.name)
        if not present:
            why = "no person is connected"
            if names_without_face:
                why = f"no photo of {listed(names_without_face)} shows a face"
            raise BadCast(f"The cast is empty: {why}.", "Connect at least one Person or Load Person with a face.")
        extended_cast = replace(cast_before, people=tuple(present), absent=tuple(absent))
        return _cast_output(cls, extended_cast, gathered("Left out, no photo with a face", names_without_face))


def _by_number(node_name: str, kind: str, inputs: Mapping[str, Any]) -> dict[int, Any]:
    """What is linked to the inputs person_1, person_2, ..., by number from 1.

    node_name: for messages. kind: "person" or "photo", what the inputs are called. inputs: by name, None for one
    without a link.
    Raises BadCast: the prompt of another program may have more than the node's last input.
    """
    numbers = {f"{kind}_{number}": number for number in range(1, _PEOPLE + 1)}
    beyond = [name for name in inputs if name not in numbers]
    if beyond:
        why = f"{node_name} takes {kind}_1 to {kind}_{_PEOPLE} and got {listed(beyond)} as well, who would be lost."
        raise BadCast(why, "Connect them to another Cast, and this one to its cast input.")
    linked: dict[int, Any] = {}
    for name, number in numbers.items():
        if inputs.get(name) is not None:
            linked[number] = inputs[name]
    return linked


def _cast_output(cls: type[io.ComfyNode], cast: people.Cast, remarks: Sequence[str]) -> io.NodeOutput:
    """A cast, and a picture with number, name and face of each person.

    remarks: lines for the note under the node, above those on people who look alike.
    """
    captions: list[str] = []
    for number, person in zip(cast.numbers, cast.people, strict=True):
        weight = "" if person.weight == 1 else f" x{person.weight:g}"
        captions.append(f"{number} {person.identity.name}{weight}")
    first_crops = [person.identity.crops[0] for person in cast.people]
    preview = previews.contact_sheet(first_crops, captions)
    present = [person.identity for person in cast.people if person.weight > 0]
    alike = identities.look_alike(present)
    notes.tell(notes.node_of(cls), "\n".join([*remarks, *alike]))
    return io.NodeOutput(cast, preview, ui=ui.PreviewImage(preview, cls=cls))


class CastFromPhotos(FindsFaces, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, _PEOPLE + 1)
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
        face_model: FaceModel | None,
        names: str,
        which_face: str,
        photo_size: str = AS_IT_IS,
        **inputs: Sequence[Tensor],
    ) -> io.NodeOutput:
        linked_photos = {name: batches for name, batches in inputs.items() if batches}
        batches_by_number: dict[int, Sequence[Tensor]] = _by_number("Cast from Photos", "photo", linked_photos)
        if not batches_by_number:
            raise BadCast("The cast is empty: no photo is connected.", "Connect a Load Image to photo_1.")
        which_faces = which.which_face(which_face)
        names_by_number = {number: name for number, name in enumerate(names_in(names), 1) if name}
        face_model = face_model or default_face_model(node_id=notes.node_of(cls))
        members: list[people.Person] = []
        named_faces: list[tuple[str, people.Face]] = []
        first_photos: list[tuple[str, Tensor]] = []
        for number, batches in stepwise(list(batches_by_number.items())):
            name = names_by_number.get(number, f"person {len(members) + 1}")
            photos_of_person = photos.photos_of_batches(batches)
            first_photos.append((name, photos_of_person[0].pixels))
            faces: list[people.Face] = []
            for photo_number, photo in enumerate(photos_of_person, 1):
                label = _photo_label(name, photo_number, len(photos_of_person))
                face = _chosen_face(
                    cls, face_model, photo, which_faces.word_for_photo(number), label.sentence, photo_size
                )
                faces.append(face)
                named_faces.append((label.short, face))
            members.append(people.Person(identities.from_faces(name, faces, face_model.ids)))
        examples = pictures.reminder(first_photos)
        without_photo = [name for number, name in names_by_number.items() if number not in batches_by_number]
        left_out = gathered("Left out, no photo", first_few(without_photo))
        remarks = [*examples, *left_out, *analysis.weak_faces(named_faces)]
        return _cast_output(cls, people.Cast(tuple(members)), remarks)


NODES = [LoadFaceEmbedder, DetectFaces, Person, BlendTwoPeople, SavePerson, LoadPerson, Cast, CastFromPhotos]
