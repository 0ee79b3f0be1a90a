"""People: from photos, between two people, saved and loaded."""

from collections.abc import Mapping, Sequence
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import notes
from ..bridge.host.inputs import ChoosesFile
from ..bridge.host.notes import stepwise
from ..bridge.host.schema import face_box_editor
from ..bridge.people import face_model, photos, saved_people
from ..bridge.people.face_model import FindsFaces, HostedFaceModel, default_face_model
from ..bridge.people.person_photos import AS_IT_IS, FaceReader, PhotosRead, photo_size_input, which_face_input
from ..core.cast import Person
from ..core.checks.errors import FaceNotFound, counted
from ..core.checks.text import MOST_NAME_LETTERS, logger, plain
from ..core.faces import by_hand, which
from ..core.persons import blending, checks, combining
from ..core.persons.looks import shown
from ..core.pictures import previews, tensors
from .categories import IN_PEOPLE
from .sockets import BoxesSocket, FaceLandmarksSocket, FaceModelSocket, PersonSocket


def _crops_preview(cls: type[io.ComfyNode], person: Person) -> ui.PreviewImage | None:
    """The preview of a person: for each photo the cut of the face, and beside it the cut of head and shoulders; then
    what is worn in each look.

    A person whose file was saved without portraits has no cuts of head and shoulders. None for a person without photos.
    """
    if not checks.photos_of(person):
        return None
    sheet: list[Tensor] = []
    captions: list[str] = []
    for number, crop in enumerate(person.crops, 1):
        sheet.append(crop)
        captions.append(f"{person.name} {number}")
        if person.portraits:
            sheet.append(person.portraits.loose[number - 1])
            captions.append("head and shoulders")
    for look in person.looks:
        for picture in look.pictures:
            sheet.append(shown(picture))
            captions.append(f"{look.name}: {picture.label}")
    pictures_of_photo = 2 if person.portraits else 1
    return ui.PreviewImage(previews.contact_sheet(sheet, captions, together=pictures_of_photo), cls=cls)


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
                which_face_input(),
                io.Combo.Input("on_no_face", options=["error", "skip"]),
                FaceLandmarksSocket.Input("face_landmarks", optional=True),
                photo_size_input(),
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
        sizes = [photo.size for photo in linked_photos]
        # Boxes come from three inputs: face_boxes as text, boxes drawn in the editor, bboxes by a link.
        boxed_faces = by_hand.faces_in_boxes(face_boxes, boxes, bboxes, sizes)  # one of each photo, None without a box
        # The default face model needs no detector where every face is known from landmarks or boxes.
        detects = not face_landmarks and None in boxed_faces
        face_model = face_model or default_face_model(detects)
        which_faces = which.which_face(which_face)
        which_faces.check_photos(len(linked_photos))
        reader = FaceReader(cls, face_model, photo_size, boxable=True)
        photos_read = PhotosRead(plain(name, MOST_NAME_LETTERS) or "person", linked_photos)
        pairs = list(zip(linked_photos, boxed_faces, strict=True))
        for number, (photo, boxed_face) in enumerate(stepwise(pairs), 1):
            try:
                word = which_faces.word_for_photo(number)
                face = reader.face(photo, word, photos_read.label(number), boxed_face)
            except FaceNotFound as error:
                if on_no_face == "error":
                    if len(linked_photos) > 1:  # of a single photo nothing would be left
                        error.advice += " Or leave such photos out: on_no_face = skip in Person."
                    raise
                photos_read.drop(number, error)
            else:
                photos_read.use(number, face, boxed_face is not None)
        name = photos_read.name
        person = combining.from_faces(name, photos_read.faces, face_model.ids)
        used = f"{len(photos_read.faces)} of {counted(len(linked_photos), 'photo')} used"
        report = "\n".join([f"{name}: {used}", *photos_read.lines])
        logger.info("Person %s", report)
        # A note, where the first photo is an example picture that the user has not replaced yet.
        examples = tensors.reminder([(name, linked_photos[0].pixels)])
        notes.tell("\n".join([*examples, *photos_read.notes()]))
        return io.NodeOutput(person, person.crops, report, ui=_crops_preview(cls, person))


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
                io.Combo.Input("method", options=list(blending.BLENDS)),
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
        if steps == 1:
            return io.NodeOutput([blending.blend(a, b, amount, method, name)])
        people: list[Person] = []
        for step in range(steps):  # `amount` is not used: the list goes from 0, which is a, to 1, which is b
            name_of_step = plain(name, MOST_NAME_LETTERS - len(" 20"))
            name_of_step = f"{name_of_step} {step + 1}" if name_of_step else ""
            people.append(blending.blend(a, b, step / (steps - 1), method, name_of_step))
        return io.NodeOutput(people)


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
        return saved_people.fingerprint(filename)

    @classmethod
    def execute(cls, person: Person, filename: str) -> io.NodeOutput:
        graph = cls.hidden and cls.hidden.dynprompt
        path, line = saved_people.save_person(person, filename, notes.node_of(cls), graph)
        lines = [line] if line else []
        if person.looks:
            lines.append(saved_people.size_with_looks(person, path))
        notes.tell("\n".join(lines))
        return io.NodeOutput(person, path, ui=_crops_preview(cls, person))


class LoadPerson(ChoosesFile, io.ComfyNode):
    """A person from a file of Save Person."""

    path_of = staticmethod(saved_people.path_of)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadPerson",
            category=IN_PEOPLE,
            inputs=[io.Combo.Input("file", options=saved_people.files() or [face_model.NONE_FOUND])],
            outputs=[PersonSocket.Output("person"), io.Image.Output("crops")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        person = saved_people.load_person(file)
        return io.NodeOutput(person, person.crops, ui=_crops_preview(cls, person))


NODES = [PersonNode, BlendTwoPeople, SavePerson, LoadPerson]
