"""Pieces of node schemas: inputs that several methods have, and features that ComfyUI 0.3.64 lacks.

Such a feature is set in a way that newer hosts use and 0.3.64 ignores.

Why the inputs of a node stand twice, declared in define_schema and as parameters of `execute`: ComfyUI's own nodes have
it so, and one list of which both are made would be worse to read. A signature with the limits in its annotations cannot
hold a group: `*range_inputs()` would be four lines everywhere. Of a class with a field for each input, inherited fields
come first, while saved workflows read values by their order. Menus of files, and inputs that only some hosts have, are
made when the host asks, not when a module is imported. And a type checker and a reader want to see what a node is
called with. Where the two lists do not agree, the first call of the node is a TypeError.

A group of inputs comes to `execute` as `**values`, of which a class with a field for each is made. Of a node with more
than a dozen inputs all that is set on it is such a group: a class Settings. Then what is linked to the node stands in
the signature, what is set in the class, and functions that read several settings are given the class.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from comfy_api.latest import io

from ...core.checks import records
from ...core.checks.records import BadRecord
from ...core.persons.combining import PHOTOS
from ...core.places.layouts import BODIES

InputT = TypeVar("InputT", bound=io.Input)
WidgetT = TypeVar("WidgetT", bound=io.WidgetInput)
_TEXTS = Path(__file__).absolute().parents[2] / "locales" / "en" / "nodeDefs.json"


def with_texts(schema: io.Schema) -> io.Schema:
    """The same schema, changed in place: with its title, texts, labels and search words from locales/en/nodeDefs.json.

    A title and placeholders that the schema has already stay. The schema also gets hidden inputs, by which a node knows
    where to show its notes and what else the prompt has, and a mark by which the host shows the previews and notes of a
    node again when it does not run the node again.
    """
    texts: dict[str, Any] = _texts().get(schema.node_id, {})
    schema.display_name = schema.display_name or texts.get("display_name")
    if not schema.display_name:
        raise BadRecord(_TEXTS, f"it has no display_name for the node {schema.node_id}")
    schema.description = texts.get("description", "")
    schema.hidden = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.dynprompt]
    for slot in schema.inputs:
        slot_texts = texts.get("inputs", {}).get(slot.id, {})
        slot.tooltip = slot_texts.get("tooltip")
        name = slot_texts.get("name", slot.id)
        if name != slot.id:
            slot.display_name = name
        if isinstance(slot, io.String.Input) and slot.multiline and not slot.placeholder:
            slot.placeholder = name  # an empty text box of classic nodes shows its id otherwise
    for number, slot in enumerate(schema.outputs):
        slot_texts = texts.get("outputs", {}).get(str(number), {})
        slot.tooltip = slot_texts.get("tooltip")
        # ComfyUI 0.3.64 shows an output's kind where it has no name of its own.
        slot.display_name = slot_texts.get("name", slot.id)
    # `Schema(search_aliases=...)` is a TypeError in 0.3.64.
    aliases = getattr(schema, "search_aliases", None) or ()
    schema.search_aliases = [*aliases, *texts.get("search_aliases", ())]
    # `essentials_category` is left out: a node that has it is no extension any more in the library and in the search.
    schema.has_intermediate_output = True
    return schema


@cache
def _texts() -> dict[str, Any]:
    return records.read(_TEXTS)


def advanced(widget: InputT) -> InputT:
    """The same widget, folded away under "advanced".

    The host's keyword for it is a TypeError in ComfyUI 0.3.64; the extra dictionary works in all versions.
    """
    widget.extra_dict = {**(widget.extra_dict or {}), "advanced": True}
    return widget


def optional(widget: WidgetT) -> WidgetT:
    """The same widget as an optional one: where a prompt lacks it, the node runs with its default.

    A menu without a default has its first option as its default.
    """
    widget.optional = True
    if isinstance(widget, io.Combo.Input) and widget.default is None:
        widget.default = widget.options[0]
    return widget


def body_input() -> io.Combo.Input:
    """The menu of how much of a person is seen."""
    return io.Combo.Input("body", options=list(BODIES))


def pixels_input(name: str, default: int = 0, least: int = 0) -> io.Int.Input:
    """An input for a length or a place in pixels. No picture has more than 16384."""
    return io.Int.Input(name, default=default, min=least, max=16384)


def face_sizes_input(name: str, default: float, least: float = 0.0) -> io.Float.Input:
    """An input for a length, in sizes of the face that the length belongs to."""
    return io.Float.Input(name, default=default, min=least, max=4.0, step=0.05)


def similarity_input(name: str, default: float) -> io.Float.Input:
    """An input for a threshold, the cosine of two faces."""
    return io.Float.Input(name, default=default, min=-1.0, max=1.0, step=0.01)


def percent_input(name: str, default: float) -> io.Float.Input:
    """An input for a point of the sampling schedule, 0..1."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.001)


def range_inputs(prefix: str = "") -> list[io.WidgetInput]:
    """The two inputs for a range of the schedule, which is all of it by default. prefix: how their names begin."""
    return [percent_input(f"{prefix}start_percent", 0.0), percent_input(f"{prefix}end_percent", 1.0)]


def photos_input(options: Sequence[str] = PHOTOS) -> io.Combo.Input:
    """The menu of ways to join several photos of one person. The first option is the default."""
    return advanced(io.Combo.Input("photos", options=list(options), default=options[0]))


def applied_inputs() -> list[io.Input]:
    """The inputs that an apply node changes: the MODEL and both sides of the conditioning."""
    return [io.Model.Input("model"), io.Conditioning.Input("positive"), io.Conditioning.Input("negative")]


def applied_outputs() -> list[io.Output]:
    """The outputs of an apply node: the MODEL and both sides of the conditioning.

    The host wants ids that no input has.
    """
    return [
        io.Model.Output("model_out"),
        io.Conditioning.Output("positive_out"),
        io.Conditioning.Output("negative_out"),
    ]


def out_of_sight(widget: WidgetT) -> WidgetT:
    """The same input, changed in place: it keeps its place among saved values, and the editor does not show it.

    Classic nodes hide it by web/likeness.js.
    """
    widget.extra_dict = {**(widget.extra_dict or {}), "hidden": True}
    return widget


def face_box_editor() -> list[io.Input]:
    """ComfyUI's editor of boxes for a box around a face in the photo at `image`, on hosts that have it.

    A node with this editor takes `boxes`, in pixels of by_hand.CANVAS. For a node without `width` and `height` the
    frontend makes a canvas of that size, over which web/likeness.js lays the photo. The editor is folded away, because
    a face box is seldom needed.
    """
    if not hasattr(io, "BoundingBoxes"):
        return []
    return [advanced(io.BoundingBoxes.Input("boxes", optional=True))]
