"""TorchScript archives, read for the weights in them alone: their code is never run, and torch never opens them.

An archive is a zip of code (code/**.py, with constants.pkl), of an index of the network's modules and tensors
(data.pkl, in the format of pickles) and of the tensors' bytes (data/0, data/1 and so on). torch.jit.load would run code
of the archive's author: operators of torch and torchvision can read and write any file, some code (hooks, methods of
interfaces) is listed nowhere, and an endless loop cannot be cancelled. So the code cannot be checked for harm. Here the
index is read as data, by an interpreter that calls nothing and knows tensors and containers alone.

Source: pytorch/pytorch, torch/csrc/jit/serialization/pickler.cpp and docs/source/jit/serialization.md.
"""

import math
import os
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks.errors import UnsupportedCheckpoint
from ..checks.memory import is_out_of_memory
from ..checks.text import in_one_line, plain
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


@dataclass(frozen=True, eq=False)
class Storage:
    """The numbers in one member of the archive. data: their bytes, which all tensors of the storage share."""

    dtype: torch.dtype
    data: bytearray

    @property
    def length(self) -> int:
        """How many numbers there are."""
        return len(self.data) // self.dtype.itemsize


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
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            byte_count = file.seek(0, os.SEEK_END)
            members = _Members(archive, byte_count)
            return _named_tensors(_run(members.index(), members))
    except Refused as error:
        raise refusal(str(error)) from error
    except Exception as error:  # arbitrary bytes in an archive raise anything
        if is_out_of_memory(error):
            raise
        raise refusal(f"a TorchScript archive that cannot be read ({in_one_line(error)})") from error


