"""Files of tensors: read whole, or by names, shapes and kinds of numbers alone."""

import json
import math
import os
import re
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors_torch
from torch import Tensor

from ..checks.errors import UnsupportedCheckpoint
from ..checks.limits import DICTIONARIES, ENTRIES
from ..checks.memory import is_out_of_memory
from ..checks.text import in_one_line, plain
from .files import is_packed, is_safetensors, is_zip, no_model, sha256, unfinished, zip_members

State = Mapping[str, Tensor]

SOURCES = "source_sha256"
"""A key in the metadata of a safetensors file: names and hashes of the files it was made of, as JSON."""

# safetensors' name of a dtype -> torch's, for those by which a format may be recognised. All others are described as
# float32.
_KINDS = {"F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}

# With types, which safetensors does not publish.
_safe_open: Callable[..., AbstractContextManager[Any]] = safe_open
_load_file: Callable[[str], dict[str, Tensor]] = cast("Any", safetensors_torch).load_file

_LARGEST = 1 << 30
"""The most bytes of a tensor that may be larger than its file, because its rows share their numbers (a stride of 0). No
layer of an image model has more."""

_MOST = 10_000
"""The most tensors of a network that is built: a whole SDXL has a quarter of that."""

_QUANTISED = re.compile(
    r"(^|\.)(weight_scale(_\d)?|scale_weight|scale_input|input_scale|scaled_fp8|comfy_quant|SCB|(weight\.)?absmax|"
    r"(weight\.)?quant_(map|state\..*)|qweight|qzeros)$"
)
"""Names of what stands beside the weights of a quantised network: ComfyUI's, optimum's, bitsandbytes' or GPTQ's."""

_TWO_IN_A_BYTE = getattr(torch, "float4_e2m1fn_x2", None)
"""A kind of float that torch makes no other one of; None in versions without it."""
_GREATEST = 65504.0
"""The largest absolute value of a weight. It is the largest number of float16, in which every model is published,
too."""


class NotTensors(ValueError):
    """A file that holds no tensors that can be used. The text says what it is, as the end of a sentence: "a pickle of
    one list"."""


def load(path: Path) -> Any:
    """The content of a safetensors file or a pickle of tensors, on the CPU; needs no host. The pickle is loaded safely:
    classes other than torch's own make torch.load raise."""
    if is_safetensors(path):
        with _in_utf_8(path) as name:
            return _load_file(name)
    return _unpickled(path)


_PICKLE = "a pickle, a PyTorch file that could run code, so it was not opened"
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The beginning of what torch.save wrote before torch 1.6, which torch.load reads; it reads no other plain pickle."""


def _is_plain_pickle(path: Path) -> bool:
    """Whether a file begins as pickle.dump writes it, and not as torch.save does."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
    return len(head) > 1 and head[0] == 0x80 and 1 <= head[1] <= 5 and not _MAGIC.startswith(head)


def no_safetensors(path: Path) -> str | None:
    """What a file is, in words, that is no safetensors file; None for one that may be. Raises OSError.

    Pickles are not opened.
    """
    if is_safetensors(path):
        return None
    kind = no_model(path)
    if kind:
        return kind
    with path.open("rb") as file:
        begins_as_pickle = file.read(len(_MAGIC)) == _MAGIC
    is_of_torch = any(name.rpartition("/")[2] == "data.pkl" for name in zip_members(path))
    if begins_as_pickle or is_of_torch or _is_plain_pickle(path):
        return _PICKLE
    return f"damaged or cut off while downloading ({path.stat().st_size} bytes)"


def _unpickled(path: Path, mmap: bool = False) -> Any:
    """The content of a pickle, as the host's loader gives it.

    Of a dictionary with the key "state_dict" it is the value of this key; of a dictionary whose only value is another
    dictionary it is the inner one. mmap: whether tensors are mapped from the file, not read.
    """
    content: Any = torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    if not isinstance(content, dict):
        return content
    named_content = cast("dict[Any, Any]", content)
    if "state_dict" in named_content:
        return named_content["state_dict"]
    first = next(iter(named_content.values()), None)
    holds_one_dictionary = len(named_content) == 1 and isinstance(first, dict)
    return cast("Any", first) if holds_one_dictionary else named_content


def has_name_in_utf_8(path: Path) -> bool:
    """Whether safetensors takes a path: disks of Linux may have any bytes in names, and it takes letters alone."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _in_utf_8(path: Path) -> Generator[str, None, None]:
    """A context with a path that safetensors takes for this file.

    It is the file's own path. Where that is not UTF-8, the file is opened, and the path is that of the open file.
    """
    if has_name_in_utf_8(path):
        yield str(path)
        return
    with path.open("rb") as file:
        yield f"/proc/self/fd/{file.fileno()}"  # what Linux calls an open file, in letters


@contextmanager
def opened(path: Path) -> Generator[Any, None, None]:
    """A safetensors file as safetensors.safe_open gives it. Raises SafetensorError, OSError, and NotTensors for more
    tensors than any model has."""
    with _in_utf_8(path) as name, _safe_open(name, "pt") as tensors:
        if len(tensors.keys()) > ENTRIES:
            raise NotTensors(f"a file with more than {ENTRIES} entries")
        yield tensors


def read(
    path: Path, expected: str = "a file of tensors", advice: str = "", loaded: Callable[[Path], Any] = load
) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a safely unpickled one, nested dictionaries flattened.

    expected, advice: what the file should be and where that is, for the message. loaded: the function that reads the
    content, such as the host's own.
    Raises UnsupportedCheckpoint, saying what the file is instead: empty, a saved web page, cut off, a pickle that wants
    to run code, or a file that may not be read. Lack of memory is raised as it is.
    """

    def refusal(problem: str, fix: str) -> UnsupportedCheckpoint:
        """The error that the file is something else. problem: what it is. fix: what to do."""
        return UnsupportedCheckpoint(str(path), problem, expected, fix)

    try:
        problem = no_model(path) or unfinished(path)
    except OSError as error:
        raise refusal(f"a file that cannot be read ({error.strerror})", "Look at its permissions.") from error
    if problem:
        raise refusal(problem, f"Download it again. {advice}")
    problem = _with_code(path)
    if problem:
        raise refusal(problem, advice)
    try:
        if is_safetensors(path):
            with opened(path):
                pass  # what is wrong with its beginning is said before all of it is read
        return _tensors_in(loaded(path), path)
    except NotTensors as error:
        raise refusal(str(error), f"Download it again. {advice}") from error
    except Exception as error:  # there is hardly an exception that torch.load does not raise on arbitrary bytes
        if is_out_of_memory(error):
            raise
        is_whole = bool(_unknown_class(error)) or _is_plain_pickle(path)
        again = "Get it as .safetensors. " if is_whole else "Delete it and download it again. "
        raise refusal(_unreadable(error, path), f"{again}{advice}") from error


def described_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file with their names, shapes and dtypes, without their numbers being read.

    Those of a safetensors file are on the meta device, with float32 for any dtype that tells nothing; those of a pickle
    are mapped from the file. Raises NotTensors, saying what the file is instead, for one that is damaged or holds
    something else.
    """
    try:
        if is_safetensors(path):
            with opened(path) as file:
                return described(file)
        problem = _with_code(path)
        if problem:
            raise NotTensors(problem)
        # A pickle of before torch 1.6 cannot be mapped.
        return _tensors_in(_unpickled(path, mmap=is_zip(path)), path)
    except NotTensors:
        raise  # it says already what the file is
    except Exception as error:  # there is hardly an exception that torch.load does not raise on arbitrary bytes
        if is_out_of_memory(error):
            raise
        raise NotTensors(_unreadable(error, path)) from error


def described(file: Any) -> dict[str, Tensor]:
    """The tensors that the header of a safetensors file describes, on the meta device.

    file: as `opened` gives it. Raises NotTensors for a shape that no tensor has.
    """
    tensors: dict[str, Tensor] = {}
    for key in file.keys():  # noqa: SIM118 - no dictionary
        entry = file.get_slice(key)
        dtype = _KINDS.get(entry.get_dtype(), torch.float32)
        shape = entry.get_shape()
        try:
            tensors[key] = torch.empty(shape, dtype=dtype, device="meta")
        # safetensors takes sides of any length beside one of 0, and so does their product.
        except (RuntimeError, TypeError) as error:
            raise NotTensors(f"a file whose tensor {key[:100]} has the impossible shape {str(shape)[:100]}") from error
    return tensors


def _with_code(path: Path) -> str | None:
    """What a file is, in words, where opening it with torch.load is unsafe or may take all memory; None for any other.

    Some versions of torch.load, even with weights_only, run the code of a TorchScript archive, and unpack a tar
    archive, whose names may lead out of the folder.
    """
    if is_zip(path):
        # A damaged zip has no members here: torch.load, which comes next, says in which way it is damaged.
        if any(name.rpartition("/")[2] == "constants.pkl" or "/code/" in name for name in zip_members(path)):
            return "a TorchScript network, which holds code, so it was not opened"
        # A packed megabyte may be a gigabyte.
        return "a packed zip, which torch does not write, so it was not opened" if is_packed(path) else None
    try:
        with tarfile.open(path, "r:"):
            return "a tar archive, as torch before 0.1.10 saved weights, so it was not opened"
    except (tarfile.TarError, OSError, ValueError):
        return None


def origin(path: str | Path) -> str:
    """The SHA-256 of a file as it was published.

    A safetensors file that scripts/to_safetensors.py has made holds the hash of the file that it was made of (SOURCES);
    of any other file the hash is computed.
    """
    path = Path(path)
    if is_safetensors(path):
        # Whatever else stands in the metadata is passed over: anybody may write anything there.
        passed_over = (LookupError, ValueError, AttributeError, TypeError, RecursionError, SafetensorError)
        with suppress(*passed_over), opened(path) as file:
            hashes = json.loads(file.metadata()[SOURCES]).values()
            (source_hash,) = hashes  # of a file made of several: ValueError, and the file itself is hashed below
            return str(source_hash)
    return sha256(path)


def _unreadable(error: Exception, path: Path) -> str:
    """The kind of a file that could not be read, in words.

    torch's own text is left out where it advises to load unsafely.
    """
    unknown_class = _unknown_class(error)
    if unknown_class:
        return f"a pickle that wants to run code or holds more than tensors ({unknown_class}), so it was not opened"
    if _is_plain_pickle(path):
        return _PICKLE
    reason = "" if "weights_only" in str(error) else f"; {in_one_line(error)}"
    return f"damaged or cut off while downloading ({path.stat().st_size} bytes{reason})"


def _unknown_class(error: Exception) -> str:
    """The class that a pickle names and torch does not load; "" for any other error.

    torch's message is "... WeightsUnpickler error: Unsupported global: GLOBAL module.Class was not an allowed global by
    default ...".
    """
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return found[1] if found else ""


def flatten(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Nested dictionaries of tensors, as the authors pickle them, as one dictionary with dotted keys.

    Control characters are taken out of the keys (`plain`): messages quote the keys, and a pickle may hold any text.
    Values that are no tensors are left out. Raises NotTensors for more entries than any model has.
    """
    flat: dict[str, Tensor] = {}
    for number, (key, value) in enumerate(_entries(state)):
        if number >= ENTRIES:
            raise NotTensors(f"a file with more than {ENTRIES} entries")
        if isinstance(value, Tensor):
            flat[plain(key)] = value
    return flat


def _entries(state: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every entry of nested dictionaries; a dictionary comes before what is in it. Raises
    NotTensors where too many lie in each other."""
    if depth > DICTIONARIES:
        raise NotTensors(f"a pickle of dictionaries in each other, more than {DICTIONARIES}")
    for key, value in state.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _entries(cast("Mapping[str, Any]", value), f"{prefix}{key}.", depth + 1)


def _tensors_in(content: Any, path: Path) -> dict[str, Tensor]:
    """The flattened tensors of what a file holds.

    content: of the file, as torch.load or safetensors gives it. Raises NotTensors where that is no dictionary, and for
    tensors whose numbers are not in the file as they are: sparse, nested, quantised, on the meta device, or far larger
    than the file.
    """
    if not isinstance(content, Mapping):
        raise NotTensors(f"a pickle of one {type(content).__name__} instead of named tensors")
    flat = flatten(cast("Mapping[str, Any]", content))
    largest = max(path.stat().st_size, _LARGEST)
    for key, tensor in flat.items():
        is_special = tensor.is_nested or tensor.is_meta or tensor.is_quantized
        lies_in_file = tensor.layout is torch.strided and not is_special
        if not lies_in_file or tensor.numel() * tensor.element_size() > largest:
            shape = "nested" if tensor.is_nested else tuple(tensor.shape)  # a nested one has a shape for each part
            kind = f"{tensor.layout} of {tensor.dtype}, shape {shape}"
            raise NotTensors(f"a pickle whose tensor {key[:100]} does not lie in it ({kind})")
    return flat


def least_and_largest(values: Tensor) -> tuple[float, float]:
    """The least and the largest number of a tensor.

    Both are NaN where one number is NaN and for complex numbers, which have no order, and 0 for an empty tensor.
    """
    if values.is_complex():
        return math.nan, math.nan
    if not values.numel():
        return 0.0, 0.0
    # torch's aminmax does not know floats of 8 bits and some whole numbers: these become float32.
    comparable = values if values.is_floating_point() and values.element_size() > 1 else values.float()
    least, largest = comparable.aminmax()
    return float(least), float(largest)


def check_all_floats(state: State) -> None:
    """Raise ValueError, naming a tensor, unless all tensors hold floats: networks would take whole and complex numbers
    for weights without a word."""
    for key, tensor in state.items():
        if not tensor.is_floating_point() or tensor.dtype is _TWO_IN_A_BYTE:
            raise ValueError(f"{key[:100]} holds numbers of type {tensor.dtype} instead of float")


def check_weights(state: State) -> None:
    """Raise ValueError unless tensors can be the weights of a network.

    Refused are more tensors than any network has, other numbers than floats, NaN, infinity, and numbers that half
    precision does not hold. Reads all of the tensors: a second for 2 GB.
    """
    if len(state) > _MOST:
        raise ValueError(f"it holds {len(state)} tensors where no such network has {_MOST}")
    check_all_floats(state)
    for key, tensor in state.items():
        for end in least_and_largest(tensor):
            if not abs(end) <= _GREATEST:  # NaN is not below anything
                raise ValueError(f"{key[:100]} holds {end:g} where weights reach {_GREATEST:g} at most")


def require_unquantised(state: State, path: str, expected: str, advice: str) -> None:
    """Raise UnsupportedCheckpoint for weights with scales beside them, in a file that is whole.

    expected, advice: as of UnsupportedCheckpoint.
    """
    if any(map(_QUANTISED.search, state)):
        what = "a file of quantised weights (8 bits or fewer, with scales beside them)"
        raise UnsupportedCheckpoint(path, what, expected, f"Take the file in 16 bits. {advice}")


def check_pairs(state: State) -> None:
    """Raise ValueError, naming a layer, unless each "<layer>_lora.down.weight" has its "<layer>_lora.up.weight", and
    the other way round, and their shapes fit. The host would leave out such a layer without a word."""
    halves = [key for key in state if "_lora." in key and key.endswith((".down.weight", ".up.weight"))]
    for layer in dict.fromkeys(key.rpartition("_lora.")[0] for key in halves):  # each once
        up = state.get(f"{layer}_lora.up.weight")
        down = state.get(f"{layer}_lora.down.weight")
        if up is None or down is None or not _multiply(up, down):
            up_shape = None if up is None else tuple(up.shape)
            down_shape = None if down is None else tuple(down.shape)
            raise ValueError(f"{layer[:100]} has a LoRA of shapes {up_shape} and {down_shape}, up and down")


def _multiply(up: Tensor, down: Tensor) -> bool:
    """Whether two matrices, (out, rank) and (rank, in), have the same rank, which is not 0."""
    if up.ndim != 2 or down.ndim != 2:
        return False
    rank = len(down)
    return rank > 0 and up.shape[1] == rank


def below(prefix: str, state: State) -> dict[str, Tensor]:
    """The entries whose keys start with `prefix`, without it."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
