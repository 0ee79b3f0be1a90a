"""Who stands where: people bound to places, and what may go wrong with it in plain words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from ..cast import NO_PLACE, Cast, Layout, Member, Person, PlacedCast, Slot, with_number
from ..checks.errors import BadCast, LikenessError, counted, gathered, listed
from ..checks.names import People
from ..checks.text import number_in, plain
from ..persons.matching import assigned, in_common, known_by, similarities
from ..pictures import geometry
from ..taking_part import with_names
from .arranging import Arranged

LEFT_TO_RIGHT = "left to right"
MATCH_FACES = "match faces"
CUSTOM = "custom"
LAST_PLACES = "last places"
LARGEST_FACES = "largest faces"
ORDERS = (LEFT_TO_RIGHT, "as listed", MATCH_FACES, CUSTOM, LAST_PLACES, LARGEST_FACES)
SMALL_FACE = 96
"""Faces under this many pixels lose their likeness."""

PeopleOfPlaces = tuple[int | None, ...]
"""Per place of a layout the index in the cast of the person who stands there, or None."""


class BadOrder(LikenessError):
    """A custom order that cannot be followed."""

    def __init__(self, text: str, why: str, people_count: int, place_count: int) -> None:
        example = ",".join(map(str, _example_order(text, people_count, place_count)))
        valid = "1" if people_count == 1 else f"1-{people_count}"
        super().__init__(
            f"Custom order (custom_order) is {plain(text, 100)!r}, which cannot be used: {why}.",
            f"Write one number per place ({place_count}), e.g. {example}: the number or name of each person ({valid}) "
            "at most once, 0 for an empty place.",
        )


def _example_order(text: str, people_count: int, place_count: int) -> list[int]:
    """An example of a custom order, a number for each place: everybody from the last to the first, then zeros: 3,2,1,0.

    With one person a single number is taken for the place that the user meant: of three places, 2 gives 0,1,0.
    text: what the user has written.
    """
    chosen_place = number_in(text.strip()) or 0
    if people_count == 1 and 1 <= chosen_place <= place_count:
        return [1 if place == chosen_place else 0 for place in range(1, place_count + 1)]
    from_last = range(people_count, 0, -1)
    return [*from_last, *[0] * place_count][:place_count]


class CannotMatch(LikenessError):
    """Order = match faces where there is nothing to compare."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"People cannot be matched with the faces of the layout: {why}.", advice)


def assign(cast: Cast, layout: Layout, order: str, custom_order: str) -> PeopleOfPlaces:
    """The index in the cast of the person in each place, None for a place that stays empty.

    order: one of ORDERS, which `_numbers_of_places` explains. Places of people who are absent stay empty.
    Raises BadCast for another number of places than the order needs, BadOrder for custom_order, and for "match faces"
    CannotMatch.
    """
    index_of = {number: index for index, number in enumerate(cast.numbers)}  # nobody who is absent, and not 0
    return tuple(index_of.get(number) for number in _numbers_of_places(cast, layout.slots, order, custom_order))


def _numbers_of_places(cast: Cast, slots: Sequence[Slot], order: str, custom_order: str) -> Sequence[int]:
    """The number of the person in each place, 0 for an empty one: numbers in the list, from 1.

    The list is everybody who was listed, the people of the cast and those who are absent. What is raised: see `assign`.
    """
    listed_people = range(1, len(cast.people) + len(cast.absent) + 1)
    if order == CUSTOM:
        return _numbers_of_text(custom_order, cast.names_listed, len(slots))
    if order == LAST_PLACES and len(slots) > len(listed_people):  # the places before the list stay empty
        return [*[0] * (len(slots) - len(listed_people)), *listed_people]
    if order == LARGEST_FACES and len(slots) >= len(cast.people):  # the first person has the largest face
        return _handed_out(cast.numbers, _largest_first(slots), len(slots))
    # All others need a place for everybody in the cast, or for everybody in the list.
    if len(slots) not in (len(cast.people), len(listed_people)):
        raise _wrong_place_count(cast, len(slots))
    if order == MATCH_FACES and cast.people:  # each person has the place of the face that is most like them
        return _handed_out(cast.numbers, _most_like(with_names(cast.people), slots), len(slots))
    as_listed = _as_listed(cast, len(slots))
    if order == LEFT_TO_RIGHT:
        left_to_right = sorted(range(len(slots)), key=lambda place: slots[place].center)  # by x, then by y
        return _handed_out(as_listed, left_to_right, len(slots))
    return as_listed


def _as_listed(cast: Cast, place_count: int) -> Sequence[int]:
    """The number of the person of each place where people stand in the order of the list.

    Places for everybody in the cast are theirs alone; otherwise who is absent has a place too.
    """
    return cast.numbers if place_count == len(cast.people) else range(1, place_count + 1)


