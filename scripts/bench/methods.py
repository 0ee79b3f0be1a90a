"""Every method once: what its own nodes hand to the sampler for so many people, to be counted.

In the host's networks at any size, without weights worth the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.samplers
import comfy.supported_models
import environment
import lora_made
import parts_made
import people_made
import tiny_encoders
import tiny_sd15
import tiny_sdxl
import torch
import torch.nn.functional as functional
from counting import LiveBytes, counting
from pack.bridge.runs import patched
from pack.bridge.schedule import WHOLE_SCHEDULE
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts, share_with
from pack.bridge.unet import attention_layers, grids, transformers
from pack.core.attention import Block
from pack.core.parts.bank import PartWeights, token_mask, tokens_inside
from pack.core.people import Lora, PlacedCast, RowCast
from pack.nodes.adapters import LOADERS
from pack.nodes.extension import NODES
from rig import adapters, shapes
from rig.standins import nested, save
from standins_made import Weights
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

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
    (1024, 1024),
)
SD15 = Family(
    "sd15",
    comfy.supported_models.SD15,
    tiny_sd15.HOST_CONFIG | {"model_channels": 320, "channel_mult": [1, 2, 4, 4], "context_dim": 768},
    tiny_sd15.HOST_CONFIG | {"context_dim": 768},
    {"num_heads": 8},
    (512, 768),
)


def unet(family: Any, shape: Mapping[str, Any], dtype: Any) -> Any:
    """The host's model of one of its families, in shapes alone."""
    with torch.device("meta"):
        return family({**shape, "dtype": dtype}).get_model({}, device="meta")


def hollow(module: Any) -> Any:
    """A network made on no device, as one on the CPU whose weights are a single number each in memory."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = torch.nn.Parameter(torch.zeros((), dtype=tensor.dtype).expand(tensor.shape), False)
    return module.eval()


def shapes_alone(module: Any) -> None:
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
    model = unet(family.config, family.shape, dtype)
    net = comfy.cldm.cldm.ControlNet(
        **{key: n for key, n in family.shape.items() if key not in ("out_channels", "transformer_depth_output")},
        **family.heads, hint_channels=3, dtype=dtype, device="meta", operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    for made in (model, net):
        hollow(made)
    model.model_sampling = comfy.model_base.model_sampling(model.model_config, model.model_type)
    for made in (model.diffusion_model, net):
        shapes_alone(made)
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    return Networks(family, patcher, comfy.controlnet.ControlNet(net, load_device=cpu), family.size)


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


# --- The methods


class Applied(NamedTuple):
    """What the sampler is connected to. rows: of the batch. size: of the picture, where it is another."""

    model: Any
    positive: Any
    negative: Any
    rows: int = 1
    size: tuple[int, int] | None = None


Apply = Callable[[Networks, int], Applied]


def placed(on: Networks, people: int) -> PlacedCast:
    """A cast, half length beside each other, however small."""
    width, height = on.size
    head, y = min(width / people, height) / 3, height / 3
    slots = [people_made.standing(width / people * (number + 0.5), y, head) for number in range(people)]
    return PlacedCast(tuple(people_made.person(n, slot=slot) for n, slot in enumerate(slots, 1)), width, height)


def connected(on: Networks, kind: str, file: str = "", **given: Any) -> Applied:
    """What one of our nodes gives that is connected to all that its inputs are named after. file: of FILES, by which
    a method is loaded."""
    there = {
        "model": on.model, **on.sides(), "control_net": on.net, "clip": encoder(on.text), "vae": Autoencoder(),
        "clip_vision": parts_made.clip_vision(1024, 1280, 224), "lora_weight": 0.0, "start_percent": 0.0,
    }  # fmt: skip
    there |= {FILES[file][0]: on.loaded(file)} if file else {}
    schema = OURS[kind].define_schema()
    own = {one.id: there[one.id] for one in schema.inputs if one.id in there}
    outputs = zip((one.id.removesuffix("_out") for one in schema.outputs), run(kind, **{**own, **given}), strict=True)
    model, positive, negative = map({"model": on.model, **dict(outputs)}.__getitem__, ("model", "positive", "negative"))
    return Applied(model, positive, negative)


@cache
def encoder(width: int) -> Any:
    """Of texts, with tokens as wide as this."""
    return tiny_encoders.sd1(width) if width == tiny_encoders.SD15 else tiny_encoders.sdxl()


def with_cast(kind: str, file: str = "", more: Callable[[PlacedCast], dict[str, Any]] | None = None) -> Apply:
    """By a node that takes a cast. more: what else is connected to it."""

    def apply(on: Networks, people: int) -> Applied:
        cast = placed(on, people)
        return connected(on, kind, file, cast=cast, **(more(cast) if more else {}))

    return apply


def unpatched(on: Networks, _people: int) -> Applied:
    return Applied(on.model, **on.sides())


def control_net(on: Networks, _people: int) -> Applied:
    """As the host's Apply ControlNet puts it in."""
    hint = torch.rand(1, 3, *on.size[::-1], generator=torch.Generator().manual_seed(3))
    said = {"control": on.net.copy().set_cond_hint(hint, 0.8, (0.0, 1.0)), "control_apply_to_uncond": False}
    positive, negative = ([[text, {**options, **said}] for text, options in side] for side in on.sides().values())
    return Applied(on.model, positive, negative)


