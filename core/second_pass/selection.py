"""Who needs the second pass, and why or why not."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..measure import Report, Sighting
from ..people import NOSE, Box, Faces, Keypoints, Person

SMALL = "small faces"
UNLIKE = "unlike faces"
SMALL_OR_UNLIKE = "small or unlike faces"
EVERYBODY = "everybody"
CHOICES = (SMALL, UNLIKE, SMALL_OR_UNLIKE, EVERYBODY)


@dataclass(frozen=True)
class Choice:
    """Who needs the second pass, and how the squares are cut: the inputs of Crop Faces, under their names.

    who: one of CHOICES. smaller_than: height of a face in pixels. less_than: similarity. use_places: whether people who
    have no face in the picture are cut out in their place. margin, mask_margin: around the face box, in face sizes, the
    square's and the mask's. feather: soft edge of the mask, in face sizes. size: of the enlarged crops, in pixels.
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

    picture: index in the batch, from 0. number: of the place, without places the number in the list, from 1. box,
    keypoints: of the person's face, without a face those of their place, in pixels of the picture; None where there is
    neither. similarity: of the face to the person's photos; None without a face.
    """

    picture: int
    person: Person
    number: int
    box: Box | None
    keypoints: Keypoints | None
    similarity: float | None

    @property
    def name(self) -> str:
        """The name of the person."""
        return self.person.identity.name


@dataclass(frozen=True)
class Need:
    """Whether a person needs the second pass, and the reason, as it stands behind the name and a colon."""

    needed: bool
    reason: str


def candidates(report: Report, pictures: Sequence[Faces]) -> list[list[Candidate]]:
    """The people of the report in each picture. pictures: the faces that the report was measured on."""
    per_picture: list[list[Candidate]] = []
    for number, (measured, faces) in enumerate(zip(report.judged_pictures, pictures, strict=True)):
        per_picture.append([_candidate(report, number, sighting, faces) for sighting in measured.sightings])
    return per_picture


def _candidate(report: Report, picture_index: int, sighting: Sighting, faces: Faces) -> Candidate:
    """One person in the picture of this index in the batch, whose faces are `faces`."""
    person = report.people[sighting.person]
    number = report.numbers[sighting.person]
    if sighting.face is not None:
        face = faces.faces[sighting.face]
        return Candidate(picture_index, person, number, face.box, face.keypoints, sighting.similarity)
    slot = person.slot
    if slot and slot.box and slot.keypoints:
        onto_picture = report.canvas_onto(faces.width, faces.height)
        keypoints = tuple(onto_picture.point(point) for point in slot.keypoints)
        return Candidate(picture_index, person, number, onto_picture.box(slot.box), keypoints, None)
    return Candidate(picture_index, person, number, None, None, None)


def need_of(candidate: Candidate, faces: Faces, choice: Choice) -> Need:
    """Whether a person needs the second pass. faces: all of the picture."""
    if candidate.box is None or candidate.keypoints is None:
        return Need(False, "no face found and no place with a face to go by, left as it is")
    x, y = candidate.keypoints[NOSE]
    if not (0 <= x < faces.width and 0 <= y < faces.height):
        return Need(False, "the face is outside of the picture, left as it is")
    if candidate.similarity is None:
        if choice.use_places:
            return Need(True, "no face found, cut out in their place")
        return Need(False, "no face found, left as it is")
    height = candidate.box[3] - candidate.box[1]
    is_small = height < choice.smaller_than
    is_unlike = candidate.similarity < choice.less_than
    needed = is_small or is_unlike
    if choice.who == EVERYBODY:
        needed = True
    elif choice.who == SMALL:
        needed = is_small
    elif choice.who == UNLIKE:
        needed = is_unlike
    outcome = "second pass" if needed else "left as it is"
    return Need(needed, f"face {height:.0f} px high, similarity {candidate.similarity:.2f}, {outcome}")
