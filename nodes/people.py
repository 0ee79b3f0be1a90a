"""People: face models, faces of a picture, identities from photos, the face bank, the cast."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import face_bank, face_model, folders, notes, photos
from ..bridge.face_model import BACKENDS, TORCH, FaceModel, FindsFaces, default_face_model
from ..bridge.notes import stepwise
from ..bridge.schema import advanced, face_box_editor, pixels_input
from ..core import identities, people, pictures, previews
from ..core.errors import BadCast, BadPhoto, FaceNotFound, counted, first, gathered, listed
from ..core.faces import analysis, by_hand, landmarks, onnx_session, which
from ..core.faces.finding import Detection
from ..core.faces.pictures import is_placeholder, to_picture
from ..core.geometry import Fit
from ..core.people import require_together
from ..core.pictures import LONGER_SIDE, MULTIPLE_OF, resized_photo
from ..core.text import NAME, logger, names_in, plain
from .categories import IN_FILES, IN_PEOPLE
from .sockets import BoxesSocket, CastSocket, FaceLandmarksSocket, FaceModelSocket, FacesSocket, PersonSocket

_PEOPLE = 8
AS_IT_IS, AS_PUBLISHED = "as it is", f"{LONGER_SIDE} px"
"""At what size a photo is given to the face model: its own, or that of InstantID's authors."""


def _crops_preview(cls: type[io.ComfyNode], identity: people.Identity) -> ui.PreviewImage | None:
    """The faces an identity is made of, shown in the node, and the portraits beside them; nothing without photos."""
    if not identities.photos_of(identity):
        return None
    shown = [identity.crops, *([identity.portraits.loose] if identity.portraits else [])]
    captions = [(f"{identity.name} {n}", "head and shoulders")[: len(shown)] for n, _ in enumerate(identity.crops, 1)]
    both = [one for pair in zip(*shown, strict=True) for one in pair]
    under = [one for pair in captions for one in pair]
    return ui.PreviewImage(previews.contact_sheet(both, under, together=len(shown)), cls=cls)


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
        node = notes.node_of(cls)
        return io.NodeOutput(face_model.load_face_model(pack, recognisers, node, backend, provider))


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
        face_model = face_model or default_face_model(detects=face_landmarks is None, node=notes.node_of(cls))
        (mesh,) = landmarks.of_pictures(face_landmarks, image)
        photo, picture = photos.Photo(image[0], mesh), to_picture(image[0])
        found = analysis.large_enough(photos.detected(face_model, picture, "the picture", photo), min_size)
        kept = analysis.arrange(found, order)[: max_faces or None]
        embedded = analysis.recognise(face_model.recognisers, picture, kept, "a face of the picture")
        faces = people.Faces(embedded, width=picture.shape[1], height=picture.shape[0])
        preview = analysis.numbered_faces(image[0], embedded)[None]
        notes.tell(notes.node_of(cls), "\n".join(analysis.unsure_faces(analysis.numbered(embedded))))
        return io.NodeOutput(faces, preview, len(embedded), ui=ui.PreviewImage(preview, cls=cls))


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
        taken = photos.of_batches(image, face_landmarks)
        boxed = by_hand.in_boxes(face_boxes, boxes, bboxes, [photo.size for photo in taken])
        detects = not face_landmarks and None in boxed
        face_model = face_model or default_face_model(detects=detects, node=notes.node_of(cls))
        meant = which.which_face(which_face)
        meant.check_photos(len(taken))
        name = plain(name, NAME) or "person"
        seen: list[tuple[str, people.Face]] = []
        report: list[str] = []
        dropped: list[str] = []
        cut: list[photos.Photo] = []
        for number, (photo, box) in enumerate(stepwise(list(zip(taken, boxed, strict=True))), 1):
            where, who = _photo_of(name, number, len(taken))
            try:
                face = _face(cls, face_model, photo, meant.of(number), where, photo_size, box)
            except FaceNotFound as error:
                if on_no_face == "error":
                    if len(taken) > 1:
                        error.advice += " Or leave such photos out: on_no_face = skip in Person."
                    raise
                report.append(f"{where}: dropped. {error.problem}")
                dropped.append(where)
                if photo.is_cut:
                    cut.append(photo)
                continue
            seen.append((who, face))
            report.append(f"{where}: used, {'in its box, ' if box else ''}{analysis.describe(face)}")
        identity = identities.from_faces(name, [face for _, face in seen], face_model.ids)
        text = "\n".join([f"{name}: {len(seen)} of {counted(len(taken), 'photo')} used", *report])
        logger.info("Person %s", text)
        drawn = pictures.reminder([(name, taken[0].pixels)])
        left_out = gathered("No face found, dropped", dropped, photos.cut_note(cut))
        notes.tell(notes.node_of(cls), "\n".join([*drawn, *left_out, *analysis.weak_faces(seen)]))
        return io.NodeOutput(identity, identity.crops, text, ui=_crops_preview(cls, identity))