class _Members:
    """The members of an archive. Raises Refused where they are not as torch writes them.

    byte_count: of the archive's file.
    """

    def __init__(self, archive: zipfile.ZipFile, byte_count: int) -> None:
        self._archive = archive
        self._members = {member.filename: member for member in archive.infolist()}
        # All members lie in one folder with the name that the archive was saved under.
        indices = [name for name in self._members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(indices) != 1:
            raise Refused(f"a TorchScript archive with {len(indices)} lists of weights instead of 1")
        self._folder = indices[0].removesuffix("data.pkl")
        self._bytes_left = byte_count
        self._storages: dict[tuple[str, torch.dtype, int], Storage] = {}

    def index(self) -> bytes:
        """The pickle that describes the network."""
        return self._read(self._members[f"{self._folder}data.pkl"], _LONGEST_INDEX)

    def storage(self, kind: Name, key: Any, length: Any) -> Storage:
        """The numbers in a member below data/, read once and kept.

        kind: the class of storage. key: the member's name. length: how many numbers. Raises Refused for numbers of an
        unknown kind, for a member that is missing or has another length, and where all storages together are larger
        than the file.
        """
        dtype = _DTYPES.get(kind.name)
        if dtype is None or not isinstance(key, str) or not isinstance(length, int) or length < 0:
            raise Refused("a TorchScript archive with numbers of a kind that is unknown here")
        storage_id = (key, dtype, length)
        if storage_id not in self._storages:
            self._storages[storage_id] = Storage(dtype, self._numbers(key, length * dtype.itemsize))
        return self._storages[storage_id]

    def _numbers(self, key: str, byte_count: int) -> bytearray:
        """The bytes of a member below data/. Raises Refused as `storage` does."""
        # Members of a crafted zip may overlap, so that a small file holds any amount of numbers.
        self._bytes_left -= byte_count
        if self._bytes_left < 0:
            raise Refused("a TorchScript archive that says it holds more numbers than it has bytes")
        name = f"{self._folder}data/{key}"
        member = self._members.get(name)
        if member is None or member.file_size != byte_count:
            raise Refused(f"a TorchScript archive without the {byte_count} bytes of {plain(name, 100)}")
        return bytearray(self._read(member, byte_count))

    def _read(self, member: zipfile.ZipInfo, longest: int) -> bytes:
        """The bytes of a member. Raises Refused for more than `longest`, and for a compressed member: torch does not
        compress, and compressed bytes could become any number of bytes."""
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > longest:
            raise Refused(f"a TorchScript archive whose {plain(member.filename, 100)} is compressed or too long")
        return self._archive.read(member)


class _Placed(NamedTuple):
    """An object in the network. prefix: how the names of its tensors begin. depth: how many modules are around it."""

    value: Any
    prefix: str
    depth: int


def _named_tensors(root: Any) -> dict[str, Tensor]:
    """The tensors below a module by their names, "backbone.stem.weight" and so on. A tensor that stands in several
    places has several names.

    root: the object that the index describes. Raises Refused where modules are nested too deep, too many or oddly
    named.
    """
    tensors: dict[str, Tensor] = {}
    waiting = [_Placed(root, prefix="", depth=0)]
    entries = 0
    while waiting:
        module, prefix, depth = waiting.pop()
        if depth > _DEEPEST:
            raise Refused(f"a TorchScript archive with modules {depth} deep within each other")
        attributes: Mapping[Any, Any] = module.attributes if isinstance(module, Module) else {}
        for name, value in attributes.items():
            entries += 1
            if entries > _MOST_ENTRIES:
                raise Refused(f"a TorchScript archive with more than {_MOST_ENTRIES} modules and numbers")
            if not isinstance(value, (Tensor, Module)):
                continue
            if not isinstance(name, str) or len(prefix) + len(name) > _LONGEST_NAME:
                raise Refused("a TorchScript archive with modules of unusual names")
            if isinstance(value, Tensor):
                tensors[plain(f"{prefix}{name}")] = value
            else:
                waiting.append(_Placed(value, f"{prefix}{name}.", depth + 1))
    return tensors


def _run(index: bytes, members: _Members) -> Any:
    """The object that an index describes: the network, as a Module. index: a pickle.

    Only the opcodes that torch writes are known, and none of them calls anything. Python's pickletools describes each
    of them, and says which values it takes from the stack. Raises Refused for an index that is not as torch writes it,
    and Python's own errors for a damaged one.
    """
    stack: list[list[Any]] = [[]]  # the values before the first mark, and those behind each mark
    memo: dict[Any, Any] = {}  # number in the pickle -> a value that the pickle uses again
    for step, (opcode, argument, _) in enumerate(pickletools.genops(index)):
        if step >= _MOST_STEPS:
            raise Refused(f"a TorchScript archive whose list of weights has more than {_MOST_STEPS} steps")
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack[-1].pop()
            case "MARK":
                stack.append([])
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1][-1]
            case "BINGET" | "LONG_BINGET":
                stack[-1].append(memo[argument])
            case "BINPERSID":
                _, kind, key, _, length = stack[-1].pop()  # "storage", class, key, device, length
                stack[-1].append(members.storage(kind, key, length))
            case name:
                # An opcode without an argument works on values of the stack.
                values = _taken(stack, opcode) if opcode.arg is None else [argument]
                stack[-1].append(_result(name, values))
    raise Refused("a TorchScript archive whose list of weights has no end")


def _taken(stack: list[list[Any]], opcode: pickletools.OpcodeInfo) -> list[Any]:
    """Take the values that an opcode needs off the stack, and return them, those behind a mark last.

    Raises LookupError where there are too few.
    """
    needed = [kind for kind in opcode.stack_before if kind not in (pickletools.markobject, pickletools.stackslice)]
    behind_mark = stack.pop() if pickletools.markobject in opcode.stack_before else []
    if len(stack[-1]) < len(needed):
        raise LookupError("too little on the stack")
    taken = [stack[-1].pop() for _ in needed]  # the last one first
    return taken[::-1] + behind_mark


