"""What travels on our sockets: faces, people, places, casts, and what nodes need of these. All immutable.

Coordinates are pixels of the picture or canvas they belong to, x to the right, y down, as floats.
"Left" and "right" of keypoints are the viewer's image side for `Keypoints` (insightface order) and the
person's own side for `Pose` (COCO order), as the detectors define them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from typing_extensions import TypeIs

from .checks.errors import BadCast, BadLayout, LikenessError, counted, gathered, listed
from .checks.text import MOST_NAME_LETTERS, UNNAMED, plain
from .places.region_settings import RegionSettings

KindT = TypeVar("KindT")
CastT = TypeVar("CastT", bound="Cast")

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""
CanvasSize = tuple[int, int]
"""Width and height in pixels."""
Keypoints = tuple[Point, ...]
"""Five points: left eye, right eye, nose, left mouth corner, right mouth corner."""
Joint = tuple[float, float, float]
"""x, y, confidence 0..1."""
Pose = tuple[Joint, ...]
"""Seventeen joints in COCO order (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles)."""
Hand = tuple[Joint, ...]
"""Twenty-one points: the wrist, then four for each finger from its root to its tip, the thumb first."""
FacePoints = tuple[Joint, ...]
"""Sixty-eight points of a face in the order of iBUG (jaw, brows, nose, eyes, mouth, from the viewer's left), with both
pupils seventy."""

NOSE = 2
"""Index of the nose in Keypoints; in a Pose it is 0."""
EMBEDDING, CROP = 512, 112
"""Numbers of a face embedding, and the side in pixels of the aligned picture that is kept with it."""
ALIGNED, LOOSE, FFHQ = 224, 512, 512
"""Sides in pixels of the pictures in Portraits."""


@dataclass(frozen=True)
class Portraits:
    """The pictures of a person for networks that look at faces, one of each kind per photo.

    aligned: (photos, ALIGNED, ALIGNED, 3) uint8 RGB, the face on ArcFace's template doubled, black outside of the
    photo.
    loose: (photos, LOOSE, LOOSE, 3) uint8 RGB, head and shoulders, upright, never outside of the photo.
    ffhq: (photos, FFHQ, FFHQ, 3) uint8 RGB, the head on FFHQ's template, grey outside of the photo.
    """

    aligned: Tensor
    loose: Tensor
    ffhq: Tensor


@dataclass(frozen=True)
class Face:
    """One face found in a picture.

    embeddings: recogniser id -> (EMBEDDING,) float32 CPU, as that recogniser returns it (not re-normalised).
    crop: (CROP, CROP, 3) float32 RGB 0..1, the aligned picture the recognisers saw.
    portrait: of one photo; None where only the embeddings were asked for.
    certain: False where the detector could not decide which way up the face is.
    unseen_below: px; smaller faces of the same photo may not have been seen. 0 where that is no matter.
    points: where the face was found by landmarks.
    one_person_from: recogniser id -> the least cosine at which it takes two photos for one person, where its file
    states one.
    """

    box: Box
    keypoints: Keypoints
    score: float
    crop: Tensor
    embeddings: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    portrait: Portraits | None = None
    certain: bool = True
    one_person_from: Mapping[str, float] = field(default_factory=dict[str, float])
    unseen_below: float = 0.0
    points: FacePoints | None = None


@dataclass(frozen=True)
class Faces:
    """The ordered faces of one picture of `width` x `height` pixels."""

    faces: tuple[Face, ...]
    width: int
    height: int


@dataclass(frozen=True)
class Lora:
    """A LoRA that draws a person. file: relative name below models/loras. words: its trigger words, or ""."""

    file: str
    strength: float
    words: str


@dataclass(frozen=True)
class Share:
    """What a blended person has of one of the people. loose: (LOOSE, LOOSE, 3) uint8, as in Portraits. share: 0..1."""

    loose: Tensor
    share: float


@dataclass(frozen=True, eq=False)
class LookPicture:
    """A picture of something that a person wears, as `core.parts.parts.Part` has it, in 8 bits.

    picture: (H, W, 3) uint8 RGB. alpha: (H, W) uint8, None where all is opaque. mask: (h, w) uint8, what of the picture
    is worn; None for all of it. weight: above 0.
    """

    label: str
    picture: Tensor
    alpha: Tensor | None = None
    mask: Tensor | None = None
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Look:
    """What a person wears in some pictures: clothes, shoes, hair. name: told from the person's other looks."""

    name: str
    pictures: tuple[LookPicture, ...]


@dataclass(frozen=True)
class Person:
    """One person, from one or more photos, or known to LoRAs or words alone.

    embeddings: recogniser id -> (photos, EMBEDDING) float32 CPU; every photo is kept so that the way of
    combining them is chosen where they are used.
    crops: (photos, CROP, CROP, 3) float32 RGB 0..1, for the eye.
    name: one line of at most MOST_NAME_LETTERS letters.
    portraits: None for a person without a photo.
    one_person_from: recogniser id -> the least cosine at which it takes two photos for one person, as in `Face`.
    blended_of: for a blended person with portraits, each of whom the portraits are a mixture; they are 1 in all.
    looks: the newest last.
    """

    name: str
    embeddings: Mapping[str, Tensor]
    crops: Tensor
    portraits: Portraits | None = None
    loras: tuple[Lora, ...] = ()
    one_person_from: Mapping[str, float] = field(default_factory=dict[str, float])
    blended_of: tuple[Share, ...] = ()
    looks: tuple[Look, ...] = ()

    def __post_init__(self) -> None:
        # A name also comes out of files that others have made.
        object.__setattr__(self, "name", plain(self.name, MOST_NAME_LETTERS) or UNNAMED)

    @property
    def has_no_photo(self) -> bool:
        """Whether the person was made without any photo, as `person_without_photo` does it."""
        return not self.embeddings and self.portraits is None and len(self.crops) > 0


def person_without_photo(name: str) -> Person:
    """Somebody who is known to LoRAs or words alone: a grey square stands for the crop of the face."""
    return Person(name, embeddings={}, crops=torch.full((1, CROP, CROP, 3), 0.5, dtype=torch.float32))


class Outline(NamedTuple):
    """A line drawn by hand around a part of the canvas. adds: whether that part is added to a region or taken away.

    points: px, three at least; the last one is joined with the first.
    """

    adds: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Slot:
    """One place on a canvas.

    center: where the face is anchored: the nose, as ID-Patch was trained.
    box: the face's box, or None where only a point is known.
    mask: (height, width) float32 0..1 of the whole canvas, the region this person owns.
    embeddings: of the face that stood here in a template photo, for `order = match faces`.
    left_hand, right_hand: the person's own.
    drawn: what was drawn by hand for the region, in this order, whatever it is made of.
    depth: of several places the one with the highest number is drawn over the others; places of one number in their
    order.
    """

    center: Point
    box: Box | None = None
    keypoints: Keypoints | None = None
    pose: Pose | None = None
    mask: Tensor | None = None
    embeddings: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    left_hand: Hand | None = None
    right_hand: Hand | None = None
    face_points: FacePoints | None = None
    drawn: tuple[Outline, ...] = ()
    depth: int = 0


@dataclass(frozen=True)
class Layout:
    """A canvas and its places, in the order of their numbers in the overlay picture.

    described: the numbers of the places of which a text says who stands there, or a photo with what expression.
    """

    width: int
    height: int
    slots: tuple[Slot, ...]
    described: tuple[int, ...] = ()


@dataclass(frozen=True)
class Member:
    """A cast member. weight 1 is the reference behaviour, 0 is as if the person were not in the cast.

    place: the number of the slot in its layout, from 1, or 0 without one. number: in the list, from 1, as Cast.numbers
    has it; 0 for somebody who is in no list.
    """

    person: Person
    weight: float = 1.0
    slot: Slot | None = None
    place: int = 0
    number: int = field(default=0, kw_only=True)

    @property
    def name(self) -> str:
        """The name in messages: somebody without one is told from others by the number."""
        if self.person.name == UNNAMED and self.number:
            return f"{UNNAMED} {self.number}"
        return self.person.name

    @property
    def is_present(self) -> bool:
        return self.weight > 0


NO_FACE, NO_PLACE, NO_WEIGHT = "no face in the photos", "without a place", "weight 0"
"""Why somebody who was listed is not in a cast."""


class Absent(NamedTuple):
    """Somebody who was listed and is not in the cast.

    number: in the list, from 1. why: NO_FACE, NO_PLACE or NO_WEIGHT.
    """

    number: int
    name: str
    why: str = NO_FACE

    @property
    def numbered(self) -> str:
        """The name with the number, for messages: "Ben (person 2)"."""
        return with_number(self.name, self.number)


def with_number(name: str, number: int) -> str:
    """The name of the person of this number in the list, with it: "Ben (person 2)", or "person 2" without a name."""
    number_alone = f"{UNNAMED} {number}"
    return number_alone if name in (UNNAMED, number_alone) else f"{name} (person {number})"


@dataclass(frozen=True)
class Cast:
    """People in the order they were listed.

    absent: they are not in `people`, but keep their numbers, and their places stay free.
    """

    by_row: ClassVar[bool] = False
    """Whether everybody has a picture of their own, a row of the batch each."""
    people: tuple[Member, ...]
    absent: tuple[Absent, ...] = field(default=(), kw_only=True)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the people in the list, from 1. Numbers of people who are absent are left out."""
        away = {absent.number for absent in self.absent}
        all_numbers = range(1, len(self.people) + len(self.absent) + 1)
        return tuple(number for number in all_numbers if number not in away)

    @property
    def names_listed(self) -> list[str]:
        """The names of everybody in the list, in its order, also of those who are absent."""
        names = dict(zip(self.numbers, (member.person.name for member in self.people), strict=True))
        names |= {absent.number: absent.name for absent in self.absent}
        return [names[number] for number in sorted(names)]

    def not_read_of_absent(self, is_said: Sequence[bool]) -> list[str]:
        """A line that names who is absent though something is said of them; none without any.

        is_said: for everybody in the list whether something is said of them.
        """
        unread = [absent.numbered for absent in self.absent if is_said[absent.number - 1]]
        return gathered("Left out, so what is said of them is not read", unread)

    def absent_without(self, kept: Sequence[bool], why: str) -> tuple[Absent, ...]:
        """Who is absent from a cast of fewer people, in the order of the list: so the others keep their numbers.

        kept: for everybody of this cast whether they are in the other. why: of those who are not, as in `Absent`.
        """
        everybody = zip(self.numbers, self.people, kept, strict=True)
        left_out = [Absent(number, member.person.name, why) for number, member, is_kept in everybody if not is_kept]
        return tuple(sorted([*self.absent, *left_out]))


@dataclass(frozen=True, eq=False)
class Unarranged:
    """What Place Cast had before anything was arranged by hand: what the canvas in the editor begins with.

    cast: also those who got no place. numbers: for each place of the layout the number in the list of its person, 0 for
    nobody. text: what was arranged, see core.places.arranging. troubles: what may go wrong then, a line each. castless:
    whether there was no cast, so that each place has somebody of its own.
    """

    layout: Layout
    cast: Cast
    numbers: tuple[int, ...]
    text: str = ""
    troubles: tuple[str, ...] = ()
    castless: bool = False


@dataclass(frozen=True)
class PlacedCast(Cast):
    """People on a canvas of width x height pixels. Who was listed after places were given has none.

    layout: all places of the canvas, as they were arranged, also those in which nobody stands. None where the people
    were not placed in one layout. unarranged: None where nothing can be arranged by hand.
    """

    width: int
    height: int
    region_settings: RegionSettings = field(default=RegionSettings(), kw_only=True)
    layout: Layout | None = field(default=None, kw_only=True)
    unarranged: Unarranged | None = field(default=None, kw_only=True)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The places of all people who have one, in the order of the people."""
        return tuple(member.slot for member in self.people if member.slot)

    @property
    def occupied(self) -> Layout:
        """These places as a layout."""
        return Layout(self.width, self.height, self.slots)

    @property
    def free(self) -> tuple[Slot, ...]:
        """The places in which nobody stands, in the order of their numbers."""
        taken = {member.place for member in self.people}
        slots = self.layout.slots if self.layout else ()
        return tuple(slot for place, slot in enumerate(slots, 1) if place not in taken)


@dataclass(frozen=True)
class RowCast(PlacedCast):
    """People with a picture of width x height pixels each, person n in row n of the batch.

    All of them have a place in their picture and a weight above 0: without somebody the others would not be in their
    rows. cut_from: the cast that Crop Faces was given. indices: for each row the index of its person there. None and ()
    where the rows are all that is known. One person may have several rows, of several pictures.
    """

    by_row = True
    cut_from: Cast | None = field(default=None, kw_only=True)
    indices: tuple[int, ...] = field(default=(), kw_only=True)


def is_a(value: object, kind: type[KindT]) -> TypeIs[KindT]:
    """isinstance for what travels on sockets, by name: after a pack was loaded anew there are two of each class."""
    return kind.__name__ in {base.__name__ for base in type(value).__mro__}


class NotPlaced(LikenessError):
    """A cast without places where places are needed, or (without people) neither a cast nor a layout."""

    def __init__(self, node_name: str, names: Sequence[str]) -> None:
        why = "neither a cast nor a layout is connected"
        if names:
            verb = "have" if len(names) > 1 else "has"
            why = f"{listed(names)} {verb} no place"
        advice = "Put Place Cast between Cast and this node and give it a layout."
        super().__init__(f"{node_name} needs a position for each person, but {why}.", advice)


def require_places(cast: Cast, node_name: str) -> PlacedCast:
    """The same cast, as one with a canvas.

    node_name: of the node that needs the places. Raises NotPlaced, naming it, unless everybody has a place.
    """
    unplaced = [member.name for member in cast.people if member.slot is None]
    # In a cast without people nobody is unplaced; it is refused too where it has no canvas.
    if unplaced or not is_a(cast, PlacedCast):
        raise NotPlaced(node_name, unplaced)
    return cast


def places_of(places: Cast | Layout | None, node_name: str) -> Layout:
    """The layout of the places where the people of a cast stand, in their order; of a layout the layout itself.

    node_name: of the node that needs the places, for messages.
    Raises BadCast for a cast in which nobody is left, and BadLayout for a layout without places. Raises NotPlaced for a
    cast in which somebody has no place, and for None.
    """
    if places is None:
        raise NotPlaced(node_name, names=[])
    if is_a(places, Cast):
        require_somebody(places, node_name)
        return require_places(places, node_name).occupied
    if not places.slots:
        advice = "Make one that has places, such as with Layout for a Group or Layout from Picture."
        raise BadLayout(f"The layout given to {node_name} has no places.", advice)
    return places


def all_places_of(places: Cast | Layout, node_name: str) -> Layout:
    """The layout in which a cast was placed, also with places in which nobody stands; of a layout the layout itself.

    node_name: of the node that needs the places, for messages. Raises NotPlaced for a cast in which somebody has no
    place, and BadCast for one of Crop Faces.
    """
    if not is_a(places, Cast):
        return places
    require_together(places, node_name)
    placed = require_places(places, node_name)
    return placed.layout or placed.occupied


def require_somebody(cast: Cast, node_name: str) -> None:
    """Raise BadCast, naming the node, for a cast in which nobody is left."""
    if not cast.people:
        why = f"No person of the cast given to {node_name} has a place: Place Cast has left out all people."
        advice = (
            "Write the number of a person instead of a 0 in its Custom order (custom_order) or in its Arranged by hand "
            "(arrange), or choose another Who is where (order)."
        )
        raise BadCast(why, advice)


def in_order_of_places(cast: CastT) -> CastT:
    """The cast with its people in the order of their places, as a layout draws its skeletons one over another.

    A cast of people with a picture each is returned as it is: their order is that of the rows of the batch.
    """
    if cast.by_row:
        return cast
    return replace(cast, people=tuple(sorted(cast.people, key=lambda member: member.place)))


def require_together(cast: Cast | None, node_name: str) -> None:
    """Raise BadCast, naming the node, for people who have a picture each instead of standing in one."""
    if cast and cast.by_row:
        why = f"The cast given to {node_name} comes from Crop Faces: each person in it has a picture of their own."
        raise BadCast(why, "Connect the cast that Crop Faces was given.")


def rows_missing(node_name: str, people_count: int, batch_name: str, row_count: int) -> BadCast:
    """The error for a batch that does not have one row for each person of a cast from Crop Faces.

    batch_name: how a message calls the batch.
    """
    return BadCast(
        f"{batch_name[0].upper()}{batch_name[1:]} has {counted(row_count, 'row')} and the cast given to {node_name} "
        f"{counted(people_count, 'person', 'people')}: with a cast from Crop Faces each person needs a row of the "
        "batch.",
        "Encode the crops of the same Crop Faces with VAE Encode, all of them, and draw the images from its cast. "
        "Rebatch Latents gives a sampler a few of the rows: leave it out.",
    )