def _photo_size() -> io.Combo.Input:
    return advanced(io.Combo.Input("photo_size", options=[AS_IT_IS, AS_PUBLISHED], default=AS_IT_IS, optional=True))


def _which_face() -> io.String.Input:
    """A word for all photos or one for each, see core.faces.which; "only", "largest" and 1 to 12 were a menu once."""
    return io.String.Input("which_face", default=which.ONLY, placeholder=f"{which.ONLY}, {which.LARGEST}, 2 or 3,1")


def _photo_of(name: str, number: int, photos: int) -> tuple[str, str]:
    """Which photo of whom, in words and short."""
    if photos == 1:
        return f"the photo of {name}", name
    return f"photo {number} of {photos} of {name}", f"{name} (photo {number})"


def _face(
    cls: type[io.ComfyNode],
    face_model: FaceModel,
    photo: photos.Photo,
    word: str,
    where: str,
    photo_size: str,
    boxed: Detection | None = None,
) -> people.Face:
    """The face that is meant in a photo, `boxed` or found, box and keypoints in pixels of the photo as it came.

    word: of which_face. Where it is not clear which is meant, the node shows the numbers to choose from.
    """
    pixels = photo.pixels
    seen, picture = pixels, to_picture(pixels)
    if photo_size != AS_IT_IS and not is_placeholder(picture):  # which is named
        seen = resized_photo(pixels[None], LONGER_SIDE, MULTIPLE_OF)[0]
        picture = to_picture(seen)
    before, after = ((x.shape[1], x.shape[0]) for x in (pixels, seen))
    # Who asks for face 3 has counted at least three, however many are seen upright.
    expected = int(word) if word.isdecimal() else 1
    faces = [boxed] if boxed else photos.detected(face_model, picture, where, photo, expected)
    if boxed or photo.mesh is not None:
        into = Fit.into(before, after, "stretch")
        faces = [face.moved(into.point) for face in faces]
    try:
        chosen = analysis.choose(faces, word, where)
    except BadPhoto:
        numbered = analysis.numbered_faces(seen, analysis.arrange(faces, analysis.NUMBERED))
        notes.show(notes.node_of(cls), numbered[None])
        raise
    (face,) = analysis.recognise(face_model.recognisers, picture, [chosen], where, portraits=True)
    back = Fit.into(after, before, "stretch")
    return replace(face, box=back.box(face.box), keypoints=tuple(map(back.point, face.keypoints)))


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
    def execute(cls, a: people.Identity, b: people.Identity, amount: float, method: str, name: str) -> io.NodeOutput:
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
        path = face_bank.save_identity(person, filename, notes.node_of(cls), cls.hidden and cls.hidden.prompt)
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
        return folders.found(face_bank.path_of, file)

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
                *(PersonSocket.Input(f"person_{n}", optional=True) for n in numbers),
                *(advanced(io.Float.Input(f"weight_{n}", **weight)) for n in numbers),
            ],
            outputs=[CastSocket.Output("extended_cast"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(cls, cast: people.Cast | None = None, **people_and_weights: Any) -> io.NodeOutput:
        before = cast or people.Cast(())
        require_together(before, "Cast")
        present, absent = list(before.people), list(before.absent)
        linked = {name: given for name, given in people_and_weights.items() if not name.startswith("weight_")}
        added = _numbered("Cast", "person", linked)
        for number, (n, identity) in enumerate(added.items(), len(present) + len(absent) + 1):
            if identities.photos_of(identity):
                present.append(people.Person(identity, people_and_weights.get(f"weight_{n}", 1.0)))
            else:
                absent.append((number, identity.name))
        names = [name for _, name in absent[len(before.absent) :]]
        if not present:
            why = f"no photo of {listed(names)} shows a face" if names else "no person is connected"
            raise BadCast(f"The cast is empty: {why}.", "Connect at least one Person or Load Person with a face.")
        whole = replace(before, people=tuple(present), absent=tuple(absent))
        return _shown(cls, whole, gathered("Left out, no photo with a face", names))


def _numbered(node: str, kind: str, inputs: Mapping[str, Any]) -> dict[int, Any]:
    """What is linked to person_1, person_2, ..., by number. Raises BadCast: an API prompt may go beyond the last."""
    known = {f"{kind}_{n}": n for n in range(1, _PEOPLE + 1)}
    if beyond := [name for name in inputs if name not in known]:
        why = f"{node} takes {kind}_1 to {kind}_{_PEOPLE} and got {listed(beyond)} as well, who would be lost."
        raise BadCast(why, "Connect them to another Cast, and this one to its cast input.")
    return {n: inputs[name] for name, n in known.items() if inputs.get(name) is not None}


def _shown(cls: type[io.ComfyNode], cast: people.Cast, remarks: Sequence[str]) -> io.NodeOutput:
    """The cast, and number, name and face of everybody in it. remarks: for the note, beside who looks alike."""
    captions = [
        f"{number} {person.identity.name}" + (f" x{person.weight:g}" if person.weight != 1 else "")
        for number, person in zip(cast.numbers, cast.people, strict=True)
    ]
    preview = previews.contact_sheet([person.identity.crops[0] for person in cast.people], captions)
    alike = identities.look_alike([person.identity for person in cast.people if person.weight > 0])
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
                *(io.Image.Input(f"photo_{n}", optional=True) for n in numbers),
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
        linked = {name: batches for name, batches in inputs.items() if batches}
        given: dict[int, Sequence[Tensor]] = _numbered("Cast from Photos", "photo", linked)
        if not given:
            raise BadCast("The cast is empty: no photo is connected.", "Connect a Load Image to photo_1.")
        meant = which.which_face(which_face)
        named = {number: name for number, name in enumerate(names_in(names), 1) if name}
        face_model = face_model or default_face_model(node=notes.node_of(cls))
        unseen = [name for number, name in named.items() if number not in given]
        members: list[people.Person] = []
        seen: list[tuple[str, people.Face]] = []
        shown: list[tuple[str, Tensor]] = []
        for number, batches in stepwise(list(given.items())):
            name = named.get(number, f"person {len(members) + 1}")
            taken = photos.of_batches(batches)
            shown.append((name, taken[0].pixels))
            faces: list[people.Face] = []
            for n, photo in enumerate(taken, 1):
                where, who = _photo_of(name, n, len(taken))
                faces.append(_face(cls, face_model, photo, meant.of(number), where, photo_size))
                seen.append((who, faces[-1]))
            members.append(people.Person(identities.from_faces(name, faces, face_model.ids)))
        drawn = pictures.reminder(shown)
        remarks = [*drawn, *gathered("Left out, no photo", first(unseen)), *analysis.weak_faces(seen)]
        return _shown(cls, people.Cast(tuple(members)), remarks)


NODES = [LoadFaceEmbedder, DetectFaces, Person, BlendTwoPeople, SavePerson, LoadPerson, Cast, CastFromPhotos]