def _result(opcode: str, values: list[Any]) -> Any:
    """What an opcode puts onto the stack, made of its argument, or else of the values that it takes from there.

    Values are added to a list or a dictionary, and a state is set in a Module, in place. Raises Refused for an unknown
    opcode, and one of Python's own errors for values of another kind than the opcode needs.
    """
    match opcode:
        case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
            return values[0]
        case "NONE":
            return None
        case "NEWTRUE" | "NEWFALSE":
            return opcode == "NEWTRUE"
        case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE":
            return tuple(values)
        case "EMPTY_LIST":
            return []
        case "APPEND" | "APPENDS":
            values[0].extend(values[1:])
            return values[0]
        case "EMPTY_DICT":
            return {}
        case "SETITEM" | "SETITEMS":  # values: the dictionary, then keys and values in turn
            # A tuple as a key could hold another one twice, which holds a third one twice, and so on: hashing it would
            # take for ever.
            if not all(isinstance(key, (str, int, float)) for key in values[1::2]):
                raise Refused("a TorchScript archive whose list of weights has keys that are no text")
            values[0].update(zip(values[1::2], values[2::2], strict=True))
            return values[0]
        case "GLOBAL":
            return _known_name(*values[0].split(" ", 1))  # pickletools joins module and name by a space
        case "REDUCE":
            return _called(values[0], values[1])
        case "NEWOBJ":
            if not isinstance(values[0], Name) or not values[0].module.startswith("__torch__"):
                raise Refused("a TorchScript archive whose list of weights makes an object of no class of its own")
            return Module()
        case "BUILD":
            # Objects that are no modules may have a state that is no dictionary; they hold no weights.
            module, state = values
            module.attributes = state if isinstance(state, dict) else {}
            return module
        case _:
            raise Refused(f"a TorchScript archive whose list of weights has the opcode {opcode}, which none needs")


_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_ORDERED = Name("collections", "OrderedDict")
_TYPED = "torch.jit._pickle"
"""The module with the functions that build lists with items of one type, and containers that name their types."""


def _known_name(module: str, name: str) -> Name:
    """A class of the archive, or what a tensor or a container is made by. Raises Refused for any other name."""
    known = Name(module, name)
    is_storage = module == "torch" and name in _DTYPES
    is_container = known == _ORDERED or module == _TYPED
    is_own_class = module.startswith("__torch__")
    if not (is_storage or known == _REBUILD or is_container or is_own_class):
        named = plain(f"{module}.{name}", 100)
        raise Refused(f"a TorchScript archive whose list of weights names {named}, so it was not read")
    return known


def _called(function: Any, arguments: Any) -> Any:
    """What stands here for the result of a function that an index calls; the function itself is not called.

    It is a tensor, {} for an OrderedDict, or the first argument for a typed container.
    """
    if function == _REBUILD:
        return _tensor(*arguments[:4])
    if function == _ORDERED:
        return {}
    if isinstance(function, Name) and function.module == _TYPED and arguments:
        return arguments[0]
    raise Refused("a TorchScript archive whose list of weights calls something else than torch's own rebuilding")


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> Tensor:
    """The tensor at a place in the numbers of its storage, whose memory it shares.

    offset, stride: counted in numbers, not bytes. Raises Refused where the tensor would reach beyond the numbers of the
    storage, and for arguments that are of no tensor.
    """
    dimensions = max(len(shape), len(stride))
    if dimensions > _MOST_SIDES:
        raise Refused(f"a TorchScript archive with a tensor of {dimensions} dimensions")
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(number, int) for number in numbers):
        raise Refused("a TorchScript archive with a tensor of an unknown kind")
    if len(shape) != len(stride) or min(numbers) < 0:
        raise Refused(f"a TorchScript archive with a tensor of shape {tuple(shape)} and strides {tuple(stride)}")
    count = math.prod(shape)
    if not count:
        return torch.empty(tuple(shape), dtype=storage.dtype)
    # Where its last number lies.
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    # With a stride of 0 a tensor of any size reaches over few numbers, so the count is checked as well.
    if last >= storage.length or count > storage.length:
        raise Refused(f"a TorchScript archive with a tensor of shape {tuple(shape)} in {storage.length} numbers")
    return torch.frombuffer(storage.data, dtype=storage.dtype).as_strided(shape, stride, offset)


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
