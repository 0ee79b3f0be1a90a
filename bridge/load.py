"""Files to tensors and networks to ModelPatchers, as the host's memory management wants them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor, nn

from ..core.errors import ModelMissing, UnsupportedCheckpoint
from ..core.methods import FOLDERS, BadRecord, Method
from ..core.models import elsewhere, manifest, tensors
from ..core.models.files import SAFETENSORS
from ..core.models.formats import require
from ..core.models.manifest import Model
from ..core.names import ending, same_name
from ..core.text import in_one_line
from . import folders, notes
from .transformers.networks import require_dits

NetT = TypeVar("NetT", bound=Any)


def read_state_dict(path: str, expected: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a file, nested dictionaries flattened. Raises as core.models.tensors.read."""
    return tensors.read(Path(path), expected, advice, _loaded)


def _loaded(path: Path) -> Any:
    """As the host loads, which maps files into memory or not as its user chose; but it goes by the file's name."""
    if ending(path.name) not in SAFETENSORS and tensors.is_safetensors(path):
        return tensors.load(path)
    return comfy.utils.load_torch_file(str(path), safe_load=True)


def in_patcher(build: Callable[..., nn.Module], state: Mapping[str, Tensor]) -> comfy.model_patcher.ModelPatcher:
    """Build a network for these weights and hand it to the host's memory management.

    build(ops=..., device=..., dtype=...) -> module; every weight of `state` must fit exactly (strict).
    """
    # Looked up at call time: with DynamicVRAM the host rebinds the class at start-up, 0.3.64 has only the plain one.
    patcher_class = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    offload = comfy.model_management.unet_offload_device()
    module = build(ops=comfy.ops.manual_cast, device=offload, dtype=comfy.utils.weight_dtype(dict(state)))
    patcher = patcher_class(module, load_device=comfy.model_management.get_torch_device(), offload_device=offload)
    assign = getattr(patcher, "is_dynamic", bool)()
    module.load_state_dict(dict(state), strict=True, assign=assign)
    module.eval().requires_grad_(False)
    return patcher


def _try_out(network: Callable[..., Any], state: Mapping[str, Tensor]) -> None:
    """Each tensor may be whole and yet not fit the others. On this device nothing is computed."""
    zeros = partial(torch.zeros, device="meta")
    trial = network(state, ops=comfy.ops.manual_cast, device="meta", dtype=torch.float32)
    trial.load_state_dict({key: zeros(tensor.shape) for key, tensor in state.items()}, strict=True, assign=True)
    trial.try_out(zeros)


def on_device(patcher: comfy.model_patcher.ModelPatcher, inputs: Tensor) -> Tensor:
    """Load the network and move its input beside it, as float32: these networks are small and run once."""
    comfy.model_management.load_model_gpu(patcher)
    return inputs.to(patcher.load_device, torch.float32)


@dataclass(frozen=True)
class Loaded(Generic[NetT]):
    """A method's file on the host, which finds its network by the name `patcher`.

    lora: the LoRA that is part of the file, as bridge.lora reads it.
    """

    patcher: comfy.model_patcher.ModelPatcher
    lora: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def net(self) -> NetT:
        return self.patcher.model

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.net.width

    def beside(self, inputs: Tensor) -> Tensor:
        """Inputs on the network's device, which is loaded, as float32."""
        return on_device(self.patcher, inputs)