def _handed_out(numbers: Iterable[int], places: Iterable[int | None], place_count: int) -> list[int]:
    """The number of the person in each place, 0 where there is none.

    numbers: of people. places: for each of these people the index of their place; further ones stay empty.
    """
    number_at = dict(zip(places, numbers, strict=False))
    return [number_at.get(place, 0) for place in range(place_count)]


def _largest_first(slots: Sequence[Slot]) -> list[int]:
    """The indices of places, that of the largest face box first. Places without a box come last."""
    no_box = (0.0, 0.0, 0.0, 0.0)
    return sorted(range(len(slots)), key=lambda place: -geometry.area(slots[place].box or no_box))


def _wrong_place_count(cast: Cast, place_count: int) -> BadCast:
    """The error for a cast and a layout of different numbers. place_count: how many the layout has."""
    # An example for custom_order: everybody in the order of the list, then a 0 for each place that is left.
    example = [*cast.numbers, *[0] * place_count][:place_count]
    order = ",".join(map(str, example))
    left_out = ""
    if cast.absent:
        left_out = f" (left out: {listed([absent.name for absent in cast.absent])})"
    return BadCast(
        f"The cast has {counted(len(cast.people), 'person', 'people')}{left_out} and the layout has "
        f"{counted(place_count, 'place')}.",
        "Remove or add people or places, or set Who is where (order) to custom and write the number of a person per "
        f"place, 0 for an empty one: {order}.",
    )


def rearranged(cast: Cast, people_of_places: PeopleOfPlaces, arranged: Arranged) -> PeopleOfPlaces:
    """The index in the cast of the person in each place of an arranged layout, None for a place that stays empty.

    people_of_places: of the layout before. Where arranged.who names a place it counts instead. Nobody stands in two
    places: the first of those that are named counts.
    """
    index_of = {number: index for index, number in enumerate(cast.numbers)}
    chosen: dict[int, int | None] = {}  # number of a place -> index of its person
    for number in sorted({*arranged.numbers} & {*arranged.who}):
        index = index_of.get(arranged.who[number])
        chosen[number] = None if index in chosen.values() else index
    before = dict(enumerate(people_of_places, 1))
    for number in arranged.numbers:
        index = before.get(number)
        chosen.setdefault(number, None if index in chosen.values() else index)
    return tuple(chosen[number] for number in arranged.numbers)


def numbers_of(cast: Cast, people_of_places: PeopleOfPlaces) -> tuple[int, ...]:
    """The number in the list of the person in each place, 0 for an empty one."""
    return tuple(0 if index is None else cast.numbers[index] for index in people_of_places)


def place(cast: Cast, layout: Layout, people_of_places: PeopleOfPlaces) -> PlacedCast:
    """The people of the cast who have a place, each with their slot and its number, in the order of the cast.

    Who has none is absent, so that everybody keeps their number.
    """
    placed: list[Member] = []
    for index, member in enumerate(cast.people):
        if index in people_of_places:
            place_index = people_of_places.index(index)
            placed.append(replace(member, slot=layout.slots[place_index], place=place_index + 1))
    has_place = [index in people_of_places for index in range(len(cast.people))]
    absent = cast.absent_without(has_place, NO_PLACE)
    return PlacedCast(tuple(placed), layout.width, layout.height, absent=absent, layout=layout)


def _numbers_of_text(text: str, names: Sequence[str], place_count: int) -> list[int]:
    """The person of each place, by number from 1, or 0 for an empty place, of a text such as "2,1,0" or "Ben, Ann, 0".

    names: of all people in the list. Raises BadOrder.
    """

    def refusal(why: str) -> BadOrder:
        return BadOrder(text, why, len(names), place_count)

    numbers: list[int] = []
    for word, people in People(names).meant(text):
        number = people[0] + 1 if people else number_in(word)  # a name comes first: somebody may be called "2"
        if len(people) > 1:
            raise refusal(f"{len(people)} people are called {plain(word, 40)}")
        if number is None:
            raise refusal(f"{plain(word, 40)!r} is neither a number nor a name of the cast")
        numbers.append(number)
    if not numbers:
        raise refusal("it is empty")
    if len(numbers) != place_count:
        raise refusal(f"it has {counted(len(numbers), 'number')} for {counted(place_count, 'place')}")
    for number in numbers:
        if number > len(names):
            raise refusal(f"there is no person {number}")
        if number and numbers.count(number) > 1:
            raise refusal(f"person {number} stands in {numbers.count(number)} places")
    return numbers


def _most_like(persons: Sequence[Person], slots: Sequence[Slot]) -> list[int | None]:
    """For each person the index of the place whose face they are most like: the sum of all similarities is largest.

    Similarities by all recognisers that every person and every place has are added. Nobody is without a place: there
    are as many places as people, or more. Raises CannotMatch, and what `combine` does.
    """
    recognisers = _common_recognisers(persons, slots)
    faces = [slot.embeddings for slot in slots]
    likeness = torch.zeros(len(persons), len(slots), dtype=torch.float32)
    for recogniser in recognisers:
        likeness += similarities(persons, faces, recogniser, "Place Cast")  # (people, places)
    return assigned(likeness)


