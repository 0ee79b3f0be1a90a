"""Every method on UNets: what its own nodes hand to the sampler for so many people, to be counted or timed.

In the host's networks at any size, with random weights or as shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.samplers
import comfy.supported_models
import torch
import torch.nn.functional as functional
from pack.bridge.control_nets.sdxl_net import TokenNetwork
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.host.unet import attention_widths, grids, transformers
from pack.bridge.parts.shared_parts import SharedParts, share_with
from pack.bridge.parts.sharing_run import SHARED_PARTS
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.bridge.sampling.on_model import with_kinds
from pack.core.attention.cross_attention import Block
from pack.core.cast import Lora, Member, PlacedCast, RowCast
from pack.core.parts.bank import PartWeights, token_mask, tokens_inside
from pack.nodes.adapters import LOADERS
from pack.nodes.extension import NODES
from shared import adapters, shapes
from shared.standins import Weights, nested, save
from tiny import lora_made, people_made, tiny_encoders
from tiny.seeded import normal
from tiny.tiny_networks import NETWORKS, host_sample
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from bench.figures import Applied, Way

OURS = {node.define_schema().node_id: node for node in NODES}
COUNTING = FakeTensorMode(allow_non_fake_inputs=True)
"""In which tensors have shapes and no numbers."""


def run(node: str, **inputs: Any) -> tuple[Any, ...]:
    """The outputs of one of our nodes. inputs: all others are as in a new node."""
    node_class = OURS[node]
    values: dict[str, Any] = {}
    for slot in node_class.define_schema().inputs:
        if not slot.optional:
            values[slot.id] = _value(slot)
    return node_class.execute(**{**values, **inputs}).args


def _value(slot: Any) -> Any:
    """What an input of a new node has."""
    default = getattr(slot, "default", None)
    if default is None and getattr(slot, "options", None):
        return slot.options[0]
    return default


@dataclass(frozen=True, eq=False)
class Family:
    """What the host calls one, its title in a table, its shape, the same as small as in tests, how its ControlNet
    counts heads, and the (width, height) of a picture."""

    name: str
    title: str
    config: Any
    shape: Mapping[str, Any]
    tiny: Mapping[str, Any]
    heads: Mapping[str, int]
    size: tuple[int, int]


SDXL = Family(
    "sdxl",
    "SDXL at 1024 px",
    comfy.supported_models.SDXL,
    NETWORKS["SDXL"]
    | {
        "model_channels": 320,
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
    },
    NETWORKS["SDXL"],
    {"num_heads": -1, "num_head_channels": 64},
    (1024, 1024),
)
SD15 = Family(
    "sd15",
    "SD1.5 at 512x768",
    comfy.supported_models.SD15,
    NETWORKS["SD1.5"] | {"model_channels": 320, "channel_mult": [1, 2, 4, 4], "context_dim": 768},
    NETWORKS["SD1.5"] | {"context_dim": 768},
    {"num_heads": 8},
    (512, 768),
)


def tiny(family: Family) -> Family:
    """The family as narrow as in the tests and as deep as published: other packs count its layers."""
    narrow = {name: family.tiny[name] for name in ("model_channels", "channel_mult")}
    return replace(family, shape={**family.shape, **narrow}, size=(128, 128))


def unet(family: Any, shape: Mapping[str, Any], dtype: Any) -> Any:
    """The host's model of one of its families, in shapes alone."""
    with torch.device("meta"):
        return family({**shape, "dtype": dtype}).get_model({}, device="meta")


def hollow(module: Any) -> None:
    """Make a network that is on no device one on the CPU whose weights are a single number each in memory."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = torch.nn.Parameter(torch.zeros((), dtype=tensor.dtype).expand(tensor.shape), False)
    module.eval()


def _have_one_shape(tensor: Any, other: Any) -> bool:
    return tensor.shape == other.shape


def shapes_alone(module: Any) -> None:
    """Whatever a hollow network is given, it computes in shapes alone; what comes out of it is zeros.

    What is kept from step to step is known again by shapes.
    """
    kind = type(module)

    # A class: parts are recorded without what stands on the network itself in the place of its methods. It goes by the
    # name of the network's own: the pack refuses networks of classes that it does not know.
    class InShapes(kind):
        __module__ = kind.__module__
        __qualname__ = kind.__qualname__
        forward = in_shapes(kind.forward)

    module.__class__ = InShapes


def in_shapes(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that computes in shapes alone; what comes out of it is zeros."""

    def of_shapes(*inputs: Any, **named: Any) -> Any:
        with COUNTING, patch.object(torch, "equal", _have_one_shape):
            out = forward(*inputs, **named)
        return tree_map_only(torch.Tensor, lambda x: torch.zeros(x.shape, dtype=x.dtype), out)

    return of_shapes


