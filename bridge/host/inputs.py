"""The values of a node's inputs are checked by the node's own schema before it runs.

The host checks what a user types into a widget, and not what is linked to a socket.
"""

import inspect
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, NamedTuple, cast

from comfy_api.latest import io
from torch import Tensor

from ...core import earlier
from ...core.cast import is_a
from ...core.checks import value_checks
from ...core.checks.errors import (
    BadChoice,
    BadInput,
    BadSetup,
    FileOfOtherMethod,
    LikenessError,
    first_few,
    joined,
    listed,
)
from ...core.checks.memory import tensors_on_cpu
from ...core.checks.text import writable
from . import folders, notes
from .schema import with_texts

_METHODS = {
    io.Model.io_type: "get_model_object",
    io.Clip.io_type: "tokenize",
    io.Vae.io_type: "encode",
    io.ClipVision.io_type: "encode_image",
    io.ControlNet.io_type: "set_cond_hint",
    io.Noise.io_type: "generate_noise",
    io.Sampler.io_type: "max_denoise",
}
"""The method that an object of the host must have on a socket, by the type of the socket. Its class does not count,
because other packs give such objects classes of their own."""


class _ValueCheck(NamedTuple):
    """How values at sockets of one type are looked at.

    value_class: the class of values that are looked at. check: it is called with the name of the input in words and the
    value, and raises a LikenessError where a node cannot use the value.
    """

    value_class: type
    check: Callable[[str, Any], None]


_VALUE_CHECKS: dict[str, _ValueCheck] = {
    io.Image.io_type: _ValueCheck(Tensor, value_checks.picture),
    io.Mask.io_type: _ValueCheck(Tensor, value_checks.masks),
    "FACE_LANDMARKS": _ValueCheck(dict, value_checks.face_landmarks),
    io.Latent.io_type: _ValueCheck(dict, value_checks.latent),
    io.Conditioning.io_type: _ValueCheck(list, value_checks.conditioning),
}
"""The check of a value of the host's, by the type of its socket: any pack may have made it. What only this pack makes
needs no more than its class. An input that takes several types is looked at by the class of its value."""

_LIST_TYPES = (io.Image.io_type, "FACE_LANDMARKS", "BOUNDING_BOX", "LIKENESS_REPORT")
"""Types of inputs that a node whose schema says `is_input_list` reads as lists: pictures, and what is found in each."""


@dataclass(frozen=True)
class _NodeSchema:
    """What the checks read of a node's schema.

    id: by which a prompt calls the node. title: the node's name in the menu. inputs: by their ids.
    earlier: what the node had once, and prompts of earlier versions still have.
    menus_judged_by_node: ids of the menus whose choice the node's own validate_inputs checks, because there may be
    files that are newer than the schema. takes_lists: whether the host gives it a list for every input.
    """

    id: str
    title: str
    inputs: Mapping[str, io.Input]
    earlier: earlier.Earlier
    menus_judged_by_node: Sequence[str]
    takes_lists: bool


@cache
def _schema_of(node: type[io.ComfyNode]) -> _NodeSchema:
    """What the checks read of a node's schema, which is made once for each node class."""
    schema = node.define_schema()
    inputs_by_id = {schema_input.id: schema_input for schema_input in schema.inputs}
    # The host checks no menu whose id is a parameter of validate_inputs; nor does this module.
    menus_judged_by_node = inspect.getfullargspec(node.validate_inputs).args
    return _NodeSchema(
        id=schema.node_id,
        title=str(schema.display_name),
        inputs=inputs_by_id,
        earlier=earlier.table().get(schema.node_id, earlier.Earlier()),
        menus_judged_by_node=menus_judged_by_node,
        takes_lists=bool(schema.is_input_list),
    )


_OURS: list[type[io.ComfyNode]] = []
"""Every node that `checked` has changed."""