def _common_recognisers(persons: Sequence[Person], slots: Sequence[Slot]) -> Sequence[str]:
    """Recognisers of which every person and every place has an embedding. Raises CannotMatch where there is none."""
    places_without_face = [str(number) for number, slot in enumerate(slots, 1) if not slot.embeddings]
    if places_without_face:
        noun = "place" if len(places_without_face) == 1 else "places"
        why = f"there is no face to compare with in {noun} {', '.join(places_without_face)}"
        advice = (
            "Make the layout of faces in a photo with a face model that has a recogniser, or choose another Who is "
            "where (order)."
        )
        raise CannotMatch(why, advice)
    people_without_face = [person.name for person in persons if not person.embeddings]
    if people_without_face:
        verb = "has" if len(people_without_face) == 1 else "have"
        why = f"{listed(people_without_face)} {verb} no photo with a face to compare"
        advice = "Add one (Person, with a face model that has a recogniser), or choose another Who is where (order)."
        raise CannotMatch(why, advice)
    recognisers = in_common(person_or_place.embeddings for person_or_place in (*persons, *slots))
    if not recognisers:
        of_layout = listed(sorted({name for slot in slots for name in slot.embeddings}))
        why = f"{'; '.join(known_by(persons))}; the faces of the layout have {of_layout}, nothing in common"
        raise CannotMatch(why, "Use the same Load Face Embedder for the people and for Detect Faces.")
    return recognisers


@dataclass(frozen=True, eq=False)
class Standing:
    """A place with a person in it. number: of the place, from 1. listed: the person's number in the list, from 1."""

    number: int
    member: Member
    listed: int
    slot: Slot

    @property
    def face_size(self) -> int | None:
        """Longer side of the face box, px."""
        if self.slot.box is None:
            return None
        return round(geometry.longer_side(self.slot.box))

    @property
    def nose_square(self) -> geometry.Rect:
        """The square of PATCH pixels around the nose."""
        return geometry.patch_rect(self.slot.center)


def _standing(cast: Cast, layout: Layout, people_of_places: PeopleOfPlaces) -> list[Standing]:
    """Everybody who has a place, in the order of the places."""
    standing: list[Standing] = []
    for number, (index, slot) in enumerate(zip(people_of_places, layout.slots, strict=True), 1):
        if index is not None:
            standing.append(Standing(number, cast.people[index], cast.numbers[index], slot))
    return standing


def report(cast: Cast, layout: Layout, people_of_places: PeopleOfPlaces, lines_of_troubles: Sequence[str]) -> str:
    """A line for each person, with the place, and then what may go wrong, as `troubles` gives it."""
    lines: list[str] = []
    for standing in _standing(cast, layout, people_of_places):
        x, y = standing.slot.center
        line = f"Place {standing.number}: {standing.member.name} at ({round(x)}, {round(y)})"
        if standing.face_size is not None:
            line += f", face {standing.face_size} px"
        lines.append(line)
    lines += lines_of_troubles or ["No problems found."]
    return "\n".join(lines)


def troubles(
    cast: Cast, arranged: Arranged, people_of_places: PeopleOfPlaces, order: str, custom_order: str = ""
) -> list[str]:
    """What may go wrong, a line for each kind. order: the one by which `assign` has given the places."""
    layout = arranged.layout
    standing = _standing(cast, layout, people_of_places)
    return [
        *_note_on_unread_order(order, custom_order),
        *_notes_on_absent(cast),
        *_notes_on_faces([each for each in standing if each.member.is_present], layout),
        *_note_on_empty_places(_empty_places(cast, arranged, people_of_places, order), layout),
        *_notes_on_left_out(cast, standing),
        *_note_on_described(cast, standing, arranged),
        *arranged.notes,
        *_note_on_unlisted(cast, arranged),
    ]


def _notes_on_absent(cast: Cast) -> list[str]:
    """Lines about people who were listed and are not in the cast, one for each reason."""
    names: dict[str, list[str]] = {}  # reason -> names of those who are absent for it
    for absent in cast.absent:
        names.setdefault(absent.why, []).append(absent.numbered)
    return [line for why, of_reason in names.items() for line in gathered(f"Left out, {why}", of_reason)]


