"""The figures of a picture, each with its name and its order, and the figures of a batch.

To add a figure, write a function from a MeasuredPicture to a number (None where the picture has nothing of that kind)
and give it a row in FIGURES, with the reason and the advice for users whose pictures all have None. A test by hand goes
into tests/unit/test_measure.py, a sentence for users into the tooltip of `score` in both locales/*/nodeDefs.json and
into web/docs/LikenessPickBestLikeness.md with its zh.md, its Chinese name into locales/zh/main.json, and how it is
counted into docs/dev/measuring.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .report import MeasuredPicture

PARTS = "parts"
TEXT_ALIGNMENT = "text alignment"


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known. None where none is: a mean of nothing is unknown, and not 0."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def weakest_person(picture: MeasuredPicture) -> float | None:
    """The similarity of the person who is least like their own photos; a missing person counts as 0."""
    return min((sighting.similarity for sighting in picture.sightings), default=None)


def resemblance(picture: MeasuredPicture) -> float | None:
    """The mean similarity of people to their own photos; a missing person counts as 0."""
    return mean([sighting.similarity for sighting in picture.sightings])


def association(picture: MeasuredPicture) -> float | None:
    """The share of people whose face is more like them than like any other person, 0..1.

    Missing people are counted as people whose face is not.
    """
    return mean([float(sighting.right) for sighting in picture.sightings])


def margin(picture: MeasuredPicture) -> float | None:
    """The mean of Sighting.margin over all people: the face's similarity to its own person less that to any other.

    A missing person has 0.
    """
    return mean([sighting.margin for sighting in picture.sightings])


def leakage(picture: MeasuredPicture) -> float | None:
    """The mean of Sighting.leakage over the people who are present: what a face has of another person.

    It is 0 where all people are missing, and None where the report has no people.
    """
    if not picture.sightings:
        return None
    return mean([sighting.leakage for sighting in picture.present]) or 0.0


def copy_paste(picture: MeasuredPicture) -> float | None:
    """The mean of Sighting.copy_paste, over the people who are present and have several photos."""
    return mean(sighting.copy_paste for sighting in picture.present)


def parts(picture: MeasuredPicture) -> float | None:
    """The mean similarity of parts to their regions."""
    return mean(picture.part_similarities)


def text_alignment(picture: MeasuredPicture) -> float | None:
    """CLIP-T: the cosine of what CLIP projects of the prompt and of the picture."""
    return picture.text_alignment


@dataclass(frozen=True)
class NoValue:
    """Why no picture of a batch has a figure, and what to do.

    They are parts of the sentences of an error: "No picture has the score NAME: REASON." and "ADVICE, or choose another
    score."
    """

    reason: str
    advice: str


NO_FACES = NoValue("no faces were compared", "Connect a cast or a person to Measure Likeness")
"""Why figures of people have no value in a report without people."""


@dataclass(frozen=True)
class Figure:
    """A figure by which pictures are compared.

    name: in the menu `score` of Pick Best Likeness. of_picture: its value; None where the picture has nothing of that
    kind. no_value: why no picture of a batch has a value; for a figure of people, why none has although people were
    compared. less_is_better: the best picture has the smallest value. summary_format: the number's format in the line
    of a picture; "" for figures that `report_text.summary` puts there in its own words. of_people: whether the figure
    is about the people in a picture.
    """

    name: str
    of_picture: Callable[[MeasuredPicture], float | None]
    no_value: NoValue = NO_FACES
    less_is_better: bool = False
    summary_format: str = ""
    of_people: bool = True

    def why_no_value(self, has_people: bool) -> NoValue:
        """Why no picture of a report has this figure. has_people: whether the report has compared people."""
        if self.of_people and not has_people:
            return NO_FACES
        return self.no_value


FIGURES = (
    Figure("weakest person", weakest_person),
    Figure("resemblance", resemblance),
    Figure("association", association),
    Figure("margin", margin),
    Figure("leakage", leakage, less_is_better=True),
    Figure(
        "copy-paste",
        copy_paste,
        NoValue("it compares a face with several photos", "Give Person two or more photos of a person"),
        less_is_better=True,
        summary_format="+.2f",
    ),
    Figure(
        PARTS,
        parts,
        NoValue("no parts were compared", "Connect parts and clip_vision to Measure Likeness"),
        summary_format=".2f",
        of_people=False,
    ),
    Figure(
        TEXT_ALIGNMENT,
        text_alignment,
        NoValue("no prompt was compared", "Connect clip and clip_vision to Measure Likeness, and write prompt"),
        summary_format=".3f",
        of_people=False,
    ),
)
"""The figures, in the order of the menu `score` of Pick Best Likeness."""
SCORES = tuple(figure.name for figure in FIGURES)


def weighed(garment_share: float) -> Figure:
    """A figure that weighs the least similar person and the least similar garment; of a picture with one kind of them
    it is that one.

    garment_share: of the garment, 0..1; the person's is the rest.
    """

    def of_picture(picture: MeasuredPicture) -> float | None:
        person = weakest_person(picture)
        garment = min(picture.part_similarities, default=None)
        if person is None or garment is None:
            return garment if person is None else person
        return (1 - garment_share) * person + garment_share * garment

    return Figure("people and garments", of_picture)


def figure_named(name: str) -> Figure:
    """The figure of one of the names in SCORES."""
    by_name = {figure.name: figure for figure in FIGURES}
    return by_name[name]


def score(picture: MeasuredPicture, name: str) -> float | None:
    """The figure `name`, one of SCORES, of a picture; None where the picture has nothing of that kind."""
    return figure_named(name).of_picture(picture)


class Totals(NamedTuple):
    """The figures of several pictures, in the order of the outputs of Measure Likeness.

    The first four are means of the pictures' figures. missing, extra and swapped are sums: people without a face, faces
    of strangers, and people whose face is more like another person.
    """

    resemblance: float
    association: float
    leakage: float
    margin: float
    missing: int
    extra: int
    swapped: int


def totals(pictures: Sequence[MeasuredPicture]) -> Totals:
    """The figures of pictures in which people were looked for.

    Pictures in which all people are missing do not count for leakage: `leakage` gives 0 for them, though nothing is
    known of it there.
    """
    with_people = [picture for picture in pictures if picture.present]  # with at least one who is not missing
    return Totals(
        resemblance=_mean_of_pictures(resemblance, pictures),
        association=_mean_of_pictures(association, pictures),
        leakage=_mean_of_pictures(leakage, with_people),
        margin=_mean_of_pictures(margin, pictures),
        missing=sum(picture.missing for picture in pictures),
        extra=sum(len(picture.stranger_faces) for picture in pictures),
        swapped=sum(picture.swapped for picture in pictures),
    )


def _mean_of_pictures(figure: Callable[[MeasuredPicture], float | None], pictures: Sequence[MeasuredPicture]) -> float:
    """The mean of a figure over pictures; a picture without the figure counts as 0, as a node's output is a number."""
    values = [figure(picture) or 0.0 for picture in pictures]
    return mean(values) or 0.0
