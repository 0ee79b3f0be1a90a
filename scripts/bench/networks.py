"""The host's networks at any size, without weights worth the name: to count what they do, or to time it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import tiny_sd15
import tiny_sdxl
import torch
from pack.bridge.unet import attention_layers
from pack.nodes.adapters import LOADERS
from pack.nodes.extension import NODES
from rig import adapters, shapes
from rig.standins import nested, save
from standins_made import Weights
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from bench.measure import TINY

OURS = {node.define_schema().node_id: node for node in NODES}
COUNTING = FakeTensorMode(allow_non_fake_inputs=True)
"""In which tensors have shapes and no numbers."""


def run(node: str, **given: Any) -> tuple[Any, ...]:
    """The outputs of one of our nodes; what is not given is what a new node has."""
    node_class = OURS[node]
    inputs = [one for one in node_class.define_schema().inputs if not one.optional]
    return node_class.execute(**{**{one.id: _value(one) for one in inputs if one.id not in given}, **given}).args


def _value(one: Any) -> Any:
    default = getattr(one, "default", None)
    return one.options[0] if default is None and getattr(one, "options", None) else default


@dataclass(frozen=True, eq=False)
class Family:
    """What the host calls one, its shape, the same as small as in tests, how its ControlNet counts heads, and the
    (width, height) of a picture."""

    name: str
    config: Any
    shape: Mapping[str, Any]
    tiny: Mapping[str, Any]
    heads: Mapping[str, int]
    size: tuple[int, int]

    @property
    def used(self) -> Mapping[str, Any]:
        return self.tiny if TINY else self.shape


SDXL = Family(
    "sdxl",
    comfy.supported_models.SDXL,
    tiny_sdxl.HOST_CONFIG
    | {
        "model_channels": 320,
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
    },
    tiny_sdxl.HOST_CONFIG,
    {"num_heads": -1, "num_head_channels": 64},
    (256, 256) if TINY else (1024, 1024),
)
SD15 = Family(
    "sd15",
    comfy.supported_models.SD15,
    tiny_sd15.HOST_CONFIG | {"model_channels": 320, "channel_mult": [1, 2, 4, 4], "context_dim": 768},
    tiny_sd15.HOST_CONFIG | {"context_dim": 768},
    {"num_heads": 8},
    (256, 256) if TINY else (512, 768),
)


def unet(family: Any, shape: Mapping[str, Any], device: Any, dtype: Any) -> Any:
    """The host's model of one of its families; on a real device with random weights."""
    with torch.device(device):
        return _with_weights(family({**shape, "dtype": dtype}).get_model({}, device=device), device)


