"""What other packs do to a MODEL: a function around it, and attention replaced under the keys that they use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any
from unittest.mock import patch

import comfy.controlnet
import comfy.ldm.flux.model
import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import optimized_attention
from pack.bridge.host.unet import transformers
from torch import Tensor

# A function around the MODEL: (apply_model, {"input", "timestep", "c", "cond_or_uncond"}) -> what apply_model returns


def around(model: Any, function: Callable[..., Tensor]) -> Any:
    clone = model.clone()
    clone.set_model_unet_function_wrapper(function)
    return clone


def inside(model: Any, function: Callable[..., Tensor]) -> Any:
    """The same around the UNet alone, the host's newer way: a DIFFUSION_MODEL wrapper."""

    def wrapper(executor: Any, x: Tensor, timesteps: Tensor, context: Tensor, y: Any, control: Any, options: Any, **c):
        def unet(x: Tensor, t: Tensor, c_crossattn: Tensor, y: Any = None, control: Any = None, **c: Any) -> Tensor:
            return executor(x, t, c_crossattn, y=y, control=control, **c)

        conditions = {"c_crossattn": context, "y": y, "control": control, "transformer_options": options, **c}
        present_conditions = {key: value for key, value in conditions.items() if value is not None}
        return function(unet, {"input": x, "timestep": timesteps, "c": present_conditions})

    wrapper.__module__ = __name__
    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "theirs", wrapper)
    return clone


