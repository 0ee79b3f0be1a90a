"""What other packs do to a MODEL: a function around it, and attention replaced under the keys that they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import optimized_attention
from pack.bridge.unet import transformers
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

        known = {"c_crossattn": context, "y": y, "control": control, "transformer_options": options, **c}
        given = {key: value for key, value in known.items() if value is not None}
        return function(unet, {"input": x, "timestep": timesteps, "c": given})

    wrapper.__module__ = __name__
    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "theirs", wrapper)
    return clone


def one_by_one(apply_model: Any, given: dict[str, Any]) -> Tensor:
    """As for little memory: one row after the other, with its own line of every condition."""
    x, t, c = given["input"], given["timestep"], given["c"]
    rows = [slice(n, n + 1) for n in range(len(x))]
    return torch.cat([apply_model(x[row], t[row], **_rows(c, row, len(x))) for row in rows])


def copied(apply_model: Any, given: dict[str, Any]) -> Tensor:
    """Every condition as another tensor, as on another device."""
    c = {key: v.clone() if torch.is_tensor(v) else v for key, v in given["c"].items()}
    return apply_model(given["input"], given["timestep"], **c)


def reversed_rows(apply_model: Any, given: dict[str, Any]) -> Tensor:
    x, t, c = given["input"], given["timestep"], given["c"]
    order = torch.arange(len(x)).flip(0)
    return apply_model(x[order], t[order], **_rows(c, order, len(x)))[order]


def in_tiles(apply_model: Any, given: dict[str, Any]) -> Tensor:
    """The left and the right half of the picture in one batch, every condition repeated."""
    x, t, c = given["input"], given["timestep"], given["c"]
    left = x.shape[-1] // 2
    tile = x.shape[-1] - left
    repeated = {key: torch.cat([v, v]) if torch.is_tensor(v) else v for key, v in c.items()}
    out = apply_model(torch.cat([x[..., :tile], x[..., left:]]), torch.cat([t, t]), **repeated)
    return torch.cat([out[: len(x), ..., :left], out[len(x) :]], dim=-1)


def only_what_it_knows(apply_model: Any, given: dict[str, Any]) -> Tensor:
    c = given["c"]
    known = ("c_concat", "c_crossattn", "y", "control", "transformer_options")
    return apply_model(given["input"], given["timestep"], **{key: c[key] for key in known if key in c})


def its_own_options(apply_model: Any, given: dict[str, Any]) -> Tensor:
    c = given["c"]
    kept = ("cond_or_uncond", "sigmas", "patches", "patches_replace")
    options = {key: value for key, value in c["transformer_options"].items() if key in kept}
    return apply_model(given["input"], given["timestep"], **{**c, "transformer_options": options})


def one_by_one_where_it_knows(apply_model: Any, given: dict[str, Any]) -> Tensor:
    """Row by row, but everything else as a whole."""
    x, t, c = given["input"], given["timestep"], given["c"]
    rows = [slice(n, n + 1) for n in range(len(x))]
    texts = [{key: c[key][row] for key in ("c_crossattn", "y") if key in c} for row in rows]
    return torch.cat([apply_model(x[row], t[row], **{**c, **text}) for row, text in zip(rows, texts, strict=True)])


def _rows(c: dict[str, Any], row: Any, count: int) -> dict[str, Any]:
    def cut(value: Any) -> Any:
        if torch.is_tensor(value) and len(value) == count:
            return value[row]
        return value

    given = {key: cut(value) for key, value in c.items()}
    if "control" in c:
        given["control"] = {side: [cut(one) for one in several] for side, several in c["control"].items()}
    return given | {"transformer_options": dict(c["transformer_options"])}


# Attention


class Attn2Replace:
    """As in IPAdapter_plus, InstantID and PuLID: an object per key, `.add` on what is there."""

    def __init__(self, callback: Callable[..., Tensor], **kwargs: Any) -> None:
        self.entries = [(callback, kwargs)]

    def add(self, callback: Callable[..., Tensor], **kwargs: Any) -> None:
        self.entries.append((callback, kwargs))

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for callback, kwargs in self.entries:
            out = out + callback(out, q, k, v, extra_options, **kwargs)
        return out


KEYS = {
    "two parts": lambda name, number, index: (name, number),
    "three parts": lambda name, number, index: (name, number, index),
    "a middle that is none": lambda name, number, index: (name, 1 if name == "middle" else number, index),
}
"""IPAdapter_plus on SD1.5; InstantID's advanced node; all three packs on SDXL, whose middle block the host calls 0."""


def adapter_pack(model: Any, keys: str = "three parts", amount: float = 0.05) -> Any:
    clone = model.clone()
    options = clone.model_options["transformer_options"]
    attn2 = options.setdefault("patches_replace", {}).setdefault("attn2", {})
    layers = transformers(model.get_model_object("diffusion_model"))
    for key in dict.fromkeys(KEYS[keys](name, number, index) for name, number, index, _ in layers):
        if key in attn2:
            attn2[key].add(_added, weight=amount)
        else:
            attn2[key] = Attn2Replace(_added, weight=amount)
    return clone


def _added(out: Tensor, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any], weight: float) -> Tensor:
    return weight * q