def _notes_on_faces(present: Sequence[Standing], layout: Layout) -> list[str]:
    """Lines about noses off the canvas, noses too close, by the squares around them, and face boxes too small."""
    off_canvas = [each for each in present if geometry.off_canvas(each.nose_square, layout.width, layout.height)]
    squares = [(each.member.name, each.nose_square) for each in present if each not in off_canvas]
    small = [each for each in present if each.face_size is not None and each.face_size < SMALL_FACE]
    return [
        *gathered(
            "Nose off the canvas",
            [f"{each.member.name} at ({each.slot.center[0]:.0f}, {each.slot.center[1]:.0f})" for each in off_canvas],
            f"; it has {layout.width}x{layout.height} px",
        ),
        *overlaps("Noses too close, faces may mix", squares),
        *gathered(
            "Faces small",
            [f"{each.member.name} {each.face_size}" for each in small],
            f" px; {SMALL_FACE} needed: larger canvas or closer framing",
        ),
    ]


def _notes_on_left_out(cast: Cast, standing: Sequence[Standing]) -> list[str]:
    """Lines about people of the cast who have no place, and about people in a place who have weight 0."""
    with_place = {each.listed for each in standing}
    without_place: list[str] = []
    weightless: list[str] = []
    for number, member in zip(cast.numbers, cast.people, strict=True):
        if number not in with_place:
            without_place.append(with_number(member.person.name, number))
        elif not member.is_present:
            weightless.append(member.name)
    return [
        *gathered(f"Left out, {NO_PLACE}", without_place),
        *gathered("Weight 0, as if absent", weightless),
    ]


def _note_on_described(cast: Cast, standing: Sequence[Standing], arranged: Arranged) -> list[str]:
    """A line about people who stand in a place that a text or a photo describes for somebody of another number.

    A place has a body and a face before anybody stands there, so it keeps them whatever the order.
    """
    # By the number of a place, before any was taken out, the number of the person for whom it is described.
    meant = dict(enumerate(_as_listed(cast, arranged.given_count), 1))
    described = [each for each in standing if each.number in arranged.layout.described]
    elsewhere = [each for each in described if each.listed != meant[arranged.numbers[each.number - 1]]]
    return gathered(
        "Ages, actions, expressions and prompts stay with their places",
        [f"{each.member.person.name} ({each.listed}) in place {each.number}" for each in elsewhere],
        ": as listed makes them fit the people's numbers",
    )


def _note_on_unlisted(cast: Cast, arranged: Arranged) -> list[str]:
    """A line about people who were given a place by hand and are not in the list."""
    count = len(cast.people) + len(cast.absent)
    unlisted = sorted({number for number in arranged.who.values() if number > count})
    return gathered("Arranged by hand, but not in the list", [f"person {number}" for number in unlisted])


def _empty_places(cast: Cast, arranged: Arranged, people_of_places: PeopleOfPlaces, order: str) -> list[int]:
    """The numbers of the places that stay empty, without those that may belong to somebody who stays in the picture.

    With LAST_PLACES these are the places before those of the list, with LARGEST_FACES all free places, but none that
    was added by hand.
    """
    staying = 0  # the number of the last of them, before any was taken out
    if order == LAST_PLACES:
        staying = arranged.given_count - len(cast.people) - len(cast.absent)
    elif order == LARGEST_FACES:
        staying = arranged.given_count
    places = enumerate(zip(people_of_places, arranged.numbers, strict=True), 1)
    return [place for place, (index, number) in places if index is None and number > staying]


def overlaps(title: str, squares: Sequence[tuple[str, geometry.Rect]]) -> list[str]:
    """A line that names the people whose squares, of PATCH pixels around the nose, run into each other; no line where
    all are apart.

    title: what the line says of them. squares: name and square of everybody who is present.
    """
    names = [name for name, _ in squares]
    pairs = [
        f"{names[overlap.first]} and {names[overlap.second]} by {overlap.width}x{overlap.height} px"
        for overlap in geometry.overlaps([square for _, square in squares])
    ]
    return gathered(title, pairs, f"; move them {geometry.PATCH} px apart")


def _note_on_unread_order(order: str, custom_order: str) -> list[str]:
    """A line where a custom order is written and another order is chosen, so that nothing reads it; [] otherwise."""
    if order == CUSTOM or not custom_order.strip():
        return []
    return [f"Custom order (custom_order) {plain(custom_order, 40)} is not read: set Who is where (order) to {CUSTOM}"]


def _note_on_empty_places(numbers: Sequence[int], layout: Layout) -> list[str]:
    """A line for all places that stay empty: what is there instead of a person of the cast."""
    if not numbers:
        return []
    empty = f"Place {numbers[0]} stays empty"
    skeleton, face = "its skeleton is", "the face there stays as it is"
    if len(numbers) > 1:
        empty = f"Places {listed(numbers)} stay empty"
        skeleton, face = "their skeletons are", "the faces there stay as they are"
    if any(layout.slots[number - 1].pose is not None for number in numbers):
        return [f"{empty}; {skeleton} still in the pose picture."]
    return [f"{empty}: in a photo, {face}."]
