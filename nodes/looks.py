"""Looks: what a person wears in pictures, kept with the person, and worn in new pictures."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import notes
from ..core.cast import Cast, Member, Person, PlacedCast, is_a, require_somebody, require_together
from ..core.checks.errors import BadCast, listed
from ..core.checks.names import People
from ..core.checks.text import plain
from ..core.parts.part_notes import notes_on_part, sheet
from ..core.parts.parts import LABELS, Part, Parts, is_unpainted, make_part
from ..core.persons import drawn_looks, looks
from ..core.persons.looks import HAIR_LABEL
from ..core.pictures import geometry
from ..core.pictures.tensors import reminder
from ..core.taking_part import as_cast
from .categories import IN_PARTS
from .sockets import CastOrPersonSocket, CastSocket, PartsSocket, PersonSocket

LOOK_FROM_PICTURE = "Look from Picture"
CLOTHES = ("whole body clothes", "upper body clothes", "lower body clothes")
"""The labels of what is found in a place without a mask, as HAIR_LABEL is."""
NO_TARGETS = "target_mask of the parts is left out: a look is worn where its person stands."
NO_PLACE_OF_HAIR = "Hair (hair) takes nothing more here: it is for a person with a place, without a mask."


class LookFromPicture(io.ComfyNode):
    """Gives a person of a cast a look: what they wear in a picture that was drawn with the cast, or in photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLookFromPicture",
            category=IN_PARTS,
            inputs=[
                CastOrPersonSocket.Input("cast"),
                io.String.Input("who", default="1"),
                io.String.Input("name", default="look"),
                io.Image.Input("image"),
                io.Combo.Input("label", options=list(LABELS), default=CLOTHES[0]),
                io.Boolean.Input("hair", default=False),
                io.Mask.Input("mask", optional=True),
                PartsSocket.Input("parts", optional=True),
                io.String.Input("drawn", default="", optional=True),
            ],
            outputs=[
                CastSocket.Output("cast_with_look"),
                PersonSocket.Output("person"),
                io.Image.Output("preview"),
            ],
        )

    @classmethod
    def execute(
        cls,
        cast: Cast | Person,
        who: str,
        name: str,
        image: Tensor,
        label: str,
        hair: bool,
        mask: Tensor | None = None,
        parts: Parts | None = None,
        drawn: str = "",
    ) -> io.NodeOutput:
        outlines = drawn_looks.read(drawn)
        people = as_cast(cast)
        require_together(people, LOOK_FROM_PICTURE)
        require_somebody(people, LOOK_FROM_PICTURE)
        index = _index_of(who, people)
        has_place = people.people[index].slot is not None
        if is_a(people, PlacedCast) and has_place and (mask is None or is_unpainted(mask)):
            shown = _parts_of_place(image, label, hair, people, index)
            lines = reminder([(repr(label), image[0])])
        else:
            shown = [make_part(label, image, mask, 1.0, None)]
            lines = notes_on_part(shown[0], mask)
            if mask is None and is_a(people, PlacedCast):
                lines.append(f"{people.people[index].name} has no place, so the whole picture counts.")
            if hair:
                lines.append(NO_PLACE_OF_HAIR)
        if parts is not None and any(part.target is not None for part in parts.present):
            lines.append(NO_TARGETS)
        taken = drawn_looks.taken(shown)
        shown = drawn_looks.with_drawn(shown, outlines)
        look = looks.look_of_parts(name, Parts((*shown, *(() if parts is None else parts.parts))))
        person = looks.with_look(people.people[index].person, look)
        notes.tell("\n".join(lines))
        shown_parts = Parts(tuple(looks.part_of(picture) for picture in look.pictures))
        preview = sheet(shown_parts, f"{person.name}, {look.name}")
        cast_with_look = _with_person(people, index, person)
        ui_of_node = ui.PreviewImage(preview, cls=cls).as_dict()
        ui_of_node["likeness_look"] = [_to_draw_on(cls, shown_parts.parts[0].picture, taken)]
        return io.NodeOutput(cast_with_look, person, preview, ui=ui_of_node)


def _to_draw_on(cls: type[io.ComfyNode], picture: Tensor, taken: Tensor | None) -> dict[str, Any]:
    """What the editor shows to be drawn on: a picture (H, W, 3), and what was taken of it before anything was drawn,
    (h, w), None for all of it. Pictures are said by where the host serves them."""

    def served(image: Tensor) -> Mapping[str, Any]:
        return ui.PreviewImage(image[None], cls=cls).as_dict()["images"][0]

    height, width = picture.shape[:2]
    mask = None if taken is None else taken[..., None].expand(-1, -1, 3)
    return {
        "width": width,
        "height": height,
        "picture": served(picture),
        "taken": None if mask is None else served(mask),
    }


def _index_of(who: str, people: Cast) -> int:
    """The index of the person whom a name or a number of the list means; "" for the only person of the cast.

    Raises BadCast for nobody and for several.
    """
    if not who.strip() and len(people.people) == 1:
        return 0
    numbers = {number: index for index, number in enumerate(people.numbers)}
    called = People(people.names_listed).called(who)
    meant = [number + 1 for number in called if number + 1 in numbers]
    if len(meant) == 1:
        return numbers[meant[0]]
    numbered = [f"{number} {member.name}" for number, member in zip(people.numbers, people.people, strict=True)]
    away = [absent for absent in people.absent if absent.number - 1 in called]
    if not who.strip():
        why = "It is not said whose look it is"
    elif meant:
        why = f"{len(meant)} people of the cast are called {plain(who, 60)!r}"
    elif away:
        why = f"{away[0].numbered} is left out of the cast: {away[0].why}"
    else:
        why = f"Nobody of the cast is called {plain(who, 60)!r}"
    raise BadCast(f"{why}.", f"Write one of these names or numbers into Who (who): {listed(numbered)}.")


def _parts_of_place(image: Tensor, label: str, hair: bool, people: PlacedCast, index: int) -> list[Part]:
    """What the place of a person shows of what they wear.

    The arguments are those of the node. index: of the person in `people`. Raises BadPart, BadLook, BadRegion, and
    BadSize for a picture that was not drawn with the cast.
    """
    advice = "Connect the picture as it was drawn with this cast; or for any other picture a mask of what is worn."
    geometry.check_canvas("The picture of the look", image, people, advice)
    if label not in (*CLOTHES, HAIR_LABEL):
        why = f"The place of {people.people[index].name} does not say where in it {label!r} is."
        raise looks.BadLook(why, "Connect the mask of it to Mask (mask).")
    shown: list[Part] = []
    if label != HAIR_LABEL:
        shown.append(make_part(label, image, looks.clothes_of_place(people, index), 1.0, None))
    if hair or label == HAIR_LABEL:
        shown.append(make_part(HAIR_LABEL, image, looks.hair_of_place(people, index), 1.0, None))
    return shown


def _with_person(people: Cast, index: int, person: Person) -> Cast:
    """The cast in which the member of this index is this person."""
    members: list[Member] = list(people.people)
    members[index] = replace(members[index], person=person)
    return replace(people, people=tuple(members))


NODES = [LookFromPicture]
