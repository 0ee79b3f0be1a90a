"""Parts that are connected to a node, and the looks of the people of its cast."""

from ...core.cast import Cast, Person
from ...core.checks.errors import BadSetup
from ...core.parts.parts import Parts
from ...core.persons.looks import worn
from ...core.taking_part import present_in
from ..host import notes

NO_CAST = "Looks are not read: no cast is connected."
NOBODY = "Nobody in the cast wears a look, and no parts are connected."


def parts_and_looks(parts: Parts | None, cast: Cast | Person | None, text: str, node_name: str) -> Parts:
    """The looks of the people of weight above 0 as parts, and behind them the parts that are connected.

    text: see `core.persons.looks.worn`, which also raises. node_name: for messages. Raises BadSetup where neither parts
    nor people are connected. What does not act is said under the node.
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
    is_without = parts is None and not looks.people_of_parts
    notes.tell("\n".join([*taking.left_out, *looks.notes, *([NOBODY] if is_without else [])]))
    return looks.with_parts(parts)
