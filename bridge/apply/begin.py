"""How an apply node begins: who acts, when, where, and whether MODEL and prompts fit. It notes who is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from comfy_api.latest import io
from torch import Tensor

from ...core.cast import PlacedCast, is_a, require_places
from ...core.checks import prompt_people
from ...core.places import face_regions, regions
from ...core.places.region_settings import FACE_BOXES, REGIONS
from ...core.taking_part import NO_PEOPLE, TakingPart
from ..host import notes
from ..host.inputs import prompt_of
from ..host.schedule import WHOLE_SCHEDULE, ScheduleRange
from ..sampling.conditioning import SamplerInputs
from ..sampling.node_of_run import NodeOfRun
from .acting_people import ActingPeople

NOBODY_LEFT = "Nobody acts: Place Cast has left out all people."


@dataclass(frozen=True, eq=False)
class AtFaces:
    """People act around their face boxes, or in the masks: for methods that read faces.

    cell: the side in pixels of the coarsest token, below which a face box is small. mask: (people, h, w), regions of
    everybody in the cast instead of the places' own, or None.
    """

    cell: int
    mask: Tensor | None

    def notes(self, taking: TakingPart) -> list[str]:
        acts_in = regions.settings_of(taking.cast).acts_in
        return face_regions.notes(taking.cast, self.mask, acts_in, self.cell)

    def limited(self, everywhere: ActingPeople) -> ActingPeople:
        """The ActingPeople `everywhere` with its regions and boxes. Raises what core.places.face_regions raises.

        Regions are made for everybody in the cast, because people take pixels from each other. The ActingPeople gets
        the regions of those who act.
        """
        taking, name = everywhere.taking, everywhere.node_of_run.node_name
        acts_in = regions.settings_of(taking.cast).acts_in
        shape = face_regions.shape_of_faces(taking.cast)
        person_regions = face_regions.regions_of_faces(taking, self.mask, shape, name, acts_in)  # of everybody
        who = list(taking.acts)  # picks the regions of those who act
        boxes: Tensor | None = None
        if acts_in == FACE_BOXES:
            # Made of the regions of everybody, so before these are cut down to those who act.
            boxes = face_regions.regions_in_face_boxes(taking, person_regions, name)[who]
        if person_regions is not None:
            person_regions = person_regions[who]  # (people, H, W)
        is_limited = person_regions is not None or boxes is not None
        # Regions on the canvas of a placed cast have its size, which a run compares; masks alone fit any picture.
        placed = is_a(taking.cast, PlacedCast) and is_limited
        return replace(everywhere, regions=person_regions, boxes=boxes, placed=placed)


@dataclass(frozen=True, eq=False)
class OnBodies:
    """People act by torso, limbs and face, or in the masks: for methods that act on bodies.

    mask: (people, h, w), regions instead of the places' own, or None.
    alone: whether a person who is the only one in the cast, and has no mask and no region that was drawn by hand, acts
    everywhere instead of in a region.
    rows: whether people of whom each has a row of the batch act everywhere in it; otherwise they are refused.
    """

    mask: Tensor | None
    alone: bool = True
    rows: bool = True

    def notes(self, taking: TakingPart) -> list[str]:
        return face_regions.notes(taking.cast, self.mask, REGIONS, cell=0)  # the cell matters for face boxes alone

    def limited(self, everywhere: ActingPeople) -> ActingPeople:
        """The ActingPeople `everywhere` with its regions, or unchanged where people act everywhere.

        Raises NotPlaced where a region is needed and the cast has no places, and what core.places.regions raises.
        """
        mask = self.mask
        cast, name = everywhere.cast, everywhere.node_of_run.node_name
        placed = is_a(cast, PlacedCast)
        alone = self.alone and everywhere.taking.is_unlimited
        if mask is None and (alone or (self.rows and cast.by_row)):
            return everywhere
        # A mask stands in for places. But a placed cast is checked also then: who was listed after places were given
        # has none.
        if mask is None or placed:
            require_places(cast, name)
        shape = regions.shape_of_bodies(cast)
        person_regions = regions.regions_of_bodies(everywhere.taking, mask, shape)  # (people, H, W)
        if self.alone and len(person_regions) == 1 and bool((person_regions == 1).all()):
            # One person whose region is the whole picture acts as a person without a region does. The difference is in
            # layers that have no place in the picture, such as those of the time step: they can act only where there
            # are no regions.
            return everywhere
        return replace(everywhere, regions=person_regions, placed=placed)


class When(NamedTuple):
    """The part of the schedule in which a node acts, as a user has set it. what_acts: for a message."""

    what_acts: str
    start: float
    end: float


Fits = Callable[[SamplerInputs, str], object]
"""Raises an error unless MODEL and prompts are such as a node needs. The text is the name of the node, for messages."""


def begin(
    node: type[io.ComfyNode],
    name: str,
    given: SamplerInputs,
    taking: TakingPart,
    strength: float,
    where: AtFaces | OnBodies | None,
    when: When | None = None,
    *,
    fits: Fits,
    more: Sequence[str] = (),
    nothing: str = "",
) -> ActingPeople | None:
    """The acting people of an apply node; None where it is switched off or nobody takes part.

    The node then returns its inputs, which nobody has checked. strength: the weight or strength of the node, 0 where it
    is switched off. The other arguments, the notes and the errors are those of begin_acting.
    """
    if strength and taking.people:
        return begin_acting(node, name, given, taking, where, when, fits=fits, more=more)
    _tell(taking, where, more, nothing)
    return None


def begin_acting(
    node: type[io.ComfyNode],
    name: str,
    given: SamplerInputs,
    taking: TakingPart,
    where: AtFaces | OnBodies | None,
    when: When | None = None,
    *,
    fits: Fits,
    more: Sequence[str] = (),
    nothing: str = "",
) -> ActingPeople:
    """The acting people of a node that acts also where nobody takes part: who acts, when and where.

    What is linked to the node has been found to fit. Notes under the node are told: who is left out, `more`, `nothing`
    where nobody takes part, and those of `where` about masks and boxes.
    name: of the node, for messages. given: what is linked to the node. taking: who acts, found out by core.taking_part.
    where: None for everywhere. when: None for the whole schedule. fits: called with `given` and `name`.
    Raises BadRange for a range that ends before it starts, what `limited` of `where` raises, and what `fits` raises.
    """
    _tell(taking, where, [*more, *_notes_on_prompt(node, taking)], nothing)
    schedule = ScheduleRange(when.start, when.end).checked(when.what_acts) if when else WHOLE_SCHEDULE
    row_count = len(taking.people) if taking.cast.by_row else 0  # 0: rows of the batch belong to nobody
    acting = ActingPeople(node, taking, schedule, NodeOfRun(name, notes.node_of(node), row_count))
    if where is not None and taking.people:
        acting = where.limited(acting)
    fits(given, name)
    return acting


def _notes_on_prompt(node: type[io.ComfyNode], taking: TakingPart) -> list[str]:
    """Whether the prompt speaks of as many people as there are, and is the example's, as far as that can be told; []
    where each row of the batch is of one of them."""
    people = taking.cast.people
    if taking.cast.by_row or not people:
        return []
    text = prompt_of(node)
    if text is None:
        return []
    names = [person.name for person in people]
    return [prompt_people.note(text, len(people), names), prompt_people.example_note(text)]


def _tell(taking: TakingPart, where: AtFaces | OnBodies | None, more: Sequence[str], nothing: str) -> None:
    lines = [*taking.left_out, *more]
    if not taking.cast.people and taking is not NO_PEOPLE:  # parts are nobody's
        lines.append(NOBODY_LEFT)
    elif not taking.people:
        lines.append(nothing)
    if where is not None:
        lines += where.notes(taking)
    notes.tell("\n".join(filter(None, lines)))
