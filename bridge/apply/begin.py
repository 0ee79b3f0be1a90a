"""How an apply node begins: who acts, when, where, and whether MODEL and prompts fit. It notes who is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from comfy_api.latest import io
from torch import Tensor

from ...core.cast import Cast, PlacedCast, is_a, require_places
from ...core.places import face_regions, regions
from ...core.places.region_settings import FACE_BOXES, REGIONS
from ...core.taking_part import TakingPart
from ..host import notes
from ..host.schedule import WHOLE_SCHEDULE, ScheduleRange
from ..sampling.conditioning import SamplerInputs
from ..sampling.node_of_run import NodeOfRun
from .scope import Scope


@dataclass(frozen=True)
class AtFaces:
    """People act around their face boxes, or in the masks: for methods that read faces.

    cell: the side in pixels of the coarsest token, below which a face box is small. hard: as in face_regions.acts_in.
    boxed: gives the same cast with the face boxes to act in, where these are not its own.
    """

    cell: int
    hard: bool = False
    boxed: Callable[[Cast], Cast] | None = None

    def notes(self, taking: TakingPart, mask: Tensor | None) -> list[str]:
        acts_in = face_regions.acts_in(taking.cast, self.hard)
        return face_regions.notes(taking.cast, mask, acts_in, self.cell)

    def limited(self, everywhere: Scope, mask: Tensor | None) -> Scope:
        """The scope `everywhere` with its regions and boxes. Raises what core.places.face_regions raises.

        mask: (people, h, w), of everybody in the cast, or None. Regions are made for everybody, because people take
        pixels from each other. The scope gets the regions of those who act.
        """
        taking, name = everywhere.taking, everywhere.node_of_run.node_name
        acts_in = face_regions.acts_in(taking.cast, self.hard)
        shape = face_regions.shape_of_faces(taking.cast, self.hard)
        person_regions = face_regions.regions_of_faces(taking, mask, shape, name, acts_in)  # of everybody
        acting = list(taking.acts)  # picks the regions of those who act
        boxes: Tensor | None = None
        if acts_in == FACE_BOXES:
            # Made of the regions of everybody, so before these are cut down to those who act.
            with_boxes = replace(taking, cast=self.boxed(taking.cast)) if self.boxed else taking
            boxes = face_regions.regions_in_face_boxes(with_boxes, person_regions, name)[acting]
        if person_regions is not None:
            person_regions = person_regions[acting]  # (people, H, W)
        is_limited = person_regions is not None or boxes is not None
        # Regions on the canvas of a placed cast have its size, which a run compares; masks alone fit any picture.
        placed = is_a(taking.cast, PlacedCast) and is_limited
        return replace(everywhere, regions=person_regions, boxes=boxes, placed=placed)


@dataclass(frozen=True)
class OnBodies:
    """People act by torso, limbs and face, or in the masks: for methods that act on bodies.

    alone: whether a person who is the only one in the cast, and has no mask, acts everywhere instead of in a region.
    rows: whether people of whom each has a row of the batch act everywhere in it; otherwise they are refused.
    unplaced: whether people without places and masks act everywhere; otherwise they are refused.
    """

    alone: bool = True
    rows: bool = True
    unplaced: bool = False

    def notes(self, taking: TakingPart, mask: Tensor | None) -> list[str]:
        return face_regions.notes(taking.cast, mask, REGIONS, cell=0)  # the cell matters for face boxes alone

    def _need_no_region(self, taking: TakingPart) -> bool:
        """Whether people without a mask act everywhere."""
        if self.alone and taking.is_alone:
            return True
        if self.rows and taking.cast.by_row:
            return True
        return self.unplaced and not is_a(taking.cast, PlacedCast)

    def limited(self, everywhere: Scope, mask: Tensor | None) -> Scope:
        """The scope `everywhere` with its regions, or unchanged where people act everywhere.

        mask: (people, h, w), or None. Raises NotPlaced where a region is needed and the cast has no places, and what
        core.places.regions raises.
        """
        cast, name = everywhere.cast, everywhere.node_of_run.node_name
        placed = is_a(cast, PlacedCast)
        if mask is None and self._need_no_region(everywhere.taking):
            return everywhere
        if mask is not None:
            regions.check_one_picture(cast)
        # A mask stands in for places. But a placed cast is checked also then: who was listed after places were given
        # has none.
        if mask is None or placed:
            require_places(cast, name)
        shape = regions.shape_of_bodies(cast)
        person_regions = regions.regions_of_people(cast, everywhere.people, mask, shape)  # (people, H, W)
        if self.alone and len(person_regions) == 1 and bool((person_regions == 1).all()):
            # One person whose region is the whole picture acts as a person without a region does. The difference is in
            # layers that have no place in the picture, such as those of the time step: they can act only where there
            # are no regions.
            return everywhere
        return replace(everywhere, regions=person_regions, placed=placed)


class When(NamedTuple):
    """The part of the schedule in which a node acts, as a user has set it. acting_part: what acts, for a message."""

    acting_part: str
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
    mask: Tensor | None,
    where: AtFaces | OnBodies | None,
    when: When | None = None,
    *,
    fits: Fits,
    more: Sequence[str] = (),
    nothing: str = "",
    without_people: bool = False,
) -> Scope | None:
    """The scope of an apply node: who acts, when and where. What is linked to the node has been found to fit.

    None where the node is switched off or nobody acts: the node then returns its inputs, which nobody has checked.
    It tells the notes of the node in either case: who is left out, `more`, `nothing` where nobody acts, and the notes
    of `where` about masks and boxes.
    name: of the node, for messages. given: what is linked to the node. taking: who acts, found out by core.taking_part.
    strength: the weight or strength of the node, 0 where it is switched off. mask: regions instead of the places' own,
    (people, h, w), or None. where: None for everywhere. when: None for the whole schedule. fits: called with `given`
    and `name`. without_people: whether the node acts also where nobody takes part; it then gets a scope of nobody.
    Raises BadRange for a range that ends before it starts, what `limited` of `where` raises, and what `fits` raises.
    """
    lines = [*taking.left_out, *more]
    if not taking.people:
        lines.append(nothing)
    if where is not None:
        lines += where.notes(taking, mask)
    notes.tell("\n".join(filter(None, lines)))
    if not strength or not (taking.people or without_people):
        return None
    schedule = ScheduleRange(when.start, when.end).checked(when.acting_part) if when else WHOLE_SCHEDULE
    row_count = len(taking.people) if taking.cast.by_row else 0  # 0: rows of the batch belong to nobody
    node_of_run = NodeOfRun(name, notes.node_of(node), row_count)
    scope = Scope(node, taking, schedule, node_of_run)
    if where is not None and taking.people:
        scope = where.limited(scope, mask)
    fits(given, name)
    return scope