@dataclass
class Networks:
    """A UNet and a ControlNet in the host, and what else the nodes of a method are connected to. size: (width, height)
    of the picture. files: the last of the methods' files that was loaded, by its name in the tables of shapes."""

    family: Family
    model: Any
    net: Any
    size: tuple[int, int]
    files: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def text(self) -> int:
        """Width of a token."""
        return self.model.model.model_config.unet_config["context_dim"]

    @property
    def title(self) -> str:
        return self.family.title

    def plain(self) -> Applied:
        """Without people."""
        return Applied(self.model, **self.sides())

    def sampled(self, applied: Applied, steps: int, **options: Any) -> Any:
        """The latent after so many of the host's Euler steps with CFG. options: of the host's sampler."""
        width, height = applied.size or self.size
        start = normal(7, applied.rows, 4, height // 8, width // 8) * 14
        sampling = applied.model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
        return host_sample(applied.model, start, sigmas, applied.positive, applied.negative, **options)

    def sides(self, tokens: int = 77) -> dict[str, Any]:
        """Positive and negative."""
        prompts: dict[str, Any] = {}
        for seed, name in enumerate(("positive", "negative"), 1):
            options = {"pooled_output": normal(50 + seed, 1, 1280)} if self.family.name == SDXL.name else {}
            prompts[name] = [[normal(seed, 1, tokens, self.text), options]]
        return prompts

    def resized(self, width: int, height: int) -> Networks:
        return replace(self, size=(width, height))

    def loaded(self, file: str) -> Any:
        """A key of FILES, by its method's loader. One at a time: of real size each takes gigabytes."""
        if file not in self.files:
            self.files.clear()
            folder, contents = FILES[file]
            # Of every cross-attention layer.
            unet = adapters.UNet(self.text, tuple(attention_widths(self.model)))
            self.files[file] = file_loaded(folder, nested(Weights(torch.float16).fill(contents(unet))))
        return self.files[file]


class HollowNetworks(Networks):
    """Networks in shapes alone."""

    def sampled(self, applied: Applied, steps: int, **options: Any) -> Any:
        # The host calls it in the place of the ControlNet's own forward, which is in shapes alone by itself.
        with patch.object(TokenNetwork, "__call__", in_shapes(TokenNetwork.__call__)):
            return super().sampled(applied, steps, **options)


def file_loaded(method: str, state: dict[str, Any]) -> Any:
    """What the loader of a method, by its folder, makes of a file of these tensors."""
    with TemporaryDirectory() as root:
        save(path := Path(root) / "bench.bin", state)
        return LOADERS[method].load(str(path))


def _control_net(family: Family, dtype: torch.dtype, device: Any) -> Any:
    """The host's ControlNet of a UNet."""
    shape = {key: n for key, n in family.shape.items() if key not in ("out_channels", "transformer_depth_output")}
    return comfy.cldm.cldm.ControlNet(
        **shape, **family.heads, hint_channels=3, dtype=dtype, device=device, operations=comfy.ops.disable_weight_init
    )


def for_counting(family: Family) -> HollowNetworks:
    """As ComfyUI would have them on a CPU, with room for any size: nothing is computed and no weight takes memory."""
    dtype = torch.float16
    model = unet(family.config, family.shape, dtype)
    net = _control_net(family, dtype, "meta")
    for network in (model, net):
        hollow(network)
    model.model_sampling = comfy.model_base.model_sampling(model.model_config, model.model_type)
    for network in (model.diffusion_model, net):
        shapes_alone(network)
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    return HollowNetworks(family, patcher, comfy.controlnet.ControlNet(net, load_device=cpu), family.size)


def for_timing(family: Family, dtype: torch.dtype) -> Networks:
    """With random weights, loaded by the host to its own device."""
    device = comfy.model_management.get_torch_device()
    torch.manual_seed(0)
    model = family.config({**family.shape, "dtype": dtype}).get_model({}, device=device)
    filled(model.diffusion_model)
    net = filled(_control_net(family, dtype, device))
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))
    return Networks(family, patcher, comfy.controlnet.ControlNet(net, load_device=device), family.size)


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with random weights, small enough that fp16 does not overflow in it."""
    for name, weight in network.named_parameters():
        weight.requires_grad_(False)
        if weight.dim() > 1:
            weight.normal_(0.0, 0.5 / math.sqrt(weight[0].numel()))
        elif name.endswith("weight"):
            weight.fill_(1.0)
        else:
            weight.zero_()
    return network.eval()


def strips(people: int, width: int, height: int) -> Any:
    """Masks (people, height, width) that cover the picture, one beside the other."""
    masks = torch.zeros(people, height, width)
    for mask, columns in zip(masks, torch.arange(width).chunk(people), strict=True):
        mask[:, columns] = 1
    return masks


# --- What the nodes of a method are connected to


class Autoencoder:
    """In the place of a VAE: a latent of the size of a picture."""

    latent_channels = 4

    def encode(self, pictures: Any) -> Any:
        return normal(9, len(pictures), self.latent_channels, pictures.shape[1] // 8, pictures.shape[2] // 8)


def _instant_id(unet: adapters.UNet) -> shapes.Shapes:
    yield from shapes.under("image_proj", shapes.of("queries", width=64, inputs=512, text=unet.text))
    yield from adapters.layers(unet)


PULID_ENCODER = {"inside": 64, "states": 64, "seen": 544}
"""As `eyes_of_pulid` sees faces."""


def _pulid(unet: adapters.UNet) -> shapes.Shapes:
    yield from shapes.under("image_proj", shapes.of("pulid_former", text=unet.text, depth=1, **PULID_ENCODER))
    yield from adapters.layers(unet)


FILES: dict[str, tuple[str, Callable[[adapters.UNet], shapes.Shapes]]] = {
    "id-patch": ("id_patch", lambda _: shapes.of("id-patch")),
    "instant-id": ("instant_id", _instant_id),
    **{
        name: ("ip_adapter", partial(adapters.PUBLISHED[name][1], depth=1))
        for name in ("ip-adapter-faceid_sdxl", "ip-adapter-plus_sdxl_vit-h", "ip-adapter-full-face_sd15")
    },
    "photomaker-v1": ("photo_maker", lambda _: shapes.of("photomaker-v1", count=2)),
    "pulid": ("pulid", _pulid),
}
"""What is loaded: the method's folder, as its input is called, and what is in the file as published, for a UNet; of
what only makes the tokens of people one layer, or two, as no step computes it."""


# --- The methods


Apply = Callable[[Networks, int], Applied]


def placed(networks: Networks, people: int) -> PlacedCast:
    """A cast, half length beside each other, however small."""
    width, height = networks.size
    head, y = min(width / people, height) / 3, height / 3
    slots = [people_made.standing(width / people * (number + 0.5), y, head) for number in range(people)]
    return PlacedCast(tuple(people_made.a_member(n, slot=slot) for n, slot in enumerate(slots, 1)), width, height)


def connected(networks: Networks, kind: str, file: str = "", **inputs: Any) -> Applied:
    """What one of our nodes gives that is connected to all that its inputs are named after.

    file: of FILES, by which a method is loaded. inputs: those that have other values.
    """
    sources = {
        "model": networks.model,
        **networks.sides(),
        "control_net": networks.net,
        "clip": encoder(networks.text),
        "vae": Autoencoder(),
        "clip_vision": tiny_encoders.clip_vision(1024, 1280, 224),
        "lora_weight": 0.0,
        "start_percent": 0.0,
    }
    if file:
        folder, _ = FILES[file]
        sources[folder] = networks.loaded(file)
    schema = OURS[kind].define_schema()
    values: dict[str, Any] = {}
    for slot in schema.inputs:
        if slot.id in sources:
            values[slot.id] = sources[slot.id]
    outputs: dict[str, Any] = {"model": networks.model}
    for slot, output in zip(schema.outputs, run(kind, **{**values, **inputs}), strict=True):
        outputs[slot.id.removesuffix("_out")] = output
    return Applied(outputs["model"], outputs["positive"], outputs["negative"])


@cache
def encoder(width: int) -> Any:
    """Of texts, with tokens as wide as this."""
    return tiny_encoders.sd1(width) if width == tiny_encoders.SD15 else tiny_encoders.sdxl()


def with_cast(kind: str, file: str = "", extra: Callable[[PlacedCast], dict[str, Any]] | None = None) -> Apply:
    """By a node that takes a cast. extra: what else is connected to it."""

    def apply(networks: Networks, people: int) -> Applied:
        cast = placed(networks, people)
        inputs = extra(cast) if extra else {}
        return connected(networks, kind, file, cast=cast, **inputs)

    return apply


def control_net(networks: Networks, _people: int) -> Applied:
    """As the host's Apply ControlNet puts it in."""
    hint = torch.rand(1, 3, *networks.size[::-1], generator=torch.Generator().manual_seed(3))
    attached = {"control": networks.net.copy().set_cond_hint(hint, 0.8, (0.0, 1.0)), "control_apply_to_uncond": False}
    prompts: dict[str, Any] = {}
    for side, ((text, options),) in networks.sides().items():
        prompts[side] = [[text, {**options, **attached}]]
    return Applied(networks.model, **prompts)


