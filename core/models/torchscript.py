"""TorchScript archives, read for the weights in them alone: their code is never run, and torch never opens them.

An archive is a zip of code (code/**.py), of an index of the network's modules and tensors (data.pkl, in the format of
pickles) and of the tensors' bytes (data/0, data/1 and so on). torch.jit.load would run code of the archive's author:
operators of torch and torchvision can read and write any file, some code (hooks, methods of interfaces) is listed
nowhere, and an endless loop cannot be cancelled. So the code cannot be checked for harm. Here the index is read as
data, by an interpreter that calls nothing and knows tensors and containers alone.

Source: pytorch/pytorch, torch/csrc/jit/serialization/pickler.cpp and docs/source/jit/serialization.md.
"""

import math
import os
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..errors import UnsupportedCheckpoint
from ..text import in_one_line, plain
from .files import is_zip, no_model, unfinished
from .formats import recognised

_LONGEST_INDEX = 1 << 22
"""The most bytes of an index: that of a network with 100 layers has 200,000."""
_MOST_STEPS = 500_000
"""The most opcodes of an index: twenty times those of such a network; they take a second."""
_MOST_ENTRIES = 100_000
"""The most modules and tensors of a network. One module may be named in several places by a few bytes, so a short index
can describe any number of them."""
_DEEPEST = 64
"""The most modules within each other."""
_MOST_SIDES = 8
"""The most dimensions of a tensor: weights have four. A list of sizes may be named again and again by a few bytes."""
_LONGEST_NAME = 1000
"""The most letters of a tensor's name with those of all modules around it."""

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""The class of storage that an index names -> the dtype of its numbers."""


class Refused(ValueError):
    """An archive that holds something else than weights; the text says what, for the sentence "<file> is <text>"."""


@dataclass(frozen=True)
class Name:
    """The name of a class or function that a pickle would import. It is not imported here."""

    module: str
    name: str

    def __str__(self) -> str:
        return plain(f"{self.module}.{self.name}", 100)


@dataclass(frozen=True)
class Storage:
    """The numbers in one member of the archive. key: the member's name below data/. length: how many numbers."""

    dtype: torch.dtype
    key: str
    length: int


