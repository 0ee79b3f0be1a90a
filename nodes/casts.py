"""Casts: lists of people, from people or straight from photos."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import notes
from ..bridge.host.folders import a_name
from ..bridge.host.inputs import single
from ..bridge.host.notes import stepwise
from ..bridge.host.schema import advanced
from ..bridge.people import kept_people, photos, saved_people
from ..bridge.people.face_model import FindsFaces, HostedFaceModel, default_face_model
from ..bridge.people.person_photos import AS_IT_IS, FaceReader, PhotosRead, photo_size_input, which_face_input
from ..core import taking_part
from ..core.cast import UNNAMED, Absent, Cast, Member, require_together
from ..core.checks.errors import BadCast, first_few, gathered, listed
from ..core.checks.names import of_person
from ..core.checks.text import names_in
from ..core.faces import analysis, which
from ..core.models.files import stamp
from ..core.persons import checks, combining, lookalikes
from ..core.pictures import previews, tensors
from .categories import IN_PEOPLE
from .sockets import CastSocket, FaceModelSocket, PersonSocket

_CAST_FROM_PHOTOS = "LikenessCastFromPhotos"
_INPUTS = 8
"""The number of inputs for people that Cast has, and of inputs for photos that Cast from Photos has."""


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
        weight_inputs = {name: value for name, value in people_and_weights.items() if name.startswith("weight_")}
        person_inputs = {name: value for name, value in people_and_weights.items() if name not in weight_inputs}
        weights = _by_number("weight", weight_inputs)
        persons_by_number = _by_number("person", person_inputs)
        members: list[Member] = []
        # All have a number, so that the people after absent ones are not renumbered.
        first_number = len(cast_before.people) + len(cast_before.absent) + 1
        for number, (input_number, person) in enumerate(persons_by_number.items(), first_number):
            members.append(Member(person, weights.get(input_number, 1.0), number=number))
        with_face = [member for member in members if checks.photos_of(member.person)]
        without_face = [member for member in members if not checks.photos_of(member.person)]
        names_without_face = taking_part.names(without_face)
        # Those of the linked cast come first.
        present = [*cast_before.people, *with_face]
        absent = [*cast_before.absent, *(Absent(member.number, member.person.name) for member in without_face)]
        if not present:
            why = "no person is connected"
            if names_without_face:
                why = f"no photo of {listed(names_without_face)} shows a face"
            raise BadCast(f"The cast is empty: {why}.", "Connect at least one Person or Load Person with a face.")
        unused_weights: list[str] = []
        for number, weight in weights.items():
            if number not in persons_by_number and weight != 1:  # somebody has set it, and meant a person
                unused_weights.append(f"weight {number}")
        left_out = [
            *gathered("Left out, no photo with a face", names_without_face),
            *gathered("Left out, no person", unused_weights),
        ]
        return _cast_output(cls, replace(cast_before, people=tuple(present), absent=tuple(absent)), left_out)


def _by_number(kind: str, inputs: Mapping[str, Any]) -> dict[int, Any]:
    """The values of the inputs person_1, person_2 and so on: number of the input, from 1 -> value, without None.

    kind: how the names of the inputs begin: "person", "weight" or "photo". inputs: name -> value, None for an input
    without a link.
    """
    values: dict[int, Any] = {}
    for number in range(1, _INPUTS + 1):
        value = inputs.get(f"{kind}_{number}")
        if value is not None:
            values[number] = value
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
    alike = lookalikes.look_alike(taking_part.with_names(acting))
    notes.tell("\n".join([*lines, *_named_twice(acting), *alike]))
    return io.NodeOutput(cast, preview, ui=ui.PreviewImage(preview, cls=cls))


def _named_twice(cast_people: Sequence[Member]) -> list[str]:
    """A line that lists the names that several people have; [] without any. Nodes take the number of such a person.

    cast_people: those of weight above 0. People without a name are not counted.
    """
    spellings: dict[str, list[str]] = {}  # name, however it is spelt -> as each of the people spells it
    for member in cast_people:
        if member.person.name != UNNAMED:
            spellings.setdefault(of_person(member.person.name), []).append(member.person.name)
    named_twice = [of_people[-1] for of_people in spellings.values() if len(of_people) > 1]
    return gathered("One name for several people", named_twice, ": their numbers tell them apart")


class CastFromPhotos(FindsFaces, io.ComfyNode):
    """A cast straight from photos: each input photo_1 and so on has the photos of one person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, _INPUTS + 1)
        return io.Schema(
            node_id="LikenessCastFromPhotos",
            category=IN_PEOPLE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True, lazy=True),
                io.String.Input("names", default=""),
                which_face_input(),
                *[io.Image.Input(f"photo_{number}", optional=True, lazy=True) for number in numbers],
                photo_size_input(),
                *[_kept_person_input(number) for number in numbers],
                io.String.Input("more_kept", default="", optional=True),
            ],
            outputs=[CastSocket.Output("cast"), io.Image.Output("preview")],
            is_input_list=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        person_1: object = None,
        person_2: object = None,
        person_3: object = None,
        person_4: object = None,
        person_5: object = None,
        person_6: object = None,
        person_7: object = None,
        person_8: object = None,
        more_kept: object = "",
    ) -> bool:
        # The host does not check the menus that are named here: a kept person of another machine is no error.
        chosen = (person_1, person_2, person_3, person_4, person_5, person_6, person_7, person_8)
        for choice in map(single, chosen):
            if choice is not None:
                kept_people.file_of(a_name(choice))
        more = single(more_kept)
        if isinstance(more, str):  # else it is linked
            kept_people.named(more)
        return True

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> str:
        # Also where a file of a kept person comes, goes or is replaced.
        values = {name: single(value) for name, value in inputs.items()}
        more = values.get("more_kept")
        chosen = [*_chosen_people(values).values(), *(names_in(more) if isinstance(more, str) else ())]
        paths = map(kept_people.file_of, filter(None, chosen))
        return f"{super().fingerprint_inputs(**inputs)} {[path and stamp(path) for path in paths]}"

    @classmethod
    def check_lazy_status(cls, **inputs: object) -> list[str]:
        # The host asks what it has to compute: photos of those who are not kept here, and the face model for these.
        chosen = _chosen_people({name: single(value) for name, value in inputs.items()})
        kept = {f"photo_{number}" for number, name in chosen.items() if kept_people.file_of(name)}
        needed = [name for name in inputs if name.startswith("photo_") and name not in kept]
        return [*needed, "face_model"] if needed and "face_model" in inputs else needed

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        names: str,
        which_face: str,
        photo_size: str = AS_IT_IS,
        more_kept: str = "",
        **inputs: Any,
    ) -> io.NodeOutput:
        # inputs: photo_1 and so on, with is_input_list each a list of IMAGEs, which is empty without a link; and
        # person_1 and so on, each a choice.
        linked_photos = {name: value for name, value in inputs.items() if name.startswith("photo_") and value}
        batches_by_number: dict[int, Sequence[Tensor]] = _by_number("photo", linked_photos)
        chosen = _chosen_people(inputs)
        kept = {number: name for number, name in chosen.items() if kept_people.file_of(name)}
        for number, name in chosen.items():
            if number not in kept and number not in batches_by_number:
                raise kept_people.nobody_kept(name, number)
        kept |= dict(enumerate(kept_people.named(more_kept), _INPUTS + 1))
        persons = {number: saved_people.load_person(name) for number, name in kept.items()}
        read_photos = {number: batches for number, batches in batches_by_number.items() if number not in kept}
        numbers = sorted({*kept, *read_photos})
        if not numbers:
            advice = "Connect a Load Image to photo_1, or choose a kept person in person_1."
            raise BadCast("The cast is empty: no photo is connected, and no kept person is chosen.", advice)
        which_faces = which.which_face(which_face)
        names_by_number = {number: name for number, name in enumerate(names_in(names), 1) if name}
        # Inputs without a link leave gaps, so whoever has no name is called by the number in the cast; and a photo in
        # the place of somebody who is kept on another machine has the name under which that person is kept.
        called = {number: f"person {place}" for place, number in enumerate(numbers, 1)}
        called |= {number: kept_people.name_of(name) for number, name in chosen.items()} | names_by_number
        read_of_people: list[PhotosRead] = []
        if read_photos:  # kept people need no face model
            face_model = face_model or default_face_model()
            reader = FaceReader(cls, face_model, photo_size)
            for number, batches in stepwise(list(read_photos.items())):
                # In this node which_face has a word for each input, which holds for all photos of the input.
                read = _photos_read(reader, called[number], batches, which_faces.word_for_photo(number))
                persons[number] = combining.from_faces(read.name, read.faces, face_model.ids)
                read_of_people.append(read)
        without_photo = [name for number, name in names_by_number.items() if number not in read_photos]
        without_photo += which_faces.without_photo(read_photos)
        # A note, where first photos are example pictures that the user has not replaced yet.
        lines = tensors.reminder([(read.name, read.photos[0].pixels) for read in read_of_people])
        lines += [kept_people.replaced_by_photo(name) for number, name in chosen.items() if number not in kept]
        lines += gathered("Left out, no photo", first_few(without_photo))
        members = [Member(persons[number], number=place) for place, number in enumerate(numbers, 1)]
        return _cast_output(cls, Cast(tuple(members)), [*lines, *_doubts_about(read_of_people)])


