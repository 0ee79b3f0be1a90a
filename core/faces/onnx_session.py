"""An ONNX file run by onnxruntime, for those who have that package and choose it. It is imported nowhere else.

Nothing here is needed: onnx_network.py runs the same files in torch. Both read and give the same tensors.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..checks.errors import LikenessError, UnsupportedCheckpoint, listed
from ..checks.memory import is_out_of_memory
from ..checks.text import in_one_line

AUTO = "auto"


class _Provider(NamedTuple):
    """A provider of onnxruntime. names: what onnxruntime calls it, of which the first that is there is taken. package:
    on PyPI, which has it."""

    names: tuple[str, ...]
    package: str


_PROVIDERS = {
    "CPU": _Provider(("CPUExecutionProvider",), "onnxruntime"),
    "CUDA": _Provider(("CUDAExecutionProvider",), "onnxruntime-gpu"),
    "CoreML": _Provider(("CoreMLExecutionProvider",), "onnxruntime"),
    "DirectML": _Provider(("DmlExecutionProvider",), "onnxruntime-directml"),
    "ROCm": _Provider(("ROCMExecutionProvider", "MIGraphXExecutionProvider"), "onnxruntime-rocm"),
    "OpenVINO": _Provider(("OpenVINOExecutionProvider",), "onnxruntime-openvino"),
    "MIGraphX": _Provider(("MIGraphXExecutionProvider",), "onnxruntime-migraphx"),
}
"""What the menu calls a provider -> the provider."""
PROVIDERS = (AUTO, *_PROVIDERS)
_AUTO_ORDER = ("CUDA", "MIGraphX", "ROCm", "DirectML", "CoreML", "CPU")


class NoOnnxRuntime(LikenessError):
    """onnxruntime, or the provider that was chosen, is not there."""

    def __init__(self, problem: str, provider: str) -> None:
        package = "onnxruntime-gpu (NVIDIA) or onnxruntime"
        if provider in _PROVIDERS:
            package = _PROVIDERS[provider].package
        super().__init__(
            problem,
            f"In Load Face Embedder set Backend (backend) to torch, which needs nothing and finds the same faces; or "
            f"install the package with ComfyUI's Python: pip install {package}.",
        )


def resolved(provider: str) -> str:
    """The name that onnxruntime has for the provider of a word of PROVIDERS.

    AUTO stands for the first of _AUTO_ORDER that this onnxruntime has. Raises NoOnnxRuntime where the package cannot be
    imported or has no such provider; the error names the words of PROVIDERS that it has.
    """
    available: Sequence[str] = _onnxruntime(provider).get_available_providers()
    words = _AUTO_ORDER if provider == AUTO else (provider,)
    for word in words:
        for name in _PROVIDERS[word].names:
            if name in available:
                return name
    available_words = [word for word, each in _PROVIDERS.items() if not set(each.names).isdisjoint(available)]
    problem = f"The onnxruntime in ComfyUI's Python has no provider {provider}; it has {listed(available_words)}."
    raise NoOnnxRuntime(problem, provider)


def _onnxruntime(provider: str) -> Any:
    """The package onnxruntime, imported. provider: of which the message speaks. Raises NoOnnxRuntime."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise NoOnnxRuntime("onnxruntime is not installed in ComfyUI's Python.", provider) from error
    except Exception as error:  # a library of it that does not load fails in ways of its own
        problem = f"onnxruntime is installed in ComfyUI's Python and cannot be imported: {in_one_line(error)}."
        raise NoOnnxRuntime(problem, provider) from error
    return onnxruntime


def opened(
    path: str, name: str, picture_shape: Sequence[int], output_sizes: Sequence[int]
) -> Callable[[Tensor], list[Tensor]]:
    """A file as a function of a picture, (1, 3, H, W) float32 -> its outputs as float32 tensors on the CPU.

    The file is tried once with a picture of zeros, and onnxruntime's reports to Microsoft are switched off.
    name: of the provider, see `resolved`. picture_shape: of a picture to try the file with. output_sizes: how many
    numbers each output must have for that picture. Raises NoOnnxRuntime where the provider does not start, and
    UnsupportedCheckpoint for another network.
    """
    session = _session(path, name)
    picture = session.get_inputs()[0]
    dtype = np.float16 if picture.type == "tensor(float16)" else np.float32

    def run(pixels: Tensor) -> list[Tensor]:
        """The outputs for one picture, (1, 3, H, W)."""
        values = pixels.detach().cpu().numpy().astype(dtype)
        feed = {picture.name: np.ascontiguousarray(values)}
        outputs: Sequence[Any] = session.run(None, feed)  # None: all outputs of the file
        return [torch.as_tensor(output).float() for output in outputs]

    try:
        actual_sizes = [output.numel() for output in run(torch.zeros(*picture_shape, dtype=torch.float32))]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _unusable(path, in_one_line(error)) from error
    if actual_sizes != list(output_sizes):
        raise _unusable(path, f"it gives {listed(actual_sizes)} numbers instead of {listed(output_sizes)}")
    return run


def _session(path: str, name: str) -> Any:
    """The InferenceSession of a file on one provider. Arguments and errors are those of `opened`."""
    runtime = _onnxruntime(_word(name))
    if hasattr(runtime, "disable_telemetry_events"):
        runtime.disable_telemetry_events()  # on Windows onnxruntime would report its use to Microsoft
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: its warnings name every operator that stays on the CPU
    if name == "DmlExecutionProvider":
        options.enable_mem_pattern = False  # DirectML does not support memory patterns
    try:
        session: Any = runtime.InferenceSession(path, options, providers=[name])
    except Exception as error:  # onnxruntime has errors of its own, for each kind of damage
        if is_out_of_memory(error):
            raise
        raise _unusable(path, in_one_line(error)) from error
    # Where a library of the provider is missing, onnxruntime goes on with the CPU and says so on the console alone.
    if name not in session.get_providers():
        raise NoOnnxRuntime(f"onnxruntime could not start its {name}, of which a library is missing.", _word(name))
    return session


def _word(name: str) -> str:
    """The word of the menu for a provider. name: what onnxruntime calls it."""
    return next(word for word, provider in _PROVIDERS.items() if name in provider.names)


def _unusable(path: str, why: str) -> UnsupportedCheckpoint:
    """The error for an ONNX file that onnxruntime does not run as a face network."""
    problem = f"an ONNX file that onnxruntime cannot run ({why})"
    return UnsupportedCheckpoint(path, problem, "a face detector or recogniser", "Choose another pack.")
