"""What a node is given, held to its own schema before it runs: the host checks what is typed, not what is linked."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import Any, cast

from comfy_api.latest import io
from torch import Tensor

from ..core import inputs, socket_values
from ..core.consoles import accept_any_text
from ..core.errors import BadChoice, BadInput, BadSetup, first, listed
from ..core.people import Cast, Faces, Identity, Layout, is_a
from . import notes
from .schema import described

# What an object of the host's must be able to do: other packs make them of classes of their own.
_METHODS = {
    io.Model.io_type: "get_model_object",
    io.Clip.io_type: "tokenize",
    io.Vae.io_type: "encode",
    io.ClipVision.io_type: "encode_image",
    io.ControlNet.io_type: "set_cond_hint",
}
_CLOSER: dict[str, tuple[type, Callable[[str, Any], None]]] = {
    io.Image.io_type: (Tensor, inputs.picture),
    io.Mask.io_type: (Tensor, inputs.masks),
    "LIKENESS_FACES": (Faces, socket_values.check_faces),
    "FACE_LANDMARKS": (dict, inputs.face_landmarks),
    "LIKENESS_LAYOUT": (Layout, socket_values.check_layout),
    "LIKENESS_CAST": (Cast, socket_values.check_cast),
    "LIKENESS_PERSON": (Identity, socket_values.check_identity),
    io.Latent.io_type: (dict, inputs.latent),
    io.Conditioning.io_type: (list, inputs.conditioning),
}
"""By type, of inputs that take several of each, with the class of what it is about."""


def checked(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The node itself, whose schema from now on has its texts, and which refuses what does not fit its inputs before it
    runs.

    Raises BadInput for a number out of its limits and for an object of another kind, BadChoice for a word that is not
    offered, and what core.inputs says of pictures, masks, layouts and casts. Whole floats are taken for whole numbers;
    None at an optional socket is taken for nothing linked, at a lazy one for what was not asked for, and nothing
    linked for None, or at an optional widget for its default.
    """
    run: Callable[..., io.NodeOutput] = node.execute.__func__
    parameters = list(inspect.signature(run).parameters.values())[1:]
    names = [one.name for one in parameters]
    needed = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty]

    @wraps(run)
    def execute(cls: type[io.ComfyNode], *args: Any, **linked: Any) -> io.NodeOutput:
        given = {**dict(zip(names, args, strict=False)), **linked}
        known = _schema(node)[1]
        absent = {name: None for name in needed if name in known and _may_be_nothing(known[name])}
        absent |= {name: one.default for name, one in known.items() if isinstance(one, io.WidgetInput) and one.optional}
        # For errors that are not ours, of the host or of torch: names of files are in them as well.
        accept_any_text()
        notes.clear(notes.node_of(cls))
        if _takes_lists(node):
            absent |= {name: [] for name in absent if _is_list(known[name])}
            taken = _taken_lists(node, given)
        else:
            taken = {name: _taken(node, name, value) for name, value in given.items()}
        return notes.kept(run(cls, **absent | taken), notes.node_of(cls))

    bare: Callable[..., io.Schema] = node.define_schema.__func__
    node.define_schema = classmethod(wraps(bare)(lambda cls: described(bare(cls))))
    node.execute = classmethod(execute)
    return node


@cache
def _schema(node: type[io.ComfyNode]) -> tuple[str, dict[str, io.Input], list[str]]:
    """The node's name, its inputs, and those whose words it judges itself: files may be newer than the schema."""
    schema, judged = node.define_schema(), inspect.getfullargspec(node.validate_inputs).args
    return str(schema.display_name), {one.id: one for one in schema.inputs}, judged


_LISTS = (io.Image.io_type, "FACE_LANDMARKS", "BOUNDING_BOX")
"""Types of inputs that take a list as it is, in a node whose schema says `is_input_list`: photos, and what is found in
each of them."""


@cache
def _takes_lists(node: type[io.ComfyNode]) -> bool:
    return bool(node.define_schema().is_input_list)


def _is_list(kind: io.Input) -> bool:
    return kind.io_type in _LISTS


def _taken_lists(node: type[io.ComfyNode], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a node with `is_input_list` is given, in lists where its photos are concerned and else as the one value.

    given: by input the list that the host makes of it, also of a widget; or, where the node is called by a script, the
    bare values. Raises BadInput and BadChoice as `checked` says, and BadSetup for several values where one is meant.
    """
    known = _schema(node)[1]
    from_host = all(isinstance(values, (list, tuple)) for values in given.values())
    taken: dict[str, Any] = {}
    for name, values in given.items():
        several = list(values) if from_host else [values]
        checked_values = [_taken(node, name, value) for value in several]
        if name in known and _is_list(known[name]):
            taken[name] = [value for value in checked_values if value is not None]
            if not several and not known[name].optional:
                what = f"The {name} input of {_schema(node)[0]}"
                raise BadInput(what, "an empty list", "at least one picture")
        elif checked_values:
            taken[name] = _only_value(node, name, checked_values)
    return taken


def _only_value(node: type[io.ComfyNode], name: str, values: Sequence[Any]) -> Any:
    """The value that all of a list are. Raises BadSetup where they differ."""
    first_value = values[0]
    if all(value is first_value or bool(value == first_value) for value in values):
        return first_value
    shown = listed(first([inputs.named(value) for value in values], 4))
    raise BadSetup(
        f"The {name} input of {_schema(node)[0]} is a list of {len(values)} values ({shown}), and one is needed: "
        "a list of photos is read as one.",
        "Link one value. To make a person of each photo use Sort Photos into People, with people set to "
        "'one per photo'.",
    )


def single(value: Any) -> Any:
    """What stands in a widget, for validate_inputs and fingerprint_inputs of a node with `is_input_list`: the host
    gives them lists."""
    if isinstance(value, (list, tuple)):
        values = cast("Sequence[Any]", value)
        return values[0] if values else None
    return value


def _taken(node: type[io.ComfyNode], name: str, value: Any) -> Any:
    title, known, judged = _schema(node)
    if name not in known:
        return value
    kind, what = known[name], f"The {name} input of {title}"
    if kind.io_type in (io.Int.io_type, io.Float.io_type):
        return inputs.number(what, value, kind.min, kind.max, integer=kind.io_type == io.Int.io_type)
    if value is None and _may_be_nothing(kind):
        return getattr(kind, "default", None)
    if not _fits(kind, value):
        # A socket for a method's own file says of which method, see nodes.sockets.adapter_socket.
        needed = getattr(kind.Parent, "needed", kind.io_type)
        raise BadInput(what, inputs.named(value), needed)
    if kind.io_type == io.Combo.io_type and name not in judged and value not in kind.options:
        raise BadChoice(what, str(value), kind.options)
    for of, check in (_CLOSER[one] for one in str(kind.io_type).split(",") if one in _CLOSER):
        if is_a(value, of):
            inputs.check_foreign(check, what, value)
    return value


def _may_be_nothing(kind: io.Input) -> bool:
    return bool(kind.optional or getattr(kind, "lazy", None))


def _fits(kind: io.Input, value: Any) -> bool:
    if kind.io_type == io.Vae.io_type and hasattr(value, _METHODS[io.Clip.io_type]):
        return False  # a CLIP, which has an encode as well
    if kind.io_type in _METHODS:
        return hasattr(value, _METHODS[kind.io_type])
    if kind.io_type == io.Latent.io_type:
        return isinstance(value, dict)  # its type is one for type checkers only
    kinds = kind.Type if isinstance(kind.Type, tuple) else (kind.Type,)
    return value is not None and any(one is Any or is_a(value, one) for one in kinds)
