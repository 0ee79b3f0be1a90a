"""Model files are read into tensors, and networks are put into the ModelPatchers of the host's memory management."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from torch import Tensor, nn

from ...core.checks.errors import ModelMissing, UnsupportedCheckpoint
from ...core.checks.memory import is_out_of_memory
from ...core.checks.names import ending
from ...core.checks.text import in_one_line
from ...core.methods import Method
from ...core.models import licences, manifest, model_folders, tensors
from ...core.models.files import SAFETENSORS, is_safetensors
from ...core.models.formats import recognised, require
from ...core.models.manifest import Model
from . import folders, host_version, notes

NetT = TypeVar("NetT", bound=Any)


def read_state_dict(path: str, expected: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a file, nested dictionaries flattened. Raises as core.models.tensors.read."""
    return tensors.read(Path(path), expected, advice, _load_as_host)


def _load_as_host(path: Path) -> Any:
    """The contents of a file, read by the host's loader where it can, because that one maps files into memory or not as
    the user has set it.

    Two kinds of files are read by our own loader: those whose ending does not fit their contents, because the host goes
    by the ending, and those whose name is not UTF-8, because safetensors takes no such name.
    """
    has_fitting_ending = (ending(path.name) in SAFETENSORS) == is_safetensors(path)
    if has_fitting_ending and tensors.has_name_in_utf_8(path):
        return comfy.utils.load_torch_file(str(path), safe_load=True)
    return tensors.load(path)


def in_patcher(build: Callable[..., nn.Module], state: Mapping[str, Tensor]) -> comfy.model_patcher.ModelPatcher:
    """A new network with these weights, frozen and in eval mode, in a ModelPatcher of the host's memory management.

    build: called as build(ops=..., device=..., dtype=...), it gives the network without weights. state: the weights, by
    the names of the network's parameters. Raises what torch raises unless names and shapes are those of the network.
    """
    dtype = comfy.utils.weight_dtype(dict(state))
    patcher = in_memory_management(
        lambda offload_device: build(ops=comfy.ops.manual_cast, device=offload_device, dtype=dtype),
        comfy.model_management.get_torch_device(),
    )
    module = patcher.model
    # A dynamic patcher wants the file's own tensors, which may be mapped from the disk, as parameters: `assign`.
    # 0.3.64 has no is_dynamic: then bool() is called instead, which is False.
    assign = getattr(patcher, "is_dynamic", bool)()
    module.load_state_dict(dict(state), strict=True, assign=assign)
    module.eval().requires_grad_(False)
    return patcher


def in_memory_management(
    build: Callable[[torch.device], nn.Module], device: torch.device
) -> comfy.model_patcher.ModelPatcher:
    """A module in a ModelPatcher of the host's memory management, for the host to load to a device.

    build: makes it on the device where the host puts aside what it does not need.
    """
    # Looked up at call time: with DynamicVRAM the host rebinds the class at start-up, 0.3.64 has only the plain one.
    patcher_class = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    offload = comfy.model_management.unet_offload_device()
    return patcher_class(build(offload), load_device=device, offload_device=offload)


def _try_out(network: Callable[..., Any], state: Mapping[str, Tensor]) -> None:
    """Run a network once on the device "meta", which has shapes and computes nothing, to see whether its layers fit.

    Raises what torch raises where the tensors of a file do not fit each other. Loading them does not find that out:
    each tensor fits its own layer, and yet a layer may give another width than the next one takes.
    network, state: as in Published.build, without the LoRA.
    """
    zeros = partial(torch.zeros, device="meta", dtype=torch.float32)
    trial = network(state, ops=comfy.ops.manual_cast, device="meta", dtype=torch.float32)
    trial_state = {key: zeros(tensor.shape) for key, tensor in state.items()}
    trial.load_state_dict(trial_state, strict=True, assign=True)
    trial.try_out(zeros)


def on_device(patcher: comfy.model_patcher.ModelPatcher, inputs: Tensor) -> Tensor:
    """The inputs as float32 on the device of a network, which is loaded there. Such networks are small and run once."""
    comfy.model_management.load_model_gpu(patcher)
    return inputs.to(patcher.load_device, torch.float32)


@dataclass(frozen=True)
class Loaded(Generic[NetT]):
    """A method's file that has been loaded.

    patcher: its network. The host finds it by the name of this field, to count its memory. lora: the tensors of the
    LoRA that is part of the file, as bridge.loras.adapter_files reads them; empty for a file without one. method_title:
    of the method whose file it is, for messages.
    """

    method_title: ClassVar[str] = ""
    patcher: comfy.model_patcher.ModelPatcher
    lora: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def net(self) -> NetT:
        return self.patcher.model

    @property
    def width(self) -> int:
        """The width of one token: the text width of the models this file is made for."""
        return self.net.width

    def on_device(self, inputs: Tensor) -> Tensor:
        return on_device(self.patcher, inputs)