@dataclass(frozen=True)
class Published:
    """A method's own weights: one file, one network.

    what: the file in words. model: the file of a method that has one, of several the first. formats: what may be
    in the file, where it is read here.
    """

    method: str
    what: str
    model: Model
    formats: tuple[str, ...] = ()

    @classmethod
    def of(cls, method: Method, what: str) -> "Published":
        """Raises BadRecord unless its first file is in the manifest, under the method's key."""
        model = next((one for one in manifest.models() if (one.id, one.key) == (method.files[0], method.key)), None)
        if model is None:
            why = f"models_manifest.json has no {method.files[0]} with the key {method.key}"
            raise BadRecord(FOLDERS / method.folder / "method.json", why)
        return cls(method.title, what, model, tuple(one.id for one in method.formats))

    @property
    def key(self) -> str:
        """The model key, also the folder's name."""
        return self.model.key

    def named(self, file: str) -> Model:
        """The published file of that name. Of another name: the method's first."""
        published = (model for model in manifest.models() if model.key == self.key and same_name(model.name, file))
        return next(published, self.model)

    def path(self, file: str) -> str:
        """Full path of the file that was chosen. Raises ModelMissing, UnsafePath, DeadLink.

        A published name, which every workflow has, also stands for the file under another name or in another
        model folder: its contents tell.
        """
        path, model = folders.find(file, self.key), self.named(file)
        if path is None and same_name(file, model.name):
            path = elsewhere.elsewhere(model, folders.of_models())
        if path is None:
            folders.refuse_dead_link(file, self.key)
            searched = folders.folders(self.key)
            raise ModelMissing(f"The {self.what}", [file or model.name], searched, model.url, model.size_text)
        return str(path)

    def chosen(self, file: str, node_id: str | None) -> str:
        """The same; the node that loads it is told where that is something else than the file that was chosen."""
        path = self.path(file)
        if folders.find(file, self.key) is None:
            other = f"{file} is not in models/{self.key}. Loaded instead, as its contents are the same: {path}"
            notes.tell(node_id, other)
        return path

    def read(self, path: str) -> dict[str, Tensor]:
        """The tensors of a file. Raises UnsupportedCheckpoint."""
        expected, advice = self._wanted(path)
        state = read_state_dict(path, expected, advice)
        title = f"{'an' if self.what[0] in 'AEIOU' else 'a'} {self.what}" if len(self.formats) > 1 else None
        require(state, self.formats, path, advice, title)
        return state

    def build(
        self, path: str, network: Callable[..., nn.Module], state: dict[str, Tensor]
    ) -> comfy.model_patcher.ModelPatcher:
        """network(state, ops=..., device=..., dtype=...) of tensors that `read` has found, without a LoRA among them.

        It has a method try_out(zeros), which lets zeros(shape...) through every layer once. Raises
        UnsupportedCheckpoint.
        """
        own = {key: tensor for key, tensor in state.items() if "_lora." not in key}
        try:
            tensors.check_weights(state)
            tensors.check_pairs(state)
            _try_out(network, own)
            return in_patcher(partial(network, own), own)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            what = f"an incomplete or damaged {self.method} file ({in_one_line(error)})"
            raise UnsupportedCheckpoint(path, what, *self._wanted(path)) from error

    def _wanted(self, path: str) -> tuple[str, str]:
        """What is expected of a file, and where to get it. Of several published files: the one of its name."""
        model = self.named(os.path.basename(path))
        advice = f"{self.method}'s own file is {model.name} from {model.page}; it belongs in models/{self.key}."
        return f"the {self.what} ({model.name})", advice


@dataclass(frozen=True)
class FileLoader:
    """How a method's own file is loaded, whatever node asks for it.

    published: the files. made: (path, **further inputs) -> what travels on. inputs: the further ones, optional.

    licence: said under the node where the weights may not be used freely. newer: whether ComfyUI 0.33 is needed.
    """

    published: Published
    made: Callable[..., Any]
    inputs: tuple[io.WidgetInput, ...] = ()
    licence: str = ""
    newer: bool = False

    def load(self, path: str, node: str | None, **given: Any) -> Any:
        """What travels on; given: inputs of any method's loader. Raises UnsupportedCheckpoint."""
        if self.newer:
            require_dits(f"{self.published.method}'s file")
        loaded = self.made(path, **{one.id: given.get(one.id, one.default) for one in self.inputs})
        notes.tell(node, self.licence)
        return loaded
