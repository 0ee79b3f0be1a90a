"""Who stands where: people bound to places, and what may go wrong with it in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..cast import UNNAMED, Cast, Layout, Member, Person, PlacedCast, Slot
from ..checks.errors import BadCast, BadEmbedding, LikenessError, counted, gathered, listed
from ..checks.names import People
from ..checks.text import number_in, plain
from ..persons import assigned, in_common, known_by, similarities
from ..pictures import geometry
from ..taking_part import with_names

LEFT_TO_RIGHT = "left to right"
MATCH_FACES = "match faces"
CUSTOM = "custom"
LAST_PLACES = "last places"
LARGEST_FACES = "largest faces"
ORDERS = (LEFT_TO_RIGHT, "as listed", MATCH_FACES, CUSTOM, LAST_PLACES, LARGEST_FACES)
SMALL_FACE = 96
"""Faces under this many pixels lose their likeness."""

Places = tuple[int | None, ...]
"""Per place of a layout the index of the person who stands there, or None."""


class BadOrder(LikenessError):
    """A custom order that cannot be followed."""

    def __init__(self, text: str, why: str, people_count: int, place_count: int) -> None:
        example = ",".join(map(str, _example_order(text, people_count, place_count)))
        valid = "1" if people_count == 1 else f"1 to {people_count}"
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
        return [int(place == chosen_place) for place in range(1, place_count + 1)]
    return [max(0, number) for number in range(people_count, people_count - place_count, -1)]


class CannotMatch(LikenessError):
    """Order = match faces where there is nothing to compare."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"People cannot be matched with the faces of the layout: {why}.", advice)


def assign(cast: Cast, layout: Layout, order: str, custom_order: str) -> Places:
    """The index in the cast of the person in each place, None for a place that stays empty.

    order: one of ORDERS.
        "custom": as custom_order says, see `_numbers_of_text`.
        "last places": as listed, in the last places of the layout. The places before these stay empty.
        "largest faces": the first person has the place of the largest face box, and so on.
        "match faces": the person whose photos are most like the face that stood in the place.
        "left to right": as listed, in the places from left to right.
        "as listed": as listed, in the order of the places.
    The list has the people of the cast and those of `Cast.absent`. How many places the layout must have:
        "custom": any number.
        "last places": as many as the list has people, or more; or as many as the cast has.
        "largest faces": as many as the cast has people, or more.
        The others: as many as the list has people, or as many as the cast has.
    With as many places as the list has people, those of people who are absent stay free.
    Raises BadCast for another number of places, BadOrder for custom_order, and for "match faces" CannotMatch and
    BadEmbedding.
    """
    place_count = len(layout.slots)
    listed_people = range(1, len(cast.people) + len(cast.absent) + 1)
    # Number in the list, from 1 -> index in the cast. A person who is absent has a number and no index.
    index_of: dict[int, int] = {number: index for index, number in enumerate(cast.numbers)}
    if order == CUSTOM:
        present = zip(cast.numbers, (member.person.name for member in cast.people), strict=True)
        # Entries of both are (number in the list, name).
        names = [name for _, name in sorted([*present, *cast.absent])]
        numbers_by_place = _numbers_of_text(custom_order, names, place_count)
        # None for 0, an empty place, and for a person who is absent.
        return tuple(index_of.get(number) for number in numbers_by_place)
    if order == LAST_PLACES and place_count > len(listed_people):
        free = [None] * (place_count - len(listed_people))
        last_places = [index_of.get(number) for number in listed_people]
        return (*free, *last_places)
    if order == LARGEST_FACES and place_count >= len(cast.people):
        return _places_by_size(layout.slots, len(cast.people))
    # The orders that are left, and the two above with fewer places.
    if place_count not in (len(cast.people), len(listed_people)):
        raise _wrong_place_count(cast, place_count)
    if order == MATCH_FACES:
        return _places_by_likeness(with_names(cast.people), layout.slots)
    # With a place for everybody who was listed, those who are absent are counted, and theirs stay free.
    numbers = cast.numbers if place_count == len(cast.people) else listed_people
    place_order = list(range(place_count))
    if order == LEFT_TO_RIGHT:
        place_order.sort(key=lambda place: layout.slots[place].center)  # by x, then by y
    number_at = dict(zip(place_order, numbers, strict=True))  # index of the place -> number of the person in the list
    return tuple(index_of.get(number_at[place]) for place in range(place_count))