def id_patch(networks: Networks, people: int, cast: Any = None) -> Applied:
    inputs = {"cast": cast or placed(networks, people), "id_start_percent": 0.0, "model": None}
    applied = connected(networks, "LikenessApplyIDPatch", "id-patch", **inputs)
    # Without a MODEL the node gives none.
    return Applied(networks.model, applied.positive, applied.negative)


def id_tokens_by_region(networks: Networks, people: int) -> Applied:
    return connected(networks, "LikenessApplyIDPatch", "id-patch", cast=placed(networks, people), id_start_percent=0.0)


def keypoints(cast: PlacedCast) -> dict[str, Any]:
    return {"image": run("LikenessDrawSkeletons", cast=cast, draw="face keypoints")[0]}


@cache
def eyes_of_pulid() -> dict[str, Any]:
    """EVA-CLIP and a face parser, both small: no step computes them."""
    weights = Weights(torch.float32)
    return {
        "eva_clip": file_loaded("pulid", weights.fill(shapes.of("eva-clip"))),
        "face_parser": file_loaded("pulid", weights.fill(shapes.of("face-parser"))),
    }


def words(cast: PlacedCast) -> dict[str, Any]:
    text = ", ".join(["a person img"] * len(cast.people))
    return {"text": text, "trigger": "img"}