@dataclass(frozen=True)
class Published:
    """A method's own weights: one file, one network.

    method: its title. file_in_words: what the file is, such as "InstantID adapter". model: the published file, or
    the first of several. formats: ids of the formats that the file may have. host: as in Method.
    """

    method: str
    file_in_words: str
    model: Model
    formats: tuple[str, ...]
    host: str

    @classmethod
    def of_method(cls, method: Method, file_in_words: str) -> "Published":
        """The weights of a method, by its record. Raises BadRecord where the manifest lacks its first file."""
        formats = tuple(file_format.id for file_format in method.formats)
        return cls(method.title, file_in_words, manifest.model(method.files[0]), formats, method.host)

    @property
    def key(self) -> str:
        return self.model.key

    def named(self, file: str) -> Model:
        """The method's published file with the name of `file`, whatever its folder and capitals.

        Where no published file has that name, it is `model`, the first one.
        """
        return manifest.publication(file, (self.key,)) or self.model

    def path(self, file: str) -> str:
        """Full path of the file that was chosen. Raises ModelMissing, UnsafePath, DeadLink.

        First the method's folders are searched for the chosen name. If it is not there, but is the name of a published
        file (whatever its folder and capitals), all model folders are searched for that file under any name: it is
        recognised by its contents.
        """
        path = folders.find(file, self.key)
        if path is not None:
            return path
        published = manifest.publication(file, (self.key,))
        path_elsewhere = model_folders.elsewhere(published, folders.folders_by_key()) if published else None
        if path_elsewhere is None:
            folders.refuse_dead_link(file, self.key)
            searched = folders.folders(self.key)
            model = published or self.model
            file_names = [file or model.name]
            raise ModelMissing(
                f"The {self.file_in_words}", file_names, searched, model.url, model.size_text, "File (file)"
            )
        return str(path_elsewhere)

    def chosen(self, file: str) -> str:
        """Full path of the file that was chosen, as `path` gives it.

        A note under the node says so where the file lies elsewhere or under another name.
        """
        path = self.path(file)
        if folders.find(file, self.key) is None:
            note = f"{file} is not in models/{self.key}. Loaded instead, as its contents are the same: {path}"
            notes.tell(note)
        return path

    def read(self, path: str) -> dict[str, Tensor]:
        """The tensors of a file, after checks of its format and of the host.

        Raises UnsupportedCheckpoint for a format that is none of `formats`, BadSetup for a file that needs a newer
        host, and what reading the file raises.
        """
        advice = self._advice_on(path)
        state = read_state_dict(path, self._expected_at(path), advice)
        title = None  # a single format has a title of its own
        if len(self.formats) > 1:
            article = "an" if self.file_in_words[0] in "AEIOU" else "a"
            title = f"{article} {self.file_in_words}"
        file_format = require(state, self.formats, path, advice, title)
        of_family = f" for {file_format.family}" if file_format.host else ""
        host_version.require_host(file_format.host or self.host, f"{self.method}'s file{of_family}")
        return state

    def build(
        self, path: str, network: Callable[..., nn.Module], state: dict[str, Tensor]
    ) -> comfy.model_patcher.ModelPatcher:
        """The method's network with the weights of a file, in a ModelPatcher.

        network: called as network(state, ops=..., device=..., dtype=...), it gives the network without weights. That
        has a method try_out(zeros), which lets zeros(shape...) through every layer once. state: the tensors of the
        file; those of its LoRA are checked too, and left out of the network. Raises UnsupportedCheckpoint for tensors
        that are missing, damaged or of other sizes.
        """
        network_state = {key: tensor for key, tensor in state.items() if "_lora." not in key}
        try:
            tensors.check_weights(state)
            tensors.check_pairs(state)
            _try_out(network, network_state)
            return in_patcher(partial(network, network_state), network_state)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            damage = f"an incomplete or damaged {self.method} file ({in_one_line(error)})"
            raise UnsupportedCheckpoint(path, damage, self._expected_at(path), self._advice_on(path)) from error

    def _expected_at(self, path: str) -> str:
        model = self.named(os.path.basename(path))
        return f"the {self.file_in_words} ({model.name})"

    def _advice_on(self, path: str) -> str:
        model = self.named(os.path.basename(path))
        return f"{self.method}'s own file is {model.name} from {model.page}; it belongs in models/{self.key}."


@dataclass(frozen=True)
class FileLoader:
    """How a method's own file is loaded, whatever node asks for it.

    published: its published files. load_file: called with a path, gives what travels on the method's socket.
    """

    published: Published
    load_file: Callable[[str], Any]

    def load(self, path: str) -> Any:
        """What travels on the method's socket, loaded from the file at `path`.

        Where the file's licence does not allow commercial use, a note under the node says so; not for the demo's
        stand-ins. Raises what load_file raises, such as UnsupportedCheckpoint.
        """
        loaded = self.load_file(path)
        file_format, _ = recognised(Path(path))
        if file_format is not None and not manifest.is_standin(path):
            notes.tell(licences.note(file_format.id))
        return loaded