def control_net(family: Family, device: Any, dtype: Any) -> Any:
    """The network of a ControlNet; on a real device with random weights."""
    shape = {key: n for key, n in family.used.items() if key not in ("out_channels", "transformer_depth_output")}
    with torch.device(device):
        net = comfy.cldm.cldm.ControlNet(
            **shape, **family.heads, hint_channels=3, dtype=dtype, device=device,
            operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
    return _with_weights(net, device)


def _with_weights(module: Any, device: Any) -> Any:
    if str(device) != "meta":
        spread(module)
    return module


def spread(module: Any) -> None:
    """Weights random, always the same, with the spread that keeps activations at their size."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5)
        elif parameter.dim() == 1:
            parameter.data.fill_(float(name.endswith("weight")))  # of a norm
    module.eval().requires_grad_(False)


def hollow(module: Any) -> Any:
    """A network made on no device, as one on the CPU whose weights are a single number each in memory."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = torch.nn.Parameter(torch.zeros((), dtype=tensor.dtype).expand(tensor.shape), False)
    return module.eval()


def _shapes_alone(module: Any) -> None:
    """Whatever a hollow network is given, it computes in shapes alone; what comes out of it is zeros."""
    forward = module.forward

    def counted(*given: Any, **named: Any) -> Any:
        with COUNTING:
            out = forward(*given, **named)
        return tree_map_only(torch.Tensor, lambda x: torch.zeros(x.shape, dtype=x.dtype), out)

    module.forward = counted


@dataclass
class Networks:
    """A UNet and a ControlNet in the host, and what else the nodes of a method are connected to. size: (width, height)
    of the picture."""

    family: Family
    model: Any
    net: Any
    size: tuple[int, int]
    _loaded: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def text(self) -> int:
        """Width of a token."""
        return self.model.model.model_config.unet_config["context_dim"]

    def sides(self, tokens: int = 77) -> dict[str, Any]:
        """Positive and negative."""
        more = ({"pooled_output": normal(51, 1, 1280)}, {"pooled_output": normal(52, 1, 1280)})
        return {
            name: [[normal(n, 1, tokens, self.text), pooled if self.family.name == SDXL.name else {}]]
            for n, (name, pooled) in enumerate(zip(("positive", "negative"), more, strict=True), 1)
        }

    def at(self, width: int, height: int) -> Networks:
        return Networks(self.family, self.model, self.net, (width, height), self._loaded)

    def loaded(self, file: str) -> Any:
        """A key of FILES, by its method's loader. One at a time: of real size each takes gigabytes."""
        if file not in self._loaded:
            self._loaded.clear()
            folder, contents = FILES[file]
            # Of every cross-attention layer.
            unet = adapters.UNet(self.text, tuple(width for *_, width in attention_layers(self.model)))
            with TemporaryDirectory() as root:
                save(path := Path(root) / "bench.bin", nested(Weights(torch.float16).fill(contents(unet))))
                self._loaded[file] = LOADERS[folder].load(str(path), None)
        return self._loaded[file]


def for_counting(family: Family) -> Networks:
    """As ComfyUI would have them on a CPU, with room for any size: nothing is computed and no weight takes memory."""
    dtype = torch.float16
    model, net = unet(family.config, family.used, "meta", dtype), control_net(family, "meta", dtype)
    for made in (model, net):
        hollow(made)
    model.model_sampling = comfy.model_base.model_sampling(model.model_config, model.model_type)
    for made in (model.diffusion_model, net):
        _shapes_alone(made)
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    return Networks(family, patcher, comfy.controlnet.ControlNet(net, load_device=cpu), family.size)


def for_timing() -> Networks:
    """SDXL with random weights in half precision, always the same, on the GPU where there is one."""
    device = comfy.model_management.get_torch_device()
    model, net = unet(SDXL.config, SDXL.used, device, torch.float16), control_net(SDXL, device, torch.float16)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
    return Networks(SDXL, patcher, comfy.controlnet.ControlNet(net, load_device=device), SDXL.size)


def normal(seed: int, *shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- What the nodes of a method are connected to


class Autoencoder:
    """In the place of a VAE: a latent of the size of a picture."""

    def encode(self, pictures: Any) -> Any:
        return normal(9, len(pictures), 4, pictures.shape[1] // 8, pictures.shape[2] // 8)


def _instant_id(unet: adapters.UNet) -> shapes.Shapes:
    yield from shapes.under("image_proj", shapes.of("queries", width=64, inputs=512, text=unet.text))
    yield from adapters.layers(unet)


FILES: dict[str, tuple[str, Callable[[adapters.UNet], shapes.Shapes]]] = {
    "id-patch": ("id_patch", lambda _: shapes.of("id-patch")),
    "instant-id": ("instant_id", _instant_id),
    **{
        name: ("ip_adapter", partial(adapters.PUBLISHED[name][1], depth=1))
        for name in ("ip-adapter-faceid_sdxl", "ip-adapter-plus_sdxl_vit-h", "ip-adapter-full-face_sd15")
    },
    "mask": ("story_maker", partial(adapters.PUBLISHED["mask"][1], depth=1)),
    "photomaker-v1": ("photo_maker", lambda _: shapes.of("photomaker-v1", count=2)),
}
"""What is loaded: the method's folder, as its input is called, and what is in the file as published, for a UNet; of
what only makes the tokens of people one layer, or two, as no step computes it."""
