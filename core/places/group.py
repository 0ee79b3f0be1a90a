"""A group photo without a photo: rows of people, back rows higher and staggered. What they do: actions.py."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ..cast import Layout, Slot
from ..checks.errors import BadLayout, counted, gathered, listed
from ..pictures.geometry import check_size
from . import bodies
from .actions import ACTIONS, GROUP_PHOTO, BodySides
from .formation import FRAMINGS, Figure, Formation, formation
from .people_text import Described
from .rows import Row, Spacing

MOST_ROWS = 4
_GOOD_HEAD = 116  # 96 px / bodies.FACE_HEIGHT: smaller faces lose their likeness


def layout(
    count: int,
    framing: str,
    row_count: int,
    width: int,
    height: int,
    action: str = GROUP_PHOTO,
    people: Sequence[Described] = (),
) -> Layout:
    """`count` places, numbered from the back row to the front, left to right, each with a skeleton.

    framing: one of FRAMINGS (with full, front rows sit or kneel). row_count: 0 chooses. action: one of ACTIONS.
    people: who is in each place, none for adults who all do `action`. The same input gives the same layout. Faces and
    patches never overlap or leave the canvas.
    Raises BadSize for an impossible size of the canvas, and BadLayout where there is no room.
    """
    check_size("The layout", width, height)
    if not count:
        advice = "Connect the cast that Place Cast was given, before it has left people out."
        raise BadLayout("There are no people to make places for: the cast is empty.", advice)
    everybody = counted(count, "person", "people")
    if row_count > count:
        raise BadLayout(
            f"{row_count} rows are too many for {everybody}.", "Set Rows (rows) to 0, which chooses, or to fewer."
        )
    chosen = _chosen_formation(_figures(count, action, people), framing, row_count, width, height)
    sides = [person.side for person in people if person.side]
    if sides and len(chosen.rows) > 1:
        raise BadLayout(
            f"People (people): {sides[0]!r} may be a place in each of {counted(len(chosen.rows), 'row')}.",
            "Write the number or the name of the person, or set Rows (rows) to 1.",
        )
    if chosen.largest_head(width, height) < chosen.least_head:
        least_width = _up_to_8(chosen.least_width * chosen.least_head)
        least_height = _up_to_8(chosen.least_height() * chosen.least_head)
        verb = "needs" if count == 1 else "need"
        rows_used = counted(len(chosen.rows), "row")
        raise BadLayout(
            f"The canvas is {width}x{height} px; {everybody} with Framing (framing) = {framing} in {rows_used} {verb} "
            f"at least {least_width}x{least_height} px.",
            "Use a larger canvas, fewer people, another Framing (framing) or another number of Rows (rows): 0 chooses.",
        )
    described = tuple(number for number, person in enumerate(people, 1) if person.words)
    return Layout(width, height, _slots(chosen, width, height), described)


def _up_to_8(side: float) -> int:
    """The next multiple of 8, the step of the latent grid."""
    return math.ceil(side / 8) * 8


def notes(
    count: int,
    framing: str,
    row_count: int,
    width: int,
    height: int,
    action: str,
    people: Sequence[Described] = (),
) -> tuple[str, ...]:
    """Lines about what `layout` of the same arguments cannot show.

    They name actions that are out of the picture, people with nobody to hold, and people who do not reach a neighbour.
    """
    chosen = _chosen_formation(_figures(count, action, people), framing, row_count, width, height)
    beside = chosen.spacing(width, height).beside
    lines: list[str] = []
    for name in dict.fromkeys(posed.does for posed in chosen.people):
        needed = ACTIONS[name].framing
        if FRAMINGS.index(framing) < FRAMINGS.index(needed):
            lines.append(f"{name} is out of the picture with Framing (framing) = {framing}: set {needed}")
    alone: dict[str, list[int]] = {}  # name of an action -> places of people who have nobody to hold
    far: list[int] = []  # places of people who do not reach whom they hold
    for row in chosen.rows:
        for index in row.alone:
            alone.setdefault(row.people[index].does, []).append(row.first_place + index)
        far += [row.first_place + index for index in row.postures(beside).misses]
    lines += [f"{name}: nobody beside place {listed(places)} is free for it" for name, places in alone.items()]
    lines += gathered("Too far from the neighbour (let the taller one sit or kneel): place", far)
    return tuple(lines)


def _figures(count: int, action: str, people: Sequence[Described]) -> list[Figure]:
    """`count` people, their builds scaled so that the tallest has a head of 1.

    action: of those for whom no action is described. people: a description of each, none for adults alone.
    """
    described = people or [Described()] * count
    tallest = max(person.build.head for person in described)
    figures: list[Figure] = []
    for person in described:
        build = replace(person.build, head=person.build.head / tallest)
        figures.append(Figure(build, person.action or action))
    return figures


def _chosen_formation(people: Sequence[Figure], framing: str, row_count: int, width: int, height: int) -> Formation:
    """The formation of people in a picture of this width and height in pixels. row_count: 0 chooses.

    With 0, formations of 1 to MOST_ROWS rows are compared:
    1. Those in which ID patches overlap are left out, unless patches overlap in all.
    2. Where people differ, those that do not seat everybody well are left out, unless none does.
    3. Of the rest, the one of the fewest rows is chosen whose smallest head is large enough. That is at least 3/4 of
       the largest smallest head among them, and at least _GOOD_HEAD where one of them reaches it.
    """
    if row_count:  # the user has chosen
        return formation(people, framing, row_count)
    every = [formation(people, framing, number) for number in range(1, min(MOST_ROWS, len(people)) + 1)]
    candidates = [each for each in every if each.largest_head(width, height) >= each.least_head] or every
    if len(set(people)) > 1:  # layouts of people who are all alike, in saved workflows, must stay the same
        candidates = [each for each in candidates if each.seats_everybody_well] or candidates
    smallest_heads_px = [each.largest_head(width, height) * each.smallest for each in candidates]
    best = max(smallest_heads_px)
    enough = max(0.75 * best, min(best, _GOOD_HEAD))
    # Candidates are in the order of their rows, fewest first.
    return next(each for each, head_px in zip(candidates, smallest_heads_px, strict=True) if head_px >= enough)


def _slots(chosen: Formation, width: int, height: int) -> tuple[Slot, ...]:
    """The places of a formation on a canvas in pixels, from the back row to the front."""
    spacing = chosen.spacing(width, height)
    slots: list[Slot] = []
    in_front: list[bodies.Head] = []  # of all rows in front of the row
    for row, nose_height in zip(reversed(chosen.rows), reversed(chosen.nose_heights(spacing.rise)), strict=True):
        heads = row.heads(spacing, nose_height)
        postures = row.postures(spacing.beside).sides
        of_row: list[Slot] = []
        for index, (head, sides) in enumerate(zip(heads, postures, strict=True)):
            of_row.append(_slot(row, index, head, sides, in_front, spacing))
        slots = [*of_row, *slots]
        in_front += heads
    return tuple(slots)


def _slot(
    row: Row, index: int, head: bodies.Head, sides: BodySides, in_front: Sequence[bodies.Head], spacing: Spacing
) -> Slot:
    """The place of one person of a row. head: without sway. sides: the posture. in_front: heads of rows in front."""
    pose = bodies.body(head.nose, head.height, sides.left, right=sides.right)
    pose = bodies.on_canvas(pose, head.height, spacing.width, spacing.height)
    pose = bodies.behind(pose, in_front)
    # Who only poses for a group photo is left out: such layouts in saved workflows must stay the same.
    if index in row.in_holds or row.people[index].does != GROUP_PHOTO:
        pose = bodies.clear_of_faces(pose, in_front)
    # The person is raised only now, after joints were hidden, so that a row shows the same joints of everybody.
    up_px = row.sway(index) * spacing.unit_px
    x, y = head.nose
    nose = (x, y - up_px)
    pose = tuple((joint_x, joint_y - up_px, confidence) for joint_x, joint_y, confidence in pose)
    return Slot(nose, bodies.face_box(nose, head.height), bodies.face_keypoints(nose, head.height), pose)