@dataclass(frozen=True)
class TensorView:
    """The place of a tensor in its storage. offset, stride: counted in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Module:
    """An object of a class of the archive: a module of the network, or something else.

    attributes: name -> tensor, module or other value; {} for an object whose state is no dictionary.
    """

    attributes: Mapping[Any, Any] = field(default_factory=dict[Any, Any])


def is_archive(path: Path) -> bool:
    """Whether a file is a whole archive of this kind, by its contents: weights that torch saved have no code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):  # what damage makes zipfile raise
        return False
    if any(name.lower().endswith("/model.json") for name in names):
        return False  # of torch before 1.1, which has no index of this kind
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def weights(path: Path, expected: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a network by the names of its modules, on the CPU; "backbone.stem.weight" and so on.

    expected, advice: what the file should be and where that is. Nothing in the file is run. Raises
    UnsupportedCheckpoint, saying what the file is instead.
    """

    def refusal(problem: str) -> UnsupportedCheckpoint:
        """The error that the file is something else. problem: what it is."""
        return UnsupportedCheckpoint(str(path), problem, expected, advice)

    if not is_archive(path):
        raise refusal(_instead(path))
    try:
        # Opened once: another file may take its place under the path while this one is read.
        with path.open("rb") as file:
            return _weights(file)
    except Refused as error:
        raise refusal(str(error)) from error
    except MemoryError:
        raise  # too little memory, which is no fault of the file
    except Exception as error:  # arbitrary bytes in an archive raise anything
        raise refusal(f"a TorchScript archive that cannot be read ({in_one_line(error)})") from error


def _weights(file: BinaryIO) -> dict[str, Tensor]:
    """The tensors of an open archive by the names of its modules. Raises Refused for an archive that is not as torch
    writes it."""
    length = file.seek(0, os.SEEK_END)  # of the file in bytes
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        # All members lie in one folder with the name that the archive was saved under.
        indices = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(indices) != 1:
            raise Refused(f"a TorchScript archive with {len(indices)} lists of weights instead of 1")
        folder = indices[0].removesuffix("data.pkl")
        index = _read(archive, members[indices[0]], _LONGEST_INDEX)
        views = _named_views(_run(index))
        storages = {view.storage for view in views.values()}
        # Members of a crafted zip may overlap, so that a small file holds any amount of numbers.
        if sum(storage.length * storage.dtype.itemsize for storage in storages) > length:
            raise Refused("a TorchScript archive that says it holds more numbers than it has bytes")
        buffers = {storage: _buffer(archive, members, folder, storage) for storage in storages}
        return {name: _tensor(view, buffers[view.storage]) for name, view in views.items()}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, longest: int) -> bytes:
    """The bytes of a member of an archive. longest: how many it may have.

    Raises Refused where it is longer or compressed: torch stores the index and the tensors as they are, and compressed
    they could be of any length.
    """
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > longest:
        raise Refused(f"a TorchScript archive whose {plain(member.filename, 100)} is compressed or too long")
    return archive.read(member)


def _buffer(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: str, storage: Storage) -> Tensor:
    """The numbers of a storage, (length,). members: of the archive, by their names. folder: in which they lie, with the
    slash at its end. Raises Refused where the member is missing or has another length."""
    name = f"{folder}data/{storage.key}"
    length = storage.length * storage.dtype.itemsize  # bytes
    member = members.get(name)
    if member is None or member.file_size != length:
        raise Refused(f"a TorchScript archive without the {length} bytes of {plain(name, 100)}")
    if not length:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(_read(archive, member, length)), dtype=storage.dtype)


def _tensor(view: TensorView, buffer: Tensor) -> Tensor:
    """The tensor at a place in the numbers of its storage.

    buffer: these numbers, (length,). Raises Refused where the tensor would reach beyond them.
    """
    numbers = (view.offset, *view.shape, *view.stride)
    if len(view.shape) != len(view.stride) or min(numbers) < 0:
        raise Refused(f"a TorchScript archive with a tensor of shape {view.shape} and strides {view.stride}")
    count = math.prod(view.shape)
    if not count:
        return torch.empty(view.shape, dtype=buffer.dtype)
    last = view.offset  # where the last number of the tensor lies
    for size, stride in zip(view.shape, view.stride, strict=True):
        last += (size - 1) * stride
    # With a stride of 0 a tensor of any size reaches over few numbers, so the count is checked as well.
    if last >= len(buffer) or count > len(buffer):
        raise Refused(f"a TorchScript archive with a tensor of shape {view.shape} in {len(buffer)} numbers")
    return buffer.as_strided(view.shape, view.stride, view.offset)


def _named_views(root: Any) -> dict[str, TensorView]:
    """The tensors below a module by their names, "backbone.stem.weight" and so on. A tensor that stands in several
    places has several names.

    root: the object that the index describes. Raises Refused where modules are nested too deep, too many or oddly
    named.
    """
    views: dict[str, TensorView] = {}
    waiting: list[tuple[str, int, Any]] = [("", 0, root)]
    entries = 0
    while waiting:
        prefix, depth, module = waiting.pop()
        if depth > _DEEPEST:
            raise Refused(f"a TorchScript archive with modules {depth} deep within each other")
        attributes: Mapping[Any, Any] = module.attributes if isinstance(module, Module) else {}
        for name, value in attributes.items():
            entries += 1
            if entries > _MOST_ENTRIES:
                raise Refused(f"a TorchScript archive with more than {_MOST_ENTRIES} modules and numbers")
            if not isinstance(value, (TensorView, Module)):
                continue
            if not isinstance(name, str) or len(prefix) + len(name) > _LONGEST_NAME:
                raise Refused("a TorchScript archive with modules of unusual names")
            if isinstance(value, TensorView):
                views[plain(f"{prefix}{name}")] = value
            else:
                waiting.append((f"{prefix}{name}.", depth + 1, value))
    return views


def _run(index: bytes) -> Any:
    """The object that an index describes: the network, as a Module. index: a pickle.

    Only the opcodes that torch writes are known, and none of them calls anything. Raises Refused for any other.
    """
    stack: list[list[Any]] = [[]]  # the values before the first mark, and those behind each mark
    numbered: dict[Any, Any] = {}  # number -> a value that the pickle uses again
    for number, (opcode, argument, _) in enumerate(pickletools.genops(index)):
        if number >= _MOST_STEPS:
            raise Refused(f"a TorchScript archive whose list of weights has more than {_MOST_STEPS} steps")
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack[-1].pop()
            case "MARK":
                stack.append([])
            case "BINPUT" | "LONG_BINPUT":
                numbered[argument] = stack[-1][-1]
            case "BINGET" | "LONG_BINGET":
                stack[-1].append(numbered[argument])
            case name if name in _RESULTS:
                values = _taken(stack, opcode) if opcode.arg is None else [argument]
                stack[-1].append(_RESULTS[name](*values))
            case name:
                raise Refused(f"a TorchScript archive whose list of weights has the opcode {name}, which none needs")
    raise Refused("a TorchScript archive whose list of weights has no end")


def _taken(stack: list[list[Any]], opcode: pickletools.OpcodeInfo) -> list[Any]:
    """Take the values that an opcode needs off the stack. Raises LookupError where there are too few."""
    needed = len(opcode.stack_before)
    behind_mark: list[Any] = []
    if pickletools.markobject in opcode.stack_before:
        needed -= 2  # the mark, and whatever is behind it
        behind_mark = stack.pop()
    values = stack[-1]
    first = len(values) - needed
    if first < 0:
        raise LookupError("too little on the stack")
    taken = values[first:] + behind_mark
    del values[first:]
    return taken


_KNOWN = {("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")}


def _known_name(argument: str) -> Name:
    """The class or function that an index names. argument: "module name".

    Raises Refused for what is neither a class of the archive nor part of a tensor or a container.
    """
    module, _, name = argument.partition(" ")  # pickletools joins the two by a space
    is_known = (module, name) in _KNOWN or (module == "torch" and name in _DTYPES)
    # torch.jit._pickle has the functions that build lists with items of one type, and containers that name their types.
    if not is_known and module != "torch.jit._pickle" and not module.startswith("__torch__"):
        raise Refused(f"a TorchScript archive whose list of weights names {Name(module, name)}, so it was not read")
    return Name(module, name)


def _storage(identity: Any) -> Storage:
    """The storage that a persistent id of a pickle stands for. identity: ("storage", class, key, device, length)."""
    _, kind, key, _, length = identity
    if kind.name not in _DTYPES or not isinstance(key, str) or not isinstance(length, int) or length < 0:
        raise Refused("a TorchScript archive with numbers of a kind that is unknown here")
    return Storage(_DTYPES[kind.name], key, length)


def _result(function: Any, arguments: Any) -> Any:
    """What stands here for the result of a function that an index calls; the function itself is not called.

    function: a Name. arguments: as the index gives them. The result is a TensorView for torch's function that rebuilds
    a tensor, the first argument for a typed container, and {} for an OrderedDict. Raises Refused for any other
    function.
    """
    if function == Name("torch._utils", "_rebuild_tensor_v2"):
        storage, offset, shape, stride = arguments[:4]
        sides = max(len(shape), len(stride))
        if sides > _MOST_SIDES:
            raise Refused(f"a TorchScript archive with a tensor of {sides} dimensions")
        numbers = (offset, *shape, *stride)
        if not isinstance(storage, Storage) or not all(isinstance(number, int) for number in numbers):
            raise Refused("a TorchScript archive with a tensor of an unknown kind")
        return TensorView(storage, offset, tuple(shape), tuple(stride))
    if isinstance(function, Name) and function.module == "torch.jit._pickle" and arguments:
        return arguments[0]
    if function == Name("collections", "OrderedDict"):
        return {}
    raise Refused("a TorchScript archive whose list of weights calls something else than torch's own rebuilding")


def _of_class(name: Any, _arguments: Any) -> Module:
    """A new module of a class. Modules have no arguments. Raises Refused for a class that is not the archive's own."""
    if not isinstance(name, Name) or not name.module.startswith("__torch__"):
        raise Refused("a TorchScript archive whose list of weights makes an object of no class of its own")
    return Module()


def _with_state(module: Any, state: Any) -> Any:
    """The same module with its attributes. Objects that are no modules may have a state that is no dictionary; they
    hold no weights."""
    _check_kind(module, Module)
    module.attributes = state if isinstance(state, dict) else {}
    return module


def _longer(items: Any, *more: Any) -> Any:
    """The same list with more items."""
    _check_kind(items, list)
    items.extend(more)
    return items


def _fuller(mapping: Any, *keys_and_values: Any) -> Any:
    """The same dictionary with more keys, each followed by its value.

    Raises Refused for keys that are neither texts nor numbers. A tuple could hold another one twice, which holds a
    third one twice, and so on: hashing it would take for ever.
    """
    _check_kind(mapping, dict)
    keys = keys_and_values[::2]
    if not all(isinstance(key, (str, int, float)) for key in keys):
        raise Refused("a TorchScript archive whose list of weights has keys that are no text")
    mapping.update(zip(keys, keys_and_values[1::2], strict=True))
    return mapping


def _check_kind(value: Any, kind: type) -> None:
    """Raise TypeError for a value of another kind."""
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} is needed")