def id_patch(on: Networks, people: int, cast: Any = None) -> Applied:
    given = {"cast": cast or placed(on, people), "id_start_percent": 0.0, "model": None}
    applied = connected(on, "LikenessApplyIDPatch", "id-patch", **given)
    # Without a MODEL the node gives none.
    return Applied(on.model, applied.positive, applied.negative)


def id_tokens_by_region(on: Networks, people: int) -> Applied:
    return connected(on, "LikenessApplyIDPatch", "id-patch", cast=placed(on, people), id_start_percent=0.0)


def style(on: Networks, people: int) -> Applied:
    """A style of their own each: a node per person."""
    cast, applied = placed(on, people), unpatched(on, people)
    image = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(5))
    for who in range(1, people + 1):
        before = {"model": applied.model, "positive": applied.positive, "negative": applied.negative}
        given = {**before, "images": image, "cast": cast, "who": str(who), "end_percent": 1.0}
        applied = connected(on, "LikenessStylePerPerson", "ip-adapter-plus_sdxl_vit-h", **given)
    return applied


def keypoints(cast: PlacedCast) -> dict[str, Any]:
    return {"image": run("LikenessDrawSkeletons", cast=cast, draw="face keypoints")[0]}


def bodies(cast: PlacedCast) -> dict[str, Any]:
    people = len(cast.people)
    pictures = torch.rand(people, 64, 64, 3, generator=torch.Generator().manual_seed(4))
    return {"bodies": pictures, "body_masks": torch.ones(people, 64, 64)}


def words(cast: PlacedCast) -> dict[str, Any]:
    text = ", ".join(["a person img"] * len(cast.people))
    return {"text": text, "trigger": "img"}


def prompts(cast: PlacedCast) -> dict[str, Any]:
    """A text of the usual length for each."""
    return {"prompts": "\n".join(f"{who}: {'very ' * who}happy" for who in range(1, len(cast.people) + 1))}


def lora_per_person(words: str = "", rank: int = 16) -> Apply:
    """A LoRA on attention and feed-forward layers for each, and words that belong to it."""

    def apply(on: Networks, people: int) -> Applied:
        cast, loras = placed(on, people), (Lora(_lora(on.model, rank), 1.0, words),)
        each = (replace(one, identity=replace(one.identity, loras=loras)) for one in cast.people)
        return connected(on, "LikenessLoRAPerPerson", cast=replace(cast, people=tuple(each)))

    return apply


@cache
def _lora(model: Any, rank: int) -> str:
    return lora_made.file(model, words=(".to_", ".ff."), rank=rank, dtype=torch.float16)