class GivesLess:
    """A pack whose copy of a forward hands on less to what stands in layers than the host does, inside of ours.

    left_out: the name of what it does not hand on. seen: the names of all that is handed on.
    """

    def __init__(self, left_out: str = "") -> None:
        self.left_out = left_out
        self.seen: set[str] = set()

    def on(self, model: Any) -> Any:
        network = model.get_model_object("diffusion_model")
        forward = network._forward

        def copied(*args: Any, **named: Any) -> Tensor:
            return forward(*map(self._handed_on, args), **{name: self._handed_on(one) for name, one in named.items()})

        def wrapper(apply_model: Any, given: dict[str, Any]) -> Tensor:
            with patch.object(network, "_forward", copied):
                return apply_model(given["input"], given["timestep"], **given["c"])

        return around(model, wrapper)

    def _handed_on(self, value: Any) -> Any:
        """Of transformer_options a copy that gives less."""
        return self._options(value) if isinstance(value, dict) else value

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        options = dict(options)
        replacements: dict[str, dict[Any, Any]] = {}
        for kind, functions in options.get("patches_replace", {}).items():
            replacements[kind] = {place: self._with_less(function) for place, function in functions.items()}
        options["patches_replace"] = replacements
        if "optimized_attention_override" in options:
            options["optimized_attention_override"] = self._with_less(options["optimized_attention_override"])
        return options

    def _with_less(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            return function(*[self._less(value) for value in args], **self._less(kwargs))

        return called

    def _less(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        self.seen |= {name for name in value if isinstance(name, str) and not name.startswith("likeness")}
        return {name: one for name, one in value.items() if name != self.left_out}


def krea_2_edit(model: Any) -> Any:
    """As the node of Identity Edit: a forward of its own, under a key of transformer_options."""
    clone = model.clone()
    wrappers = {comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL: {"krea2_edit": [lambda executor, *args: args[0]]}}
    clone.model_options["transformer_options"]["wrappers"] = wrappers
    return clone


def ic_light(model: Any) -> Any:
    """As IC-Light: the first convolution reads a lit picture beside the latent, by a patch that widens its weights."""
    layer = model.model.diffusion_model.input_blocks[0][0]
    generator = torch.Generator().manual_seed(83)
    change = torch.randn(layer.out_channels, 2 * layer.in_channels, 3, 3, generator=generator) * 0.05

    def with_picture(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        x = arguments["input"]
        picture = torch.ones_like(x).cumsum(dim=-1) / x.shape[-1]
        return apply_model(x, arguments["timestep"], **{**arguments["c"], "c_concat": picture})

    clone = around(model, with_picture)
    clone.add_patches({"diffusion_model.input_blocks.0.0.weight": ("diff", (change, {"pad_weight": True}))}, 1.0, 1.0)
    return clone


def one_by_one(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    """As for little memory: one row after the other, with its own line of every condition."""
    x, t, c = arguments["input"], arguments["timestep"], arguments["c"]
    rows = [slice(n, n + 1) for n in range(len(x))]
    return torch.cat([apply_model(x[row], t[row], **_rows(c, row, len(x))) for row in rows])


def reversed_rows(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    x, t, c = arguments["input"], arguments["timestep"], arguments["c"]
    order = torch.arange(len(x)).flip(0)
    return apply_model(x[order], t[order], **_rows(c, order, len(x)))[order]


def in_tiles(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    """The left and the right half of the picture in one batch, every condition repeated."""
    x, t, c = arguments["input"], arguments["timestep"], arguments["c"]
    left = x.shape[-1] // 2
    tile = x.shape[-1] - left
    repeated = {key: torch.cat([value, value]) if torch.is_tensor(value) else value for key, value in c.items()}
    out = apply_model(torch.cat([x[..., :tile], x[..., left:]]), torch.cat([t, t]), **repeated)
    return torch.cat([out[: len(x), ..., :left], out[len(x) :]], dim=-1)


def rows_of_tiles(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    def apart(x: Tensor, t: Tensor, **c: Any) -> Tensor:
        return one_by_one(apply_model, {"input": x, "timestep": t, "c": c})

    return in_tiles(apart, arguments)


def in_windows(model: Any, size: int) -> Any:
    """As AnimateDiff-Evolved samples a batch: some rows at a time, by a wrapper around all of a step.

    It writes to each net of a chain which rows it shows and of how many, and refuses nets that have no field for it.
    """

    def tell(net: Any, window: list[int], count: int) -> None:
        if net.previous_controlnet is not None:
            tell(net.previous_controlnet, window, count)
        if not hasattr(net, "sub_idxs"):
            raise ValueError(f"Control type {type(net).__name__} may not support required features")
        net.sub_idxs, net.full_latent_length = window, count

    def wrapper(executor: Any, network: Any, conds: Any, x: Tensor, timestep: Tensor, options: Any) -> list[Tensor]:
        of_windows: list[list[Tensor]] = []
        for rows in torch.arange(len(x)).split(size):
            window = rows.tolist()
            for entry in (entry for cond in conds for entry in cond if "control" in entry):
                tell(entry["control"], window, len(x))
            told = {**options["transformer_options"], "ad_params": {"sub_idxs": window}}
            shown = {**options, "transformer_options": told}
            of_windows.append(executor(network, conds, x[rows], timestep[rows], shown))
        return [torch.cat(parts) for parts in zip(*of_windows, strict=True)]

    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.CALC_COND_BATCH, "theirs", wrapper)
    return clone


class Stopped(Exception):
    """Another pack's error."""


def raising(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    """After a forward that has begun and ended."""
    apply_model(arguments["input"], arguments["timestep"], **arguments["c"])
    raise Stopped


def cancelling(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    """Somebody cancels the run."""
    apply_model(arguments["input"], arguments["timestep"], **arguments["c"])
    comfy.model_management.interrupt_current_processing()
    comfy.model_management.throw_exception_if_processing_interrupted()
    raise Stopped


def only_what_it_knows(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    c = arguments["c"]
    names_it_knows = ("c_concat", "c_crossattn", "y", "control", "transformer_options")
    conditions = {key: c[key] for key in names_it_knows if key in c}
    return apply_model(arguments["input"], arguments["timestep"], **conditions)


def its_own_options(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    c = arguments["c"]
    names_it_keeps = ("cond_or_uncond", "sigmas", "patches", "patches_replace")
    options = {key: value for key, value in c["transformer_options"].items() if key in names_it_keeps}
    return apply_model(arguments["input"], arguments["timestep"], **{**c, "transformer_options": options})


def one_by_one_where_it_knows(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    """Row by row, but everything else as a whole."""
    x, t, c = arguments["input"], arguments["timestep"], arguments["c"]
    results = list[Tensor]()
    for n in range(len(x)):
        row = slice(n, n + 1)
        text = {key: c[key][row] for key in ("c_crossattn", "y") if key in c}
        results.append(apply_model(x[row], t[row], **{**c, **text}))
    return torch.cat(results)


def _rows(c: dict[str, Any], row: Any, count: int) -> dict[str, Any]:
    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return [cut(element) for element in value]
        return value[row] if torch.is_tensor(value) and len(value) == count else value

    conditions_of_the_row = {key: cut(value) for key, value in c.items()}
    if "control" in c:
        conditions_of_the_row["control"] = {side: cut(several) for side, several in c["control"].items()}
    return conditions_of_the_row | {"transformer_options": dict(c["transformer_options"])}


# Object patches


_METHODS = {**vars(comfy.ldm.modules.attention.SpatialTransformer)}
TheirTransformer = type(
    "TheirTransformer",
    (torch.nn.Module,),
    {name: method for name, method in _METHODS.items() if not name.startswith("__")},
)


class TheirEngine:
    """As TensorRT's: a network in the place of the host's that is no module and has no layers."""

    __module__ = "pack_of_others.engine"

    def __init__(self, network: Any) -> None:
        self._network = network
        self.dtype = network.dtype

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._network(*args, **kwargs)

    def state_dict(self) -> dict[str, Tensor]:
        return {}


def with_engine(model: Any) -> Any:
    shell = copy(model.model)
    shell._modules = dict(shell._modules)
    object.__setattr__(shell, "diffusion_model", TheirEngine(shell._modules.pop("diffusion_model")))
    return comfy.model_patcher.ModelPatcher(shell, model.load_device, model.offload_device)


TheirFlux = type("TheirFlux", (comfy.ldm.flux.model.Flux,), {"__module__": "pack_of_others.flux"})


def with_their_classes(model: Any) -> Any:
    """As RES4LYF's patchers: a clone with the pack's own classes, which compute what the host's do."""
    clone = model.clone()
    network = model.get_model_object("diffusion_model")
    if isinstance(network, comfy.ldm.flux.model.Flux):
        clone.add_object_patch("diffusion_model.__class__", TheirFlux)
    for name, module in network.named_modules():
        if isinstance(module, comfy.ldm.modules.attention.SpatialTransformer):
            clone.add_object_patch(f"diffusion_model.{name}.__class__", TheirTransformer)
    clone.set_model_patch((TheirTransformer, called), "forward_timestep_embed_patch")
    return clone


def called(layer: Any, x: Tensor, emb: Any, context: Any, options: Any, *_: Any) -> Tensor:
    """The host's UNet has a patch that calls classes that it does not know."""
    return layer(x, context, options)


def with_copied_code(model: Any, hands_on: bool, steps_before: int = 0, last: int = 99) -> Any:
    """As packs that put copies of a part of the host's code into the network while it runs, some of which do not hand
    on what other nodes have put into it. steps_before: at which it runs as it is, as caches with a start_percent do.
    last: the step, from 1, behind which it runs so again, as with an end_percent."""
    network = model.get_model_object("diffusion_model")
    block = comfy.ldm.modules.attention.BasicTransformerBlock
    places = [(module, "forward") for module in network.modules() if isinstance(module, block)]
    places = places or [(network, "forward_orig")]
    steps: set[float] = set()

    def wrapper(apply_model: Any, given: dict[str, Any]) -> Tensor:
        steps.add(float(given["timestep"][0]))
        if not steps_before < len(steps) <= last:
            return apply_model(given["input"], given["timestep"], **given["c"])
        for module, name in places:
            setattr(module, name, _copied(getattr(module, name), hands_on))
        out = apply_model(given["input"], given["timestep"], **given["c"])
        for module, name in places:  # not where an error has been raised, as in many packs
            delattr(module, name)
        return out

    return around(model, wrapper)


def _copied(method: Callable[..., Any], hands_on: bool) -> Callable[..., Any]:
    def handed_on(value: Any) -> Any:
        if hands_on or not isinstance(value, dict):
            return value
        dropped = ("patches_replace", "optimized_attention_override")
        return {key: option for key, option in value.items() if key not in dropped}

    def copied(*args: Any, **named: Any) -> Any:
        return method(*map(handed_on, args), **{name: handed_on(value) for name, value in named.items()})

    return copied


class _BlocksInOne(torch.nn.Module):
    """All blocks of a Flux. It gives the picture and the text, as a double block does."""

    def __init__(self, double: torch.nn.ModuleList, single: torch.nn.ModuleList) -> None:
        super().__init__()
        self.double_blocks = double
        self.single_blocks = single

    def forward(self, img: Tensor, txt: Tensor, **given: Any) -> tuple[Tensor, Tensor]:
        for block in self.double_blocks:
            img, txt = block(img=img, txt=txt, **given)
        both = torch.cat([txt, img], dim=1)
        for block in self.single_blocks:
            both = block(both, **given)
        return both[:, txt.shape[1] :], both[:, : txt.shape[1]]


def with_blocks_in_one(model: Any) -> Any:
    """As First Block Cache of Comfy-WaveSpeed on a Flux: while it runs, one block that calls all of them."""
    network = model.get_model_object("diffusion_model")
    double = torch.nn.ModuleList([_BlocksInOne(network.double_blocks, network.single_blocks)])

    def wrapper(apply_model: Any, given: dict[str, Any]) -> Tensor:
        with (
            patch.object(network, "double_blocks", double),
            patch.object(network, "single_blocks", torch.nn.ModuleList()),
        ):
            return apply_model(given["input"], given["timestep"], **given["c"])

    return around(model, wrapper)


def without_the_first_step(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
    """As a cache of an earlier sampling, or guidance that begins with nothing: the MODEL is not called."""
    sigmas = arguments["c"]["transformer_options"]["sample_sigmas"]
    if arguments["timestep"][0] == sigmas[0]:
        return torch.zeros_like(arguments["input"])
    return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


class CacheBetweenSteps:
    """As First Block Cache of Comfy-WaveSpeed: its own `_forward`, which gives the last answer where the input is much
    as before. calls: how often it was called. hits: how often it computed nothing."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.calls = 0
        self.hits = 0
        self._input: Tensor | None = None
        self._answer: Tensor | None = None

    def on(self, model: Any) -> Any:
        network = model.get_model_object("diffusion_model")
        own_forward = network._forward

        def forward(x: Tensor, *arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self._input is not None and self._input.shape == x.shape and self._is_near(x, self._input):
                self.hits += 1
                return self._answer
            self._input = x
            self._answer = own_forward(x, *arguments, **named)
            return self._answer

        def wrapper(apply_model: Any, given: dict[str, Any]) -> Tensor:
            network._forward = forward
            try:
                return apply_model(given["input"], given["timestep"], **given["c"])
            finally:
                del network._forward

        return around(model, wrapper)

    def _is_near(self, x: Tensor, before: Tensor) -> bool:
        return float((x - before).abs().max() / before.abs().max()) < self._tolerance


# Attention


class Attn2Replace:
    """As in IPAdapter_plus, InstantID and PuLID: what it adds to a layer's attention."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        return optimized_attention(q, k, v, extra_options["n_heads"]) + self.amount * q


def adapter_pack(model: Any) -> Any:
    """In every layer, under the keys of those packs."""
    clone = model.clone()
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        clone.set_model_attn2_replace(Attn2Replace(0.05), name, number, index)
    return clone


# Attention with texts of its own


def halves(width: int, height: int) -> Tensor:
    """Two regions of a picture of this size in px."""
    left = torch.zeros(height, width)
    left[:, : width // 2] = 1
    return torch.stack([left, 1 - left])


def _weights_of_pixels(regions: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """How much each region counts at each pixel of the layer: (regions, 1, pixels, 1)."""
    size = tuple(extra_options["activations_shape"][-2:])
    return torch.nn.functional.interpolate(regions[None], size=size).flatten(2)[0, :, None, :, None]


def couple(model: Any, regions: Tensor, texts: list[Tensor], of_one_length: bool = False) -> Any:
    """As ppm's attention couple: an attn2 patch makes a row per region of each positive row, and an output patch makes
    one of them again. The first region reads what the sampler's positive says, the others a text of `texts` each.
    of_one_length: whether all have to be of one length."""
    count = len(regions)

    def patch(n: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        sides = extra_options["cond_or_uncond"]
        length = k.shape[1] if of_one_length else math.lcm(k.shape[1], *(text.shape[1] for text in texts))
        rows = list[Tensor]()
        texts_of_rows = list[Tensor]()
        for side, x, own_text in zip(sides, n.chunk(len(sides)), k.chunk(len(sides)), strict=True):
            region_texts = [text.to(own_text).expand(len(x), -1, -1) for text in texts]
            repeated_texts = [text.repeat(1, length // text.shape[1], 1) for text in (own_text, *region_texts)]
            if side:
                rows.append(x)
                texts_of_rows.append(repeated_texts[0])
            else:
                rows.append(x.repeat(count, 1, 1))
                texts_of_rows.append(torch.cat(repeated_texts))
        return torch.cat(rows), torch.cat(texts_of_rows), torch.cat(texts_of_rows)

    def merged(out: Tensor, extra_options: dict[str, Any]) -> Tensor:
        sides = extra_options["cond_or_uncond"]
        weights = _weights_of_pixels(regions, extra_options)
        rows_of_a_picture = [1 if side else count for side in sides]
        pictures = len(out) // sum(rows_of_a_picture)
        rows_of_sides = out.split([pictures * rows for rows in rows_of_a_picture])
        merged_sides = list[Tensor]()
        for side, rows in zip(sides, rows_of_sides, strict=True):
            if side:
                merged_sides.append(rows)
            else:
                rows_by_region = rows.unflatten(0, (count, -1))
                merged_sides.append((rows_by_region * weights.to(rows)).sum(dim=0))
        return torch.cat(merged_sides)

    clone = model.clone()
    clone.set_model_attn2_patch(patch)
    clone.set_model_attn2_output_patch(merged)
    return clone


def couple_in_place(model: Any, regions: Tensor, positive: list[Tensor], negative: list[Tensor]) -> Any:
    """As laksjdjf's attention couple: in place of attention, with the texts that the node was given."""
    clone = model.clone()
    layers = transformers(model.get_model_object("diffusion_model"))

    def place(module: Any) -> Callable[..., Tensor]:
        def attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
            sides = extra_options["cond_or_uncond"]
            merged_sides = list[Tensor]()
            for side, x in zip(sides, q.chunk(len(sides)), strict=True):
                texts = negative if side else positive
                results = list[Tensor]()
                for text in texts:
                    keys = module.to_k(text.to(x)).expand(len(x), -1, -1)
                    values = module.to_v(text.to(x)).expand(len(x), -1, -1)
                    results.append(optimized_attention(x, keys, values, extra_options["n_heads"]))
                if len(texts) > 1:
                    weights = _weights_of_pixels(regions[: len(texts)], extra_options)
                    merged_sides.append((torch.stack(results) * weights.to(x)).sum(dim=0))
                else:
                    merged_sides.append(results[0])
            return torch.cat(merged_sides)

        return attention

    for name, number, index, block in layers:
        clone.set_model_attn2_replace(place(block.attn2), name, number, index)
    return clone


def masked_in_place(model: Any, tokens: int) -> Any:
    """As Dense Diffusion: in place of attention, with a mask for texts of this length alone. Here it hides nothing."""
    mask = torch.zeros(1, tokens)

    def attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        return optimized_attention(q, k, v, extra_options["n_heads"], mask=mask.to(q).expand(q.shape[1], -1))

    clone = model.clone()
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        clone.set_model_attn2_replace(attention, name, number, index)
    return clone


def changing(model: Any, packs: Sequence[Callable[[Any], Any] | None], kind: str) -> Any:
    """A pack that has in place of attention, at each step, what one of `packs` puts there; None: nothing.

    It changes no options but copies, in a wrapper of this kind of the host's.
    """
    by_step: list[dict[Any, Any]] = []
    for pack in packs:
        options = pack(model).model_options["transformer_options"] if pack else {}
        by_step.append(options.get("patches_replace", {}).get("attn2", {}))
    sigmas = list[float]()  # of the steps so far

    def changed(options: dict[str, Any], sigma: Tensor) -> dict[str, Any]:
        if float(sigma) not in sigmas:
            sigmas.append(float(sigma))
        replacements = {**options.get("patches_replace", {}), "attn2": by_step[len(sigmas) - 1]}
        return {**options, "patches_replace": replacements}

    def around_step(
        executor: Any, network: Any, conds: Any, x: Tensor, sigma: Tensor, options: dict[str, Any]
    ) -> list[Tensor]:
        of_network = changed(options["transformer_options"], sigma[0])
        return executor(network, conds, x, sigma, {**options, "transformer_options": of_network})

    def around_network(executor: Any, *args: Any, **named: Any) -> Tensor:
        arguments = [
            changed(value, value["sigmas"][0]) if isinstance(value, dict) and "sigmas" in value else value
            for value in args
        ]
        return executor(*arguments, **named)

    clone = model.clone()
    wrapper = around_step if kind == comfy.patcher_extension.WrappersMP.CALC_COND_BATCH else around_network
    wrapper.__module__ = __name__
    clone.add_wrapper_with_key(kind, "theirs", wrapper)
    return clone


def halved(model: Any) -> Any:
    """As ppm's NegPip, whose texts hold keys and values in turns."""
    clone = model.clone()
    clone.set_model_attn2_patch(lambda n, k, v, _: (n, k[:, 0::2], v[:, 1::2]))
    return clone


def moving(model: Any, moves: Callable[[int], bool]) -> Any:
    """The same patch in front of attention at all steps: it copies the rows, or turns their order where `moves` of the
    step says so. Behind attention they are as they were, so by itself it changes nothing."""
    sigmas = list[float]()  # of the steps so far

    def moves_now(extra_options: dict[str, Any]) -> bool:
        sigma = float(extra_options["sigmas"][0])
        if sigma not in sigmas:
            sigmas.append(sigma)
        return moves(sigmas.index(sigma))

    def patch(n: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        return (n.flip(0), k.flip(0), v.flip(0)) if moves_now(extra_options) else (n.clone(), k, v)

    clone = model.clone()
    clone.set_model_attn2_patch(patch)
    clone.set_model_attn2_output_patch(lambda out, extra_options: out.flip(0) if moves_now(extra_options) else out)
    return clone


def mixed_rows(model: Any) -> Any:
    """Rows that were not made of single ones."""

    def patch(n: Tensor, k: Tensor, v: Tensor, _: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        return torch.cat([n, n + n.flip(0)]), torch.cat([k, k]), torch.cat([v, v])

    clone = model.clone()
    clone.set_model_attn2_patch(patch)
    clone.set_model_attn2_output_patch(lambda out, _: out.chunk(2)[0])
    return clone


def guided(model: Any, text: Tensor) -> Any:
    """As NAG: away from a text of its own, on top of whatever stands in the layers when the node runs."""
    clone = model.clone()

    def place(module: Any, before: Callable[..., Tensor] | None) -> Callable[..., Tensor]:
        def attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
            heads = extra_options["n_heads"]
            out = before(q, k, v, extra_options) if before else optimized_attention(q, k, v, heads)
            sides = extra_options["cond_or_uncond"]
            rows = torch.tensor(sides).repeat_interleave(len(q) // len(sides)) == 0
            count = int(rows.sum())
            keys = module.to_k(text.to(q)).expand(count, -1, -1)
            values = module.to_v(text.to(q)).expand(count, -1, -1)
            out = out.clone()
            out[rows] += 0.2 * (out[rows] - optimized_attention(q[rows], keys, values, heads))
            return out

        return attention

    standing = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for name, number, index, block in transformers(model.get_model_object("diffusion_model")):
        before = standing.get((name, number, index), standing.get((name, number)))
        clone.set_model_attn2_replace(place(block.attn2, before), name, number, index)
    return clone


class Keyframed(comfy.controlnet.ControlNet):
    """As Advanced-ControlNet's, whose strength is another one from each keyframe on."""

    def __init__(self, net: Any, keyframes: list[float]) -> None:
        super().__init__(net.control_model, load_device=net.load_device, manual_cast_dtype=net.manual_cast_dtype)
        self.timestep_keyframes = keyframes


def forwards(model: Any) -> list[Any]:
    """The layers whose forward somebody has put another in the place of."""
    return [module for module in model.model.diffusion_model.modules() if "forward" in vars(module)]