def _itself(argument: Any) -> Any:
    """The argument of an opcode that puts it onto the stack as it is."""
    return argument


def _tuple(*values: Any) -> tuple[Any, ...]:
    """A tuple of all that an opcode takes."""
    return values


_BRING_A_VALUE = ["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "BINSTRING", "SHORT_BINSTRING"]
_RESULTS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_BRING_A_VALUE, _itself),
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    **dict.fromkeys(("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"), _tuple),
    "EMPTY_LIST": list,
    "APPEND": _longer,
    "APPENDS": _longer,
    "EMPTY_DICT": dict,
    "SETITEM": _fuller,
    "SETITEMS": _fuller,
    "GLOBAL": _known_name,
    "BINPERSID": _storage,
    "REDUCE": _result,
    "NEWOBJ": _of_class,
    "BUILD": _with_state,
}
"""Opcode -> what it puts onto the stack, made of its argument, or else of the values that it takes from there.

Python's pickletools describes each of them, and says which values it takes.
"""


def _instead(path: Path) -> str:
    """The kind of a file that is no TorchScript archive, for the sentence "<file> is <text>"."""
    try:
        problem = no_model(path) or unfinished(path)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if problem:
        return problem
    with path.open("rb") as file:
        starts_as_zip = file.read(2) == b"PK"
    if starts_as_zip and not is_zip(path):
        return f"cut off while downloading ({path.stat().st_size} bytes)"
    known_format, _ = recognised(path)
    return known_format.title if known_format else "no TorchScript archive"