def garment(on: Networks) -> Any:
    """(height, width): it covers a fifth of its picture, in a box around it that is a quarter."""
    width, height = on.size
    sides = [torch.linspace(-1, 1, side // 2) for side in (height, width)]
    y, x = torch.meshgrid(*sides, indexing="ij")
    mask = functional.pad((y**2 + x**2 < 1).float(), (0, width - width // 2, 0, height - height // 2))
    return mask.roll((height // 4, width // 4), (0, 1))


def share_parts(crop: bool = False, every: int = 1) -> Apply:
    def apply(on: Networks, count: int) -> Applied:
        (width, height), parts = on.size, None
        for number in range(count):
            picture = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(number))
            more = {} if parts is None else {"parts": parts}
            parts = run("LikenessPart", image=picture, mask=garment(on)[None], **more)[0]
        given = {"parts": parts, "width": width, "height": height, "crop_to_mask": crop, "renew_every": every}
        return connected(on, "LikenessSharePartsAttention", **given)

    return apply


def parts2whole(on: Networks, count: int) -> Applied:
    """As Apply Parts2Whole puts what its reference UNet has seen, random here, without their image tokens."""
    unet, bank = on.model.model.diffusion_model, dict[Block, list[Any]]()
    at, mask = grids(unet, on.size[1] // 8, on.size[0] // 8), garment(on)
    for name, number, index, layer in transformers(unet):
        tokens, width = at[name, number][0] * at[name, number][1], layer.attn1.to_q.in_features
        states = normal(number, tokens, width)
        bank[name, number, index] = [tokens_inside(token_mask(mask, tokens), states).of(states)] * count
    weights, source = PartWeights([1.0] * count), object()
    sides = (SharedParts(source, WHOLE_SCHEDULE, tokens, weights) for tokens in (bank, None))
    pairs = zip(on.sides().values(), sides, strict=True)
    return Applied(patched(on.model, SharingRun), *(share_with(text, one) for text, one in pairs))


def second_pass(on: Networks, people: int) -> Applied:
    """A row per face of three quarters of the picture's side, with ID-Patch."""
    on = on.at(*(round(0.75 * side / 8) * 8 for side in on.size))
    one = placed(on, 1).people[0]
    cast = RowCast(tuple(people_made.person(number, slot=one.slot) for number in range(people)), *on.size)
    return id_patch(on, people, cast)._replace(rows=people, size=on.size)


def sampled(on: Networks, applied: Applied, steps: int, **more: Any) -> Any:
    """The latent after so many of the host's Euler steps with CFG. more: of the host's sampler."""
    width, height = applied.size or on.size
    start = normal(7, applied.rows, 4, height // 8, width // 8) * 14
    sampling = applied.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
    return tiny_sdxl.host_sample(applied.model, start, sigmas, applied.positive, applied.negative, **more)


@dataclass(frozen=True)
class Counted:
    """Of one step after the first. tflop: operations, 1e12. peak, kept: MiB beside the weights, the most at any moment
    and what stays from step to step."""

    tflop: float
    peak: float
    kept: float


def counted(on: Networks, applied: Applied, steps: int = 2) -> Counted:
    """Of the last of these steps. on: for_counting."""
    return counted_sampling(partial(sampled, on, applied, steps))


def counted_sampling(sample: Callable[..., Any]) -> Counted:
    """Of the last step of a sampling of at least two. sample: does it, and calls its `callback` after each step."""
    moments: list[tuple[int, int, int]] = []
    with LiveBytes("cpu") as memory, counting() as counter:

        def note(*_: Any) -> None:
            moments.append((counter.get_total_flops(), memory.peak, memory.live))
            memory.peak = memory.live

        sample(callback=note)
    (before, _, kept), (after, peak, _) = moments[-2:]
    return Counted((after - before) / 1e12, peak / 2**20, kept / 2**20)


class Method(NamedTuple):
    """apply: by its nodes. families: of UNets that it is counted on. most: people, or parts, beyond which there are
    none."""

    apply: Apply
    families: tuple[str, ...] = ("sdxl",)
    most: int = 12


BOTH = ("sdxl", "sd15")
METHODS: dict[str, Method] = {
    "control_net": Method(control_net, BOTH, most=1),
    "id_patch": Method(id_patch),
    "id_tokens_by_region": Method(id_tokens_by_region),
    "instant_id": Method(with_cast("LikenessApplyInstantID", "instant-id", keypoints)),
    "ip_adapter_faceid": Method(with_cast("LikenessApplyIPAdapter", "ip-adapter-faceid_sdxl"), BOTH),
    "ip_adapter_plus": Method(with_cast("LikenessApplyIPAdapter", "ip-adapter-plus_sdxl_vit-h"), BOTH),
    "ip_adapter_full_face": Method(with_cast("LikenessApplyIPAdapter", "ip-adapter-full-face_sd15"), ("sd15",)),
    "story_maker": Method(with_cast("LikenessApplyStoryMaker", "mask", bodies)),
    "photo_maker": Method(with_cast("LikenessApplyPhotoMaker", "photomaker-v1", words)),
    "style_per_person": Method(style),
    "prompt_per_person": Method(with_cast("LikenessPromptPerPerson", more=prompts), BOTH),
    "lora_per_person": Method(lora_per_person()),
    "lora_per_person_rank_64": Method(lora_per_person(rank=64), most=4),
    "lora_per_person_with_words": Method(lora_per_person("a red coat"), most=4),
    "share_parts": Method(share_parts(), BOTH, most=8),
    "share_parts_cropped": Method(share_parts(crop=True), most=8),
    "share_parts_every_2nd_step_cropped": Method(share_parts(True, 2), families=()),
    "parts2whole": Method(parts2whole, ("sd15",), most=6),
    "second_pass": Method(second_pass),
}
"""Every method by its name."""
Line = dict[str, Any]
"""A figure, by the names that are printed as JSON."""
STEPS = 20 / 30
"""Of a pass over a face, for each step of the picture."""


def count(families: Sequence[Family] = (SDXL, SD15), numbers: Sequence[int] = (1, 2, 4, 8, 12)) -> Iterator[Line]:
    """What a step of the picture costs for so many people, passes over faces spread over its steps."""
    for family in families:
        on = for_counting(family)
        plain = counted(on, unpatched(on, 0))
        for name, method in METHODS.items():
            if family.name not in method.families:
                continue
            environment.say(f"Counting {name} on {family.name}.")
            for people in numbers:
                if people > method.most:
                    continue
                found = counted(on, method.apply(on, people))
                step = plain.tflop + STEPS * found.tflop if name == "second_pass" else found.tflop
                yield line(family.name, name, people, step, found, plain)


def line(family: str, method: str, people: int, step: float, found: Counted, plain: Counted) -> Line:
    """One figure as it is printed. step: of the picture, in TFLOP. found: a call of the model in it. plain: without
    people."""
    return {
        "name": f"people_{family}_{method}_{people}",
        "family": family,
        "method": method,
        "people": people,
        "ours": step,
        "peer": plain.tflop,
        "unit": "TFLOP",
        "ratio": round(step / plain.tflop, 4),
        "call_tflop": round(found.tflop, 6),
        "peak_mib": round(found.peak),
        "kept_mib": round(found.kept),
        "plain_peak_mib": round(plain.peak),
    }
