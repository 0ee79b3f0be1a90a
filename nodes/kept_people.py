"""People who are kept: Keep People keeps those of a cast, Kept People lists, renames and removes them."""

from comfy_api.latest import io, ui

from ..bridge.host import notes
from ..bridge.host.inputs import RunsFirst
from ..bridge.people import kept_people, saved_people
from ..core.cast import Cast, Person, person_without_photo
from ..core.checks.errors import CannotSave, first_few, gathered, listed
from ..core.checks.text import list_of, names_in
from ..core.models.files import stamp
from ..core.pictures import previews
from ..core.taking_part import as_cast
from .categories import IN_PEOPLE
from .sockets import CastOrPersonSocket


class KeepPeople(RunsFirst, io.ComfyNode):
    """Keeps people of a cast under names, so that they can be chosen in the place of a photo; nobody without a name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessKeepPeople",
            category=IN_PEOPLE,
            inputs=[CastOrPersonSocket.Input("cast"), io.String.Input("names", default="")],
            outputs=[io.String.Output("report")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, names: str | None = None) -> bool:
        # Before the run: the picture that is drawn beside should not be lost for a name.
        if isinstance(names, str):
            kept_people.check_names(names_in(names))
        return True

    @classmethod
    def fingerprint_inputs(cls, names: str | None = None, **_: object) -> str:
        # It changes where one of the files is gone, so that the person is kept again. names: None where it is linked.
        wished = names_in(names) if isinstance(names, str) else []
        return str([saved_people.fingerprint(name) for name in wished if name])

    @classmethod
    def execute(cls, cast: Cast | Person, names: str) -> io.NodeOutput:
        people = as_cast(cast)
        person_of_number = dict(zip(people.numbers, people.people, strict=True))
        lines: list[str] = []
        without_person: list[str] = []
        for number, name in enumerate(names_in(names), 1):
            if name and number in person_of_number:
                lines.append(kept_people.keep(person_of_number[number].person, name))
            elif name:
                without_person.append(name)
        lines += gathered("Not kept, as the cast has nobody at their place", first_few(without_person))
        report = "\n".join(lines)
        notes.tell(report)
        return io.NodeOutput(report, ui=_names_for_menus() if lines else None)


def _names_for_menus() -> dict[str, list[str]]:
    """What web/likeness.js takes the menus of kept people from anew, in what a node shows."""
    return {"likeness_kept": kept_people.names()}


SHOW, RENAME, REMOVE = "show", "rename", "remove"


class KeptPeople(io.ComfyNode):
    """Shows who is kept, and renames and removes people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessKeptPeople",
            category=IN_PEOPLE,
            inputs=[
                io.Combo.Input("person", options=[kept_people.EVERYBODY, *kept_people.names()]),
                io.Combo.Input("what_to_do", options=[SHOW, RENAME, REMOVE]),
                io.String.Input("new_name", default=""),
            ],
            outputs=[io.String.Output("names")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, person: str | None = None) -> bool:
        return True  # the menu was made when the page was loaded; who is not there any more is said in the run

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        paths = [kept_people.file_of(file) for file in saved_people.files()]
        return str([stamp(path) for path in paths if path])

    @classmethod
    def execute(cls, person: str, what_to_do: str, new_name: str) -> io.NodeOutput:
        if what_to_do != SHOW and person == kept_people.EVERYBODY:
            raise CannotSave(
                f"What to do is {what_to_do}, and Person is {person}.",
                "Choose one of the kept people in Person (person).",
            )
        if what_to_do == RENAME:
            notes.tell(kept_people.rename(person, new_name))
        elif what_to_do == REMOVE:
            notes.tell(kept_people.remove(person))
        sheet = _sheet(cls)
        shown = {**(sheet.as_dict() if sheet else {}), **_names_for_menus()}
        return io.NodeOutput(list_of(kept_people.names()), ui=shown)


_MOST_SHOWN = 100
"""The most people on the sheet: of each the whole file is read, of some megabytes."""


def _sheet(cls: type[io.ComfyNode]) -> ui.PreviewImage | None:
    """The preview of the kept people, each with name, looks and day; None without any. It also tells what it lacks."""
    cards = kept_people.cards(_MOST_SHOWN)
    if not cards:
        notes.tell("Nobody is kept yet: write a name into Keep as of a box, or into Names (names) of Keep People.")
        return None
    if len(kept_people.names()) > _MOST_SHOWN:
        notes.tell(f"Not shown: {len(kept_people.names()) - _MOST_SHOWN} more.")
    crops = [(card.person or person_without_photo(card.name)).crops[0] for card in cards]
    return ui.PreviewImage(previews.contact_sheet(crops, [_caption(card) for card in cards], lines=3), cls=cls)


def _caption(card: kept_people.Card) -> str:
    if card.person is None:
        return f"{card.name}, cannot be read, {card.day}"
    return listed([card.name, *(look.name for look in card.person.looks), card.day])


NODES = [KeepPeople, KeptPeople]
