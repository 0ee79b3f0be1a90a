"""Parts that are connected to a node, and the looks of the people of its cast."""

from ...core.cast import Cast, Person, PlacedCast, is_a
from ...core.checks.errors import BadSetup
from ...core.parts.parts import Parts
from ...core.persons.looks import worn
from ...core.pictures import geometry
from ...core.taking_part import present_in
from ..host import notes

NO_CAST = "Looks are not read: no cast is connected."
NOBODY = "Nobody in the cast wears a look, and no parts are connected."


def parts_and_looks(
    parts: Parts | None, cast: Cast | Person | None, text: str, node_name: str, size: tuple[int, int]
) -> Parts:
    """The looks of the people of weight above 0 as parts, and behind them the parts that are connected.

    text: see `core.persons.looks.worn`, which also raises. node_name: for messages. size: (width, height) of the new
    picture in pixels. Raises BadSetup where neither parts nor people are connected, and BadSize where looks are worn in
    places of a canvas of another shape. What does not act is said under the node.
    """
    if cast is None:
        if parts is None:
            raise BadSetup(
                f"{node_name} has neither parts nor people.", "Connect parts, or a cast whose people have looks."
            )
        notes.tell(NO_CAST if text.strip() else "")
        return parts
    taking = present_in(cast)
    looks = worn(text, taking, node_name)
    if is_a(taking.cast, PlacedCast) and any(part.target is not None for part in looks.people_of_parts):
        geometry.check_shape(f"the canvas of {node_name}", (taking.cast.width, taking.cast.height), size)
    lines = [*taking.left_out, *looks.notes]
    if parts is None and not looks.people_of_parts:
        lines.append(NOBODY)
    notes.tell("\n".join(lines))
    connected = () if parts is None else parts.parts
    return Parts((*looks.people_of_parts, *connected))
