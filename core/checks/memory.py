"""Memory: on what device tensors are made, and errors that say that it has run out."""

import errno
import re
from contextlib import AbstractContextManager, nullcontext

import torch

_PAGE_FILE_TOO_SMALL = 1455
"""Windows's number of the error for it."""
_WORDS = re.compile(
    r"out of memory"  # CUDA, ROCm, MPS
    r"|can(?:no|')t allocate memory"  # the CPU; a mapped file
    r"|not enough memory"  # the CPU, on Windows
    rf"|error (?:code: <)?{_PAGE_FILE_TOO_SMALL}\b"  # a mapped file, on Windows
    r"|STATUS_ALLOC_FAILED"  # cuBLAS
    r"|failed to allocate memory"  # onnxruntime
    r"|bad.alloc",  # C++
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: it says nothing about the file or the function then.

    For most devices torch has no class of its own for it, but raises RuntimeError. Texts of LookupError, TypeError and
    ValueError are not looked at: they quote names out of the file.
    """
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or getattr(error, "winerror", None) == _PAGE_FILE_TOO_SMALL
    return not isinstance(error, (LookupError, TypeError, ValueError)) and bool(_WORDS.search(str(error)))


def tensors_on_cpu() -> AbstractContextManager[object]:
    """A context in which a tensor is made on the CPU where no device is named, also where another pack has called
    torch.set_default_device. Kinds of numbers are named at each tensor: their default is one for all threads."""
    # Inside such a context every call of torch is slower.
    is_switched = torch.get_default_device().type != "cpu"
    return torch.device("cpu") if is_switched else nullcontext()