def without_unread_face_models(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt as it is posted, in which no Cast from Photos of kept people alone is linked to a face model.

    The host checks every node that is linked, also one that is not read: a face pack that is missing here would refuse
    the run.
    """
    return {number: _without_unread_face_model(node) for number, node in prompt.items()}


def _without_unread_face_model(node: Any) -> Any:
    """A node of a prompt, or what stands in its place. The face model is read where a photo is."""
    inputs = node.get("inputs") if isinstance(node, dict) and node.get("class_type") == _CAST_FROM_PHOTOS else None
    if not isinstance(inputs, dict):
        return node
    photos_by_number, choices = _by_number("photo", inputs), _by_number("person", inputs)
    kept = {number for number, name in choices.items() if isinstance(name, str) and kept_people.is_kept(name)}
    if not (kept or inputs.get("more_kept")) or photos_by_number.keys() - kept:
        return node
    return {**node, "inputs": {name: value for name, value in inputs.items() if name != "face_model"}}


def _doubts_about(read_of_people: Sequence[PhotosRead]) -> list[str]:
    """Lines about photos that may be of somebody else, and about weak faces."""
    lines = [line for read in read_of_people for line in read.doubts(look_at="them")]
    return lines + analysis.weak_faces([named_face for read in read_of_people for named_face in read.named_faces])


def _kept_person_input(number: int) -> io.Combo.Input:
    """The menu beside a photo: the photo, or a kept person in its place."""
    options = [kept_people.THE_PHOTO, *kept_people.names()]
    return io.Combo.Input(f"person_{number}", options=options, default=kept_people.THE_PHOTO, optional=True)


def _chosen_people(inputs: Mapping[str, Any]) -> dict[int, str]:
    """The kept people who are chosen, by the number of their input. inputs: those of Cast from Photos."""
    choices: dict[int, str] = _by_number("person", inputs)
    return {number: name for number, name in choices.items() if kept_people.is_chosen(name)}


def _photos_read(reader: FaceReader, name: str, batches: Sequence[Tensor], word: str) -> PhotosRead:
    """The photos of the person of an input, each with its face. word: which of several faces of each is meant."""
    photos_read = PhotosRead(name, photos.photos_of_batches(batches))
    for number, photo in enumerate(photos_read.photos, 1):
        photos_read.use(number, reader.face(photo, word, photos_read.label(number)))
    return photos_read


NODES = [CastNode, CastFromPhotos]