def checked(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same node class, changed in place: `execute` checks the values of its inputs first and shows its notes under
    the node, and the schema has its texts (schema.with_texts).

    Raised before the node's own `execute` runs: BadSetup for an unknown input, BadInput for a number out of its limits
    and for an object of another kind, BadChoice for a word that the menu does not offer, and for the host's own values
    what core.checks.value_checks raise.
    What the node's `execute` gets: an int for a float that is a whole number, where an int is needed; None, or the
    default of an optional widget, where nothing is linked; and None for None at an optional or lazy socket.
    """
    run: Callable[..., io.NodeOutput] = node.execute.__func__
    parameters = list(inspect.signature(run).parameters.values())[1:]  # without cls
    names = [parameter.name for parameter in parameters]
    required_names = [parameter.name for parameter in parameters if _is_required(parameter)]

    @wraps(run)
    def execute(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
        # The host gives every value by name; a script may give the first ones by position.
        values = {**dict(zip(names, args, strict=False)), **kwargs}
        try:
            with tensors_on_cpu():
                inputs = _checked_inputs(_schema_of(node), values, required_names)
                return notes.with_notes(lambda: _run(cls, run, inputs, _schema_of(node)))
        except LikenessError as error:
            if not _can_be_traced(error):
                raise error from None  # without its cause, whose text the host could not log
            raise

    define_schema: Callable[..., io.Schema] = node.define_schema.__func__

    @wraps(define_schema)
    def define_schema_with_texts(cls: type[io.ComfyNode]) -> io.Schema:
        return with_texts(define_schema(cls))

    node.define_schema = classmethod(define_schema_with_texts)
    node.execute = classmethod(_run_first(execute) if issubclass(node, RunsFirst) else execute)
    _OURS.append(node)
    return node


def _run(
    cls: type[io.ComfyNode], run: Callable[..., io.NodeOutput], inputs: Mapping[str, Any], schema: _NodeSchema
) -> io.NodeOutput:
    """Run a node, and note which values of its prompt it does not use, because it had such inputs once."""
    prompt: Mapping[str, Any] = (cls.hidden and cls.hidden.prompt) or {}
    node: Mapping[str, Any] = prompt.get(str(notes.node_of(cls)), {})
    for name in schema.earlier.unused:
        if node.get("class_type") == schema.id and name in node["inputs"]:
            notes.tell(f"{schema.title} has no input {name} any more: what it was set to is not used.")
    return run(cls, **inputs)


class RunsFirst(io.ComfyNode):
    """A node that runs before all others that are ready: what it refuses should not wait for a checkpoint.

    To the host its `execute` is a coroutine, and these it runs before other nodes, both at 0.3.64 and at 0.33.0. It
    waits for nothing, so the run goes on as with any other node.
    """


def _run_first(execute: Callable[..., io.NodeOutput]) -> Callable[..., Coroutine[Any, Any, io.NodeOutput]]:
    @wraps(execute)
    async def execute_first(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
        return execute(cls, *args, **kwargs)

    return execute_first


def check_readers(node: type[io.ComfyNode], value: Any) -> None:
    """Raise, as the node that reads it would, where a node of the prompt is linked to `value` and cannot use it.

    node: the class of the running node, with its hidden inputs; value: of its first output. Outside of a graph nobody
    is asked, nor are nodes behind a node of another pack.
    """
    graph = node.hidden and node.hidden.dynprompt
    if not graph:
        return
    schemas = {schema.id: schema for schema in map(_schema_of, _OURS)}
    for reader in graph.get_original_prompt().values():
        schema = schemas.get(reader["class_type"])
        if schema is None:
            continue
        for name, link in reader["inputs"].items():
            is_read = link == [node.hidden.unique_id, 0] and name in schema.inputs
            if is_read and not _fits(schema.inputs[name], value):
                raise _misfit(schema.inputs[name], f"The {name} input of {schema.title}", value)


def reads_of(node: type[io.ComfyNode], outputs: Sequence[str]) -> bool:
    """Whether a node of the prompt is linked to one of these outputs of the running node. False outside of a graph.

    node: its class, with its hidden inputs. outputs: their ids.
    """
    graph = node.hidden and node.hidden.dynprompt
    if not graph:
        return False
    ids = [output.id for output in node.define_schema().outputs]
    links = [[node.hidden.unique_id, ids.index(output)] for output in outputs]
    return any(link in reader["inputs"].values() for reader in graph.get_original_prompt().values() for link in links)


_TEXTS = ("text", "value", "string", "prompt")
"""What nodes of the host call the text that they encode or hold."""


def prompt_of(node: type[io.ComfyNode]) -> str | None:
    """The text behind the positive input of the running node; None outside of a graph, where it cannot be told, or
    where another node of ours stands between, which has told of it."""
    graph = node.hidden and node.hidden.dynprompt
    if not graph:
        return None
    prompt = graph.get_original_prompt()
    inputs = prompt.get(node.hidden.unique_id, {}).get("inputs", {})
    names = ("positive",)
    for _ in range(len(prompt)):  # a loop of links has no end
        source = next((inputs[name] for name in names if name in inputs), None)
        if isinstance(source, str):
            return source
        if not isinstance(source, list) or not source:
            return None
        reached = prompt.get(str(source[0]), {})
        if str(reached.get("class_type")).startswith("Likeness"):
            return None
        inputs, names = reached.get("inputs", {}), ("positive", "conditioning", *_TEXTS)
    return None


def _is_required(parameter: inspect.Parameter) -> bool:
    """Whether `execute` has to be given this: it is one value without a default, and not the **values of a group."""
    return parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty


def _checked_inputs(
    schema: _NodeSchema, linked_by_id: Mapping[str, Any], required_names: Sequence[str]
) -> dict[str, Any]:
    """What `execute` gets for each input, by id. required_names: as in _unlinked_values. Raises as `checked` says."""
    unused = schema.earlier.unused
    linked_by_id = {name: value for name, value in schema.earlier.renewed(linked_by_id).items() if name not in unused}
    _refuse_unknown(schema, linked_by_id)
    if schema.takes_lists:
        linked_values = _checked_lists(schema, linked_by_id)
    else:
        linked_values = {name: _checked_value(schema, name, value) for name, value in linked_by_id.items()}
    # A value that is linked counts before a default.
    return {**_unlinked_values(schema, required_names), **linked_values}


def _can_be_traced(error: LikenessError) -> bool:
    """Whether the log can write an error with all of its causes, see core.checks.text.writable.

    It may not: an OSError among the causes names its file, and that name may have letters that the log cannot write.
    """
    trace = "".join(traceback.format_exception(error))
    return writable(trace) == trace


def _refuse_unknown(schema: _NodeSchema, linked_by_id: Mapping[str, Any]) -> None:
    """Raise BadSetup for inputs that the node does not have: the host hands over whatever is linked under any name."""
    unknown = [name for name in linked_by_id if name not in schema.inputs]
    if unknown:
        advice = "The workflow may be of another version of Likeness: link one of these, or leave it out."
        raise BadSetup(
            f"{schema.title} has no input {joined(unknown, 'or')}; it has {listed([*schema.inputs])}.", advice
        )


def _unlinked_values(schema: _NodeSchema, required_names: Sequence[str]) -> dict[str, Any]:
    """The values, by id, that inputs have when nothing is linked to them: the host hands over nothing for these.

    An optional widget has its default. An optional or lazy socket has None if it is among required_names, the
    parameters of `execute` without a default; else it is left to `execute`. Where the node reads such an input as a
    list, the value is an empty list instead.
    """
    values: dict[str, Any] = {}
    for name in required_names:
        if name in schema.inputs and _may_be_none(schema.inputs[name]):
            values[name] = None
    for name, schema_input in schema.inputs.items():
        if isinstance(schema_input, io.WidgetInput) and schema_input.optional:
            values[name] = schema_input.default
    if schema.takes_lists:
        for name in values:
            if _is_list(schema.inputs[name]):
                values[name] = []
    return values


def _is_list(schema_input: io.Input) -> bool:
    """Whether a node with `is_input_list` reads this input as a list."""
    return schema_input.io_type in _LIST_TYPES


def _checked_lists(schema: _NodeSchema, linked_by_id: Mapping[str, Any]) -> dict[str, Any]:
    """The checked inputs, by id, of a node with `is_input_list`: for each input of _LIST_TYPES a list, without its
    Nones, and for every other input one value.

    linked_by_id: what is given for each input: from the host always a list, also for a widget; from a script the bare
    value. An input that takes one value, may be None and gets an empty list is left out: it counts as not linked, see
    _unlinked_values. Raises BadInput and BadChoice as `checked` says, BadInput for an empty list where something is
    needed, and BadSetup for several different values where one is needed.
    """
    # The host gives lists alone. A script gives bare values, of which hardly all are lists.
    from_host = all(isinstance(linked, (list, tuple)) for linked in linked_by_id.values())
    inputs_of_node: dict[str, Any] = {}
    for input_id, linked in linked_by_id.items():
        values = list(linked) if from_host else [linked]
        checked_values = [_checked_value(schema, input_id, value) for value in values]
        schema_input = schema.inputs[input_id]
        input_in_words = f"The {input_id} input of {schema.title}"
        if _is_list(schema_input):
            if not values and not schema_input.optional:
                raise BadInput(input_in_words, "an empty list", "at least one picture")
            inputs_of_node[input_id] = [value for value in checked_values if value is not None]
        elif checked_values:
            inputs_of_node[input_id] = _only_value(schema, input_id, checked_values)
        elif not _may_be_none(schema_input):
            raise BadInput(input_in_words, "an empty list", "one value")
    return inputs_of_node


def _only_value(schema: _NodeSchema, name: str, values: Sequence[Any]) -> Any:
    """The one value of an input that the host gives as a list of equal values.

    name: of the input. values: one at least. Raises BadSetup where they differ.
    """
    first_value = values[0]
    # `is` first: of some objects, such as tensors, == is no bool.
    if all(value is first_value or bool(value == first_value) for value in values):
        return first_value
    value_names = [value_checks.named(value) for value in values]
    examples = listed(first_few(value_names, 4))
    raise BadSetup(
        f"The {name} input of {schema.title} is a list of {len(values)} values ({examples}), and "
        "one is needed: a list of photos is read as one.",
        "Link one value. To make a person of each photo use Sort Photos into People, with People (people) set "
        "to 'one per photo'.",
    )


class ChoosesFile(io.ComfyNode):
    """A node with a menu of files, `file`, which runs again when the chosen file is replaced.

    Where that input is linked, the host asks with None: the name is known only when the node runs.
    """

    @staticmethod
    def path_of(file: str) -> str:
        """Full path of a file that was chosen. Raises ModelMissing, UnsafePath, DeadLink."""
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.chosen_file_exists(cls.path_of, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_: Any) -> str:
        return folders.fingerprint(lambda name: [cls.path_of(name)], file)


def single(value: Any) -> Any:
    """The value of a widget, for validate_inputs and fingerprint_inputs of a node with `is_input_list`.

    To these the host gives a list of one value. None for an empty list.
    """
    if isinstance(value, (list, tuple)):
        values = cast("Sequence[Any]", value)
        return values[0] if values else None
    return value


def _checked_value(schema: _NodeSchema, input_id: str, value: Any) -> Any:
    """The value of one input as the node runs with it, after all checks. Raises as `checked` says.

    It is a number in the type of an input for numbers, which allows no None; the default of the input, or None, for a
    None that is allowed; else `value`.
    """
    schema_input = schema.inputs[input_id]
    input_in_words = f"The {input_id} input of {schema.title}"
    if schema_input.io_type in (io.Int.io_type, io.Float.io_type):
        is_int = schema_input.io_type == io.Int.io_type
        return value_checks.number(input_in_words, value, schema_input.min, schema_input.max, integer=is_int)
    if value is None and _may_be_none(schema_input):
        return getattr(schema_input, "default", None)
    if not _fits(schema_input, value):
        raise _misfit(schema_input, input_in_words, value)
    is_menu = schema_input.io_type == io.Combo.io_type
    if is_menu and input_id not in schema.menus_judged_by_node and value not in schema_input.options:
        raise BadChoice(input_in_words, str(value), schema_input.options)
    for io_type in str(schema_input.io_type).split(","):  # an input may take several types
        value_check = _VALUE_CHECKS.get(io_type)
        if value_check is not None and is_a(value, value_check.value_class):
            value_check.check(input_in_words, value)
    return value


def _misfit(schema_input: io.Input, input_in_words: str, value: Any) -> LikenessError:
    """The error about a value of another kind than the input takes.

    Sockets of methods' own files are all of one type, so the words say which method is meant.
    """
    actual_method = getattr(value, "method_title", "")
    expected_method = getattr(schema_input.Type, "method_title", "")
    if actual_method and expected_method:
        return FileOfOtherMethod(input_in_words, actual_method, expected_method)
    needed = f"a file of {expected_method} from Load Adapter" if expected_method else schema_input.io_type
    return BadInput(input_in_words, value_checks.named(value), needed)


def _may_be_none(schema_input: io.Input) -> bool:
    """Whether an input may stay unlinked, or the host may leave it out until the node asks for it (lazy)."""
    return bool(schema_input.optional or getattr(schema_input, "lazy", None))


def _fits(schema_input: io.Input, value: Any) -> bool:
    """Whether a value is of the kind that an input takes: an object of the host by its method (_METHODS), others by
    their class."""
    io_type = schema_input.io_type
    if io_type == io.Vae.io_type and hasattr(value, _METHODS[io.Clip.io_type]):
        return False  # a CLIP, which has an encode as well
    if io_type in _METHODS:
        return hasattr(value, _METHODS[io_type])
    if io_type == io.Latent.io_type:
        return isinstance(value, dict)  # the host's type of a LATENT is for type checkers only
    if io_type == io.Sigmas.io_type:
        return isinstance(value, Tensor) and value.dim() == 1
    if value is None:
        return False
    value_classes = schema_input.Type if isinstance(schema_input.Type, tuple) else (schema_input.Type,)
    return any(value_class is Any or is_a(value, value_class) for value_class in value_classes)