def prompts(cast: PlacedCast) -> dict[str, Any]:
    """A text of the usual length for each."""
    lines: list[str] = []
    for number in range(1, len(cast.people) + 1):
        repeated = "very " * number
        lines.append(f"{number}: {repeated}happy")
    return {"prompts": "\n".join(lines)}


def lora_per_person(words: str = "", rank: int = 16) -> Apply:
    """A LoRA on attention and feed-forward layers for each, and words that belong to it."""

    def apply(networks: Networks, people: int) -> Applied:
        cast = placed(networks, people)
        loras = (Lora(_lora(networks.model, rank), 1.0, words),)
        members: list[Member] = []
        for member in cast.people:
            person = replace(member.person, loras=loras)
            members.append(replace(member, person=person))
        return connected(networks, "LikenessLoRAPerPerson", cast=replace(cast, people=tuple(members)))

    return apply


@cache
def _lora(model: Any, rank: int) -> str:
    return lora_made.file(model, words=(".to_", ".ff."), rank=rank, dtype=torch.float16)


def garment(networks: Networks) -> Any:
    """(height, width): it covers a fifth of its picture, in a box around it that is a quarter."""
    width, height = networks.size
    sides = [torch.linspace(-1, 1, side // 2) for side in (height, width)]
    y, x = torch.meshgrid(*sides, indexing="ij")
    mask = functional.pad((y**2 + x**2 < 1).float(), (0, width - width // 2, 0, height - height // 2))
    return mask.roll((height // 4, width // 4), (0, 1))


def share_parts(crop: bool = False, every: int = 1) -> Apply:
    """Garments, a picture each."""

    def apply(networks: Networks, count: int) -> Applied:
        width, height = networks.size
        parts = None
        for number in range(count):
            picture = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(number))
            earlier: dict[str, Any] = {} if parts is None else {"parts": parts}
            parts = run("LikenessPart", image=picture, mask=garment(networks)[None], **earlier)[0]
        inputs: dict[str, Any] = {
            "parts": parts,
            "width": width,
            "height": height,
            "crop_to_mask": crop,
            "renew_every": every,
        }
        return connected(networks, "LikenessSharePartsAttention", **inputs)

    return apply


def parts2whole(networks: Networks, count: int) -> Applied:
    """What Apply Parts2Whole hands over for so many parts: random numbers in the place of what a reference UNet saw.

    Without image tokens, which cost next to nothing.
    """
    unet = networks.model.model.diffusion_model
    width, height = networks.size
    sizes = grids(unet, height // 8, width // 8)
    mask = garment(networks)
    bank: dict[Block, list[Any]] = {}
    for name, number, index, layer in transformers(unet):
        rows, columns = sizes[name, number]
        tokens = rows * columns
        seen = normal(number, tokens, layer.attn1.to_q.in_features)
        # Every part is the same one, as it costs the same.
        bank[name, number, index] = tokens_inside(token_mask(mask, tokens)[None], seen).of(seen[None]) * count
    weights = PartWeights([1.0] * count, None)
    source = object()
    with_parts = SharedParts(source, WHOLE_SCHEDULE, bank, weights)
    without_parts = SharedParts(source, WHOLE_SCHEDULE, None, weights)
    sides = networks.sides()
    given = SamplerInputs(with_kinds(networks.model, SHARED_PARTS), sides["positive"], sides["negative"])
    shared = share_with(given, with_parts, without_parts)
    return Applied(shared.model, shared.positive, shared.negative)


def second_pass(networks: Networks, people: int) -> Applied:
    """A row per face of three quarters of the picture's side, with ID-Patch."""
    width, height = (round(0.75 * side / 8) * 8 for side in networks.size)
    networks = networks.resized(width, height)
    slot = placed(networks, 1).people[0].slot
    faces = tuple(people_made.a_member(number, slot=slot) for number in range(people))
    return id_patch(networks, people, RowCast(faces, width, height))._replace(rows=people, size=networks.size)


def with_passes(call: float, people: int) -> float:
    """A step of the picture, and its share of a pass of 20 steps over all faces, each a row of the batch."""
    return 1 + STEPS * call


BOTH = ("sdxl", "sd15")
ON_UNETS: dict[str, Way] = {
    "control_net": Way("a ControlNet", control_net, BOTH, most=1),
    "id_patch": Way("**ID-Patch**", id_patch),
    "id_tokens_by_region": Way("**ID-Patch** with ID tokens by region", id_tokens_by_region),
    "instant_id": Way("**InstantID**", with_cast("LikenessApplyInstantID", "instant-id", keypoints)),
    "pulid": Way("**PuLID**, 52 tokens", with_cast("LikenessApplyPuLID", "pulid", lambda _: eyes_of_pulid())),
    "ip_adapter_faceid": Way(
        "**IP-Adapter FaceID**", with_cast("LikenessApplyIPAdapter", "ip-adapter-faceid_sdxl"), BOTH
    ),
    "ip_adapter_plus": Way(
        "**IP-Adapter Plus**, 16 tokens", with_cast("LikenessApplyIPAdapter", "ip-adapter-plus_sdxl_vit-h"), BOTH
    ),
    "ip_adapter_full_face": Way(
        "**IP-Adapter full-face**, 257 tokens", with_cast("LikenessApplyIPAdapter", "ip-adapter-full-face_sd15"),
        ("sd15",),
    ),
    "photo_maker": Way("**PhotoMaker**", with_cast("LikenessApplyPhotoMaker", "photomaker-v1", words)),
    "prompt_per_person": Way(
        "**Prompt per Person**, 77 tokens each", with_cast("LikenessPromptPerPerson", extra=prompts), BOTH
    ),
    "lora_per_person": Way("**LoRA per Person**, rank 16", lora_per_person()),
    "lora_per_person_rank_64": Way("**LoRA per Person**, rank 64", lora_per_person(rank=64), most=4),
    "lora_per_person_with_words": Way(
        "**LoRA per Person**, rank 16, with trigger words", lora_per_person("a red coat"), most=4
    ),
    "share_parts": Way("**Share Parts Attention**, garments in place of people", share_parts(), BOTH, most=8),
    "share_parts_cropped": Way("**Share Parts Attention**, cropped to their masks", share_parts(crop=True), most=8),
    "share_parts_every_2nd_step_cropped": Way(
        "**Share Parts Attention**, cropped, every second step", share_parts(True, 2), families=()
    ),
    "parts2whole": Way("**Parts2Whole**, parts in place of people", parts2whole, ("sd15",), most=6),
    "second_pass": Way(
        "**second pass** with ID-Patch, all faces as rows of 768 px", second_pass, step=with_passes
    ),
}  # fmt: skip
"""Every method by its name."""
STEPS = 20 / 30
"""Of a pass over a face, for each step of the picture."""
