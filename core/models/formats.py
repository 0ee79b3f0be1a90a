"""The format of a file, decided by its tensors and never by its name: the methods' own formats, then those of others.

A loader requires one format. A file of another format is refused with a message that says what the file is instead.
The rules by which a format is recognised are data, the `detect` of a record in method.json or other_files.json:

    tensors          name -> shape: such a tensor is there. A name that begins with * is the end of a name; in a shape
                     null is any size, and "..." any number of sizes
    under            beginnings of names: for each there is a tensor
    absent           names, or ends of names with *: there is no such tensor
    other_type_than  [name, end]: the tensor of this name has another dtype than all tensors with this end of a name
    any              several objects with rules like these; one of them has to match
    first            true where a more general format of another record matches the same files: this one is tried before
                     all without it. Else the order of the records decides, and in a record that of its formats
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import records
from ..checks.errors import UnsupportedCheckpoint, counted, listed
from ..families import FLUX, family_of_text_width
from ..methods import Format, methods
from .files import Stamp, no_model, stamp
from .tensors import NotTensors, State, described_tensors, require_unquantised

CONTROLNET = "controlnet"
IR_SE50_KEY = "body.23.res_layer.5.fc1.weight"
"""A tensor of the squeeze and excitation in the last of the 24 blocks of ArcFace IR-SE50. Recognisers that are built
alike with more blocks are published without squeeze and excitation, so they have no such tensor."""
# The formats that no method of ours reads, for messages about files in the wrong place.
_OTHERS = Path(__file__).with_name("other_files.json")


def detected(detect: Mapping[str, Any], state: State) -> bool:
    """Whether tensors are of a format, by their names, shapes and dtypes alone.

    detect: the rules of a record, which the docstring of this module lists; all of them must hold.
    state: the tensors of a file by their names.
    """
    for name, shape in detect.get("tensors", {}).items():
        if not any(_has_shape(tensor, shape) for tensor in _tensors_called(name, state)):
            return False
    for beginning in detect.get("under", ()):
        if not any(key.startswith(beginning) for key in state):
            return False
    for name in detect.get("absent", ()):
        if _tensors_called(name, state):
            return False
    if "other_type_than" in detect:  # such a record also has the name under "tensors", so the tensor is there
        name, ending = detect["other_type_than"]
        if state[name].dtype in {tensor.dtype for tensor in _tensors_called(ending, state)}:
            return False
    if "any" in detect:  # the last rule: all others hold
        return any(detected(alternative, state) for alternative in detect["any"])
    return True


def _tensors_called(pattern: str, state: State) -> list[Tensor]:
    """The tensors whose name a rule means. pattern: a whole name, or "*" and the end of a name."""
    if pattern.startswith("*"):
        ending = pattern[1:]
        return [tensor for key, tensor in state.items() if key.endswith(ending)]
    if pattern in state:
        return [state[pattern]]
    return []


def _has_shape(tensor: Tensor, pattern: Sequence[Any]) -> bool:
    """Whether a tensor has the shape that a rule asks for.

    pattern: sizes, of which None stands for any size; "..." at its beginning or its end stands for any number of
    further sizes.
    """
    sizes = [size for size in pattern if size != "..."]
    further = tensor.ndim - len(sizes)  # how many sizes "..." has to stand for
    if further < 0 or (further > 0 and "..." not in pattern):
        return False
    ends_alike = bool(pattern) and pattern[0] == "..."
    compared = tensor.shape[further:] if ends_alike else tensor.shape[: len(sizes)]
    return all(size in (None, actual) for actual, size in zip(compared, sizes, strict=True))


@cache
def formats() -> tuple[Format, ...]:
    """Every format, in the order in which they are tried: the first that matches a file wins."""
    of_methods = [record for method in methods() for record in method.formats]
    with records.made_of(_OTHERS):
        of_others = [Format(**fields) for fields in records.read(_OTHERS)]
    return in_order([*of_methods, *of_others])


def in_order(known_formats: Sequence[Format]) -> tuple[Format, ...]:
    """These formats in the same order, except that those that are to be tried first come first."""
    return tuple(sorted(known_formats, key=lambda record: not record.detect.get("first", False)))


def known(identifier: str) -> Format:
    """The format with this id. Raises BadRecord."""
    by_id = {record.id: record for record in formats()}
    if identifier not in by_id:
        raise records.BadRecord(_OTHERS, f"neither it nor a method.json has the format {identifier}")
    return by_id[identifier]


def identify(state: State) -> Format | None:
    """The format of the tensors of a file; None where no format matches."""
    for record in formats():
        if detected(record.detect, state):
            return record
    return None


def family(state: State) -> str | None:
    """The name of the model family that the tensors of a file are made for; None where they do not say.

    A UNet's family is told by the width of the text that its cross-attention (attn2) reads. A ControlNet of FLUX.1 has
    no cross-attention; it is told by the names of two of its layers.
    """
    if "controlnet_x_embedder.weight" in state and "context_embedder.weight" in state:
        return FLUX.name
    key_weights = _tensors_called("*attn2.to_k.weight", state)  # (out, width of the text) each
    text_width = key_weights[0].shape[-1] if key_weights else 0
    model_family = family_of_text_width(text_width)
    if model_family is None or not model_family.unet:
        return None
    return model_family.name


def recognised(path: Path) -> tuple[Format | None, str | None]:
    """The format of a file and the name of its model family. Each is None where unknown; both are None for a file that
    is no model or cannot be read."""
    try:
        return _recognised(stamp(str(path)))
    except OSError:
        return None, None


@lru_cache(maxsize=1024)
def _recognised(file: Stamp) -> tuple[Format | None, str | None]:
    """The result of `recognised`, remembered by the file's stamp: a file that changes is read again.

    Raises OSError as `no_model` does.
    """
    path = Path(file[0])
    if no_model(path):
        return None, None
    try:
        state = described_tensors(path)
    except NotTensors:
        return None, None
    return identify(state), family(state)


def require(state: State, wanted: str | Sequence[str], path: str, advice: str, title: str | None = None) -> Format:
    """The format of a file, which must be the one with the id `wanted`, or one of several.

    state: the tensors of the file. path: of the file, for the message. advice: where the right file is found.
    title: what the message calls the formats together; without it, the title of the first.
    Raises UnsupportedCheckpoint, which says what the file is instead.
    """
    ids = (wanted,) if isinstance(wanted, str) else wanted
    expected = title or known(ids[0]).title
    require_unquantised(state, path, expected, advice)
    record = identify(state)
    if record is not None and record.id in ids:
        return record
    if record is not None:
        raise UnsupportedCheckpoint(path, record.title, expected, f"{record.belongs} {advice}")
    raise UnsupportedCheckpoint(path, f"an unknown file ({_first_names(state)})", expected, advice)


def _first_names(state: State) -> str:
    """What an unknown file holds, for a message: the number of its tensors and the first three names."""
    if not state:
        return "it holds no tensors"
    dots = ["..."] if len(state) > 3 else []
    return f"{counted(len(state), 'tensor')}: {listed([*sorted(state)[:3], *dots])}"
