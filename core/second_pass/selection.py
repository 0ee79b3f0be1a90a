"""Who needs the second pass, and why or why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..cast import NOSE, Box, Cast, Face, Faces, Keypoints, Member, PlacedCast, require_places, require_together
from ..measure.assignment import faces_in_places
from ..measure.comparison import people_to_find
from ..measure.report import Report
from ..pictures.geometry import Fit
from ..taking_part import present

SMALL = "small faces"
UNLIKE = "unlike faces"
SMALL_OR_UNLIKE = "small or unlike faces"
EVERYBODY = "everybody"
CHOICES = (SMALL, UNLIKE, SMALL_OR_UNLIKE, EVERYBODY)


@dataclass(frozen=True)
class Choice:
    """Who needs the second pass, and how the squares are cut: the inputs of Crop Faces, under their names.

    who: one of CHOICES.
    smaller_than: height in pixels below which a face is small.
    less_than: similarity below which a face is unlike the person.
    use_places: whether people who have no face in the picture are cut out in their place.
    margin: how far the square reaches beyond the face box, in face sizes.
    mask_margin: how far the mask reaches beyond the face box, in face sizes.
    feather: width of the soft edge of the mask, in face sizes.
    size: side of the enlarged crops, in pixels.
    """

    who: str
    smaller_than: float
    less_than: float
    use_places: bool
    margin: float
    mask_margin: float
    feather: float
    size: int


@dataclass(frozen=True)
class Candidate:
    """A person in a picture, before it is known whether they need the second pass.

    picture_index: of the picture in the batch, from 0.
    number: of the person's place, from 1; in a cast without places the number of the person.
    box, keypoints: of the person's face in pixels of the picture. Where no face is found they are those of the person's
    place, and None without a place.
    similarity: of the face to the person's photos; None without a face, and for a person without photos.
    has_face: whether a face of the picture is the person's.
    """

    picture_index: int
    member: Member
    number: int
    box: Box | None = None
    keypoints: Keypoints | None = None
    similarity: float | None = None
    has_face: bool = False

    @property
    def name(self) -> str:
        return self.member.name


@dataclass(frozen=True)
class Need:
    """Whether a person needs the second pass, and the reason in words, which the report writes after "Anna: "."""

    needed: bool
    reason: str


def people_to_cut(cast: Cast, node: str) -> Cast:
    """The people whom the second pass looks for, as a cast.

    Where somebody of weight above 0 has a photo, they are those of people_to_find. Otherwise they are all people of
    weight above 0. These need places: without photos, only the place says whose face it is.
    node: the name of the node, for messages. Raises what people_to_find, or require_together and require_places raise.
    """
    people = present(cast)
    # An empty cast goes on to people_to_find, which refuses it.
    if not has_photos(people) and people.people:
        require_together(people, node)
        return require_places(people, node)
    return people_to_find(cast, None, node)


def has_photos(cast: Cast) -> bool:
    """Whether anybody in the cast has photos by which their face can be recognised."""
    return not all(member.person.has_no_photo for member in cast.people)


def candidates(report: Report, pictures: Sequence[Faces]) -> list[list[Candidate]]:
    """The people of the report in each picture, by the face that is theirs, else by their place, else without a box.

    pictures: the faces that the report was measured on.
    """
    per_picture: list[list[Candidate]] = []
    for picture_index, (measured, faces) in enumerate(zip(report.judged_pictures, pictures, strict=True)):
        onto_picture = report.canvas_onto(faces.width, faces.height) if report.has_places else None
        people: list[Candidate] = []
        for sighting in measured.sightings:
            person = Candidate(picture_index, report.people[sighting.person], report.numbers[sighting.person])
            if sighting.face is None:
                people.append(_in_place(person, onto_picture))
            else:
                people.append(_with_face(person, faces.faces[sighting.face], sighting.similarity))
        per_picture.append(people)
    return per_picture


def candidates_by_place(cast: PlacedCast, pictures: Sequence[Faces]) -> list[list[Candidate]]:
    """For each picture all people of a cast, by the face that lies in their place, else by the place itself.

    pictures: the faces in each. Raises BadSize where a picture has another shape than the canvas.
    """
    per_picture: list[list[Candidate]] = []
    for picture_index, faces in enumerate(pictures):
        onto_picture = Fit(faces.width / cast.width, faces.height / cast.height, 0, 0)
        face_of_person = faces_in_places(faces.faces, (faces.width, faces.height), cast)
        people: list[Candidate] = []
        for member, face in zip(cast.people, face_of_person, strict=True):
            person = Candidate(picture_index, member, member.place)
            people.append(_in_place(person, onto_picture) if face is None else _with_face(person, faces.faces[face]))
        per_picture.append(people)
    return per_picture


def _with_face(person: Candidate, face: Face, similarity: float | None = None) -> Candidate:
    """A person and their face in the picture. similarity: as of Candidate."""
    return replace(person, box=face.box, keypoints=face.keypoints, similarity=similarity, has_face=True)


def _in_place(person: Candidate, onto_picture: Fit | None) -> Candidate:
    """A person whose face is not found in the picture, with the box and keypoints of their place, if they have one.

    onto_picture: brings the canvas of the places onto the picture; None without places.
    """
    slot = person.member.slot
    if onto_picture is None or slot is None or slot.box is None or slot.keypoints is None:
        return person
    keypoints = tuple(onto_picture.point(point) for point in slot.keypoints)
    return replace(person, box=onto_picture.box(slot.box), keypoints=keypoints)


def need_of(candidate: Candidate, faces: Faces, choice: Choice) -> Need:
    """Whether a person needs the second pass. faces: all faces of the picture, and its size."""
    if candidate.box is None or candidate.keypoints is None:
        return Need(needed=False, reason="no face found and no place with a face to go by, left as it is")
    x, y = candidate.keypoints[NOSE]
    if not (0 <= x < faces.width and 0 <= y < faces.height):
        return Need(needed=False, reason="the face is outside of the picture, left as it is")
    if not candidate.has_face:
        if choice.use_places:
            return Need(needed=True, reason="no face found, cut out in their place")
        return Need(needed=False, reason="no face found, left as it is")
    _, top, _, bottom = candidate.box
    return _need_by_choice(bottom - top, candidate.similarity, choice)


def _need_by_choice(height: float, similarity: float | None, choice: Choice) -> Need:
    """Whether a face of this height in pixels needs the second pass. similarity: as of Candidate."""
    is_small = height < choice.smaller_than
    # Without photos nobody can say how alike a face is.
    is_unlike = similarity is not None and similarity < choice.less_than
    by_choice = {SMALL: is_small, UNLIKE: is_unlike, SMALL_OR_UNLIKE: is_small or is_unlike, EVERYBODY: True}
    is_needed = by_choice[choice.who]
    outcome = "second pass" if is_needed else "left as it is"
    likeness = "no photo to compare with" if similarity is None else f"similarity {similarity:.2f}"
    return Need(is_needed, f"face {height:.0f} px high, {likeness}, {outcome}")