def _places_by_size(slots: Sequence[Slot], people_count: int) -> Places:
    """As `assign` gives them: the first person has the place of the largest face box, the second the next largest.

    Places without a box come last.
    """
    no_box = (0.0, 0.0, 0.0, 0.0)
    sizes = [geometry.area(slot.box or no_box) for slot in slots]
    largest_first = sorted(range(len(slots)), key=lambda place: -sizes[place])
    person_at = {place: person for person, place in enumerate(largest_first[:people_count])}
    return tuple(person_at.get(place) for place in range(len(slots)))


def _wrong_place_count(cast: Cast, place_count: int) -> BadCast:
    """The error for a cast and a layout of different numbers. place_count: how many the layout has."""
    # An example for custom_order: everybody in the order of the list, then a 0 for each place that is left; [] for a
    # count below 0.
    empty = [0] * (place_count - len(cast.people))
    order = ",".join(map(str, [*cast.numbers[:place_count], *empty]))
    left_out = ""
    if cast.absent:
        left_out = f" (left out: {listed([name for _, name in cast.absent])})"
    return BadCast(
        f"The cast has {counted(len(cast.people), 'person', 'people')}{left_out} and the layout has "
        f"{counted(place_count, 'place')}.",
        "Remove or add people or places, or set order (Who is where) to custom and write the number of a person per "
        f"place, 0 for an empty one: {order}.",
    )


def place(cast: Cast, layout: Layout, places: Places) -> PlacedCast:
    """The people of the cast who have a place, each with their slot and its number, in the order of the cast.

    places: for each place of the layout the index of its person in the cast, as `assign` gives it.
    """
    number_of = {person: number for number, person in enumerate(places, 1) if person is not None}
    people = tuple(
        replace(member, slot=layout.slots[number_of[index] - 1], place=number_of[index])
        for index, member in enumerate(cast.people)
        if index in number_of
    )
    return PlacedCast(people, layout.width, layout.height)


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


def _places_by_likeness(persons: Sequence[Person], slots: Sequence[Slot]) -> Places:
    """The people in the places whose faces they are most like: the sum of all similarities is as large as possible.

    Similarities by all recognisers that every person and every place has are added. With fewer people than places,
    places stay free. Raises CannotMatch and BadEmbedding.
    """
    recognisers = _common_recognisers(persons, slots)
    faces = [slot.embeddings for slot in slots]
    # The sum, over recognisers, of the mean cosine of the photos
    likeness = torch.zeros(len(persons), len(slots), dtype=torch.float32)
    for recogniser in recognisers:
        cosines = similarities(persons, faces, recogniser, "Place Cast")  # (people, places)
        for person, row in zip(persons, cosines, strict=True):
            if not row.isfinite().all():
                raise BadEmbedding(person.name, recogniser, "it, or a face of the layout, holds NaN or infinity")
        likeness = likeness + cosines
    # Nobody is without a place: `assign` has refused layouts of fewer places than people.
    person_at = {place: index for index, place in enumerate(assigned(likeness))}
    return tuple(person_at.get(place) for place in range(len(slots)))


def _common_recognisers(persons: Sequence[Person], slots: Sequence[Slot]) -> Sequence[str]:
    """Recognisers of which every person and every place has an embedding. Raises CannotMatch where there is none."""
    places_without_face = [str(number) for number, slot in enumerate(slots, 1) if not slot.embeddings]
    if places_without_face:
        noun = "place" if len(places_without_face) == 1 else "places"
        why = f"there is no face to compare with in {noun} {', '.join(places_without_face)}"
        advice = "Make the layout of faces in a photo with a face model that has a recogniser, or choose another order."
        raise CannotMatch(why, advice)
    people_without_face = [person.name for person in persons if not person.embeddings]
    if people_without_face:
        verb = "has" if len(people_without_face) == 1 else "have"
        why = f"{listed(people_without_face)} {verb} no photo with a face to compare"
        advice = "Add one (Person, with a face model that has a recogniser), or choose another order."
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
    def square(self) -> geometry.Rect:
        """The square of PATCH pixels around the nose."""
        return geometry.patch_rect(self.slot.center)


