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
    """Whether an error says that memory has run out. Such an error is no fault of the file or the function.

    For most devices torch has no class for such errors: it raises RuntimeError, so the text is searched for _WORDS.
    Texts of LookupError, TypeError and ValueError are not searched: they quote names out of the file.
    """
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or getattr(error, "winerror", None) == _PAGE_FILE_TOO_SMALL
    may_quote_names = isinstance(error, (LookupError, TypeError, ValueError))
    return not may_quote_names and bool(_WORDS.search(str(error)))


def tensors_on_cpu() -> AbstractContextManager[object]:
    """A context in which tensors are made on the CPU where no device is named, even if another pack has called
    torch.set_default_device.

    It sets no default dtype, which would count for all threads: our code names the dtype of each tensor instead.
    """
    # A context of torch.device makes every call of torch slower, so it is entered only where it is needed.
    is_switched = torch.get_default_device().type != "cpu"
    return torch.device("cpu") if is_switched else nullcontext()