def _standing(cast: Cast, layout: Layout, places: Places) -> list[Standing]:
    """Everybody who has a place, in the order of the places."""
    standing: list[Standing] = []
    for number, (index, slot) in enumerate(zip(places, layout.slots, strict=True), 1):
        if index is not None:
            standing.append(Standing(number, cast.people[index], cast.numbers[index], slot))
    return standing


def report(cast: Cast, layout: Layout, places: Places, lines_of_troubles: Sequence[str]) -> str:
    """A line for each person, with the place, and then what may go wrong, as `troubles` gives it."""
    lines: list[str] = []
    for standing in _standing(cast, layout, places):
        x, y = standing.slot.center
        line = f"Place {standing.number}: {standing.member.name} at ({round(x)}, {round(y)})"
        if standing.face_size is not None:
            line += f", face {standing.face_size} px"
        lines.append(line)
    lines += lines_of_troubles or ["No problems found."]
    return "\n".join(lines)


def troubles(cast: Cast, layout: Layout, places: Places, order: str, custom_order: str = "") -> list[str]:
    """What may go wrong, a line for each kind, in this order: a custom order that is not read, people without a face,
    noses off the canvas, noses too close to each other, faces under SMALL_FACE pixels, empty places, people left out,
    people of weight 0, and people who stand in a place that a text describes for another number.

    places: for each place the index of its person in the cast, as `assign` gives it. order: the order by which `assign`
    gave them. No line says that a place is empty which may belong to somebody who stays in the picture: with
    LAST_PLACES a place before those of the list, with LARGEST_FACES every free place.
    """
    standing = _standing(cast, layout, places)
    present = [each for each in standing if each.member.weight > 0]
    off_canvas = [each for each in present if geometry.off_canvas(each.square, layout.width, layout.height)]
    squares = [(each.member.name, each.square) for each in present if each not in off_canvas]
    small = [each for each in present if each.face_size is not None and each.face_size < SMALL_FACE]
    elsewhere = [each for each in standing if each.number in layout.described and each.listed != each.number]
    with_place = {each.listed for each in standing}
    people = list(zip(cast.numbers, cast.people, strict=True))
    without_place = [_with_number(member.person.name, number) for number, member in people if number not in with_place]
    weightless = [member.name for number, member in people if number in with_place and member.weight <= 0]
    return [
        *_note_on_unread_order(order, custom_order),
        *gathered("Left out, no face in the photos", [_with_number(name, number) for number, name in cast.absent]),
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
        *_note_on_empty_places(_empty_places(cast, places, order), layout),
        *gathered("Left out, without a place", without_place),
        *gathered("Weight 0, as if absent", weightless),
        *gathered(
            "The layout's prompts are by place",
            [f"{each.member.person.name} ({each.listed}) in place {each.number}" for each in elsewhere],
            ": as listed makes them fit the people's numbers",
        ),
    ]


def _empty_places(cast: Cast, places: Places, order: str) -> list[int]:
    """The numbers of the places that stay empty, without those of people who may stay in the picture."""
    staying = 0  # the number of the last place that may belong to somebody who stays
    if order == LAST_PLACES:
        staying = len(places) - len(cast.people) - len(cast.absent)
    elif order == LARGEST_FACES:
        staying = len(places)
    return [number for number, person in enumerate(places, 1) if person is None and number > staying]


def _with_number(name: str, number: int) -> str:
    return f"{name} {number}" if name == UNNAMED else f"{name} (person {number})"


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
    return [f"Custom order (custom_order) {plain(custom_order, 40)} is not read: set order (Who is where) to {CUSTOM}"]


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
